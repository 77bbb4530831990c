"""Rounding and ordering of values, as the twin does it: bit by bit, so that it shares nothing with the oracle."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from ....plugin import dtypes

Host = NDArray[Any]

#: Integers beyond this do not fit a double.
_DOUBLE_BITS: Final = 53


def is_float(x: Host) -> bool:
    """Return whether the elements are real floats; bfloat16 is one, though NumPy calls its kind V."""
    return x.dtype.kind in "fV"


def wide(x: Host) -> Host:
    """Return floats as float64, and integers and bool as they are."""
    return x.astype(np.float64) if is_float(x) else x


def assign(out: Host, values: Host) -> None:
    """Write float64 values into an array of any dtype, each rounded once to nearest even."""
    out[...] = narrowed(np.asarray(values), out.dtype) if values.dtype == np.float64 else values


def narrowed(values: Host, to: np.dtype[Any]) -> Host:
    """Return float64 values in a narrower float format, rounded once.

    A double goes to a 16-bit float through float32, rounded to odd there so that the second rounding is right.
    """
    if to.itemsize > 2 or to.kind not in "fV":
        return values.astype(to)
    near = values.astype(np.float32)
    bits = np.atleast_1d(near).view(np.int32).copy()
    exact = np.atleast_1d(values)
    back = np.atleast_1d(near).astype(np.float64)
    inexact = (back != exact) & np.isfinite(exact) & ((bits & 1) == 0)
    outward = np.abs(exact) > np.abs(back)
    bits[inexact & outward] += 1
    bits[inexact & ~outward] -= 1
    return bits.view(np.float32).reshape(values.shape).astype(to)


def from_integers(x: Host, to: np.dtype[Any]) -> Host:
    """Return integers in a float format, rounded once: bits that no double holds are kept as one sticky bit."""
    if to in (np.float32, np.float64):
        return x.astype(to)
    if x.dtype.itemsize == 8:
        shift = x.dtype.type(64 - _DOUBLE_BITS)
        cut = x >> shift
        sticky = (x & ((x.dtype.type(1) << shift) - x.dtype.type(1))) != 0
        large = x > (1 << _DOUBLE_BITS)
        if x.dtype.kind == "i":
            large |= x < -(1 << _DOUBLE_BITS)
        x = np.where(large, (cut | sticky.astype(x.dtype)) << shift, x)
    return narrowed(x.astype(np.float64), to)


def to_integers(x: Host, to: np.dtype[Any]) -> Host:
    """Return floats as integers: truncated, clamped to the range, NaN as 0."""
    limits = np.iinfo(to)
    values = np.trunc(x.astype(np.float64))
    # 2.0**bits is exact where the largest integer is not.
    top = 2.0 ** int(limits.max).bit_length()
    inside = (values > limits.min) & (values < top)
    made = np.where(inside, values, 0.0).astype(to)
    made = np.where(values >= top, to.type(limits.max), made)
    return np.where(values <= limits.min, to.type(limits.min), made)


def larger(x: Host, y: Host) -> Host:
    """Return the larger of two; NaN wins, and -0 is below +0."""
    found = np.maximum(x, y)
    return np.where((x == 0) & (y == 0), x + y, found).astype(x.dtype) if is_float(x) else found


def smaller(x: Host, y: Host) -> Host:
    """Return the smaller of two; NaN wins, and -0 is below +0."""
    found = np.minimum(x, y)
    return np.where((x == 0) & (y == 0), -((-x) + (-y)), found).astype(x.dtype) if is_float(x) else found


def names(*kinds: str) -> frozenset[str]:
    """Return the names of dtypes by kind: ``"float"``, ``"integer"``, ``"bool"``, ``"complex"``."""
    table = {
        "float": dtypes.FLOATS,
        "integer": dtypes.INTEGERS,
        "bool": (dtypes.bool_,),
        "complex": dtypes.COMPLEXES,
    }
    return frozenset(t.name for kind in kinds for t in table[kind])
