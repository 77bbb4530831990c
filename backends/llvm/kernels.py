"""The kernels of this backend, family by family.

Code is compiled once per variant and kept; a call passes addresses and a block of parameters.
"""

from __future__ import annotations

from typing import Final

from ...plugin import Kernel
from . import collectives, contraction, creation_kernels, elementwise_kernels, movement_kernels, reduction_kernels

KERNELS: Final[tuple[Kernel, ...]] = (
    *elementwise_kernels.KERNELS,
    *reduction_kernels.KERNELS,
    *contraction.KERNELS,
    *movement_kernels.KERNELS,
    *creation_kernels.KERNELS,
    *collectives.KERNELS,
)
