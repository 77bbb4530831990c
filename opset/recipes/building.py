"""What several recipes are built from: bit patterns, signs, powers of two, error-free sums, roundings to odd."""

from __future__ import annotations

from typing import Final

from .program import UNSIGNED, WIDTH, pattern
from .writing import Value, bitcast, convert, eq, fma, rint, select

#: Bits of the fraction field, and the exponent's bias.
FRACTION_BITS: Final = {"float16": 10, "bfloat16": 7, "float32": 23, "float64": 52}
BIAS: Final = {"float16": 15, "bfloat16": 127, "float32": 127, "float64": 1023}
MIN_NORMAL: Final = {"float32": 2.0**-126, "float64": 2.0**-1022}
INFINITY: Final = float("inf")
NAN: Final = float("nan")

Pair = tuple[Value, Value]  # an unevaluated sum, larger part first


def bits_of(a: Value) -> Value:
    """Return the bit pattern as an unsigned integer."""
    return bitcast(a, f"uint{WIDTH[a.type]}")


def signed_bits_of(a: Value) -> Value:
    """Return the bit pattern as a signed integer."""
    return bitcast(a, f"int{WIDTH[a.type]}")


def from_bits(a: Value, type: str) -> Value:
    """Return the number that has a bit pattern."""
    return bitcast(a, type)


def is_nan(a: Value) -> Value:
    """Return whether a float32 or float64 is NaN."""
    return ~eq(a, a)


def sign_of(a: Value) -> Value:
    """Return the sign bit in place, the other bits 0."""
    return bits_of(a) & (1 << WIDTH[a.type] - 1)


def copy_sign(a: Value, b: Value) -> Value:
    """Return the magnitude of *a* with the sign of *b*."""
    return from_bits(bits_of(abs(a)) | sign_of(b), a.type)


def with_sign(magnitude: Value, b: Value) -> Value:
    """Return a magnitude that is not negative with the sign of *b*."""
    return from_bits(bits_of(magnitude) | sign_of(b), magnitude.type)


def flip_sign(a: Value, word: Value) -> Value:
    """Return a float, negated where the top bit of an unsigned integer of its width is set."""
    return from_bits(bits_of(a) ^ (word & (1 << WIDTH[a.type] - 1)), a.type)


def power_of_two(exponent: Value, type: str) -> Value:
    """Return 2**exponent for a signed integer of the float's width; the result must be normal."""
    biased = exponent + BIAS[type]
    return bitcast(biased << FRACTION_BITS[type], type)


def two_sum(a: Value, b: Value) -> Pair:
    """Return the rounded sum and its exact error (Knuth)."""
    s = a + b
    t = s - a
    return s, (a - (s - t)) + (b - t)


def fast_two_sum(a: Value, b: Value) -> Pair:
    """Return the rounded sum and its exact error, where *a* is the larger or zero (Dekker)."""
    s = a + b
    return s, b - (s - a)


def two_product(a: Value, b: Value) -> Pair:
    """Return the rounded product and its exact error."""
    p = a * b
    return p, fma(a, b, -p)


def round_sum_to_odd(a: Value, b: Value) -> Value:
    """Add, rounding to odd: a later rounding to two bits fewer, or less, is then the only one."""
    s, error = two_sum(a, b)
    bits = signed_bits_of(s)
    step = select((error > 0) ^ (s > 0), bits.const(-1), bits.const(1))
    even_and_inexact = eq(bits & 1, 0) & ~eq(error, 0) & (abs(s) < INFINITY)
    return bitcast(select(even_and_inexact, bits + step, bits), a.type)


def keep_bits_to_odd(a: Value, count: int) -> Value:
    """Return a float rounded to odd at so many significant bits.

    14 are two more than float16 and bfloat16 need for a rounding of their own, and exact in float32; below its normal
    numbers, only what is under half of the smallest bfloat16 gets lost.
    """
    unit = 1 << FRACTION_BITS[a.type] + 1 - count
    bits = bits_of(a)
    low = bits & (unit - 1)
    kept = bits ^ low
    return from_bits(select(eq(low, 0), kept, kept | unit), a.type)


def to_float32(a: Value) -> Value:
    """Convert float64 to float32 in a way that a further rounding to float16 or bfloat16 is the only one."""
    return convert(keep_bits_to_odd(a, 14), "float32")


def magic_round(a: Value, scale: float) -> Pair:
    """Return ``rint(a * scale)`` as a float and, in the low bits of an integer, for small results.

    Adding 1.5 * 2**p leaves no fraction bits. The low bits of the sum's pattern are the integer in two's complement.
    """
    magic = 1.5 * 2.0 ** FRACTION_BITS[a.type]
    shifted = fma(a, scale, magic)
    return shifted - magic, signed_bits_of(shifted)


def scale_by_integer(a: Value, exponent: Value) -> Value:
    """Return ``a * 2**exponent`` through two factors, for an exponent within twice the normal range."""
    half = exponent >> 1
    return a * power_of_two(half, a.type) * power_of_two(exponent - half, a.type)


def floor_of(a: Value) -> Value:
    """Return the largest integer not above a float, with its sign of zero."""
    near = rint(a)
    return select(near > a, near - 1, near)


def saturated_shift(a: Value, amount: Value, beyond: Value) -> tuple[Value, Value]:
    """Return the amount reduced into range, and whether it was not in [0, width)."""
    width = WIDTH[a.type]
    unsigned = amount if amount.type in UNSIGNED else bitcast(amount, "u" + amount.type)
    return select(unsigned < width, amount, beyond), unsigned >= width


def small_integer_to_float(a: Value, type: str) -> Value:
    """Convert a signed integer of the float's width, far below 2**(its fraction bits), as magic_round undone.

    Two plain additions: vector units that lack the conversion from int64 have them.
    """
    magic = 1.5 * 2.0 ** FRACTION_BITS[type]
    return bitcast(a + pattern(magic, type), type) - magic
