"""The twin's reductions, scans and matrix product: floats in float64, rounded once."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import numpy as np

from ....plugin import CallSpec
from .call import Compute
from .elementwise import NUMBERS
from .formats import Host, assign, is_float, names, wide


def _accumulated(function: Callable[..., Any]) -> Compute:
    def compute(spec: CallSpec, out: Host, x: Host) -> None:
        axis, keepdims = spec.attributes["axis"], spec.attributes["keepdims"]
        if is_float(out):
            assign(out, np.asarray(function(wide(x), axis=axis, keepdims=keepdims)))
        else:
            out[...] = function(x, axis=axis, keepdims=keepdims, dtype=out.dtype)

    return compute


def extreme(*, largest: bool) -> Compute:
    """Return the largest or smallest over axes: NaN wins, and -0 is below +0."""

    def compute(spec: CallSpec, out: Host, x: Host) -> None:
        axis, keepdims = spec.attributes["axis"], spec.attributes["keepdims"]
        over: Any = {"axis": axis, "keepdims": keepdims}
        found = (np.max if largest else np.min)(x, **over)
        if is_float(x):
            positive = np.any((x == 0) & ~np.signbit(x), **over)
            negative = np.any((x == 0) & np.signbit(x), **over)
            plus = positive if largest else ~negative
            found = np.where(found == 0, np.where(plus, 0.0, -0.0), found)
        out[...] = found

    return compute


def _truth(function: Callable[..., Any]) -> Compute:
    def compute(spec: CallSpec, out: Host, x: Host) -> None:
        out[...] = function(x != 0, axis=spec.attributes["axis"], keepdims=spec.attributes["keepdims"])

    return compute


def _position(function: Callable[..., Any]) -> Compute:
    def compute(spec: CallSpec, out: Host, x: Host) -> None:
        out[...] = function(wide(x), axis=spec.attributes["axis"], keepdims=spec.attributes["keepdims"])

    return compute


def _scan(function: Callable[..., Any]) -> Compute:
    def compute(spec: CallSpec, out: Host, x: Host) -> None:
        if is_float(out):
            assign(out, np.asarray(function(wide(x), axis=spec.attributes["axis"])))
        else:
            out[...] = function(x, axis=spec.attributes["axis"], dtype=out.dtype)

    return compute


def matmul(spec: CallSpec, out: Host, x: Host, y: Host) -> None:
    """Multiply in float64, or in the result's integers, which wrap."""
    if is_float(out):
        assign(out, np.matmul(wide(x), wide(y)) + 0.0)
    else:
        out[...] = np.matmul(x.astype(out.dtype), y.astype(out.dtype))


_SUMMED: Final = NUMBERS | {"bool"}

#: Op, its computation, and the dtypes of its operands.
REDUCTIONS: Final[dict[str, tuple[Compute, tuple[frozenset[str], ...]]]] = {
    "sum": (_accumulated(np.sum), (_SUMMED,)),
    "prod": (_accumulated(np.prod), (_SUMMED,)),
    "max": (extreme(largest=True), (NUMBERS,)),
    "min": (extreme(largest=False), (NUMBERS,)),
    "all": (_truth(np.all), (names("integer", "float", "bool"),)),
    "any": (_truth(np.any), (names("integer", "float", "bool"),)),
    "argmax": (_position(np.argmax), (NUMBERS,)),
    "argmin": (_position(np.argmin), (NUMBERS,)),
    "cumulative_sum": (_scan(np.cumsum), (_SUMMED,)),
    "cumulative_prod": (_scan(np.cumprod), (_SUMMED,)),
    "matmul": (matmul, (NUMBERS,)),
}
