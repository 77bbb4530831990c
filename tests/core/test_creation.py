"""Arrays from Python, NumPy, and whatever exports its memory."""

from __future__ import annotations

import array
import gc
import weakref

import ml_dtypes
import numpy as np
import pytest

import opmux as ox
from opmux.core.arrays import defaults
from opmux.core.errors import ArgumentError, ArgumentTypeError, DeviceError, DTypeError, ShapeError


@pytest.mark.parametrize(
    ("given", "dtype", "shape"),
    [
        (True, "bool", ()),
        (3, "int64", ()),
        (2.5, "float32", ()),
        (1j, "complex64", ()),
        ([[1, 2], [3, 4]], "int64", (2, 2)),
        ([1, 2.5], "float32", (2,)),
        ([1.5, 1j], "complex64", (2,)),
        (range(3), "int64", (3,)),
        ([(1, 2), range(2)], "int64", (2, 2)),
        ([], "float32", (0,)),
        ([[], []], "float32", (2, 0)),
    ],
)
def test_python_values_take_the_default_dtypes(given: object, dtype: str, shape: tuple[int, ...]) -> None:
    x = ox.asarray(given)
    assert (x.dtype.name, x.shape) == (dtype, shape)
    assert x.numpy().tolist() == np.array(given).tolist()


def test_the_default_float_dtype_can_be_set() -> None:
    defaults.set_float_dtype("float64")
    try:
        assert (ox.asarray(0.1).dtype.name, ox.asarray(0.1).item()) == ("float64", 0.1)
    finally:
        defaults.set_float_dtype("float32")


def test_sequences_of_arrays_keep_their_dtype() -> None:
    x = ox.asarray([[np.float64(0.1), 1.0], ox.asarray([2.0, 3.0], dtype="float64")])
    assert x.dtype.name == "float64"
    assert x.tolist() == [[0.1, 1.0], [2.0, 3.0]]


@pytest.mark.parametrize(
    ("given", "dtype", "error", "words"),
    [
        ([[1], [1, 2]], None, ShapeError, "different lengths"),
        ([1, [2]], None, ShapeError, "different lengths"),
        ("abc", None, ArgumentTypeError, "str"),
        ([1, "a"], None, ArgumentTypeError, "'a'"),
        ([None], None, ArgumentTypeError, "NoneType"),
        (object(), None, ArgumentTypeError, "not array-like"),
        (2**63, None, ArgumentError, "out of range for int64"),
        ([300], "uint8", ArgumentError, "300 is out of range"),
        ([-1], "uint64", ArgumentError, "-1 is out of range"),
        ([float("nan")], "int32", ArgumentError, "nan"),
        (9.3e18, "int64", ArgumentError, "out of range"),
        pytest.param(10**5000, None, ArgumentError, "bits", id="thousands of digits"),
        pytest.param(10**400, "float64", ArgumentError, "beyond", id="beyond float64"),
        (1j, "float32", DTypeError, "complex"),
    ],
)
def test_python_values_that_are_refused(given: object, dtype: str | None, error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        ox.asarray(given, dtype=dtype)


def test_a_list_that_contains_itself_is_refused() -> None:
    loop: list[object] = []
    loop.append(loop)
    with pytest.raises(ShapeError, match="nested"):
        ox.asarray(loop)


@pytest.mark.parametrize(
    "values",
    [
        np.zeros(2, "M8[s]"),
        np.array(["a"]),
        np.array([None]),
        np.zeros(2, [("a", "i4")]),
        np.zeros(2, np.longdouble),
    ],
    ids=["dates", "strings", "objects", "structures", "longdouble"],
)
def test_numpy_dtypes_without_a_counterpart_are_refused(values: np.ndarray) -> None:
    with pytest.raises(DTypeError, match="no counterpart"):
        ox.asarray(values)


def test_masked_arrays_are_refused() -> None:
    with pytest.raises(ArgumentTypeError, match="filled"):
        ox.asarray(np.ma.masked_array([1, 2], [True, False]))


@pytest.mark.parametrize(
    "values",
    [
        np.arange(12.0).reshape(3, 4),
        np.arange(12.0).reshape(3, 4).T,
        np.arange(12.0)[::-2],
        np.broadcast_to(np.arange(3), (2, 3)),
        np.arange(6, dtype=np.int16).reshape(2, 3)[::-1, ::2],
        np.ones((), ml_dtypes.bfloat16),
        np.ones((2, 2), ml_dtypes.float8_e5m2),
    ],
    ids=["rows", "transposed", "backwards", "repeated", "steps", "bfloat16", "float8"],
)
def test_numpy_arrays_are_shared_whatever_their_strides(values: np.ndarray) -> None:
    x = ox.asarray(values, copy=False)
    assert x.strides == tuple(s // values.itemsize for s in values.strides)
    assert np.shares_memory(x.numpy(), values)
    assert x.numpy().tobytes() == values.tobytes()


def test_alignment_is_what_the_memory_has() -> None:
    memory = np.zeros(64, np.float32)
    first = -memory.ctypes.data % 64 // 4
    assert ox.asarray(memory[first : first + 16])._sig.aligned
    assert not ox.asarray(memory[first + 1 : first + 17])._sig.aligned


def test_a_snapshot_shares_nothing() -> None:
    values = np.arange(3.0)
    x = ox.asarray(values, copy=True)
    values[0] = 9
    assert x.tolist() == [0, 1, 2]


def odd_strides() -> np.ndarray:
    return np.zeros(3, [("a", "u1"), ("b", "<u2")])["b"]


@pytest.mark.parametrize(
    "values",
    [np.arange(3, dtype=">i4"), np.zeros(9, np.uint8)[1:].view("<i4"), odd_strides(), np.float32(2.5)],
    ids=["foreign endian", "unaligned", "odd strides", "scalar"],
)
def test_what_cannot_be_shared_is_copied_or_refused(values: np.ndarray) -> None:
    assert ox.asarray(values).tolist() == values.tolist()
    with pytest.raises(ArgumentError, match="copy"):
        ox.asarray(values, copy=False)


def test_a_dtype_converts_and_so_copies() -> None:
    values = np.array([1.5, 2.5])
    x = ox.asarray(values, dtype="float32")
    assert (x.dtype.name, x.tolist()) == ("float32", [1.5, 2.5])
    with pytest.raises(ArgumentError, match="copy"):
        ox.asarray(values, dtype="float32", copy=False)


def test_an_imported_array_lives_as_long_as_its_last_view() -> None:
    class Owner:
        values = np.arange(4.0)
        __array_interface__ = values.__array_interface__

    owner = Owner()
    gone = weakref.ref(owner)
    part = ox.asarray(np.asarray(owner))[1:]
    del owner
    gc.collect()
    assert gone() is not None
    assert part.tolist() == [1, 2, 3]
    del part
    gc.collect()
    assert gone() is None


def test_imported_memory_is_not_given_to_the_allocator() -> None:
    allocator = defaults.device().driver.allocator
    before = allocator.statistics().in_use
    x = ox.asarray(np.arange(1000.0))
    assert allocator.statistics().in_use == before
    del x
    assert allocator.statistics().in_use == before


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (b"\x01\x02", [1, 2]),
        (array.array("f", [1.5, 2.5]), [1.5, 2.5]),
        (memoryview(np.arange(4, dtype=np.int16).reshape(2, 2)), [[0, 1], [2, 3]]),
    ],
    ids=["bytes", "array", "memoryview"],
)
def test_the_buffer_protocol(given: object, expected: list[object]) -> None:
    assert ox.asarray(given).tolist() == expected


def test_objects_that_numpy_can_read() -> None:
    class Interface:
        values = np.arange(3)
        __array_interface__ = values.__array_interface__

    class Protocol:
        def __array__(self, dtype: object = None, copy: bool | None = None) -> np.ndarray:
            return np.arange(2)

    assert ox.asarray(Interface()).tolist() == [0, 1, 2]
    assert ox.asarray(Protocol()).tolist() == [0, 1]


def test_asarray_of_an_array_is_another_handle() -> None:
    x = ox.asarray([1, 2])
    y = ox.asarray(x)
    y[0] = 9
    assert (x.tolist(), y.tolist()) == ([1, 2], [9, 2])


def test_narrow_floats_are_rounded_once() -> None:
    # Just above the middle of two neighbours: rounding to float32 first would lose the last bit and go down.
    assert ox.asarray(1 + 2.0**-8 + 2.0**-40, dtype="bfloat16").item() == 1 + 2.0**-7
    assert ox.asarray(1 + 2.0**-3 + 2.0**-40, dtype="float8_e5m2").item() == 1.25


def test_creation_on_another_device(far: object) -> None:
    x = ox.asarray(np.arange(6).reshape(2, 3).T, device="far:0")
    assert (x.device.name, x.tolist()) == ("far:0", [[0, 3], [1, 4], [2, 5]])
    with pytest.raises(ArgumentError, match="copy"):
        ox.asarray(np.arange(3), device="far", copy=False)


def test_a_sequence_does_not_move_arrays_between_devices(far: object) -> None:
    x = ox.asarray([1, 2], device="far")
    with pytest.raises(DeviceError, match="to_device"):
        ox.asarray([x, x])


def test_an_unknown_device_names_those_present() -> None:
    with pytest.raises(DeviceError, match="cpu:0"):
        ox.asarray(1, device="nowhere:0")
