"""Matrix products as kernels of this backend."""

from __future__ import annotations

import functools
import struct
from typing import Final

from ...plugin import Accepts, CallSpec, CostTerms, Kernel, Nest, Prepared, orders
from . import matmul
from .driver import KIND
from .launching import MOST_BLOCKS, Arguments, Pointer, Step, blocks_for, launcher
from .matmul import ADDING, ADDING_THREADS, ELEMENTS, Plan, Problem, Variant
from .nest import packed, parts
from .rules import CANONICAL, driver_of

#: Parts of the sources that these kernels use.
PARTS: Final = ("elementwise", "matmul")
_A, _B, _C, _WORKSPACE = range(4)
#: Shares of a device's best rates, declared and not yet measured. Products of float16, bfloat16 and int8 are counted
#: against tensor cores, which are 16 times as fast as what these kernels do in float32; integers are multiplied at half
#: of float32's rate, those of 64 bits in several steps.
_COST: Final = CostTerms(
    compute=0.4,
    compute_for={
        "float32": 0.85, "float64": 0.8, "float16": 0.05, "bfloat16": 0.05, "int8": 0.012, "int64": 0.1, "uint64": 0.1,
    },
    memory=0.8,
)  # fmt: skip


def _matmul(spec: CallSpec) -> Prepared:
    x, y = spec.arrays
    (out,) = spec.outputs
    driver = driver_of(spec)
    if not out.size:
        return Prepared(launcher(driver.runtime, []))
    problem = matmul.problem_of((*out.shape, x.shape[-1]), x.strides, y.strides)
    value = max(ELEMENTS[x.dtype.name][1], ELEMENTS[out.dtype.name][1])
    plan = matmul.plan_for(problem, value, driver.runtime.properties.multiprocessors)
    steps = _multiplying(spec, problem, plan, value)
    if plan.shares == 1:
        return Prepared(launcher(driver.runtime, steps))
    add = driver.loader.function(matmul.adding(out.dtype.name), PARTS, ADDING)
    arguments: Arguments = [
        struct.pack("<Q", out.size),
        struct.pack("<I", plan.shares),
        Pointer(_WORKSPACE),
        Pointer(_C),
    ]
    steps.append(Step(add, blocks_for(out.size, ADDING_THREADS), (ADDING_THREADS, 1, 1), arguments))
    return Prepared(launcher(driver.runtime, steps), plan.shares * out.size * value)


def _multiplying(spec: CallSpec, problem: Problem, plan: Plan, value: int) -> list[Step]:
    """Return the launches that make the products, or their shares; several where the batch is beyond one grid."""
    x, y = spec.arrays
    (out,) = spec.outputs
    over_a, over_b, _ = problem.batch.strides
    m, n, k, tile = problem.rows, problem.columns, problem.depth, plan.tile
    partial = plan.shares > 1
    variant = Variant(
        x.dtype.name,
        out.dtype.name,
        tile,
        matmul.access(x, (m, problem.a[0]), (k, problem.a[1]), over_a),
        matmul.access(y, (n, problem.b[1]), (k, problem.b[0]), over_b),
        len(problem.batch.shape),
        partial,
    )
    written = value if partial else out.dtype.itemsize
    vectors = n % min(tile.thread[1], 16 // value) == 0 and (partial or out.aligned)
    header = matmul.product(problem, plan, vectors=vectors)
    chains = 1 if partial else -(-k // orders.MATMUL_BLOCK)
    shared = tile.shared(value, chains)
    function = driver_of(spec).loader.function(_source(variant), PARTS, variant.name, shared)
    blocks = plan.tiles[0] * plan.tiles[1] * plan.shares
    steps = []
    for part, (at_a, at_b, at_c) in _batches(problem.batch, MOST_BLOCKS // blocks):
        grid = blocks
        for length in part.shape:
            grid *= length
        operands = Nest(part.shape, part.strides[:2])
        pointers = (
            Pointer(_A, at_a * x.dtype.itemsize),
            Pointer(_B, at_b * y.dtype.itemsize),
            Pointer(_WORKSPACE if partial else _C, at_c * written),
        )
        steps.append(Step(function, (grid, 1, 1), (tile.threads, 1, 1), [header, packed(operands), *pointers], shared))
    return steps


def _batches(batch: Nest, most: int) -> list[tuple[Nest, tuple[int, ...]]]:
    return list(parts(batch, max(most, 1)))


@functools.lru_cache(maxsize=1024)
def _source(variant: Variant) -> str:
    return matmul.source(variant)


KERNELS: Final = (Kernel("matmul", "matmul", KIND, _matmul, Accepts(dtypes=(frozenset(ELEMENTS),)), CANONICAL, _COST),)
