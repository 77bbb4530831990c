"""Recipes for exp, exp2 and expm1.

``x = n * log(2) + r`` with abs(r) <= log(2) / 2 (Cody and Waite), a polynomial for r, n added to the exponent.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from .building import BIAS, FRACTION_BITS, INFINITY, fast_two_sum, magic_round
from .coefficients import constant, polynomial
from .program import ARITHMETIC_FLOATS
from .registry import recipe
from .writing import Value, bitcast, fma, horner, select


@dataclass(frozen=True, slots=True)
class Range:
    """Where exp and exp2 leave the dtype.

    Attributes:
        exp_overflow: largest x whose exp is finite.
        exp_underflow: an x whose exp, and that of all below, rounds to 0.
        exp2_underflow: the same for exp2.
        small: below it (as a power of two) results are computed this many powers of two too large, then scaled down.
        scale: that many.
        expm1_low: below it expm1 is -1.
        tiny: where expm1(x) = x to working precision.
    """

    exp_overflow: float
    exp_underflow: float
    exp2_underflow: float
    small: float
    scale: int
    expm1_low: float
    tiny: float


RANGES: Final = {
    "float32": Range(88.72283172607422, -104.0, -151.0, -120.0, 64, -20.0, 2.0**-26),
    "float64": Range(709.782712893384, -746.0, -1076.0, -1000.0, 128, -40.0, 2.0**-56),
}


def reduce(x: Value) -> tuple[Value, Value]:
    """Return r = x - n * log(2), and n in the low bits of an integer."""
    n, bits = magic_round(x, constant("log2e", x.type)[0])
    high, low = constant("ln2", x.type)
    return fma(n, -low, fma(n, -high, x)), bits


def exp_reduced(r: Value) -> Value:
    """Return exp(r) for abs(r) <= log(2) / 2."""
    return horner(r, (*polynomial("exp", r.type), 1.0, 1.0))


def _biased(bits: Value, type: str, offset: int) -> Value:
    return bits.const((BIAS[type] + offset) << FRACTION_BITS[type])


def power_of(bits: Value, type: str, offset: int = 0) -> Value:
    """Return ``2**(n + offset)`` with n in the low bits of an integer; it must be a normal number."""
    return bitcast((bits << FRACTION_BITS[type]) + _biased(bits, type, offset), type)


def times_power(p: Value, bits: Value, offset: int = 0) -> Value:
    """Return ``p * 2**(n + offset)`` with n in the low bits of an integer; the power must be a normal number.

    A product keeps NaN whatever n it left; adding n to the exponent field of p would not.
    """
    return p * power_of(bits, p.type, offset)


def scaled(p: Value, bits: Value, small: Value) -> Value:
    """Return ``p * 2**n`` over the whole range; small ones, subnormals among them, are rounded only at the end.

    Others are computed as twice their half, since the largest results need n = bias + 1.
    """
    lift = RANGES[p.type].scale
    bias = select(small, _biased(bits, p.type, lift), _biased(bits, p.type, -1))
    power = bitcast((bits << FRACTION_BITS[p.type]) + bias, p.type)
    return (p * power) * select(small, p.const(2.0**-lift), p.const(2.0))


@recipe("exp", *ARITHMETIC_FLOATS)
def exp(x: Value) -> Value:
    limits = RANGES[x.type]
    r, bits = reduce(x)
    small = x < limits.small * 0.6931
    y = scaled(exp_reduced(r), bits, small)
    y = select(x > limits.exp_overflow, x.const(INFINITY), y)
    return select(x < limits.exp_underflow, x.const(0.0), y)


def _exp2_limits(x: Value, y: Value) -> Value:
    y = select(x >= BIAS[x.type] + 1.0, x.const(INFINITY), y)
    return select(x < RANGES[x.type].exp2_underflow, x.const(0.0), y)


@recipe("exp2", "float32")
def exp2_float32(x: Value) -> Value:
    n, bits = magic_round(x, 1.0)
    p = horner(x - n, (*polynomial("exp2", x.type), 1.0))
    return _exp2_limits(x, scaled(p, bits, x < RANGES[x.type].small))


def exp2_reduced(r: Value, low: Value | None = None) -> Value:
    """Return ``2**(r + low)`` for abs(r) <= 1/2 in float64; *low* must be far smaller."""
    high, rest = constant("ln2_full", r.type)
    t = r * high
    correction = fma(r, rest, fma(r, high, -t))
    if low is not None:
        t, correction = fast_two_sum(t, fma(low, high, correction))
    # exp(t + c) = 1 + (t + (t**2 * q + c * exp(t))); exp(t) is 1 + t to what c needs.
    q = horner(t, polynomial("exp", r.type))
    return 1.0 + (t + fma(t * t, q, fma(correction, t, correction)))


@recipe("exp2", "float64")
def exp2_float64(x: Value) -> Value:
    n, bits = magic_round(x, 1.0)
    p = exp2_reduced(x - n)
    return _exp2_limits(x, scaled(p, bits, x < RANGES[x.type].small))


@recipe("expm1", *ARITHMETIC_FLOATS)
def expm1(x: Value) -> Value:
    limits = RANGES[x.type]
    raised = select(x < limits.expm1_low, x.const(limits.expm1_low), x)
    n, bits = magic_round(raised, constant("log2e", x.type)[0])
    high, low = constant("ln2", x.type)
    exact, rest = fma(n, -high, raised), n * low
    r = exact - rest
    r_low = (exact - r) - rest
    # expm1(r) = r + t; half of 2**n, which is still finite where n = 128:
    # 2**n * (r + t + 1) - 1 = 2 * ((half - 1/2) + half * r + half * t), of which only the last may be rounded.
    t = fma(r * r, horner(r, polynomial("expm1", x.type)), fma(r_low, r, r_low))
    half = power_of(bits, x.type, -1)
    less_one, lost = fast_two_sum(half, half.const(-0.5))
    total, error = fast_two_sum(less_one, half * r)
    y = 2.0 * (total + fma(half, t, error + lost))
    y = select(x > limits.exp_overflow, x.const(INFINITY), y)
    return select(abs(x) < limits.tiny, x, y)
