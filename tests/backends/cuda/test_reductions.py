"""Reductions, carried out on the host: the canonical bits for every way that terms may lie and work may be spread."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import opmux as ox
from opmux.backends.cuda import reduction_kernels, reductions
from opmux.backends.cuda.folds import Fold
from opmux.backends.cuda.reductions import Form, plan, spread
from opmux.core.dtypes import BY_NAME
from opmux.core.nests import Nest
from opmux.opset import orders
from tests.backends.cuda.host.planted import plant
from tests.backends.cuda.host.plugin import OnHost, registered
from tests.backends.cuda.host.runtime import HostRuntime
from tests.backends.cuda.test_elementwise import same_bits

Array = np.ndarray[Any, Any]
View = Callable[[Any], Any]


def normal(dtype: str, shape: tuple[int, ...], seed: int = 0) -> Array:
    return np.random.default_rng(seed).standard_normal(shape).astype(BY_NAME[dtype].numpy)


def found(op: str, x: Array, view: View = lambda v: v, **attributes: Any) -> Array:
    return np.asarray(getattr(ox, op)(view(ox.asarray(x, device="cuda:0")), **attributes).numpy())


#: Shape, axes, a view, and the kernels that do it.
LAYOUTS: list[tuple[str, tuple[int, ...], int | tuple[int, ...] | None, View, list[str]]] = [
    ("one row", (1000,), None, lambda v: v, ["reduce_rows"]),
    ("a whole block and one term", (3, 1025), 1, lambda v: v, ["reduce_rows"]),
    ("rows at every misalignment", (9, 1031), 1, lambda v: v, ["reduce_rows"]),
    ("rows that begin late", (2, 2500), 1, lambda v: v[:, 3:], ["reduce_rows"]),
    ("several blocks of threads", (70001,), None, lambda v: v, ["reduce_rows", "reduce_tree"]),
    ("backwards", (2100,), None, lambda v: v[::-1], ["reduce_strided"]),
    ("two axes apart", (70, 5, 33), (0, 2), lambda v: v, ["reduce_strided"]),
    ("columns", (1500, 40), 0, lambda v: v, ["reduce_columns", "reduce_tree"]),
    ("three columns", (5000, 3), 0, lambda v: v, ["reduce_columns", "reduce_tree"]),
    ("columns of two axes", (40, 5, 40, 70), (0, 2), lambda v: v, ["reduce_columns", "reduce_tree"]),
    ("short rows", (300, 9), 1, lambda v: v, ["reduce_few"]),
    ("short columns", (30, 300), 0, lambda v: v, ["reduce_few"]),
    ("a transposed whole", (300, 7), None, lambda v: v.T, ["reduce_strided"]),
]


@pytest.mark.parametrize(("shape", "axis", "view", "kernels"), [c[1:] for c in LAYOUTS], ids=[c[0] for c in LAYOUTS])
def test_sums_are_canonical_however_terms_lie(
    gpu: HostRuntime, shape: tuple[int, ...], axis: int | tuple[int, ...] | None, view: View, kernels: list[str]
) -> None:
    x = normal("float32", shape)
    assert same_bits(found("sum", x, view, axis=axis), orders.canonical_sum(view(x), axis))
    assert gpu.launches == kernels


@pytest.mark.parametrize("op", ["sum", "prod"])
@pytest.mark.parametrize("dtype", ["float64", "float16", "int8"])
def test_every_width_of_term_gives_the_canonical_bits(gpu: HostRuntime, op: str, dtype: str) -> None:
    x = (1 + normal("float32", (2, 3083)) / 40).astype(BY_NAME[dtype].numpy)
    if dtype == "int8":
        x = np.random.default_rng(1).integers(0, 100, (2, 3083)).astype(dtype) | 1
    view: View = lambda v: v[:, 2:]  # noqa: E731
    reference = {"sum": orders.canonical_sum, "prod": orders.canonical_prod}[op]
    assert same_bits(found(op, x, view, axis=1, dtype=BY_NAME[dtype]), reference(view(x), 1))


def test_wide_columns_load_vectors(gpu: HostRuntime, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reductions, "ENOUGH", 1)
    asked: list[reductions.Variant] = []
    source = reduction_kernels._source
    monkeypatch.setattr(reduction_kernels, "_source", lambda v: asked.append(v) or source(v))
    x = normal("float32", (9000, 72))
    assert same_bits(found("sum", x, axis=0), orders.canonical_sum(x, 0))
    assert [(v.width, v.partial) for v in asked] == [(4, True), (0, False)]
    assert gpu.launches == ["reduce_columns", "reduce_tree"]


def test_a_block_takes_turns_and_partial_results_are_folded_in_two_launches(
    gpu: HostRuntime, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reductions, "TREE_SPAN", 128)
    monkeypatch.setattr(reductions, "ENOUGH", 2)
    x = normal("float64", (40001,))
    assert same_bits(found("sum", x), orders.canonical_sum(x))
    assert gpu.launches == ["reduce_rows", "reduce_tree"]
    assert spread(1, 40001, 1024, 1) == reductions.Spread(1, 8, 2, 3, 1)


def test_a_tree_of_more_partial_results_than_one_block_holds() -> None:
    levels, values = [], 2**40 // (1024 * 8 * 4)
    while values > 1:
        how = spread(1, values, reductions.TREE_SPAN, 1)
        assert how.tiles * how.turns * how.warps * reductions.TREE_SPAN >= values
        levels.append(values)
        values = how.tiles
    assert len(levels) == 3


@pytest.mark.parametrize(("op", "dtype"), [("max", "float32"), ("min", "bfloat16"), ("min", "int8")])
def test_extremes_order_zeros_and_let_nan_win(gpu: HostRuntime, op: str, dtype: str) -> None:
    x = np.arange(5 * 80).reshape(5, 80).astype(BY_NAME[dtype].numpy)
    if dtype != "int8":
        x[0, 40], x[1, 7] = np.nan, -np.nan
        x[2], x[2, 11], x[3], x[3, 12] = -0.0, 0.0, 0.0, -0.0
    got = found(op, x, axis=1)
    exact = x.astype(np.float64)
    assert (np.isnan(got.astype(np.float64)) == np.isnan(exact).any(1)).all()
    for row in range(5) if dtype == "int8" else (2, 3, 4):
        best = {"max": max, "min": min}[op](exact[row], key=lambda v: (v, not np.signbit(v)))
        assert (got[row], np.signbit(float(got[row]))) == (best, np.signbit(best))


@pytest.mark.parametrize("op", ["argmax", "argmin"])
@pytest.mark.parametrize(("shape", "axis", "dtype"), [((3, 2050), 1, "float32"), ((2050, 3), 0, "uint8")])
def test_the_first_of_the_best_is_found(
    gpu: HostRuntime, op: str, shape: tuple[int, ...], axis: int, dtype: str
) -> None:
    x = np.random.default_rng(3).integers(0, 9, shape).astype(dtype)
    if dtype == "float32":
        x[x == 0] = -0.0
        x[0, 0] = 0.0
        x[-1, 1:3] = np.nan
    assert (found(op, x, axis=axis) == getattr(np, op)(x, axis=axis)).all()


@pytest.mark.parametrize("op", ["all", "any"])
def test_truth_is_found_in_the_last_place(gpu: HostRuntime, op: str) -> None:
    x = np.full((4, 1030), op == "all")
    x[1, -1], x[2, 0] = op == "any", op == "any"
    assert found(op, x, axis=1).tolist() == getattr(np, op)(x, axis=1).tolist()


def test_nothing_has_the_identity_for_its_sum(gpu: HostRuntime) -> None:
    x = np.zeros((3, 2, 0), np.float32)
    assert found("sum", x, axis=(1, 2)).tolist() == [0.0] * 3
    assert found("prod", x, axis=(0, 2)).tolist() == [1.0] * 2
    assert found("sum", x, axis=1).shape == (3, 0)


def test_terms_beyond_32_bits_are_found() -> None:
    nest = Nest((2**20, 2, 2**12), ((2**14, 2**13, 2),))
    assert reductions.far(nest)
    assert len(reduction_kernels.walk(nest)) == 6 * 8
    assert reductions.Variant(Fold("sum", "int8", "int8"), Form.STRIDED, 1, 3, far=True).walk() == "reduction::Far<3>"


def test_a_far_walk_gives_the_bits_of_a_near_one(gpu: HostRuntime, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reductions, "_NEAR", 100)
    x = normal("float32", (40, 5, 33))
    assert same_bits(found("sum", x, axis=(0, 2)), orders.canonical_sum(x, (0, 2)))


def test_an_order_that_is_free_follows_memory() -> None:
    assert plan((50, 40, 30), (1, 50, 2000), (0, 1, 2), ordered=False).form() is Form.ROWS
    assert plan((50, 40, 30), (1, 50, 2000), (0, 1, 2), ordered=True).form() is Form.STRIDED


#: What is changed in the source, and a call that must see it.
FAULTS: dict[str, tuple[str, str, tuple[int, ...]]] = {
    "a wrong lane": ("lanes[v + LEFT / 2]);", "lanes[LEFT - 1 - v]);", (1, 1500, 40)),
    "a wrong place": ("+ warp_in_row] = value", "+ ((warp_in_row + 1) & 7)] = value", (1, 9, 9001)),
    "no barrier": ("__syncthreads();\n            if (y < half)", "if (y < half)", (1, 1500, 40)),
    "terms in another order": ("(begin + s) * LANES)));", "(begin + (s ^ 1)) * LANES)));", (1, 9, 9001)),
    "a partner too far": ("neighbour(given, HALF)", "neighbour(given, HALF ^ 1)", (1, 9, 9001)),
}


@pytest.mark.parametrize(("right", "wrong", "shape"), FAULTS.values(), ids=FAULTS)
def test_a_planted_fault_is_seen(
    monkeypatch: pytest.MonkeyPatch, right: str, wrong: str, shape: tuple[int, ...]
) -> None:
    plant(monkeypatch, right, wrong)
    x = normal("float32", shape)
    axis = 1 if shape[1] > shape[2] else 2
    with registered(OnHost()):
        assert not same_bits(found("sum", x, axis=axis), orders.canonical_sum(x, axis))
