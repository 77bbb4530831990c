"""Arcsine, arccosine, arctangent and the angle of a point."""

import math

import numpy as np
import pytest
from mpmath import mp

#: (op, dtype) -> largest error allowed, in units of the last place
BOUNDS = {
    ("asin", "float32"): 1.75,
    ("acos", "float32"): 1.3,
    ("atan", "float32"): 1.5,
    ("atan2", "float32"): 1.9,
    ("asin", "float64"): 1.8,
    ("acos", "float64"): 1.3,
    ("atan", "float64"): 1.3,
    ("atan2", "float64"): 1.75,
}
MPMATH = {"asin": mp.asin, "acos": mp.acos, "atan": mp.atan, "atan2": mp.atan2}
NUMPY = {"asin": np.arcsin, "acos": np.arccos, "atan": np.arctan, "atan2": np.arctan2}
DTYPES = ("float32", "float64")
UNARY = ("asin", "acos", "atan")
INF, NAN, PI = math.inf, math.nan, math.pi


def points(dtype, count):
    """Return y and x all round the circle, over a few binary exponents, then over all of them."""
    angle = np.linspace(0, 2 * PI, count)
    radius = 2 ** np.linspace(-3, 3, count)
    largest = math.log2(float(np.finfo(dtype).max)) - 1
    exponents = np.random.default_rng(1).uniform(-largest, largest, (2, count))
    signs = np.where(np.arange(count) & 1, -1, 1), np.where(np.arange(count) & 2, -1, 1)
    y = np.concatenate([radius * np.sin(angle), signs[0] * 2 ** exponents[0]])
    x = np.concatenate([radius * np.cos(angle), signs[1] * 2 ** exponents[1]])
    return y.astype(dtype), x.astype(dtype)


@pytest.mark.parametrize("op", UNARY)
def test_every_exponent_of_float64(op, worst_ulp_mpmath, every_exponent):
    x = np.concatenate([every_exponent("float64", 4096), np.linspace(-1, 1, 1500), np.linspace(0.45, 0.6, 1500)])
    if op != "atan":
        x = x[(np.abs(x) <= 1) & (x != 1)]  # acos(1) is 0, a special value
    worst, where = worst_ulp_mpmath(op, "float64", MPMATH[op], x)
    assert worst <= BOUNDS[op, "float64"], where


@pytest.mark.parametrize("op", UNARY)
def test_every_exponent_of_float32(op, worst_ulp, every_exponent):
    inside = np.linspace(-1, 1, 2**15, dtype=np.float32)
    worst, where = worst_ulp(op, "float32", NUMPY[op], np.concatenate([every_exponent("float32", 2**16), inside]))
    assert worst <= BOUNDS[op, "float32"], where


def test_atan2_in_float64(worst_ulp_mpmath):
    worst, where = worst_ulp_mpmath("atan2", "float64", MPMATH["atan2"], *points("float64", 1500))
    assert worst <= BOUNDS["atan2", "float64"], where


def test_atan2_in_float32(worst_ulp):
    worst, where = worst_ulp("atan2", "float32", NUMPY["atan2"], *points("float32", 2**15))
    assert worst <= BOUNDS["atan2", "float32"], where


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
@pytest.mark.parametrize("op", UNARY)
def test_all_values_of_16_bits(op, dtype, worst_ulp, every_value):
    worst, where = worst_ulp(op, dtype, NUMPY[op], every_value(dtype))
    assert worst <= 0.501, where


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(
    ("op", "argument", "expected"),
    [
        *((op, zero, zero) for op in ("asin", "atan") for zero in (0.0, -0.0)),
        *((op, x, NAN) for op in ("asin", "acos") for x in (1.0000002, -1.0000002, INF, -INF, NAN)),
        *(("asin", x, x * PI / 2) for x in (1.0, -1.0)),
        *(("acos", x, angle) for x, angle in ((1.0, 0.0), (-1.0, PI), (0.0, PI / 2), (-0.0, PI / 2))),
        *(("atan", x, angle) for x, angle in ((INF, PI / 2), (-INF, -PI / 2), (1.0, PI / 4), (-1.0, -PI / 4))),
        ("atan", NAN, NAN),
    ],
)
def test_special_values(op, argument, expected, dtype, assert_special):
    assert_special(op, dtype, [argument], expected)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(
    ("y", "x", "expected"),
    [
        *((y, x, NAN) for y, x in ((NAN, 1.0), (1.0, NAN), (NAN, NAN), (NAN, INF), (INF, NAN), (NAN, 0.0), (0.0, NAN))),
        *((y, x, y) for y in (0.0, -0.0) for x in (0.0, 1.0, INF)),
        *((y, x, math.copysign(PI, y)) for y in (0.0, -0.0) for x in (-0.0, -1.0, -INF)),
        *((y, x, math.copysign(PI / 2, y)) for y in (1.0, -1.0) for x in (0.0, -0.0)),
        *((y, x, math.copysign(0.0, y)) for y in (1.0, -1.0) for x in (INF,)),
        *((y, x, math.copysign(PI, y)) for y in (1.0, -1.0) for x in (-INF,)),
        *((y, x, math.copysign(PI / 2, y)) for y in (INF, -INF) for x in (0.0, 1.0, -1.0)),
        *((y, x, math.copysign(PI / 4, y)) for y in (INF, -INF) for x in (INF,)),
        *((y, x, math.copysign(3 * PI / 4, y)) for y in (INF, -INF) for x in (-INF,)),
    ],
)
def test_special_values_of_atan2(y, x, expected, dtype, assert_special):
    assert_special("atan2", dtype, [y, x], expected)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("op", ["asin", "atan"])
def test_tiny_arguments_stand_for_themselves(op, dtype, run):
    least = np.finfo(dtype).smallest_subnormal
    x = np.array([least, 3 * least, np.finfo(dtype).tiny, -least], dtype)
    assert run(op, dtype, x).tolist() == x.tolist()


@pytest.mark.parametrize("dtype", DTYPES)
def test_angles_that_underflow(dtype, run):
    least, big = float(np.finfo(dtype).smallest_subnormal), float(np.finfo(dtype).max)
    y, x = np.array([least, least, -least, 3 * least]), np.array([1.0, big, 4.0, 2.0])
    got = run("atan2", dtype, y, x)
    np.testing.assert_array_equal(got, np.array([least, 0.0, -0.0, 2 * least], dtype))
    assert np.signbit(got).tolist() == [False, False, True, False]
