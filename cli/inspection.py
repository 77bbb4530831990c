"""Commands that look at the machine and at what is installed: devices, backends, doctor."""

from __future__ import annotations

import os
import platform
from importlib import metadata
from typing import Annotated

import typer

from ..core import runtime
from ..core.devices.device import DEVICES
from ..core.devices.memory import limit_from_environment
from ..core.dispatch.registry import REGISTRY
from ..core.filecache import cache_root
from ..core.plugins import manager
from ..core.plugins.discovery import Selection
from ..core.plugins.status import State
from ..opset.declare import VERSION
from .output import JsonOption, emit, table


def add_to(app: typer.Typer) -> None:
    """Add the commands of this module."""
    for command in (devices, backends, doctor):
        app.command()(command)


def version() -> str:
    """Return the version of opmux that is installed."""
    return metadata.version("opmux")


def kernels_for(kind: str) -> list[str]:
    """Return the names of the backends that have kernels for a kind of device."""
    return sorted(n for n, c in REGISTRY.contributions.items() if any(k.device == kind for k in c.kernels))


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
            "backends": kernels_for(d.kind),
        }
        for d in DEVICES
    ]
    if json:
        emit(rows, json)
        return
    table(
        None,
        ("device", "name", "memory", "owner", "kernels from"),
        [
            (d.name, d.info.name, f"{d.info.memory / 2**30:.1f} GiB", d.owner, ", ".join(kernels_for(d.kind)))
            for d in DEVICES
        ],
        numbers=("memory",),
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
        ("backend", "state", "version", "from", "devices of its own", "kernels", "profiles", "why"),
        [
            (
                s.name, s.state, s.version, s.distribution, ", ".join(s.devices), s.kernels or None,
                ", ".join(s.profiles), s.reason,
            )
            for s in found
        ],
        numbers=("kernels",),
    )  # fmt: skip


def doctor(
    retry: Annotated[bool, typer.Option("--retry", help="Probe again the backends that failed before.")] = False,
    json: JsonOption = None,
) -> None:
    """Say which backends are usable, why the others are not, and what to do.

    Exit status 0 when no backend is in quarantine, 3 otherwise; 2 where ``OPMUX_CPU_MEMORY`` is no number of bytes.

    Example: opmux doctor --retry
    """
    manager.load_all(retry=retry)
    found = manager.status()
    broken = [s for s in found if s.state is State.QUARANTINED]
    here = surroundings()
    notes = [*Selection.from_environment().idle([s.name for s in found]), *lacking()]
    if json:
        report = {"healthy": not broken, "surroundings": here, "notes": notes, "backends": [s.as_json() for s in found]}
        emit(report, json)
    else:
        for name, value in here.items():
            typer.echo(f"{name + ':':<9} {value}")
        typer.echo("")
        table(
            None,
            ("backend", "state", "why", "what to do"),
            [(s.name, s.state, s.reason, s.remedy) for s in found],
        )
        for s in broken:
            if s.quarantine is not None and s.quarantine.traceback:
                typer.echo(f"\n{s.name}, in full:\n{s.quarantine.traceback}")
        ready = sum(s.state is State.READY for s in found)
        typer.echo(f"\n{ready} of {len(found)} backends are ready, {len(broken)} in quarantine.")
        for note in notes:
            typer.echo(note)
    limit_from_environment()  # every array on cpu fails with the same error
    if broken:
        raise typer.Exit(3)


def lacking() -> list[str]:
    """Return what is not on this machine and would give a device more kernels, once for each kind of device."""
    said: dict[str, None] = {}
    for d in DEVICES:
        try:
            said.update(dict.fromkeys(f"{d.kind}: {what}" for what in d.info.lacks()))
        except Exception as error:  # a vendor's code, and this command is for machines on which things are wrong
            said[f"{d.name}: its driver failed to say what is missing: {error!r}"] = None
    return list(said)


def surroundings() -> dict[str, str]:
    """Return what a report of a fault should name: versions, the machine, the cache, switches of the environment."""
    switches = " ".join(f"{k}={v}" for k, v in sorted(os.environ.items()) if k.startswith("OPMUX_"))
    return {
        "opmux": f"{version()}, opset {VERSION}",
        "python": f"{platform.python_version()} on {platform.platform(terse=True)}, {platform.machine()}",
        "cache": str(cache_root() or "none"),
        "switches": switches or "none",
    }
