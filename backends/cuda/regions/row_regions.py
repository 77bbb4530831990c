"""Reductions of rows with what is computed before, between and after them, as one kernel: softmax, norms, variances.

A row is read once where the registers of a block hold it; otherwise every pass over it reads its operands again. How
rows are spread over threads depends on sizes alone, and the bits do not depend on it.
"""

from __future__ import annotations

import functools
import struct
from dataclasses import replace
from typing import Final

from ....plugin import CallSpec, Graph, Kernel, Nest, Prepared, Reason, Refusal, Rejection, orders
from ..device.driver import driver_of
from ..nest import MOST_INDEXED, packed
from ..reductions import WARP, power_of_two
from . import column_regions, row_source
from .fusing import crowded, foreign, strides_of
from .row_launch import BUSY, FEWEST_BLOCKS, SHARED_BYTES, Region, walk_along
from .row_program import KINDS, Rows, rows_of, with_values
from .row_source import ENTRY, MOST_UNROLLED, MOST_VALUES, NONE, UNIT, VALUE, VECTOR, Layout, Variant

#: Parts of the sources that these kernels use.
PARTS: Final = ("elementwise", "reductions", "rows")
#: The bytes of a row that a thread holds at most; then how many threads a block has, if they are enough, and how
#: many blocks a multiprocessor has at least. What is left of its registers is enough for any recipe of the opset.
_BLOCKS: Final = (128, ((256, 3), (512, 1)))
#: The same for rows of which only reductions are written: with a third block the compiler kept 64 bytes of `logsumexp`
#: in memory (NVRTC 13, capabilities 8.0 and 9.0).
_BLOCKS_OF_REDUCED: Final = 2
#: The same where something that is held has 8 bytes: what is computed with it takes twice the registers.
_BLOCKS_OF_WIDE: Final = (256, ((128, 3), (256, 1)))
#: Base instructions for an element of a row that is held with 8 bytes, beyond which a multiprocessor need have only so
#: many blocks, and each result is written under a condition, though it always holds. Without that the compiler works on
#: so many elements at once that it kept 40 bytes of `log_softmax` in memory (NVRTC 13.5, capability 8.0).
_MOST_AT_ONCE: Final = 100
_BLOCKS_OF_HEAVY: Final = 2
_WALKED: Final = ((256, 2), (512, 1))
#: Lanes of a thread that are neighbours, best first.
_WIDTHS: Final = (8, 4, 2)
_VECTOR_BYTES: Final = 16


def layouts(length: int, widest: int, held: int, eight: bool = False) -> list[Layout]:
    """Return the ways to hold a row in registers, that with the fewest threads first.

    Args:
        length: elements of a row.
        widest: bytes of the widest operand or result.
        held: bytes that each element takes from a pass to the next.
        eight: whether one of them takes 8.

    >>> [(x.side_by_side, x.width, x.team, x.blocks) for x in layouts(1024, 4, 4)]
    [(True, 2, 32, 3), (False, 2, 32, 3)]
    """
    most, blocks = _BLOCKS_OF_WIDE if eight else _BLOCKS
    found = []
    for kind in _kinds(length, widest):
        if kind[1] * _steps(length) * held <= most:
            found += [x for x in (_spread(kind, length, threads, least, 0) for threads, least in blocks) if x][:1]
    return found


def walked(length: int, widest: int) -> list[Layout]:
    """Return the ways to read a row again in every pass.

    >>> [x.turns for x in walked(2**20, 4)]
    [32, 64, 64]
    """
    found = []
    for kind in _kinds(length, widest):
        ways = (_spread(kind, length, threads, least, MOST_VALUES) for threads, least in _WALKED)
        found += [x for x in ways if x][-1:]
    return found


def _kinds(length: int, widest: int) -> list[tuple[bool, int, int]]:
    """Return whether lanes are neighbours, how many a thread has, and how many threads share a block of terms."""
    lanes = min(power_of_two(max(length, 1)), orders.LANES)
    fitting = [w for w in _WIDTHS if w * widest <= _VECTOR_BYTES and length % w == 0 and w <= lanes]
    return [*((True, w, lanes // w) for w in fitting), (False, max(lanes // WARP, 1), min(lanes, WARP))]


def _steps(length: int) -> int:
    return power_of_two(max(-(-min(length, orders.BLOCK) // orders.LANES), 1))


def _spread(kind: tuple[bool, int, int], length: int, threads: int, least: int, most: int) -> Layout | None:
    """Spread a row over the threads of a block, in turns that leave no more values than given; None for no fit."""
    side_by_side, width, team = kind
    blocks = max(-(-length // orders.BLOCK), 1)
    teams = min(power_of_two(blocks), WARP // team)
    warps = power_of_two(-(-blocks // teams))
    turns = 0
    if most:
        warps = min(warps, threads // WARP)
        turns = power_of_two(-(-blocks // (teams * warps)))
    if warps * WARP > threads or turns * warps > most > 0:
        return None
    return Layout(side_by_side, width, team, _steps(length), teams, warps, turns, threads, least)


def region(graph: Graph) -> Kernel | Refusal:
    """Return a kernel for a graph over rows, or a node that is in the way."""
    refused = crowded(graph) or foreign(graph, {i for i, node in enumerate(graph.nodes) if node.op.name in KINDS})
    if refused is not None:
        return refused
    open_graph = with_values(graph)
    held, again = rows_of(open_graph, True), rows_of(open_graph, False)
    if isinstance(held, Refusal):
        return held
    if isinstance(again, Refusal):
        return again
    found = Region(graph, held, again)
    if not held.frame.trailing:
        return column_regions.region(found)
    holds, rows = bool(held_layouts(held)), held.frame.rows
    if not holds and rows < FEWEST_BLOCKS:
        return found.refused("a few long rows are work for more blocks than one each")
    return found.kernel("rows", _prepare, holds, rows)


def _prepare(found: Region, spec: CallSpec) -> Prepared | Rejection:
    """Choose how rows lie on threads by how the operands lie."""
    frame = found.held.frame
    chosen = _chosen(found, spec)
    if chosen is None or frame.rows >= MOST_INDEXED:
        return Rejection(Reason.SIZE, f"{frame.rows} rows of {frame.length} elements are too many, or too long")
    rows, layout = chosen
    strides = [strides_of(spec, v, len(frame.shape)) for v in rows.operands]
    kept = frame.nest(frame.kept, strides)
    walks: list[str] = []
    packs: list[bytes] = []
    for view, steps in zip(rows.operands, strides, strict=True):
        kind = _walk(frame.nest(frame.axes, [steps]), packs) if frame.wide(view) else NONE
        kind = VALUE if view.value >= len(spec.arrays) else kind
        walks.append(VECTOR if kind == UNIT and layout.side_by_side else kind)
    calm = layout.turns > 0 or not rows.holds_eight() or rows.instructions() <= _MOST_AT_ONCE
    layout = layout if calm else replace(layout, blocks=min(layout.blocks, _BLOCKS_OF_HEAVY))
    even = frame.length == layout.length and calm
    variant = Variant(rows, layout, even, len(kept.shape), tuple(walks))
    function = driver_of(spec).loader.function(_source(variant), PARTS, ENTRY)
    own = [struct.pack("<3I", *layout.words()), packed(kept), *packs]
    return found.launched(spec, rows, function, own, -(-frame.rows // layout.rows), layout.threads)


def _chosen(found: Region, spec: CallSpec) -> tuple[Rows, Layout] | None:
    """Return what suits the strides: the most elements per thread that leave the GPU busy."""
    frame, again = found.held.frame, found.again
    # Shared memory must have room for what warps make of a row that is walked.
    room = sum(f.value_bytes for f in again.folds) * (MOST_VALUES + WARP) <= SHARED_BYTES
    ways = ((found.held, held_layouts(found.held)), (again, walked(frame.length, again.widest()) if room else []))
    for rows, spread in ways:
        fitting = [x for x in spread if not x.side_by_side or _dense(spec, rows, x.width)]
        neighbours = [x for x in fitting if x.side_by_side] or fitting
        busy = [x for x in neighbours if frame.rows * x.team * x.teams * x.warps >= BUSY]
        if fitting:
            return rows, busy[0] if busy else neighbours[-1]
    return None


def _dense(spec: CallSpec, rows: Rows, width: int) -> bool:
    """Return whether all that has elements along a row, operands and results, has vectors of so many."""
    frame = rows.frame
    for view in rows.operands:
        if not frame.wide(view):
            continue
        array = spec.arrays[view.value]
        steps = strides_of(spec, view, len(frame.shape))
        inner = frame.nest(frame.axes, [steps])
        outer = [steps[d] for d in frame.kept if frame.shape[d] != 1]
        if inner.strides != ((1,),) or not array.aligned or any(s % width for s in outer):
            return False
    return all(out.aligned for out in spec.outputs)


def held_layouts(rows: Rows) -> list[Layout]:
    """Return the ways to hold the rows of a graph in registers."""
    found = layouts(rows.frame.length, rows.widest(), rows.held_bytes(), rows.holds_eight())
    if not any(each.stored for each in rows.passes):
        found = [replace(x, blocks=min(x.blocks, _BLOCKS_OF_REDUCED)) for x in found]
    return [x for x in found if x.width * x.steps * rows.instructions() <= MOST_UNROLLED]


def _walk(inner: Nest, packs: list[bytes]) -> str:
    """Return the C++ type that finds elements along a row, and add its bytes if it has any."""
    if not inner.shape or 0 in inner.shape or inner.strides == ((1,),):
        return UNIT
    return walk_along(inner, packs)


@functools.lru_cache(maxsize=1024)
def _source(variant: Variant) -> str:
    return row_source.source(variant)
