"""Explanations as text: a table of the candidates, then why the others could not run."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from .explanation import Explanation, Row

_TERMS: Final = ("launch", "compute", "memory", "copies", "transfers")
#: Terms that most calls do not have; their columns are left out where nobody has them.
_RARE: Final = ("copies", "transfers")
_UNITS: Final = (("s", 1.0), ("ms", 1e-3), ("us", 1e-6), ("ns", 1e-9))


def seconds_in_words(value: float) -> str:
    """Return a time with three digits and its unit.

    >>> [seconds_in_words(v) for v in (0.0, 12.34e-6, 0.99996e-3, 83.0, 86400.0)]
    ['0', '12.3 us', '1 ms', '83 s', '86,400 s']
    """
    if value == 0:
        return "0"
    if value >= 999.5:
        return f"{value:,.0f} s"
    # Just below the next unit, three digits round up to it.
    unit, scale = next((u for u in _UNITS if value >= 0.9995 * u[1]), _UNITS[-1])
    return f"{value / scale:.3g} {unit}"


def normal(value: object, default: object) -> bool:
    """Return whether a normalised attribute says what its default says.

    >>> normal(((0, 0), (0, 0)), 0), normal((1, 2), 1), normal(("clip",), "clip")
    (True, False, True)
    """
    if isinstance(value, tuple) and value and not isinstance(default, tuple):
        return all(normal(v, default) for v in value)
    return value == default and type(value) is type(default)


def as_text(explained: Explanation, width: int) -> str:
    """Return an explanation as a table of at most *width* columns, where its names allow it."""
    lines = [*_wrapped(explained.call, width, "", "    ")]
    lines += _wrapped(f"runs on {explained.device} by {explained.chosen}{_lead(explained)}", width, "", "    ")
    lines += ["", *_table(explained)]
    refused = [r for r in explained.rows if not r.eligible]
    if refused:
        lines += ["", "cannot run it:"]
        for row in refused:
            lines += _wrapped(f"{row.candidate}: {row.reason}, {row.detail}", width, "  ", "      ")
    if explained.notes:
        lines += [""]
        for note in explained.notes:
            lines += _wrapped(note, width, "", "    ")
    return "\n".join(lines)


def _lead(explained: Explanation) -> str:
    """Return how far the chosen candidate is ahead of the next."""
    if explained.margin is None:
        return ""
    second = [r for r in explained.rows if r.eligible][1].candidate
    # Below 1.005 three digits round to 1.
    times = "as fast as" if explained.margin < 1.005 else f"{explained.margin:.3g} times as fast as"
    return f", {times} {second} by the predictions"


def _wrapped(text: str, width: int, first: str, then: str) -> list[str]:
    held = text.replace("': '", "':\N{NO-BREAK SPACE}'")  # code such as {'add': 'numpy'} stays on one line
    lines = textwrap.wrap(
        held, width, initial_indent=first, subsequent_indent=then, break_long_words=False, break_on_hyphens=False
    )
    return [line.replace("\N{NO-BREAK SPACE}", " ") for line in lines]


def _table(explained: Explanation) -> Iterator[str]:
    eligible = [r for r in explained.rows if r.eligible]
    terms = [t for t in _TERMS if t not in _RARE or any(r.terms.get(t) for r in eligible)]
    head = ["", "candidate", "predicted", *terms, "claim", "source"]
    rows = [head]
    for row in eligible:
        rows += _cells(row, terms, chosen=row is eligible[0])
    widths = [max(len(row[i]) for row in rows) for i in range(len(head))]
    numbers = range(2, 3 + len(terms))
    for cells in rows:
        aligned = (c.rjust(widths[i]) if i in numbers else c.ljust(widths[i]) for i, c in enumerate(cells))
        yield "  ".join(aligned).rstrip()
    for row in eligible:
        if row.detail:
            yield f"{row.candidate}: {row.detail}"


def _cells(row: Row, terms: Sequence[str], *, chosen: bool) -> Iterator[list[str]]:
    total = 0.0 if row.seconds is None else row.seconds
    shown = [seconds_in_words(row.terms[t]) if t in row.terms else "" for t in terms]
    yield ["*" if chosen else "", row.candidate, seconds_in_words(total), *shown, row.claim or "", row.source or ""]
    for part in row.parts:
        times = f"{part.calls} x " if part.calls > 1 else ""
        name = f"  {times}{part.op} by {part.candidate}"
        yield ["", name, seconds_in_words(part.seconds), *("" for _ in terms), part.claim, ""]
