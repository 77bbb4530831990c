"""Elementwise nodes as one program: the bits of the ops one by one, relabelled axes, refusals."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import opmux as ox
from opmux.core.graphs.graph import Graph, Refusal
from opmux.opset.recipes.evaluate import evaluate_all
from opmux.opset.recipes.fuse import Fused, View, fuse, whole
from opmux.opset.recipes.program import Code
from tests.opset.one_by_one import OneByOne, assert_same_bits, random_bits

BF16 = ox.bfloat16.numpy


def graph_of(function: Callable[..., Any], *arrays: np.ndarray) -> Graph:
    graph = ox.compile(lambda *xs: function(ox, *xs)).graph(*map(ox.asarray, arrays))
    assert graph is not None
    return graph


def fused(graph: Graph) -> Fused:
    domain = graph.specs[graph.outputs[0]].shape
    made = fuse(graph, [View(o, tuple(range(len(domain)))) for o in graph.outputs])
    assert isinstance(made, Fused), made
    return made


def carried_out(made: Fused, domain: tuple[int, ...], arrays: list[np.ndarray]) -> tuple[np.ndarray, ...]:
    """Run a program over a domain, each operand read as its view says."""
    given = []
    for view in made.operands:
        x = arrays[view.value]
        strides = view.strides([s // x.itemsize for s in x.strides], len(domain))
        given.append(np.lib.stride_tricks.as_strided(x, domain, [s * x.itemsize for s in strides]))
    return evaluate_all(made.program, *given)


def chain(o: Any, x: Any, y: Any) -> Any:
    return o.add(o.multiply(o.exp(o.negative(x)), y), 2.0)


def selected(o: Any, x: Any, y: Any) -> Any:
    wide = o.cast(x, dtype=ox.float32)
    return o.where(o.less(x, y), o.multiply(wide, wide), o.cast(o.subtract(y, x), dtype=ox.float32))


def wrapped(o: Any, x: Any, y: Any) -> Any:
    return o.bitwise_xor(o.multiply(o.add(x, y), x), o.bitwise_right_shift(y, 1))


@pytest.mark.parametrize(
    ("function", "dtype"),
    [
        (chain, "float32"),
        (chain, "float64"),
        (chain, "float16"),
        (chain, "bfloat16"),
        (selected, "bfloat16"),
        (selected, "int32"),
        (wrapped, "int8"),
        (wrapped, "uint64"),
    ],
)
def test_bits_are_those_of_the_ops_one_by_one(function: Callable[..., Any], dtype: str) -> None:
    arrays = [random_bits(dtype, (257,), seed) for seed in (1, 2)]
    made = fused(graph_of(function, *arrays))
    (found,) = carried_out(made, (257,), arrays)
    assert_same_bits(found, function(OneByOne(), *arrays))


def test_a_narrow_node_rounds_as_if_it_were_stored() -> None:
    x = np.array([1.0 + 2.0**-7], BF16)
    made = fused(graph_of(lambda o, x: o.subtract(o.multiply(x, x), x), x))
    (found,) = carried_out(made, (1,), [x])
    exact = float(x[0]) ** 2 - float(x[0])
    assert float(found[0]) == 2.0**-7 != float(np.asarray(exact, BF16))


def test_relabelled_axes_are_read_in_place() -> None:
    def function(o: Any, x: Any, y: Any, z: Any) -> Any:
        turned = o.permute_dims(o.exp(x), (1, 0))
        row = o.broadcast_to(o.squeeze(o.expand_dims(y, axis=1), axis=1), (4, 3))
        return o.add(o.multiply(turned, row), o.reshape(z, (4, 1)))

    arrays = [random_bits("float32", s, i) for i, s in enumerate([(3, 4), (3,), (1, 4, 1)])]
    made = fused(graph_of(function, *arrays))
    (found,) = carried_out(made, (4, 3), arrays)
    assert_same_bits(found, function(OneByOne(), *arrays))
    assert [v.axes for v in made.operands] == [(1, 0), (1,), (None, 0, None)]


def test_one_value_in_two_directions_is_two_operands() -> None:
    x = random_bits("float32", (4, 4), 0)
    made = fused(graph_of(lambda o, x: o.add(o.exp(x), o.permute_dims(o.exp(x), (1, 0))), x))
    (found,) = carried_out(made, (4, 4), [x])
    o = OneByOne()
    assert_same_bits(found, o.add(o.exp(x), o.exp(x).T))


def test_what_several_results_share_is_computed_once() -> None:
    def function(o: Any, x: Any) -> tuple[Any, ...]:
        e = o.exp(x)
        return e, o.add(e, x), o.multiply(o.exp(x), e)

    x = random_bits("float32", (100,), 0)
    made = fused(graph_of(function, x))
    for found, expected in zip(carried_out(made, (100,), [x]), function(OneByOne(), x), strict=True):
        assert_same_bits(found, expected)
    single = fused(graph_of(lambda o, x: o.add(o.exp(x), x), x))
    assert len(made.program.instructions) == len(single.program.instructions) + 1


def test_constants_of_one_element_are_immediates() -> None:
    scale = ox.asarray(np.array([[0.1]], np.float32))
    made = fused(graph_of(lambda o, x: o.add(o.multiply(x, scale), 3.0), np.ones((2, 2), np.float32)))
    assert len(made.operands) == 1
    bits = {i.immediates[0] for i in made.program.instructions if i.code is Code.CONST}
    assert bits == {int(np.float32(v).view(np.uint32)) for v in (0.1, 3.0)}


def test_a_filled_array_is_read_as_one_element() -> None:
    arrays = [np.ones(shape, np.float32) for shape in ((2, 3), ())]
    graph = graph_of(lambda o, x, s: o.add(x, o.full((2, 3), s)), *arrays)
    assert [node.op.name for node in graph.nodes] == ["full", "add"]
    assert fused(graph).operands == (View(0, (0, 1)), View(1, ()))


@pytest.mark.parametrize(
    ("function", "dtype", "node", "reason"),
    [
        (lambda o, x: o.add(o.exp(x), o.sum(x, axis=0)), "float32", 1, "sum"),
        (lambda o, x: o.add(o.exp(x), o.flip(x)), "float32", 1, "flip does more"),
        (lambda o, x: o.exp(o.reshape(o.exp(x), (16,))), "float32", 1, "reshape does more"),
        (lambda o, x: o.equal(o.add(x, x), x), "complex64", 1, "complex64"),
        (lambda o, x: o.cast(o.cast(x, dtype=ox.complex64), dtype=ox.bool), "float32", 1, "complex64"),
    ],
)
def test_a_node_that_cannot_be_fused_is_named(
    function: Callable[..., Any], dtype: str, node: int, reason: str
) -> None:
    graph = graph_of(function, random_bits(dtype, (4, 4), 0))
    shape = graph.specs[graph.outputs[0]].shape
    answer = fuse(graph, [View(graph.outputs[0], tuple(range(len(shape))))])
    assert isinstance(answer, Refusal)
    assert answer.node == node
    assert reason in answer.reason


def test_values_named_as_leaves_are_operands() -> None:
    graph = graph_of(lambda o, x: o.add(o.sum(x, axis=1, keepdims=True), x), np.ones((3, 5), np.float32))
    made = fuse(graph, [View(graph.outputs[0], (0, 1))], {graph.first_node_value})
    assert isinstance(made, Fused)
    assert made.operands == (View(0, (0, 1)), View(1, (0, None)))


def test_axes_of_length_1_do_not_count() -> None:
    assert whole(3, (1, 2, 3), (2, 3)) == View(3, (None, 0, 1))
    assert whole(3, (3, 2), (2, 3)) is None
