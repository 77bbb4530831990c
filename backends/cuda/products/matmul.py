"""Matrix products by multiply-adds in the canonical order: tiles, how operands are read, and the text of a kernel."""

from __future__ import annotations

import math
import struct
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

from ....plugin import Nest, Signature, merge, orders
from ..formulas import COMPLEX
from .epilogue import Epilogue, Sink, adding_sink, sink

#: How elements lie in memory and what is computed with: the type of ``matmul.cuh`` and the bytes of a value.
ELEMENTS: Final[dict[str, tuple[str, int]]] = {
    "float32": ("Element<f32, f32>", 4), "float64": ("Element<f64, f64>", 8),
    "float16": ("Float16", 4), "bfloat16": ("BFloat16", 4),
    "int8": ("Element<i8, u32>", 4), "int16": ("Element<i16, u32>", 4), "int32": ("Element<i32, u32>", 4),
    "uint8": ("Element<u8, u32>", 4), "uint16": ("Element<u16, u32>", 4), "uint32": ("Element<u32, u32>", 4),
    "int64": ("Element<i64, u64>", 8), "uint64": ("Element<u64, u64>", 8),
    "complex64": ("ComplexElement<f32>", 8), "complex128": ("ComplexElement<f64>", 16),
}  # fmt: skip
_FLOATING: Final = frozenset({"float16", "bfloat16", "float32", "float64", *COMPLEX})
#: Bytes of the widest access of a thread.
VECTOR_BYTES: Final = 16
#: Values that come from one access; those of narrow types would take too many registers until they are stored.
_VECTOR_VALUES: Final = 4
#: Bytes that partial results of a product may take.
MOST_PARTS: Final = 1 << 28


@dataclass(frozen=True, slots=True)
class Tile:
    """What one block of threads makes: warps by lanes by the elements of a thread, along rows and along columns.

    Attributes:
        warps, lanes, thread: (rows, columns) of each; lanes are 32.
        depth: terms in shared memory at a time.
        resident: blocks that a multiprocessor should hold, of float32.
        share: of the instructions of its loop over terms that are multiply-adds: a multiprocessor issues as many of
            either kind in a clock. Counted in the code for sm_90a, for float32 by rows with vectors.
    """

    warps: tuple[int, int]
    lanes: tuple[int, int]
    thread: tuple[int, int]
    depth: int
    resident: int
    share: float

    @property
    def rows(self) -> int:
        """Rows of the result."""
        return self.warps[0] * self.lanes[0] * self.thread[0]

    @property
    def columns(self) -> int:
        """Columns of the result."""
        return self.warps[1] * self.lanes[1] * self.thread[1]

    @property
    def threads(self) -> int:
        """Threads of a block."""
        return 32 * self.warps[0] * self.warps[1]

    def shared(self, value: int, chains: int) -> int:
        """Bytes of shared memory: two buffers of each operand, and a sum per element where there are several chains."""
        sums = self.rows * self.columns if chains > 1 else 0
        return (2 * self.depth * (self.rows + self.columns) + sums) * value


#: A thread has 128 sums of float32, and with them all registers that two blocks of 128 threads may take.
HUGE: Final = Tile((2, 2), (8, 4), (8, 16), 8, 2, 0.91)
#: A thread of 8 x 8 float32 needs 160 registers or so: three blocks of 128 threads fill a multiprocessor's 65536.
LARGE: Final = Tile((2, 2), (8, 4), (8, 8), 8, 3, 0.86)
MEDIUM: Final = Tile((2, 2), (4, 8), (8, 4), 16, 3, 0.8)
SMALL: Final = Tile((2, 1), (4, 8), (4, 4), 32, 6, 0.63)
#: For a result of a few columns, or a few rows: what is long is read once.
TALL: Final = Tile((4, 1), (8, 4), (4, 2), 32, 3, 0.43)
WIDE: Final = Tile((1, 4), (4, 8), (2, 4), 32, 3, 0.58)
#: For values of 16 bytes, of which more would not fit registers. Its share is not counted: it competes with no other.
WIDEST: Final = Tile((2, 1), (4, 8), (4, 2), 16, 6, 0.5)
_FEW: Final = 8
#: What there is to choose from, by bytes of a value: a thread holds 128 values of 4 bytes at most, or 32 of 8.
_TILES: Final[dict[int, tuple[Tile, ...]]] = {4: (HUGE, LARGE, MEDIUM, SMALL), 8: (MEDIUM, SMALL), 16: (WIDEST,)}
#: What a block is slowed down by that is alone on its multiprocessor: nobody works while it waits. Declared.
_ALONE: Final = 1 / 0.85
#: Multiply-adds of float32 that a multiprocessor of an H200 does, 128 in a clock of 1.98 GHz, in 2 microseconds of a
#: launch, and while it moves a byte at its part of 4.3 TB/s.
_LAUNCH: Final = 5e5
_BYTE: Final = 8.0


@dataclass(frozen=True, slots=True)
class Access:
    """How an operand is read: elements at a time, and whether threads go along the terms or across them."""

    vector: int
    along_depth: bool


@dataclass(frozen=True, slots=True)
class Problem:
    """C[b, i, j] = sum over k of A[b, i, k] * B[b, k, j]; strides in elements, 0 and negative ones too.

    Attributes:
        rows, columns, depth: m, n and k.
        a: strides of A along m and k.
        b: strides of B along k and n.
        batch: the batch axes left, over A, B, C and the operands of an epilogue; C is contiguous, so that kernels need
            no strides of it.
        across: strides of each operand of an epilogue along m and n.
    """

    rows: int
    columns: int
    depth: int
    a: tuple[int, int]
    b: tuple[int, int]
    batch: Nest
    across: tuple[tuple[int, int], ...] = ()

    @property
    def count(self) -> int:
        """Products in the batch."""
        return math.prod(self.batch.shape)


def problem_of(
    shape: Sequence[int], a: Sequence[int], b: Sequence[int], others: Sequence[Sequence[int]] = ()
) -> Problem:
    """Return the problem of a call.

    A batch that goes over one B, and whose rows of A, and of other operands, go on from one product to the next, is one
    product of more rows.

    Args:
        shape: the batch axes, then m, n and k.
        a, b: strides of the operands.
        others: strides of further operands of the result's shape.

    >>> problem_of((5, 2, 3, 4), (8, 4, 1), (0, 3, 1)).rows
    10
    """
    *batch, m, n, k = shape
    c = [m * n] * len(batch)
    for i in range(len(batch) - 2, -1, -1):
        c[i] = c[i + 1] * batch[i + 1]
    nest = merge(batch, [a[:-2], b[:-2], c, *(x[:-2] for x in others)])
    found = Problem(m, n, k, (a[-2], a[-1]), (b[-2], b[-1]), nest, tuple((x[-2], x[-1]) for x in others))
    if nest.shape:
        count, (over_a, over_b, _, *over) = nest.shape[-1], (s[-1] for s in nest.strides)
        rows = [(over_a, a[-2]), *((o, x[-2]) for o, x in zip(over, others, strict=True))]
        if over_b == 0 and (m == 1 or all(o == m * row for o, row in rows)):
            outer = Nest(nest.shape[:-1], tuple(s[:-1] for s in nest.strides))
            row, *more = (o if m == 1 else row for o, row in rows)
            across = tuple((r, x[-1]) for r, x in zip(more, others, strict=True))
            found = replace(found, rows=m * count, a=(row, a[-1]), batch=outer, across=across)
    if not found.batch.shape:
        found = replace(found, batch=Nest((1,), ((0,),) * len(nest.strides)))
    return found


def access(
    operand: Signature, extent: tuple[int, int], depth: tuple[int, int], batch: Sequence[int], vector: int
) -> Access:
    """Return how an operand is read fastest.

    Args:
        operand: dtype and alignment.
        extent, depth: length and stride along the result, and along the terms.
        batch: strides of the batch.
        vector: elements to read at a time where they lie so.
    """
    for along, (length, stride), (others, pitch) in ((True, depth, extent), (False, extent, depth)):
        if stride == 1 and length > 1:
            whole = (length, *batch, *((pitch,) if others > 1 else ()))
            dense = operand.aligned and all(n % vector == 0 for n in whole)
            return Access(vector if dense else 1, along)
    return Access(1, extent[0] == 1 or (depth[0] > 1 and abs(depth[1]) < abs(extent[1])))


def vector_of(operand: Signature) -> int:
    """Return how many elements of an operand go to registers at a time."""
    return min(VECTOR_BYTES // operand.dtype.itemsize, _VECTOR_VALUES)


@dataclass(frozen=True, slots=True)
class Plan:
    """How a problem is cut.

    Attributes:
        tile: the tile.
        tiles: of the result, along rows and columns.
        shares: blocks of terms that are computed apart and added after; 1 where a tile takes all terms.
    """

    tile: Tile
    tiles: tuple[int, int]
    shares: int


def plan_for(problem: Problem, value: int, multiprocessors: int) -> Plan:
    """Return the plan whose blocks are done first: the multiprocessor that has most of them is what a call waits for.

    Where the result alone has too few tiles, blocks of terms are computed apart, which is the canonical order too as
    long as each is one chain; that costs another launch, and the memory traffic of their results.

    Args:
        problem: what is computed.
        value: bytes of a value.
        multiprocessors: of the GPU.

    >>> from opmux.plugin import Nest
    >>> square = Problem(4096, 4096, 4096, (4096, 1), (4096, 1), Nest((1,), ((0,), (0,), (0,))))
    >>> plan_for(square, 4, 132).tiles
    (32, 32)
    """
    m, n = problem.rows, problem.columns
    outputs = problem.count * m * n
    chains = max(-(-problem.depth // orders.MATMUL_BLOCK), 1)
    if chains * outputs * value > MOST_PARTS:
        chains = 1

    def time(plan: Plan) -> float:
        tile = plan.tile
        turns = -(-plan.tiles[0] * plan.tiles[1] * problem.count * plan.shares // multiprocessors)
        depth = orders.MATMUL_BLOCK if plan.shares > 1 else problem.depth
        work = turns * tile.rows * tile.columns * depth / tile.share * (_ALONE if turns == 1 else 1)
        moved = (2 * plan.shares + 1) * outputs * value / multiprocessors
        return work + (_LAUNCH + moved * _BYTE if plan.shares > 1 else 0)

    # Long tiles of the widest values would take more shared memory than a block may have on some GPUs.
    few = TALL if n <= _FEW else WIDE if m <= _FEW else None
    plans = [
        Plan(tile, (-(-m // tile.rows), -(-n // tile.columns)), shares)
        for tile in ((few,) if few and value <= 8 else _TILES[value])
        for shares in sorted({1, chains})
    ]
    return min(plans, key=time)


@dataclass(frozen=True, slots=True)
class Variant:
    """What the code of a kernel depends on.

    Attributes:
        operand, result: dtypes.
        tile: the tile.
        a, b: how the operands are read.
        rank: dimensions of the batch.
        partial: whether values are written for :func:`adding` instead of results.
        vectors: whether rows of the result may be written as vectors.
        epilogue: what is done with results; none where values are written.
    """

    operand: str
    result: str
    tile: Tile
    a: Access
    b: Access
    rank: int
    partial: bool
    vectors: bool
    epilogue: Epilogue | None = None

    @property
    def name(self) -> str:
        """The entry's name."""
        return f"matmul_{self.tile.rows}x{self.tile.columns}"

    @property
    def resident(self) -> int:
        """Blocks that a multiprocessor should hold, which bounds the registers.

        Wide values take twice as many, and narrow elements some while they are unpacked: where the bound is too low,
        values go to local memory and back.
        """
        share = 0.5 if self.value >= 8 else 1.0 if self.operand == "float32" else 0.75
        return max(int(self.tile.resident * share), 1)

    @property
    def value(self) -> int:
        """Bytes of a sum, which are as many for a result wider than the operands."""
        return ELEMENTS[self.result][1]


def parts_dtype(result: str) -> str:
    """Return the dtype of partial results."""
    if result in COMPLEX:
        return result
    bits = ELEMENTS[result][1] * 8
    return f"float{bits}" if result in _FLOATING else f"uint{bits}"


def source(v: Variant) -> str:
    """Return a kernel's CUDA C++, without what all kernels share."""
    t, element = v.tile, ELEMENTS[v.operand][0]
    out = ELEMENTS[parts_dtype(v.result) if v.partial else v.result][0]
    chain = orders.MATMUL_BLOCK if v.operand in _FLOATING and not v.partial else 0
    to = sink(v.epilogue)
    return f"""\
constexpr int THREADS = {t.threads}, DEPTH = {t.depth};
typedef {element} In;
typedef {out} Out;
typedef Loader<In, {t.rows}, DEPTH, {_vector(v.a, t.rows, t)}, {flag(v.a.along_depth)}, THREADS> A;
typedef Loader<In, {t.columns}, DEPTH, {_vector(v.b, t.columns, t)}, {flag(v.b.along_depth)}, THREADS> B;
typedef Held<In::Value, {t.warps[0]}, {t.lanes[0]}, {t.thread[0]}> Rows;
typedef Held<In::Value, {t.warps[1]}, {t.lanes[1]}, {t.thread[1]}> Columns;
{to.declared}
{entry(v.name, f"THREADS, {v.resident}", "In", v.rank, to)}
    constexpr int WARPS = {t.warps[1]}, LANES = {t.lanes[1]}, CHAIN = {chain};
    constexpr bool VECTORS = {flag(v.vectors)};
    multiply<A, B, Rows, Columns, WARPS, LANES, {t.thread[0]}, {t.thread[1]}, DEPTH, CHAIN, THREADS, VECTORS, Out>(
        p, place, a + at[0], b + at[1], sink, memory);
}}
OPMUX_ENTRY({v.name})
"""


def entry(name: str, bounds: str, element: str, rank: int, to: Sink) -> str:
    """Return how an entry of :func:`~.matmul_kernels.launches` begins, up to where `sink` and the operands are known.

    Args:
        name: the entry's.
        bounds: its launch bounds.
        element: the type that has the operands' `Memory`.
        rank: dimensions of the batch.
        to: where results go.
    """
    count = 2 + to.operands
    return f"""\
extern "C" __global__ void __launch_bounds__({bounds}) {name}(
    Product p, Nest<{rank}, {count}> batch, const {element}::Memory* a, const {element}::Memory* b, {to.parameters}) {{
    OPMUX_DYNAMIC_SHARED(memory);
    Place place(p);
    i64 at[{count}];
    offsets(batch, place.batch, at);
    {to.made}"""


def _vector(access: Access, extent: int, tile: Tile) -> int:
    return min(access.vector, tile.depth if access.along_depth else extent)


def flag(x: bool) -> str:
    """Return how C++ writes a truth value."""
    return "true" if x else "false"


#: Name of the entry of :func:`adding`, and threads of a block.
ADDING: Final = "matmul_add_shares"
ADDING_THREADS: Final = 256


def adding(result: str, epilogue: Epilogue | None = None, rank: int = 1) -> str:
    """Return the text of the kernel that adds partial results in ascending order.

    Args:
        result: dtype of the product.
        epilogue: what is done with results.
        rank: axes over which the operands of an epilogue lie.
    """
    element, to = ELEMENTS[result][0], adding_sink(epilogue, rank)
    return f"""\
typedef {element} Out;
{to.declared}
extern "C" __global__ void __launch_bounds__({ADDING_THREADS}) {ADDING}(
    u64 n, u32 shares, const Out::Value* parts, {to.parameters}) {{
    {to.made}
    add_shares<Out>(parts, n, shares, sink);
}}
OPMUX_ENTRY({ADDING})
"""


def product(problem: Problem, tiles: tuple[int, int], shares: int = 1, share: int = orders.MATMUL_BLOCK) -> bytes:
    """Return the bytes of ``Product``.

    Args:
        problem: what is computed.
        tiles: of the result, along rows and columns.
        shares: blocks of terms that are computed apart.
        share: the terms of such a block.
    """
    m, n, k = problem.rows, problem.columns, problem.depth
    share = share if shares > 1 else k
    part = problem.count * m * n
    return struct.pack("<9q3I4x", m, n, k, *problem.a, *problem.b, share, part, *tiles, shares)


def across(problem: Problem) -> bytes:
    """Return the bytes of ``Across``: how the operands of an epilogue lie."""
    rows, columns = ([step[i] for step in problem.across] for i in range(2))
    return struct.pack(f"<{2 * len(rows)}q", *rows, *columns)
