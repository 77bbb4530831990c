"""Reading special cases."""

from __future__ import annotations

import math

import pytest

from opmux.core.dtypes import bool_, float32, int8, int64, uint8
from opmux.core.op import OPS
from opmux.opset.specials import parse


def test_zeros_with_a_sign_are_floats_and_others_integers() -> None:
    assert [type(v) for v in parse("f(0, +0, -0, 7) -> -1").operands] == [int, float, float, int]
    assert math.copysign(1, parse("f(1) -> -0").result) == -1.0


def test_angles_are_near() -> None:
    case = parse("atan2(-inf, -inf) -> -3pi/4")
    assert case.near
    assert case.result == -3 * math.pi / 4


def test_brackets_nothing_and_dtypes() -> None:
    assert parse("max([1, +inf]) -> +inf").operands == ([1, math.inf],)
    assert parse("mean of nothing -> nan").operands == ([],)
    assert parse("cast(1e9, int8) -> 127").operands == (1e9, int8)


def test_dtypes_that_a_case_fits() -> None:
    shift = parse("bitwise_right_shift(-5, 1) -> -3")
    assert [shift.fits(t, OPS["bitwise_right_shift"]) for t in (int8, uint8)] == [True, False]
    assert [parse("add(nan, 1) -> nan").fits(t, OPS["add"]) for t in (float32, int64)] == [True, False]
    assert [parse("less(1, 2) -> True").fits(t, OPS["less"]) for t in (int64, bool_)] == [True, False]
    assert parse("where(True, 1, nan) -> 1").fits(float32, OPS["where"])


def test_other_sentences_are_refused() -> None:
    with pytest.raises(ValueError, match="not of the form"):
        parse("exp of minus infinity is zero")
