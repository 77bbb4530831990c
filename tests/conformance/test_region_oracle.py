"""What a region is held to: the canonical bits of its nodes, or what their contracts leave of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import opmux as ox
from opmux.conformance.oracle.compare import Judge, Where
from opmux.conformance.oracle.regions import NoBoundError, judges, one_by_one
from opmux.core.errors import ConformanceError
from opmux.core.graphs.regions import inlined
from opmux.core.graphs.trace import capture_function
from opmux.plugin import ArraySpec, Graph

Host = np.ndarray[Any, Any]
X = np.linspace(-3, 3, 64, dtype=np.float32).reshape(8, 8)


def graph_of(function: Callable[..., Any], *arrays: Host) -> Graph:
    device = ox.device("cpu")
    specs = [ArraySpec(ox.asarray(x).dtype, x.shape) for x in arrays]
    return inlined(capture_function(function, device, specs, {}).graph, device)


def judge(function: Callable[..., Any], *arrays: Host, canonical: bool = False, flushes: bool = False) -> Judge:
    (made,) = judges(graph_of(function, *arrays), arrays, canonical=canonical, flushes=flushes)
    return made


def hold(made: Judge, got: Host) -> float:
    return made.hold(got.astype(np.float32), Where("a region", ox.float32))


def test_nodes_round_one_by_one() -> None:
    (got,) = one_by_one(graph_of(lambda x, y: x * y + x, X, X + 0.1), [X, X + np.float32(0.1)])
    assert (got == X * (X + np.float32(0.1)) + X).all()


def test_views_cost_no_bits() -> None:
    function = lambda x: ox.flip(ox.reshape(ox.permute_dims(x * 2.0, (1, 0)), (4, 16)), axis=1)[1:, ::-3]  # noqa: E731
    (got,) = one_by_one(graph_of(function, X), [X])
    assert (got == np.flip((X * 2).T.reshape(4, 16), 1)[1:, ::-3]).all()


def test_what_is_rounded_in_one_way_is_exact_for_any_promise() -> None:
    made = judge(lambda x: (x * 3.0 - x) / 7.0, X)
    assert (made.unit, made.bound) == ("exact", 0.0)


def test_a_product_may_be_summed_in_any_order_and_no_worse() -> None:
    y = np.linspace(1, 2, 64, dtype=np.float32).reshape(8, 8)
    made = judge(lambda x, y: ox.tanh(ox.matmul(x, y) * 0.1) + 1.0, X, y)
    want = np.tanh(X.astype(np.float64) @ y.astype(np.float64) * np.float64(np.float32(0.1))) + 1
    assert hold(made, want) < 1.0
    with pytest.raises(ConformanceError, match="of the bound"):
        hold(made, want + 1e-5)


def test_errors_reach_a_quotient_through_both_operands() -> None:
    made = judge(lambda x: ox.softmax(x), X)
    want = np.exp(X.astype(np.float64))
    want = want / want.sum(-1, keepdims=True)
    assert hold(made, want) < 1.0
    with pytest.raises(ConformanceError):
        hold(made, want * (1 + 2e-5))


def test_what_overflows_in_some_order_is_left_open_and_infinities_are_not() -> None:
    x = np.float32([[3e38, 3e38, -3e38], [np.inf, 1.0, 2.0]])
    made = judge(lambda x: ox.matmul(x, ox.ones((3, 1))) * 1.0, x)
    for first in (np.inf, np.nan, 3e38):
        hold(made, np.array([[first], [np.inf]]))
    with pytest.raises(ConformanceError):
        hold(made, np.array([[3e38], [np.nan]]))


def test_a_choice_that_hangs_on_rounding_cannot_be_judged() -> None:
    with pytest.raises(NoBoundError):
        judge(lambda x: ox.less(ox.exp(x), ox.exp(x * 1.5)), X)
    with pytest.raises(NoBoundError, match="floor"):
        judge(lambda x: ox.floor(ox.exp(x)), X)


def test_a_device_that_flushes_may_lose_subnormals_and_no_more() -> None:
    x = np.float32([1e-40, 1.0])
    made = judge(lambda x: x + 0.0, x, canonical=True, flushes=True)
    hold(made, np.float32([0.0, 1.0]))
    with pytest.raises(ConformanceError):
        hold(made, np.float32([0.0, 1.0 + 1e-6]))
