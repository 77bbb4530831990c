"""Collectives over host memory that several threads share."""

from __future__ import annotations

import numpy as np
import pytest

import opmux as ox
from opmux.backends.numpy import collectives


@pytest.fixture(autouse=True)
def shared(monkeypatch):
    monkeypatch.setenv("OPMUX_NUM_THREADS", "3")
    monkeypatch.setattr(collectives, "_SHARE", 64)


@pytest.mark.parametrize(("sizes", "threads"), [((1000,), 3), ((64, 1, 700), 2), ((5,), 4), ((0, 9), 2), ((0,), 2)])
def test_every_element_is_in_one_share(sizes, threads):
    parts = [part for share in collectives._shares(sizes, threads) for part in share]
    assert sorted((i, k) for i, a, b in parts for k in range(a, b)) == [
        (i, k) for i, n in enumerate(sizes) for k in range(n)
    ]
    assert all(a % 64 == 0 for _, a, _ in parts)


@pytest.mark.parametrize("dtype", [ox.float32, ox.bfloat16])
@pytest.mark.parametrize("size", [65, 70_001])
def test_threads_give_what_one_gives(hosts, size, dtype):
    mesh = ox.Mesh(hosts[:3])
    brought = [np.random.default_rng(r).integers(0, 9, size).astype(np.float32) for r in range(3)]
    arrays = [ox.cast(ox.asarray(x, device=d), dtype) for x, d in zip(brought, mesh.local_devices, strict=True)]
    total = sum(brought)
    with ox.policy(backends="numpy"):
        found = {
            "all_reduce": (ox.all_reduce(arrays, mesh), [total] * 3),
            "reduce_scatter": (ox.reduce_scatter(arrays, mesh), np.array_split(total, 3)),
            "all_gather": (ox.all_gather(arrays, mesh), [np.concatenate(brought)] * 3),
            "broadcast": (ox.broadcast(arrays, mesh, root=2), [brought[2]] * 3),
            "permute": (ox.permute(arrays, mesh, pairs=[(0, 2)]), [brought[0] * 0, brought[0] * 0, brought[0]]),
        }
    for name, (made, wanted) in found.items():
        for y, w in zip(made, wanted, strict=True):
            np.testing.assert_array_equal(ox.cast(y, ox.float32).numpy(), w, err_msg=name)
