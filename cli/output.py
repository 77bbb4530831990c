"""What every command shares: JSON or a table, messages on standard error, errors without stack traces."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

#: For messages and progress; results go to standard output.
messages = Console(stderr=True, highlight=False)

JSON_HELP = "Write the result as JSON to FILE, or to standard output where FILE is '-'."
JsonOption = Annotated[str | None, typer.Option("--json", metavar="FILE", help=JSON_HELP, show_default=False)]


def emit(data: Any, target: str) -> None:
    """Write JSON to a file, or to standard output for ``-``; the file appears whole or not at all."""
    text = json.dumps(data, indent=2, default=str) + "\n"
    if target == "-":
        sys.stdout.write(text)
        return
    path = Path(target)
    temporary = path.with_name(f".{path.name}.partial")
    try:
        temporary.write_text(text, encoding="utf-8")
        temporary.replace(path)
    except OSError as error:
        raise typer.BadParameter(f"cannot write {target}: {error.strerror}", param_hint="--json") from error
    messages.print(f"wrote {target}")


def table(title: str | None, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Print a table to standard output; colour only on a terminal."""
    made = Table(*columns, title=title, title_justify="left", box=None, pad_edge=False, header_style="bold")
    for row in rows:
        made.add_row(*("" if cell is None else str(cell) for cell in row))
    # Off a terminal nothing wraps: lines go to files and other programs.
    console = Console(highlight=False, width=None if sys.stdout.isatty() else 240)
    console.print(made)


def with_optional_values(arguments: Sequence[str], options: Sequence[str] = ("--json",)) -> list[str]:
    """Give an option that may stand without its value the value ``-``.

    >>> with_optional_values(["devices", "--json"])
    ['devices', '--json', '-']
    >>> with_optional_values(["devices", "--json", "out.json"])
    ['devices', '--json', 'out.json']
    """
    made: list[str] = []
    for i, argument in enumerate(arguments):
        made.append(argument)
        following = arguments[i + 1] if i + 1 < len(arguments) else None
        if argument in options and (following is None or (following.startswith("-") and following != "-")):
            made.append("-")
    return made
