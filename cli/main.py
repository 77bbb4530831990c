"""The ``opmux`` command."""

from __future__ import annotations

import sys

import typer

from ..core.errors import OpmuxError
from . import commands, inspection
from .output import messages, with_optional_values

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Hardware abstraction for array computing: see devices and backends, ask why a kernel is chosen, prove a backend.",
)
inspection.add_to(app)
commands.add_to(app)


def main(arguments: list[str] | None = None) -> None:
    """Run the command line; a user's mistake ends in one message and exit status 2, never in a stack trace."""
    given = sys.argv[1:] if arguments is None else arguments
    try:
        app(args=with_optional_values(given), prog_name="opmux")
    except OpmuxError as error:
        messages.print(f"[red]error:[/red] {type(error).__name__}: ", end="")
        messages.print(str(error), markup=False)
        raise SystemExit(2) from None
    except KeyboardInterrupt:
        messages.print("interrupted")
        raise SystemExit(130) from None
