"""Casts: conversion of values, and reinterpretation of bits."""

from __future__ import annotations

from typing import Any

from ..core.arrays.array import Array
from ..core.dtypes import ALL, DType, bool_
from . import rules_movement
from .accuracy import EXACT
from .conversion import converted
from .declare import primitive


@primitive(
    infer=rules_movement.cast,
    dtypes=ALL,
    accuracy=EXACT,
    specials=(
        "cast(nan, int32) -> 0", "cast(+inf, int32) -> 2147483647", "cast(-inf, int32) -> -2147483648",
        "cast(-1.5, uint8) -> 0", "cast(1e9, int8) -> 127", "cast(-0, bool) -> False", "cast(nan, bool) -> True",
        "cast(1e6, float16) -> +inf", "cast(464, float8_e4m3fn) -> 448", "cast(1e6, float8_e4m3fn) -> nan",
        "cast(1e6, float8_e5m2) -> +inf",
    ),
    core=True,
)  # fmt: skip
def cast(np: Any, x: Array, /, dtype: DType) -> Array:
    """Return the values in another dtype.

    A float becomes an integer by truncation toward zero; what is out of range becomes the nearest end of the range,
    NaN becomes 0. An integer becomes a narrower one by keeping the low bits. Whatever becomes a float is rounded
    once, to nearest even. Anything but zero is True, NaN included; True is 1. A real number becomes complex with
    imaginary part +0; the other way is an error, except to bool.

    float8_e4m3fn has no infinity: what rounds beyond 448 is NaN. float8_e5m2 overflows to infinity. Both are the
    non-saturating mode of the OCP 8-bit floating point specification, revision 1.0, section 5.2.

    Raises:
        DTypeError: complex to real.

    >>> import opmux as ox
    >>> ox.cast(ox.asarray([1.9, -1.9, 300.0]), ox.int8).tolist()
    [1, -1, 127]
    """
    return converted(x, dtype)


@primitive(
    infer=rules_movement.bitcast,
    dtypes=tuple(t for t in ALL if t is not bool_),
    accuracy=EXACT,
    flops=0,
    core=True,
)
def bitcast(np: Any, x: Array, /, dtype: DType) -> Array:
    """Return the same bits as another dtype of the same width.

    Raises:
        DTypeError: the widths differ, or one of the dtypes is bool.

    >>> import opmux as ox
    >>> hex(ox.bitcast(ox.asarray(1.0), ox.uint32).item())
    '0x3f800000'
    """
    return np.ascontiguousarray(x).reshape(np.shape(x)).view(dtype.numpy)
