"""Recipes for arithmetic without division, and for the sign and the order of numbers."""

from __future__ import annotations

from .building import INFINITY, bits_of, copy_sign, from_bits, is_nan, keep_bits_to_odd, round_sum_to_odd
from .program import ARITHMETIC_FLOATS, FLOATS, INTEGERS, SIGNED, STORAGE_FLOATS, UNSIGNED, WIDTH
from .registry import recipe
from .writing import Value, bitcast, convert, eq, fma, select

_NUMBERS = (*INTEGERS, *ARITHMETIC_FLOATS)


@recipe("add", *_NUMBERS)
def add(a: Value, b: Value) -> Value:
    return a + b


@recipe("subtract", *_NUMBERS)
def subtract(a: Value, b: Value) -> Value:
    return a - b


@recipe("multiply", *_NUMBERS)
def multiply(a: Value, b: Value) -> Value:
    return a * b


@recipe("negative", *INTEGERS, *FLOATS)
def negative(a: Value) -> Value:
    return -a


@recipe("abs", *INTEGERS, *FLOATS)
def absolute(a: Value) -> Value:
    return abs(a)


@recipe("fma", *ARITHMETIC_FLOATS)
def multiply_add(a: Value, b: Value, c: Value) -> Value:
    return fma(a, b, c)


@recipe("fma", "float16")
def multiply_add_half(a: Value, b: Value, c: Value) -> Value:
    # Products of two float16 are exact in float32; after a sum rounded to odd, the conversion is the only rounding.
    wide = [convert(v, "float32") for v in (a, b, c)]
    return convert(round_sum_to_odd(wide[0] * wide[1], wide[2]), "float16")


@recipe("fma", "bfloat16")
def multiply_add_bfloat(a: Value, b: Value, c: Value) -> Value:
    # Products of two bfloat16 have 16 bits; a power of two keeps them within float32. Where a tiny one meets an addend
    # that is not, no digit of it counts.
    wide_a, wide_b, wide_c = (convert(v, "float32") for v in (a, b, c))
    size = abs(wide_a * wide_b)
    large, tiny, one = size > 2.0**100, (size < 2.0**-60) & (abs(wide_c) < 2.0**-60), size.const(1.0)
    scale = select(large, size.const(2.0**-16), select(tiny, size.const(2.0**117), one))
    back = select(large, size.const(2.0**16), select(tiny, size.const(2.0**-117), one))
    swap = abs(wide_a) < abs(wide_b)
    less, other = select(swap, wide_a, wide_b), select(swap, wide_b, wide_a)
    total = round_sum_to_odd(less * scale * other, wide_c * scale)
    exact = convert(keep_bits_to_odd(total, 14) * back, "bfloat16")
    # Scaled, a product may overflow that an infinite addend outweighs.
    plain = convert(fma(wide_a, wide_b, wide_c), "bfloat16")
    return select(abs(wide_c) < INFINITY, exact, plain)


@recipe("fma", *INTEGERS)
def multiply_add_integer(a: Value, b: Value, c: Value) -> Value:
    return a * b + c


@recipe("sign", *SIGNED, *ARITHMETIC_FLOATS)
def sign(a: Value) -> Value:
    # What is neither above nor below zero is NaN or a zero, and is its own sign.
    return select(a > 0, a.const(1), select(a < 0, a.const(-1), a))


@recipe("sign", *UNSIGNED)
def sign_unsigned(a: Value) -> Value:
    return select(eq(a, 0), a, 1)


def _extremum(a: Value, b: Value, first: Value, second: Value, tie: Value) -> Value:
    return select(first, a, select(second, b, select(eq(a, b), tie, a + b)))


@recipe("maximum", *ARITHMETIC_FLOATS)
def maximum(a: Value, b: Value) -> Value:
    # Equal operands have equal bits but for the sign of zero, where "and" keeps +0.
    return _extremum(a, b, a > b, b > a, from_bits(bits_of(a) & bits_of(b), a.type))


@recipe("minimum", *ARITHMETIC_FLOATS)
def minimum(a: Value, b: Value) -> Value:
    return _extremum(a, b, a < b, b < a, from_bits(bits_of(a) | bits_of(b), a.type))


@recipe("maximum", *INTEGERS)
def maximum_integer(a: Value, b: Value) -> Value:
    return select(a < b, b, a)


@recipe("minimum", *INTEGERS)
def minimum_integer(a: Value, b: Value) -> Value:
    return select(b < a, b, a)


@recipe("copysign", *FLOATS)
def copysign(a: Value, b: Value) -> Value:
    return copy_sign(a, b)


@recipe("nextafter", *FLOATS)
def nextafter(a: Value, b: Value) -> Value:
    wide_a, wide_b = (convert(v, "float32") if v.type in STORAGE_FLOATS else v for v in (a, b))
    bits = bits_of(a)
    outward = (wide_a < wide_b) ^ (wide_a < 0)  # away from zero: the pattern grows
    one = bits.const(1)
    stepped = select(
        eq(wide_a, 0), (bits_of(b) & (1 << WIDTH[a.type] - 1)) | one, select(outward, bits + one, bits - one)
    )
    moved = select(eq(wide_a, wide_b), b, from_bits(stepped, a.type))
    return select(is_nan(wide_a), a, select(is_nan(wide_b), b, moved))


@recipe("signbit", *FLOATS)
def signbit(a: Value) -> Value:
    return bitcast(a, f"int{WIDTH[a.type]}") < 0
