"""Rounding wide host values to narrow floats once, where NumPy's casts would round twice."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from .dtypes import DType, bfloat16, float8_e4m3fn, float8_e5m2
from .errors import ArgumentError, shown

# Casts to these go through float32 inside of ml_dtypes: 1 + 2^-8 + 2^-40 as bfloat16 came out as 1, not 1 + 2^-7.
_THROUGH_FLOAT32 = frozenset({bfloat16, float8_e4m3fn, float8_e5m2})


def rounded(values: NDArray[Any], t: DType) -> NDArray[Any]:
    """Return real values in a real dtype, each rounded once to the nearest, ties to even.

    Args:
        values: real NumPy values of any width.
        t: a real floating or storage dtype.

    >>> import numpy as np
    >>> float(rounded(np.array(1 + 2.0**-8 + 2.0**-40), bfloat16))
    1.0078125
    """
    with np.errstate(over="ignore", invalid="ignore"):
        if t in _THROUGH_FLOAT32 and values.dtype != np.float32:
            values = _to_odd(values)
        return np.asarray(values.astype(t.numpy))


def _to_odd(values: NDArray[Any]) -> NDArray[np.float32]:
    """Round to float32 so that a second rounding to fewer bits is right: inexact results get an odd last bit.

    Boldo and Melquiond, "Emulation of FMA and correctly rounded sums: proved algorithms using rounding to odd", 2008.
    """
    exact = values.astype(np.longdouble)  # holds int64 and float64 without loss
    near = exact.astype(np.float32)
    back = near.astype(np.longdouble)
    bits = np.atleast_1d(near).view(np.int32).reshape(near.shape)
    inexact_even = (back != exact) & ~np.isnan(exact) & (bits & 1 == 0)
    # One step towards the exact value. In sign and magnitude, that is one up or one down in the bits.
    step = np.where(np.abs(exact) > np.abs(back), 1, -1).astype(np.int32)
    odd = np.where(inexact_even, bits + step, bits).astype(np.int32)
    return odd.view(np.float32)


# Fits int64 with its sign, and is more than twice the precision of any float here.
_EXACT_BITS: Final = 62
_LARGEST_EXPONENT: Final = 1024


def rounded_integer(value: int, t: DType) -> NDArray[Any]:
    """Return a Python integer of any size in a real dtype as an array without axes, rounded once to the nearest.

    Beyond the range of the dtype it is infinite.

    Raises:
        ArgumentError: beyond the range of float64, as Python's own conversion refuses it.

    >>> from opmux.core.dtypes import float32
    >>> float(rounded_integer(2**100 + 2**76 + 1, float32)) == 2.0**100 + 2.0**77
    True
    """
    shift = max(abs(value).bit_length() - _EXACT_BITS, 0)
    # The bits shifted out decide only between halves, so one bit stands for all of them.
    kept = abs(value) >> shift
    if kept << shift != abs(value):
        kept |= 1
    if shift + _EXACT_BITS > _LARGEST_EXPONENT:
        raise ArgumentError(
            f"{shown(value)} is beyond the range of float64, so of {t}; scale it down first", value=value, dtype=t
        )
    near = rounded(np.asarray(-kept if value < 0 else kept, np.int64), t).astype(np.float64)
    return rounded(np.ldexp(near, shift), t)
