"""Commands that look: devices, backends, doctor, ops, explain."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from ..core import runtime
from ..core.device import DEVICES, find_device
from ..core.errors import ArgumentError
from ..core.explain import explain as explain_call
from ..core.op import OPS, Op
from ..core.plugins import manager
from ..core.plugins.status import State
from ..core.registry import REGISTRY
from ..opset import namespace
from ..opset.declare import declaration_of
from .output import JsonOption, emit, table
from .specs import parse_attribute, parse_operand


def add_to(app: typer.Typer) -> None:
    """Add the commands of this module."""
    for command in (devices, backends, doctor, ops, explain):
        app.command()(command)


def devices(json: JsonOption = None) -> None:
    """List the devices that are present.

    Example: opmux devices --json
    """
    runtime.ensure_loaded()
    rows = [
        {
            "device": d.name,
            "name": d.info.name,
            "memory": d.info.memory,
            "owner": d.owner,
            "flushes_subnormals": d.info.flushes_subnormals,
            "features": sorted(d.info.features),
            "backends": sorted(n for n, c in REGISTRY.contributions.items() if any(k.device == d.kind for k in c.kernels)),
        }
        for d in DEVICES
    ]
    if json:
        emit(rows, json)
        return
    table(
        None,
        ("device", "name", "memory", "owner", "kernels from"),
        [(r["device"], r["name"], f"{r['memory'] / 2**30:.1f} GiB", r["owner"], ", ".join(r["backends"])) for r in rows],
    )


def backends(json: JsonOption = None) -> None:
    """List the installed backends and what became of them.

    Example: OPMUX_DISABLE=llvm opmux backends
    """
    runtime.ensure_loaded()
    found = manager.status()
    if json:
        emit([s.as_json() for s in found], json)
        return
    table(
        None,
        ("backend", "state", "version", "from", "devices", "kernels", "why"),
        [(s.name, s.state, s.version, s.distribution, ", ".join(s.devices), s.kernels or None, s.reason) for s in found],
    )


def doctor(
    retry: Annotated[bool, typer.Option("--retry", help="Probe again the backends that failed before.")] = False,
    json: JsonOption = None,
) -> None:
    """Say which backends are usable, why the others are not, and what to do.

    Exit status 0 when no backend is in quarantine, 3 otherwise.

    Example: opmux doctor --retry
    """
    manager.load_all(retry=retry)
    found = manager.status()
    broken = [s for s in found if s.state is State.QUARANTINED]
    if json:
        emit({"healthy": not broken, "backends": [s.as_json() for s in found]}, json)
    else:
        table(
            None,
            ("backend", "state", "why", "what to do"),
            [(s.name, s.state, s.reason or "ready", s.remedy) for s in found],
        )
        for s in broken:
            if s.quarantine is not None and s.quarantine.traceback:
                typer.echo(f"\n{s.name}, in full:\n{s.quarantine.traceback}")
    if broken:
        raise typer.Exit(3)


def ops(
    name: Annotated[str | None, typer.Argument(help="One op, to see all of it.", show_default=False)] = None,
    json: JsonOption = None,
) -> None:
    """List the ops of the opset, or show one.

    Example: opmux ops matmul
    """
    runtime.ensure_loaded()
    _ = namespace  # the declarations register themselves on import
    if name is None:
        rows = [_summary(op) for op in sorted(OPS, key=lambda o: (declaration_of(o).family, o.name))]
        if json:
            emit(rows, json)
            return
        table(
            None,
            ("op", "family", "kind", "core", "does", "backends"),
            [
                (r["name"], r["family"], r["kind"], "core" if r["core"] else "", r["summary"], ", ".join(r["backends"]))
                for r in rows
            ],
        )
        return
    op = OPS.get(name)
    if op is None:
        raise ArgumentError(f"no op named {name!r}; `opmux ops` lists them", op=name)
    detail = _detail(op)
    if json:
        emit(detail, json)
        return
    typer.echo(f"{detail['signature']}\n\n{detail['doc']}\n")
    table(
        None,
        ("", ""),
        [(k, detail[k] if isinstance(detail[k], str) else ", ".join(map(str, detail[k]))) for k in _SHOWN if detail[k]],
    )


_SHOWN = ("family", "kind", "dtypes", "accuracy", "specials", "facts", "backends", "decomposes")


def _backends_of(op: Op) -> list[str]:
    return sorted(n for n, c in REGISTRY.contributions.items() if any(k.op == op.name for k in c.kernels))


def _summary(op: Op) -> dict[str, Any]:
    declared = declaration_of(op)
    return {
        "name": op.name,
        "family": declared.family,
        "kind": "primitive" if op.primitive else "composite",
        "core": declared.core,
        "summary": declared.doc.partition("\n")[0],
        "backends": _backends_of(op),
    }


def _detail(op: Op) -> dict[str, Any]:
    declared = declaration_of(op)
    parameters = ", ".join(p.name if p.required else f"{p.name}={p.default!r}" for p in op.parameters)
    return {
        **_summary(op),
        "signature": f"{op.name}({parameters})",
        "doc": declared.doc,
        "dtypes": [t.name for t in declared.dtypes],
        "accuracy": str(declared.accuracy),
        "specials": list(declared.specials),
        "facts": sorted(op.facts),
        "decomposes": "yes" if op.decomposition is not None else "",
    }


def explain(
    op: Annotated[str, typer.Argument(help="The op's name.")],
    operands: Annotated[
        list[str] | None,
        typer.Argument(help="Operands such as 'f32[512,512]', 'i64[3,4]@strides(1,3)' or a number.", show_default=False),
    ] = None,
    attribute: Annotated[
        list[str] | None,
        typer.Option("--set", "-s", metavar="NAME=VALUE", help="An attribute, e.g. axis=1.", show_default=False),
    ] = None,
    device: Annotated[str, typer.Option(help="Where the operands are.")] = "cpu",
    json: JsonOption = None,
) -> None:
    """Say which kernel would run a call, and why, without running it.

    Example: opmux explain matmul "f32[512,512]" "f32[512,512]"
    """
    runtime.ensure_loaded()
    where = find_device(device)
    attributes = dict(parse_attribute(a) for a in attribute or [])
    given = [parse_operand(text, where) for text in operands or []]
    function = getattr(namespace, op, None)
    found = OPS.get(op)
    if function is None or found is None:
        raise ArgumentError(f"no op named {op!r}; `opmux ops` lists them", op=op)
    listed = bool(found.parameters) and str(found.parameters[0].role) == "arrays"
    explained = explain_call(op, *([given] if listed else given), **attributes)
    if json:
        emit(explained.to_dict(), json)
    else:
        typer.echo(str(explained))
