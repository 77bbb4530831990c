"""Matrix products as kernels of this backend: by multiply-adds in the canonical order, and on tensor cores."""

from __future__ import annotations

import functools
import math
import struct
from typing import Final

from ...plugin import (
    CANONICAL,
    Accepts,
    CallSpec,
    CostTerms,
    Determinism,
    Kernel,
    Nest,
    Prepared,
    Promises,
    Signature,
    orders,
)
from . import formulas, matmul, tensor_cores
from .driver import KIND, driver_of
from .formulas import COMPLEX
from .launching import MOST_BLOCKS, Arguments, Pointer, Step, blocks_for, launcher
from .matmul import ADDING, ADDING_THREADS, ELEMENTS, Plan, Problem, Variant
from .nest import packed, parts
from .runtime import Function
from .tensor_cores import INSTRUCTIONS, MmaVariant

#: Parts of the sources that these kernels use.
PARTS: Final = ("elementwise", "matmul")
MMA_PARTS: Final = (*PARTS, "mma")
_A, _B, _C, _WORKSPACE = range(4)
#: Shares of a device's best rates, declared and not yet measured. Products of float16, bfloat16 and int8 are counted
#: against tensor cores, which are 16 times as fast as what these kernels do in float32; integers are multiplied at half
#: of float32's rate, those of 64 bits in several steps.
_COST: Final = CostTerms(
    compute=0.4,
    compute_for={
        "float32": 0.85, "float64": 0.8, "float16": 0.05, "bfloat16": 0.05,
        "int8": 0.012, "uint8": 0.012, "int64": 0.1, "uint64": 0.1,
    },
    memory=0.8,
)  # fmt: skip
#: Declared: `mma.sync` reaches 60 to 65 percent of the peak on capability 9.0.
_MMA_COST: Final = CostTerms(compute=0.6, memory=0.8, tile=(64, 64))
#: Real and imaginary parts are chains as those of real numbers are; the opset leaves their order open.
_COMPLEX: Final = Promises(order="complex-chains", determinism=Determinism.BATCH)
#: Sums in ascending steps of 32 bytes of terms, whatever the tile: what else is in the batch changes no bit.
_MMA: Final = Promises(order="mma", determinism=Determinism.BATCH)


def _matmul(spec: CallSpec) -> Prepared:
    (out,) = spec.outputs
    driver = driver_of(spec)
    if not out.size:
        return Prepared(launcher(driver.runtime, []))
    problem = _problem(spec)
    value = max(ELEMENTS[s.dtype.name][1] for s in (*spec.arrays, out))
    plan = matmul.plan_for(problem, value, driver.runtime.properties.multiprocessors)
    steps = _multiplying(spec, problem, plan, value)
    if plan.shares == 1:
        return Prepared(launcher(driver.runtime, steps))
    add = driver.loader.function(matmul.adding(out.dtype.name), _parts(out.dtype.name), ADDING)
    arguments: Arguments = [
        struct.pack("<Q", out.size),
        struct.pack("<I", plan.shares),
        Pointer(_WORKSPACE),
        Pointer(_C),
    ]
    steps.append(Step(add, blocks_for(out.size, ADDING_THREADS), (ADDING_THREADS, 1, 1), arguments))
    return Prepared(launcher(driver.runtime, steps), plan.shares * out.size * value)


def _parts(result: str) -> tuple[str, ...]:
    return (*formulas.parts((result,)), *PARTS)


def _multiplying(spec: CallSpec, problem: Problem, plan: Plan, value: int) -> list[Step]:
    """Return the launches that make the products, or their shares."""
    x, y = spec.arrays
    (out,) = spec.outputs
    tile, partial = plan.tile, plan.shares > 1
    variant = Variant(
        x.dtype.name,
        out.dtype.name,
        tile,
        matmul.access(x, *_along_a(problem), matmul.vector_of(x)),
        matmul.access(y, *_along_b(problem), matmul.vector_of(y)),
        len(problem.batch.shape),
        partial,
        problem.columns % min(tile.thread[1], 16 // value) == 0 and (partial or out.aligned),
    )
    header = matmul.product(problem, plan.tiles, plan.shares)
    shared = tile.shared(value, 1 if partial else -(-problem.depth // orders.MATMUL_BLOCK))
    function = driver_of(spec).loader.function(_source(variant), _parts(out.dtype.name), variant.name, shared)
    blocks = plan.tiles[0] * plan.tiles[1] * plan.shares
    to = (_WORKSPACE, value) if partial else (_C, out.dtype.itemsize)
    return _steps(function, problem, header, blocks, tile.threads, shared, x, to)


def _on_tensor_cores(spec: CallSpec) -> Prepared:
    x, y = spec.arrays
    (out,) = spec.outputs
    driver = driver_of(spec)
    if not out.size:
        return Prepared(launcher(driver.runtime, []))
    problem = _problem(spec)
    tile = tensor_cores.tile_for(problem, driver.runtime.properties.multiprocessors)
    tiles = tensor_cores.tiles_of(problem, tile)
    a, b = tensor_cores.reading(x, *_along_a(problem)), tensor_cores.reading(y, *_along_b(problem))
    vectors = problem.columns % 2 == 0 and out.aligned
    variant = MmaVariant(x.dtype.name, out.dtype.name, tile, a, b, len(problem.batch.shape), vectors)
    header = matmul.product(problem, tiles)
    function = driver.loader.function(_mma_source(variant), MMA_PARTS, variant.name, tile.shared)
    to = _C, out.dtype.itemsize
    steps = _steps(function, problem, header, math.prod(tiles), tile.threads, tile.shared, x, to)
    return Prepared(launcher(driver.runtime, steps))


def _problem(spec: CallSpec) -> Problem:
    x, y = spec.arrays
    return matmul.problem_of((*spec.outputs[0].shape, x.shape[-1]), x.strides, y.strides)


_Along = tuple[tuple[int, int], tuple[int, int], tuple[int, ...]]


def _along_a(p: Problem) -> _Along:
    """Return length and stride of A along the result and along the terms, and its strides over the batch."""
    return (p.rows, p.a[0]), (p.depth, p.a[1]), p.batch.strides[0]


def _along_b(p: Problem) -> _Along:
    return (p.columns, p.b[1]), (p.depth, p.b[0]), p.batch.strides[1]


def _steps(
    function: Function,
    problem: Problem,
    header: bytes,
    blocks: int,
    threads: int,
    shared: int,
    operand: Signature,
    to: tuple[int, int],
) -> list[Step]:
    """Return one launch, or several where the batch is beyond one grid.

    Args:
        function: the entry.
        problem: what is computed.
        header: the bytes of ``Product``.
        blocks: of threads for one product of the batch.
        threads: of a block.
        shared: bytes of shared memory of a block.
        operand: of which dtype the operands are.
        to: which array is written, and the bytes of an element of it.
    """
    index, written = to
    size = operand.dtype.itemsize
    made = []
    for part, (at_a, at_b, at_c) in parts(problem.batch, max(MOST_BLOCKS // blocks, 1)):
        operands = Nest(part.shape, part.strides[:2])
        pointers = Pointer(_A, at_a * size), Pointer(_B, at_b * size), Pointer(index, at_c * written)
        arguments: Arguments = [header, packed(operands), *pointers]
        made.append(Step(function, (blocks * math.prod(part.shape), 1, 1), (threads, 1, 1), arguments, shared))
    return made


@functools.lru_cache(maxsize=1024)
def _source(variant: Variant) -> str:
    return matmul.source(variant)


@functools.lru_cache(maxsize=1024)
def _mma_source(variant: MmaVariant) -> str:
    return tensor_cores.source(variant)


KERNELS: Final = (
    Kernel("matmul", "matmul", KIND, _matmul, Accepts(dtypes=(frozenset(ELEMENTS) - COMPLEX,)), CANONICAL, _COST),
    Kernel("matmul.complex", "matmul", KIND, _matmul, Accepts(dtypes=(COMPLEX,)), _COMPLEX, _COST),
    # The priority makes its order the one that binds where the same bits in any batch are demanded.
    Kernel(
        "matmul.mma", "matmul", KIND, _on_tensor_cores, Accepts(dtypes=(frozenset(INSTRUCTIONS),)), _MMA, _MMA_COST, 1
    ),
)
