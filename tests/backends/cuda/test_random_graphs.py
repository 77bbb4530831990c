"""Random graphs through every kind of region that takes them, carried out on the host: the bits of their nodes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import opmux as ox
from opmux.backends.cuda.regions import column_regions
from opmux.backends.cuda.regions.compiler import MAKERS
from opmux.core.dtypes import BY_NAME
from opmux.core.graphs.regions import part_of
from opmux.plugin import Graph, Kernel, Prepared
from tests.backends.cuda.host.runtime import HostRuntime
from tests.backends.cuda.test_row_regions import asked, captured, hold, on_gpu
from tests.opset.one_by_one import random_bits

#: At the borders of vectors, lanes, blocks and what a thread has.
LENGTHS = (1, 31, 32, 33, 511, 512, 513, 1023, 1024, 1025, 2100)
FLOATS = ("float32", "float16", "bfloat16", "float64")
INTEGERS = ("int8", "uint8", "int16", "int32", "int64", "uint64")
#: Ops on arrays of one dtype, for floats and for integers. What looks at the sign of a NaN is left out.
BINARY = {
    True: ("add", "subtract", "multiply", "divide", "maximum", "minimum", "remainder", "less"),
    False: ("add", "multiply", "maximum", "floor_divide", "remainder", "bitwise_xor", "bitwise_left_shift", "less"),
}
UNARY = {True: ("negative", "sqrt", "floor", "abs", "isnan"), False: ("abs", "sign", "bitwise_invert")}
REDUCTIONS = ("sum", "sum", "max", "min", "prod", "any", "all", "argmax")
#: What is reduced of an array, by its rank.
AXES: dict[int, tuple[Any, ...]] = {
    0: (None,),
    1: (-1, None),
    2: (-1, -1, 0, 0),
    3: (-1, 0, 1, 1, (0, 2), (0, 1)),
}
CONSTANTS = {True: (float("nan"), float("inf"), -0.0, 1.5), False: (0, 1, 7)}
#: The shape of the first operand by a number of rows and their length, and those that others may have beside it.
SHAPES: tuple[Callable[[int, int], tuple[tuple[int, ...], ...]], ...] = (
    lambda rows, length: ((rows, length), (length,), (rows, 1), ()),
    lambda rows, length: ((length, 4 * rows), (4 * rows,), (length, 1), ()),
    lambda rows, length: ((2, length, rows), (rows,), (length, 1), (2, 1, rows), (2, 1, 1)),
)
#: How an array lies in memory.
LIES = ("dense", "dense", "dense", "late", "backwards", "turned")

Choose = Callable[[Any], Any]


def chooser(seed: int) -> Choose:
    rng = np.random.default_rng(seed)
    return lambda among: among[rng.integers(len(among))]


def cast(x: ox.Array, dtype: ox.DType) -> ox.Array:
    return x if x.dtype is dtype else ox.cast(x, dtype=dtype)


def beside(x: ox.Array, values: list[ox.Array]) -> list[ox.Array]:
    """Return the values whose shapes go with that of one of them."""

    def fits(y: ox.Array) -> bool:
        return all(n == m or 1 in (n, m) for n, m in zip(x.shape[::-1], y.shape[::-1], strict=False))

    return [y for y in values if fits(y)]


def binary(choose: Choose, x: ox.Array, y: ox.Array) -> ox.Array:
    return getattr(ox, choose(BINARY[x.dtype.name in FLOATS]))(x, cast(y, x.dtype))


def step(choose: Choose, values: list[ox.Array]) -> ox.Array:
    """Return one node more, of some of the values before."""
    x = values[-1]
    y = choose(beside(x, values))
    if x.dtype is ox.bool:
        x = cast(x, values[0].dtype)
    floating = x.dtype.name in FLOATS
    kind = choose(("unary", "binary", "binary", "constant", "cast", "where", "reduce", "reduce"))
    if kind == "unary":
        return getattr(ox, choose(UNARY[floating]))(x)
    if kind == "binary":
        return binary(choose, x, y)
    if kind == "constant":
        return getattr(ox, choose(BINARY[floating]))(x, choose(CONSTANTS[floating]))
    if kind == "cast":
        return ox.cast(x, dtype=BY_NAME[choose(FLOATS + INTEGERS)])
    if kind == "where":
        return ox.where(cast(y, ox.bool), x, cast(choose(beside(y, [x, *beside(x, values)])), x.dtype))
    axis = choose(AXES[x.ndim])
    return getattr(ox, choose(REDUCTIONS))(x, axis=axis, keepdims=choose((True, True, False)))


def function(seed: int) -> Callable[..., tuple[ox.Array, ...]]:
    def made(*arrays: ox.Array) -> tuple[ox.Array, ...]:
        choose, values = chooser(seed), list(arrays)
        for x in arrays[:-1]:
            values.append(binary(choose, cast(values[-1], arrays[0].dtype), x))
        for _ in range(choose((2, 3, 4))):
            values.append(step(choose, values))
        return (values[-1], choose(values[len(arrays) :])) if choose((True, False)) else (values[-1],)

    return made


def operands(seed: int) -> list[ox.Array]:
    """Return up to three arrays: alike, or broadcast to one shape, and some backwards, turned, or beginning late."""
    choose = chooser(seed + 1000)
    rows, length, family = choose((1, 2, 5)), choose(LENGTHS), choose((FLOATS, INTEGERS))
    whole, *beside = choose(SHAPES)(rows, length)
    alike, found = choose((True, False)), []
    for i in range(choose((1, 2, 3, 3))):
        shape = whole if alike or i == 0 else choose((whole, *beside))
        dtype = found[0].dtype.name if found and (alike or choose((True, False))) else choose(family)
        host = random_bits(dtype, shape, seed + i)
        if choose((True, True, False)):
            host = (np.random.default_rng(seed + i).standard_normal(shape) * 3).astype(host.dtype)
        lie = choose(LIES if len(shape) > 1 and not alike else LIES[:1])
        if lie == "late":
            found.append(on_gpu(np.concatenate([host[..., :1], host], -1))[..., 1:])
        elif lie == "backwards":
            found.append(on_gpu(host[:, ::-1].copy())[:, ::-1])
        elif lie == "turned":
            order = (1, 0, *range(2, len(shape)))
            found.append(ox.permute_dims(on_gpu(host.transpose(order).copy()), order))
        else:
            found.append(on_gpu(host))
    return found


def largest(maker: Callable[[Graph], Any], graph: Graph, arrays: list[ox.Array]) -> Graph | None:
    """Return the longest beginning of a graph that one kind of region takes, if it takes these operands."""
    stop = len(graph.nodes)
    while stop > 1:
        segment = part_of(graph, 0, stop)
        answer = maker(segment.graph)
        if isinstance(answer, Kernel):
            whole = segment.inputs == tuple(range(len(graph.inputs)))
            return segment.graph if whole and isinstance(asked(answer, segment.graph, *arrays), Prepared) else None
        stop = answer.node
    return None


#: Each makes a graph with reductions of which some region takes a beginning; together they come to every kernel.
SEEDS = (1, 4, 5, 6, 8, 10, 14, 18, 20, 28, 30, 33, 61, 62, 63, 64, 69, 74, 76, 82, 87)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("gpu", [True], indirect=True, ids=["descending"])
def test_regions_of_random_graphs_have_the_bits_of_their_nodes(
    gpu: HostRuntime, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(column_regions, "FEWEST_BLOCKS", 0)
    if seed % 3:  # threads have several columns where a GPU would be busy
        monkeypatch.setattr(column_regions, "BUSY", 1)
    arrays = operands(seed)
    graph = captured(function(seed), *arrays)
    parts = [(maker, part) for maker in MAKERS if (part := largest(maker, graph, arrays)) is not None]
    assert parts
    for maker, part in parts:
        hold(gpu, maker, part, *arrays)
