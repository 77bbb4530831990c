"""Reductions of rows with what is around them as one kernel, carried out on the host: the bits of op by op."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import opmux as ox
from opmux.backends.cuda.regions import row_regions
from opmux.backends.cuda.regions.row_program import rows_of
from opmux.backends.cuda.regions.row_source import ENTRY
from opmux.core.dtypes import BY_NAME
from opmux.core.graphs.regions import inlined
from opmux.core.graphs.trace import capture_function
from opmux.core.signature import signature
from opmux.plugin import ArraySpec, CallSpec, Graph, Kernel, Prepared, Refusal, Rejection
from tests.backends.cuda.host.planted import plant
from tests.backends.cuda.host.plugin import OnHost, registered
from tests.backends.cuda.host.runtime import HostRuntime
from tests.backends.cuda.node_by_node import carried_out
from tests.opset.one_by_one import assert_same_bits

Array = np.ndarray[Any, Any]
Function = Callable[..., Any]


def normal(shape: tuple[int, ...], dtype: str = "float32", seed: int = 0) -> Array:
    return np.random.default_rng(seed).standard_normal(shape).astype(BY_NAME[dtype].numpy)


def on_gpu(x: Array) -> ox.Array:
    return ox.asarray(x, device="cuda:0")


def captured(function: Function, *arrays: ox.Array) -> Graph:
    """Return a function as the core offers it to region compilers."""
    device = arrays[0].device
    specs = [ArraySpec(x.dtype, x.shape) for x in arrays]
    return inlined(capture_function(function, device, specs, {}).graph, device)


def asked(kernel: Kernel, graph: Graph, *arrays: ox.Array) -> Prepared | Rejection:
    """Return what a graph's kernel says to these arrays."""
    results = (graph.specs[i] for i in graph.outputs)
    outputs = tuple(signature(arrays[0].device, r.dtype, r.shape) for r in results)
    return kernel.prepare(CallSpec(kernel.op, tuple(x._sig for x in arrays), outputs, {}))


def hold(gpu: HostRuntime, region: Callable[[Graph], Kernel | Refusal], graph: Graph, *arrays: ox.Array) -> None:
    """Hold what one kernel gives for a graph to the nodes one by one; its launches are the only ones that are noted."""
    kernel = region(graph)
    assert isinstance(kernel, Kernel)
    results = [graph.specs[i] for i in graph.outputs]
    prepared = asked(kernel, graph, *arrays)
    assert isinstance(prepared, Prepared)
    found = [on_gpu(np.full(r.shape, 77).astype(r.dtype.numpy)) for r in results]
    workspace = on_gpu(np.full(prepared.workspace, 77, np.uint8))
    gpu.launches.clear()
    prepared.launch(found, arrays, workspace, None)
    for x, expected in zip(found, carried_out(graph, *(a.numpy() for a in arrays)), strict=True):
        assert_same_bits(x.numpy(), expected)


def check(gpu: HostRuntime, function: Function, *arrays: ox.Array) -> None:
    """Hold one launch's results to the function's nodes one by one."""
    hold(gpu, row_regions.region, captured(function, *arrays), *arrays)
    assert gpu.launches == [ENTRY]


def norm(x: ox.Array, weight: ox.Array, bias: ox.Array) -> ox.Array:
    return ox.layer_norm(x, weight, bias)


#: Functions of a matrix and two rows beside it.
FUNCTIONS: dict[str, Function] = {
    "softmax": lambda x, w, b: ox.softmax(x),
    "log_softmax": lambda x, w, b: ox.log_softmax(x * w),
    "layer_norm": norm,
    "rms_norm": lambda x, w, b: ox.rms_norm(x, w),
    "logsumexp": lambda x, w, b: ox.logsumexp(x, axis=-1),
    "mean and centred": lambda x, w, b: (ox.mean(x, axis=-1), x - ox.mean(x, axis=-1, keepdims=True)),
    "std": lambda x, w, b: ox.std(x, axis=-1, correction=1.0) * 2.0,
    "weighted sum": lambda x, w, b: ox.sum(ox.exp(x) * w, axis=-1),
    "extremes": lambda x, w, b: (x - ox.min(x, axis=-1, keepdims=True)) / ox.max(ox.abs(x), axis=-1, keepdims=True),
    "truth": lambda x, w, b: ox.where(ox.any(x > 2.0, axis=-1, keepdims=True), x, ox.prod(x, axis=-1, keepdims=True)),
}


@pytest.mark.parametrize("length", [1, 7, 32, 1000, 1024, 5000, 17000])
def test_rows_of_any_length_are_one_launch(gpu: HostRuntime, length: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(row_regions, "FEWEST_BLOCKS", 1)
    check(gpu, ox.softmax, on_gpu(normal((3, length))))


@pytest.mark.parametrize("name", FUNCTIONS)
def test_functions_of_rows_are_one_launch(gpu: HostRuntime, name: str) -> None:
    check(gpu, FUNCTIONS[name], on_gpu(normal((5, 99))), on_gpu(normal((99,), seed=1)), on_gpu(normal((99,), seed=2)))


@pytest.mark.parametrize("dtype", ["float64", "float16", "bfloat16"])
@pytest.mark.parametrize("name", ["softmax", "layer_norm"])
def test_every_width_of_element_gives_the_bits(gpu: HostRuntime, name: str, dtype: str) -> None:
    rows = (normal((n, 1096)[2 - k :], dtype, k) for k, n in ((2, 3), (1, 0), (1, 0)))
    check(gpu, FUNCTIONS[name], *map(on_gpu, rows))


#: A view of an array of shape (6, 4, 40), and the axes of its rows.
VIEWS: dict[str, tuple[Function, tuple[int, ...]]] = {
    "every other element": (lambda x: x[:, :, ::2], (-1,)),
    "backwards": (lambda x: x[:, ::-1, ::-1], (1, 2)),
    "rows that begin late": (lambda x: x[1:, :, 3:], (2,)),
    "rows of two axes": (lambda x: x[:, :, 4:], (1, 2)),
    "transposed": (lambda x: ox.permute_dims(x, (2, 0, 1)), (2,)),
    "one row of all": (lambda x: x, (0, 1, 2)),
    "an axis of one element": (lambda x: x[:, :1], (1,)),
}


@pytest.mark.parametrize(("view", "axes"), VIEWS.values(), ids=VIEWS)
def test_operands_may_lie_anyhow(gpu: HostRuntime, view: Function, axes: tuple[int, ...]) -> None:
    x = view(on_gpu(normal((6, 4, 40))))
    check(gpu, lambda x: ox.softmax(x * 2.0, axis=axes), x)


def test_operands_are_repeated_along_rows_and_over_them(gpu: HostRuntime) -> None:
    x, row, column, one = (on_gpu(normal(s, seed=len(s))) for s in ((4, 3, 64), (64,), (3, 1), ()))
    check(gpu, lambda x, r, c, s: ox.softmax((x + r) * c - s), x, row, column, one)


def test_many_short_rows_share_a_block(gpu: HostRuntime) -> None:
    check(gpu, ox.log_softmax, on_gpu(normal((70, 4))))


def test_one_text_serves_many_lengths(gpu: HostRuntime, monkeypatch: pytest.MonkeyPatch) -> None:
    texts: list[str] = []
    source = row_regions._source
    monkeypatch.setattr(row_regions, "_source", lambda v: texts.append(source(v)) or texts[-1])
    for length in (600, 700):
        check(gpu, ox.layer_norm, on_gpu(normal((2, length))))
    assert texts[0] == texts[1]


def test_results_of_rows_and_of_elements_leave_together(gpu: HostRuntime) -> None:
    def moments(x: ox.Array) -> tuple[ox.Array, ...]:
        mean, spread = ox.mean(x, axis=-1, keepdims=True), ox.std(x, axis=-1)
        return mean, (x - mean) * 3.0, spread, ox.sum(x, axis=-1)

    check(gpu, moments, on_gpu(normal((2, 3, 100))))


def test_special_values_go_where_the_ops_let_them(gpu: HostRuntime) -> None:
    x = normal((6, 70))
    x[0, 3], x[1, 69], x[2, 0], x[3] = np.nan, np.inf, -np.inf, -np.inf
    x[4], x[5, 1:] = -0.0, 0.0
    check(gpu, lambda x: (ox.softmax(x), ox.sum(x * 1.0, axis=-1), ox.max(x, axis=-1)), on_gpu(x))


def test_rows_of_nothing_have_the_identity(gpu: HostRuntime) -> None:
    check(gpu, lambda x: ox.sum(ox.exp(x), axis=-1) + 1.0, on_gpu(normal((3, 0))))
    check(gpu, lambda x: ox.prod(ox.exp(x), axis=(1, 2)) + 1.0, on_gpu(normal((3, 5, 4)))[:, ::2, :0])


def test_no_rows_are_no_launch(gpu: HostRuntime) -> None:
    assert ox.compile(lambda x: ox.sum(ox.exp(x), axis=-1) + 1.0)(on_gpu(normal((0, 3)))).shape == (0,)
    assert gpu.launches == []


@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_composites_called_one_by_one_are_one_launch_too(gpu: HostRuntime, dtype: str) -> None:
    x, w = on_gpu(normal((4, 96), dtype)), on_gpu(normal((96,), dtype))
    ox.softmax(x)
    ox.layer_norm(x, w, w)
    assert gpu.launches == [ENTRY, ENTRY]
    assert "cuda/rows:max,subtract,exp,sum" in str(ox.explain("softmax", on_gpu(normal((4, 96)))))


def test_what_comes_before_and_after_rows_is_cut_off(gpu: HostRuntime) -> None:
    x = normal((24, 24))
    found = ox.compile(lambda x: ox.sort(ox.softmax(ox.sort(x))))(on_gpu(x))
    (expected,) = carried_out(captured(ox.softmax, on_gpu(x)), np.sort(x))
    assert_same_bits(found.numpy(), np.sort(expected))
    assert gpu.launches.count(ENTRY) == 1
    assert not any(name.startswith(("reduce_rows", "elementwise")) for name in gpu.launches)


@pytest.mark.parametrize(
    ("function", "reason"),
    [
        (lambda x: ox.exp(x) * x, "nothing is reduced"),
        (lambda x: ox.sum(ox.softmax(x), axis=0) + 1.0, "other rows"),
        (lambda x: ox.sum(x, axis=-1) * x, "other rows"),
    ],
)
def test_what_is_no_work_on_rows_is_refused(gpu: HostRuntime, function: Function, reason: str) -> None:
    refused = rows_of(captured(function, on_gpu(normal((24, 24)))), keep=True)
    assert isinstance(refused, Refusal)
    assert reason in refused.reason


def test_rows_that_leave_multiprocessors_idle_or_are_read_again_are_dear(gpu: HostRuntime) -> None:
    def share(*shape: int) -> float:
        kernel = row_regions.region(captured(ox.softmax, on_gpu(np.zeros(shape, np.float32))))
        assert isinstance(kernel, Kernel)
        return kernel.cost.memory

    assert share(200, 4096) == 1
    assert share(33, 4096) == 0.25
    assert share(200, 1 << 15) == 0.5


def test_a_few_very_long_rows_are_left_to_more_blocks(gpu: HostRuntime) -> None:
    refused = row_regions.region(captured(ox.softmax, on_gpu(np.zeros((2, 1 << 15), np.float32))))
    assert isinstance(refused, Refusal)
    assert "more blocks" in refused.reason


#: What is changed in the source, and how long a row must be to see it.
FAULTS: dict[str, tuple[str, str, int]] = {
    "no barrier": ("if (values > 1) __syncthreads();", "", 5000),
    "no second barrier": ("__syncthreads();\n                own", "own", 70000),
    "another warp's place": ("+ warp_in_row] = value", "+ warp_in_row * 5 % 8] = value", 5000),
    "halves from the near end": ("half = TEAM / 2; half; half /= 2", "half = 1; half < TEAM; half *= 2", 99),
    "a row too far": ("* teams + (team >> spread.teams);", "* teams + (team >> spread.teams) + 1;", 7),
}  # fmt: skip


@pytest.mark.parametrize(("right", "wrong", "length"), FAULTS.values(), ids=FAULTS)
def test_a_planted_fault_is_seen(monkeypatch: pytest.MonkeyPatch, right: str, wrong: str, length: int) -> None:
    plant(monkeypatch, right, wrong)
    monkeypatch.setattr(row_regions, "FEWEST_BLOCKS", 1)
    gpu = HostRuntime()
    with registered(OnHost(gpu)), pytest.raises(AssertionError, match="differ"):
        check(gpu, lambda x: ox.sum(ox.exp(x), axis=-1) + ox.max(x, axis=-1), on_gpu(normal((6, length))))
