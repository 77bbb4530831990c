"""Metadata ops: views without copies, their errors, and their record during capture."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import opmux as ox
from opmux.core.arrays.array import Array
from opmux.core.arrays.metadata import METADATA
from opmux.core.arrays.ownership import consume
from opmux.core.errors import ArgumentError, ArgumentTypeError, AxisError, ConsumedError, ShapeError
from opmux.core.graphs.trace import Tracer
from opmux.core.kernel import ArraySpec

VALUES = np.arange(24.0).reshape(2, 3, 4)
VIEWS: list[tuple[str, Callable[[Array], Array], Callable[[np.ndarray], np.ndarray]]] = [
    ("reshape", lambda x: ox.reshape(x, (4, -1)), lambda a: a.reshape(4, -1)),
    ("permute_dims", lambda x: ox.permute_dims(x, (2, 0, -2)), lambda a: a.transpose(2, 0, 1)),
    ("matrix_transpose", ox.matrix_transpose, lambda a: a.swapaxes(-1, -2)),
    ("moveaxis", lambda x: ox.moveaxis(x, 0, -1), lambda a: np.moveaxis(a, 0, -1)),
    ("moveaxis two", lambda x: ox.moveaxis(x, (0, 1), (-1, 0)), lambda a: np.moveaxis(a, (0, 1), (-1, 0))),
    ("broadcast_to", lambda x: ox.broadcast_to(x, (5, 2, 3, 4)), lambda a: np.broadcast_to(a, (5, 2, 3, 4))),
    ("flip", ox.flip, np.flip),
    ("flip one", lambda x: ox.flip(x, axis=-2), lambda a: np.flip(a, -2)),
    ("expand_dims", lambda x: ox.expand_dims(x, axis=(0, -1)), lambda a: np.expand_dims(a, (0, -1))),
    ("squeeze", lambda x: ox.squeeze(ox.expand_dims(x, axis=1), 1), lambda a: a),
    ("slice", lambda x: x[::-1, 1:, ::2], lambda a: a[::-1, 1:, ::2]),
]
CASES = pytest.mark.parametrize(("view", "numpy"), [v[1:] for v in VIEWS], ids=[v[0] for v in VIEWS])


@CASES
def test_views_share_memory_and_agree_with_numpy(view: Any, numpy: Any) -> None:
    x = ox.asarray(VALUES)
    made = view(x)
    assert made._buffer is x._buffer
    assert (made.shape, made.tolist()) == (numpy(VALUES).shape, numpy(VALUES).tolist())


@CASES
def test_views_of_views_agree_with_numpy(view: Any, numpy: Any) -> None:
    strided = np.arange(192.0).reshape(4, 6, 8)[::2, ::-2, 1::2]
    assert view(ox.asarray(strided)).tolist() == numpy(strided).tolist()


@CASES
def test_capture_records_what_makes_the_same_view(view: Any, numpy: Any) -> None:
    x = ox.asarray(VALUES)
    tracer = Tracer(x.device, [ArraySpec(x.dtype, x.shape)])
    made = view(tracer.inputs()[0])
    graph = tracer.freeze([made])
    value = x
    for node in graph.nodes:
        assert METADATA[node.op.name] is node.op
        value = node.op.apply(value, *node.arguments)
        assert value.shape == node.outputs[0].shape
    assert value.tolist() == numpy(VALUES).tolist()


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_reshape_shares_memory_exactly_where_numpy_can(data: Any) -> None:
    keys = st.tuples(*(st.sampled_from([slice(None), slice(None, None, -1), slice(0, 1), slice(None, None, 2)]),) * 3)
    order = data.draw(st.permutations(range(3)))
    a = np.arange(96.0).reshape(4, 6, 4)[data.draw(keys)].transpose(order)
    divisors = [n for n in range(1, a.size + 1) if a.size % n == 0]
    first = data.draw(st.sampled_from(divisors))
    second = data.draw(st.sampled_from([n for n in divisors if (a.size // first) % n == 0]))
    target = (first, second, a.size // first // second)
    x = ox.asarray(a, copy=False)
    made = ox.reshape(x, target)
    assert made.tolist() == a.reshape(target).tolist()
    assert (made._buffer is x._buffer) == np.shares_memory(a, a.reshape(target))


def test_reshape_copies_only_when_it_may() -> None:
    x = ox.asarray(VALUES)
    with pytest.raises(ArgumentError, match="copy=False"):
        ox.reshape(ox.permute_dims(x, (2, 1, 0)), (24,), copy=False)
    assert ox.reshape(x, (24,), copy=True)._buffer is not x._buffer


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda x: ox.reshape(x, (5, 5)), ShapeError, "24 elements"),
        (lambda x: ox.reshape(x, (-1, -1)), ShapeError, "more than one -1"),
        (lambda x: ox.reshape(x, (7, -1)), ShapeError, "cannot be resolved"),
        (lambda x: ox.reshape(x, "ab"), ArgumentTypeError, "not a tuple of integers"),
        (lambda x: ox.permute_dims(x, (0, 0, 1)), AxisError, "not a permutation"),
        (lambda x: ox.permute_dims(x, 3), ArgumentTypeError, "not a tuple"),
        (lambda x: ox.broadcast_to(x, (2, 3, 5)), ShapeError, "does not broadcast"),
        (lambda x: ox.broadcast_arrays(x, ox.asarray([1, 2])), ShapeError, "do not broadcast"),
        (lambda x: ox.flip(x, axis=3), AxisError, "axis 3 is out of range"),
        (lambda x: ox.expand_dims(x, axis=5), AxisError, "axis 5"),
        (lambda x: ox.expand_dims(x, axis=(0, 0)), AxisError, "twice"),
        (lambda x: ox.squeeze(x, 0), ShapeError, "length 2"),
        (lambda x: ox.moveaxis(x, (0, 1), 0), AxisError, "as many"),
        (lambda x: ox.matrix_transpose(x[0, 0]), ShapeError, "not a matrix"),
        (lambda x: ox.flip([1, 2]), ArgumentTypeError, "list is not an opmux array"),
        (lambda x: ox.reshape(x, 1.5), ArgumentTypeError, "1.5"),
    ],
)
def test_bad_arguments(call: Any, error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        call(ox.asarray(VALUES))


def test_no_view_of_a_consumed_array() -> None:
    x = ox.asarray([1])
    consume(x)
    with pytest.raises(ConsumedError, match="consumed"):
        ox.reshape(x, (1, 1))


def test_broadcast_arrays_repeats_without_memory() -> None:
    x, y = ox.broadcast_arrays(ox.asarray([1, 2, 3]), ox.asarray([[1], [2]]))
    assert (x.shape, y.shape, x.strides, y.strides) == ((2, 3), (2, 3), (0, 1), (1, 0))
