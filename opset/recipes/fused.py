"""Exactly rounded fused multiply-add for NumPy arrays, which have none of their own."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[Any]

_SPLITTER: Final = 134217729.0  # 2**27 + 1: Veltkamp's constant for a 53-bit significand
# Inside these bounds no partial result of the error-free transformations overflows, and each is a multiple of 2**-1010.
_LARGE: Final = 2.0**990
_SMALL: Final = 2.0**-900


def two_sum(a: FloatArray, b: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Return the rounded sum and its exact error (Knuth); the operands may come in any order."""
    s = a + b
    t = s - a
    return s, (a - (s - t)) + (b - t)


def _two_product(a: FloatArray, b: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Return the rounded float64 product and its exact error (Dekker)."""
    p = a * b
    t = _SPLITTER * a
    ah = t - (t - a)
    al = a - ah
    t = _SPLITTER * b
    bh = t - (t - b)
    bl = b - bh
    return p, ((ah * bh - p) + ah * bl + al * bh) + al * bl


def sum_to_odd(a: FloatArray, b: FloatArray) -> FloatArray:
    """Add float64 arrays, rounding to odd, so that a later rounding to fewer bits (by two) sees no double rounding."""
    s, error = two_sum(a, b)
    bits = np.atleast_1d(s).view(np.int64)
    step = np.where((error > 0) == (s > 0), 1, -1)
    inexact = np.isfinite(s) & (error != 0) & (bits & 1 == 0).reshape(np.shape(s))
    odd: FloatArray = (bits + np.where(inexact, step, 0)).view(np.float64).reshape(np.shape(s))
    return odd


def narrow_to_odd(x: FloatArray) -> FloatArray:
    """Convert float64 to float32, rounding to odd.

    >>> narrow_to_odd(np.array(1 + 2.0**-40)).view(np.uint32) & 1
    np.uint32(1)
    """
    with np.errstate(all="ignore"):
        near = np.atleast_1d(x.astype(np.float32))
        bits = near.view(np.int32)
        back = near.astype(np.float64)
        wide = np.atleast_1d(x)
        inexact = (back != wide) & ~np.isnan(wide) & (bits & 1 == 0)
        step = np.where(np.abs(wide) > np.abs(back), 1, -1).astype(np.int32)
        odd: FloatArray = np.where(inexact, bits + step, bits).view(np.float32).reshape(np.shape(x))
    return odd


def _exact(a: float, b: float, c: float) -> float:
    """Return ``a * b + c`` for finite float64 through integers; the product must not be zero."""
    an, ad = a.as_integer_ratio()
    bn, bd = b.as_integer_ratio()
    cn, cd = c.as_integer_ratio()
    d = ad * bd  # all denominators are powers of two
    numerator = an * bn * cd + cn * d
    try:
        return numerator / (d * cd)  # CPython rounds the quotient of integers correctly, subnormals included
    except OverflowError:
        return float("inf") if numerator > 0 else float("-inf")


def _parts(a: FloatArray, b: FloatArray, c: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Return the rounded product, and two numbers whose sum, rounded to odd and then added, rounds ``a * b + c`` once.

    Boldo and Melquiond, "Emulation of a FMA and correctly rounded sums: proved algorithms using rounding to odd".
    """
    product, low = _two_product(a, b)
    th, tl = two_sum(c, low)
    vh, vl = two_sum(product, th)
    return product, vh, sum_to_odd(tl, vl)


def _fma64(a: FloatArray, b: FloatArray, c: FloatArray) -> FloatArray:
    product, high, low = _parts(a, b, c)
    result = np.array(high + low)

    size_a, size_b, size_c, size_p = np.abs(a), np.abs(b), np.abs(c), np.abs(product)
    simple = (size_a < _LARGE) & (size_b < _LARGE) & (size_c < _LARGE) & (size_p < _LARGE) & (size_p > _SMALL)
    simple &= (size_c > _SMALL) | (c == 0)
    if simple.all():
        return result
    finite = np.isfinite(a) & np.isfinite(b)
    zero = (a == 0) | (b == 0)
    np.copyto(result, product + c, where=~finite | zero)
    np.copyto(result, c, where=finite & ~np.isfinite(c))
    hard = ~simple & finite & ~zero & np.isfinite(c)
    if hard.any():
        result[hard] = _fma64_of_any_size(a[hard], b[hard], c[hard])
    return result


#: The product of two significands has its last bit at 2**-106 or above: what is below 2**-150 of it only breaks ties.
_FAR_BELOW: Final = -150
_FAR_ABOVE: Final = 200


def _fma64_of_any_size(a: FloatArray, b: FloatArray, c: FloatArray) -> FloatArray:
    """Return ``a * b + c`` of finite numbers, the product not zero: with significands, the exponents put back last."""
    (ma, ea), (mb, eb), (mc, ec) = np.frexp(a), np.frexp(b), np.frexp(c)
    exponent = ea + eb
    ahead = np.where(c == 0, _FAR_BELOW, ec - exponent)
    _, high, low = _parts(ma, mb, np.ldexp(mc, np.clip(ahead, _FAR_BELOW, _FAR_ABOVE)))
    near = np.array(high + low)
    size = np.frexp(near)[1] + exponent
    # Below the normal numbers putting the exponent back rounds again: there the first rounding is to odd.
    odd = np.where(size < -1021, sum_to_odd(high, low), near)
    result = np.where(ahead > _FAR_ABOVE, c, np.ldexp(odd, exponent))
    # Where that leaves only one bit less than the first rounding, rounding to odd does not save it.
    for i in np.flatnonzero((np.abs(size + 1022) <= 1) & (ahead <= _FAR_ABOVE)):
        result[i] = _exact(float(a[i]), float(b[i]), float(c[i]))
    return np.asarray(result)


#: A float64 that ends in this pattern lies halfway between two normal float32.
_TAIL: Final = (1 << 29) - 1
_HALFWAY: Final = 1 << 28


def _fma32(a: FloatArray, b: FloatArray, c: FloatArray) -> FloatArray:
    # The product of two 24-bit significands is exact in float64, so the sum is rounded once, and then to float32. Two
    # roundings can only differ from one where the first lands halfway, or where the second keeps fewer than 24 bits:
    # there the first one is to odd.
    product, addend = np.broadcast_arrays(a.astype(np.float64) * b.astype(np.float64), c.astype(np.float64))
    total = np.atleast_1d(product + addend)
    doubtful = ((total.view(np.int64) & _TAIL) == _HALFWAY) | (np.abs(total) < 2.0**-125)
    if doubtful.any():
        total[doubtful] = sum_to_odd(np.atleast_1d(product)[doubtful], np.atleast_1d(addend)[doubtful])
    return total.astype(np.float32).reshape(product.shape)


def fma(a: FloatArray, b: FloatArray, c: FloatArray) -> FloatArray:
    """Return ``a * b + c`` rounded once, to nearest even, with broadcasting.

    Args:
        a, b, c: arrays of one dtype, float32 or float64.

    Raises:
        TypeError: for other dtypes, or dtypes that differ.

    Source: Boldo and Melquiond, IEEE Transactions on Computers 57 (4), 2008.

    >>> x = np.array([1 + 2.0**-30])
    >>> float(fma(x, x, -(x * x))[0]) == 2.0**-60
    True
    """
    a, b, c = np.asarray(a), np.asarray(b), np.asarray(c)
    if not a.dtype == b.dtype == c.dtype or a.dtype not in (np.float32, np.float64):
        raise TypeError(f"fma takes three arrays of float32 or of float64, not {a.dtype}, {b.dtype}, {c.dtype}")
    with np.errstate(all="ignore"):
        if a.dtype == np.float32:
            return _fma32(a, b, c)
        a, b, c = np.broadcast_arrays(a, b, c)
        shape = a.shape
        return _fma64(np.atleast_1d(a), np.atleast_1d(b), np.atleast_1d(c)).reshape(shape)
