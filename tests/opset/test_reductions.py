from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import ml_dtypes
import numpy as np
import pytest

import opmux as ox
from opmux.opset import decompositions
from opmux.opset.orders import canonical_prod
from opmux.opset.recipes.pairs import run_on_pairs

SPECIAL = np.array([[0.0, -0.0, 1.5], [-0.0, -np.inf, -2.0], [np.nan, 1.0, np.inf], [-0.0, -0.0, -0.0]], np.float32)


@pytest.mark.parametrize("name", ["max", "min"])
@pytest.mark.parametrize("axis", [0, 1, (0, 1), ()])
def test_extremes_order_zeros_and_let_nan_win(
    name: str, axis: Any, meaning: Any, decomposed: Any, same_bits: Any
) -> None:
    wanted = meaning(name, SPECIAL, axis=axis)
    same_bits(
        decomposed(name, SPECIAL, axis=axis) if name == "min" else ox.max(ox.asarray(SPECIAL), axis=axis).numpy(),
        wanted,
    )
    same_bits(getattr(ox, name)(ox.asarray(SPECIAL), axis=axis).numpy(), wanted)


def test_max_of_negative_and_positive_zero_is_positive() -> None:
    for values in ([-0.0, 0.0], [0.0, -0.0]):
        assert not np.signbit(ox.max(ox.asarray(values)).item())
        assert np.signbit(ox.min(ox.asarray(values)).item())


@pytest.mark.parametrize("dtype", ["int8", "uint8", "int64", "uint64"])
def test_min_of_integers_decomposes_exactly_at_the_ends(dtype: str, decomposed: Any) -> None:
    info = np.iinfo(dtype)
    values = np.array([[info.max, info.min, 0], [info.max, info.max, 1]], dtype)
    np.testing.assert_array_equal(decomposed("min", values, axis=1), values.min(axis=1))


@pytest.mark.parametrize("n", [0, 1, 2, 3, 31, 63, 64, 65, 1000, 1024, 1025, 3000, 5121])
def test_prod_decomposes_into_the_canonical_order(n: int, decomposed: Any, same_bits: Any) -> None:
    values = np.random.default_rng(n).uniform(0.9, 1.1, (2, n)).astype(np.float32)
    same_bits(decomposed("prod", values, axis=1), canonical_prod(values, 1))


@pytest.mark.parametrize("n", [0, 1, 2, 3, 31, 63, 64, 65, 1000, 1024, 1025, 3000, 5121])
def test_complex_prod_decomposes_into_the_canonical_order(n: int) -> None:
    values = np.exp(1j * np.random.default_rng(n).uniform(0, 7, (2, n))).astype(np.complex64)
    over = SimpleNamespace(**vars(ox))
    over.multiply = lambda *pair: run_on_pairs(ox, "multiply", pair)  # NumPy's own product is not the canonical one
    found = decompositions.prod(over, ox.asarray(values), axis=(1,), dtype=ox.complex64, keepdims=False)
    assert found.numpy().tobytes() == canonical_prod(values, 1).tobytes()


def test_complex_prod_of_infinity_is_infinity(decomposed: Any) -> None:
    values = np.array([2 + 3j, complex(np.inf, -0.0), 1 + 1j])  # a factor of 1 + 0i beside the second would give NaN
    assert decomposed("prod", values, axis=0) == complex(-np.inf, np.inf) == canonical_prod(values)


@pytest.mark.parametrize("dtype", [np.float16, ml_dtypes.bfloat16])
def test_prod_of_narrow_floats_is_rounded_once(dtype: Any, decomposed: Any, same_bits: Any) -> None:
    values = np.random.default_rng(1).uniform(0.9, 1.1, (70, 3)).astype(dtype)
    same_bits(decomposed("prod", values, axis=0, keepdims=True), canonical_prod(values, 0)[None])


def test_prod_over_several_axes_of_integers_wraps(decomposed: Any) -> None:
    values = np.arange(1, 25, dtype=np.int32).reshape(2, 3, 4)
    wanted = values.astype(np.int64).prod(axis=(0, 2))
    np.testing.assert_array_equal(decomposed("prod", values, axis=(0, 2)), wanted)
    wrapped = ox.prod(ox.asarray(values), axis=(0, 2), dtype=ox.int8)
    np.testing.assert_array_equal(wrapped.numpy(), wanted.astype(np.int8))


@pytest.mark.parametrize("name", ["all", "any"])
@pytest.mark.parametrize("shape", [(3, 4), (0, 4), (3, 0), ()])
def test_truth_over_axes(name: str, shape: tuple[int, ...], decomposed: Any) -> None:
    values = (np.random.default_rng(0).integers(0, 3, shape)).astype(np.float32)
    for axis in (None, (), *([0, 1] if shape else [])):
        wanted = getattr(np, name)(values != 0, axis=axis)
        np.testing.assert_array_equal(decomposed(name, values, axis=axis), wanted)
        np.testing.assert_array_equal(getattr(ox, name)(ox.asarray(values), axis=axis).numpy(), wanted)


@pytest.mark.parametrize("dtype", ["float32", "complex64", "float8_e5m2", "int8", "bool"])
def test_truth_takes_every_dtype_and_nan_is_true(dtype: str) -> None:
    x = ox.astype(ox.asarray([0.0, float("nan")]), "float32")
    given = (
        ox.cast(x, getattr(ox, dtype) if dtype != "bool" else "bool")
        if dtype != "int8"
        else ox.asarray([0, 5], dtype=ox.int8)
    )
    assert ox.any(given).item() is True
    assert ox.all(given).item() is False


@pytest.mark.parametrize("name", ["argmax", "argmin"])
@pytest.mark.parametrize("keepdims", [False, True])
def test_positions_are_the_first_and_nan_wins(name: str, keepdims: bool, decomposed: Any) -> None:
    values = np.array([[3.0, 1.0, 3.0, 1.0], [0.0, -0.0, 0.0, -0.0], [1.0, np.nan, 9.0, np.nan]], np.float32)
    wanted = getattr(np, name)(values, axis=1, keepdims=keepdims)
    found = decomposed(name, values, axis=1, keepdims=keepdims)
    assert found.dtype == np.int64
    np.testing.assert_array_equal(found, wanted)
    np.testing.assert_array_equal(getattr(ox, name)(ox.asarray(values), axis=-1, keepdims=keepdims).numpy(), wanted)


def test_position_in_the_whole_array() -> None:
    x = ox.asarray(np.array([[1, 5], [9, 2]]).T)
    assert ox.argmax(x).item() == 1
    assert ox.argmin(x, keepdims=True).shape == (1, 1)
    out = ox.zeros((1, 1), dtype=ox.int64)
    assert ox.argmax(x, keepdims=True, out=out).tolist() == [[1]]


@pytest.mark.parametrize(
    ("given", "expected"),
    [("bool", "int64"), ("int8", "int64"), ("uint8", "uint64"), ("float16", "float16"), ("float64", "float64")],
)
def test_sums_answer_in_the_standards_dtype(given: str, expected: str) -> None:
    x = ox.asarray(np.ones(3, given))
    assert ox.sum(x).dtype.name == expected
    assert ox.cumulative_sum(x).dtype.name == expected
    assert float(ox.sum(x)) == 3.0


def test_sum_with_a_dtype_casts_the_operand_first() -> None:
    assert ox.sum(ox.asarray([0.75, 0.75, 0.75]), dtype=ox.int32).item() == 0
    assert ox.sum(ox.asarray(np.full(3, 200, np.uint8)), dtype=ox.uint8).item() == 600 % 256


@pytest.mark.parametrize(
    ("call", "error", "word"),
    [
        (lambda: ox.max(ox.zeros((2, 0)), axis=1), ox.ShapeError, "no elements"),
        (lambda: ox.argmax(ox.zeros((0,))), ox.ShapeError, "no elements"),
        (lambda: ox.sum(ox.zeros((2, 2)), axis=2), ox.AxisError, "out of range"),
        (lambda: ox.sum(ox.zeros((2, 2)), axis=(0, 0)), ox.AxisError, "twice"),
        (lambda: ox.sum(ox.zeros(2), dtype="bool"), ox.DTypeError, "bool"),
        (lambda: ox.max(ox.zeros(2, dtype="complex64")), ox.DTypeError, "complex64"),
        (lambda: ox.argmax([1, 2]), ox.ArgumentTypeError, "list"),
    ],
)
def test_reductions_refuse(call: Any, error: type[Exception], word: str) -> None:
    with pytest.raises(error, match=word):
        call()
