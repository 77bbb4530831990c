"""Recipes of the error function and its complement.

Below 1, erf is an odd polynomial; above, one minus a polynomial about the middle of what is left before it
saturates. The complement is ``exp(-x**2) / (x + k) * p((x - k) / (x + k))``: the map of the half line to an
interval is that of Shepherd and Laframboise, Mathematics of Computation 36 (1981).
"""

from __future__ import annotations

from typing import Final

from .building import FRACTION_BITS, fast_two_sum, magic_round, scale_by_integer, two_product, with_sign
from .coefficients import constant, polynomial
from .program import ARITHMETIC_FLOATS, pattern
from .registry import recipe
from .writing import Value, fma, horner, select

#: Beyond the point from which erf rounds to 1 by so much that the polynomial's own error cannot matter.
ERF_SATURATION: Final = {"float32": 4.0, "float64": 6.0}
#: The point about which erf's upper polynomial is expanded.
ERF_CENTRE: Final = {"float32": 2.5, "float64": 3.5}
#: From here on erfc rounds to 0.
ERFC_SATURATION: Final = {"float32": 10.125, "float64": 27.25}
#: Below it, erfc is ``1 - erf``, which loses less to the rounding of ``(x - k) / (x + k)``.
ERFC_START: Final = {"float32": 0.5, "float64": 0.84375}
#: The k of the map; between 2 and 4 the fits have the smallest errors near 3.
ERFC_POLE: Final = 3.0


def _at_most(x: Value, limit: float) -> Value:
    """Return the smaller of the two; NaN stays."""
    return select(x > limit, limit, x)


@recipe("erf", *ARITHMETIC_FLOATS)
def _erf(x: Value) -> Value:
    size = abs(x)
    low = fma(x, horner(x * x, polynomial("erf_lower", x.type)), x)
    u = _at_most(size, ERF_SATURATION[x.type]) - ERF_CENTRE[x.type]
    high = 1.0 - horner(u, polynomial("erf_upper", x.type))
    return select(size < 1.0, low, with_sign(high, x))


def _exp_of_negative_square(a: Value) -> tuple[Value, Value, Value]:
    """Return p, e and the integer n with ``exp(-a**2) = (p + e) * 2**n``; p and e are the ends of an unrounded sum."""
    square, rest = two_product(a, a)
    n, bits = magic_round(square, -constant("log2e", a.type)[0])
    high, low = constant("ln2", a.type)
    r = fma(n, -high, -square)  # exact: the high part leaves room for n
    near, lost = fast_two_sum(r, fma(n, -low, -rest))
    whole = bits - pattern(1.5 * 2.0 ** FRACTION_BITS[a.type], a.type)
    return near, fma(near * near, horner(near, polynomial("exp", a.type)), lost), whole


@recipe("erfc", *ARITHMETIC_FLOATS)
def _erfc(x: Value) -> Value:
    a = _at_most(abs(x), ERFC_SATURATION[x.type])
    tail = x * horner(x * x, polynomial("erf_lower", x.type))
    middle = (1.0 - x) - tail

    denominator, numerator = a + ERFC_POLE, a - ERFC_POLE
    denominator_low, numerator_low = a - (denominator - ERFC_POLE), a - (numerator + ERFC_POLE)
    inverse = 1.0 / denominator
    t = numerator * inverse
    t = fma(fma(-t, denominator_low, numerator_low) + fma(-t, denominator, numerator), inverse, t)
    near, rest, n = _exp_of_negative_square(a)
    # All rounding errors that count go into one correction, so that the last addition decides alone.
    centre, centre_low = constant("erfc_centre", x.type)
    gradient, gradient_low = constant("erfc_gradient", x.type)
    slope, slope_low = fast_two_sum(t.const(gradient), t * horner(t, polynomial("erfc", x.type)))
    product, product_low = two_product(t, slope)
    mapped, mapped_low = fast_two_sum(t.const(centre), product)
    lost = mapped_low + fma(t, slope_low + gradient_low, product_low + centre_low)
    factor, factor_low = two_product(mapped, inverse)
    unit = fma(-denominator_low, inverse, fma(-denominator, inverse, 1.0))
    residual = factor_low + fma(factor, unit, lost * inverse)
    size = factor + fma(factor, near + rest, residual * (1.0 + near))
    right = scale_by_integer(size, n)
    return select(abs(x) < ERFC_START[x.type], middle, select(x < 0.0, 2.0 - right, right))
