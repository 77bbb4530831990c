"""The command that holds backends to their promises: conformance."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .output import JsonOption, emit, messages


def add_to(app: typer.Typer) -> None:
    """Add the commands of this module."""
    app.command()(conformance)


def conformance(
    backend: Annotated[list[str] | None, typer.Option(help="Only this one; repeatable.", show_default=False)] = None,
    profile: Annotated[str | None, typer.Option(help="Only this profile, e.g. core-f32.", show_default=False)] = None,
    op: Annotated[list[str] | None, typer.Option(help="Only this op; repeatable.", show_default=False)] = None,
    dtype: Annotated[list[str] | None, typer.Option(help="Only this dtype; repeatable.", show_default=False)] = None,
    case: Annotated[list[str] | None, typer.Option(help="Only this case, by its exact id.", show_default=False)] = None,
    quick: Annotated[bool, typer.Option("--quick", help="A sample of the cases; not sufficient for a claim.")] = False,
    exit_first: Annotated[bool, typer.Option("--exit-first", "-x", help="Stop at the first failure.")] = False,
    waivers: Annotated[Path | None, typer.Option(help="TOML file of known failures.", show_default=False)] = None,
    timeout: Annotated[float, typer.Option(help="Seconds that one case may take.")] = 60.0,
    json: JsonOption = None,
) -> None:
    """Hold backends to the contracts of the opset.

    Exit status 0 when nothing failed, 1 on failures, 2 on wrong usage, 3 when something kept cases from running, 5 when
    nothing ran.

    Example: opmux conformance --backend llvm --op exp --dtype float32
    """
    from ..conformance.running.run import Selection, run

    selection = Selection(
        tuple(backend or ()), profile, tuple(op or ()), tuple(dtype or ()), quick, tuple(case or ()), waivers,
        limit=timeout, exit_first=exit_first,
    )  # fmt: skip
    report = run(selection, messages)
    if json:
        emit(report.to_dict(), json)
    if json != "-":
        typer.echo(report.summary())
    raise typer.Exit(report.exit_code)
