"""Gather and scatter on the pretended GPU: indices of every kind, repeated ones in their order."""

from __future__ import annotations

import numpy as np
import pytest

import opmux as ox
from opmux.backends.cuda import indexed, movement, nest, sorting
from opmux.opset.movement_reference import scattered, taken
from tests.backends.cuda.host.runtime import HostRuntime

INDICES = np.array([[3, -1, 0, 3], [9, -8, 2, 3]])


def at(x: np.ndarray) -> ox.Array:
    return ox.asarray(x, device="cuda:0")


@pytest.mark.parametrize("mode", ["clip", "wrap", "fill"])
@pytest.mark.parametrize("axis", [0, 1, 2])
def test_slices_are_gathered(gpu: HostRuntime, mode: str, axis: int) -> None:
    host = np.arange(5 * 5 * 8, dtype=np.float32).reshape(5, 5, 8)
    found = ox.gather(at(host), at(INDICES), axis=axis, mode=mode)
    assert (found.numpy() == taken(host, INDICES, axis, mode)).all()


@pytest.mark.parametrize(
    ("dtype", "word"), [("uint8", "u64"), ("float32", "u128"), ("complex128", "u128")], ids=lambda v: v
)
def test_rows_move_by_wide_words(gpu: HostRuntime, dtype: str, word: str) -> None:
    host = np.arange(6 * 8).reshape(6, 8).astype(dtype)
    assert (ox.gather(at(host), at(INDICES), axis=0).numpy() == taken(host, INDICES, 0, "clip")).all()
    assert gpu.launches == [f"gather_{word}"]


def test_a_table_may_lie_in_any_way(gpu: HostRuntime) -> None:
    host = np.arange(7 * 6, dtype=np.complex128).reshape(7, 6)
    found = ox.gather(ox.permute_dims(at(host), (1, 0))[::-1, 1:], at(INDICES)[:, ::2], axis=1)
    assert (found.numpy() == taken(host.T[::-1, 1:], INDICES[:, ::2], 1, "clip")).all()


@pytest.mark.parametrize("mode", ["drop", "clip", "wrap"])
@pytest.mark.parametrize("axis", [0, 1])
def test_the_last_update_of_a_place_stays(gpu: HostRuntime, mode: str, axis: int) -> None:
    host, shape = np.zeros((6, 6), np.int16), (2, 4, 6) if axis == 0 else (6, 2, 4)
    updates = np.arange(1, 49, dtype=np.int16).reshape(shape)
    found = ox.scatter(at(host), at(INDICES), at(updates), axis=axis, mode=mode)
    assert (found.numpy() == scattered(host, INDICES, updates, axis, mode, "set")).all()
    assert gpu.launches[:2] == ["scatter_fill", "scatter_claim"]


@pytest.mark.parametrize(
    ("dtype", "reduction"),
    [("float32", "add"), ("bfloat16", "add"), ("float16", "min"), ("int8", "multiply"), ("complex64", "multiply"),
     ("complex128", "add")],
)  # fmt: skip
def test_updates_meet_an_element_in_their_order(gpu: HostRuntime, dtype: str, reduction: str) -> None:
    rng = np.random.default_rng(3)
    kind = ox.zeros(1, dtype=getattr(ox, dtype)).numpy().dtype
    host, updates = (rng.standard_normal(s) * 3 for s in ((5, 3), (40, 3)))
    if "complex" in dtype:  # whole numbers, whose products are exact: NumPy's complex ones may be fused
        host, updates = (rng.integers(-2, 3, s) + 1j * rng.integers(-2, 3, s) for s in ((5, 3), (40, 3)))
    indices = rng.integers(0, 5, 40)
    given = host.astype(kind), indices, updates.astype(kind)
    found = ox.scatter(*map(at, given), axis=0, reduction=reduction).numpy()
    assert (found == scattered(*given, 0, "drop", reduction)).all()
    assert gpu.launches == ["sort_tiles", "scatter_fill", "scatter_firsts", "scatter_combine"]


def test_many_updates_are_sorted_over_several_tiles(gpu: HostRuntime) -> None:
    rng = np.random.default_rng(4)
    indices, updates = rng.integers(-9, 9, 5000), rng.standard_normal(5000).astype(np.float32)
    host = np.zeros(7, np.float32)
    found = ox.scatter(*map(at, (host, indices, updates)), reduction="add").numpy()
    assert (found == scattered(host, indices, updates, 0, "drop", "add")).all()
    assert gpu.launches.count("merge_tiles") == 2


def test_one_value_for_all_indices_is_read_where_it_is(gpu: HostRuntime) -> None:
    found = ox.scatter(at(np.zeros((4, 2), np.float32)), at(np.array([1, 3])), 5.0)
    assert found.tolist() == [[0, 0], [5, 5], [0, 0], [5, 5]]
    assert gpu.launches[-1].startswith("scatter_u")


def test_no_indices_leave_everything(gpu: HostRuntime) -> None:
    host = np.arange(4, dtype=np.float32)
    empty = np.zeros(0, np.int64), np.zeros(0, np.float32)
    assert ox.scatter(at(host), *map(at, empty), reduction="add").tolist() == [0, 1, 2, 3]


def test_what_32_bits_do_not_count_is_cut(gpu: HostRuntime, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (indexed, movement, sorting):
        monkeypatch.setattr(module, "parts", lambda given, most=50: nest.parts(given, min(most, 50)))
    host = np.arange(9 * 7 * 3, dtype=np.float32).reshape(9, 7, 3)
    updates = -np.arange(9 * 8 * 3, dtype=np.float32).reshape(9, 2, 4, 3)
    for reduction in ("set", "add"):
        found = ox.scatter(*map(at, (host, INDICES, updates)), axis=1, reduction=reduction)
        assert (found.numpy() == scattered(host, INDICES, updates, 1, "drop", reduction)).all()
    assert (ox.gather(at(host), at(INDICES), axis=1).numpy() == taken(host, INDICES, 1, "clip")).all()
    assert (ox.copy(at(host)[:, ::-1]).numpy() == host[:, ::-1]).all()
    places = ox.searchsorted(at(np.arange(200, dtype=np.float32)), at(host)[::-1])
    assert (places.numpy() == host[::-1]).all()
    assert len(gpu.launches) > 20
