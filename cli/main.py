"""The ``opmux`` command."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from ..core.errors import OpmuxError
from . import (
    bench_command,
    certificate_commands,
    conformance_command,
    demo_command,
    inspection,
    new_backend,
    opset_commands,
    plan_command,
    record_command,
    report_command,
)
from .output import fail, messages, with_optional_values

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"opmux {inspection.version()}")
        raise typer.Exit


@app.callback()
def opmux(
    version: Annotated[
        bool, typer.Option("--version", help="Show the version and exit.", callback=_show_version, is_eager=True)
    ] = False,
) -> None:
    """Hardware abstraction for array computing: see devices and backends, ask why a kernel is chosen, prove a backend.

    Example: opmux explain matmul "f32[512,512]" "f32[512,512]"
    """


for _module in (
    inspection,
    opset_commands,
    bench_command,
    conformance_command,
    certificate_commands,
    report_command,
    new_backend,
    record_command,
    plan_command,
    demo_command,
):
    _module.add_to(app)


def main(arguments: list[str] | None = None) -> None:
    """Run the command line; a user's mistake ends in one message and exit status 2, never in a stack trace."""
    given = sys.argv[1:] if arguments is None else arguments
    try:
        # What follows `record` is another program's command line, and stays as it is.
        app(args=given if given[:1] == ["record"] else with_optional_values(given), prog_name="opmux")
    except OpmuxError as error:
        fail(f"{type(error).__name__}: {error}")
        raise SystemExit(2) from None
    except KeyboardInterrupt:
        messages.print("interrupted")
        raise SystemExit(130) from None
