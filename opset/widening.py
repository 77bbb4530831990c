"""The rule of every composite on narrow floats: widen once, compute in float32, round once."""

from __future__ import annotations

from typing import Any

from ..core.arrays.array import Array
from ..core.dtypes import bfloat16, float16, float32


def widen(ox: Any, x: Array) -> Array:
    """Return float16 and bfloat16 values as float32, anything else as it is."""
    return ox.cast(x, float32) if x.dtype in (float16, bfloat16) else x


def narrow(ox: Any, result: Array, like: Array) -> Array:
    """Return a result in the dtype of the operand that it was computed from."""
    return result if result.dtype == like.dtype else ox.cast(result, like.dtype)
