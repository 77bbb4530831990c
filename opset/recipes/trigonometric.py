"""Recipes of sine, cosine and tangent, for every finite argument.

The argument is divided by a turn in fixed point, after Payne and Hanek, "Radian reduction for trigonometric
functions", ACM SIGNUM Newsletter 18 (1983): of the bits of 1 / (2 pi) only the window counts whose product with the
significand is neither a whole number of turns nor below the precision wanted. A program has no branches, so this one
reduction serves all arguments; only below 1/2, where fixed point would lose bits, does the argument stand for itself.
"""

from __future__ import annotations

import functools
from typing import Final

from .building import bits_of, fast_two_sum, flip_sign, two_product
from .coefficients import constant, polynomial
from .program import Value, bitcast, convert, eq, fma, horner, lookup_bits, mulhi, select
from .registry import recipe

_FRACTION_BITS: Final = 1280  # the largest float64 exponent, 1024, and three words below
_WORD: Final = (1 << 64) - 1


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
def _windows_float32() -> tuple[tuple[int, ...], tuple[int, ...]]:
    # x is (m << e % 8) * 2**(8 * (e // 8) - 150) for the biased exponent e, and a turn is 2**64. Steps of 8 keep the
    # products within 64 bits and the tables within a few vector registers.
    high = tuple(_window(8 * j - 150 + 64, _WORD) for j in range(32))
    low = tuple(_window(8 * j - 150 + 96, _WORD >> 32) for j in range(32))
    return high, low


@functools.cache
def _windows_float64() -> tuple[int, ...]:
    # x is (m << e % 8) * 2**(8 * (e // 8) - 1075), and a turn is 2**128; words 8 and 16 entries on are the next lower.
    return tuple(_window(8 * j - 1075 + 64, _WORD) for j in range(256 + 16))


def _turns_float32(x: Value) -> Value:
    """Return the fraction of a turn in |x|, in units of 2**-64; errors below 2 units."""
    bits = bits_of(abs(x))
    significand = convert((bits & 0x7FFFFF | 0x800000) << (bits >> 23 & 7), "uint64")
    index = bits >> 26
    high, low = _windows_float32()
    rest = significand * convert(lookup_bits(low, index, "uint32"), "uint64")
    return significand * lookup_bits(high, index, "uint64") + (rest >> 32)


def _top_half(word: Value) -> Value:
    return convert(word >> 32, "uint32")


def _finite_or_nan(x: Value, result: Value) -> Value:
    return select(abs(x) < float("inf"), result, float("nan"))


def _sin_half_turn(r: Value) -> Value:
    return convert(r * horner(r * r, polynomial("sin_half_turn", "float64")), "float32")


_TO_RADIANS: Final = 2.0**-64  # of what a 64-bit word counts


@recipe("sin", "float32")
def _sin_float32(x: Value) -> Value:
    turns = _turns_float32(x)
    # Doubling drops the half turns; rounding to the nearest leaves their parity in the top bit.
    reduced = convert(bitcast(turns << 1, "int64"), "float64") * (constant("pi", "float64")[0] * _TO_RADIANS)
    r = select(abs(x) < 0.5, convert(abs(x), "float64"), reduced)
    sign = _top_half(turns + (1 << 62)) ^ bits_of(x)
    return _finite_or_nan(x, flip_sign(_sin_half_turn(r), sign))


@recipe("cos", "float32")
def _cos_float32(x: Value) -> Value:
    turns = _turns_float32(x) + (1 << 62)
    pi, half_pi = constant("pi", "float64")[0], constant("half_pi", "float64")[0]
    reduced = convert(bitcast(turns << 1, "int64"), "float64") * (pi * _TO_RADIANS)
    # Here the parity is odd, hence the angle less half a turn: cos(x) = -sin(x - pi/2).
    r = select(abs(x) < 0.5, convert(abs(x), "float64") - half_pi, reduced)
    return _finite_or_nan(x, flip_sign(_sin_half_turn(r), _top_half(turns + (1 << 62))))


@recipe("tan", "float32")
def _tan_float32(x: Value) -> Value:
    turns = _turns_float32(x)
    reduced = convert(bitcast(turns << 2, "int64"), "float64") * (constant("half_pi", "float64")[0] * _TO_RADIANS)
    r = select(abs(x) < 0.5, convert(abs(x), "float64"), reduced)
    z = r * r
    t = convert(fma(r * z, horner(z, polynomial("tan_eighth_turn", "float64")), r), "float32")
    odd = (turns + (1 << 61)) & (1 << 62)
    size = select(eq(odd, 0), t, -1.0 / t)
    return _finite_or_nan(x, flip_sign(size, bits_of(x)))


def _reduce_float64(x: Value) -> tuple[Value, Value, Value]:
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
    rest = fma(convert(low, "float64"), 2.0**-64, convert(centred - convert(main, "int64"), "float64"))
    scale, scale_low = (2.0 * _TO_RADIANS * part for part in constant("pi", "float64"))
    product, error = two_product(main, main.const(scale))
    r, tail = fast_two_sum(product, fma(main, scale_low, rest * scale) + error)
    small = abs(x) < 0.5
    return select(small, abs(x), r), select(small, 0.0, tail), quarters


def _sin_and_cos(r: Value, tail: Value) -> tuple[tuple[Value, Value], tuple[Value, Value]]:
    """Return sine and cosine of ``r + tail``, each as the two ends of an unrounded sum."""
    z = r * r
    half = z * 0.5
    sin_rest = fma(r * z, horner(z, polynomial("sin", "float64")), fma(-half, tail, tail))
    near = 1.0 - half
    lost = (1.0 - near) - half
    cos_rest = lost + fma(z * z, horner(z, polynomial("cos", "float64")), -(r * tail))
    return (r, sin_rest), (near, cos_rest)


@recipe("sin", "float64")
def _sin_float64(x: Value) -> Value:
    r, tail, quarters = _reduce_float64(x)
    sin, cos = _sin_and_cos(r, tail)
    size = select(eq(quarters & (1 << 62), 0), sin[0] + sin[1], cos[0] + cos[1])
    return _finite_or_nan(x, flip_sign(size, quarters ^ bits_of(x)))


@recipe("cos", "float64")
def _cos_float64(x: Value) -> Value:
    r, tail, quarters = _reduce_float64(x)
    sin, cos = _sin_and_cos(r, tail)
    size = select(eq(quarters & (1 << 62), 0), cos[0] + cos[1], sin[0] + sin[1])
    return _finite_or_nan(x, flip_sign(size, quarters + (1 << 62)))


@recipe("tan", "float64")
def _tan_float64(x: Value) -> Value:
    r, tail, quarters = _reduce_float64(x)
    odd = quarters & (1 << 62)
    even = eq(odd, 0)
    (sin, sin_rest), (cos, cos_rest) = (fast_two_sum(*ends) for ends in _sin_and_cos(r, tail))
    over, over_rest = select(even, sin, cos), select(even, sin_rest, cos_rest)
    under, under_rest = select(even, cos, sin), select(even, cos_rest, sin_rest)
    inverse = 1.0 / under
    near = over * inverse
    residual = fma(-near, under, over) + fma(-near, under_rest, over_rest)
    size = fma(residual, inverse, near)
    return _finite_or_nan(x, flip_sign(size, odd << 1 ^ bits_of(x)))
