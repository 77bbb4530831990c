"""One HTML page that needs no network and no other file: one backend in depth, or several side by side."""

from __future__ import annotations

import itertools
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Final

from ...core.errors import ArgumentError
from . import facts, pictures
from .compare import compare
from .model import Cell, Failure, Page, Proof
from .status import ABSENT, STATUSES, Status
from .words import first_line, in_bytes, in_seconds, outcome_words, shortened

if TYPE_CHECKING:
    from jinja2 import Environment

#: Failures that a page shows in full, of all backends together: it stays readable, and well below 2 MB.
FAILURES: Final = 300
#: Characters of a message that are shown.
MESSAGE: Final = 1200


@dataclass(frozen=True)
class FailuresOfPair:
    """The failures of one op and dtype that are shown.

    Attributes:
        op, dtype, family: which.
        total: how many there are.
        shown: those that stand in full.
    """

    op: str
    dtype: str
    family: str
    total: int
    shown: tuple[Failure, ...]

    @property
    def tally(self) -> str:
        """How many did what."""
        if len(self.shown) < self.total:
            return f"{self.total:,} failures, {len(self.shown)} of them here"
        return ", ".join(f"{n} {word}" for word, n in Counter(f.word for f in self.shown).items())


@dataclass(frozen=True)
class MatrixRow:
    """One op of the matrix.

    Attributes:
        op, family: which.
        cells: one per dtype, in the order of the columns; None where the op does not take it.
    """

    op: str
    family: str
    cells: tuple[Cell | None, ...]

    @property
    def calm(self) -> bool:
        """Whether every cell passes or is refused as it should be."""
        fine = ("pass", "composed", "unsupported", "mixed")
        return all(c is None or c.status.name in fine for c in self.cells)


class View:
    """A page and what its template needs of it.

    Args:
        page: what is shown.
        prefix: of its anchors, different for each page of a document.
        limit: of failures that are shown in full.
    """

    def __init__(self, page: Page, prefix: str, limit: int) -> None:
        self.page, self.prefix, self._limit = page, prefix, limit

    @cached_property
    def dtypes(self) -> list[str]:
        """The columns of the matrix."""
        return sorted({c.dtype for c in self.page.cells}, key=lambda t: (facts.place_of(t), t))

    @cached_property
    def families(self) -> list[tuple[str, list[MatrixRow]]]:
        """The rows of the matrix by family."""
        by_op: dict[str, dict[str, Cell]] = defaultdict(dict)
        for c in self.page.cells:
            by_op[c.op][c.dtype] = c
        rows = [
            MatrixRow(op, next(iter(mine.values())).family, tuple(mine.get(t) for t in self.dtypes))
            for op, mine in by_op.items()
        ]
        return [(family or "other", list(found)) for family, found in itertools.groupby(rows, lambda r: r.family)]

    @cached_property
    def ops(self) -> int:
        """How many rows the matrix has."""
        return sum(len(rows) for _, rows in self.families)

    @cached_property
    def used(self) -> list[Status]:
        """The statuses that some cell has, for the legend; the good ones first."""
        found = {c.status.name for c in self.page.cells}
        return [s for s in reversed(STATUSES.values()) if s.name in found]

    @cached_property
    def failures(self) -> list[FailuresOfPair]:
        """The failures that are shown, by op and dtype."""
        by_pair: dict[tuple[str, str], list[Failure]] = defaultdict(list)
        for f in self.page.first_failures(self._limit):
            by_pair[f.case.op, f.case.dtype].append(f)
        known, totals = facts.families(), Counter((f.case.op, f.case.dtype) for f in self.page.failures)
        return [
            FailuresOfPair(op, t, known.get(op, ""), totals[op, t], tuple(found)) for (op, t), found in by_pair.items()
        ]

    @cached_property
    def rest(self) -> list[tuple[str, int]]:
        """The ops of the failures that are not shown, each with their number."""
        found = Counter(f.case.op for f in self.page.failures)
        found.subtract(f.case.op for f in self.page.first_failures(self._limit))
        return [(op, n) for op, n in found.most_common() if n]

    @cached_property
    def anchors(self) -> set[tuple[str, str]]:
        """The pairs that have failures to link to."""
        return {(f.op, f.dtype) for f in self.failures}

    @cached_property
    def shares(self) -> list[tuple[Status, int, float]]:
        """The outcomes of all cases: a status, how many, and their part of the whole."""
        total = sum(self.page.counts.values())
        return [(STATUSES[name], n, n / total) for name, n in self.page.counts.items()]

    @cached_property
    def accuracy(self) -> pictures.Accuracy:
        """The charts of errors."""
        return pictures.accuracy(self.page)

    @cached_property
    def errors(self) -> list[tuple[str, list[Cell | None]]]:
        """The worst errors by op and dtype, where a contract allows some."""
        seen = {(c.op, c.dtype): c for c in self.page.cells if c.worst is not None}
        return [(op, [seen.get((op, t)) for t in self.inexact]) for op in dict.fromkeys(op for op, _ in seen)]

    @cached_property
    def inexact(self) -> list[str]:
        """The dtypes in which some contract allows errors."""
        return [t for t in self.dtypes if any(c.dtype == t and c.worst is not None for c in self.page.cells)]

    @cached_property
    def speed(self) -> pictures.SpeedCharts | None:
        """The charts of times."""
        return pictures.speed(self.page)

    @cached_property
    def classes(self) -> list[tuple[str, list[tuple[str, str]]]]:
        """What is shown of determinism: a class, and of each op in it the dtypes."""
        found: dict[str, dict[str, list[str]]] = defaultdict(lambda: defaultdict(list))
        for p in self.page.proofs:
            if p.level == "shown":
                found[p.determinism][p.op].append(p.dtype)
        return [
            (name, [(op, ", ".join(dict.fromkeys(dtypes))) for op, dtypes in ops.items()])
            for name, ops in sorted(found.items(), key=lambda item: item[0] == "none")
        ]

    @cached_property
    def refuted(self) -> list[Proof]:
        """The claims that failed."""
        return [p for p in self.page.proofs if p.level == "refuted"]

    def told(self, cell: Cell) -> str:
        """Return what is known of a cell, a line for each thing."""
        lines = [f"{cell.op} {cell.dtype}: {cell.status.word}", cell.tally]
        if cell.worst is not None:
            share = "" if cell.worst.share is None else f", {cell.worst.share:.0%} of what is allowed"
            lines.append(f"worst error {cell.worst}{share}, in {cell.worst.case}")
        lines += [f"by {shortened(', '.join(cell.kernels), 160)}"] if cell.kernels else []
        lines += [f"determinism: {cell.determinism}"] if cell.determinism else []
        return "\n".join(lines)


def render(pages: Sequence[Page]) -> str:
    """Return the HTML page of one backend, or of several side by side.

    Args:
        pages: at least one.

    Raises:
        ArgumentError: there is no page, or jinja2 is not installed.
    """
    if not pages:
        raise ArgumentError("nothing ran, so there is nothing to report on")
    limit = max(FAILURES // len(pages), 1)
    views = [View(p, f"b{i}-", limit) for i, p in enumerate(pages)]
    comparison = compare(pages) if len(pages) > 1 else None
    template = _environment().get_template("report.html.j2")
    return template.render(views=views, comparison=comparison, title=_title(pages))


def _title(pages: Sequence[Page]) -> str:
    if len(pages) == 1:
        return f"{pages[0].backend} {pages[0].version} on {pages[0].device}: {pages[0].verdict}"
    return f"opmux conformance: {', '.join(dict.fromkeys(p.backend for p in pages))}"


def require_jinja2() -> None:
    """Say before a long run, and not after it, that its page could not be made.

    Raises:
        ArgumentError: jinja2 is not installed.
    """
    _environment()


def _environment() -> Environment:
    try:
        from jinja2 import Environment, FileSystemLoader, StrictUndefined
    except ImportError as error:
        raise ArgumentError(
            "HTML reports need jinja2: pip install 'opmux[conformance]'", missing=("jinja2",)
        ) from error
    made = Environment(
        loader=FileSystemLoader(Path(__file__).parent / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    made.filters.update(
        seconds=in_seconds,
        bytes=in_bytes,
        shortened=shortened,
        outcome=outcome_words,
        slug=slug,
        message=_message,
        first_line=first_line,
    )
    made.globals.update(ABSENT=ABSENT)
    return made


def _message(text: str) -> str:
    return shortened(text, MESSAGE)


def slug(parts: Iterable[str]) -> str:
    """Return parts as the end of an anchor.

    >>> slug(("exp", "float32"))
    'exp-float32'
    """
    return "-".join("".join(c if c.isalnum() or c in "_-" else "." for c in part) for part in parts)
