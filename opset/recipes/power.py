"""Recipes for pow, cbrt and hypot."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from .building import (
    BIAS,
    INFINITY,
    MIN_NORMAL,
    NAN,
    Pair,
    bits_of,
    copy_sign,
    fast_two_sum,
    from_bits,
    magic_round,
    sign_of,
    signed_bits_of,
    two_product,
)
from .coefficients import constant, polynomial
from .exponential import RANGES, exp2_reduced, scaled
from .logarithm import split
from .program import ARITHMETIC_FLOATS, SIGNED, UNSIGNED, WIDTH
from .registry import recipe
from .writing import Value, bitcast, convert, eq, fma, horner, mulhi, rint, select, sqrt


def _special(x: Value, y: Value, magnitude: Value) -> Value:
    """Return x**y given abs(x)**y: the sign, and what IEEE 754 says of NaN, 1 and exponent 0."""
    integer = eq(rint(y), y)
    half = y * 0.5
    odd = integer & ~eq(rint(half), half)
    negative = bitcast(x, f"int{WIDTH[x.type]}") < 0
    signed = from_bits(bits_of(magnitude) | select(odd & negative, sign_of(x), bits_of(x).const(0)), x.type)
    undefined = (x < 0) & (x > -INFINITY) & ~integer
    result = select(undefined, x.const(NAN), signed)
    return select(eq(x, 1) | eq(y, 0), x.const(1), result)


def _logarithm_limits(size: Value, logarithm: Value) -> Value:
    """Return log2 of 0, of infinity and of NaN where the argument is one."""
    return select(size < INFINITY, select(eq(size, 0), size.const(-INFINITY), logarithm), size)


def _clamp(a: Value, limit: float) -> Value:
    low = select(a < -limit, a.const(-limit), a)
    return select(low > limit, a.const(limit), low)


#: What the significands in each quarter of an octave are multiplied with, the first of them from the pattern on: with
#: so few bits the products are exact less 1, which leaves at most 0.11 of either sign.
QUARTER_SCALES: Final = (1.375, 1.125, 1.0, 0.8125)
_FIRST_QUARTER: Final = 0x3F2DB6DB


def _log2_pair_float32(size: Value) -> Pair:
    """Return log2 of a positive finite float32 in two parts."""
    subnormal = size < MIN_NORMAL["float32"]
    lifted = signed_bits_of(select(subnormal, size * 2.0**24, size))
    quarters = lifted - _FIRST_QUARTER
    k = quarters >> 23
    odd, upper = (~eq(quarters & (1 << bit), 0) for bit in (21, 22))

    def chosen(values: tuple[float, ...]) -> Value:
        v = [size.const(value) for value in values]
        return select(upper, select(odd, v[3], v[2]), select(odd, v[1], v[0]))

    f = fma(bitcast(lifted - (k << 23), "float32"), chosen(QUARTER_SCALES), -1.0)
    high, low = zip(*(constant(f"log2_quarter_{i}", "float32") for i in range(4)), strict=True)
    whole = convert(k, "float32") - select(subnormal, size.const(24.0), size.const(0.0)) + chosen(high)
    # log2(1 + f) = s * (2 / log(2) + s**2 * p(s**2)) with s = f / (2 + f), of which only the first term needs two parts
    divisor = 2.0 + f
    inverse = 1.0 / divisor
    s = f * inverse
    s_low = (fma(-s, divisor, f) - s * (f - (divisor - 2.0))) * inverse
    z = s * s
    factor, factor_low = constant("2_log2e", "float32")
    part = s * factor
    missing = fma(s_low, factor, fma(s, factor_low, fma(s, factor, -part)))
    missing = fma(s * z, horner(z, polynomial("log2_quarter", "float32")), missing)
    total, error = fast_two_sum(whole, part)
    return fast_two_sum(total, error + (missing + chosen(low)))


def _log2_pair_float64(size: Value) -> Pair:
    """Return log2 of a positive finite float64 in two parts."""
    k, f = split(size)
    # s = f / (2 + f) in two parts
    sum_high = 2.0 + f
    sum_low = f - (sum_high - 2.0)
    inverse = 1.0 / sum_high
    s = f * inverse
    s_low = (fma(-s, sum_high, f) - s * sum_low) * inverse
    z = s * s
    z_low = fma(s, s, -z) + 2.0 * s * s_low
    # 1 + z * (1/3 + z * p(z)), then times s and 2 / log(2), in two parts each
    third, third_low = constant("third", f.type)
    inner, inner_low = fast_two_sum(f.const(third), z * horner(z, polynomial("atanh_long", f.type)))
    u, u_low = two_product(z, inner)
    u_low = u_low + fma(z, inner_low + third_low, z_low * inner)
    w, w_low = fast_two_sum(f.const(1), u)
    t, t_low = two_product(s, w)
    t_low = t_low + fma(s, w_low + u_low, s_low * w)
    factor, factor_low = constant("2_log2e", f.type)
    part, part_low = two_product(t, t.const(factor))
    part_low = part_low + fma(t, factor_low, t_low * factor)
    total, error = fast_two_sum(k, part)
    return fast_two_sum(total, error + part_low)


_LOG2_PAIR: Final = {"float32": _log2_pair_float32, "float64": _log2_pair_float64}


def _exp2_pair(r: Value, low: Value) -> Value:
    """Return ``2**(r + low)`` for abs(r) <= 1/2 and a far smaller *low*."""
    if r.type == "float64":
        return exp2_reduced(r, low)
    near, rest = fast_two_sum(r, low)
    *higher, slope = polynomial("exp2", r.type)
    # The slope apart, so that no sum but the last two rounds off what counts.
    return 1.0 + fma(near, slope, fma(near * near, horner(near, tuple(higher)), rest * 0.7))


#: An exponent of this size overflows or vanishes for every base but 1, 0 and infinity, as all larger ones do.
_LARGE_EXPONENT: Final = {"float32": 2.0**34, "float64": 2.0**66}


@recipe("pow", *ARITHMETIC_FLOATS)
def pow_float(x: Value, y: Value) -> Value:
    size = abs(x)
    high, low = _LOG2_PAIR[x.type](size)
    exponent = _clamp(y, _LARGE_EXPONENT[x.type])  # finite, so that it times log2(1) is 0
    product = exponent * _logarithm_limits(size, high)
    missing = fma(exponent, low, fma(exponent, high, -product))
    # Where the product is infinite or far too large, what follows means nothing and is not selected.
    n, bits = magic_round(product, 1.0)
    p = _exp2_pair(product - n, missing)
    result = scaled(p, bits, n < RANGES[x.type].small)
    result = select(product >= BIAS[x.type] + 1.0, x.const(INFINITY), result)
    return _special(x, y, select(product < RANGES[x.type].exp2_underflow, x.const(0), result))


def _power_by_squaring(x: Value, exponent: Value, bits: int) -> Value:
    result, square = x.const(1), x
    for i in range(bits):
        chosen = eq(exponent & (1 << i), 0)
        result = select(chosen, result, result * square)
        if i + 1 < bits:
            square = square * square
    return result


@recipe("pow", *UNSIGNED)
def pow_unsigned(x: Value, y: Value) -> Value:
    return _power_by_squaring(x, y, WIDTH[x.type])


@recipe("pow", *SIGNED)
def pow_signed(x: Value, y: Value) -> Value:
    """Integer power modulo 2**width; a negative exponent gives 0 but for bases 1 and -1."""
    positive = _power_by_squaring(x, y, WIDTH[x.type] - 1)
    minus_one = select(eq(y & 1, 0), x.const(1), x.const(-1))
    negative = select(eq(x, 1), x.const(1), select(eq(x, -1), minus_one, x.const(0)))
    return select(y < 0, negative, positive)


@dataclass(frozen=True, slots=True)
class CubeRoot:
    """What differs between the dtypes: the seed, the steps, and the lift (a power of 8) that keeps residuals normal."""

    seed: int
    steps: int
    small: float
    lift: int


# The seeds were scanned for the least residual 1 - x * y**3 of the first estimate: 0.103 at most.
_CUBE_ROOTS: Final = {
    "float32": CubeRoot(0x54A1FBE7, 2, 2.0**-60, 72),
    "float64": CubeRoot(0x553EEA7E, 3, 2.0**-500, 600),
}


def _inverse_cube_root_seed(x: Value, seed: int) -> Value:
    """Estimate x**(-1/3) by dividing the bit pattern by -3."""
    bits = bits_of(x)
    if x.type == "float32":
        return from_bits(bits.const(seed) - mulhi(bits, 0x55555556), x.type)
    upper = ((bits >> 32) * 0x55555556) >> 32  # a product of 32-bit numbers, which vector units have
    return from_bits((bits.const(seed) - upper) << 32, x.type)


@recipe("cbrt", "float32", "float64")
def cbrt(x: Value) -> Value:
    numbers = _CUBE_ROOTS[x.type]
    size = abs(x)
    small = size < numbers.small
    a = select(small, size * 2.0**numbers.lift, size)
    y = _inverse_cube_root_seed(a, numbers.seed)
    for _ in range(numbers.steps):  # each triples the correct bits
        h = fma(-(a * y), y * y, 1.0)
        y = fma(y, h * fma(h, 2 / 9, 1 / 3), y)
    c = a * y * y
    square = c * c
    residual = fma(square, c, -a) + fma(c, c, -square) * c
    root = fma(-residual, y * y * (1 / 3), c)
    root = copy_sign(root * select(small, x.const(2.0 ** (-numbers.lift // 3)), x.const(1.0)), x)
    return select((size > 0) & (size < INFINITY), root, x)


def _hypot_limits(x: Value, y: Value, result: Value) -> Value:
    """Return infinity where an operand is infinite, be the other one NaN."""
    infinite = eq(abs(x), INFINITY) | eq(abs(y), INFINITY)
    return select(infinite, x.const(INFINITY), result)


#: Where squares, and what they round off, would leave the range: scaled down above the first, up below the second.
_HYPOT_RANGE: Final = {"float32": (2.0**60, 2.0**-40, 90), "float64": (2.0**500, 2.0**-450, 600)}


@recipe("hypot", *ARITHMETIC_FLOATS)
def hypot(x: Value, y: Value) -> Value:
    # Borges, "An Improved Algorithm for hypot(a, b)": the residual of h**2 corrects h.
    a, b = abs(x), abs(y)
    swap = a < b
    large, less = select(swap, b, a), select(swap, a, b)
    above, below, lift = _HYPOT_RANGE[x.type]
    huge, tiny, one = large > above, large < below, x.const(1.0)
    scale = select(huge, x.const(2.0**-lift), select(tiny, x.const(2.0**lift), one))
    back = select(huge, x.const(2.0**lift), select(tiny, x.const(2.0**-lift), one))
    large, less = large * scale, less * scale
    h = sqrt(fma(large, large, less * less))
    square, large_square = h * h, large * large
    correction = fma(-less, less, square - large_square) + fma(h, h, -square) - fma(large, large, -large_square)
    corrected = select(h > 0, h - correction / (2.0 * h), h)
    return _hypot_limits(x, y, corrected * back)
