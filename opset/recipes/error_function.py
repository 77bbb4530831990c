"""Recipes of the error function and its complement.

Below 1, erf is an odd polynomial; above, one minus a polynomial about the middle of what is left before it
saturates. The complement is ``exp(-x**2) / (x + k) * p((x - k) / (x + k))``: the map of the half line to an
interval is that of Shepherd and Laframboise, Mathematics of Computation 36 (1981).
"""

from __future__ import annotations

from typing import Final

from .coefficients import constant, polynomial
from .program import WIDTH, Value, bitcast, convert, fma, horner, rint, select
from .registry import recipe

#: Beyond the point from which erf rounds to 1 by so much that the polynomial's own error cannot matter.
ERF_SATURATION: Final = {"float32": 4.0, "float64": 6.0}
#: The point about which erf's upper polynomial is expanded.
ERF_CENTRE: Final = {"float32": 2.5, "float64": 3.5}
#: From here on erfc rounds to 0.
ERFC_SATURATION: Final = {"float32": 10.125, "float64": 27.25}
#: Below it, float64's erfc is ``1 - erf``, which loses less to the rounding of ``(x - k) / (x + k)``.
ERFC_START: Final = 0.84375
#: The k of the map; of the multiples of 1/2 the one whose polynomials need the fewest terms.
ERFC_POLE: Final = 3.0


def _with_sign_of(size: Value, x: Value) -> Value:
    unsigned = f"uint{WIDTH[x.type]}"
    sign = bitcast(x, unsigned) & (1 << WIDTH[x.type] - 1)
    return bitcast(bitcast(size, unsigned) | sign, x.type)


def _at_most(x: Value, limit: float) -> Value:
    """Return the smaller of the two; NaN stays."""
    return select(x > limit, limit, x)


@recipe("erf", "float32", "float64")
def _erf(x: Value) -> Value:
    size = abs(x)
    low = fma(x, horner(x * x, polynomial("erf_lower", x.type)), x)
    u = _at_most(size, ERF_SATURATION[x.type]) - ERF_CENTRE[x.type]
    high = 1.0 - horner(u, polynomial("erf_upper", x.type))
    return select(size < 1.0, low, _with_sign_of(high, x))


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
    square = a * a
    rest = fma(a, a, -square)
    n = rint(square * -constant("log2e", "float64")[0])
    high, low = constant("ln2", "float64")
    r = fma(n, -high, -square)  # exact: the high part leaves room for n
    tail = fma(n, -low, -rest)
    near = r + tail
    lost = tail - (near - r)
    return near, fma(near * near, horner(near, polynomial("exp", "float64")), lost), n


def _power_of_two(n: Value) -> Value:
    return bitcast((n + 1023) << 52, "float64")


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
    # The rounding errors of p and of the quotient go into one correction, so that the last addition counts alone.
    centre, centre_low = constant("erfc_centre", "float64")
    slope = horner(t, polynomial("erfc", "float64"))
    product = t * slope
    mapped = product + centre
    lost = (product - (mapped - centre)) + (fma(t, slope, -product) + centre_low)
    factor = mapped * inverse
    residual = fma(mapped, inverse, -factor) + fma(factor, fma(-denominator, inverse, 1.0), lost * inverse)
    size = factor + fma(factor, near + rest, residual * (1.0 + near))
    # Two steps, as 2**n itself may be subnormal; the first is exact, so that the result is rounded once.
    whole = convert(n, "int64")
    half = whole >> 1
    right = size * _power_of_two(half) * _power_of_two(whole - half)
    return select(abs(x) < ERFC_START, middle, select(x < 0.0, 2.0 - right, right))
