"""Overflow, division by zero, shifts and casts out of range: one stated value, on every backend."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import pytest

import opmux as ox
from opmux.core.dtypes import INTEGERS, element_limits

BACKENDS = ("numpy", "llvm")
ORDINARY = (0, 1, -1, 2, -2, 3, 7, 8, 15, 16, 31, 32, 63, 64, 65, 100)


def _wrapped(value: int, t: ox.DType) -> int:
    low, high = element_limits(t)
    return (value - low) % (high - low + 1) + low


def _power(x: int, y: int) -> int:
    """An integer to a negative power is 0 unless the base is 1 or -1; large powers modulo 2**64."""
    if y < 0:
        return {1: 1, -1: -1 if y % 2 else 1}.get(x, 0)
    return pow(x, y, 1 << 64)


def _shifted_right(x: int, y: int) -> int:
    return x >> y if 0 <= y < 64 else -(x < 0)


MEANING: dict[str, Callable[[int, int, int], int]] = {
    "add": lambda x, y, bits: x + y,
    "subtract": lambda x, y, bits: x - y,
    "multiply": lambda x, y, bits: x * y,
    "floor_divide": lambda x, y, bits: x // y if y else 0,
    "remainder": lambda x, y, bits: x % y if y else 0,
    "pow": lambda x, y, bits: _power(x, y),
    "bitwise_left_shift": lambda x, y, bits: x << y if 0 <= y < bits else 0,
    "bitwise_right_shift": lambda x, y, bits: _shifted_right(x, y) if y < bits else -(x < 0),
    "maximum": lambda x, y, bits: max(x, y),
    "bitwise_xor": lambda x, y, bits: x ^ y,
}


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("t", INTEGERS, ids=str)
@pytest.mark.parametrize("name", MEANING)
def test_integers_at_their_limits(name: str, t: ox.DType, backend: str) -> None:
    low, high = element_limits(t)
    values = sorted({v for v in (*ORDINARY, low, low + 1, high - 1, high, high // 2) if low <= v <= high})
    pairs = list(itertools.product(values, values))
    x, y = (ox.asarray(list(column), dtype=t) for column in zip(*pairs, strict=True))
    with ox.policy(backends=backend):
        found = getattr(ox, name)(x, y).tolist()
    assert found == [_wrapped(MEANING[name](a, b, t.bits), t) for a, b in pairs]


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("t", INTEGERS, ids=str)
def test_unary_ops_and_reductions_wrap(t: ox.DType, backend: str) -> None:
    low, high = element_limits(t)
    x = ox.asarray([low, high, 0, 1], dtype=t)
    with ox.policy(backends=backend):
        assert ox.abs(x).tolist() == [_wrapped(abs(v), t) for v in (low, high, 0, 1)]
        assert ox.square(x).tolist() == [_wrapped(v * v, t) for v in (low, high, 0, 1)]
        assert ox.sum(ox.asarray([high, high], dtype=t), dtype=t).item() == _wrapped(2 * high, t)
        assert ox.prod(ox.asarray([high, 3], dtype=t), dtype=t).item() == _wrapped(3 * high, t)
        assert ox.cumulative_sum(ox.asarray([high, 1], dtype=t), dtype=t).tolist() == [high, low]


@pytest.mark.parametrize("backend", BACKENDS)
def test_default_sums_of_64_bits_wrap(backend: str) -> None:
    with ox.policy(backends=backend):
        assert ox.sum(ox.asarray([2**63 - 1, 1])).item() == -(2**63)
        assert ox.sum(ox.asarray([2**64 - 1, 2], dtype="uint64")).item() == 1
        assert ox.prod(ox.asarray([2**32, 2**32])).item() == 0
    with ox.policy(backends=(backend, "numpy")):
        big = ox.asarray([[2**62, 2**62]])
        assert ox.matmul(big, ox.asarray([[2], [1]])).item() == -(2**62)


FLOATS = {
    "float16": 65504.0,
    "bfloat16": 3.3895313892515355e38,
    "float32": 3.4028234663852886e38,
    "float64": 1.7976931348623157e308,
}


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("dtype", FLOATS)
def test_floats_overflow_to_infinity_and_divide_by_zero(dtype: str, backend: str) -> None:
    x = ox.asarray([FLOATS[dtype], -FLOATS[dtype], 0.0, -0.0, 1.0], dtype=dtype)
    with ox.policy(backends=backend):
        assert ox.multiply(x, 2.0).tolist()[:2] == [float("inf"), float("-inf")]
        assert ox.add(x, x).tolist()[:2] == [float("inf"), float("-inf")]
        assert str(ox.divide(x, ox.zeros(5, dtype=dtype)).tolist()) == "[inf, -inf, nan, nan, inf]"
        assert str(ox.remainder(x, 0.0).tolist()) == "[nan, nan, nan, nan, nan]"
        assert str(ox.reciprocal(x).tolist()[2:]) == "[inf, -inf, 1.0]"
        assert str(ox.log(x).tolist()[2:]) == "[-inf, -inf, 0.0]"
        assert str(ox.sqrt(ox.negative(x)).tolist()[2:]) == "[-0.0, 0.0, nan]"


def _saturated(value: float, t: ox.DType) -> int:
    low, high = element_limits(t)
    if value != value:
        return 0
    return low if value < low else high if value > high else int(value)


VALUES = [
    float("nan"), float("inf"), float("-inf"), 0.0, -0.0, 0.5, -0.5, 127.5, 128.0, -128.0, -129.0, 255.5, 256.0, -1.0,
    32768.0, -32769.0, 65535.0, 65536.0, 2.0**31, -(2.0**31) - 4096, 2.0**32, 2.0**63, -(2.0**63), 2.0**64, 1e30, -1e30,
]  # fmt: skip


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("source", ["float16", "bfloat16", "float32", "float64"])
@pytest.mark.parametrize("t", INTEGERS, ids=str)
def test_casts_out_of_range_saturate_and_nan_is_zero(t: ox.DType, source: str, backend: str) -> None:
    x = ox.asarray(VALUES, dtype=source)
    with ox.policy(backends=backend):
        assert ox.cast(x, t).tolist() == [_saturated(v, t) for v in x.tolist()]


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("source", INTEGERS, ids=str)
@pytest.mark.parametrize("t", INTEGERS, ids=str)
def test_casts_between_integers_keep_the_low_bits(t: ox.DType, source: ox.DType, backend: str) -> None:
    low, high = element_limits(source)
    values = [low, high, high - 1, high // 3, 0, 1]
    with ox.policy(backends=backend):
        assert ox.cast(ox.asarray(values, dtype=source), t).tolist() == [_wrapped(v, t) for v in values]


@pytest.mark.parametrize("backend", BACKENDS)
def test_casts_to_bool_hold_for_everything_but_zero(backend: str) -> None:
    with ox.policy(backends=backend):
        for dtype in ("float32", "float16", "float64"):
            x = ox.asarray([float("nan"), float("inf"), -0.0, 0.0, 1e-7], dtype=dtype)
            assert ox.cast(x, ox.bool).tolist() == [True, True, False, False, True]
