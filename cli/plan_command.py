"""The command that plans a recorded program for devices that need not exist: plan."""

from __future__ import annotations

import json as jsonlib
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from ..conformance.reports.words import in_seconds
from .output import JsonOption, emit, messages, progress_bars, table, write
from .plan_words import BESIDE, OPS, beside, facts, op_cells

if TYPE_CHECKING:
    from ..backends.sim.description import Description
    from ..backends.sim.planning import Plan
    from ..core.dispatch.calllog import CallLog

#: Rows of the table of ops on a terminal; the other outputs have all.
_ROWS: Final = 20


def add_to(app: typer.Typer) -> None:
    """Add the command of this module."""
    app.command()(plan)


def plan(
    log: Annotated[Path, typer.Argument(metavar="LOG", help="What opmux record wrote.", show_default=False)],
    device: Annotated[
        list[str],
        typer.Option(metavar="FILE|PRESET", help="A device's description; several are compared.", show_default=False),
    ],
    in_order: Annotated[
        bool, typer.Option("--in-order", help="One queue per device: its work never overlaps.")
    ] = False,
    no_absences: Annotated[bool, typer.Option("--no-absences", help="Do not plan again without each op.")] = False,
    html: Annotated[
        str | None, typer.Option(metavar="FILE", help="Write one page that needs no network.", show_default=False)
    ] = None,
    trace: Annotated[
        str | None,
        typer.Option(metavar="FILE", help="Write the timeline for ui.perfetto.dev.", show_default=False),
    ] = None,
    json: JsonOption = None,
) -> None:
    """Say what a recorded program would come to on described devices: time, energy, price, memory.

    The calls run in virtual time: on the device where it has a kernel for op and
    dtype, else by the op's decomposition, else on the host, with the transfers
    that it takes. For each op it says what its absence would cost.

    Exit status 0; 2 for a bad log or description.

    Example: opmux plan calls.jsonl --device h100-sxm

    Example: opmux plan calls.jsonl --device mine.toml --device tpu-v1 --html plan.html

    Example: opmux plan calls.jsonl --device edge-npu --trace trace.json
    """
    from ..backends.sim import planning
    from ..core.dispatch.calllog import read_call_log

    descriptions = [_description(text) for text in device]
    read = read_call_log(log)
    plans: list[Plan] = []
    with progress_bars() as bars:
        for description in descriptions:
            task = bars.add_task(description.name, total=None)

            def progress(done: int, of: int, what: str, task: object = task) -> None:
                bars.update(task, completed=done, total=of, description=what)  # type: ignore[arg-type]

            plans.append(
                planning.plan(read, description, in_order=in_order, absences=not no_absences, progress=progress)
            )
    if not read.complete:
        messages.print(
            "the program that was recorded did not come to its end; this is what it had called", markup=False
        )
    if html is not None:
        from .plan_page import page

        write(page(read, plans), html, "--html")
    if trace is not None:
        write(_trace(plans), trace, "--trace")
    if json:
        emit({"log": _log(read), "plans": [p.to_dict() for p in plans]}, json)
    if "-" not in (json, html, trace):
        _show(read, plans)


def _description(text: str) -> Description:
    """Return a preset, of whose name the first words will do, or the description in a file.

    Raises:
        ArgumentError: there is neither, or the file describes no device.
    """
    from ..backends.sim.description import load, preset, presets

    near = [name for name in presets() if name == text or name.startswith(f"{text}-")]
    if len(near) == 1 or text in near:
        return preset(text if text in near else near[0])
    path = Path(text)
    return load(path) if path.exists() or path.suffix or path.name != text else preset(text)


def _log(log: CallLog) -> dict[str, object]:
    return {
        "where": log.where,
        "program": list(log.program),
        "opmux": log.opmux,
        "opset": log.opset,
        "calls": len(log.calls),
        "complete": log.complete,
    }


def _trace(plans: Sequence[Plan]) -> str:
    from ..backends.sim.trace import Slice, of_tasks, trace_events

    slices: list[Slice] = []
    for p in plans:
        slices += of_tasks(p.tasks, p.device.name, len(slices))
    return jsonlib.dumps(trace_events(slices)) + "\n"


def _show(log: CallLog, plans: Sequence[Plan]) -> None:
    name = " ".join(log.program) or log.where
    if len(plans) > 1:
        table(
            f"{name}: {len(log.calls):,} calls",
            BESIDE,
            [beside(p) for p in plans],
            numbers=BESIDE[1:-1],
        )
        return
    (made,) = plans
    typer.echo(f"{name}: {made.calls:,} calls on {made.device.name}" + (f" x {made.devices}" * (made.devices > 1)))
    typer.echo("\n".join(f"  {what:<12} {said}" for what, said in facts(made)))
    rows = [op_cells(r) for r in made.ops]
    typer.echo("")
    table(None, OPS, rows[:_ROWS], numbers=("calls", "time", "share", "utilisation"))
    if len(rows) > _ROWS:
        typer.echo(f"{len(rows) - _ROWS} more; --json has them")
    if made.absences:
        typer.echo("")
        table(
            "Without a kernel for",
            ("op", "the program takes", "times as long", "by"),
            [(a.op, in_seconds(a.seconds), f"{a.times:.3g}", a.instead) for a in made.absences[:_ROWS]],
            numbers=("the program takes", "times as long"),
        )
