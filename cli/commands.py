"""The command that holds backends to their promises: conformance."""

from __future__ import annotations

from typing import Annotated

import typer

from .output import JsonOption, emit, messages


def add_to(app: typer.Typer) -> None:
    """Add the commands of this module."""
    app.command()(conformance)


def conformance(
    backend: Annotated[list[str] | None, typer.Option(help="Only this backend; may be repeated.", show_default=False)] = None,
    profile: Annotated[str | None, typer.Option(help="Only this profile, e.g. core-f32.", show_default=False)] = None,
    op: Annotated[list[str] | None, typer.Option(help="Only this op; may be repeated.", show_default=False)] = None,
    dtype: Annotated[list[str] | None, typer.Option(help="Only this dtype; may be repeated.", show_default=False)] = None,
    quick: Annotated[bool, typer.Option("--quick", help="A sample of the cases; not sufficient for a claim.")] = False,
    json: JsonOption = None,
) -> None:
    """Hold backends to the contracts of the opset.

    Exit status 0 when nothing failed, 1 on failures, 2 on wrong usage, 5 when nothing ran.

    Example: opmux conformance --backend llvm --op exp --dtype float32
    """
    from ..conformance.run import Selection, run

    report = run(Selection(tuple(backend or ()), profile, tuple(op or ()), tuple(dtype or ()), quick), messages)
    if json:
        emit(report.to_dict(), json)
    if json != "-":
        typer.echo(report.summary())
    raise typer.Exit(report.exit_code)
