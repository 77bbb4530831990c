"""Indexing, against NumPy."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import opmux as ox
from opmux.core.arrays.array import alias
from opmux.core.arrays.index_keys import IndexingError
from opmux.core.errors import DeviceError, DTypeError, ShapeError
from opmux.core.graphs.trace import ConcreteValueNeededError, Tracer
from opmux.core.kernel import ArraySpec

SHAPE = (3, 4, 2, 3)
VALUES = np.arange(72.0).reshape(SHAPE)
KINDS = ("int", "slice", "slice", "array", "array", "line", "mask", "new", "rest", "0-d", "end")
EXAMPLES = settings(max_examples=150, deadline=None)


@st.composite
def keys(draw: Any) -> tuple[Any, ...]:
    """Draw a key for SHAPE: any mix, now and then one that does not fit."""
    broadcast = draw(hnp.array_shapes(min_dims=0, max_dims=2, max_side=3))
    entries: list[Any] = []
    axis = 0
    while axis < len(SHAPE) and len(entries) < 7:
        match draw(st.sampled_from(KINDS)):
            case "int":
                entries.append(draw(st.integers(-2, 1)))
                axis += 1
            case "slice":
                entries.append(draw(st.slices(SHAPE[axis])))
                axis += 1
            case "array":
                shape = draw(st.sampled_from([broadcast, broadcast[1:], (1,) * len(broadcast)]))
                entries.append(draw(hnp.arrays(np.int64, shape, elements=st.integers(-2, 1))))
                axis += 1
            case "line":
                entries.append(draw(hnp.arrays(np.bool_, SHAPE[axis])))
                axis += 1
            case "mask" if axis + 2 <= len(SHAPE):
                entries.append(draw(hnp.arrays(np.bool_, SHAPE[axis : axis + 2])))
                axis += 2
            case "new":
                entries.append(None)
            case "rest" if not any(e is Ellipsis for e in entries):
                entries.append(Ellipsis)
                axis += draw(st.integers(0, len(SHAPE) - axis))
            case "0-d":
                entries.append(draw(st.booleans()))
            case "end":
                break
    return tuple(entries)


@EXAMPLES
@given(keys())
def test_reading_selects_what_numpy_selects(key: tuple[Any, ...]) -> None:
    x = ox.asarray(VALUES)
    try:
        expected = VALUES[key]
    except IndexError:
        with pytest.raises(IndexError):
            x[key]
        return
    assert x[key].shape == expected.shape
    assert x[key].tolist() == expected.tolist()


@EXAMPLES
@given(keys(), st.booleans())
def test_writing_changes_what_numpy_changes(key: tuple[Any, ...], shared: bool) -> None:
    x, expected = ox.asarray(VALUES, copy=True), VALUES.copy()
    other = x[:] if shared else None
    try:
        expected[key] = -1.0
    except IndexError:
        with pytest.raises(IndexError):
            x[key] = -1.0
        return
    x[key] = -1.0
    assert x.tolist() == expected.tolist()
    assert other is None or other.tolist() == VALUES.tolist()


@pytest.mark.parametrize(
    "key",
    [
        [2, 0],
        ([0, 1], slice(None), [1, 0]),
        (slice(None), [[0], [3]], [1]),
        (0, slice(None), [1, 0]),
        ([1, 0], 0),
        (slice(None, None, -1), [-1]),
    ],
    ids=str,
)
def test_lists_and_arrays_are_indices_alike(key: Any) -> None:
    as_arrays = tuple(ox.asarray(k) if isinstance(k, list) else k for k in (key if isinstance(key, tuple) else (key,)))
    assert ox.asarray(VALUES)[key].tolist() == VALUES[key].tolist()
    assert ox.asarray(VALUES)[as_arrays].tolist() == VALUES[key].tolist()


@pytest.mark.parametrize("dtype", ["int8", "uint8", "uint64", "int32"])
def test_indices_of_every_integer_dtype(dtype: str) -> None:
    assert ox.asarray([10, 20, 30])[ox.asarray([2, 0], dtype=dtype)].tolist() == [30, 10]


def test_basic_indices_make_views() -> None:
    x = ox.asarray(VALUES)
    part = x[1:, ..., None, ::-1, 1]
    assert part._buffer is x._buffer
    assert part.strides == (24, 6, 0, -3)


@pytest.mark.parametrize(
    ("key", "words"),
    [
        ((0, 0, 0, 0, 0), "too many indices: 5"),
        (3, "index 3 is out of range for axis 0"),
        ((0, -5), "index -5 is out of range for axis 1"),
        ([0, 3], "index 3 is out of range"),
        ((..., ...), "one Ellipsis"),
        (1.0, "not an index"),
        ("a", "not an index"),
        (np.array([1.0]), "float64"),
        (np.zeros(4, bool), r"mask of shape \(4,\)"),
        (([0, 1], [0, 1, 2]), "do not broadcast"),
        (slice(None, None, 0), "step is not 0"),
        (slice(0.5), "not a slice"),
    ],
    ids=str,
)
def test_indices_that_do_not_fit(key: Any, words: str) -> None:
    x = ox.asarray(VALUES)
    with pytest.raises(IndexingError, match=words):
        x[key]
    with pytest.raises(IndexingError, match=words):
        x[key] = 0.0


def test_a_float_array_is_no_index() -> None:
    with pytest.raises(IndexError, match="float32"):
        ox.asarray(VALUES)[ox.asarray([0.0])]


@pytest.mark.parametrize(
    ("dtype", "value", "error", "words"),
    [
        ("int64", 1.5, DTypeError, "float"),
        ("bool", 1, DTypeError, "int"),
        ("uint8", 300, ValueError, "out of range"),
        ("int64", [0.5, 1.5], DTypeError, "float32"),
        ("float32", 1j, DTypeError, "complex"),
        ("float32", [1, 2, 3], ShapeError, "broadcast"),
        ("float32", "a", TypeError, "str"),
    ],
)
def test_values_that_do_not_fit(dtype: str, value: Any, error: type[Exception], words: str) -> None:
    x = ox.asarray([1, 2], dtype=dtype) if dtype != "bool" else ox.asarray([True, False])
    before = x.tolist()
    with pytest.raises(error, match=words):
        x[:] = value
    assert x.tolist() == before


def test_values_of_another_kind_are_refused_and_narrower_ones_cast() -> None:
    x = ox.asarray([1.0, 2.0])
    x[0] = ox.asarray(7)
    x[1] = np.float64(0.1)
    assert x.tolist() == [7, np.float32(0.1)]
    with pytest.raises(DTypeError, match="float32"):
        ox.asarray([1, 2])[0] = x[0]


def test_a_list_into_float64_is_not_rounded_on_the_way() -> None:
    x = ox.asarray([0.0, 0.0], dtype="float64")
    x[:] = [0.1, 0.2]
    assert x.tolist() == [0.1, 0.2]


def test_of_equal_indices_the_last_value_stays() -> None:
    x = ox.asarray([0, 0, 0])
    x[[1, 1, 2]] = [5, 6, 7]
    assert x.tolist() == [0, 6, 7]


@pytest.mark.parametrize(
    "key",
    [
        1,
        (slice(None), [0, -1]),
        ([0, 1], slice(None), [1, 0]),
        VALUES > 30,
        ...,
        (None, 2, slice(3, 0, -2)),
        ([2, 0], [3, -4]),
    ],
    ids=["int", "list", "parted", "mask", "rest", "steps", "together"],
)
def test_reading_and_writing_off_cpu(far: object, key: Any) -> None:
    x = ox.asarray(VALUES, device="far")
    old, expected = x[:], VALUES.copy()
    assert x[key].tolist() == VALUES[key].tolist()
    x[key] = expected[key] = -2.0
    assert (x.device.name, x.tolist()) == ("far:0", expected.tolist())
    assert old.tolist() == VALUES.tolist()


def test_index_arrays_off_cpu_stay_there(far: object) -> None:
    x = ox.asarray(VALUES, device="far")
    rows, columns = ox.asarray([0, -1, 2], device="far"), ox.asarray([-4, 1, 3], device="far")
    assert x[rows].tolist() == VALUES[[0, -1, 2]].tolist()
    assert x[rows, columns].tolist() == VALUES[[0, -1, 2], [-4, 1, 3]].tolist()
    assert x[x > 70].tolist() == [71]


def test_unsigned_indices_on_a_device_never_count_from_the_end(far: object) -> None:
    x, zeros = ox.asarray([[10], [20], [30]], device="far"), ox.asarray([0, 0, 0], device="far")
    at = ox.asarray(np.array([2**63, 2**64 - 1, 1], np.uint64), device="far")
    assert x[at].tolist() == [[30], [30], [20]]
    assert x[at, zeros].tolist() == [30, 30, 20]


@pytest.mark.parametrize("dtype", ["int64", "uint64"])
def test_writing_outside_is_an_error_on_a_device_too(far: object, dtype: str) -> None:
    x = ox.asarray([10, 20, 30], device="far")
    with pytest.raises(IndexingError, match="index 3 is out of range for axis 0 of length 3"):
        x[ox.asarray([1, 3], dtype=dtype, device="far")] = 5
    assert x.tolist() == [10, 20, 30]


def test_an_index_from_another_device_is_refused(far: object) -> None:
    with pytest.raises(DeviceError, match="to_device"):
        ox.asarray(VALUES)[ox.asarray([0], device="far")]
    with pytest.raises(DeviceError, match="to_device"):
        ox.asarray([1, 2])[:] = ox.asarray(1, device="far")


def test_iteration_and_transposes() -> None:
    x = ox.asarray([[1, 2], [3, 4]])
    assert [row.tolist() for row in x] == [[1, 2], [3, 4]]
    assert x.T.tolist() == x.mT.tolist() == [[1, 3], [2, 4]]
    assert ox.asarray(VALUES).mT.shape == (3, 4, 3, 2)
    with pytest.raises(ShapeError, match="mT"):
        ox.asarray(VALUES).T
    with pytest.raises(ShapeError, match="two axes"):
        ox.asarray([1]).mT
    with pytest.raises(TypeError, match="iterated"):
        iter(ox.asarray(1))


def record(shape: tuple[int, ...]) -> tuple[Tracer, Any]:
    tracer = Tracer(ox.asarray(0).device, [ArraySpec(ox.asarray(0.0).dtype, shape)])
    # A handle of the function's own: one that it was given belongs to the caller, and writing to it is not captured.
    return tracer, alias(tracer.inputs()[0])


def test_capture_records_views_and_gathers() -> None:
    tracer, x = record(SHAPE)
    made = x[1, ..., ::2][[1, 0]]
    graph = tracer.freeze([made])
    assert [n.op.name for n in graph.nodes] == ["slice", "reshape", "gather"]
    assert made.shape == VALUES[1, ..., ::2][[1, 0]].shape


def test_capture_gives_a_written_handle_a_new_value() -> None:
    tracer, x = record((3,))
    before = x[:]
    x[1:] = 5.0
    assert (x.number, x.shape) != (before.number, before.shape)
    assert "scatter" in [n.op.name for n in tracer.freeze([x]).nodes]


def test_a_mask_of_unknown_values_cannot_select_but_can_overwrite() -> None:
    tracer, x = record((3,))
    with pytest.raises(ConcreteValueNeededError, match="value"):
        x[x > 0]
    x[x > 0] = 0.0
    assert [n.op.name for n in tracer.freeze([x]).nodes][-1] == "where"
