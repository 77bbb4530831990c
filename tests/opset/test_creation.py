from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import opmux as ox
from opmux.opset.philox import block, random_words

# The known answers that come with Random123 for philox4x32-10: counter, key, words.
KNOWN = [
    ((0, 0, 0, 0), (0, 0), (0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8)),
    ((0xFFFFFFFF,) * 4, (0xFFFFFFFF,) * 2, (0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD)),
    (
        (0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344),
        (0xA4093822, 0x299F31D0),
        (0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1),
    ),
]


def words(*values: int) -> np.ndarray[Any, Any]:
    return np.array(values, np.uint32)


@pytest.mark.parametrize(("counter", "key", "wanted"), KNOWN)
def test_philox_gives_the_published_words(counter: Any, key: Any, wanted: Any) -> None:
    assert block(counter, key) == wanted
    assert tuple(random_words(words(*key), words(*counter), 4)) == wanted
    found = ox.random_bits(ox.asarray(words(*key)), ox.asarray(words(*counter)), shape=(2, 2))
    assert tuple(found.numpy().ravel()) == wanted


def test_consecutive_blocks_carry_into_the_second_word_and_no_further() -> None:
    start, key = (0xFFFFFFFE, 0xFFFFFFFF, 5, 6), (1, 2)
    wanted = [w for c in ((0xFFFFFFFE, 0xFFFFFFFF), (0xFFFFFFFF, 0xFFFFFFFF), (0, 0)) for w in block((*c, 5, 6), key)]
    found = ox.random_bits(ox.asarray(words(*key)), ox.asarray(words(*start)), shape=11)
    assert found.tolist() == wanted[:11]
    assert random_words(words(*key), words(*start), (11,)).tolist() == wanted[:11]


def test_full_keeps_an_arrays_dtype_and_casts_on_request() -> None:
    value = ox.asarray(2.75, dtype=ox.float64)
    assert ox.full((2,), value).dtype is ox.float64
    assert ox.full(2, value, dtype=ox.int8).tolist() == [2, 2]
    assert ox.full((), True).dtype is ox.dtype("bool")
    assert ox.full((0, 3), 1).shape == (0, 3)


@pytest.mark.parametrize("axis", [0, 1, -1])
def test_iota_counts_along_its_axis(axis: int) -> None:
    wanted = np.broadcast_to(np.indices((2, 3))[axis], (2, 3))
    np.testing.assert_array_equal(ox.iota((2, 3), axis, dtype=ox.float32).numpy(), wanted)


def test_iota_wraps_integers_and_rounds_floats() -> None:
    assert ox.iota((300,), 0, dtype=ox.uint8)[299].item() == 299 - 256
    assert ox.iota((2050,), 0, dtype=ox.float16)[2049].item() == 2048.0


@pytest.mark.parametrize("arguments", [(5,), (2, 9, 3), (9, 2, -3), (3, 3), (5, 2), (-4, 4, 2)])
def test_integer_ranges_are_numpys(arguments: Any) -> None:
    found = ox.arange(*arguments)
    assert found.dtype is ox.int64
    np.testing.assert_array_equal(found.numpy(), np.arange(*arguments))


@pytest.mark.parametrize(
    ("arguments", "dtype"),
    [((250, 256), "uint8"), ((5, -1, -1), "uint8"), ((2**63, 2**63 + 6, 2), "uint64"), ((-128, 128, 5), "int8"),
     ((-(2**63), 2**63 - 1, 2**62), "int64")],
)  # fmt: skip
def test_ranges_to_the_ends_of_a_dtype(arguments: Any, dtype: str) -> None:
    assert ox.arange(*arguments, dtype=dtype).tolist() == list(range(*arguments))


def test_real_ranges_are_rounded_once() -> None:
    found = ox.arange(0.0, 1.0, 0.1)
    assert found.dtype is ox.float32
    np.testing.assert_array_equal(found.numpy(), (np.arange(10) * 0.1).astype(np.float32))
    np.testing.assert_array_equal(ox.linspace(0, 1, 7).numpy(), np.linspace(0, 1, 7).astype(np.float32))
    assert ox.linspace(0, 1, 4, endpoint=False).tolist() == [0.0, 0.25, 0.5, 0.75]
    assert ox.linspace(0, 1j, 2).dtype is ox.complex64


@pytest.mark.parametrize("k", [-2, 0, 1, 5])
def test_diagonals_are_numpys(k: int) -> None:
    x = np.arange(12).reshape(3, 4)
    np.testing.assert_array_equal(ox.eye(3, 4, k=k).numpy(), np.eye(3, 4, k=k))
    np.testing.assert_array_equal(ox.tril(ox.asarray(x), k=k).numpy(), np.tril(x, k))
    np.testing.assert_array_equal(ox.triu(ox.asarray(x), k=k).numpy(), np.triu(x, k))


@pytest.mark.parametrize("indexing", ["xy", "ij"])
def test_meshgrid_is_numpys(indexing: Any) -> None:
    lines = [np.arange(2), np.arange(3.0), np.arange(4)]
    found = ox.meshgrid(*map(ox.asarray, lines), indexing=indexing)
    for y, wanted in zip(found, np.meshgrid(*lines, indexing=indexing), strict=True):
        np.testing.assert_array_equal(y.numpy(), wanted)


def test_likes_take_dtype_and_shape() -> None:
    x = ox.zeros((2, 1), dtype=ox.uint8)
    assert ox.full_like(x, 3).tolist() == [[3], [3]]
    assert ox.ones_like(x, dtype="bool").tolist() == [[True], [True]]
    assert (ox.empty_like(x).shape, ox.empty_like(x).dtype) == ((2, 1), ox.uint8)
    assert ox.ones((1,), dtype=ox.float8_e4m3fn).dtype is ox.float8_e4m3fn


def test_four_bit_integers_survive_packing() -> None:
    values = np.arange(-8, 8, dtype=np.int8).reshape(2, 8)
    packed = ox.pack_int4(ox.asarray(values))
    assert (packed.shape, packed.dtype) == ((2, 4), ox.uint8)
    np.testing.assert_array_equal(ox.unpack_int4(packed).numpy(), values)
    np.testing.assert_array_equal(ox.unpack_int4(packed, signed=False).numpy(), (values & 15).astype(np.uint8))


def test_nonzero_is_numpys() -> None:
    x = np.array([[0.0, -0.0, np.nan], [2.0, 0.0, -1.0]])
    for found, wanted in zip(ox.nonzero(ox.asarray(x)), np.nonzero(x), strict=True):
        np.testing.assert_array_equal(found.numpy(), wanted)


def test_unique_values_count_every_nan_and_one_zero() -> None:
    found = ox.unique_values(ox.asarray([[2.0, np.nan, 0.0], [-0.0, np.nan, 2.0]])).numpy()
    np.testing.assert_array_equal(found, [0.0, 2.0, np.nan, np.nan])
    assert ox.unique_values(ox.asarray([True, False, True])).tolist() == [False, True]
    assert ox.unique_values(ox.zeros((0, 2))).shape == (0,)


def test_a_data_dependent_shape_makes_a_compiled_function_run_eagerly() -> None:
    compiled = ox.compile(lambda x: ox.nonzero(x)[0])
    assert compiled(ox.asarray([0, 1, 1])).tolist() == [1, 2]
    assert "value" in compiled.notes()[0]


@pytest.mark.parametrize(
    ("call", "error", "word"),
    [
        (lambda: ox.zeros(-1), ox.ShapeError, "negative"),
        (lambda: ox.zeros("ab"), ox.ArgumentTypeError, "integers"),
        (lambda: ox.full(2, ox.zeros(2)), ox.ShapeError, "no axes"),
        (lambda: ox.iota((2,), 1), ox.AxisError, "out of range"),
        (lambda: ox.iota((2,), 0, dtype="complex64"), ox.DTypeError, "complex64"),
        (lambda: ox.arange(0, 5, 0), ox.ArgumentError, "step"),
        (lambda: ox.arange(300, dtype="uint8"), ox.ArgumentError, "299"),
        (lambda: ox.linspace(0, 1, -1), ox.ArgumentError, "negative"),
        (lambda: ox.tril(ox.zeros(3)), ox.ShapeError, "two axes"),
        (
            lambda: ox.random_bits(ox.zeros(2, dtype="uint32"), ox.zeros(2, dtype="uint32"), shape=1),
            ox.ShapeError,
            "counter",
        ),
        (lambda: ox.random_bits(ox.zeros(2), ox.zeros(4, dtype="uint32"), shape=1), ox.DTypeError, "key"),
        (lambda: ox.pack_int4(ox.zeros(3, dtype="int8")), ox.ShapeError, "even"),
        (lambda: ox.unpack_int4(ox.zeros(3)), ox.DTypeError, "uint8"),
        (lambda: ox.nonzero(ox.zeros(())), ox.ShapeError, "without axes"),
    ],
)
def test_creation_refuses(call: Any, error: type[Exception], word: str) -> None:
    with pytest.raises(error, match=word):
        call()
