"""Arithmetic and division against exact fractions and Python's integers."""

import itertools
import math
import random
from fractions import Fraction

import numpy as np
import pytest

from opmux.opset.recipes.evaluate import evaluate
from opmux.opset.recipes.program import FLOATS, INTEGERS, NUMPY_TYPES, SIGNED, WIDTH
from opmux.opset.recipes.registry import program


def run(op: str, dtype: str, *columns) -> np.ndarray:
    arrays = [np.array(c, NUMPY_TYPES[dtype]) for c in columns]
    recipe = program(op, (dtype,) * len(arrays))
    assert recipe is not None, f"no recipe for {op} on {dtype}"
    return evaluate(recipe, *arrays)


def edges(dtype: str) -> list[int]:
    info = np.iinfo(NUMPY_TYPES[dtype])
    values = [info.min, info.min + 1, -100, -7, -2, -1, 0, 1, 2, 3, 7, 100, info.max // 2, info.max - 1, info.max]
    return [v for v in values if info.min <= v <= info.max]


def wrapped(value: int, dtype: str) -> int:
    low = value % (1 << WIDTH[dtype])
    return low - (1 << WIDTH[dtype]) if dtype in SIGNED and low >> WIDTH[dtype] - 1 else low


@pytest.mark.parametrize("dtype", INTEGERS)
@pytest.mark.parametrize(
    ("op", "python"),
    [
        ("add", lambda a, b: a + b),
        ("subtract", lambda a, b: a - b),
        ("multiply", lambda a, b: a * b),
        ("floor_divide", lambda a, b: a // b if b else 0),
        ("remainder", lambda a, b: a % b if b else 0),
        ("maximum", max),
        ("minimum", min),
    ],
)
def test_integers(op: str, python, dtype: str) -> None:
    pairs = list(itertools.product(edges(dtype), repeat=2))
    got = run(op, dtype, [a for a, _ in pairs], [b for _, b in pairs])
    assert got.tolist() == [wrapped(python(a, b), dtype) for a, b in pairs]


@pytest.mark.parametrize("dtype", INTEGERS)
def test_integer_sign_absolute_and_negative(dtype: str) -> None:
    x = edges(dtype)
    assert run("abs", dtype, x).tolist() == [wrapped(abs(v), dtype) for v in x]
    assert run("negative", dtype, x).tolist() == [wrapped(-v, dtype) for v in x]
    assert run("sign", dtype, x).tolist() == [(v > 0) - (v < 0) for v in x]


@pytest.mark.parametrize("dtype", INTEGERS)
def test_integer_power(dtype: str) -> None:
    bases = edges(dtype)
    exponents = [e for e in edges(dtype) if e >= 0]
    pairs = list(itertools.product(bases, exponents))
    got = run("pow", dtype, [a for a, _ in pairs], [b for _, b in pairs])
    assert got.tolist() == [wrapped(pow(a, b, 1 << WIDTH[dtype]), dtype) for a, b in pairs]


@pytest.mark.parametrize("dtype", SIGNED)
def test_integer_power_with_a_negative_exponent(dtype: str) -> None:
    got = run("pow", dtype, [1, -1, -1, 0, 2, -2, 1], [-3, -3, -4, -1, -1, -5, -128])
    assert got.tolist() == [1, -1, 1, 0, 0, 0, 1]


def exact_floor(a: float, b: float) -> int:
    return math.floor(Fraction(a) / Fraction(b))


def stratified(dtype: str, count: int, seed: int) -> np.ndarray:
    """Finite values other than zero, of all exponents; a third of them small integers and neighbours of such."""
    rng = np.random.default_rng(seed)
    kind = NUMPY_TYPES[dtype]
    unsigned = np.dtype(f"u{kind.itemsize}")
    wide = rng.integers(0, np.iinfo(unsigned).max, count, unsigned).view(kind)
    small = rng.integers(-40, 41, count // 2).astype(kind).view(unsigned)
    near = small + rng.integers(0, 3, count // 2).astype(unsigned)
    both = rng.permutation(np.concatenate([wide, near.view(kind)]))
    with np.errstate(invalid="ignore"):  # ml_dtypes warns of signalling NaN
        return both[np.isfinite(both) & (both != 0)]


def rounded_integer(value: int, dtype: str) -> float:
    """Round an integer to a float dtype, to nearest even, through integers."""
    bits, largest = {"float32": (24, 2**128 - 2**104), "float64": (53, 2**1024 - 2**971)}[dtype]
    unit = 1 << max(abs(value).bit_length() - bits, 0)
    result = round(Fraction(value, unit)) * unit
    return float(result) if abs(result) <= largest else math.inf if value > 0 else -math.inf


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_remainder_is_exact(dtype: str) -> None:
    a, b = stratified(dtype, 3000, 1), stratified(dtype, 3000, 2)
    count = min(a.size, b.size)
    got = run("remainder", dtype, a[:count], b[:count]).tolist()
    for x, y, r in zip(a[:count].tolist(), b[:count].tolist(), got, strict=True):
        exact = Fraction(x) % Fraction(y)
        if abs(x) < abs(y) and (x < 0) != (y < 0):  # the one case that rounds
            assert r == float(np.dtype(dtype).type(x) + np.dtype(dtype).type(y)), (x, y)
        else:
            assert Fraction(r) == exact, (x, y, r)
        assert math.copysign(1, r) == math.copysign(1, y), (x, y, r)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_remainder_of_narrow_floats(dtype: str) -> None:
    a, b = stratified(dtype, 4000, 3), stratified(dtype, 4000, 4)
    count = min(a.size, b.size)
    got = run("remainder", dtype, a[:count], b[:count])
    exact = [Fraction(float(x)) % Fraction(float(y)) for x, y in zip(a[:count], b[:count], strict=True)]
    want = np.array([float(v) for v in exact]).astype(np.float32).astype(NUMPY_TYPES[dtype])
    assert got.tolist() == want.tolist()


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_floor_divide_rounds_the_exact_floor_once(dtype: str) -> None:
    a, b = stratified(dtype, 3000, 5), stratified(dtype, 3000, 6)
    count = min(a.size, b.size)
    got = run("floor_divide", dtype, a[:count], b[:count]).tolist()
    for x, y, q in zip(a[:count].tolist(), b[:count].tolist(), got, strict=True):
        assert q == rounded_integer(exact_floor(x, y), dtype), (x, y, q)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_floor_divide_where_the_floor_is_a_tie(dtype: str) -> None:
    # Quotients less than 1 above an odd multiple of half a unit in the last place, of either sign.
    bits = {"float32": 24, "float64": 53}[dtype]
    choose = random.Random(14)
    found = []
    while len(found) < 400:
        divisor = choose.randrange(2 ** (bits - 1) + 1, 2**bits) | 1
        midpoint = (2 * choose.randrange(2 ** (bits - 1), 2**bits) + 1) * choose.choice((1, -1))
        dividend = midpoint * divisor + choose.randrange(divisor)
        x = int(NUMPY_TYPES[dtype].type(dividend))
        if x // divisor == midpoint:
            found.append((x, divisor))
    got = run("floor_divide", dtype, *zip(*found, strict=True)).tolist()
    assert got == [rounded_integer(x // y, dtype) for x, y in found]


def test_floor_divide_float64_is_exact_below_2_to_53() -> None:
    rng = np.random.default_rng(7)
    b = rng.integers(1, 1 << 30, 3000) * 2.0 ** rng.integers(-60, 60, 3000)
    n = rng.integers(1, 1 << 22, 3000).astype(float)
    a = np.nextafter(b * n, np.where(rng.random(3000) < 0.5, 0, np.inf))  # a hair beside a multiple
    got = run("floor_divide", "float64", np.concatenate([a, -a]), np.concatenate([b, b]))
    want = [exact_floor(x, y) for x, y in zip([*a, *-a], [*b, *b], strict=True)]
    assert got.tolist() == want


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_narrow_fma_rounds_once(dtype: str) -> None:
    columns = [stratified(dtype, 3000, seed) for seed in (10, 11, 12)]
    a, b, c = (column[: min(v.size for v in columns)] for column in columns)
    # Half of the addends cancel most of the product; the others meet it at any distance.
    with np.errstate(over="ignore"):
        near = (-a.astype(np.float64) * b.astype(np.float64)).astype(NUMPY_TYPES[dtype])
    c = np.where(np.isfinite(near) & (np.arange(c.size) % 2 == 0), near, c)
    got = run("fma", dtype, a, b, c)
    bits, lowest, top = {"float16": (11, -24, 2.0**16), "bfloat16": (8, -133, 2.0**128)}[dtype]
    for x, y, z, r in zip(*(v.astype(np.float64).tolist() for v in (a, b, c, got)), strict=True):
        exact = Fraction(x) * Fraction(y) + Fraction(z)
        if exact == 0:
            assert r == 0
            continue
        unit = Fraction(2) ** max(math.frexp(float(exact))[1] - bits, lowest)
        want = round(exact / unit) * unit
        assert r == (math.copysign(math.inf, want) if abs(want) >= top else float(want)), (x, y, z, r)


@pytest.mark.parametrize("dtype", FLOATS)
def test_nextafter_visits_neighbouring_patterns(dtype: str) -> None:
    kind = NUMPY_TYPES[dtype]
    x = stratified(dtype, 2000, 13)
    unsigned = f"u{kind.itemsize}"
    up = run("nextafter", dtype, x, np.full(x.size, np.inf))
    outward = np.where(x.astype(np.float64) > 0, 1, -1)
    difference = up.view(unsigned).astype(object) - x.view(unsigned).astype(object)
    assert (difference == outward).all()
    smallest = run("nextafter", dtype, [0.0, -0.0, 0.0], [1, 1, -1]).view(unsigned).tolist()
    assert smallest == [1, 1, (1 << WIDTH[dtype] - 1) + 1]
