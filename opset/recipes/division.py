"""Recipes for division: true, floor, and the remainder, on integers and floats.

Integers: division by zero gives 0, for the quotient and for the remainder; ``MIN // -1`` wraps to MIN.

Floats: ``remainder`` is exact but for the one rounding of ``a + b`` where the signs differ and ``abs(a) < abs(b)``.
``floor_divide`` is the floor of the exact quotient, rounded once.
"""

from __future__ import annotations

from dataclasses import dataclass
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
from .program import ARITHMETIC_FLOATS, SIGNED, UNSIGNED, WIDTH
from .registry import recipe
from .writing import Value, bitcast, eq, fma, idiv, irem, select


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


@recipe("floor_divide", *ARITHMETIC_FLOATS)
def floor_divide(a: Value, b: Value) -> Value:
    quotient = a / b
    floor = floor_of(quotient)
    # The rounded quotient may have reached the next integer; the sign of the exact rest tells.
    rest = fma(-floor, b, a)
    too_high = ((rest < 0) & (b > 0)) | ((rest > 0) & (b < 0))
    below = floor - 1
    # Where floats are integers, and their midpoints too: a quotient less than 1 above a midpoint was rounded up, but
    # its floor is a tie, to be rounded down if that is even. Its distance from the midpoint, times b, is exact then.
    limit = 2.0 ** (FRACTION_BITS[a.type] + 1)
    power = from_bits(bits_of(quotient) & bits_of(a.const(INFINITY)), a.type)
    distance = fma(power * 2.0 ** -(FRACTION_BITS[a.type] + 1), b, rest)
    odd = ~eq(bits_of(quotient) & 1, 0)
    tie = (abs(quotient) > limit) & odd & (abs(distance) < abs(b))
    lower = from_bits(select(quotient > 0, bits_of(quotient) - 1, bits_of(quotient) + 1), a.type)
    corrected = select(tie, lower, select(too_high & (abs(floor) <= limit), below, floor))
    # A quotient that rounds to -0 is below 0 all the same, and so is one by an infinity.
    negative = (signed_bits_of(a) ^ signed_bits_of(b)) < 0
    vanished = eq(quotient, 0) & ~eq(a, 0) & negative
    return select(vanished, a.const(-1), select(abs(quotient) < INFINITY, corrected, quotient))


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


@dataclass(frozen=True, slots=True)
class Reduction:
    """What differs between the dtypes.

    Attributes:
        step: bits that one step takes off the quotient: its estimate stays within 1 of the exact one.
        largest: an exponent difference that none exceeds.
        lift: what makes subnormals normal.
    """

    step: int
    largest: int
    lift: int


_REDUCTIONS: Final = {"float32": Reduction(20, 277, 24), "float64": Reduction(48, 2098, 54)}


def _normalised(size: Value) -> tuple[Value, Value]:
    """Split a positive finite float into a significand in [1, 2) and an exponent."""
    width, places, bias = WIDTH[size.type], FRACTION_BITS[size.type], BIAS[size.type]
    lift = _REDUCTIONS[size.type].lift
    small = size < MIN_NORMAL[size.type]
    bits = bits_of(select(small, size * 2.0**lift, size))
    exponent = bitcast(bits >> places, f"int{width}")
    fraction = (bits & ((1 << places) - 1)) | (bias << places)
    return from_bits(fraction, size.type), exponent - select(small, exponent.const(lift + bias), exponent.const(bias))


@recipe("remainder", *ARITHMETIC_FLOATS)
def remainder(a: Value, b: Value) -> Value:
    numbers = _REDUCTIONS[a.type]
    rest, high = _normalised(abs(a))
    divisor, low = _normalised(abs(b))
    inverse, negative = divisor.const(1) / divisor, -divisor
    magic = 1.5 * 2.0 ** FRACTION_BITS[a.type]  # leaves no fraction bits
    difference = high - low
    difference = select(difference < 0, difference.const(0), difference)
    steps = difference * ((1 << 20) // numbers.step + 1) >> 20  # the quotient, for differences up to the largest

    def reduced(factor: Value) -> Value:
        quotient = fma(rest, inverse * factor, magic) - magic
        # Exact: the difference is a multiple of the divisor's last bit and not much larger than the divisor.
        return fma(quotient, negative, rest * factor)

    # The difference of exponents goes into the rest: first what whole steps leave over, then the whole steps.
    rest = reduced(power_of_two(difference - steps * numbers.step, a.type))
    for done in range(numbers.largest // numbers.step):
        rest = select(steps > done, reduced(rest.const(2.0**numbers.step)), rest)
    rest = select(rest < 0, rest + divisor, rest)
    rest = select(rest < divisor, rest, rest - divisor)
    return _signed_remainder(a, b, scale_by_integer(rest, low))
