"""The kernels of this backend, family by family."""

from __future__ import annotations

from typing import Final

from ...plugin import Kernel
from . import elementwise_kernels, matmul_kernels, movement_kernels, reduction_kernels

KERNELS: Final[tuple[Kernel, ...]] = (
    *elementwise_kernels.KERNELS,
    *matmul_kernels.KERNELS,
    *movement_kernels.KERNELS,
    *reduction_kernels.KERNELS,
)
