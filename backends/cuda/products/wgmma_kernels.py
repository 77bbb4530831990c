"""Matrix products by warpgroups as a kernel of this backend, for GPUs of capability 9.0."""

from __future__ import annotations

import functools
from functools import partial
from typing import Final

from ....plugin import Accepts, CallSpec, CostTerms, Determinism, Kernel, Nest, Prepared, Promises, Reason, Rejection
from ..device.driver import KIND, driver_of
from ..device.launching import Arguments, Mapped, Pointer, Step, launcher
from ..device.tensor_maps import Tiling
from ..nest import packed
from . import matmul, wgmma
from .matmul import Problem
from .matmul_kernels import Product, alone
from .wgmma import PRODUCTS, Variant

#: Parts of the sources that this kernel uses.
PARTS: Final = ("elementwise", "matmul", "mbarrier", "tma", "wgmma", "warpgroups")
#: The target that has these instructions, as the device names it among its features.
TARGET: Final = "sm_90a"
#: Declared and never measured: 0.95 of what cuBLAS reaches with bfloat16 on an H200. A launch carries three maps.
COST: Final = CostTerms(launch=1e-6, compute=0.7, memory=0.8, tile=(128, 128))
#: The tile depends on the whole call.
PROMISES: Final = Promises(determinism=Determinism.RUN)


def by_warpgroups(call: Product) -> Prepared | Rejection:
    """Return a product made ready, by warpgroups and the copy engine; or why they do not take it."""
    x, y = call.spec.arrays
    (out,) = call.spec.outputs
    driver = driver_of(call.spec)
    if not out.size:
        return Prepared(launcher(driver.runtime, []))
    if not x.shape[-1]:
        return Rejection(Reason.SIZE, "a product of no terms is left to another kernel")
    problem = call.problem
    beyond = wgmma.too_long(problem)
    if beyond is not None:
        return beyond
    shape, depth = problem.batch.shape, problem.depth
    a = wgmma.staged(x, (problem.rows, problem.a[0]), (depth, problem.a[1]), (shape, problem.batch.strides[0]))
    b = wgmma.staged(y, (problem.columns, problem.b[1]), (depth, problem.b[0]), (shape, problem.batch.strides[1]))
    if isinstance(a, Rejection):
        return a
    if isinstance(b, Rejection):
        return b
    multiprocessors = driver.runtime.properties.multiprocessors
    tail, size = call.tail, x.dtype.itemsize
    tile = wgmma.tile_for(problem, multiprocessors, size, 0 if tail is None else len(tail.program.instructions))
    copied = wgmma.written(problem, out) if tail is None else None
    vectors = copied is None and problem.columns % 2 == 0 and out.aligned
    fused = None if tail is None else wgmma.fused(problem, out.dtype.name, partial(tail.epilogue, problem), out.aligned)
    if isinstance(fused, Rejection):
        return fused
    variant = Variant(
        x.dtype.name, out.dtype.name, tile, a.across, b.across, len(a.shape), copied is not None, vectors, fused
    )
    arguments: Arguments = [
        wgmma.work(problem, tile, a, b, size),
        Mapped(Pointer(call.operands[0]), a.tiling(size, tile.rows)),
        Mapped(Pointer(call.operands[1]), b.tiling(size, tile.columns // tile.cluster)),
        *_results(call, problem, copied),
    ]
    function = driver.loader.function(_source(variant), PARTS, variant.name, tile.shared)
    blocks = wgmma.clusters_for(problem, tile, multiprocessors) * tile.cluster
    step = Step(function, (blocks, 1, 1), (tile.threads, 1, 1), arguments, tile.shared)
    return Prepared(launcher(driver.runtime, [step]))


def _results(call: Product, problem: Problem, copied: Tiling | None) -> Arguments:
    """Return the arguments that say where results go, and what an epilogue reads."""
    written = [Pointer(i) for i, _ in call.written]
    if call.tail is None:
        return written if copied is None else [Mapped(written[0], copied)]
    a, b, _, *others = problem.batch.strides
    across = [matmul.across(problem)] if call.read else []
    nest = packed(Nest(problem.batch.shape, (a, b, *others)))
    return [nest, *across, *(Pointer(i) for i, _ in call.read), *written]


def _matmul(spec: CallSpec) -> Prepared | Rejection:
    return by_warpgroups(alone(spec))


@functools.lru_cache(maxsize=1024)
def _source(variant: Variant) -> str:
    return wgmma.source(variant)


KERNELS: Final = (
    Kernel(
        "matmul.wgmma", "matmul", KIND, _matmul,
        Accepts(dtypes=(frozenset(PRODUCTS),), features=frozenset({TARGET})), PROMISES, COST,
    ),
)  # fmt: skip
