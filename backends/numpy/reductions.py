"""Reductions and scans through NumPy, with the accumulators and the special values of the opset."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import numpy as np

from ...plugin import CallSpec, Kernel, on_host
from . import costs
from .rows import ALL, BOOL, FLOATS, INTEGERS, NARROW, Host, kernel

Compute = Callable[..., None]


def _accumulated(ufunc: np.ufunc) -> Callable[[CallSpec], Compute]:
    """Sum or product; float16 and bfloat16 accumulate in float32 and are rounded once."""

    def bind(spec: CallSpec) -> Compute:
        axes, keepdims = spec.attributes["axis"], spec.attributes["keepdims"]
        wide = np.float32 if spec.outputs[0].dtype.name in NARROW else spec.outputs[0].dtype.numpy

        def compute(out: Host, x: Host) -> None:
            if not axes:
                out[...] = x
            elif out.dtype == wide:
                ufunc.reduce(x, axis=axes, dtype=wide, out=out, keepdims=keepdims)
            else:
                out[...] = ufunc.reduce(x, axis=axes, dtype=wide, keepdims=keepdims)

        return compute

    return bind


def _scan(ufunc: np.ufunc) -> Callable[[CallSpec], Compute]:
    def bind(spec: CallSpec) -> Compute:
        axis = spec.attributes["axis"]
        wide = np.float32 if spec.outputs[0].dtype.name in NARROW else spec.outputs[0].dtype.numpy

        def compute(out: Host, x: Host) -> None:
            out[...] = ufunc.accumulate(x, axis=axis, dtype=wide)

        return compute

    return bind


_NUMBERS: Final = INTEGERS | FLOATS | frozenset({"complex64", "complex128"})

KERNELS: Final[tuple[Kernel, ...]] = (
    kernel("sum", _accumulated(np.add), (_NUMBERS,), cost=costs.REDUCTION),
    kernel("prod", _accumulated(np.multiply), (_NUMBERS,), cost=costs.REDUCTION),
    kernel("max", on_host.extreme(np.maximum, largest=True), (INTEGERS | FLOATS,), cost=costs.EXTREME_REDUCTION),
    kernel("min", on_host.extreme(np.minimum, largest=False), (INTEGERS | FLOATS,), cost=costs.EXTREME_REDUCTION),
    kernel("all", on_host.boolean(np.all), (ALL,), cost=costs.BOOLEAN_REDUCTION),
    kernel("any", on_host.boolean(np.any), (ALL,), cost=costs.BOOLEAN_REDUCTION),
    kernel("argmax", on_host.position(np.argmax), (INTEGERS | FLOATS | BOOL,), cost=costs.POSITION),
    kernel("argmin", on_host.position(np.argmin), (INTEGERS | FLOATS | BOOL,), cost=costs.POSITION),
    kernel("cumulative_sum", _scan(np.add), (_NUMBERS,), cost=costs.SCAN),
    kernel("cumulative_prod", _scan(np.multiply), (_NUMBERS,), cost=costs.SCAN),
)
