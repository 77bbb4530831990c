"""The error function and its complement, down to where the complement leaves the subnormals."""

import math

import numpy as np
import pytest
from mpmath import mp

#: (op, dtype) -> largest error allowed, in units of the last place
BOUNDS = {
    ("erf", "float32"): 1.1,
    ("erfc", "float32"): 1.8,
    ("erf", "float64"): 2.1,
    ("erfc", "float64"): 2.7,
}
# mpmath's erfc fails beyond 1e150 or so; at 100 it is far below every dtype already.
MPMATH = {"erf": mp.erf, "erfc": lambda x: mp.erfc(max(min(x, 100), -100))}
# The C library's, in float64: far better than the narrower dtypes need.
FLOAT64 = {op: np.vectorize(getattr(math, op), otypes=[np.float64]) for op in MPMATH}
DTYPES = ("float32", "float64")


@pytest.mark.parametrize("op", MPMATH)
def test_every_exponent_of_float64(op, worst_ulp_mpmath, every_exponent):
    worst, where = worst_ulp_mpmath(op, "float64", MPMATH[op], every_exponent("float64", 2048)[::2])
    assert worst <= BOUNDS[op, "float64"], where


@pytest.mark.parametrize(("op", "low", "high"), [("erf", -6.0, 6.0), ("erf", 0.9, 1.3), ("erfc", -6.0, 6.0)])
def test_the_middle_of_float64(op, low, high, worst_ulp_mpmath):
    worst, where = worst_ulp_mpmath(op, "float64", MPMATH[op], np.linspace(low, high, 1000))
    assert worst <= BOUNDS[op, "float64"], where


@pytest.mark.parametrize(("low", "high"), [(0.8, 0.9), (6.0, 26.5), (26.5, 27.3)])
def test_the_tail_of_erfc_in_float64(low, high, worst_ulp_mpmath):
    worst, where = worst_ulp_mpmath("erfc", "float64", mp.erfc, np.linspace(low, high, 700))
    assert worst <= BOUNDS["erfc", "float64"], where


@pytest.mark.parametrize("op", MPMATH)
def test_every_exponent_of_float32(op, worst_ulp, every_exponent):
    middle = np.linspace(-4, 10.2, 2**15, dtype=np.float32)
    worst, where = worst_ulp(op, "float32", FLOAT64[op], np.concatenate([every_exponent("float32", 2**16), middle]))
    assert worst <= BOUNDS[op, "float32"], where


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
@pytest.mark.parametrize("op", MPMATH)
def test_all_values_of_16_bits(op, dtype, worst_ulp, every_value):
    worst, where = worst_ulp(op, dtype, FLOAT64[op], every_value(dtype))
    assert worst <= 0.501, where


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(
    ("op", "argument", "expected"),
    [
        *(("erf", x, x) for x in (0.0, -0.0)),
        *(("erf", x, math.copysign(1.0, x)) for x in (math.inf, -math.inf, 1e30, -1e30)),
        *(("erfc", x, 1.0) for x in (0.0, -0.0)),
        *(("erfc", x, 0.0) for x in (math.inf, 1e30)),
        *(("erfc", x, 2.0) for x in (-math.inf, -1e30)),
        *((op, math.nan, math.nan) for op in MPMATH),
    ],
)
def test_special_values(op, argument, expected, dtype, assert_special):
    assert_special(op, dtype, [argument], expected)


@pytest.mark.parametrize("dtype", DTYPES)
def test_erfc_reaches_the_smallest_subnormal(dtype, run):
    start = 27.0 if dtype == "float64" else 9.9
    got = run("erfc", dtype, np.linspace(start, start + 0.5, 4000))
    least = float(np.finfo(dtype).smallest_subnormal)
    assert {0.0, least, 2 * least, 3 * least} <= set(got.astype(np.float64).tolist())
    assert np.all(np.diff(got) <= 0)


@pytest.mark.parametrize("dtype", DTYPES)
def test_erf_of_subnormals_is_rounded_once(dtype, worst_ulp_mpmath):
    x = np.arange(1, 200) * np.finfo(dtype).smallest_subnormal
    worst, where = worst_ulp_mpmath("erf", dtype, mp.erf, x)
    assert worst <= 0.5, where
