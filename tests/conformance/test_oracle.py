"""The oracle against values known from elsewhere: tables, exact arithmetic, identities."""

from __future__ import annotations

import math
from fractions import Fraction
from typing import Any

import mpmath
import numpy as np
import pytest

import opmux as ox
from opmux.conformance.oracle.expect import expect
from opmux.conformance.oracle.reference import nextafter
from opmux.core.errors import ConformanceError, ShapeError
from opmux.core.op import OPS


def _accepts(op: str, result: Any, *operands: Any, **attributes: Any) -> float:
    return expect(OPS[op], tuple(np.asarray(x) for x in operands), attributes).check(np.asarray(result))


def _refuses(op: str, result: Any, *operands: Any, **attributes: Any) -> None:
    with pytest.raises(ConformanceError):
        _accepts(op, result, *operands, **attributes)


def test_exp_of_float64_is_known_to_all_digits() -> None:
    e = np.float64(math.e)
    assert _accepts("exp", e, np.float64(1)) < 0.5
    _refuses("exp", np.nextafter(np.nextafter(e, 3), 3), np.float64(1))


def test_sine_of_a_huge_angle() -> None:
    with mpmath.workprec(2000):
        wanted = float(mpmath.sin(mpmath.mpf(2) ** 1000))
    assert _accepts("sin", np.float64(wanted), np.float64(2.0**1000)) <= 0.5


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_fma_rounds_once(dtype: str) -> None:
    eps = Fraction(float(np.finfo(dtype).eps))
    x, z = 1 + eps, -1 - 2 * eps
    operands = [np.array([float(v)], dtype) for v in (x, x, z)]
    once = np.array([float(x * x + z)], dtype)
    _accepts("fma", once, *operands)
    _refuses("fma", np.array([0.0], dtype), *operands)


def test_floor_divide_is_exact_where_float64_is_not() -> None:
    x, y = np.float32(2.0**100), np.float32(3)
    wanted = np.float32(float(Fraction(2) ** 100 // 3))
    _accepts("floor_divide", wanted, x, y)
    _refuses("floor_divide", np.nextafter(wanted, np.float32(0)), x, y)


def test_sum_demands_the_wide_accumulator() -> None:
    ones = np.ones(4100, np.float16)
    _accepts("sum", np.float16(4100), ones)
    _refuses("sum", np.float16(2048), ones)


def test_sum_bound_grows_with_the_terms() -> None:
    x = np.ones(1000, np.float32)
    _accepts("sum", np.float32(1000 * (1 + 900 * 2.0**-23)), x)
    _refuses("sum", np.float32(1000 * (1 + 1100 * 2.0**-23)), x)


def test_matmul_times_a_little_more_than_one_is_refused() -> None:
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(2, 16, 16)).astype(np.float32)
    product = (x.astype(np.float64) @ y.astype(np.float64)).astype(np.float32)
    _accepts("matmul", product, x, y)
    _refuses("matmul", product * np.float32(1.0009), x, y)


def test_integers_wrap() -> None:
    _accepts("multiply", np.array([1], np.int8), np.array([-127], np.int8), np.array([-127], np.int8))
    _accepts("pow", np.array([0], np.int64), np.array([2], np.int64), np.array([64], np.int64))
    _accepts("sum", np.array(-56, np.int8), np.full(2, 100, np.int8), dtype=ox.int8)


def test_softmax_in_higher_precision() -> None:
    x = np.array([1.0, 2.0, 3.0], np.float32)
    exact = np.exp(x.astype(np.float64)) / np.exp(x.astype(np.float64)).sum()
    _accepts("softmax", exact.astype(np.float32), x)
    _refuses("softmax", (exact * 1.0001).astype(np.float32), x)


def test_variance_with_a_correction() -> None:
    x = np.array([1.0, 2.0, 4.0], np.float32)
    _accepts("var", np.float32(np.var([1.0, 2.0, 4.0], ddof=1)), x, correction=1.0)
    _refuses("var", np.float32(np.var([1.0, 2.0, 4.0])), x, correction=1.0)


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_nextafter_agrees_with_bits(dtype: str) -> None:
    info = np.finfo(dtype)
    x = np.array([0, 1, -1, 2, 0.5, 65504, np.inf, -np.inf, info.smallest_subnormal, info.max], dtype)
    for toward in (-np.inf, 0.0, 1.0, np.inf):
        stepped = nextafter(x.astype(np.float64), np.full(x.shape, toward), dtype)
        with np.errstate(all="ignore"):
            wanted = np.nextafter(x, np.array(toward, dtype))
        np.testing.assert_array_equal(stepped.astype(dtype), wanted)


def test_a_call_that_the_rules_forbid_has_no_expectation() -> None:
    with pytest.raises(ShapeError):
        expect(OPS["matmul"], (np.ones((2, 3)), np.ones((2, 3))), {})
