from __future__ import annotations

from typing import Any

import ml_dtypes
import numpy as np
import pytest

import opmux as ox

SHAPES = [
    ((3,), (3,)), ((3,), (3, 2)), ((2, 3), (3,)), ((2, 3), (3, 4)), ((5, 2, 3), (3,)), ((3,), (5, 3, 2)),
    ((5, 1, 2, 3), (4, 3, 2)), ((0, 2, 3), (3, 2)), ((2, 0), (0, 3)), ((0, 3), (3, 0)),
]  # fmt: skip


@pytest.mark.parametrize(("a", "b"), SHAPES)
def test_shapes_are_those_of_numpy(a: tuple[int, ...], b: tuple[int, ...]) -> None:
    rng = np.random.default_rng(0)
    x, y = rng.integers(-9, 9, a).astype(np.float32), rng.integers(-9, 9, b).astype(np.float32)
    found = ox.matmul(ox.asarray(x), ox.asarray(y)).numpy()
    np.testing.assert_array_equal(found, np.matmul(x, y))
    assert found.shape == np.matmul(x, y).shape


def test_strided_operands() -> None:
    x = np.arange(24, dtype=np.float64).reshape(4, 6)
    a = ox.asarray(x)
    np.testing.assert_array_equal(ox.matmul(a, ox.matrix_transpose(a)).numpy(), x @ x.T)
    np.testing.assert_array_equal(ox.matmul(ox.flip(a, axis=0), a[:, ::-1].mT).numpy(), x[::-1] @ x[:, ::-1].T)


@pytest.mark.parametrize(
    ("given", "result"), [("int8", "int32"), ("uint8", "int32"), ("int8", "int64"), ("float16", "float32")]
)
def test_result_dtype_is_the_accumulators(given: str, result: str) -> None:
    x = np.full((2, 300), 100, given)
    found = ox.matmul(ox.asarray(x), ox.asarray(x.T), dtype=result)
    assert found.dtype.name == result
    assert found.tolist() == [[3e6, 3e6]] * 2


def test_integers_wrap_without_a_wider_dtype() -> None:
    x = ox.asarray(np.full((1, 3), 100, np.int8))
    assert ox.matmul(x, x.mT).item() == int(np.array(30000).astype(np.int8))


@pytest.mark.parametrize("dtype", [np.float16, ml_dtypes.bfloat16])
def test_narrow_floats_accumulate_in_float32(dtype: Any) -> None:
    # One, then 4,000 terms that each vanish beside it in the narrow dtype.
    x = np.concatenate([[1.0], np.full(4000, 2.0**-12)]).astype(dtype)[None]
    found = ox.matmul(ox.asarray(x), ox.asarray(np.ones_like(x).T)).item()
    assert found == float(np.array(1 + 4000 / 4096).astype(dtype))


def test_mixed_operands_promote() -> None:
    found = ox.matmul(ox.asarray([[1.5]], dtype=ox.float32), ox.asarray([[2.0]], dtype=ox.float64))
    assert (found.dtype, found.item()) == (ox.float64, 3.0)


def test_out_takes_the_result_of_a_matrix_and_of_a_vector() -> None:
    a = ox.asarray([[1.0, 2.0], [3.0, 4.0]])
    assert ox.matmul(a, a, out=ox.zeros((2, 2))).tolist() == [[7.0, 10.0], [15.0, 22.0]]
    assert ox.matmul(a, a[0], out=ox.zeros(2)).tolist() == [5.0, 11.0]
    with pytest.raises(ox.OpmuxError, match="out="):
        ox.matmul(a, a[0], out=ox.zeros(3))


@pytest.mark.parametrize(
    ("call", "error", "word"),
    [
        (lambda: ox.matmul(ox.zeros((2, 3)), ox.zeros((2, 3))), ox.ShapeError, "contracted lengths are 3 and 2"),
        (lambda: ox.matmul(ox.zeros((2, 2, 3)), ox.zeros((3, 3, 2))), ox.ShapeError, "do not broadcast"),
        (lambda: ox.matmul(ox.zeros(()), ox.zeros(3)), ox.ShapeError, "without axes"),
        (lambda: ox.matmul(ox.zeros((2, 2)), ox.zeros((2, 2), dtype="int8")), ox.DTypeError, "promote"),
        (lambda: ox.matmul(ox.zeros((2, 2)), ox.zeros((2, 2)), dtype="float16"), ox.DTypeError, "wider"),
        (lambda: ox.matmul(ox.zeros((2, 2), dtype="bool"), ox.zeros((2, 2), dtype="bool")), ox.DTypeError, "bool"),
        (lambda: ox.matmul(ox.zeros((2, 2)), [[1]]), ox.ArgumentTypeError, "list"),
    ],
)
def test_matmul_refuses(call: Any, error: type[Exception], word: str) -> None:
    with pytest.raises(error, match=word):
        call()
