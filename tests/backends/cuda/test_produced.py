"""Reductions with what makes their terms and what is done to their results, as the launches of the reduction."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import opmux as ox
from opmux.backends.cuda import reductions
from opmux.backends.cuda.regions import produced
from opmux.plugin import CallSpec, Refusal, Rejection
from tests.backends.cuda.host.planted import plant
from tests.backends.cuda.host.plugin import OnHost, registered
from tests.backends.cuda.host.runtime import HostRuntime
from tests.backends.cuda.test_row_regions import ENTRY, Function, captured, hold, normal, on_gpu

ROWS, COLUMNS, TREE, FEW, STRIDED = (f"reduce_{form}" for form in ("rows", "columns", "tree", "few", "strided"))


def check(gpu: HostRuntime, function: Function, *arrays: ox.Array) -> None:
    hold(gpu, produced.region, captured(function, *arrays), *arrays)


#: The shape of the operands, the reduced axes and the launches.
LAYOUTS: dict[str, tuple[tuple[int, ...], int | tuple[int, ...] | None, list[str]]] = {
    "rows": ((5, 1031), 1, [ROWS]),
    "columns": ((1500, 40), 0, [COLUMNS, TREE]),
    "all": ((70001,), None, [ROWS, TREE]),
    "few": ((9, 300), 0, [FEW]),
    "two axes apart": ((7, 5, 33), (0, 2), [STRIDED]),
}


@pytest.mark.parametrize(("shape", "axis", "launches"), LAYOUTS.values(), ids=LAYOUTS)
def test_terms_of_two_arrays_are_the_reduction_s_launches(
    gpu: HostRuntime, shape: tuple[int, ...], axis: Any, launches: list[str]
) -> None:
    check(gpu, lambda x, y: ox.sum(ox.exp(x) * y, axis=axis), on_gpu(normal(shape)), on_gpu(normal(shape, seed=1)))
    assert gpu.launches == launches


#: Functions of two arrays of one dtype.
FUNCTIONS: dict[str, Function] = {
    "distance": lambda x, y: ox.sqrt(ox.sum(ox.square(x - y), axis=0)),
    "mean": lambda x, y: ox.mean(x, axis=0),
    "mean of products": lambda x, y: ox.mean(x * y, axis=0, keepdims=True),
    "largest": lambda x, y: ox.max(ox.where(x > y, x, y), axis=0) * 2,
    "whether any": lambda x, y: ox.any(x > y * 3, axis=0),
    "the best place": lambda x, y: ox.argmax(x * y, axis=0) + 1,
}


@pytest.mark.parametrize("dtype", ["float32", "float16", "float64"])
@pytest.mark.parametrize("name", FUNCTIONS)
def test_terms_and_results_round_as_the_ops_do(gpu: HostRuntime, name: str, dtype: str) -> None:
    check(gpu, FUNCTIONS[name], on_gpu(normal((90, 17), dtype)), on_gpu(normal((90, 17), dtype, 1)))
    assert gpu.launches == [COLUMNS]


def test_operands_of_several_widths_are_loaded_together(gpu: HostRuntime) -> None:
    shape = (3, 2100)
    arrays = [on_gpu(normal(shape, t, i)) for i, t in enumerate(("float16", "float32", "float64"))]
    check(gpu, lambda x, y, z: ox.sum(ox.cast(ox.cast(x, ox.float32) * y, ox.float64) * z, axis=1), *arrays)
    assert gpu.launches == [ROWS]


@pytest.mark.parametrize("dtype", ["int8", "float16"])
def test_batches_of_three_narrow_operands_end_with_a_block(gpu: HostRuntime, dtype: str) -> None:
    x, y, z = (on_gpu((normal((2, 2100), seed=i) * 4).astype(dtype)) for i in range(3))
    check(gpu, lambda x, y, z: ox.sum(x * y > z, axis=1) + 1, x, y, z)
    assert gpu.launches == [ROWS]


def test_operands_that_lie_alike_may_lie_anyhow(gpu: HostRuntime) -> None:
    x, y = (ox.permute_dims(on_gpu(normal((70, 30), seed=i)), (1, 0)) for i in range(2))
    check(gpu, lambda x, y: ox.sum(x * y, axis=1), x, y)
    assert gpu.launches == [COLUMNS]


#: Shapes of three operands beside one of (30, 40, 56), the reduced axes and the launches.
MIXED: dict[str, tuple[list[tuple[int, ...]], int | tuple[int, ...] | None, list[str]]] = {
    "a bias per column": ([(56,), (1, 1)], 0, [COLUMNS]),
    "a mean of columns": ([(1, 40, 56), (30, 1, 1)], 0, [COLUMNS]),
    "something per term": ([(40, 1), (30, 40, 1)], 1, [COLUMNS]),
    "something per row": ([(30, 40, 1), (40, 1)], 2, [ROWS]),
    "a weight of rows": ([(56,), (30, 1, 56)], 2, [ROWS]),
    "two axes": ([(30, 1, 1), (40, 56)], (1, 2), [ROWS]),
    "everything": ([(), (1, 1, 1)], None, [ROWS, TREE]),
}


@pytest.mark.parametrize("dtype", ["float32", "float16"])
@pytest.mark.parametrize(("shapes", "axis", "launches"), MIXED.values(), ids=MIXED)
def test_operands_are_repeated(
    gpu: HostRuntime, shapes: list[tuple[int, ...]], axis: Any, launches: list[str], dtype: str
) -> None:
    arrays = [on_gpu(normal(s, dtype, i)) for i, s in enumerate([(30, 40, 56), *shapes])]
    check(gpu, lambda x, y, z: ox.sum((x - y) * z, axis=axis), *arrays)
    assert gpu.launches == launches


def test_a_few_repeated_terms_are_a_thread_s(gpu: HostRuntime) -> None:
    x, y, z = on_gpu(normal((6, 70))), on_gpu(normal((6, 1))), ox.permute_dims(on_gpu(normal((70, 6))), (1, 0))
    check(gpu, lambda x, y, z: ox.max(x * y - z, axis=0), x, y, z)
    assert gpu.launches == [FEW]


def test_columns_lie_in_different_distances(gpu: HostRuntime) -> None:
    x, y = on_gpu(normal((90, 24))), on_gpu(normal((90, 40)))[:, 3:27]
    check(gpu, lambda x, y: ox.mean(x * y, axis=0), x, y)
    assert gpu.launches == [COLUMNS]


def test_many_repeated_columns_are_loaded_as_vectors(gpu: HostRuntime, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reductions, "ENOUGH", 1)
    check(gpu, lambda x, y: ox.sum(x * y, axis=0), on_gpu(normal((90, 48))), on_gpu(normal((90, 1))))
    check(gpu, lambda x, y: ox.sum(x * y, axis=0), on_gpu(normal((90, 48))), on_gpu(normal((48,))))


def test_rows_that_begin_apart_are_not_loaded_as_vectors(gpu: HostRuntime) -> None:
    x, y = on_gpu(normal((5, 99))), on_gpu(normal((5, 128)))[:, :99]
    check(gpu, lambda x, y: ox.sum(x * y, axis=1), x, y)
    assert gpu.launches == [ENTRY]


def test_operands_are_looked_at_once(gpu: HostRuntime, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[object] = []
    plan = produced._Reduction.plan
    monkeypatch.setattr(produced._Reduction, "plan", lambda *a: asked.append(a) or plan(*a))
    check(gpu, lambda x: ox.sum(x * x, axis=0), on_gpu(normal((90, 4))))
    assert len(asked) == 1


def test_rows_that_do_not_lie_alike_are_another_kernel_s(gpu: HostRuntime) -> None:
    x, y = on_gpu(normal((5, 80))), on_gpu(normal((80, 5)))
    check(gpu, lambda x, y: ox.sum(x * y, axis=1), x, ox.permute_dims(y, (1, 0)))
    assert gpu.launches == [ENTRY]


def test_columns_that_do_not_lie_alike_are_left_to_the_ops(gpu: HostRuntime) -> None:
    x, y = on_gpu(normal((50, 80))), ox.permute_dims(on_gpu(normal((80, 50))), (1, 0))
    graph = captured(lambda x, y: ox.sum(x * y, axis=0), x, y)
    kernel = produced.region(graph)
    assert not isinstance(kernel, Refusal)
    spec = CallSpec(kernel.op, (x._sig, y._sig), (on_gpu(np.zeros(80, np.float32))._sig,), {})
    assert isinstance(kernel.prepare(spec), Rejection)


@pytest.mark.parametrize(
    ("function", "reason"),
    [
        (lambda x: ox.exp(x) * x, "nothing is reduced"),
        (lambda x: ox.softmax(x, axis=0), "second reduction"),
        (lambda x: (ox.exp(x), ox.sum(ox.exp(x), axis=0)), "a result too"),
        (lambda x: ox.sum(x * ox.permute_dims(x, (1, 0)), axis=0), "turned"),
        (lambda x: ox.sum(x * x, axis=0) * x, "not made of what is reduced"),
    ],
)
def test_what_is_no_reduction_alone_is_refused(gpu: HostRuntime, function: Function, reason: str) -> None:
    refused = produced.region(captured(function, on_gpu(normal((24, 24)))))
    assert isinstance(refused, Refusal)
    assert reason in refused.reason


def test_a_compiled_function_takes_one_launch(gpu: HostRuntime) -> None:
    x = on_gpu(normal((90, 16)))
    ox.compile(lambda x: ox.mean(ox.square(x), axis=0) + 1.0)(x)
    assert gpu.launches == [COLUMNS]


#: What is changed in the source, and the shape of the second operand that sees it.
FAULTS: dict[str, tuple[str, str, tuple[int, ...]]] = {
    "an operand that stays": ("return {in0 + i, in1 + i};", "return {in0 + i, in1};", (90, 17)),
    "the strides of another": ("in1 + i.by[1]}", "in1 + i.by[0]}", (90, 1)),
    "an operand that should stay": ("return {in0 + i, in1};", "return {in0 + i, in1 + i};", (90, 1)),
}


@pytest.mark.parametrize(("right", "wrong", "shape"), FAULTS.values(), ids=FAULTS)
def test_a_planted_fault_is_seen(
    monkeypatch: pytest.MonkeyPatch, right: str, wrong: str, shape: tuple[int, ...]
) -> None:
    plant(monkeypatch, right, wrong)
    gpu = HostRuntime()
    with registered(OnHost(gpu)), pytest.raises(AssertionError, match="differ"):
        check(gpu, lambda x, y: ox.sum(x * y, axis=0), on_gpu(normal((90, 17))), on_gpu(normal(shape, seed=1)))
