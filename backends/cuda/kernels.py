"""The kernels of this backend, family by family."""

from __future__ import annotations

from typing import Final

from ...plugin import Kernel
from . import (
    creation_kernels,
    elementwise_kernels,
    indexed,
    movement_kernels,
    nccl_kernels,
    random_kernels,
    reduction_kernels,
    sorting,
)
from .products import cublas_kernels, matmul_kernels, skinny_kernels, wgmma_kernels

KERNELS: Final[tuple[Kernel, ...]] = (
    *creation_kernels.KERNELS,
    *cublas_kernels.KERNELS,
    *elementwise_kernels.KERNELS,
    *indexed.KERNELS,
    *matmul_kernels.KERNELS,
    *movement_kernels.KERNELS,
    *nccl_kernels.KERNELS,
    *random_kernels.KERNELS,
    *reduction_kernels.KERNELS,
    *skinny_kernels.KERNELS,
    *sorting.KERNELS,
    *wgmma_kernels.KERNELS,
)
