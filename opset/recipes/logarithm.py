"""Recipes for log, log2, log10 and log1p.

``x = 2**k * (1 + f)`` with ``1 + f`` in [sqrt(1/2), sqrt(2)); the reduced logarithm is kept as ``f + tail``, so that
f, which is exact, can meet the exponent's part before anything is rounded. float64's tail is fdlibm's
``-(f**2/2 - s * (f**2/2 + R))`` with ``s = f / (2 + f)``.
"""

from __future__ import annotations

from typing import Final

from .building import (
    BIAS,
    FRACTION_BITS,
    INFINITY,
    MIN_NORMAL,
    NAN,
    Pair,
    fast_two_sum,
    power_of_two,
    signed_bits_of,
    small_integer_to_float,
)
from .coefficients import constant, polynomial
from .program import ARITHMETIC_FLOATS
from .registry import recipe
from .writing import Value, bitcast, eq, fma, horner, select

#: The bit pattern of sqrt(1/2), from where exponents are counted.
_ROOT_HALF: Final = {"float32": 0x3F3504F3, "float64": 0x3FE6A09E667F3BCD}
_LIFT: Final = {"float32": 25, "float64": 54}


def _exponent(x: Value) -> Value:
    return (signed_bits_of(x) - _ROOT_HALF[x.type]) >> FRACTION_BITS[x.type]


def _without_exponent(x: Value, k: Value) -> Value:
    return bitcast(signed_bits_of(x) - (k << FRACTION_BITS[x.type]), x.type)


def tail(f: Value) -> Value:
    """Return log(1 + f) - f for 1 + f in [sqrt(1/2), sqrt(2))."""
    if f.type == "float32":
        return f * f * horner(f, polynomial("log", f.type))
    s = f / (2.0 + f)
    z = s * s
    remainder = 2.0 * z * horner(z, polynomial("log", f.type))
    half_square = 0.5 * f * f
    return fma(s, half_square + remainder, -half_square)


def split(x: Value, subnormals: bool = True) -> Pair:
    """Return k as a float and f, for positive finite x; subnormals may be excluded where there are none."""
    if not subnormals:
        k = _exponent(x)
        return small_integer_to_float(k, x.type), _without_exponent(x, k) - 1.0
    subnormal = x < MIN_NORMAL[x.type]
    lift = _LIFT[x.type]
    lifted = select(subnormal, x * 2.0**lift, x)
    k = _exponent(lifted)
    f = _without_exponent(lifted, k) - 1.0
    offset = select(subnormal, x.const(float(lift)), x.const(0.0))
    return small_integer_to_float(k, x.type) - offset, f


def _limits(x: Value, y: Value) -> Value:
    y = select(x < INFINITY, y, x)  # infinity and NaN are their own
    y = select(eq(x, 0), x.const(-INFINITY), y)
    return select(x < 0, x.const(NAN), y)


def add_exponent_part(k: Value, f: Value, low: Value) -> Value:
    """Return ``k * log(2) + (f + low)`` with f the larger part."""
    high, rest = constant("ln2", f.type)
    base = k * high
    total, error = fast_two_sum(base, f)
    return total + (error + fma(k, rest, low))


@recipe("log", *ARITHMETIC_FLOATS)
def log(x: Value) -> Value:
    k, f = split(x)
    return _limits(x, add_exponent_part(k, f, tail(f)))


def _scaled_parts(f: Value, factor: tuple[float, ...]) -> Pair:
    """Return (f + tail) * factor as a rounded product and what is missing from it."""
    high, low = factor
    product = f * high
    return product, fma(f, low, fma(tail(f), high, fma(f, high, -product)))


@recipe("log2", *ARITHMETIC_FLOATS)
def log2(x: Value) -> Value:
    k, f = split(x)
    product, missing = _scaled_parts(f, constant("log2e", x.type))
    total, error = fast_two_sum(k, product)
    return _limits(x, total + (error + missing))


@recipe("log10", *ARITHMETIC_FLOATS)
def log10(x: Value) -> Value:
    k, f = split(x)
    product, missing = _scaled_parts(f, constant("log10e", x.type))
    high, low = constant("log10_2", x.type)
    total, error = fast_two_sum(k * high, product)
    return _limits(x, total + (error + fma(k, low, missing)))


def log1p_of(high: Value, low: Value | None = None, extra: Value | None = None) -> Value:
    """Return ``log(1 + high + low) + extra * log(2)`` for a finite sum above -1, *low* far smaller than *high*."""
    type = high.type
    u = 1.0 + high
    larger_first = abs(high) < 1.0
    missing = select(larger_first, high - (u - 1.0), 1.0 - (u - high))
    if low is not None:
        missing = missing + low
    k = _exponent(u)
    limit = BIAS[type] - 1  # where 2**-k is still normal; beyond, what is missing does not matter
    shrink = power_of_two(-select(k > limit, k.const(limit), k), type)
    f, rest = fast_two_sum(_without_exponent(u, k) - 1.0, missing * shrink)
    # d log(1 + f) = rest / (1 + f), to what the rest's few bits need.
    correction = fma(-rest, f * (1.0 - f), rest)
    exponent = small_integer_to_float(k, type)
    if extra is not None:
        exponent = exponent + extra
    return add_exponent_part(exponent, f, tail(f) + correction)


@recipe("log1p", *ARITHMETIC_FLOATS)
def log1p(x: Value) -> Value:
    y = log1p_of(x)
    y = select(x < INFINITY, y, x)
    y = select(eq(x, -1), x.const(-INFINITY), y)
    y = select(x < -1, x.const(NAN), y)
    return select(eq(x, 0), x, y)  # keeps -0
