"""The emulated fused multiply-add against exact rational arithmetic."""

import itertools
import math
import random
from fractions import Fraction

import numpy as np
import pytest

from opmux.opset.recipes.fused import fma

#: dtype -> (precision, smallest exponent of the last bit, largest finite)
FORMATS = {
    np.float32: (24, -149, Fraction(2**24 - 1) * 2**104),
    np.float64: (53, -1074, Fraction(2**53 - 1) * 2**971),
}


def rounded(exact: Fraction, kind: type) -> float:
    """Round to nearest even by integers alone."""
    precision, lowest, largest = FORMATS[kind]
    if exact == 0:
        return 0.0
    size = abs(exact)
    exponent = size.numerator.bit_length() - size.denominator.bit_length()
    if Fraction(2) ** exponent > size:
        exponent -= 1
    unit = Fraction(2) ** max(exponent - precision + 1, lowest)
    value = round(size / unit) * unit  # Fraction.__round__ takes ties to even
    return math.copysign(float(value) if value <= largest else math.inf, 1 if exact > 0 else -1)


def expected(a: float, b: float, c: float, kind: type) -> float:
    if not (math.isfinite(a) and math.isfinite(b) and math.isfinite(c)):
        with np.errstate(all="ignore"):
            finite_product = math.isfinite(a) and math.isfinite(b)
            return c if finite_product else float(np.float64(a) * np.float64(b) + np.float64(c))
    exact = Fraction(a) * Fraction(b) + Fraction(c)
    if exact == 0:
        product_sign = math.copysign(1, a) * math.copysign(1, b)
        both_negative = product_sign < 0 and math.copysign(1, c) < 0 and (a == 0 or b == 0)
        return -0.0 if both_negative else 0.0
    return rounded(exact, kind)


def check(triples: list[tuple[float, float, float]], kind: type) -> None:
    columns = [np.array(column, kind) for column in zip(*triples, strict=True)]
    got = fma(*columns)
    want = np.array([expected(*map(float, t), kind) for t in zip(*columns, strict=True)], kind)
    same = (got == want) & (np.signbit(got) == np.signbit(want)) | (np.isnan(got) & np.isnan(want))
    bad = np.flatnonzero(~same)
    assert bad.size == 0, [(*(float(c[i]).hex() for c in columns), got[i], want[i]) for i in bad[:5]]


def edges(kind: type) -> list[float]:
    precision, lowest, largest = FORMATS[kind]
    tiny, normal, eps = 2.0**lowest, 2.0 ** (lowest + precision - 1), 2.0 ** (1 - precision)
    sizes = [0.0, tiny, 3 * tiny, normal - tiny, normal, normal + tiny, 1 - eps / 2, 1.0, 1 + eps, 1.5]
    sizes += [2.0**precision - 1, 2.0 ** (precision // 2) + 1, float(largest) / 2, float(largest), math.inf]
    return [*sizes, *(-s for s in sizes), math.nan]


@pytest.mark.parametrize("kind", FORMATS)
def test_all_triples_of_edge_values(kind: type) -> None:
    check(list(itertools.product(edges(kind), repeat=3)), kind)


def test_products_that_leave_the_range_of_normal_numbers() -> None:
    rng = np.random.default_rng(9)
    n = 4000
    significands = 1 + rng.integers(-3, 4, (2, n)) * 2.0**-52
    a, b = np.ldexp(significands, rng.integers(-540, -500, (2, n)))
    with np.errstate(all="ignore"):
        beside = np.ldexp(a * b, rng.integers(-60, 210, n))
    c = np.choose(rng.integers(0, 4, n), [np.zeros(n), -(a * b), beside, rng.standard_normal(n)])
    check(list(zip(a.tolist(), b.tolist(), c.tolist(), strict=True)), np.float64)


@pytest.mark.parametrize("kind", FORMATS)
def test_random_bit_patterns(kind: type) -> None:
    rng = np.random.default_rng(7)
    unsigned = np.uint32 if kind is np.float32 else np.uint64
    columns = rng.integers(0, np.iinfo(unsigned).max, (3, 4000), unsigned).view(kind)
    check([tuple(map(float, t)) for t in columns.T], kind)


@pytest.mark.parametrize("kind", FORMATS)
def test_cancellation_leaves_the_products_error(kind: type) -> None:
    rng = np.random.default_rng(8)
    a, b = (rng.uniform(1, 2, 4000).astype(kind) for _ in range(2))
    ulps = rng.integers(-2, 3, 4000)
    c = -(a * b) * (1 + ulps * np.finfo(kind).eps).astype(kind)
    check(list(zip(a.tolist(), b.tolist(), c.tolist(), strict=True)), kind)


@pytest.mark.parametrize("kind", FORMATS)
def test_ties_and_near_ties(kind: type) -> None:
    # c is half a unit of the product's last place, a hair more, or a hair less.
    precision = FORMATS[kind][0]
    choose = random.Random(9)
    triples = []
    for _ in range(4000):
        a = float(choose.randrange(2 ** (precision - 1), 2**precision))
        b = 2.0 ** choose.randrange(-30, 30)
        half = 2.0**-1 * b * choose.choice((1, -1, 3))
        triples.append((a, b, half * (1 + choose.choice((0, 1, -1)) * 2.0 ** (1 - precision))))
    check(triples, kind)


@pytest.mark.parametrize("kind", FORMATS)
def test_results_around_the_subnormal_border(kind: type) -> None:
    precision, lowest, _ = FORMATS[kind]
    choose = random.Random(10)
    triples = []
    for _ in range(3000):
        e = choose.randrange(lowest // 2 - 5, lowest // 2 + precision)
        a = math.ldexp(choose.randrange(2**precision), e - precision)
        b = math.ldexp(choose.randrange(2**precision), lowest - e + choose.randrange(-3, 5) - precision)
        c = math.ldexp(choose.randrange(-(2**precision), 2**precision), lowest)
        triples.append((a, b, c * choose.choice((1, 0))))
    check(triples, kind)


@pytest.mark.parametrize("kind", FORMATS)
def test_results_around_overflow(kind: type) -> None:
    precision, _, largest = FORMATS[kind]
    choose = random.Random(11)
    triples = []
    for _ in range(3000):
        a = float(2**precision - 1 - choose.randrange(3))
        b = float(largest) / 2**precision * choose.choice((1, 2, 1 - 2.0 ** (1 - precision)))
        c = float(largest) / 2**precision * choose.choice((1, -1, 0.5, -0.5, 0.75, -0.25))
        triples.append((a, b, c))
    check(triples, kind)


def test_scalars_and_broadcasting() -> None:
    assert fma(np.float64(3), np.float64(4), np.float64(5)).shape == ()
    assert fma(np.ones((2, 1)), np.ones(3), np.float64(1)).tolist() == [[2.0] * 3] * 2


def test_mixed_dtypes_are_refused() -> None:
    with pytest.raises(TypeError, match="float32 or of float64"):
        fma(np.float32([1]), np.float64([1]), np.float32([1]))
