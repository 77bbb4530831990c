"""Matrix products by warpgroups as a kernel of this backend, for GPUs of capability 9.0."""

from __future__ import annotations

import functools
from typing import Final

from ....plugin import Accepts, CallSpec, CostTerms, Determinism, Kernel, Prepared, Promises, Reason, Rejection
from ..device.driver import KIND, driver_of
from ..device.launching import Arguments, Mapped, Pointer, Step, launcher
from . import matmul, wgmma
from .wgmma import PRODUCTS, Variant

#: Parts of the sources that this kernel uses.
PARTS: Final = ("elementwise", "matmul", "mbarrier", "tma", "wgmma", "warpgroups")
#: The target that has these instructions, as the device names it among its features.
TARGET: Final = "sm_90a"
_A, _B, _C = range(3)
#: Declared and never measured: 0.95 of what cuBLAS reaches with bfloat16 on an H200. A launch carries three maps.
_COST: Final = CostTerms(launch=1e-6, compute=0.7, memory=0.8, tile=(128, 128))
#: The tile depends on the whole call.
_PROMISES: Final = Promises(determinism=Determinism.RUN)


def _matmul(spec: CallSpec) -> Prepared | Rejection:
    x, y = spec.arrays
    (out,) = spec.outputs
    driver = driver_of(spec)
    if not out.size:
        return Prepared(launcher(driver.runtime, []))
    if not x.shape[-1]:
        return Rejection(Reason.SIZE, "a product of no terms is left to another kernel")
    problem = matmul.problem_of((*out.shape, x.shape[-1]), x.strides, y.strides)
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
    tile = wgmma.tile_for(problem, multiprocessors)
    copied = wgmma.written(problem, out)
    vectors = copied is None and problem.columns % 2 == 0 and out.aligned
    variant = Variant(x.dtype.name, out.dtype.name, tile, a.across, b.across, len(a.shape), copied is not None, vectors)
    size = x.dtype.itemsize
    arguments: Arguments = [
        wgmma.work(problem, tile, a, b, size),
        Mapped(Pointer(_A), a.tiling(size, tile.rows)),
        Mapped(Pointer(_B), b.tiling(size, tile.columns // tile.cluster)),
        Pointer(_C) if copied is None else Mapped(Pointer(_C), copied),
    ]
    function = driver.loader.function(_source(variant), PARTS, variant.name, tile.shared)
    blocks = wgmma.clusters_for(problem, tile, multiprocessors) * tile.cluster
    step = Step(function, (blocks, 1, 1), (tile.threads, 1, 1), arguments, tile.shared)
    return Prepared(launcher(driver.runtime, [step]))


@functools.lru_cache(maxsize=1024)
def _source(variant: Variant) -> str:
    return wgmma.source(variant)


KERNELS: Final = (
    Kernel(
        "matmul.wgmma", "matmul", KIND, _matmul,
        Accepts(dtypes=(frozenset(PRODUCTS),), features=frozenset({TARGET})), _PROMISES, _COST,
    ),
)  # fmt: skip
