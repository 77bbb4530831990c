"""Where the chunks of a schedule lie in the slots of a rank, in elements."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from itertools import accumulate

from .schedule import INPUT, OUTPUT, Schedule


@dataclass(frozen=True)
class Layout:
    """The lengths of a schedule's chunks, and which slots hold all of them.

    Attributes:
        lengths: of each chunk, in elements; the same on every rank.
        own: slots that hold only the chunk numbered as their rank: the input of an all_gather, the output of a
            reduce_scatter.
        pairs: for an all_to_all ``pairs[i][j]`` elements go from rank i to rank j; None where lengths are enough.
    """

    lengths: tuple[int, ...]
    own: frozenset[int] = frozenset()
    pairs: tuple[tuple[int, ...], ...] | None = None
    _starts: tuple[int, ...] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_starts", tuple(accumulate(self.lengths, initial=0)))

    def span(self, rank: int, slot: int, chunk: int, count: int) -> tuple[int, int]:
        """Return the first element of a row of chunks within a slot, and how many elements it has.

        >>> Layout((3, 2, 2)).span(0, 0, 1, 2), Layout((3, 2, 2), own=frozenset({0})).span(1, 0, 1, 1)
        ((3, 4), (0, 2))
        """
        if self.pairs is not None:
            row = self.pairs[rank] if slot == INPUT else tuple(p[rank] for p in self.pairs)
            return sum(row[:chunk]), sum(row[chunk : chunk + count])
        first, last = self._starts[chunk], self._starts[chunk + count]
        return first - (self._starts[rank] if slot in self.own else 0), last - first

    def size(self, rank: int, slot: int) -> int:
        """Return how many elements a whole slot has."""
        if self.pairs is not None:
            return sum(self.pairs[rank]) if slot == INPUT else sum(p[rank] for p in self.pairs)
        return self.lengths[rank] if slot in self.own else self._starts[-1]

    def bound(self, schedule: Schedule) -> Layout:
        """Return this layout as a schedule needs it: in its number of chunks, with its slots of one chunk.

        >>> from opmux.core.collectives.schedule import Schedule
        >>> Layout((3, 2, 2)).bound(Schedule("all_reduce", "tree", ranks=3, chunks=1, slots=2, phases=())).lengths
        (7,)
        """
        parts = len(self.lengths) == schedule.chunks or self.pairs is not None
        lengths = self.lengths if parts else cut(self._starts[-1], schedule.chunks)
        if lengths == self.lengths and schedule.own <= self.own:
            return self
        return replace(self, lengths=lengths, own=self.own | schedule.own)


def cut(length: int, parts: int) -> tuple[int, ...]:
    """Return the lengths of nearly equal parts, the longer ones first.

    >>> cut(7, 3)
    (3, 2, 2)
    """
    whole, rest = divmod(length, parts)
    return tuple(whole + (i < rest) for i in range(parts))


__all__ = ["INPUT", "OUTPUT", "Layout", "cut"]
