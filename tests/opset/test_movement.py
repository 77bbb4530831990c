from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import opmux as ox

NAN, INF = float("nan"), float("inf")


def test_concat_promotes_and_flattens() -> None:
    a, b = ox.asarray([[1, 2]], dtype=ox.int8), ox.asarray([[3, 4]], dtype=ox.uint8)
    assert ox.concat([a, b]).dtype is ox.int16
    assert ox.concat([a, b], axis=-1).tolist() == [[1, 2, 3, 4]]
    assert ox.concat((a, ox.asarray([5], dtype=ox.int8)), axis=None).tolist() == [1, 2, 5]


def test_concat_of_strided_storage_floats() -> None:
    x = ox.cast(ox.asarray([1.0, 2.0, 3.0]), ox.float8_e5m2)
    joined = ox.concat([ox.flip(x), x])
    assert ox.cast(joined, ox.float32).tolist() == [3.0, 2.0, 1.0, 1.0, 2.0, 3.0]


@pytest.mark.parametrize("widths", [1, (2, 0), ((0, 1), (3, 2))])
@pytest.mark.parametrize("value", [0, 7])
def test_pad_is_numpys(widths: Any, value: int) -> None:
    x = np.arange(6).reshape(2, 3)
    wanted = np.pad(x, widths, constant_values=value)
    np.testing.assert_array_equal(ox.pad(ox.asarray(x), widths, value).numpy(), wanted)
    given = ox.asarray(value, dtype=ox.int64)
    np.testing.assert_array_equal(ox.pad(ox.asarray(x), widths, value=given).numpy(), wanted)


def test_pad_of_bool_and_storage_takes_the_default() -> None:
    assert ox.pad(ox.asarray([True]), 1).tolist() == [False, True, False]
    x = ox.cast(ox.asarray([1.0]), ox.float8_e4m3fn)
    assert ox.cast(ox.pad(x, (0, 1), 2.0), ox.float32).tolist() == [1.0, 2.0]


@pytest.mark.parametrize(
    ("mode", "wanted"), [("clip", [10, 30, 10, 30, 10]), ("wrap", [10, 30, 20, 10, 30]), ("fill", [10, 30, 0, 0, 0])]
)
def test_gather_modes_beyond_the_ends(mode: str, wanted: list[int]) -> None:
    x, at = ox.asarray([10, 20, 30]), ox.asarray([0, -1, -5, 3, -7])
    assert ox.gather(x, at, mode=mode).tolist() == wanted


@pytest.mark.parametrize("mode", ["clip", "wrap", "fill"])
@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize("dtype", ["int8", "uint32", "int64"])
def test_gather_agrees_with_its_meaning(mode: str, axis: int, dtype: str, meaning: Any) -> None:
    rng = np.random.default_rng(0)
    x = rng.standard_normal((3, 4, 5)).astype(np.float32)
    at = rng.integers(0 if dtype[0] == "u" else -9, 9, (2, 3)).astype(dtype)
    found = ox.gather(
        ox.permute_dims(ox.asarray(x.transpose(2, 0, 1)), (1, 2, 0)), ox.asarray(at), axis=axis, mode=mode
    )
    np.testing.assert_array_equal(found.numpy(), meaning("gather", x, at, axis=axis, mode=mode))


FAR = np.array([2**63, 2**64 - 1, 2**63 - 1, 1, 2**64 - 2], np.uint64)


@pytest.mark.parametrize("backend", ["numpy", "llvm"])
@pytest.mark.parametrize(
    ("mode", "wanted"),
    [("clip", [30, 30, 30, 20, 30]), ("fill", [0, 0, 0, 20, 0]), ("wrap", [10 * (1 + int(i) % 3) for i in FAR])],
)
def test_unsigned_indices_never_count_from_the_end(backend: str, mode: str, wanted: list[int]) -> None:
    x, at = ox.asarray([10, 20, 30]), ox.asarray(FAR)
    with ox.policy(pins={"gather": backend}):
        assert ox.gather(x, at, mode=mode).tolist() == wanted
    rows = ox.asarray([[10, 0], [20, 0], [30, 0]])
    assert ox.gather(rows, at, axis=-2, mode=mode)[:, 0].tolist() == wanted


@pytest.mark.parametrize("backend", ["numpy", "llvm"])
@pytest.mark.parametrize(("mode", "wanted"), [("drop", [0, 4, 0]), ("clip", [0, 4, 11]), ("wrap", [2, 7, 6])])
def test_unsigned_indices_never_scatter_from_the_end(backend: str, mode: str, wanted: list[int]) -> None:
    updates = ox.asarray([1, 2, 3, 4, 5])  # at 2, 0, 1, 1 and 2 modulo 3
    with ox.policy(pins={"scatter": backend}):
        made = ox.scatter(ox.zeros(3, dtype=ox.int64), ox.asarray(FAR), updates, mode=mode, reduction="add")
    assert made.tolist() == wanted


def test_unsigned_indices_are_beyond_the_end_for_whatever_chooses() -> None:
    x, at = ox.asarray([10, 20, 30]), ox.asarray(FAR)
    assert ox.take(x, at).tolist() == [30, 30, 30, 20, 30]
    assert ox.take_along_axis(x, at).tolist() == [30, 30, 30, 20, 30]
    found = ox.searchsorted(x, ox.asarray([25]), sorter=ox.asarray(np.array([0, 1, 2**64 - 3], np.uint64)))
    assert found.tolist() == [2]
    assert ox.compile(ox.take)(x, at).tolist() == [30, 30, 30, 20, 30]
    assert ox.gather(ox.zeros(0), at, mode="fill").tolist() == [0.0] * 5


def test_gather_from_nothing_fills() -> None:
    assert ox.gather(ox.zeros((0,)), ox.asarray([1, 2]), mode="fill").tolist() == [0.0, 0.0]
    assert ox.gather(ox.zeros((0, 2)), ox.zeros((0,), dtype=ox.int64)).shape == (0, 2)
    with pytest.raises(ox.ShapeError, match="no elements"):
        ox.gather(ox.zeros((0,)), ox.asarray([0]))


@pytest.mark.parametrize("reduction", ["set", "add", "multiply", "min", "max"])
@pytest.mark.parametrize("mode", ["drop", "clip", "wrap"])
@pytest.mark.parametrize("dtype", ["float32", "int8", "float16"])
def test_scatter_agrees_with_its_meaning(reduction: str, mode: str, dtype: str, meaning: Any, same_bits: Any) -> None:
    rng = np.random.default_rng(3)
    x = rng.integers(-4, 5, (3, 4, 2)).astype(dtype)
    at = rng.integers(-6, 7, (2, 5)).astype(np.int32)
    updates = rng.integers(-3, 4, (3, 2, 5, 2)).astype(dtype)
    given = {"axis": 1, "mode": mode, "reduction": reduction}
    found = ox.scatter(ox.asarray(x), ox.asarray(at), ox.asarray(updates), **given)
    same_bits(found.numpy(), meaning("scatter", x, at, updates, **given))


def test_scatter_applies_repeated_indices_in_order() -> None:
    x, at = ox.zeros(3), ox.asarray([[1, 1], [2, 1]])
    assert ox.scatter(x, at, ox.asarray([[5.0, 6.0], [7.0, 8.0]])).tolist() == [0.0, 8.0, 7.0]
    big = ox.asarray([1.0, 1e8, -1e8])
    assert ox.scatter(ox.zeros(1), ox.asarray([0, 0, 0]), big, reduction="add").tolist() == [0.0]
    assert ox.scatter(ox.zeros(1), ox.asarray([0, 0, 0]), ox.flip(big), reduction="add").tolist() == [1.0]


def test_scatter_of_narrow_floats_accumulates_in_float32() -> None:
    x = ox.ones(1, dtype=ox.float16)
    at = ox.zeros(1024, dtype=ox.int32)
    assert ox.scatter(x, at, 2.0**-12, reduction="add").item() == 1.25


def test_scatter_broadcasts_updates_and_leaves_the_operand() -> None:
    x = ox.zeros((2, 3))
    assert ox.scatter(x, ox.asarray([-1]), 4.0, axis=1).tolist() == [[0.0, 0.0, 4.0]] * 2
    assert x.tolist() == [[0.0] * 3] * 2


VALUES = np.array([[2.0, NAN, -INF, 0.0, -0.0, 1.0], [NAN, 3.0, 3.0, NAN, INF, -1.0]])


@pytest.mark.parametrize("dtype", ["float64", "float32", "float16", "int8", "uint64"])
@pytest.mark.parametrize("descending", [False, True])
@pytest.mark.parametrize("axis", [0, 1])
def test_sorting_agrees_with_its_meaning(
    dtype: str, descending: bool, axis: int, meaning: Any, decomposed: Any, same_bits: Any
) -> None:
    x = VALUES.astype(dtype) if "f" in dtype else np.array([[0, 255, 7, 7], [128, 1, 0, 3]], np.uint8).astype(dtype)
    attributes = {"axis": axis, "descending": descending}
    wanted = meaning("sort", x, **attributes)
    same_bits(ox.sort(ox.asarray(x), **attributes).numpy(), wanted)
    same_bits(decomposed("sort", x, **attributes), wanted)
    same_bits(ox.argsort(ox.asarray(x), **attributes).numpy(), meaning("argsort", x, **attributes))


def test_nan_is_last_in_both_directions_and_equal_elements_keep_their_order() -> None:
    x = ox.asarray([1.0, NAN, 0.0, -0.0, 3.0])
    assert ox.argsort(x).tolist() == [2, 3, 0, 4, 1]
    assert ox.argsort(x, descending=True).tolist() == [4, 0, 2, 3, 1]
    smallest = ox.asarray([-128, 127, 0], dtype=ox.int8)
    assert ox.sort(smallest, descending=True).tolist() == [127, 0, -128]


@pytest.mark.parametrize("side", ["left", "right"])
@pytest.mark.parametrize("n", [0, 1, 2, 3, 7, 8, 9, 100])
def test_searching_agrees_with_its_meaning(side: str, n: int, meaning: Any, decomposed: Any) -> None:
    rng = np.random.default_rng(n)
    line = np.sort(rng.integers(0, n // 2 + 1, n).astype(np.float32))
    line[n - n // 5 :] = np.nan
    values = np.array([[-1.0, 0.0, 1.0, 2.5], [n / 2, n, np.nan, np.inf]], np.float32)
    wanted = meaning("searchsorted", line, values, side=side)
    np.testing.assert_array_equal(wanted, np.searchsorted(line, values, side=side))
    np.testing.assert_array_equal(decomposed("searchsorted", line, values, side=side), wanted)
    np.testing.assert_array_equal(ox.searchsorted(ox.asarray(line), ox.asarray(values), side=side).numpy(), wanted)


def test_searching_through_a_sorter() -> None:
    x = ox.asarray([5, 1, 3])
    assert ox.searchsorted(x, ox.asarray([2, 4]), sorter=ox.argsort(x)).tolist() == [1, 2]


def test_copy_is_contiguous_and_keeps_nan_payloads() -> None:
    bits = np.array([0x7FC00001, 0xFFC12345, 0x80000000], np.uint32)
    x = ox.asarray(bits.view(np.float32))[::-1]
    y = ox.copy(x)
    assert y.strides == (1,)
    np.testing.assert_array_equal(y.numpy().view(np.uint32), bits[::-1])


@pytest.mark.parametrize("axis", [0, 1, 2, -1])
def test_take_along_axis_is_numpys(axis: int) -> None:
    rng = np.random.default_rng(0)
    x = rng.standard_normal((3, 4, 5))
    shape = list(x.shape)
    shape[axis] = 2
    at = rng.integers(-x.shape[axis], x.shape[axis], shape)
    found = ox.take_along_axis(ox.asarray(x), ox.asarray(at), axis=axis)
    np.testing.assert_array_equal(found.numpy(), np.take_along_axis(x, at, axis))


def test_take_along_axis_broadcasts() -> None:
    x, at = np.arange(6.0).reshape(2, 3), np.array([[2, 0]])
    np.testing.assert_array_equal(ox.take_along_axis(ox.asarray(x), ox.asarray(at)).numpy(), x[:, [2, 0]])


def test_joining_and_repeating_are_numpys() -> None:
    x = np.arange(6).reshape(2, 3)
    a = ox.asarray(x)
    np.testing.assert_array_equal(ox.stack([a, a], axis=-1).numpy(), np.stack([x, x], axis=-1))
    np.testing.assert_array_equal(ox.roll(a, (1, -2), axis=(0, 1)).numpy(), np.roll(x, (1, -2), axis=(0, 1)))
    np.testing.assert_array_equal(ox.roll(a, 4).numpy(), np.roll(x, 4))
    np.testing.assert_array_equal(ox.repeat(a, 2, axis=1).numpy(), np.repeat(x, 2, axis=1))
    np.testing.assert_array_equal(ox.tile(a, (2, 1, 2)).numpy(), np.tile(x, (2, 1, 2)))
    np.testing.assert_array_equal(ox.take(a, ox.asarray([2, 0]), axis=1).numpy(), x[:, [2, 0]])


@pytest.mark.parametrize(
    ("call", "error", "word"),
    [
        (lambda: ox.concat([]), ox.ArgumentError, "no array"),
        (lambda: ox.concat([ox.zeros((2, 2)), ox.zeros((3, 3))]), ox.ShapeError, "operand 1"),
        (lambda: ox.concat([ox.zeros(2), ox.zeros(2, dtype="int8")]), ox.DTypeError, "promote"),
        (lambda: ox.concat(ox.zeros(2)), ox.ArgumentTypeError, "sequence"),
        (lambda: ox.pad(ox.zeros(2), -1), ox.ArgumentError, "pad_width"),
        (lambda: ox.pad(ox.zeros((2, 2)), ((1, 1),) * 3), ox.ArgumentError, "3 pairs"),
        (lambda: ox.pad(ox.zeros(2), 1, ox.zeros((), dtype="float64")), ox.DTypeError, "float64"),
        (lambda: ox.pad(ox.zeros(2, dtype="int8"), 1, 1.5), ox.DTypeError, "float"),
        (lambda: ox.gather(ox.zeros(2), ox.zeros(2)), ox.DTypeError, "indices"),
        (lambda: ox.gather(ox.zeros(2), ox.asarray([0]), mode="raise"), ox.ArgumentError, "'clip', 'wrap', 'fill'"),
        (lambda: ox.gather(ox.zeros(2), ox.asarray([0]), axis=1), ox.AxisError, "out of range"),
        (lambda: ox.scatter(ox.zeros(2), ox.asarray([0]), ox.zeros(3)), ox.ShapeError, "broadcast"),
        (lambda: ox.scatter(ox.zeros(2), ox.asarray([0]), ox.zeros(1, dtype="int8")), ox.DTypeError, "updates"),
        (lambda: ox.scatter(ox.zeros(2, dtype="bool"), ox.asarray([0]), True, reduction="add"), ox.DTypeError, "bool"),
        (lambda: ox.searchsorted(ox.zeros((2, 2)), ox.zeros(2)), ox.ShapeError, "one axis"),
        (lambda: ox.sort(ox.zeros(2, dtype="complex64")), ox.DTypeError, "complex64"),
        (lambda: ox.sort(ox.zeros(())), ox.AxisError, "no axes"),
        (lambda: ox.take_along_axis(ox.zeros((2, 2)), ox.asarray([0])), ox.ShapeError, "as many"),
    ],
)
def test_movement_refuses(call: Any, error: type[Exception], word: str) -> None:
    with pytest.raises(error, match=word):
        call()
