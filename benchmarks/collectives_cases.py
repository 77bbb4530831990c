"""Collectives to measure: what each rank brings, what it must get, and nccl-tests' formula for bus bandwidth."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final, Literal

import numpy as np
from numpy.typing import NDArray

Values = NDArray[np.float32]
Section = Literal["peers", "canonical"]
#: Operands repeat whole numbers with this period, a prime, so that no cut falls on it; their sums are exact.
_PERIOD: Final = 8191
_LARGEST: Final = 1000
_ITEM: Final = 4


@dataclass(frozen=True, slots=True)
class Collective:
    """One collective op.

    Attributes:
        brings: elements that a rank brings, of so many in all and so many ranks.
        gets: elements that a rank gets, likewise.
        expected: what a rank gets, from the patterns that all ranks repeat and how many elements there are in all.
        bus: bus bandwidth over bytes per second, by ranks (nccl-tests, doc/PERFORMANCE.md).
        traffic: bytes that have to be read and written for a call over all ranks' memory, over its size, by ranks.
        rooted: whether a rank can be done before others have begun; then a barrier stands between two calls.
    """

    brings: Callable[[int, int], int]
    gets: Callable[[int, int], int]
    expected: Callable[[list[Values], int, int], Values]
    bus: Callable[[int], float]
    traffic: Callable[[int], float]
    rooted: bool = False


def _reduced(patterns: list[Values], count: int, rank: int) -> Values:
    return np.resize(np.sum(patterns, axis=0, dtype=np.float64).astype(np.float32), count)


def _scattered(patterns: list[Values], count: int, rank: int) -> Values:
    part = count // len(patterns)
    return _reduced(patterns, count, rank)[rank * part : (rank + 1) * part]


def _gathered(patterns: list[Values], count: int, rank: int) -> Values:
    return np.concatenate([np.resize(p, count // len(patterns)) for p in patterns])


def _all(count: int, ranks: int) -> int:
    return count


def _part(count: int, ranks: int) -> int:
    return count // ranks


COLLECTIVES: Final[Mapping[str, Collective]] = {
    "all_reduce": Collective(_all, _all, _reduced, lambda n: 2 * (n - 1) / n, lambda n: 2 * n),
    "reduce_scatter": Collective(_all, _part, _scattered, lambda n: (n - 1) / n, lambda n: n + 1),
    "all_gather": Collective(_part, _all, _gathered, lambda n: (n - 1) / n, lambda n: n + 1),
    "broadcast": Collective(
        _all, _all, lambda p, count, rank: np.resize(p[0], count), lambda n: 1.0, lambda n: n + 1, rooted=True
    ),
}


@lru_cache(maxsize=16)
def _pattern(rank: int) -> Values:
    numbers = np.random.default_rng((20_240_601, rank)).integers(-_LARGEST, _LARGEST, _PERIOD)
    return numbers.astype(np.float32)


@dataclass(frozen=True, slots=True)
class Case:
    """One collective of float32 on so many ranks.

    Attributes:
        collective: a key of :data:`COLLECTIVES`.
        ranks: how many.
        nbytes: its size as nccl-tests counts: what each rank brings, or for an all_gather what each gets.
        section: beside peers, or the canonical mode beside the fast one.
    """

    collective: str
    ranks: int
    nbytes: int
    section: Section = "peers"

    @property
    def name(self) -> str:
        """Its name in tables and files.

        >>> Case("all_reduce", 2, 1 << 20).name
        'all_reduce 1 MiB 2 ranks'
        """
        canonical = " canonical" if self.section == "canonical" else ""
        return f"{self.collective} {size_name(self.nbytes)} {self.ranks} ranks{canonical}"

    @property
    def count(self) -> int:
        """Elements of what :attr:`nbytes` counts."""
        return self.nbytes // _ITEM

    @property
    def bus_bytes(self) -> float:
        """Bytes that bus bandwidth counts."""
        return self.nbytes * COLLECTIVES[self.collective].bus(self.ranks)

    @property
    def traffic(self) -> int:
        """Bytes read and written by a call in the memory of one process, at least."""
        return int(self.nbytes * COLLECTIVES[self.collective].traffic(self.ranks))

    @property
    def in_place_share(self) -> float:
        """What of :attr:`traffic` is left where results take the operands' memory: a broadcast's root keeps its own."""
        return self.ranks / (self.ranks + 1) if self.collective == "broadcast" else 1.0

    @property
    def rooted(self) -> bool:
        """Whether a barrier stands between two calls."""
        return COLLECTIVES[self.collective].rooted

    def brought(self, rank: int) -> Values:
        """Return what a rank brings."""
        return np.resize(_pattern(rank), COLLECTIVES[self.collective].brings(self.count, self.ranks))

    def gets(self) -> int:
        """Return how many elements a rank gets."""
        return COLLECTIVES[self.collective].gets(self.count, self.ranks)

    def expected(self, rank: int) -> Values:
        """Return what a rank gets, by NumPy; sums of whole numbers, which have one right answer in float32."""
        patterns = [_pattern(r) for r in range(self.ranks)]
        return COLLECTIVES[self.collective].expected(patterns, self.count, rank)

    def to_data(self) -> dict[str, Any]:
        """Return it as plain data; what :func:`case_of` takes, and what a reader wants to know."""
        return {
            "name": self.name,
            "collective": self.collective,
            "ranks": self.ranks,
            "nbytes": self.nbytes,
            "section": self.section,
        }


def case_of(data: Mapping[str, Any]) -> Case:
    """Return the case that :meth:`Case.to_data` described."""
    return Case(data["collective"], data["ranks"], data["nbytes"], data["section"])


def size_name(nbytes: int) -> str:
    """Return a size in words.

    >>> size_name(4), size_name(32768), size_name(64 << 20)
    ('4 B', '32 KiB', '64 MiB')
    """
    for unit, name in ((1 << 20, "MiB"), (1 << 10, "KiB")):
        if nbytes >= unit and nbytes % unit == 0:
            return f"{nbytes // unit} {name}"
    return f"{nbytes} B"


_SIZES: Final = (4, 64, 1 << 10, 32 << 10, 1 << 20, 8 << 20, 64 << 20)
_QUICK: Final = (64, 4 << 10)
_RANKS: Final = (2, 4)
#: Sizes and numbers of ranks of the canonical mode beside the fast one.
_CANONICAL: Final = (1 << 10, 1 << 20, 16 << 20)
_CANONICAL_RANKS: Final = (2, 3, 4)


def cases(quick: bool) -> list[Case]:
    """Return the cases; a size too small for one element per rank is raised to that."""
    made = []
    for collective in COLLECTIVES:
        for ranks in _RANKS:
            least = _ITEM * ranks if collective in ("reduce_scatter", "all_gather") else _ITEM
            made += [Case(collective, ranks, max(size, least)) for size in (_QUICK if quick else _SIZES)]
    for ranks in _CANONICAL_RANKS:
        made += [Case("all_reduce", ranks, size, "canonical") for size in (_QUICK if quick else _CANONICAL)]
    return made
