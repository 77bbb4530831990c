"""Matrix products on tensor cores by ``mma.sync``: tiles, how operands are read, and the text of a kernel."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from ....plugin import Signature
from .epilogue import Epilogue, sink
from .matmul import ELEMENTS, MOST_PARTS, Problem, access, entry, flag, parts_dtype

#: The instruction of ``mma.cuh``, by the operands' dtype.
INSTRUCTIONS: Final = {"float16": "MmaFloat16", "bfloat16": "MmaBFloat16", "int8": "MmaInt8", "uint8": "MmaUInt8"}
_BLOCK: Final = 16
_STAGE_BYTES: Final = 64
_PIECE_BYTES: Final = 16


@dataclass(frozen=True, slots=True)
class MmaTile:
    """What one block of threads makes.

    Attributes:
        warps: along rows and along columns.
        blocks: of 16 by 16 elements that a warp has, along both.
        stages: of operands in shared memory; all but one are under way.
        resident: blocks of threads that a multiprocessor should hold, which bounds the registers.
        share: of the rate of the largest that it reaches. Declared: warps of 32 by 32 elements read twice as much
            shared memory for each product as those of 64 by 64, and it comes at 128 bytes in a clock.
    """

    warps: tuple[int, int]
    blocks: tuple[int, int]
    stages: int
    resident: int
    share: float

    @property
    def rows(self) -> int:
        """Rows of the result."""
        return self.warps[0] * self.blocks[0] * _BLOCK

    @property
    def columns(self) -> int:
        """Columns of the result."""
        return self.warps[1] * self.blocks[1] * _BLOCK

    @property
    def threads(self) -> int:
        """Threads of a block."""
        return 32 * self.warps[0] * self.warps[1]

    @property
    def shared(self) -> int:
        """Bytes of shared memory."""
        return self.stages * (self.rows + self.columns) * _STAGE_BYTES


#: The largest takes 96 KiB of shared memory, which every target has (99 KiB on 8.6 and 8.9).
TILES: Final = (
    MmaTile((2, 4), (4, 4), 4, 1, 1.0),  # 128 x 256
    MmaTile((2, 2), (4, 4), 4, 2, 0.95),  # 128 x 128
    MmaTile((2, 2), (2, 2), 4, 4, 0.5),  # 64 x 64
)
#: Elements of a result that a multiprocessor of an H200 sums a stage for in a clock: 2048 multiply-adds of float16, of
#: which `mma.sync` reaches 0.6, by 32 terms. As many of int8, whose stages have twice the terms at twice the rate.
_ELEMENTS: Final = 38
#: Clocks until memory answers, which is declared, and those of a launch of 2 microseconds at 1.98 GHz; bytes that come
#: in one of them from a multiprocessor's part of 4.3 TB/s.
_LATENCY: Final = 1000
_LAUNCH: Final = 4000
_BYTES: Final = 16.4
#: Shares that a product's terms are cut into at most, and the part of its time that must be left for it to be worth it.
_SHARES: Final = (2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64)
_WORTH: Final = 0.8


@dataclass(frozen=True, slots=True)
class MmaPlan:
    """How a problem is cut.

    Attributes:
        tile: the tile.
        tiles: of the result, along rows and columns.
        shares: parts of the terms that are summed apart and added after; 1 where a tile takes all terms.
        share: terms of each but the last: whole stages.
    """

    tile: MmaTile
    tiles: tuple[int, int]
    shares: int
    share: int


def _tiles(problem: Problem) -> list[MmaTile]:
    """Return the tiles that are not half empty, or the smallest."""
    *larger, smallest = TILES
    return [*(t for t in larger if 2 * problem.rows > t.rows and 2 * problem.columns > t.columns), smallest]


def _plan(problem: Problem, tile: MmaTile, itemsize: int, shares: int) -> MmaPlan:
    tiles = -(-problem.rows // tile.rows), -(-problem.columns // tile.columns)
    stages = max(-(-problem.depth * itemsize // _STAGE_BYTES), 1)
    each = -(-stages // shares)
    return MmaPlan(tile, tiles, -(-stages // each), each * _STAGE_BYTES // itemsize)


def _time(problem: Problem, plan: MmaPlan, itemsize: int, multiprocessors: int) -> float:
    """Return the clocks until the multiprocessor with most blocks is done, and their shares are added.

    A block asks for a stage so many stages ahead; where it is alone, it waits for memory, and others would not.
    """
    tile = plan.tile
    outputs = problem.count * problem.rows * problem.columns
    turns = -(-plan.tiles[0] * plan.tiles[1] * problem.count * plan.shares // multiprocessors)
    together = min(turns, tile.resident)
    stage = max(together * tile.rows * tile.columns / (_ELEMENTS * tile.share), _LATENCY / (tile.stages - 1))
    made = turns / together * stage * (plan.share * itemsize / _STAGE_BYTES) + _LATENCY
    moved = (2 * plan.shares + 1) * outputs * 4 / multiprocessors
    return made + (_LAUNCH + moved / _BYTES if plan.shares > 1 else 0)


def plan_for(problem: Problem, itemsize: int, multiprocessors: int) -> MmaPlan:
    """Return the plan that is done first and where a tile takes all terms.

    Args:
        problem: what is computed.
        itemsize: bytes of an element of the operands.
        multiprocessors: of the GPU.
    """
    plans = [_plan(problem, tile, itemsize, 1) for tile in _tiles(problem)]
    return min(plans, key=lambda plan: _time(problem, plan, itemsize, multiprocessors))


def split_for(problem: Problem, itemsize: int, multiprocessors: int) -> MmaPlan | None:
    """Return the plan that is done first and where terms are summed in shares, or None where that gains little.

    The fewer tiles a result has and the more terms, the more it gains. Arguments as for :func:`plan_for`.

    >>> from opmux.plugin import Nest
    >>> few = Problem(128, 128, 16384, (16384, 1), (128, 1), Nest((1,), ((0,), (0,), (0,))))
    >>> plan = split_for(few, 2, 132)
    >>> plan.tiles, plan.shares, plan.share
    ((2, 2), 32, 512)
    """

    def time(plan: MmaPlan) -> float:
        return _time(problem, plan, itemsize, multiprocessors)

    bound = MOST_PARTS // max(4 * problem.count * problem.rows * problem.columns, 1)
    plans = [p for t in _tiles(problem) for s in _SHARES if 1 < (p := _plan(problem, t, itemsize, s)).shares <= bound]
    best = min(plans, key=time, default=None)
    whole = plan_for(problem, itemsize, multiprocessors)
    return best if best is not None and time(best) < _WORTH * time(whole) else None


@dataclass(frozen=True, slots=True)
class Reading:
    """How an operand comes to shared memory.

    Attributes:
        kind: a template of ``mma.cuh``.
        more: what it takes after the element, the extent and the threads.
    """

    kind: str
    more: tuple[str, ...] = ()

    def type_of(self, extent: int, threads: int) -> str:
        """Return the C++ type."""
        return f"{self.kind}<{', '.join(('Mma::Memory', str(extent), str(threads), *self.more))}>"


def reading(operand: Signature, extent: tuple[int, int], depth: tuple[int, int], batch: Sequence[int]) -> Reading:
    """Return how an operand is read fastest; arguments as for :func:`~.matmul.access`."""
    size = operand.dtype.itemsize
    pieces = access(operand, extent, depth, batch, _PIECE_BYTES // size)
    if pieces.vector > 1 and pieces.along_depth:
        return Reading("AlongDepth")
    if pieces.vector > 1 and size == 2:
        return Reading("AlongExtent")  # what reads fragments from there transposes elements of 2 bytes only
    words = access(operand, extent, depth, batch, 4 // size)
    if words.vector > 1 and not words.along_depth:
        return Reading("Gathered", (str(words.vector), "false"))
    return Reading("Gathered", ("1", "true" if words.along_depth else "false"))


@dataclass(frozen=True, slots=True)
class MmaVariant:
    """What the code of a kernel depends on.

    Attributes:
        operand, result: dtypes.
        tile: the tile.
        a, b: how the operands are read.
        rank: dimensions of the batch.
        partial: whether sums are written, for :func:`~.matmul.adding`, instead of results.
        vectors: whether rows of the result may be written as vectors of two.
        epilogue: what is done with results; none where sums are written.
    """

    operand: str
    result: str
    tile: MmaTile
    a: Reading
    b: Reading
    rank: int
    partial: bool
    vectors: bool
    epilogue: Epilogue | None = None

    @property
    def name(self) -> str:
        """The entry's name."""
        return f"matmul_mma_{self.tile.rows}x{self.tile.columns}"


def source(v: MmaVariant) -> str:
    """Return a kernel's CUDA C++, without what all kernels share."""
    t, to = v.tile, sink(v.epilogue)
    out = ELEMENTS[parts_dtype(v.result) if v.partial else v.result][0]
    return f"""\
constexpr int THREADS = {t.threads};
typedef {INSTRUCTIONS[v.operand]} Mma;
typedef {out} Out;
typedef {v.a.type_of(t.rows, t.threads)} A;
typedef {v.b.type_of(t.columns, t.threads)} B;
{to.declared}
{entry(v.name, f"THREADS, {t.resident}", "Mma", v.rank, to)}
    constexpr int STAGES = {t.stages};
    constexpr bool VECTORS = {flag(v.vectors)};
    multiply_on_tensor_cores<Mma, A, B, {t.warps[0]}, {t.warps[1]}, {t.blocks[0]}, {t.blocks[1]}, STAGES, VECTORS, Out>(
        p, place, a + at[0], b + at[1], sink, memory);
}}
OPMUX_ENTRY({v.name})
"""
