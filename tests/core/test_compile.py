"""Compiled functions: what is captured, what makes them run eagerly, what is captured anew."""

from __future__ import annotations

import numpy as np
import pytest

import opmux as ox
from opmux.core.plugins import manager
from tests.remote import RemotePlugin

X = np.array([1.0, 2.0], np.float32)


def test_a_function_that_needs_a_value_runs_eagerly_and_says_so() -> None:
    f = ox.compile(lambda x: x + 1.0 if float(x[0]) > 0 else x - 1.0)
    assert f(ox.asarray(X)).tolist() == [2.0, 3.0]
    assert f(ox.asarray(-X)).tolist() == [-2.0, -3.0]
    assert "needs the value" in f.notes()[0]


def test_catching_the_error_does_not_capture_the_wrong_branch() -> None:
    def careful(x: ox.Array) -> ox.Array:
        try:
            return x * float(x[0])
        except TypeError:
            return x - 1000.0

    assert ox.compile(careful)(ox.asarray(X + 1)).tolist() == [4.0, 6.0]


def test_random_numbers_are_drawn_on_every_call() -> None:
    g = ox.Generator(1)
    f = ox.compile(lambda x: x + g.uniform((2,)))
    assert f(ox.asarray(X)).tolist() != f(ox.asarray(X)).tolist()
    assert "random" in f.notes()[0]


def test_an_array_of_the_surroundings_that_changes_is_seen() -> None:
    c = ox.asarray([1.0, 1.0], copy=True)
    f = ox.compile(lambda x: x + c)
    assert f(ox.asarray(X)).tolist() == [2.0, 3.0]
    c[0] = 100.0
    assert f(ox.asarray(X)).tolist() == [101.0, 3.0]


def test_writing_to_an_argument_reaches_the_caller() -> None:
    def writes(x: ox.Array) -> ox.Array:
        x[0] = 5.0
        return x + 1.0

    x = ox.asarray(X, copy=True)
    assert ox.compile(writes)(x).tolist() == [6.0, 3.0]
    assert x.tolist() == [5.0, 2.0]


def test_equal_constants_of_other_types_are_other_captures() -> None:
    f = ox.compile(lambda x, k=0.0: x / k)
    with np.errstate(all="ignore"):
        assert f(ox.asarray(X), k=0.0).tolist() == [np.inf, np.inf]
        assert f(ox.asarray(X), k=-0.0).tolist() == [-np.inf, -np.inf]
    g = ox.compile(lambda x, k: x + k)
    n = ox.asarray([1, 2])
    assert g(n, k=1).tolist() == [2, 3]
    with pytest.raises(ox.DTypeError):
        g(n, k=1.0)


@pytest.mark.parametrize("result", [3.0, None, {"a": 1}, "text"])
def test_a_result_that_is_no_array_is_refused(result: object) -> None:
    f = ox.compile(lambda x: result)
    with pytest.raises(ox.ArgumentTypeError, match="returns an array"):
        f(ox.asarray(X))


def test_a_constant_that_cannot_be_hashed_is_refused() -> None:
    with pytest.raises(ox.ArgumentTypeError, match="table"):
        ox.compile(lambda x, table: x)(ox.asarray(X), table={"a": 1})


def test_arrays_of_another_device_are_refused_as_eagerly() -> None:
    manager.register("remote", RemotePlugin())
    try:
        x, c = ox.asarray(X).to_device("remote"), ox.asarray(X)
        with pytest.raises(ox.DeviceError, match="moves nothing"):
            ox.compile(lambda a: ox.add(a, c))(x)
    finally:
        manager.unregister("remote")


def test_captures_are_dropped_with_the_decisions_that_they_hold() -> None:
    f = ox.compile(lambda x: x + 1.0)
    x = ox.asarray(X)
    first = f.graph(x)
    assert f.graph(x) is first
    manager.register("nobody", object())
    try:
        assert f.graph(x) is not first
    finally:
        manager.unregister("nobody")


def test_a_tuple_of_one_stays_a_tuple() -> None:
    f = ox.compile(lambda x: (x + 1.0,))
    (y,) = f(ox.asarray([1.0, 2.0]))
    assert y.tolist() == [2.0, 3.0]
