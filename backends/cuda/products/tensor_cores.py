"""Matrix products on tensor cores by ``mma.sync``: tiles, how operands are read, and the text of a kernel."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from ....plugin import Signature
from .epilogue import Epilogue, sink
from .matmul import ELEMENTS, Problem, access, flag

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
    """

    warps: tuple[int, int]
    blocks: tuple[int, int]
    stages: int
    resident: int

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
    MmaTile((2, 4), (4, 4), 4, 1),  # 128 x 256
    MmaTile((2, 2), (4, 4), 4, 2),  # 128 x 128
    MmaTile((2, 2), (2, 2), 4, 4),  # 64 x 64
)


def tiles_of(problem: Problem, tile: MmaTile) -> tuple[int, int]:
    """Return how many tiles a result has, along rows and columns."""
    return -(-problem.rows // tile.rows), -(-problem.columns // tile.columns)


def tile_for(problem: Problem, multiprocessors: int) -> MmaTile:
    """Return the largest tile that gives every multiprocessor work and is not half empty, or the smallest one."""
    for tile in TILES:
        rows, columns = tiles_of(problem, tile)
        full = 2 * problem.rows > tile.rows and 2 * problem.columns > tile.columns
        if full and rows * columns * problem.count >= multiprocessors:
            return tile
    return TILES[-1]


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
        vectors: whether rows of the result may be written as vectors of two.
        epilogue: what is done with results.
    """

    operand: str
    result: str
    tile: MmaTile
    a: Reading
    b: Reading
    rank: int
    vectors: bool
    epilogue: Epilogue | None = None

    @property
    def name(self) -> str:
        """The entry's name."""
        return f"matmul_mma_{self.tile.rows}x{self.tile.columns}"


def source(v: MmaVariant) -> str:
    """Return a kernel's CUDA C++, without what all kernels share."""
    t, to = v.tile, sink(v.epilogue)
    return f"""\
constexpr int THREADS = {t.threads};
typedef {INSTRUCTIONS[v.operand]} Mma;
typedef {ELEMENTS[v.result][0]} Out;
typedef {v.a.type_of(t.rows, t.threads)} A;
typedef {v.b.type_of(t.columns, t.threads)} B;
{to.declared}
extern "C" __global__ void __launch_bounds__(THREADS, {t.resident}) {v.name}(
    Product p, Nest<{v.rank}, {2 + to.operands}> batch, const Mma::Memory* a, const Mma::Memory* b, {to.parameters}) {{
    OPMUX_DYNAMIC_SHARED(memory);
    Place place(p);
    i64 at[{2 + to.operands}];
    offsets(batch, place.batch, at);
    {to.made}
    constexpr int STAGES = {t.stages};
    constexpr bool VECTORS = {flag(v.vectors)};
    multiply_on_tensor_cores<Mma, A, B, {t.warps[0]}, {t.warps[1]}, {t.blocks[0]}, {t.blocks[1]}, STAGES, VECTORS, Out>(
        p, place, a + at[0], b + at[1], sink, memory);
}}
OPMUX_ENTRY({v.name})
"""
