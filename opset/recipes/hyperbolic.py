"""Recipes for the hyperbolic functions and their inverses.

All are computed for abs(x) and take the sign of x, so that they are odd (or even) to the last bit.
"""

from __future__ import annotations

from typing import Final

from .building import (
    BIAS,
    FRACTION_BITS,
    INFINITY,
    NAN,
    fast_two_sum,
    power_of_two,
    signed_bits_of,
    small_integer_to_float,
    two_product,
    two_sum,
    with_sign,
)
from .coefficients import constant, polynomial
from .exponential import exp_reduced, reduce, times_power
from .logarithm import log1p_of
from .program import ARITHMETIC_FLOATS
from .registry import recipe
from .writing import Value, eq, fma, horner, select, sqrt

#: Above it sinh and cosh overflow; their quarter exponential does not yet.
_OVERFLOW: Final = {"float32": 89.5, "float64": 710.5}
#: Above it tanh rounds to 1.
_TANH_ONE: Final = {"float32": 10.0, "float64": 20.0}
#: Above it 1 + x**2 is x**2, and x + sqrt(x**2 +- 1) is 2 * x.
_HUGE: Final = {"float32": 2.0**30, "float64": 2.0**60}


def _small_odd(name: str, x: Value) -> Value:
    """Return x + x**3 * p(x**2)."""
    z = x * x
    return fma(x * z, horner(z, polynomial(name, x.type)), x)


def _quarter_exp(size: Value) -> Value:
    """Return exp(size) / 4 for size up to where exp overflows at twice the largest number."""
    limit = _OVERFLOW[size.type]
    r, bits = reduce(select(size > limit, size.const(limit), size))
    return times_power(exp_reduced(r), bits, -2)


@recipe("sinh", *ARITHMETIC_FLOATS)
def sinh(x: Value) -> Value:
    size = abs(x)
    quarter = _quarter_exp(size)
    large = 2.0 * (quarter - 0.0625 / quarter)
    return with_sign(select(size < 1.0, _small_odd("sinh", size), large), x)


@recipe("cosh", *ARITHMETIC_FLOATS)
def cosh(x: Value) -> Value:
    quarter = _quarter_exp(abs(x))
    return 2.0 * (quarter + 0.0625 / quarter)


@recipe("tanh", *ARITHMETIC_FLOATS)
def tanh(x: Value) -> Value:
    size = abs(x)
    limit = _TANH_ONE[x.type]
    r, bits = reduce(2.0 * select(size > limit, size.const(limit), size))
    e = times_power(exp_reduced(r), bits)
    large = 1.0 - 2.0 / (e + 1.0)
    return with_sign(select(size < 1.0, _small_odd("tanh", size), large), x)


@recipe("asinh", *ARITHMETIC_FLOATS)
def asinh(x: Value) -> Value:
    # log(1 + (x + (sqrt(1 + x**2) - 1))), with what the square, the sum and the root round off carried along
    size = abs(x)
    square, square_low = two_product(size, size)
    w, w_low = two_sum(size.const(1), square)
    s = sqrt(w)
    s_low = (fma(-s, s, w) + (w_low + square_low)) * (0.5 / s)
    high, low = two_sum(size, s - 1.0)
    huge = size > _HUGE[x.type]
    high, low = select(huge, size, high), select(huge, size.const(0), low + s_low)
    y = log1p_of(high, low, select(huge, size.const(1), size.const(0)))
    return with_sign(select(size < INFINITY, y, size), x)


@recipe("acosh", *ARITHMETIC_FLOATS)
def acosh(x: Value) -> Value:
    # log(1 + (t + sqrt(t * (x + 1)))) with t = x - 1
    t = x - 1.0
    up = x + 1.0
    up_low = select(x < 1.0, x, 1.0 - (up - x))
    v, v_low = two_product(t, up)
    s = sqrt(v)
    s_low = (fma(-s, s, v) + fma(t, up_low, v_low)) * (0.5 / s)
    high, low = fast_two_sum(s, t)
    huge = x > _HUGE[x.type]
    high, low = select(huge, x, high), select(huge | eq(t, 0), x.const(0), low + s_low)
    y = log1p_of(high, low, select(huge, x.const(1), x.const(0)))
    y = select(x < INFINITY, y, x)
    return select(x < 1.0, x.const(NAN), y)


@recipe("atanh", *ARITHMETIC_FLOATS)
def atanh(x: Value) -> Value:
    # (1 + x) / (1 - x) = 2**k * (1 + s) / (1 - s): atanh(x) = k * log(2) / 2 + atanh(s), and s = x where k = 0
    size = abs(x)
    up, down = 1.0 + size, 1.0 - size
    up_low, down_low = size - (up - 1.0), (1.0 - down) - size
    fraction = FRACTION_BITS[x.type]
    # Rounded up only from a fraction of 7/8: where k log(2) / 2 and s cancelled, the quotient's error would show.
    k = ((signed_bits_of(up) - signed_bits_of(down)) + (1 << fraction - 3)) >> fraction
    k = select(k > BIAS[x.type], k.const(0), k)  # where 1 - x is 0 or negative
    scale = power_of_two(k, x.type)
    s = (fma(-scale, down, up) + fma(-scale, down_low, up_low)) / fma(scale, down, up)
    z = s * s
    high, low = constant("ln2", x.type)
    half_k = small_integer_to_float(k, x.type) * 0.5
    total, error = fast_two_sum(half_k * high, s)
    y = total + (error + fma(half_k, low, s * z * horner(z, polynomial("atanh", x.type))))
    y = select(eq(size, 1), x.const(INFINITY), y)
    return with_sign(select(size > 1.0, x.const(NAN), y), x)
