"""Commands about ops: what the opset declares, and why a call runs where it runs."""

from __future__ import annotations

import difflib
import re
import sys
from collections.abc import Sequence
from dataclasses import asdict
from typing import Annotated, Any

import typer

from ..core import runtime
from ..core.devices.device import find_device
from ..core.dispatch.explain import explain as explain_call
from ..core.dispatch.registry import REGISTRY
from ..core.dtypes import BY_NAME
from ..core.errors import ArgumentError
from ..core.op import COLLECTIVES, OPS, Op, Role, all_ops, find_op
from ..opset import docs
from ..opset.declare import declaration_of
from ..opset.profiles import PROFILES
from .output import JsonOption, emit, table, text_width
from .specs import parse_attribute, parse_operand

#: Options of the commands that take a call.
Operands = Annotated[
    list[str] | None,
    typer.Argument(
        help="Operands such as 'f32[512,512]', 'i64[3,4]@strides(1,3)' (strides in elements), a number or none.",
        show_default=False,
    ),
]
Attributes = Annotated[
    list[str] | None,
    typer.Option(
        "--set", "-s", metavar="NAME=VALUE", help="An attribute, e.g. axis=1; may be repeated.", show_default=False
    ),
]


def add_to(app: typer.Typer) -> None:
    """Add the commands of this module."""
    app.command()(ops)
    # So that a negative number is an operand and not an option.
    app.command(context_settings={"ignore_unknown_options": True})(explain)


def op_named(name: str) -> Op:
    """Return an op.

    Raises:
        ArgumentError: when there is none of that name; names that look alike are proposed.
    """
    found = find_op(name)
    if found is None:
        near = difflib.get_close_matches(name, [op.name for op in all_ops()], n=3)
        hint = f"did you mean {' or '.join(near)}? " if near else ""
        raise ArgumentError(f"no op named {name!r}; {hint}`opmux ops` lists all", op=name)
    return found


def call_of(
    name: str, operands: Sequence[str] | None, attributes: Sequence[str] | None, device: str
) -> tuple[Op, list[Any], dict[str, Any]]:
    """Return an op with operands and attributes from words, as its public function takes them.

    Raises:
        ArgumentError: for words that say nothing.
    """
    op, where = op_named(name), find_device(device)
    settled: dict[str, Any] = dict(parse_attribute(text) for text in attributes or [])
    given: list[Any] = [parse_operand(text, where) for text in operands or []]
    if op.parameters and op.parameters[0].role is Role.ARRAYS:
        given = [given]
    if op.creates:
        settled["device"] = where
    return op, given, settled


def ops(
    name: Annotated[str | None, typer.Argument(help="One op, to see all of it.", show_default=False)] = None,
    json: JsonOption = None,
) -> None:
    """List the ops of the opset by family, or show one op in full.

    Example: opmux ops matmul
    """
    runtime.ensure_loaded()
    if name is not None:
        op = op_named(name)
        if json:
            emit(_detail(op), json)
        else:
            _show(op)
        return
    families = docs.families()
    if json:
        emit([_summary(op) for members in families.values() for op in members], json)
        return
    for family, members in families.items():
        rows = [_summary(op) for op in members]
        table(
            family,
            ("  op", "kind", "kernels from", "does"),
            [(f"  {r['name']}", r["kind"], ", ".join(r["backends"]), _plain(r["summary"])) for r in rows],
        )
        typer.echo("")
    core = sum(declaration_of(op).core for op in OPS)
    primitives = sum(op.primitive for op in OPS)
    typer.echo(
        f"{len(OPS) + len(COLLECTIVES)} ops: {primitives} primitives, {core} of them core, {len(OPS) - primitives} "
        f"composites, and {len(COLLECTIVES)} collectives."
    )


def _plain(text: str) -> str:
    """Return a sentence of a docstring without its markup.

    >>> _plain("Return ``exp(x) - 1``, as :func:`exp` does.")
    'exp(x) - 1, as exp does.'
    """
    return re.sub(r":\w+:`([^`]*)`", r"\1", text).replace("``", "").removeprefix("Return ")


def _summary(op: Op) -> dict[str, Any]:
    declared = declaration_of(op)
    return {
        "name": op.name,
        "family": declared.family,
        "kind": "core" if declared.core else "primitive" if op.primitive else "composite",
        "core": declared.core,
        "summary": declared.doc.partition("\n\n")[0].replace("\n", " "),
        "backends": sorted({k["backend"] for k in _kernels(op)}),
    }


def _kernels(op: Op) -> list[dict[str, Any]]:
    return [
        {
            "backend": name,
            "kernel": k.name,
            "device": k.device,
            "dtypes": sorted(k.accepts.dtypes[0]) if k.accepts.dtypes else None,
        }
        for name, c in sorted(REGISTRY.contributions.items())
        for k in c.kernels
        if k.op == op.name
    ]


def _detail(op: Op) -> dict[str, Any]:
    declared = declaration_of(op)
    return {
        **_summary(op),
        "signature": docs.signature_of(op),
        "doc": declared.doc,
        "parameters": [
            {"name": p.name, "role": str(p.role), "required": p.required, "default": repr(p.default)}
            for p in op.parameters
        ],
        "dtypes": [t.name for t in declared.dtypes],
        "accuracy": {"kind": type(declared.accuracy).__name__.lower(), **asdict(declared.accuracy)},
        "specials": list(declared.specials),
        "facts": sorted(op.facts),
        "profiles": [p.name for p in PROFILES.values() if op.name in p.ops],
        "decomposes": op.decomposition is not None,
        "meaning": docs.meaning_of(op),
        "kernels": _kernels(op),
    }


def _show(op: Op) -> None:
    """Print an op's page of the reference, rendered on a terminal and as its Markdown elsewhere; then its kernels."""
    page = docs.describe(op)
    if sys.stdout.isatty():
        from rich.console import Console
        from rich.markdown import Markdown

        Console(width=text_width()).print(Markdown(page))
    else:
        typer.echo(page)
    rows = [
        (f"{k['backend']}/{k['kernel']}", k["device"], _in_words(k["dtypes"]) if k["dtypes"] else "any")
        for k in _kernels(op)
    ]
    if rows:
        table("Kernels", ("kernel", "device", "dtypes of the first operand"), rows)


def _in_words(names: Sequence[str]) -> str:
    return docs.dtypes_in_words(tuple(BY_NAME[n] for n in names))


def explain(
    op: Annotated[str, typer.Argument(help="The op's name.")],
    operands: Operands = None,
    attribute: Attributes = None,
    device: Annotated[str, typer.Option(help="Where the operands are.")] = "cpu",
    json: JsonOption = None,
) -> None:
    """Say which kernel would run a call, and why, without running it.

    The call is written as in Python. Operands need no memory, so any size can be
    asked about.

    Example: opmux explain matmul "f32[512,512]" "f32[512,512]"

    Example: opmux explain sum "f32[8,1000000]" --set axis=1
    """
    runtime.ensure_loaded()
    found, given, attributes = call_of(op, operands, attribute, device)
    explained = explain_call(found, *given, **attributes)
    if json:
        emit(explained.to_dict(), json)
    else:
        typer.echo(explained.to_text(text_width()))
