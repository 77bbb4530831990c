"""Regions carried out on the host: one launch, and the bits of the ops one by one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import opmux as ox
from opmux.backends.cuda.regions import chains
from opmux.backends.cuda.regions.compiler import MAKERS, Regions
from opmux.conformance.performance.candidates import runnable
from opmux.core.graphs.graph import Graph, Refusal
from opmux.core.graphs.regions import cut, part_of
from opmux.opset.orders import canonical_matmul
from opmux.plugin import Kernel
from tests.backends.cuda.host.runtime import HostRuntime
from tests.opset.one_by_one import OneByOne, assert_same_bits, random_bits

Function = Callable[..., Any]


#: Threads of these kernels meet only where those of matrix products do, which are tested in both orders.
pytestmark = pytest.mark.parametrize("gpu", [True], indirect=True, ids=["descending"])


def on_gpu(x: np.ndarray) -> ox.Array:
    return ox.asarray(x, device="cuda:0")


def compiled(gpu: HostRuntime, function: Function, *arrays: ox.Array) -> list[np.ndarray]:
    """Return what a function gives as a compiled one; its launches are the only ones that are noted."""
    gpu.launches.clear()
    made = ox.compile(lambda *xs: function(ox, *xs))(*arrays)
    return [x.numpy() for x in (made if isinstance(made, tuple) else (made,))]


def expected_of(function: Function, *arrays: np.ndarray) -> list[np.ndarray]:
    made = function(OneByOne(), *arrays)
    return list(made) if isinstance(made, tuple) else [made]


def check(gpu: HostRuntime, launches: list[str], function: Function, *arrays: np.ndarray) -> None:
    found = compiled(gpu, function, *map(on_gpu, arrays))
    assert gpu.launches == launches
    for x, y in zip(found, expected_of(function, *arrays), strict=True):
        assert_same_bits(x, y)


def chain(o: Any, x: Any, y: Any) -> Any:
    return o.add(o.multiply(o.exp(o.negative(x)), y), 2.0)


def selected(o: Any, x: Any, y: Any) -> tuple[Any, ...]:
    less = o.less(x, y)
    wide = o.cast(x, dtype=ox.float64)
    return less, o.where(less, o.multiply(wide, wide), o.cast(o.subtract(y, x), dtype=ox.float64)), o.maximum(x, y)


@pytest.mark.parametrize(
    ("function", "dtype"), [(chain, "float32"), (chain, "float16"), (chain, "bfloat16"), (selected, "int32")]
)
def test_a_chain_has_the_bits_of_its_ops(gpu: HostRuntime, function: Function, dtype: str) -> None:
    for size in (1, 8195):
        check(gpu, ["elementwise_dense"], function, *(random_bits(dtype, (size,), seed) for seed in (1, 2)))


def test_broadcast_and_turned_operands_are_read_in_place(gpu: HostRuntime) -> None:
    def function(o: Any, x: Any, y: Any, z: Any) -> tuple[Any, ...]:
        turned = o.multiply(o.permute_dims(o.exp(x), (1, 0)), o.expand_dims(y, axis=0))
        return turned, o.subtract(turned, o.broadcast_to(z, (6, 5)))

    shapes = (5, 6), (5,), (6, 1)
    check(gpu, ["elementwise_nest"], function, *(random_bits("float32", s, i) for i, s in enumerate(shapes)))


def test_strided_operands_are_read_in_place(gpu: HostRuntime) -> None:
    host = random_bits("float32", (7, 12), 0)
    found = compiled(gpu, chain, on_gpu(host)[::-1, 1::2], on_gpu(host)[:, :6])
    assert_same_bits(found[0], chain(OneByOne(), host[::-1, 1::2], host[:, :6]))
    assert gpu.launches == ["elementwise_nest"]


def test_small_and_empty_arrays(gpu: HostRuntime) -> None:
    for shape in ((), (1, 1), (0, 3)):
        launches = [] if 0 in shape else ["elementwise_dense"]
        check(gpu, launches, chain, *(random_bits("float32", shape, seed) for seed in (1, 2)))


def test_arrays_of_the_surroundings_are_operands(gpu: HostRuntime) -> None:
    table, scale = random_bits("float32", (3, 40), 5), np.float32(0.1)
    kept, factor = on_gpu(table), on_gpu(scale)
    found = compiled(gpu, lambda o, x: o.add(o.multiply(x, factor), kept), on_gpu(table))
    o = OneByOne()
    assert_same_bits(found[0], o.add(o.multiply(table, scale), table))
    assert gpu.launches == ["elementwise_dense"]


@pytest.mark.parametrize(("name", "dtype"), [("gelu", "float32"), ("silu", "bfloat16"), ("sigmoid", "float32")])
def test_eager_composites_are_one_launch(gpu: HostRuntime, name: str, dtype: str) -> None:
    x = np.linspace(-4, 4, 333, dtype=np.float32).astype(ox.bfloat16.numpy if dtype == "bfloat16" else dtype)
    gpu.launches.clear()
    found = getattr(ox, name)(on_gpu(x)).numpy()
    assert gpu.launches == ["elementwise_dense"]
    assert_same_bits(found, composite(name, x))


def composite(name: str, x: np.ndarray) -> np.ndarray:
    """Return a composite by its decomposition, op by op."""
    o, wide = OneByOne(), x.astype(np.float32)
    small = o.exp(o.negative(o.abs(wide)))
    made = {
        "gelu": lambda: o.multiply(o.multiply(wide, 0.5), o.erfc(o.multiply(wide, -(0.5**0.5)))),
        "silu": lambda: o.divide(wide, o.add(o.exp(o.negative(wide)), 1.0)),
        "sigmoid": lambda: o.divide(o.where(o.less(wide, 0.0), small, np.float32(1)), o.add(small, 1.0)),
    }[name]()
    return made if x.dtype == np.float32 else made.astype(x.dtype)


def test_a_refused_node_is_cut_out(gpu: HostRuntime) -> None:
    x = np.linspace(0, 1, 24, dtype=np.float32).reshape(4, 6)
    found = compiled(gpu, lambda o, x: o.multiply(o.exp(o.flip(o.add(o.exp(x), x))), x), on_gpu(x))
    assert gpu.launches == ["elementwise_dense", "elementwise_nest"]
    o = OneByOne()
    assert_same_bits(found[0], o.multiply(o.exp(o.add(o.exp(x), x)[::-1, ::-1]), x))


def linear(o: Any, x: Any, w: Any, b: Any, r: Any) -> Any:
    """A layer with bias, activation and residual."""
    return o.add(o.maximum(o.add(o.matmul(x, w), b), 0.0), r)


class Canonical(OneByOne):
    """Ops one by one, products in their canonical order."""

    @staticmethod
    def matmul(x: np.ndarray, w: np.ndarray) -> np.ndarray:
        return canonical_matmul(x, w)


def random(dtype: str, *shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape).astype(dtype)


@pytest.mark.parametrize(
    ("m", "k", "n", "launches"),
    [
        (20, 33, 40, ["matmul_32x32"]),
        (193, 20, 191, ["matmul_64x64"]),
        (33, 1600, 30, ["matmul_32x32", "matmul_add_shares"]),
        (5, 0, 4, ["matmul_128x8"]),
    ],
)
def test_an_epilogue_has_the_bits_of_its_ops(gpu: HostRuntime, m: int, k: int, n: int, launches: list[str]) -> None:
    arrays = random("float32", m, k), random("float32", k, n, seed=1), random("float32", n), random("float32", m, n)
    found = compiled(gpu, linear, *map(on_gpu, arrays))
    assert gpu.launches == launches
    assert_same_bits(found[0], linear(Canonical(), *arrays))


def test_an_epilogue_over_a_batch_reads_its_operands_in_place(gpu: HostRuntime) -> None:
    x, w = random("float32", 3, 2, 10, 12), random("float32", 2, 11, 12, seed=1)
    scale, residual = random("float32", 2, 1, 11), random("float32", 3, 1, 10, 1)

    def function(o: Any, x: Any, w: Any, scale: Any, residual: Any) -> tuple[Any, ...]:
        y = o.matmul(x, o.broadcast_to(o.permute_dims(w, (0, 2, 1)), (3, 2, 12, 11)))
        z = o.multiply(y, scale)
        return z, o.less(o.subtract(z, residual), 0.0)

    found = compiled(gpu, function, *map(on_gpu, (x, w, scale, residual)))
    assert gpu.launches == ["matmul_32x32"]
    for got, wanted in zip(found, function(Canonical(), x, w, scale, residual), strict=True):
        assert_same_bits(got, wanted)


def test_a_batch_of_rows_folds_only_where_the_operands_of_its_epilogue_do(gpu: HostRuntime) -> None:
    x, w, rows = random("float32", 4, 5, 8), random("float32", 8, 12, seed=1), random("float32", 5, 12)
    found = compiled(gpu, lambda o, x, w, r: o.add(o.add(o.matmul(x, w), r), r), *map(on_gpu, (x, w, rows)))
    o = Canonical()
    assert_same_bits(found[0], o.add(o.add(np.stack([o.matmul(part, w) for part in x]), rows), rows))


@pytest.mark.parametrize("dtype", ["float16", "int8"])
def test_an_epilogue_on_tensor_cores_rounds_as_if_the_product_were_stored(gpu: HostRuntime, dtype: str) -> None:
    x, w = (random("float32", 33, 40, seed=s) * 4 for s in (1, 2))
    x, w = x.astype(dtype), w.T.astype(dtype)
    bias = on_gpu(random("float32", 33).astype(dtype))
    product = ox.matmul(on_gpu(x), on_gpu(w))
    assert gpu.launches == ["matmul_mma_64x64"]
    found = compiled(gpu, lambda o, x, w, b: o.abs(o.add(o.matmul(x, w), b)), on_gpu(x), on_gpu(w), bias)
    assert gpu.launches == ["matmul_mma_64x64"]
    o = OneByOne()
    assert_same_bits(found[0], o.abs(o.add(product.numpy(), bias.numpy())))


@pytest.mark.parametrize("dtype", ["float16", "int8"])
def test_operands_that_are_widened_for_a_product_are_read_as_they_were(gpu: HostRuntime, dtype: str) -> None:
    x, w = (random("float32", 20, 24, seed=s) * 4 for s in (1, 2))
    x, w, wide = x.astype(dtype), w.astype(dtype), ox.int32 if dtype == "int8" else ox.float32

    def function(o: Any, x: Any, w: Any) -> Any:
        product = o.matmul(o.cast(x, dtype=wide), o.permute_dims(o.cast(w, dtype=wide), (1, 0)))
        return o.add(product, product)

    arrays = on_gpu(x), on_gpu(w)
    gpu.launches.clear()
    with ox.count_calls() as seen:
        ox.compile(lambda *xs: function(ox, *xs))(*arrays)
    assert gpu.launches == ["matmul_mma_64x64"]
    (decision,) = [c.decision for c in seen.steps()]
    canonical = next(c for c in runnable(decision) if c.name == "cuda/epilogue:cast,cast,matmul,add")
    assert canonical.run is not None
    found = canonical.run(list(arrays), None)[0].numpy()
    expected = canonical_matmul(x.astype(wide.numpy), w.T.astype(wide.numpy))
    assert_same_bits(found, expected + expected)
    assert gpu.launches[1:] == ["matmul_32x32"]


@pytest.mark.parametrize("shape", [(3, 5), (2, 1, 4)], ids=str)
def test_rows_over_several_axes_stay_there(gpu: HostRuntime, shape: tuple[int, ...]) -> None:
    x, w, b = random("float32", *shape, 12), random("float32", 8, 12, seed=1), random("float32", 8)
    arrays = on_gpu(x), on_gpu(w), on_gpu(b)
    o = Canonical()
    expected = o.add(o.matmul(x.reshape(-1, 12), w.T).reshape(*shape, 8), b)
    gpu.launches.clear()
    assert_same_bits(ox.linear(*arrays).numpy(), expected)
    assert gpu.launches == ["matmul_128x8"]
    turned = on_gpu(np.moveaxis(x, 0, -1).copy())
    assert_same_bits(ox.linear(ox.moveaxis(turned, -1, 0), *arrays[1:]).numpy(), expected)
    assert gpu.launches[1:] == ["matmul_128x8"]


def test_rows_that_are_spread_over_other_axes_than_they_come_from_stay_outside(gpu: HostRuntime) -> None:
    x, w = random("float32", 3, 5, 12), random("float32", 12, 15, seed=1)

    def function(o: Any, x: Any, w: Any) -> Any:
        y = o.reshape(o.matmul(o.reshape(x, (15, 12)), w), (5, 3, 15))
        return o.multiply(o.add(y, y), y)

    (found,) = compiled(gpu, function, on_gpu(x), on_gpu(w))
    assert_same_bits(found, function(Canonical(), x, w))


def test_explain_names_the_ops_of_a_region(gpu: HostRuntime) -> None:
    x = on_gpu(random("float32", 64))
    with ox.count_calls() as seen:
        ox.compile(lambda x: chain(ox, x, x))(x)
    (region,) = [c.decision for c in seen.steps()]
    assert region.chosen.name == "cuda/chain:negative,exp,multiply,add"
    others = {c.name: c for c in region.candidates}
    assert others["op by op"].cost.total > region.cost.total


def test_a_policy_of_determinism_demands_shown_claims_of_regions_too(gpu: HostRuntime) -> None:
    x = on_gpu(random("float32", 64))
    with ox.policy(pins={"exp": "cuda"}), ox.count_calls() as seen:
        ox.compile(lambda x: chain(ox, x, x))(x)
    assert [c.decision.chosen.name for c in seen.steps()] == ["cuda/chain:negative,exp,multiply,add"]
    with ox.policy(claims="shown"), pytest.raises(ox.UnsupportedError, match="declared only"):
        ox.compile(lambda x: chain(ox, x, x))(x)


def offered(function: Function, *arrays: ox.Array) -> object:
    """Return what is said of a whole function as a chain."""
    graph = ox.compile(lambda *xs: function(ox, *xs)).graph(*arrays)
    assert isinstance(graph, Graph)
    return chains.region(part_of(graph, 0, len(graph.nodes)).graph)


@pytest.mark.parametrize(
    ("function", "node", "reason"),
    [
        (lambda o, x, y: o.permute_dims(o.exp(o.negative(x)), (1, 0)), 2, "a view leaves"),
        (lambda o, x, y: (o.exp(o.negative(y)), o.exp(x)), 2, "is not the"),
        (lambda o, x, y: o.exp(o.permute_dims(x, (1, 0))), 0, "one op"),
    ],
)
def test_refusals_say_where_to_cut(gpu: HostRuntime, function: Function, node: int, reason: str) -> None:
    answer = offered(function, on_gpu(random("float32", 3, 4)), on_gpu(random("float32", 4)))
    assert isinstance(answer, Refusal)
    assert (answer.node, reason in answer.reason) == (node, True)


def test_graphs_of_what_nothing_computes_are_not_offered_node_by_node(gpu: HostRuntime) -> None:
    def scans(x: Any) -> Any:
        for _ in range(20):
            x = ox.negative(ox.cumulative_sum(x, axis=0))
        return x

    graph = ox.compile(scans).graph(on_gpu(random("float32", 8, 8)))
    asked: list[int] = []

    class Counted(Regions):
        def compile(self, graph: Graph, device: ox.Device) -> Kernel | Refusal:
            asked.append(len(graph.nodes))
            return super().compile(graph, device)

    made = cut(graph, [("cuda", Counted(MAKERS))], ox.device("cuda:0"))
    assert (len(graph.nodes), len(made)) == (40, 40)
    assert len(asked) <= 40


def test_a_kernel_takes_a_limited_number_of_arrays(gpu: HostRuntime) -> None:
    arrays = [on_gpu(np.float32([i])) for i in range(40)]
    found = compiled(gpu, lambda o, *xs: sum(xs[1:], xs[0]), *arrays)
    assert found[0].tolist() == [sum(range(40))]
    assert gpu.launches == ["elementwise_dense"] * 2


def test_a_kernel_takes_a_limited_number_of_strides(gpu: HostRuntime) -> None:
    arrays = [on_gpu(np.zeros((0,) * 30, np.float32)) for _ in range(20)]
    with ox.count_calls() as seen:
        ox.compile(lambda *xs: sum(xs[1:], xs[0]))(*arrays)
    reasons = [c.rejection.detail for s in seen.steps() for c in s.decision.candidates if c.rejection]
    assert "sizes and strides of 21 arrays over 30 axes are too much for one kernel" in reasons


def test_what_is_dear_is_not_repeated_for_a_larger_shape(gpu: HostRuntime) -> None:
    def dear(o: Any, x: Any, y: Any) -> Any:
        return o.add(o.multiply(x, o.sin(o.exp(y))), x)

    arrays = random_bits("float32", (6, 8), 1), random_bits("float32", (8,), 2)
    check(gpu, ["elementwise_dense", "elementwise_rows"], dear, *arrays)
