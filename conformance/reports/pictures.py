"""What the charts of a page show: accuracy beside what is allowed, and speed beside what the device can do."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from . import facts
from .charts import Dot, dot_plot, legend, roofline
from .model import Cell, Page, Timing
from .words import in_bytes, in_seconds

#: Dot plots that stand side by side, and the fewest rows for which another one is begun.
_BESIDE: Final = 3
_FEWEST: Final = 12
_SIZES: Final = ("small", "medium", "large")


@dataclass(frozen=True)
class Accuracy:
    """How near the contract's limits errors come.

    Attributes:
        legend: names and marks.
        charts: SVG; empty where every result was correctly rounded or every bit is given.
        rounded: ops whose results were correctly rounded wherever they were tried.
    """

    legend: str
    charts: tuple[str, ...]
    rounded: tuple[str, ...]


def accuracy(page: Page) -> Accuracy:
    """Return the worst error of every op and dtype as a share of what its contract allows, the largest first."""
    seen = [c for c in page.cells if c.worst is not None and c.worst.share is not None]
    far = [c for c in seen if c.worst is not None and not c.worst.rounded]
    dtypes = sorted({c.dtype for c in far}, key=facts.place_of)
    by_op: dict[str, list[Cell]] = defaultdict(list)
    for c in far:
        by_op[c.op].append(c)
    rows = [
        (op, [Dot(_share(c), dtypes.index(c.dtype), f"{op} {c.dtype}: {c.worst}, {_share(c):.0%} of what is allowed")
              for c in mine])
        for op, mine in sorted(by_op.items(), key=lambda item: (-max(map(_share, item[1])), item[0]))
    ]  # fmt: skip
    charts = _plots(rows, "Worst error of each op as a share of what its contract allows")
    return Accuracy(legend(dtypes), charts, tuple(dict.fromkeys(c.op for c in seen if c.op not in by_op)))


def _share(cell: Cell) -> float:
    return 0.0 if cell.worst is None or cell.worst.share is None else cell.worst.share


def _plots(rows: Sequence[tuple[str, Sequence[Dot]]], label: str) -> tuple[str, ...]:
    each = max(_FEWEST, -(-len(rows) // _BESIDE))
    return tuple(dot_plot(rows[i : i + each], label=label) for i in range(0, len(rows), each))


@dataclass(frozen=True)
class SpeedCharts:
    """How fast the backend is beside the device.

    Attributes:
        legend: names and marks.
        roofline: SVG; empty where no call of those timed computes, or their work was not kept.
        shares: SVG of the share of the device's own roofline, per op.
        sizes: names and marks of its size classes.
    """

    legend: str
    roofline: str
    shares: tuple[str, ...]
    sizes: str


def speed(page: Page) -> SpeedCharts | None:
    """Return the charts of what was timed; None where nothing was."""
    if page.speed is None or not page.speed.rows:
        return None
    rows = page.speed.rows
    sizes = sorted({r.size_class for r in rows}, key=lambda s: (_SIZES.index(s) if s in _SIZES else len(_SIZES), s))
    dtypes = sorted({r.dtype for r in rows}, key=facts.place_of)
    computing = [r for r in rows if r.flops > 0 and r.nbytes > 0]
    drawn = ""
    if computing:
        drawn = roofline(
            [_point(r, dtypes) for r in computing],
            slopes=_slopes(page.speed.bandwidths),
            levels=[(f"{dtype} {rate / 1e9:.3g} GFLOP/s", rate) for dtype, rate in page.speed.rates if rate > 0],
            label="Speed of each call over its arithmetic intensity, under the device's measured limits",
        )
    return SpeedCharts(legend(dtypes), drawn, _shares(rows, sizes), legend(sizes))


def _point(r: Timing, dtypes: Sequence[str]) -> Dot:
    told = f"{r.op} {r.dtype} {r.size_class}: {r.flops / r.seconds / 1e9:.3g} GFLOP/s by {r.kernel}"
    return Dot(r.flops / r.nbytes, dtypes.index(r.dtype), told, r.flops / r.seconds)


def _slopes(bandwidths: Sequence[tuple[float, float]]) -> list[tuple[str, float]]:
    """Return the fastest bandwidth, and that of the largest working set where it is another one."""
    if not bandwidths:
        return []
    nbytes, fastest = max(bandwidths, key=lambda b: b[1])
    largest, slowest = bandwidths[-1]
    made = [(f"{fastest / 1e9:.3g} GB/s at {in_bytes(nbytes)}", fastest)]
    return made + [(f"{slowest / 1e9:.3g} GB/s at {in_bytes(largest)}", slowest)] * (slowest < 0.9 * fastest)


def _shares(rows: Iterable[Timing], sizes: Sequence[str]) -> tuple[str, ...]:
    by_op: dict[str, list[Timing]] = defaultdict(list)
    for r in rows:
        if r.share is not None:
            by_op[r.op].append(r)
    order = {op: i for i, op in enumerate(facts.families())}
    made = [
        (op, [Dot(r.share or 0.0, sizes.index(r.size_class), timing_words(r)) for r in mine])
        for op, mine in sorted(by_op.items(), key=lambda item: (order.get(item[0], len(order)), item[0]))
    ]
    return _plots(made, "Share of the device's own measured roofline that each op reaches")


def timing_words(r: Timing) -> str:
    """Return a timing in one line."""
    share = "" if r.share is None else f", {r.share:.0%} of the roofline"
    bound = f", bound by {r.bound}" if r.bound else ""
    return f"{r.op} {r.dtype} {r.size_class}: {in_seconds(r.seconds)}{share}{bound}"
