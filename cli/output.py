"""What every command shares: JSON or a table, messages on standard error, errors without stack traces."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Collection, Iterable, Sequence
from pathlib import Path
from typing import Annotated, Any, Final

import typer
from rich.console import Console
from rich.progress import Progress
from rich.table import Table
from rich.text import Text

#: For messages and progress; results go to standard output.
messages = Console(stderr=True, highlight=False, soft_wrap=True)

#: The widest text that is comfortable to read.
_WIDEST: Final = 110
#: Where the width is not known: files and pipes.
_USUAL: Final = 100

JSON_HELP: Final = "Write the result as JSON to FILE; to standard output where FILE is absent or '-'."
JsonOption = Annotated[str | None, typer.Option("--json", metavar="[FILE]", help=JSON_HELP, show_default=False)]


def fail(message: str) -> None:
    """Print what went wrong on standard error."""
    messages.print(Text.assemble(("error: ", "red"), message))


def emit(data: Any, target: str) -> None:
    """Write JSON to a file, or to standard output for ``-``; the file appears whole or not at all."""
    write(json.dumps(data, indent=2, default=str) + "\n", target, "--json")


def write(text: str, target: str, option: str) -> None:
    """Write the text that an option asks for to a file, or to standard output for ``-``; whole or not at all."""
    if target == "-":
        sys.stdout.write(text)
        return
    path = Path(target)
    if path.is_dir():
        raise typer.BadParameter(f"cannot write {target}: it is a folder", param_hint=option)
    temporary = path.with_name(f".{path.name}.partial")
    try:
        temporary.write_text(text, encoding="utf-8")
        temporary.replace(path)
    except OSError as error:
        raise typer.BadParameter(f"cannot write {target}: {error.strerror}", param_hint=option) from error
    messages.print(f"wrote {target}", markup=False)


def table(
    title: str | None, columns: Sequence[str], rows: Iterable[Sequence[object]], *, numbers: Collection[str] = ()
) -> None:
    """Print a table to standard output: bold heads and wrapped cells on a terminal, plain unbroken lines elsewhere.

    Args:
        title: a line above it.
        columns: heads; columns in which no row has anything are left out.
        rows: cells; None is an empty one.
        numbers: heads of the columns whose cells are aligned to the right.
    """
    texts = [["" if cell is None else str(cell) for cell in row] for row in rows]
    kept = [i for i in range(len(columns)) if any(row[i] for row in texts)]
    texts = [[row[i] for i in kept] for row in texts]
    heads = [columns[i] for i in kept]
    console = Console(highlight=False)
    if not console.is_terminal:
        _plain(title, heads, texts, numbers)
        return
    made = Table(box=None, pad_edge=False, header_style="bold")
    for head in heads:
        made.add_column(head, justify="right" if head in numbers else "left")
    for row in texts:
        made.add_row(*map(Text, row))
    if title is not None:
        console.print(Text(title, style="bold"))
    console.print(made)


def _plain(title: str | None, heads: Sequence[str], rows: Sequence[Sequence[str]], numbers: Collection[str]) -> None:
    # Off a terminal nothing wraps: lines go to files and other programs.
    if title is not None:
        print(title)
    widths = [max(len(row[i]) for row in (heads, *rows)) for i in range(len(heads))]
    for row in (heads, *rows):
        cells = (c.rjust(w) if h in numbers else c.ljust(w) for h, c, w in zip(heads, row, widths, strict=True))
        print("  ".join(cells).rstrip())


def text_width() -> int:
    """Return the width for wrapped text on standard output."""
    return min(shutil.get_terminal_size().columns, _WIDEST) if sys.stdout.isatty() else _USUAL


def progress_bars() -> Progress:
    """Return progress bars on standard error, which show nothing where that is no terminal."""
    return Progress(console=messages, transient=True, disable=not messages.is_terminal)


def with_optional_values(arguments: Sequence[str], options: Sequence[str] = ("--json",)) -> list[str]:
    """Give an option that may stand without its value the value ``-``.

    >>> with_optional_values(["devices", "--json"])
    ['devices', '--json', '-']
    >>> with_optional_values(["devices", "--json", "out.json"])
    ['devices', '--json', 'out.json']
    """
    made: list[str] = []
    for i, argument in enumerate(arguments):
        if argument == "--":
            return [*made, *arguments[i:]]
        made.append(argument)
        following = arguments[i + 1] if i + 1 < len(arguments) else None
        if argument in options and (following is None or (following.startswith("-") and following != "-")):
            made.append("-")
    return made
