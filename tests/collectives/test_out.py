"""``out=`` of collectives: whose memory results are in, what is consumed, and what is refused."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import opmux as ox
from opmux.backends.numpy import collectives
from opmux.core.arrays.ownership import OutError
from opmux.core.dispatch.observe import planning

Hosts = tuple[ox.Device, ...]


def brought(hosts: Hosts, n: int, size: int, dtype: Any = np.float32) -> list[Any]:
    """Arrays that nothing else sees."""
    values = np.random.default_rng(size).integers(-9, 9, (n, size)).astype(dtype)
    return [ox.copy(ox.asarray(x, device=d)) for x, d in zip(values, hosts, strict=False)]


def addresses(arrays: list[Any]) -> list[int]:
    return [x.ptr for x in arrays]


@pytest.mark.parametrize("backend", ["llvm", "numpy"])
@pytest.mark.parametrize("size", [5, 3000, 1_200_000])
@pytest.mark.parametrize("n", [1, 2, 3, 4])
def test_reductions_and_broadcasts_work_in_place(hosts: Hosts, n: int, size: int, backend: str) -> None:
    mesh = ox.Mesh(hosts[:n])
    for function, given in ((ox.all_reduce, {"reduction": "min"}), (ox.broadcast, {"root": n - 1})):
        with ox.policy(pins={function.__name__: backend}):
            arrays = brought(hosts, n, size)
            wanted, before = function(arrays, mesh, **given), addresses(arrays)
            made = function(arrays, mesh, out=arrays, **given)
            assert addresses(made) == before
            for y, w in zip(made, wanted, strict=True):
                np.testing.assert_array_equal(y.numpy(), w.numpy())


@pytest.mark.parametrize(("n", "name", "way"), [(1, "all_reduce", "direct"), (3, "broadcast", "tree")])
def test_no_result_is_in_the_memory_of_an_operand(hosts: Hosts, n: int, name: str, way: str) -> None:
    mesh, arrays = ox.Mesh(hosts[:n]), brought(hosts, n, 3000)
    with ox.policy(pins={name: way}):
        results = getattr(ox, name)(arrays, mesh)
    assert not set(addresses(arrays)) & set(addresses(results))
    getattr(ox, name)(arrays, mesh, out=arrays)  # nothing else sees them


@pytest.mark.parametrize("dtype", ["bool", "bfloat16", "complex64", "int8"])
@pytest.mark.parametrize("n", [2, 5])
def test_any_dtype_is_reduced_in_place(hosts: Hosts, n: int, dtype: str) -> None:
    mesh, t = ox.Mesh(hosts[:n]), ox.zeros(1, dtype=dtype).numpy().dtype
    arrays = brought(hosts, n, 70_001, t)
    wanted = ox.all_reduce(arrays, mesh)
    made = ox.all_reduce(arrays, mesh, out=arrays)
    for y, w in zip(made, wanted, strict=True):
        np.testing.assert_array_equal(y.numpy(), w.numpy())


@pytest.mark.parametrize("name", ["all_reduce", "reduce_scatter", "all_gather", "broadcast", "all_to_all"])
def test_an_earlier_result_takes_the_next(hosts: Hosts, name: str) -> None:
    mesh, function = ox.Mesh(hosts[:4]), getattr(ox, name)
    first, second = brought(hosts, 4, 4096), brought(hosts, 4, 4096, np.float32)
    second = [x + 1 for x in second]
    wanted = function(second, mesh)
    earlier = function(first, mesh)
    made = function(second, mesh, out=earlier)
    for y, w in zip(made, wanted, strict=True):
        np.testing.assert_array_equal(y.numpy(), w.numpy())


def test_what_would_be_overwritten_unread_gets_fresh_memory(hosts: Hosts) -> None:
    arrays = brought(hosts, 3, 100)
    values = [x.numpy().copy() for x in map(ox.copy, arrays)]
    made = ox.permute(arrays, ox.Mesh(hosts[:3]), pairs=[(0, 1), (1, 2), (2, 0)], out=arrays)
    for r in range(3):
        np.testing.assert_array_equal(made[r].numpy(), values[r - 1])


def test_an_axis_that_is_moved_is_moved_back(hosts: Hosts) -> None:
    mesh = ox.Mesh(hosts[:2])
    squares = [ox.reshape(x, (6, 6)) for x in brought(hosts, 2, 36)]
    wanted = ox.all_gather(squares, mesh, axis=1)
    out = [ox.copy(ox.zeros((6, 12), device=d)) for d in hosts[:2]]
    for y, w in zip(ox.all_gather(squares, mesh, axis=1, out=out), wanted, strict=True):
        np.testing.assert_array_equal(y.numpy(), w.numpy())


def test_what_was_given_is_consumed(hosts: Hosts) -> None:
    arrays = brought(hosts, 2, 10)
    ox.broadcast(arrays, ox.Mesh(hosts[:2]), out=arrays)
    for x in arrays:
        with pytest.raises(ox.ConsumedError, match="out="):
            x.numpy()


def test_an_array_that_others_see_is_refused_and_nothing_is_consumed(hosts: Hosts) -> None:
    arrays = brought(hosts, 2, 10)
    seen = arrays[1][2:]
    with pytest.raises(OutError, match="rank 1 shares its memory"):
        ox.all_reduce(arrays, ox.Mesh(hosts[:2]), out=arrays)
    assert float(arrays[1][2]) == float(seen[0])
    assert arrays[0].numpy().size == 10


@pytest.mark.parametrize(
    ("out", "error", "word"),
    [
        (lambda x, y: 3, ox.ArgumentTypeError, "list of arrays"),
        (lambda x, y: [x, None], ox.ArgumentTypeError, "rank 1 is a NoneType"),
        (lambda x, y: [x], OutError, "1 arrays for 2"),
        (lambda x, y: [y, x], OutError, "rank 0"),
        (lambda x, y: [x, ox.zeros(9, device=y.device)], OutError, "rank 1"),
        (lambda x, y: [x, ox.zeros(10, dtype="int32", device=y.device)], OutError, "rank 1"),
    ],
)
def test_what_does_not_fit_is_refused(hosts: Hosts, out: Any, error: type[Exception], word: str) -> None:
    arrays = brought(hosts, 2, 10)
    with pytest.raises(error, match=word):
        ox.broadcast(arrays, ox.Mesh(hosts[:2]), out=out(*arrays))
    assert [x.numpy().size for x in arrays] == [10, 10]


def test_a_count_of_calls_sees_one_that_is_given_memory(hosts: Hosts) -> None:
    arrays = brought(hosts, 2, 10)
    with ox.count_calls() as seen:
        ox.broadcast(arrays, ox.Mesh(hosts[:2]), out=arrays)
    assert len(seen.most_expensive()) == 1


def test_a_planned_call_consumes_nothing(hosts: Hosts) -> None:
    arrays = brought(hosts, 2, 10)
    with planning() as made:
        ox.broadcast(arrays, ox.Mesh(hosts[:2]), out=arrays)
    assert len(made) == 1
    assert [x.numpy().size for x in arrays] == [10, 10]


def test_a_kernel_that_fails_is_named(hosts: Hosts, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(collectives._Reduction, "launch", lambda *call: 1 / 0)
    arrays = brought(hosts, 2, 11)
    with ox.policy(pins={"all_reduce": "numpy"}), pytest.raises(ox.KernelError, match=r"kernel all_reduce\.fused"):
        ox.all_reduce(arrays, ox.Mesh(hosts[:2]), out=arrays)
