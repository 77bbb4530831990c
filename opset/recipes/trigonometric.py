"""Recipes of sine, cosine and tangent, for every finite argument.

The argument is divided by a turn in fixed point, after Payne and Hanek, "Radian reduction for trigonometric
functions", ACM SIGNUM Newsletter 18 (1983): of the bits of 1 / (2 pi) only the window counts whose product with the
significand is neither a whole number of turns nor below the precision wanted. A program has no branches, so this one
reduction serves all arguments; only below 1/2, where fixed point would lose bits, does the argument stand for itself.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Final

from .building import bits_of, fast_two_sum, flip_sign, two_product
from .coefficients import constant, polynomial
from .program import ARITHMETIC_FLOATS, WIDTH
from .registry import recipe
from .writing import Value, bitcast, convert, eq, fma, horner, lookup_bits, mulhi, select

_FRACTION_BITS: Final = 1280  # the largest float64 exponent, 1024, and three words below
_WORD: Final = (1 << 64) - 1
_TO_RADIANS: Final = 2.0**-64  # of what a 64-bit word counts


@functools.cache
def turn_bits() -> int:
    """Return ``floor(2**1280 / (2 pi))``; pi from Machin's formula, ``16 atan(1/5) - 4 atan(1/239)``."""
    guard = 64

    def inverse_tangent(n: int) -> int:
        total, term, k = 0, (1 << _FRACTION_BITS + guard) // n, 1
        while term:
            total += term // k if k % 4 == 1 else -(term // k)
            term, k = term // (n * n), k + 2
        return total

    pi = 16 * inverse_tangent(5) - 4 * inverse_tangent(239)
    return (1 << 2 * _FRACTION_BITS + guard - 1) // pi


def _window(exponent: int, mask: int) -> int:
    """Return ``floor(2**exponent / (2 pi))``, modulo the mask."""
    shift = _FRACTION_BITS - exponent
    return turn_bits() >> shift & mask


@functools.cache
def _words_float32() -> tuple[int, ...]:
    # x is m * 2**(j - 31) for m in [2**31, 2**32) and j in [0, 128), and a turn is 2**64: 64 bits and 32 more of
    # 2**(j + 33) / (2 pi) count. Word k starts at bit 32 * k.
    return tuple(_window(32 * k + 1, (1 << 32) - 1) for k in range(7))


@functools.cache
def _windows_float64() -> tuple[int, ...]:
    # x is (m << e % 8) * 2**(8 * (e // 8) - 1075), and a turn is 2**128; words 8 and 16 entries on are the next lower.
    return tuple(_window(8 * j - 1075 + 64, _WORD) for j in range(256 + 16))


Reduced = tuple[Value, Value, Value]  # an angle as a sum of two floats, and a word


def _reduce_float32(x: Value) -> Reduced:
    """Reduce |x| to at most an eighth of a turn, unless it is below 1.

    Returns the angle as a sum of two floats, and a word whose top two bits count the quarter turns taken away.
    """
    size = abs(x)
    small = size < 1.0
    bits = bits_of(size)
    significand = select(small, 0, bits << 8 | 1 << 31)
    # The exponent less that of 1: five bits say how far to shift, two from which word on. Selecting one of four words
    # costs vector units less than a lookup.
    exponent = bits + (1 << 23)
    odd, upper = (~eq(exponent & (1 << 23 + bit), 0) for bit in (5, 6))
    words = [bits.bits(word) for word in _words_float32()]
    even_pairs = [select(upper, words[k + 2], words[k]) for k in range(5)]
    first, second, third, fourth = (select(odd, even_pairs[k + 1], even_pairs[k]) for k in range(4))
    shift = exponent >> 23 & 31
    back = shift ^ 31

    def shifted(word: Value, following: Value) -> Value:
        return word << shift | (following >> 1) >> back

    middle = shifted(second, third)
    lowest = mulhi(significand, shifted(third, fourth))
    low = significand * middle + lowest
    high = significand * shifted(first, second) + mulhi(significand, middle)
    high = select(low < lowest, high + 1, high)

    # The upper part has 24 bits and a sign, hence is exact in float32; the lower one is signed, so nothing cancels.
    quarters = high + ((1 << 29) + 16)
    main = convert(bitcast((quarters & 0x3FFFFFE0) - (1 << 29), "int32"), "float32")
    rest = convert(bitcast(high << 27 | low >> 5, "int32"), "float32")
    scale, scale_low = (2.0**-31 * part for part in constant("pi", "float32"))
    missing = fma(rest, scale * 2.0**-27, fma(main, scale_low, x - x))  # NaN where x is infinite
    r = fma(main, scale, missing)
    return select(small, size, r), fma(main, scale, -r) + missing, quarters


def _reduce_float64(x: Value) -> Reduced:
    """Reduce |x| to at most an eighth of a turn.

    Returns the angle as a sum of two float64, and a word whose top two bits count the quarter turns taken away.
    """
    bits = bits_of(abs(x))
    significand = (bits & (1 << 52) - 1 | 1 << 52) << (bits >> 52 & 7)
    index = bits >> 55
    first, second, third = (lookup_bits(_windows_float64(), index + k, "uint64") for k in (0, 8, 16))
    middle = significand * second
    low = middle + mulhi(significand, third)
    high = significand * first + mulhi(significand, second) + convert(low < middle, "uint64")
    quarters = high + (1 << 61)
    centred = bitcast(high - (quarters & (3 << 62)), "int64")
    main = convert(centred, "float64")
    below = convert(centred - convert(main, "int64"), "float64") + (x - x)  # NaN where x is infinite
    rest = fma(convert(low, "float64"), 2.0**-64, below)
    scale, scale_low = (2.0 * _TO_RADIANS * part for part in constant("pi", "float64"))
    product, error = two_product(main, main.const(scale))
    r, tail = fast_two_sum(product, fma(main, scale_low, rest * scale) + error)
    small = abs(x) < 0.5
    return select(small, abs(x), r), select(small, 0.0, tail), quarters


def _sin_and_cos(r: Value, tail: Value) -> tuple[tuple[Value, Value], tuple[Value, Value]]:
    """Return sine and cosine of ``r + tail``, each as the two ends of an unrounded sum."""
    z = r * r
    half = r * 0.5
    cross = r * tail
    sin_rest = fma(r * z, horner(z, polynomial("sin", z.type)), fma(-half, cross, tail))
    near = fma(-half, r, 1.0)
    lost = fma(-half, r, 1.0 - near)
    cos_rest = lost + fma(z * z, horner(z, polynomial("cos", z.type)), -cross)
    return (r, sin_rest), (near, cos_rest)


_REDUCE: Final[dict[str, Callable[[Value], Reduced]]] = {"float32": _reduce_float32, "float64": _reduce_float64}


def _top_bit(word: Value, below: int = 0) -> int:
    return 1 << WIDTH[word.type] - 1 - below


@recipe("sin", *ARITHMETIC_FLOATS)
def _sin(x: Value) -> Value:
    r, tail, quarters = _REDUCE[x.type](x)
    sin, cos = _sin_and_cos(r, tail)
    size = select(eq(quarters & _top_bit(quarters, 1), 0), sin[0] + sin[1], cos[0] + cos[1])
    return flip_sign(size, quarters ^ bits_of(x))


@recipe("cos", *ARITHMETIC_FLOATS)
def _cos(x: Value) -> Value:
    r, tail, quarters = _REDUCE[x.type](x)
    sin, cos = _sin_and_cos(r, tail)
    size = select(eq(quarters & _top_bit(quarters, 1), 0), cos[0] + cos[1], sin[0] + sin[1])
    return flip_sign(size, quarters + _top_bit(quarters, 1))


@recipe("tan", "float32")
def _tan_float32(x: Value) -> Value:
    r, tail, quarters = _reduce_float32(x)
    z = r * r
    rest = fma(r * z, horner(z, polynomial("tan", x.type)), fma(tail, z, tail))
    t, missing = fast_two_sum(r, rest)
    inverse = -1.0 / t
    cotangent = fma(inverse, fma(inverse, missing, fma(inverse, t, 1.0)), inverse)
    odd = quarters & _top_bit(quarters, 1)
    return flip_sign(select(eq(odd, 0), t, cotangent), bits_of(x))


@recipe("tan", "float64")
def _tan_float64(x: Value) -> Value:
    r, tail, quarters = _reduce_float64(x)
    odd = quarters & _top_bit(quarters, 1)
    even = eq(odd, 0)
    (sin, sin_rest), (cos, cos_rest) = (fast_two_sum(*ends) for ends in _sin_and_cos(r, tail))
    over, over_rest = select(even, sin, cos), select(even, sin_rest, cos_rest)
    under, under_rest = select(even, cos, sin), select(even, cos_rest, sin_rest)
    inverse = 1.0 / under
    near = over * inverse
    residual = fma(-near, under, over) + fma(-near, under_rest, over_rest)
    size = fma(residual, inverse, near)
    return flip_sign(size, odd << 1 ^ bits_of(x))
