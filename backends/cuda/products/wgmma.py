"""Matrix products by warpgroups of capability 9.0: tiles, how operands come to shared memory, the text of a kernel."""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Final

from ....plugin import Reason, Rejection, Signature, dtypes
from ..device.tensor_maps import LINE, LONGEST, RANKS, STRIDE_BYTES, STRIDE_LIMIT, Tiling
from .epilogue import Epilogue, Sink, sink
from .matmul import ELEMENTS, VECTOR_BYTES, Problem, flag

#: The product of ``warpgroups.cuh``, by the operands' dtype.
PRODUCTS: Final = {
    "float16": "WgmmaFloat16", "bfloat16": "WgmmaBFloat16", "int8": "WgmmaInt8", "uint8": "WgmmaUInt8",
}  # fmt: skip
#: Dtypes whose rows or columns may lie side by side as well as their terms (PTX ISA, ``wgmma``: only of 16 bits).
_EITHER_WAY: Final = frozenset({"float16", "bfloat16"})
_WARPGROUP: Final = 128
_PANEL: Final = 64
_CONSUMERS: Final = 2
_BARRIER_BYTES: Final = 8
_BUFFERS_BYTES: Final = 2 * _PANEL * LINE
#: Bytes of results that lines of the copy engine are made of.
_WRITTEN: Final = (2, 4)


@dataclass(frozen=True, slots=True)
class Tile:
    """What one block of threads makes at a time: 128 rows, 64 by each of two warpgroups.

    Attributes:
        columns: columns of the result.
        stages: of operands in shared memory.
        cluster: blocks whose tiles lie one below the other and who share columns.
        share: of the best rate that it is declared to reach with whole tiles; never measured, and used to compare only.
        turns: whether each warpgroup makes every other tile alone, all rows of it.
    """

    columns: int
    stages: int
    cluster: int
    share: float
    turns: bool = False

    @property
    def rows(self) -> int:
        """Rows of the result."""
        return _CONSUMERS * _PANEL

    @property
    def threads(self) -> int:
        """Threads of a block: a warpgroup brings operands."""
        return (_CONSUMERS + 1) * _WARPGROUP

    @property
    def shared(self) -> int:
        """Bytes of shared memory."""
        stage = (self.rows + self.columns) * LINE + 2 * _BARRIER_BYTES
        return self.stages * stage + _CONSUMERS * (_BUFFERS_BYTES + _BARRIER_BYTES)


#: What lies in the second-level cache is read fewer times by larger tiles, and by clusters.
TILES: Final = (
    Tile(256, 4, 2, 1.0),
    Tile(256, 4, 1, 0.95),
    Tile(128, 6, 2, 0.9),
    Tile(128, 6, 1, 0.85),
    Tile(64, 8, 1, 0.6),
    Tile(128, 6, 2, 0.87, turns=True),
    Tile(128, 6, 1, 0.82, turns=True),
)
#: Clocks of a multiprocessor for one column of 128 results, all declared. Of products, for each byte of terms: 2048
#: multiply-adds of float16 in a clock and twice as many of int8, at 0.7 of that rate. Of an instruction of an epilogue:
#: 1.7 of the GPU's, of which 128 elements take one in a clock; two warpgroups reach 0.7 of that rate, one 0.45.
_PRODUCTS: Final = 1 / 32 / 0.7
_TOGETHER: Final = 1.7 / 0.7
_ALONE: Final = 1.7 / 0.45


def tiles_of(problem: Problem, tile: Tile) -> tuple[int, int]:
    """Return how many tiles of a cluster a result has, along rows and columns."""
    return -(-problem.rows // (tile.rows * tile.cluster)), -(-problem.columns // tile.columns)


def clusters_for(problem: Problem, tile: Tile, multiprocessors: int) -> int:
    """Return how many clusters a launch has, each of which makes one tile after another."""
    rows, columns = tiles_of(problem, tile)
    return min(rows * columns * problem.count, max(multiprocessors // tile.cluster, 1))


def tile_for(problem: Problem, multiprocessors: int, itemsize: int = 2, instructions: int = 0) -> Tile:
    """Return the tile whose turns take the least time in all, the last turn being whole too; of equals the first.

    While a tile's results are written, tensor cores have nothing to do but where warpgroups take turns.

    Args:
        problem: what is computed.
        multiprocessors: of the GPU.
        itemsize: bytes of an element of the operands.
        instructions: of an epilogue, for each result.

    >>> from opmux.plugin import Nest
    >>> square = Problem(4096, 4096, 4096, (4096, 1), (4096, 1), Nest((1,), ((0,), (0,), (0,))))
    >>> tile_for(square, 132).columns, tile_for(square, 132, 2, 60).turns
    (256, True)
    """

    def time(tile: Tile) -> float:
        rows, columns = tiles_of(problem, tile)
        turns = -(-rows * columns * problem.count // clusters_for(problem, tile, multiprocessors))
        products = problem.depth * itemsize * _PRODUCTS / tile.share
        if not tile.turns:
            return turns * tile.columns * (products + instructions * _TOGETHER)
        alone = instructions * _ALONE
        return tile.columns * (turns * max(products, (products + alone) / _CONSUMERS) + alone)

    return min(TILES, key=time)


@dataclass(frozen=True, slots=True)
class Staged:
    """How an operand comes to shared memory.

    Attributes:
        across: whether rows or columns lie side by side, and not the terms.
        shape, strides: of its tensor map.
        axes: bit i says whether another index of the batch's axis i, counted from the innermost, is another matrix.
    """

    across: bool
    shape: tuple[int, ...]
    strides: tuple[int, ...]
    axes: int

    def tiling(self, itemsize: int, extent: int) -> Tiling:
        """Return the boxes of so many rows or columns, or of panels of them where those lie side by side."""
        line = LINE // itemsize
        box = (_PANEL, line) if self.across else (line, extent)
        return Tiling(itemsize, self.shape, self.strides, (*box, *(1,) * (len(self.shape) - 2)))


def staged(
    operand: Signature,
    extent: tuple[int, int],
    depth: tuple[int, int],
    batch: tuple[Sequence[int], Sequence[int]],
) -> Staged | Rejection:
    """Return how the copy engine brings an operand, or why it cannot.

    Args:
        operand: dtype and alignment.
        extent, depth: length and stride along the result, and along the terms.
        batch: lengths of the batch's axes, and the operand's strides.
    """
    size = operand.dtype.itemsize
    if not operand.aligned:
        return Rejection(
            Reason.ALIGNMENT,
            f"the copy engine takes arrays that begin at multiples of {STRIDE_BYTES} bytes, and {operand} need not",
        )
    axes = list(zip(*(list(b)[::-1] for b in batch), strict=True))
    rank = next((r for r in RANKS if len(axes) <= r - 2), None)
    if rank is None:
        return Rejection(
            Reason.RANK, f"the copy engine takes {RANKS[-1] - 2} axes of a batch, and there are {len(axes)}"
        )
    axes += [(1, 0)] * (rank - 2 - len(axes))
    for across, inner, outer in ((False, depth, extent), (True, extent, depth)):
        if inner[0] > 1 and inner[1] != 1:
            continue
        if across and operand.dtype.name not in _EITHER_WAY:
            return Rejection(Reason.LAYOUT, f"wgmma takes {operand.dtype} with the terms of a product side by side")
        moved = [outer, *((n if s else 1, s) for n, s in axes)]
        strides = _strides(inner[0] * size, [(n, s * size) for n, s in moved])
        if all(s % STRIDE_BYTES == 0 and 0 < s < STRIDE_LIMIT for s in strides):
            bits = sum(1 << i for i, (n, s) in enumerate(axes) if n > 1 and s)
            return Staged(across, (inner[0], *(n for n, _ in moved)), tuple(strides), bits)
    return Rejection(
        Reason.LAYOUT,
        f"the copy engine takes rows or columns that lie dense, at strides of multiples of {STRIDE_BYTES} bytes; "
        f"{operand} has others",
    )


def _strides(row: int, axes: Sequence[tuple[int, int]]) -> list[int]:
    """Return strides in bytes, where axes of one index lie behind those before them.

    >>> _strides(40, [(1, 7), (3, 96), (1, 0)])
    [48, 96, 288]
    """
    end, strides = -(-row // STRIDE_BYTES) * STRIDE_BYTES, []
    for n, stride in axes:
        strides.append(stride if n > 1 else min(end, STRIDE_LIMIT - STRIDE_BYTES))
        end = strides[-1] * n
    return strides


def written(problem: Problem, out: Signature) -> Tiling | None:
    """Return how the copy engine writes a result, or None where it cannot."""
    size, row = out.dtype.itemsize, problem.columns * out.dtype.itemsize
    if size not in _WRITTEN or not out.aligned or row % STRIDE_BYTES or row * problem.rows >= STRIDE_LIMIT:
        return None
    shape = problem.columns, problem.rows, problem.count
    return Tiling(size, shape, (row, row * problem.rows), (LINE // size, _PANEL, 1))


def too_long(problem: Problem) -> Rejection | None:
    """Return why indices of 32 bits do not do, if so."""
    longest = max(problem.rows, problem.columns, problem.depth, problem.count)
    tiles = [a * b * problem.count for a, b in (tiles_of(problem, t) for t in TILES)]
    if longest <= LONGEST - LONGEST // 256 and max(tiles) <= LONGEST:
        return None
    return Rejection(Reason.SIZE, f"an axis of {longest} or {max(tiles)} tiles are beyond the copy engine's indices")


@dataclass(frozen=True, slots=True)
class Fused:
    """An epilogue, and how a warp's results come to it through shared memory.

    Attributes:
        epilogue: what is done with results.
        width: neighbours of a row that a lane takes at once.
        lanes: that share a row.
        flight: rows of which a lane has operands under way at once.
        rank: dimensions of the batch.
    """

    epilogue: Epilogue
    width: int
    lanes: int
    flight: int
    rank: int


#: Neighbours that a lane may take, and columns that a warp takes at a time.
_WIDTHS: Final = (8, 4, 2, 1)
_MOST_COLUMNS: Final = 64
_WARP: Final = 32
_ROWS_OF_WARP: Final = 16
#: Registers of a lane for operands and their addresses: of one row at most, and of all rows that are under way. A
#: consumer has 232, and sums are in up to 128 of them; with 80 of an epilogue's some spilled.
_MOST_HELD: Final = 72
_UNDER_WAY: Final = 64
#: Those of an address, which results have too; one whose columns lie apart has two parts.
_ADDRESS: Final = {"AlongRow": 2, "OverRow": 2, "AcrossRow": 4}
#: Instructions that are there once for each element at hand. Loops of many more would not stay in the cache for code.
_MOST_UNROLLED: Final = 1024


def fused(problem: Problem, product: str, epilogue_of: Callable[[int], Epilogue], aligned: bool) -> Fused | Rejection:
    """Return how results come to an epilogue, as widely as the columns and the registers allow; or why they cannot.

    Args:
        problem: what is computed.
        product: dtype of the product.
        epilogue_of: returns the epilogue whose threads have so many columns of a row at a time.
        aligned: whether all results begin at multiples of 64 bytes.
    """
    repeated = tuple(column == 0 for _, column in problem.across)
    for width in _WIDTHS if aligned else _WIDTHS[-1:]:
        epilogue = replace(epilogue_of(width), repeated=repeated)
        widest = max(dtypes.BY_NAME[t].itemsize for t in (product, *epilogue.outputs))
        held = _held(epilogue, width)
        if width * widest <= VECTOR_BYTES and problem.columns % width == 0 and held <= _MOST_HELD:
            break
    else:
        count = len(epilogue.inputs)
        return Rejection(Reason.SIZE, f"{count} operands of an epilogue take more registers than its sums leave")
    lanes = min(_WARP, _MOST_COLUMNS // width, LINE // (width * widest))
    flight = _ROWS_OF_WARP * lanes // _WARP if epilogue.inputs else 1
    registers, instructions = held + _ADDRESS["AlongRow"], width * len(epilogue.program.instructions)
    while flight > 1 and (flight * registers > _UNDER_WAY or flight * instructions > _MOST_UNROLLED):
        flight //= 2
    return Fused(epilogue, width, lanes, flight, len(problem.batch.shape))


def _held(epilogue: Epilogue, width: int) -> int:
    """Return how many registers the operands of so many neighbours take: words of a vector, or one for each element."""
    held = 0
    for dtype, kind in zip(epilogue.inputs, epilogue.kinds, strict=True):
        size = dtypes.BY_NAME[dtype].itemsize
        each = max(size // 4, 1)
        held += {"AlongRow": max(width * size // 4, 1), "AcrossRow": width * each, "OverRow": each}[kind]
        held += _ADDRESS[kind]
    return held


@dataclass(frozen=True, slots=True)
class Variant:
    """What the code of a kernel depends on.

    Attributes:
        operand, result: dtypes.
        tile: the tile.
        a_across, b_across: how the operands lie.
        rank: of their tensor maps.
        copied: whether the copy engine writes results.
        vectors: else, whether rows may be written as vectors of two.
        fused: what is done with results before they are written.
    """

    operand: str
    result: str
    tile: Tile
    a_across: bool
    b_across: bool
    rank: int
    copied: bool
    vectors: bool
    fused: Fused | None = None

    @property
    def name(self) -> str:
        """The entry's name."""
        in_turns = "_in_turns" if self.tile.turns else ""
        return f"matmul_wgmma_{self.tile.cluster * self.tile.rows}x{self.tile.columns}{in_turns}"


def work(problem: Problem, tile: Tile, a: Staged, b: Staged, itemsize: int) -> bytes:
    """Return the bytes of ``Warpgroups``."""
    rows, columns = tiles_of(problem, tile)
    batch = [*problem.batch.shape[::-1], 1, 1, 1][:3]
    stages = -(-problem.depth * itemsize // LINE)
    head = problem.rows, problem.columns, rows, columns, rows * columns * problem.count, stages
    return struct.pack("<2q9I4x", *head, *batch, a.axes, b.axes)


def source(v: Variant) -> str:
    """Return a kernel's CUDA C++, without what all kernels share."""
    t, to = v.tile, _writing(v)
    cluster = f"__cluster_dims__({t.cluster}, 1, 1) " if t.cluster > 1 else ""
    return f"""\
typedef {ELEMENTS[v.result][0]} Out;
{to.declared}
extern "C" __global__ void {cluster}__launch_bounds__({t.threads}, 1) {v.name}(
    const __grid_constant__ Warpgroups work, const __grid_constant__ TensorMap a, const __grid_constant__ TensorMap b,
    {to.parameters}) {{
    OPMUX_DYNAMIC_SHARED(memory);
    constexpr int COLUMNS = {t.columns}, STAGES = {t.stages}, CLUSTER = {t.cluster}, RANK = {v.rank};
    constexpr bool A_ACROSS = {flag(v.a_across)}, B_ACROSS = {flag(v.b_across)}, TURNS = {flag(t.turns)};
    typedef {PRODUCTS[v.operand]} Multiply;
    {to.made}
    multiply_by_warpgroups<Multiply, A_ACROSS, B_ACROSS, {_CONSUMERS}, TURNS, COLUMNS, STAGES, CLUSTER, RANK, Writer>(
        work, a, b, c, memory);
}}
OPMUX_CLUSTER_ENTRY({v.name}, {t.cluster})
"""


def _writing(v: Variant) -> Sink:
    """Return where results go; the text has the type `Writer` and what it writes to, `c`."""
    if v.fused is None and v.copied:
        return Sink("typedef ThroughShared<Out> Writer;", "const __grid_constant__ TensorMap c", "")
    if v.fused is None:
        return Sink(f"typedef FromRegisters<Out, {flag(v.vectors)}> Writer;", "Out::Memory* c", "")
    f = v.fused
    to = sink(f.epilogue)
    nest = f"const __grid_constant__ Nest<{f.rank}, {2 + to.operands}> batch"
    made = f"""\
auto c = [&](u32 index) {{
        i64 at[{2 + to.operands}];
        offsets(batch, index, at);
        {to.made}
        return sink;
    }};
    typedef ToEpilogue<Out, {f.width}, {f.lanes}, {f.flight}, decltype(c)> Writer;"""
    return Sink(to.declared, f"{nest}, {to.parameters}", made, to.operands)
