"""Running sums and products, carried out on the host: one chain along the axis, wherever its terms lie."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import opmux as ox
from opmux.backends.cuda import scans
from opmux.core.dtypes import BY_NAME
from opmux.opset import orders
from tests.backends.cuda.host.planted import plant
from tests.backends.cuda.host.plugin import OnHost, registered
from tests.backends.cuda.host.runtime import HostRuntime
from tests.backends.cuda.test_elementwise import same_bits

Array = np.ndarray[Any, Any]
View = Callable[[Any], Any]


def normal(dtype: str, shape: tuple[int, ...]) -> Array:
    return np.random.default_rng(0).standard_normal(shape).astype(BY_NAME[dtype].numpy)


def found(op: str, x: Array, view: View = lambda v: v, **attributes: Any) -> Array:
    return np.asarray(getattr(ox, op)(view(ox.asarray(x, device="cuda:0")), **attributes).numpy())


#: Shape, axis, a view, and the kernel that does it.
LAYOUTS: dict[str, tuple[tuple[int, ...], int, View, str]] = {
    "rows": ((70, 100), 1, lambda v: v, "scan_along"),
    "one long row": ((1, 5000), 1, lambda v: v, "scan_along"),
    "columns": ((70, 100), 0, lambda v: v, "scan_across"),
    "the middle axis": ((3, 40, 50), 1, lambda v: v, "scan_across"),
    "short rows": ((9, 31), 1, lambda v: v, "scan_across"),
    "backwards": ((3, 70), 1, lambda v: v[:, ::-1], "scan_across"),
    "part of rows": ((3, 90), 1, lambda v: v[:, 7:], "scan_along"),
    "transposed": ((90, 33), 1, lambda v: v.T, "scan_across"),
}


@pytest.mark.parametrize(("shape", "axis", "view", "kernel"), LAYOUTS.values(), ids=LAYOUTS)
def test_sums_are_one_chain_however_terms_lie(
    gpu: HostRuntime, monkeypatch: pytest.MonkeyPatch, shape: tuple[int, ...], axis: int, view: View, kernel: str
) -> None:
    monkeypatch.setattr(scans, "_SHORT", 2**40)
    x = normal("float32", shape)
    assert same_bits(found("cumulative_sum", x, view, axis=axis), orders.canonical_cumulative_sum(view(x), axis))
    assert gpu.launches == [kernel]


@pytest.mark.parametrize("op", ["cumulative_sum", "cumulative_prod"])
@pytest.mark.parametrize("dtype", ["float64", "float16", "uint8"])
def test_every_kind_of_term_gives_the_canonical_bits(gpu: HostRuntime, op: str, dtype: str) -> None:
    x = (1 + np.abs(normal("float32", (2, 75))) / 20).astype(BY_NAME[dtype].numpy)
    if dtype == "uint8":
        x = np.random.default_rng(1).integers(0, 256, (2, 75)).astype(dtype)
    assert same_bits(found(op, x, axis=1, dtype=BY_NAME[dtype]), getattr(orders, f"canonical_{op}")(x, 1))


def test_a_chain_of_negative_zeros_stays_negative(gpu: HostRuntime) -> None:
    for n in (3, 40):
        assert np.signbit(found("cumulative_sum", np.full((1, n), -0.0, np.float32), axis=1)).all()


TILED = ["scan_totals", "scan_starts", "scan_tiles"]


@pytest.mark.parametrize(("op", "shape", "axis"), [("cumulative_sum", (3, 5001), 1), ("cumulative_prod", (4097, 2), 0)])
def test_integers_are_exact_in_tiles(gpu: HostRuntime, op: str, shape: tuple[int, ...], axis: int) -> None:
    x = np.random.default_rng(2).integers(-9, 9, shape) | 1
    assert same_bits(found(op, x, axis=axis), getattr(orders, f"canonical_{op}")(x, axis))
    assert gpu.launches == TILED


@pytest.mark.parametrize(("n", "kernels"), [(700, TILED[-1:]), (2049, TILED)])
def test_long_sums_of_floats_are_cut_into_tiles(gpu: HostRuntime, n: int, kernels: list[str]) -> None:
    x = np.random.default_rng(2).integers(-99, 99, (2, n)).astype(np.float32)  # no sum of these is rounded
    assert (found("cumulative_sum", x, axis=1) == np.cumsum(x, axis=1)).all()
    assert gpu.launches == kernels


def test_more_tiles_than_threads_hand_on_what_came_before() -> None:
    x = np.ones((scans.TILE_THREADS + 1) * scans.TILE, np.int64)
    with registered(OnHost()):
        assert (found("cumulative_sum", x) == np.arange(1, x.size + 1)).all()


def test_canonical_sums_are_chains() -> None:
    promises = {k.name: k.promises.determinism.name for k in scans.KERNELS}
    assert promises == {"cumulative_sum": "CANONICAL", "cumulative_prod": "CANONICAL", "cumulative_sum.tiles": "RUN"}


def test_nothing_has_no_launch(gpu: HostRuntime) -> None:
    assert found("cumulative_sum", np.zeros((3, 0), np.float32), axis=1).shape == (3, 0)
    assert gpu.launches == []


#: What is changed in the source of ``scan_along``.
FAULTS: dict[str, tuple[str, str]] = {
    "another chain's terms": ("at[0], (row + s) % WARP)", "at[0], (row + s + 1) % WARP)"),
    "no barrier": ("__syncwarp();", ""),
    "a chain that starts anew": ("        bool inside", "        sum = F::start();\n        bool inside"),
}


@pytest.mark.parametrize(("right", "wrong"), FAULTS.values(), ids=FAULTS)
def test_a_planted_fault_is_seen(monkeypatch: pytest.MonkeyPatch, right: str, wrong: str) -> None:
    plant(monkeypatch, right, wrong)
    x = normal("float32", (33, 70))
    with registered(OnHost(HostRuntime(reversed_turns=True))):
        assert not same_bits(found("cumulative_sum", x, axis=1), orders.canonical_cumulative_sum(x, 1))
