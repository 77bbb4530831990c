"""Each comparer is given a wrong answer, and must raise at it; and a right one, and must not."""

from __future__ import annotations

import math
from fractions import Fraction

import ml_dtypes
import numpy as np
import pytest

import opmux as ox
from opmux.conformance.oracle.compare import Where, check_bits, check_exact, check_layout, check_ulp, check_within
from opmux.conformance.oracle.formats import FORMATS, from_fractions, nearest, precise, ulp_errors
from opmux.core.errors import ConformanceError

F32 = Where("exp", ox.float32)


def _f32(*values: float) -> np.ndarray:
    return np.array(values, np.float32)


@pytest.mark.parametrize(
    ("got", "wanted"),
    [((1, 2), (1, 3)), ((-0.0,), (0.0,)), ((math.nan,), (1.0,)), ((1.0,), (math.nan,)), ((math.inf,), (-math.inf,))],
)
def test_exact_raises_at_a_wrong_value(got: tuple[float, ...], wanted: tuple[float, ...]) -> None:
    with pytest.raises(ConformanceError) as caught:
        check_exact(_f32(*got), _f32(*wanted), F32)
    assert caught.value.index == (len(got) - 1,)


def test_exact_takes_any_nan() -> None:
    other = np.array([0x7FC00001], np.uint32).view(np.float32)
    assert check_exact(other, _f32(math.nan), F32) == 0


def test_exact_sees_bfloat16_zeros() -> None:
    zeros = np.array([-0.0], ml_dtypes.bfloat16)
    with pytest.raises(ConformanceError):
        check_exact(zeros, -zeros, Where("max", ox.bfloat16))


def test_bits_see_nan_payloads() -> None:
    other = np.array([0x7FC00001], np.uint32).view(np.float32)
    with pytest.raises(ConformanceError):
        check_bits(other, _f32(math.nan), Where("copy", ox.float32))


def test_ulp_bound_is_kept_and_crossed() -> None:
    want = precise(np.array([1.5]))
    two_off = np.nextafter(np.nextafter(_f32(1.5), _f32(2)), _f32(2))
    assert check_ulp(two_off, want, 2, F32) == 2
    with pytest.raises(ConformanceError, match="bound 1") as caught:
        check_ulp(two_off, want, 1, F32)
    assert caught.value.error == 2


def test_ulp_at_a_power_of_two_is_the_smaller_one() -> None:
    above = np.nextafter(_f32(1), _f32(2))
    assert ulp_errors(above, precise(np.array([1.0])), FORMATS["float32"])[0] == 2


def test_correct_rounding_demands_the_even_neighbour_of_a_tie() -> None:
    tie = precise(np.array([1 + 2.0**-24]))
    assert check_ulp(_f32(1), tie, 0.5, F32) == 0.5
    with pytest.raises(ConformanceError, match="correctly rounded"):
        check_ulp(np.nextafter(_f32(1), _f32(2)), tie, 0.5, F32)


def test_a_tie_broken_far_below_is_no_tie() -> None:
    value = Fraction(1) + Fraction(1, 2**24) + Fraction(1, 2**1000)
    rounded = nearest(from_fractions([value], (1,)), FORMATS["float32"])
    assert rounded[0] == 1 + 2.0**-23


@pytest.mark.parametrize("got", [0.0, -1e-45, math.inf, math.nan, -0.0])
def test_ulp_raises_at_what_is_no_neighbour(got: float) -> None:
    with pytest.raises(ConformanceError):
        check_ulp(_f32(got), precise(np.array([2.5])), 4, F32)


def test_overflow_is_infinity_only_beside_the_largest() -> None:
    largest = float(np.finfo(np.float32).max)
    assert check_ulp(_f32(math.inf), precise(np.array([1e39])), 1, F32) == 0
    assert check_ulp(_f32(math.inf), precise(np.array([largest * (1 + 2.0**-25)])), 1, F32) <= 1
    with pytest.raises(ConformanceError):
        check_ulp(_f32(math.inf), precise(np.array([largest / 2])), 3, F32)
    with pytest.raises(ConformanceError):
        check_ulp(_f32(largest), precise(np.array([1e39])), 3, F32)


def test_within_is_in_shares_of_the_allowance() -> None:
    want, allowance = np.array([10.0]), np.array([0.5])
    assert check_within(_f32(10.25), want, allowance, F32) == 0.5
    with pytest.raises(ConformanceError, match="bound 1"):
        check_within(_f32(10.75), want, allowance, F32)


@pytest.mark.parametrize("got", [math.nan, math.inf, -math.inf])
def test_within_raises_at_special_values(got: float) -> None:
    with pytest.raises(ConformanceError):
        check_within(_f32(got), np.array([10.0]), np.array([1e30]), F32)


def test_a_wrong_dtype_or_shape_raises() -> None:
    with pytest.raises(ConformanceError, match="float64"):
        check_layout(np.zeros(3), (3,), F32)
    with pytest.raises(ConformanceError, match=r"\[3, 1\]"):
        check_layout(_f32(1, 2, 3), (3, 1), F32)


def test_the_message_names_the_worst_element() -> None:
    where = Where("exp", ox.float32, (_f32(5, 6, 7),))
    with pytest.raises(ConformanceError) as caught:
        check_ulp(_f32(1, 2, 9), precise(np.array([1.0, 2.0, 3.0])), 3, where)
    assert "[2]" in str(caught.value)
    assert "operands there: 7.0" in str(caught.value)
    assert (caught.value.got, caught.value.wanted) == ("9.0", "3.0")
