"""Sine, cosine and tangent: accuracy up to the largest arguments and next to the multiples of pi/2."""

import math

import numpy as np
import pytest
from mpmath import mp

from opmux.opset.recipes.trigonometric import turn_bits

#: (op, dtype) -> largest error allowed, in units of the last place
BOUNDS = {
    ("sin", "float32"): 1.0,
    ("cos", "float32"): 1.08,  # above 1 for one argument of either sign, within 2**-26 of a multiple of pi/2
    ("tan", "float32"): 1.6,
    ("sin", "float64"): 1.0,
    ("cos", "float64"): 1.0,
    ("tan", "float64"): 1.1,
}
MPMATH = {"sin": mp.sin, "cos": mp.cos, "tan": mp.tan}
NUMPY = {"sin": np.sin, "cos": np.cos, "tan": np.tan}
DTYPES = ("float32", "float64")


def near_quarter_turns(bits, exponents):
    """Return for each exponent e the m below 2**bits for which m * 2**e is nearest to a multiple of pi/2."""
    scale = 2 * bits + 40
    with mp.workprec(scale + max(exponents) + 40):
        quarter = int(mp.floor(mp.ldexp(2 / mp.pi, scale + max(exponents))))
    found = []
    for e in exponents:
        # the denominators of the continued fraction of 2**e / (pi/2) up to whole numbers
        a, b = 1 << scale, (quarter >> max(exponents) - e) % (1 << scale)
        before, last = 0, 1
        while (a // b) * last + before < 1 << bits:
            before, last = last, (a // b) * last + before
            a, b = b, a % b
        found.append(math.ldexp(last, e))
    return found


def test_bits_of_a_turn():
    with mp.workprec(1400):
        assert turn_bits() == int(mp.floor(mp.ldexp(1 / (2 * mp.pi), 1280)))


@pytest.mark.parametrize(("op", "dtype"), BOUNDS)
def test_arguments_next_to_multiples_of_a_quarter_turn(op, dtype, worst_ulp_mpmath):
    bits, exponents = (24, range(-23, 104)) if dtype == "float32" else (53, range(-52, 971, 2))
    x = np.array(near_quarter_turns(bits, exponents), dtype)
    worst, where = worst_ulp_mpmath(op, dtype, MPMATH[op], np.concatenate([x, -x]))
    assert worst <= BOUNDS[op, dtype], where


@pytest.mark.parametrize(
    ("dtype", "significand", "exponent", "distance"),
    [("float64", 6381956970095103, 797, 4.69e-19), ("float32", 16367173, 72, 1.61e-9)],
)
def test_the_arguments_known_to_be_nearest(dtype, significand, exponent, distance, run, worst_ulp_mpmath):
    x = np.array([math.ldexp(significand, exponent)], dtype)
    assert abs(float(run("cos", dtype, x)[0])) == pytest.approx(distance, rel=1e-2)
    for op in MPMATH:
        assert worst_ulp_mpmath(op, dtype, MPMATH[op], x)[0] <= BOUNDS[op, dtype]


@pytest.mark.parametrize(("op", "dtype"), [key for key in BOUNDS if key[1] == "float64"])
def test_every_exponent_of_float64(op, dtype, worst_ulp_mpmath, every_exponent):
    worst, where = worst_ulp_mpmath(op, dtype, MPMATH[op], every_exponent(dtype, 4096))
    assert worst <= BOUNDS[op, dtype], where


@pytest.mark.parametrize(("op", "dtype"), [key for key in BOUNDS if key[1] == "float64"])
def test_a_few_turns_of_float64(op, dtype, worst_ulp_mpmath):
    worst, where = worst_ulp_mpmath(op, dtype, MPMATH[op], np.linspace(-13, 13, 2000))
    assert worst <= BOUNDS[op, dtype], where


@pytest.mark.parametrize(("op", "dtype"), [key for key in BOUNDS if key[1] == "float32"])
def test_every_exponent_and_a_few_turns_of_float32(op, dtype, worst_ulp, every_exponent):
    turns = np.linspace(-13, 13, 2**15, dtype=np.float32)
    worst, where = worst_ulp(op, dtype, NUMPY[op], np.concatenate([every_exponent(dtype, 2**16), turns]))
    assert worst <= BOUNDS[op, dtype], where


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
@pytest.mark.parametrize("op", MPMATH)
def test_all_values_of_16_bits(op, dtype, worst_ulp, every_value):
    worst, where = worst_ulp(op, dtype, NUMPY[op], every_value(dtype))
    assert worst <= 0.501, where


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(
    ("op", "argument", "expected"),
    [
        *((op, x, math.nan) for op in MPMATH for x in (math.inf, -math.inf, math.nan)),
        *((op, zero, zero) for op in ("sin", "tan") for zero in (0.0, -0.0)),
        *(("cos", zero, 1.0) for zero in (0.0, -0.0)),
    ],
)
def test_special_values(op, argument, expected, dtype, assert_special):
    assert_special(op, dtype, [argument], expected)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("op", ["sin", "tan"])
def test_tiny_arguments_stand_for_themselves(op, dtype, run):
    least = np.finfo(dtype).smallest_subnormal
    x = np.array([least, 3 * least, np.finfo(dtype).tiny, -least], dtype)
    assert run(op, dtype, x).tolist() == x.tolist()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("op", "sign"), [("sin", -1), ("tan", -1), ("cos", 1)])
def test_symmetry_in_the_bits(op, sign, dtype, run, every_exponent):
    x = every_exponent(dtype, 4096)
    np.testing.assert_array_equal(run(op, dtype, -x), sign * run(op, dtype, x))
