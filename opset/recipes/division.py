"""Recipes for division: true, floor, and the remainder, on integers and floats.

Integers: division by zero gives 0, for the quotient and for the remainder; ``MIN // -1`` wraps to MIN.

Floats: ``remainder`` is exact but for the one rounding of ``a + b`` where the signs differ and ``abs(a) < abs(b)``.
``floor_divide`` is the floor of the exact quotient, rounded once, in float32 and below; in float64 it is exact below
2**53 and within 1 ULP above.
"""

from __future__ import annotations

from typing import Final

from .building import (
    BIAS,
    FRACTION_BITS,
    INFINITY,
    MIN_NORMAL,
    bits_of,
    copy_sign,
    floor_of,
    from_bits,
    is_nan,
    power_of_two,
    scale_by_integer,
    signed_bits_of,
)
from .program import (
    ARITHMETIC_FLOATS,
    SIGNED,
    UNSIGNED,
    WIDTH,
    Value,
    bitcast,
    convert,
    eq,
    fma,
    idiv,
    irem,
    rint,
    select,
)
from .registry import recipe


@recipe("divide", *ARITHMETIC_FLOATS)
def divide(a: Value, b: Value) -> Value:
    return a / b


@recipe("floor_divide", *UNSIGNED)
def floor_divide_unsigned(a: Value, b: Value) -> Value:
    zero = eq(b, 0)
    return select(zero, a.const(0), idiv(a, select(zero, b.const(1), b)))


@recipe("remainder", *UNSIGNED)
def remainder_unsigned(a: Value, b: Value) -> Value:
    return irem(a, select(eq(b, 0), b.const(1), b))


def _safe_divisor(a: Value, b: Value) -> Value:
    # Dividing by 1 instead gives what is wanted of MIN // -1 (MIN) and of both remainders (0).
    minimum = -(1 << WIDTH[a.type] - 1)
    return select(eq(b, 0) | (eq(a, minimum) & eq(b, -1)), b.const(1), b)


@recipe("floor_divide", *SIGNED)
def floor_divide_signed(a: Value, b: Value) -> Value:
    divisor = _safe_divisor(a, b)
    quotient, rest = idiv(a, divisor), irem(a, divisor)
    below = ~eq(rest, 0) & ((rest ^ divisor) < 0)
    return select(eq(b, 0), a.const(0), select(below, quotient - 1, quotient))


@recipe("remainder", *SIGNED)
def remainder_signed(a: Value, b: Value) -> Value:
    divisor = _safe_divisor(a, b)
    rest = irem(a, divisor)
    return select(~eq(rest, 0) & ((rest ^ divisor) < 0), rest + divisor, rest)


def _floored(a: Value, b: Value) -> Value:
    """Return floor(a / b) in the operands' dtype, special cases included."""
    quotient = a / b
    floor = floor_of(quotient)
    # The rounded quotient may have reached the next integer; the sign of the exact rest tells.
    rest = fma(-floor, b, a)
    too_high = ((rest < 0) & (b > 0)) | ((rest > 0) & (b < 0))
    corrected = select(too_high & (abs(floor) < 2.0 ** (FRACTION_BITS[a.type] + 1)), floor - 1, floor)
    # A quotient that rounds to -0 is below 0 all the same, and so is one by an infinity.
    negative = (signed_bits_of(a) ^ signed_bits_of(b)) < 0
    vanished = eq(quotient, 0) & ~eq(a, 0) & negative
    return select(vanished, a.const(-1), select(abs(quotient) < INFINITY, corrected, quotient))


@recipe("floor_divide", "float32")
def floor_divide_float32(a: Value, b: Value) -> Value:
    return convert(_floored(convert(a, "float64"), convert(b, "float64")), "float32")


@recipe("floor_divide", "float64")
def floor_divide_float64(a: Value, b: Value) -> Value:
    return _floored(a, b)


def _signed_remainder(a: Value, b: Value, magnitude: Value) -> Value:
    """Return the remainder with the divisor's sign, given fmod(abs(a), abs(b)) for abs(a) >= abs(b)."""
    opposite = (signed_bits_of(a) ^ signed_bits_of(b)) < 0
    size_b = abs(b)
    large = copy_sign(select(opposite & ~eq(magnitude, 0), size_b - magnitude, magnitude), b)
    small = select(eq(a, 0), copy_sign(a, b), select(opposite, a + b, a))
    result = select(abs(a) < size_b, small, large)
    undefined = eq(b, 0) | ~(abs(a) < INFINITY) | is_nan(b)
    result = select(undefined, a.const(float("nan")), result)
    infinite = select(opposite & ~eq(a, 0), b, copy_sign(a, b))
    return select(eq(size_b, INFINITY) & ~undefined, infinite, result)


def _reduce(r: Value, divisor: Value, inverse: Value) -> Value:
    # Exact: the difference is a multiple of the divisor's last bit and not much larger than the divisor.
    return fma(-rint(r * inverse), divisor, r)


#: Bits that one step takes off the quotient: its estimate stays within 1 of the exact one.
_STEP: Final = 48


@recipe("remainder", "float32")
def remainder_float32(a: Value, b: Value) -> Value:
    dividend, divisor = convert(a, "float64"), convert(b, "float64")
    size = abs(divisor)
    inverse = size.const(1) / size
    rest = abs(dividend)
    for shift in range(5 * _STEP, -1, -_STEP):  # quotients stay below 2**278
        rest = _reduce(rest, size * 2.0**shift, inverse * 2.0**-shift)
    rest = select(rest < 0, rest + size, rest)
    rest = select(rest < size, rest, rest - size)
    return convert(_signed_remainder(dividend, divisor, rest), "float32")


def _normalised(size: Value) -> tuple[Value, Value]:
    """Split a positive finite float64 into a significand in [1, 2) and an exponent."""
    small = size < MIN_NORMAL["float64"]
    bits = bits_of(select(small, size * 2.0**54, size))
    exponent = bitcast(bits >> FRACTION_BITS["float64"], "int64")
    fraction = (bits & ((1 << 52) - 1)) | (BIAS["float64"] << 52)
    return from_bits(fraction, "float64"), exponent - select(small, exponent.const(54 + 1023), exponent.const(1023))


@recipe("remainder", "float64")
def remainder_float64(a: Value, b: Value) -> Value:
    rest, high = _normalised(abs(a))
    divisor, low = _normalised(abs(b))
    inverse = divisor.const(1) / divisor
    # The difference of exponents goes into the rest: first what whole steps leave over, then the whole steps.
    difference = high - low
    difference = select(difference < 0, difference.const(0), difference)
    steps = idiv(difference, _STEP)
    rest = _reduce(rest * power_of_two(difference - steps * _STEP, "float64"), divisor, inverse)
    for done in range(2100 // _STEP):
        factor = select(steps > done, rest.const(2.0**_STEP), rest.const(1.0))
        rest = _reduce(rest * factor, divisor, inverse)
    rest = select(rest < 0, rest + divisor, rest)
    rest = select(rest < divisor, rest, rest - divisor)
    return _signed_remainder(a, b, scale_by_integer(rest, low))
