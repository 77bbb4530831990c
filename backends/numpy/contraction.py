"""Matrix products through NumPy: the host's BLAS for float32 and float64, loops for the rest."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import numpy as np

from ...plugin import CallSpec, CostTerms, Kernel
from . import costs
from .rows import FLOATS, INTEGERS, NARROW, Host, kernel

BLAS: Final = frozenset({"float32", "float64", "complex64", "complex128"})


def _matmul(spec: CallSpec) -> Callable[..., None]:
    result = spec.outputs[0].dtype
    wide = np.dtype(np.float32) if result.name in NARROW else result.numpy

    def compute(out: Host, x: Host, y: Host) -> None:
        if out.dtype == wide:
            np.matmul(x.astype(wide, copy=False), y.astype(wide, copy=False), out=out)
        else:
            out[...] = np.matmul(x.astype(wide), y.astype(wide))

    return compute


KERNELS: Final[tuple[Kernel, ...]] = (
    kernel("matmul", _matmul, (BLAS,), name="matmul.blas", cost=costs.MATMUL),
    kernel(
        "matmul",
        _matmul,
        (INTEGERS | (FLOATS - BLAS),),
        name="matmul.loops",
        cost=CostTerms(compute=0.02, compute_for={"float16": 0.5, "bfloat16": 0.5}),
    ),
)
