"""The command that times every kernel for one call: bench."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Final

import typer

from ..core import runtime
from ..core.dispatch.explain import plan
from ..core.dispatch.policy import policy
from .opset_commands import Attributes, Operands, call_of
from .output import JsonOption, emit, fail, messages, progress_bars, table, write

if TYPE_CHECKING:
    from ..conformance.performance.bench import Bench, BenchRow

#: Columns of the CSV file: those that name the call, then those of a row.
_COLUMNS: Final = (
    "op", "call", "device", "checked", "candidate", "backend", "status", "us", "us_best", "us_q1", "us_q3", "repeats",
    "gflops", "gbytes", "roofline_share", "bound", "predicted_us", "predicted_over_measured", "note",
)  # fmt: skip
_HEADS: Final = (
    "candidate", "us", "q1..q3", "GFLOP/s", "GB/s", "of roofline", "bound", "predicted us", "predicted/measured", "",
)  # fmt: skip


def add_to(app: typer.Typer) -> None:
    """Add the command of this module."""
    # So that a negative number is an operand and not an option.
    app.command(context_settings={"ignore_unknown_options": True})(bench)


def bench(
    op: Annotated[str, typer.Argument(help="The op's name.")],
    specs: Operands = None,
    attribute: Attributes = None,
    backend: Annotated[
        list[str] | None, typer.Option(help="Only kernels of this one; may be repeated.", show_default=False)
    ] = None,
    device: Annotated[str, typer.Option(help="Where the operands are.")] = "cpu",
    repeats: Annotated[int, typer.Option(min=3, max=10_000, help="Samples of each kernel; slow ones get fewer.")] = 15,
    time: Annotated[
        float, typer.Option(min=0.01, max=3600.0, help="Seconds that the samples of one kernel may take, about.")
    ] = 1.0,
    csv_file: Annotated[
        str | None,
        typer.Option("--csv", metavar="FILE", help="Write the rows as CSV; '-': standard output.", show_default=False),
    ] = None,
    json: JsonOption = None,
) -> None:
    """Time every kernel that can do a call, interleaved, beside what the device does at best.

    Results are checked first, by the oracle or against each other; a wrong one gets
    no time. Times are medians, with the quartiles of the samples. The roofline is
    measured in the same run, through the device's own kernels. Operands are drawn:
    numbers that are given stand for their dtype.

    Exit status 0, 1 when a result is wrong or a kernel fails, 2 on wrong usage.

    Example: opmux bench exp "f32[1000000]"

    Example: opmux bench matmul "f32[512,512]" "f32[512,512]" --backend numpy

    Example: opmux bench sum "f32[1000,1000]" --set axis=1 --csv sum.csv
    """
    from ..conformance.performance.bench import bench as run
    from ..conformance.performance.timing import Settings

    runtime.ensure_loaded()
    found, given, attributes = call_of(op, specs, attribute, device)
    settings = Settings(rounds=repeats, sample_seconds=min(2e-3, time / repeats), budget_seconds=time)
    with policy(backends=backend or None, fallback="allow"), progress_bars() as bars:
        planned, _ = plan(found, *given, **attributes)
        task = bars.add_task(op, total=None)

        def progress(done: int, of: int, what: str) -> None:
            bars.update(task, completed=done, total=of, description=what)

        made = run(planned, settings, progress)
    if csv_file is not None:
        write(_as_csv(made), csv_file, "--csv")
    if json:
        emit(made.to_dict(), json)
    if "-" not in (csv_file, json):
        _show(made)
    if not made.sound:
        fail("a result is wrong, or a kernel failed")
        raise typer.Exit(1)


def _us(seconds: float | None) -> float | None:
    return None if seconds is None else seconds * 1e6


def _cells(made: Bench, r: BenchRow) -> Iterator[object]:
    yield from (made.op, made.call, made.device, made.checked, r.candidate, r.backend, r.status)
    yield from (_us(r.seconds), _us(r.best), _us(r.q1), _us(r.q3), r.repeats, r.gflops, r.gbytes, r.share, r.bound)
    yield from (_us(r.predicted), r.ratio, r.note)


def _as_csv(made: Bench) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(_COLUMNS)
    for row in made.rows:
        writer.writerow("" if cell is None else cell for cell in _cells(made, row))
    return text.getvalue()


def _number(value: float | None, digits: int = 3) -> str:
    """Return a number for a table.

    >>> [_number(v) for v in (None, 0.0, 0.01234, 12.34, 123456.7)]
    ['', '0', '0.0123', '12.3', '123,457']
    """
    if value is None:
        return ""
    return f"{value:,.0f}" if abs(value) >= 10**digits else f"{value:.{digits}g}"


def _show(made: Bench) -> None:
    typer.echo(f"{made.call} on {made.device}: {made.flops:,.0f} operations, {made.nbytes:,.0f} bytes")
    typer.echo(f"results checked against {made.checked}\n")
    table(None, _HEADS, [_shown(r) for r in made.rows], numbers=_HEADS[1:6] + _HEADS[7:9])
    roof = made.roofline
    bandwidth = roof.bandwidth_at(made.nbytes) / 1e9
    rates = "".join(f", {r.flops / 1e9:.3g} GFLOP/s of {r.dtype}" for r in roof.rates)
    typer.echo(
        f"\nroofline, measured on {made.device}: {roof.launch * 1e6:.3g} us a launch, {bandwidth:.3g} GB/s at this "
        f"working set, launch included{rates}"
    )
    for note in made.notes:
        messages.print(note, markup=False)


def _shown(r: BenchRow) -> tuple[object, ...]:
    if r.status != "measured":
        return (r.candidate, *[None] * 8, f"{r.status}: {r.note}")
    within = f"{_number(_us(r.q1))}..{_number(_us(r.q3))}"
    share = None if r.share is None else f"{r.share:.0%}"
    return (
        r.candidate, _number(_us(r.seconds)), within, _number(r.gflops), _number(r.gbytes), share, r.bound,
        _number(_us(r.predicted)), _number(r.ratio), None,
    )  # fmt: skip
