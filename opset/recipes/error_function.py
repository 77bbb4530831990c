"""Recipes of the error function and its complement.

Below 1, erf is an odd polynomial; above, one minus a polynomial about the middle of what is left before it
saturates. The complement is ``exp(-x**2) / (x + k) * p((x - k) / (x + k))``: the map of the half line to an
interval is that of Shepherd and Laframboise, Mathematics of Computation 36 (1981).
"""

from __future__ import annotations

from typing import Final

from .building import fast_two_sum, scale_by_integer, two_product, with_sign
from .coefficients import constant, polynomial
from .program import Value, bitcast, convert, fma, horner, rint, select
from .registry import recipe

#: Beyond the point from which erf rounds to 1 by so much that the polynomial's own error cannot matter.
ERF_SATURATION: Final = {"float32": 4.0, "float64": 6.0}
#: The point about which erf's upper polynomial is expanded.
ERF_CENTRE: Final = {"float32": 2.5, "float64": 3.5}
#: From here on erfc rounds to 0.
ERFC_SATURATION: Final = {"float32": 10.125, "float64": 27.25}
#: Below it, float64's erfc is ``1 - erf``, which loses less to the rounding of ``(x - k) / (x + k)``.
ERFC_START: Final = 0.84375
#: The k of the map; between 2 and 4 the fits have the smallest errors near 3.
ERFC_POLE: Final = 3.0


def _at_most(x: Value, limit: float) -> Value:
    """Return the smaller of the two; NaN stays."""
    return select(x > limit, limit, x)


@recipe("erf", "float32", "float64")
def _erf(x: Value) -> Value:
    size = abs(x)
    low = fma(x, horner(x * x, polynomial("erf_lower", x.type)), x)
    u = _at_most(size, ERF_SATURATION[x.type]) - ERF_CENTRE[x.type]
    high = 1.0 - horner(u, polynomial("erf_upper", x.type))
    return select(size < 1.0, low, with_sign(high, x))


@recipe("erfc", "float32")
def _erfc_float32(x: Value) -> Value:
    # float64 leaves no rounding but the last one to see, and scales into float32's subnormals for free.
    a = convert(_at_most(abs(x), ERFC_SATURATION["float32"]), "float64")
    denominator = a + ERFC_POLE
    near = convert(1.0 / convert(denominator, "float32"), "float64")
    inverse = fma(near, fma(-denominator, near, 1.0), near)
    square = a * a
    log2e = constant("log2e", "float64")[0]
    n = rint(square * -log2e)
    power = horner(fma(square, -log2e, -n), polynomial("exp2_single", "float64"))
    scaled = bitcast(bitcast(power, "int64") + (convert(n, "int64") << 52), "float64")
    mapped = horner((a - ERFC_POLE) * inverse, polynomial("erfc_single", "float64"))
    right = mapped * inverse * scaled
    return convert(select(x < 0.0, 2.0 - right, right), "float32")


def _exp_of_negative_square(a: Value) -> tuple[Value, Value, Value]:
    """Return p, e and n with ``exp(-a**2) = (p + e) * 2**n``; p and e are the ends of an unrounded sum."""
    square, rest = two_product(a, a)
    n = rint(square * -constant("log2e", "float64")[0])
    high, low = constant("ln2", "float64")
    r = fma(n, -high, -square)  # exact: the high part leaves room for n
    near, lost = fast_two_sum(r, fma(n, -low, -rest))
    return near, fma(near * near, horner(near, polynomial("exp", "float64")), lost), n


@recipe("erfc", "float64")
def _erfc_float64(x: Value) -> Value:
    a = _at_most(abs(x), ERFC_SATURATION["float64"])
    tail = x * horner(x * x, polynomial("erf_lower", "float64"))
    middle = (1.0 - x) - tail

    denominator = a + ERFC_POLE
    inverse = 1.0 / denominator
    numerator = a - ERFC_POLE
    t = numerator * inverse
    t = fma(fma(-t, denominator, numerator), inverse, t)
    near, rest, n = _exp_of_negative_square(a)
    # All rounding errors that count go into one correction, so that the last addition decides alone.
    centre, centre_low = constant("erfc_centre", "float64")
    gradient, gradient_low = constant("erfc_gradient", "float64")
    slope, slope_low = fast_two_sum(t.const(gradient), t * horner(t, polynomial("erfc", "float64")))
    product, product_low = two_product(t, slope)
    mapped, mapped_low = fast_two_sum(t.const(centre), product)
    lost = mapped_low + fma(t, slope_low + gradient_low, product_low + centre_low)
    factor, factor_low = two_product(mapped, inverse)
    residual = factor_low + fma(factor, fma(-denominator, inverse, 1.0), lost * inverse)
    size = factor + fma(factor, near + rest, residual * (1.0 + near))
    right = scale_by_integer(size, convert(n, "int64"))
    return select(abs(x) < ERFC_START, middle, select(x < 0.0, 2.0 - right, right))
