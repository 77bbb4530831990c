"""Several backends side by side: who passes which op on which dtype, how accurate, and how fast."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from . import facts
from .model import Cell, Page, Timing
from .status import ABSENT, STATUSES, Status


@dataclass(frozen=True)
class PairRow:
    """One op and dtype across backends.

    Attributes:
        op, dtype, family: which.
        cells: one per page; None where it has none.
    """

    op: str
    dtype: str
    family: str
    cells: tuple[Cell | None, ...]

    @property
    def statuses(self) -> tuple[Status, ...]:
        """How each stands."""
        return tuple(ABSENT if c is None else c.status for c in self.cells)

    @property
    def differs(self) -> bool:
        """Whether the backends do not all stand alike; being composed of other ops is no difference."""
        return len({"pass" if s.name == "composed" else s.name for s in self.statuses}) > 1

    @property
    def agreed(self) -> bool:
        """Whether all stand alike and none fails: there is nothing to see side by side."""
        return not self.differs and not any(s.bad for s in self.statuses)


@dataclass(frozen=True)
class OpRow:
    """One op across backends.

    Attributes:
        op, family: which.
        pairs: its dtypes.
    """

    op: str
    family: str
    pairs: tuple[PairRow, ...]

    @property
    def differs(self) -> bool:
        """Whether the backends do not stand alike on some dtype."""
        return any(p.differs for p in self.pairs)

    @property
    def agreed(self) -> bool:
        """Whether the backends agree on every dtype, and none fails."""
        return all(p.agreed for p in self.pairs)

    def told(self, i: int) -> tuple[Status, str]:
        """Return the most urgent status of a page's dtypes, and how many of them pass, whole or in part."""
        found = [p.statuses[i] for p in self.pairs]
        passed, partly = sum(s.name in ("pass", "composed") for s in found), sum(s.name == "mixed" for s in found)
        if passed == len(found):
            return STATUSES["composed" if all(s.name == "composed" for s in found) else "pass"], str(passed)
        names = {s.name for s in found}
        urgent = next((s for s in STATUSES.values() if s.name in names and s.name not in ("pass", "composed")), ABSENT)
        # Refused on some dtypes and passed on the others is a matter of coverage, not of one cell.
        if passed and urgent.name in ("unsupported", "absent"):
            urgent = STATUSES["mixed"]
        if not partly:
            return urgent, f"{passed} of {len(found)}"
        if not passed:
            return urgent, f"{partly} of {len(found)} in part"
        return urgent, f"{passed} of {len(found)}, {partly} in part"


@dataclass(frozen=True)
class SpeedRow:
    """One call across backends.

    Attributes:
        op, dtype, size_class: which call.
        timings: one per page; None where it was not timed.
    """

    op: str
    dtype: str
    size_class: str
    timings: tuple[Timing | None, ...]

    @property
    def fastest(self) -> float:
        """The least seconds."""
        return min(t.seconds for t in self.timings if t is not None)

    def ratio(self, i: int) -> float | None:
        """Return how many times as long as the fastest a page takes."""
        timing = self.timings[i]
        return None if timing is None else timing.seconds / self.fastest


@dataclass(frozen=True)
class Comparison:
    """Several pages side by side.

    Attributes:
        pages: what is compared.
        names: a short name per page, different for each.
        profiles: names of those that some page speaks of.
        ops: every op that some page speaks of.
        speeds: every call that more than one page has timed.
        caution: why times are not to be compared; empty where they are.
    """

    pages: tuple[Page, ...]
    names: tuple[str, ...]
    profiles: tuple[str, ...]
    ops: tuple[OpRow, ...]
    speeds: tuple[SpeedRow, ...]
    caution: str

    def means(self, size_class: str) -> tuple[float | None, ...]:
        """Return each page's geometric mean of times as long as the fastest, over the calls that all have timed."""
        rows = [r for r in self.speeds if r.size_class == size_class and all(r.timings)]
        if not rows:
            return (None,) * len(self.pages)
        return tuple(
            math.exp(sum(math.log(r.ratio(i) or 1.0) for r in rows) / len(rows)) for i in range(len(self.pages))
        )

    @property
    def sizes(self) -> tuple[str, ...]:
        """The size classes of the calls compared."""
        return tuple(dict.fromkeys(r.size_class for r in self.speeds))


def compare(pages: Sequence[Page]) -> Comparison:
    """Return pages side by side."""
    pairs = facts.in_order({pair for p in pages for pair in p.by_pair})
    by_op: dict[str, list[PairRow]] = defaultdict(list)
    for op, dtype in pairs:
        cells = tuple(p.by_pair.get((op, dtype)) for p in pages)
        family = next((c.family for c in cells if c is not None), "")
        by_op[op].append(PairRow(op, dtype, family, cells))
    products = sorted({p.model for p in pages if p.speed is not None})
    return Comparison(
        tuple(pages),
        _names(pages),
        tuple(dict.fromkeys(line.profile for p in pages for line in p.profiles)),
        tuple(OpRow(op, rows[0].family, tuple(rows)) for op, rows in by_op.items()),
        _speeds(pages),
        f"measured on different devices: {', '.join(products)}" if len(products) > 1 else "",
    )


def _names(pages: Sequence[Page]) -> tuple[str, ...]:
    """Return names that tell pages apart: the backend's, and as much more as it takes."""
    ways: tuple[Any, ...] = (
        lambda p: p.backend,
        lambda p: f"{p.backend} {p.version}",
        lambda p: f"{p.backend} on {p.device}",
        lambda p: f"{p.backend} {p.version} on {p.device}",
        lambda p: f"{p.backend} ({p.origin})",
    )
    for way in ways:
        names = tuple(way(p) for p in pages)
        if len(set(names)) == len(names):
            return names
    return tuple(f"{p.backend} ({i})" for i, p in enumerate(pages, 1))


def _speeds(pages: Sequence[Page]) -> tuple[SpeedRow, ...]:
    by_key = [{r.key: r for r in p.speed.rows} if p.speed is not None else {} for p in pages]
    keys = dict.fromkeys(key for found in by_key for key in found)
    rows: Iterable[SpeedRow] = (SpeedRow(*key, tuple(found.get(key) for found in by_key)) for key in keys)
    return tuple(r for r in rows if sum(t is not None for t in r.timings) > 1)
