from __future__ import annotations

from fractions import Fraction
from typing import Any

import ml_dtypes
import numpy as np
import pytest

import opmux as ox
from opmux.core.dtypes import ALL, BY_NAME

SPECIAL = [
    0.0,
    -0.0,
    1.5,
    -1.5,
    2.5,
    127.9,
    128.0,
    -129.0,
    255.9,
    1e9,
    -1e9,
    2.0**63,
    -(2.0**63),
    1e30,
    -1e30,
    np.nan,
    np.inf,
    -np.inf,
]


def nearest(value: Fraction, candidates: list[tuple[Fraction, int]]) -> int:
    """Return the bits of the nearest candidate; of two equally near ones, those that are even."""
    best = min(abs(c - value) for c, _ in candidates)
    near = [bits for c, bits in candidates if abs(c - value) == best]
    return next((b for b in near if b % 2 == 0), near[0])


@pytest.mark.parametrize("dtype", ["int8", "int32", "int64", "uint8", "uint64"])
@pytest.mark.parametrize("source", [np.float64, np.float32, np.float16, ml_dtypes.bfloat16])
def test_floats_saturate_and_nan_is_zero(dtype: str, source: Any, meaning: Any) -> None:
    with np.errstate(over="ignore"):
        x = np.array(SPECIAL).astype(source)
    low, high = np.iinfo(dtype).min, np.iinfo(dtype).max

    def exact(v: float) -> int:
        return 0 if np.isnan(v) else high if v == np.inf else low if v == -np.inf else max(low, min(high, int(v)))

    wanted = np.array([exact(float(v)) for v in x], dtype)
    np.testing.assert_array_equal(meaning("cast", x, dtype=BY_NAME[dtype]), wanted)
    np.testing.assert_array_equal(ox.cast(ox.asarray(x), dtype).numpy(), wanted)


@pytest.mark.parametrize("target", ["float8_e4m3fn", "float8_e5m2"])
@pytest.mark.parametrize("source", ["float64", "float32", "float16", "int32"])
def test_float8_is_the_nearest_value(target: str, source: str, meaning: Any) -> None:
    layout = BY_NAME[target].numpy
    finite = [
        (Fraction(float(np.uint8(b).view(layout))), b)
        for b in range(128)
        if np.isfinite(np.uint8(b).view(layout).astype(float))
    ]
    largest = float(finite[-1][0])
    rng = np.random.default_rng(0)
    x = (rng.uniform(-1, 1, 300) * 2.0 ** rng.integers(-18, 8, 300)).astype(source)
    x = np.concatenate([x, np.array([1.0625, 1.0625 + 2.0**-30, 1.1875, largest, -largest]).astype(source)])
    x = x[np.abs(x.astype(float)) <= largest]
    wanted = [nearest(Fraction(float(abs(v))), finite) | (0x80 if np.signbit(float(v)) else 0) for v in x]
    found = meaning("cast", x, dtype=BY_NAME[target]).view(np.uint8).tolist()
    assert found == wanted
    assert ox.cast(ox.asarray(x), target).numpy().view(np.uint8).tolist() == wanted


@pytest.mark.parametrize("target", [t.name for t in ALL])
@pytest.mark.parametrize("source", ["float8_e4m3fn", "float8_e5m2"])
def test_every_float8_value_in_every_dtype(source: str, target: str, meaning: Any, same_bits: Any) -> None:
    x = np.arange(256, dtype=np.uint8).view(BY_NAME[source].numpy)
    found, wanted = ox.cast(ox.asarray(x), target).numpy(), meaning("cast", x, dtype=BY_NAME[target])
    if "complex" in target:
        np.testing.assert_array_equal(found, wanted)
    else:
        same_bits(found, wanted)


def test_float8_beyond_the_largest() -> None:
    x = ox.asarray([448.0, 464.0, 464.1, 1e9, -1e9, float("inf")])
    e4m3 = ox.cast(ox.cast(x, ox.float8_e4m3fn), ox.float32).tolist()
    assert e4m3[:2] == [448.0, 448.0]
    assert np.isnan(e4m3[2:]).all()
    y = ox.cast(ox.cast(ox.asarray([57344.0, 61439.0, 61440.0]), ox.float8_e5m2), ox.float32).tolist()
    assert y == [57344.0, 57344.0, float("inf")]


@pytest.mark.parametrize("target", ["bfloat16", "float8_e4m3fn"])
def test_wide_values_are_rounded_once(target: str, meaning: Any) -> None:
    # Just above a tie of the target, by less than float32 can see.
    half_step = 2.0 ** -(9 if target == "bfloat16" else 4)
    step = 2.0 * half_step if target != "bfloat16" else 2.0**-7
    tie = 1 + step / 2
    x = np.array([tie + 2.0**-40, tie - 2.0**-40, tie])
    wanted = [1 + step, 1.0, 1.0]
    assert meaning("cast", x, dtype=BY_NAME[target]).astype(float).tolist() == wanted
    assert ox.cast(ox.asarray(x), target).numpy().astype(float).tolist() == wanted


def test_integers_wrap_and_round() -> None:
    x = ox.asarray([-1, 256, 2**40 + 5])
    assert ox.cast(x, ox.uint8).tolist() == [255, 0, 5]
    assert ox.cast(x, ox.uint64).tolist() == [2**64 - 1, 256, 2**40 + 5]
    big = ox.asarray([2**24 + 1, 2**62 + 1])
    assert ox.cast(big, ox.float32).tolist() == [2.0**24, 2.0**62]


@pytest.mark.parametrize("source", [t.name for t in ALL])
def test_bool_is_everything_but_zero(source: str) -> None:
    x = ox.cast(ox.asarray([0.0, 1.0]), source)
    assert ox.cast(x, "bool").tolist() == [False, True]
    if "float" in source or "complex" in source:
        assert ox.cast(ox.cast(ox.asarray([-0.0, float("nan")]), source), "bool").tolist() == [False, True]


def test_bitcast_there_and_back_keeps_nan_payloads() -> None:
    bits = np.array([0x7FA00001, 0xFFC12345, 1], np.uint32)
    x = ox.bitcast(ox.asarray(bits), ox.float32)
    assert x.dtype is ox.float32
    np.testing.assert_array_equal(ox.bitcast(x[::-1], ox.int32).numpy().view(np.uint32), bits[::-1])
    assert ox.bitcast(ox.asarray(1.0), ox.uint32).shape == ()


@pytest.mark.parametrize(
    ("call", "word"),
    [
        (lambda: ox.cast(ox.zeros(1, dtype="complex64"), "float32"), "imaginary"),
        (lambda: ox.bitcast(ox.zeros(1), "int64"), "32 bits"),
        (lambda: ox.bitcast(ox.zeros(1, dtype="uint8"), "bool"), "bool"),
        (lambda: ox.cast(ox.zeros(1), "float31"), "known dtypes"),
    ],
)
def test_casts_refuse(call: Any, word: str) -> None:
    with pytest.raises(ox.DTypeError, match=word):
        call()
