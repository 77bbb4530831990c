"""Reductions along other axes than the last ones with what is around them as one kernel, such as softmax of channels.

Neighbouring threads have neighbouring columns, so that every load is of neighbours. A column's lanes are shared by as
many threads as it takes to hold it in registers; longer columns are read again in every pass.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from ....plugin import CallSpec, Kernel, Nest, Prepared, Reason, Refusal, Rejection, orders
from ..device.driver import driver_of
from ..nest import MOST_INDEXED, packed
from ..reductions import WARP, power_of_two
from . import column_source
from .column_source import ENTRY, MOST_TURNS, SAME, SIDE_BY_SIDE, VALUE, Layout, Variant, Way
from .fusing import strides_of
from .row_launch import BUSY, FEWEST_BLOCKS, SHARED_BYTES, Region, walk_along
from .row_program import Rows
from .row_source import MOST_UNROLLED

#: Parts of the sources that these kernels use.
PARTS: Final = ("elementwise", "reductions", "columns")
_WIDTHS: Final = (8, 4, 2, 1)
_VECTOR_BYTES: Final = 16
#: Bytes of neighbours that the threads of a warp load at once, where as many threads need not share a column: a line of
#: the cache; and what memory gives at least.
_LINE_BYTES: Final = 128
_SECTOR_BYTES: Final = 32
#: Bytes of a column that a thread holds at most; threads of a block and how many blocks a multiprocessor has at least:
#: 128 registers for each thread, and twice as many where something that is held takes two.
_HELD_BYTES: Final = 256
_WARPS: Final = 8
#: Terms of a thread, in whose place it does not exchange more.
_FEWEST_STEPS: Final = 4
_BLOCKS: Final = {8: 2, 16: 1}
_BLOCKS_OF_WIDE: Final = {8: 1}
#: Instructions for an element of a column that is read again, for which a thread has twice as many too: with 128 the
#: compiler kept 16 bytes of `softmax(gelu(x))` in memory (NVRTC 13, capability 10.0).
_MANY: Final = 256


def layouts(length: int, widest: int, held: int, eight: bool = False) -> list[Layout]:
    """Return the ways to hold columns in registers, best first: with wide loads, then with few threads for each column.

    Those come last of which a thread has so little that what threads exchange is the greater part of the work.

    Args:
        length: elements of a column.
        widest: bytes of the widest operand or result.
        held: bytes that each element takes from a pass to the next.
        eight: whether one of them takes 8.

    >>> [(x.width, x.across, x.warps, x.steps) for x in layouts(64, 4, 4)][:2]
    [(4, 8, 1, 16), (4, 8, 2, 8)]
    """
    blocks = _BLOCKS_OF_WIDE if eight else _BLOCKS
    turns = power_of_two(max(-(-length // orders.BLOCK), 1))
    lanes = _lanes(length)
    found = []
    for width in _WIDTHS:
        down = orders.LANES if turns > 1 else 1
        while width * widest <= _VECTOR_BYTES and down <= lanes:
            made = _layout(length, widest, width, down, turns, blocks)
            if turns * made.steps * width * max(held, 1) <= _HELD_BYTES:
                found.append(made)
            down *= 2
    return sorted(found, key=lambda x: x.turns * x.steps < min(_FEWEST_STEPS, length))


def walked(length: int, widest: int, instructions: int = 0) -> list[Layout]:
    """Return the ways to read columns again in every pass, those with the widest loads first.

    Args:
        length: elements of a column.
        widest: bytes of the widest operand or result.
        instructions: for each element, in all passes.

    >>> [(x.width, x.across, x.warps, x.steps) for x in walked(5000, 4)]
    [(4, 8, 16, 16), (2, 8, 16, 16), (1, 8, 16, 16)]
    """
    if length > MOST_TURNS * orders.BLOCK:
        return []
    blocks = _BLOCKS_OF_WIDE if instructions > _MANY else _BLOCKS
    widths = [w for w in _WIDTHS if w * widest <= _VECTOR_BYTES]
    return [_layout(length, widest, w, _lanes(length), 0, blocks) for w in widths]


def _lanes(length: int) -> int:
    return min(power_of_two(max(length, 1)), orders.LANES)


def _layout(length: int, widest: int, width: int, down: int, turns: int, blocks: dict[int, int]) -> Layout:
    across = min(max(power_of_two(_LINE_BYTES // (width * widest)), WARP // down), WARP)
    across = min(across, WARP * max(blocks) // down)
    warps = down * across // WARP
    steps = power_of_two(-(-min(max(length, 1), orders.BLOCK) // down))
    many = max(warps, _WARPS)
    return Layout(width, across, warps, _lanes(length), steps, turns, many * WARP, blocks[many])


def held_layouts(rows: Rows) -> list[Layout]:
    """Return the ways to hold the columns of a graph in registers."""
    found = layouts(rows.frame.length, rows.widest(), rows.held_bytes(), rows.holds_eight())
    return [x for x in found if x.turns * x.steps * x.width * rows.instructions() <= MOST_UNROLLED]


def _walked(rows: Rows) -> list[Layout]:
    return walked(rows.frame.length, rows.widest(), rows.instructions())


def region(found: Region) -> Kernel | Refusal:
    """Return a kernel for a region over columns, or a node that is in the way."""
    holds = bool(held_layouts(found.held))
    if not holds and not _walked(found.again):
        return found.refused(f"columns of {found.again.frame.length} elements are too long for one block")
    rows = found.held if holds else found.again
    blocks = rows.frame.rows * rows.widest() / _SECTOR_BYTES  # each with what memory gives at least
    if not holds and blocks < FEWEST_BLOCKS:
        return found.refused("a few long columns are work for more blocks than these")
    return found.kernel("columns", _prepare, holds, blocks)


def _prepare(found: Region, spec: CallSpec) -> Prepared | Rejection:
    """Choose how columns lie on threads by how the operands lie."""
    frame = found.held.frame
    if frame.rows >= MOST_INDEXED or frame.length >= MOST_INDEXED:
        return Rejection(Reason.SIZE, f"{frame.rows} columns of {frame.length} elements are too many, or too long")
    for rows, ways in ((found.held, held_layouts(found.held)), (found.again, _walked(found.again))):
        lying = _Lying.of(spec, rows)
        if not lying.neighbours():
            return Rejection(Reason.LAYOUT, "columns of an operand do not lie side by side")
        layout = lying.chosen(ways)
        if layout is not None:
            variant, packs = lying.variant(layout, len(spec.arrays))
            function = driver_of(spec).loader.function(_source(variant), PARTS, ENTRY)
            own = [packed(lying.kept), *packs]
            return found.launched(spec, rows, function, own, -(-frame.rows // layout.columns), layout.threads)
    return Rejection(Reason.SIZE, f"values of {frame.length} elements have no room in shared memory")


@dataclass(frozen=True, slots=True)
class _Lying:
    """How what a graph over columns reads and writes lies.

    Attributes:
        rows: the graph.
        operands: the strides of each operand along the frame.
        results: number and strides of each result that has elements along a column.
        kept: the columns, as operands and then those results go from one to the next.
        aligned: whether all arrays are.
    """

    rows: Rows
    operands: tuple[tuple[int, ...], ...]
    results: tuple[tuple[int, tuple[int, ...]], ...]
    kept: Nest
    aligned: bool

    @staticmethod
    def of(spec: CallSpec, rows: Rows) -> _Lying:
        frame = rows.frame
        operands = tuple(strides_of(spec, v, len(frame.shape)) for v in rows.operands)
        wide = sorted(i for each in rows.passes for i in each.stored)
        results = tuple((i, tuple(spec.outputs[i].strides)) for i in wide)
        kept = frame.nest(frame.kept, [*operands, *(s for _, s in results)])
        arrays = [spec.arrays[v.value] for v in rows.operands if v.value < len(spec.arrays)]
        return _Lying(rows, operands, results, kept, all(x.aligned for x in (*arrays, *spec.outputs)))

    def axis(self) -> int | None:
        """Return the axis along which columns are neighbours, if there are several."""
        frame = self.rows.frame
        return next((d for d in reversed(frame.kept) if frame.shape[d] != 1), None)

    def last(self, steps: Sequence[int]) -> int:
        """Return how far apart neighbouring columns are."""
        axis = self.axis()
        return 0 if axis is None else steps[axis]

    def neighbours(self) -> bool:
        """Return whether neighbouring columns lie side by side in all that has elements along them."""
        wide = (s for v, s in zip(self.rows.operands, self.operands, strict=True) if self.rows.frame.wide(v))
        return all(self.last(s) in (0, 1) for s in wide)

    def vectors(self, width: int) -> bool:
        """Return whether so many neighbouring columns lie side by side, at whole vectors, in all arrays, or are one."""
        if width == 1:
            return True
        shape, axis = self.rows.frame.shape, self.axis()
        dense = [s for s in (*self.operands, *(s for _, s in self.results)) if self.last(s) != 0]
        steps = [s[d] for s in dense for d, n in enumerate(shape) if n != 1 and d != axis]
        side_by_side = all(self.last(s) == 1 for s in dense)
        return self.aligned and side_by_side and not any(s % width for s in (self.kept.shape[-1], *steps))

    def chosen(self, found: Sequence[Layout]) -> Layout | None:
        """Return the layout with the widest loads, then the fewest threads per column, that leaves the GPU busy."""
        rows = self.rows
        value = sum(f.value_bytes for f in rows.folds)
        fitting = [x for x in found if self.vectors(x.width) and x.shared_bytes(value) <= SHARED_BYTES]
        busy = [x for x in fitting if rows.frame.rows // x.width * x.down >= BUSY]
        return busy[0] if busy else max(fitting, key=lambda x: x.down / x.width, default=None)

    def variant(self, layout: Layout, count: int) -> tuple[Variant, list[bytes]]:
        """Return what the code depends on, and the bytes of what finds elements along columns.

        Args:
            layout: how columns are spread over threads.
            count: arrays of the call that are operands; others are values.
        """
        rows, frame = self.rows, self.rows.frame
        ways: list[Way] = []
        packs: list[bytes] = []
        for view, steps in zip(rows.operands, self.operands, strict=True):
            if view.value >= count:
                ways.append(Way(VALUE))
                continue
            across = SAME if self.last(steps) == 0 and layout.width > 1 else SIDE_BY_SIDE
            ways.append(Way(across, walk_along(frame.nest(frame.axes, [steps]), packs) if frame.wide(view) else ""))
        results = tuple(
            (i, Way(SIDE_BY_SIDE, walk_along(frame.nest(frame.axes, [steps]), packs))) for i, steps in self.results
        )
        even = frame.length == layout.turns * layout.steps * layout.down
        return Variant(rows, layout, even, len(self.kept.shape), tuple(ways), results), packs


@functools.lru_cache(maxsize=1024)
def _source(variant: Variant) -> str:
    return column_source.source(variant)
