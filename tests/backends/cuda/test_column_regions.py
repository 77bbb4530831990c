"""Reductions along other axes than the last ones with what is around them as one kernel: the bits of op by op."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import opmux as ox
from opmux.backends.cuda.regions import column_regions, row_regions
from opmux.backends.cuda.regions.column_source import ENTRY
from opmux.plugin import CallSpec, Kernel, Refusal, Rejection
from tests.backends.cuda.host.planted import plant
from tests.backends.cuda.host.plugin import OnHost, registered
from tests.backends.cuda.host.runtime import HostRuntime
from tests.backends.cuda.test_row_regions import Function, captured, hold, normal, on_gpu

#: One of the two orders of threads, where many cases would be carried out in both.
descending = pytest.mark.parametrize("gpu", [True], indirect=True, ids=["descending"])


@pytest.fixture
def few_are_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    """Take the layouts of work that keeps a large GPU busy."""
    monkeypatch.setattr(column_regions, "BUSY", 1)
    monkeypatch.setattr(column_regions, "FEWEST_BLOCKS", 0)


def check(gpu: HostRuntime, function: Function, *arrays: ox.Array) -> None:
    """Hold one launch's results to the function's nodes one by one."""
    hold(gpu, row_regions.region, captured(function, *arrays), *arrays)
    assert gpu.launches == [ENTRY]


def normed(x: ox.Array, axis: Any) -> ox.Array:
    return (x - ox.mean(x, axis=axis, keepdims=True)) / ox.std(x, axis=axis, keepdims=True)


#: Functions of a matrix, a row and a column.
FUNCTIONS: dict[str, Function] = {
    "softmax": lambda x, r, c: ox.softmax(x, axis=0),
    "log_softmax": lambda x, r, c: ox.log_softmax(x * r, axis=0),
    "logsumexp": lambda x, r, c: ox.logsumexp(x + c, axis=0),
    "norm of columns": lambda x, r, c: normed(x, 0) * r + c,
    "mean and variance": lambda x, r, c: (ox.mean(x, axis=0), ox.var(x, axis=0, correction=1.0)),
    "mean and centred": lambda x, r, c: (ox.mean(x, axis=0), x - ox.mean(x, axis=0, keepdims=True)),
    "extremes": lambda x, r, c: (x - ox.min(x, axis=0)) / ox.max(ox.abs(x), axis=0, keepdims=True),
    "truth": lambda x, r, c: ox.where(ox.any(x > 2.0, axis=0), x, ox.prod(x, axis=0)),
    "a reduction of one term": lambda x, r, c: x - ox.sum(ox.sum(x, axis=0, keepdims=True) * r, axis=0),
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_functions_of_columns_are_one_launch(gpu: HostRuntime, name: str) -> None:
    check(gpu, FUNCTIONS[name], on_gpu(normal((99, 7))), on_gpu(normal((7,), seed=1)), on_gpu(normal((99, 1), seed=2)))


@pytest.mark.parametrize("length", [2, 7, 33, 1000, 1025, 5000])
@descending
@pytest.mark.usefixtures("few_are_enough")
def test_columns_of_any_length_are_one_launch(gpu: HostRuntime, length: int) -> None:
    check(gpu, lambda x: ox.softmax(x, axis=1), on_gpu(normal((2, length, 3))))


@pytest.mark.parametrize("length", [3, 19, 64, 200, 2048])
@pytest.mark.usefixtures("few_are_enough")
def test_threads_have_several_columns(gpu: HostRuntime, length: int) -> None:
    check(gpu, lambda x: normed(x, 0), on_gpu(normal((length, 44))))


@pytest.mark.parametrize("dtype", ["float64", "float16", "bfloat16"])
@pytest.mark.parametrize("length", [90, 1500])
@descending
@pytest.mark.usefixtures("few_are_enough")
def test_every_width_of_element_gives_the_bits(gpu: HostRuntime, length: int, dtype: str) -> None:
    x = on_gpu(normal((length, 24), dtype))
    check(gpu, lambda x: (ox.softmax(x, axis=0), ox.var(x, axis=0)), x)


#: A view of an array of shape (6, 8, 40), and the axes of its columns.
VIEWS: dict[str, tuple[Function, tuple[int, ...]]] = {
    "channels": (lambda x: x, (1,)),
    "the first axis": (lambda x: x, (0,)),
    "two axes": (lambda x: x, (0, 1)),
    "two axes apart": (lambda x: ox.permute_dims(x, (1, 0, 2))[:, :, None], (0, 2)),
    "columns that begin late": (lambda x: x[:, 1:, 3:], (1,)),
    "backwards": (lambda x: x[:, ::-1], (1,)),
    "every other term": (lambda x: x[:, ::2], (1,)),
    "an axis of one element": (lambda x: x[:, :, None], (1,)),
    "the batch turned": (lambda x: ox.permute_dims(x, (1, 0, 2)), (1,)),
}


@pytest.mark.parametrize(("view", "axes"), VIEWS.values(), ids=VIEWS)
@descending
@pytest.mark.usefixtures("few_are_enough")
def test_operands_lie_anyhow(gpu: HostRuntime, view: Function, axes: tuple[int, ...]) -> None:
    check(gpu, lambda x: ox.softmax(x * 2.0, axis=axes), view(on_gpu(normal((6, 8, 40)))))


@pytest.mark.usefixtures("few_are_enough")
def test_operands_are_repeated_along_columns_and_over_them(gpu: HostRuntime) -> None:
    shapes = ((4, 6, 8), (8,), (6, 1), (4, 1, 1), (4, 1, 8), ())
    arrays = [on_gpu(normal(s, seed=i)) for i, s in enumerate(shapes)]
    check(gpu, lambda x, a, b, c, d, e: ox.softmax((x + a) * b - c * d + e, axis=1), *arrays)


def test_special_values_go_where_the_ops_let_them(gpu: HostRuntime) -> None:
    x = normal((70, 6))
    x[3, 0], x[69, 1], x[0, 2], x[:, 3] = np.nan, np.inf, -np.inf, -np.inf
    x[:, 4], x[1:, 5] = -0.0, 0.0
    check(gpu, lambda x: (ox.softmax(x, axis=0), ox.sum(x * 1.0, axis=0), ox.max(x, axis=0)), on_gpu(x))


def test_columns_of_nothing_have_the_identity(gpu: HostRuntime) -> None:
    x = on_gpu(normal((0, 3)))
    check(gpu, lambda x: (ox.sum(ox.exp(x), axis=0) + 1.0, ox.prod(x, axis=0)), x)


def test_no_columns_are_no_launch(gpu: HostRuntime) -> None:
    assert ox.compile(lambda x: normed(x, 0))(on_gpu(normal((3, 0)))).shape == (3, 0)
    assert gpu.launches == []


@descending
@pytest.mark.parametrize("op", [ox.softmax, ox.log_softmax, ox.logsumexp])
def test_composites_called_one_by_one_are_one_launch(gpu: HostRuntime, op: Function) -> None:
    op(on_gpu(normal((3, 20, 5, 5))), axis=1)
    assert gpu.launches == [ENTRY]


def test_explain_names_the_kernel(gpu: HostRuntime) -> None:
    assert "cuda/columns:max,subtract,exp,sum" in str(ox.explain("softmax", on_gpu(normal((96, 4))), axis=0))


def test_a_few_long_columns_are_left_to_more_blocks(gpu: HostRuntime) -> None:
    refused = row_regions.region(captured(lambda x: ox.softmax(x, axis=0), on_gpu(normal((1 << 13, 8)))))
    assert isinstance(refused, Refusal)
    assert "more blocks" in refused.reason


def test_columns_of_more_turns_than_are_kept_are_refused(gpu: HostRuntime, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(column_regions, "MOST_TURNS", 7)
    refused = row_regions.region(captured(lambda x: ox.softmax(x, axis=0), on_gpu(normal((1 << 13, 8)))))
    assert isinstance(refused, Refusal)
    assert "too long" in refused.reason


def test_columns_that_lie_along_memory_are_left_to_the_ops(gpu: HostRuntime) -> None:
    x = ox.permute_dims(on_gpu(normal((8, 30))), (1, 0))
    kernel = row_regions.region(captured(lambda x: ox.softmax(x, axis=0), x))
    assert isinstance(kernel, Kernel)
    assert isinstance(kernel.prepare(CallSpec(kernel.op, (x._sig,), (on_gpu(normal((30, 8)))._sig,), {})), Rejection)
    ox.softmax(x, axis=0)
    assert ENTRY not in gpu.launches


def test_one_text_serves_many_lengths(gpu: HostRuntime, monkeypatch: pytest.MonkeyPatch) -> None:
    texts: list[str] = []
    source = column_regions._source
    monkeypatch.setattr(column_regions, "_source", lambda v: texts.append(source(v)) or texts[-1])
    for length in (600, 700):
        check(gpu, lambda x: normed(x, 0), on_gpu(normal((length, 2))))
    assert texts[0] == texts[1]


#: What is changed in the source, how long columns must be to see it, and in which order of threads it is seen.
FAULTS: dict[str, tuple[str, str, int, bool]] = {
    "no barrier": ("values[v];\n            __syncthreads();", "values[v];", 1000, False),
    "no second barrier": ("}\n            __syncthreads();\n#pragma", "}\n#pragma", 1000, True),
    "values of the turn before": ("turn & 1", "0", 3000, True),
    "halves from the near end": ("bits = WARP / 2; bits >= ACROSS; bits /= 2",
                                 "bits = ACROSS; bits < WARP; bits *= 2", 99, False),
    "low bits in a warp": ("lane / ACROSS * WARPS + warp % WARPS",
                           "warp % WARPS * (WARP / ACROSS) + lane / ACROSS", 1000, False),
    "a wrong distance": ("+= walk0.stride * Place::DOWN", "+= walk0.stride * (Place::DOWN - 1)", 99, False),
}  # fmt: skip


@pytest.mark.parametrize(("right", "wrong", "length", "backwards"), FAULTS.values(), ids=FAULTS)
def test_a_planted_fault_is_seen(
    monkeypatch: pytest.MonkeyPatch, right: str, wrong: str, length: int, backwards: bool
) -> None:
    plant(monkeypatch, right, wrong)
    monkeypatch.setattr(column_regions, "FEWEST_BLOCKS", 0)
    gpu = HostRuntime(reversed_turns=backwards)
    with registered(OnHost(gpu)), pytest.raises(AssertionError, match="differ"):
        check(gpu, lambda x: x - ox.sum(ox.exp(x), axis=0), on_gpu(normal((length, 8))))
