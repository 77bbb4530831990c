"""The error measures that the accuracy tests rest on, given functions that are wrong by a known amount."""

import math

import numpy as np
import pytest
from mpmath import mp


def test_a_relative_error_is_seen_in_units_of_the_last_place(worst_ulp):
    worst, _ = worst_ulp("sin", "float32", lambda x: np.sin(x) * (1 + 2.0**-20), np.float32([0.5, 1.0]))
    assert 8 <= worst <= 17


def test_mpmath_measure_sees_one_unit_and_says_where(worst_ulp_mpmath):
    wrong_at_two = lambda x: mp.atan(x) + (mp.mpf(2) ** -52 if x == 2 else 0)  # noqa: E731
    worst, where = worst_ulp_mpmath("atan", "float64", wrong_at_two, np.array([1.0, 2.0, 3.0]))
    assert 0.5 <= worst <= 1.5
    assert where == ((2.0).hex(),)


@pytest.mark.parametrize("function", [lambda x: np.full_like(x, math.nan), lambda x: np.full_like(x, math.inf)])
def test_a_missing_nan_or_infinity_is_no_small_error(function, worst_ulp):
    assert worst_ulp("sin", "float32", function, np.float32([1.0]))[0] == math.inf


def test_special_values_compare_signs_of_zero(assert_special):
    with pytest.raises(AssertionError, match="sin"):
        assert_special("sin", "float32", [0.0], -0.0)


def test_every_exponent_is_every_exponent(every_exponent):
    exponents = np.frexp(every_exponent("float64", 4096))[1]
    assert set(range(-1021, 1025)) <= set(exponents.tolist())
