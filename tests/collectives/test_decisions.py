"""A call over a mesh is decided once, and anew by the very next call where the decision no longer holds."""

from __future__ import annotations

import contextlib
import gc
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import opmux as ox
from opmux.core.collectives.failure import Cause, MeshFailure
from opmux.core.devices.driver import Rates
from opmux.core.dispatch.decision import Kind
from opmux.core.dispatch.observe import OBSERVERS, planning
from opmux.core.dispatch.policy import current
from opmux.core.dispatch.record import Recorder
from opmux.core.errors import ArgumentTypeError, CollectiveError, ConsumedError, DeviceError
from opmux.core.plugins import manager
from opmux.plugin import CostTerms, Determinism, Kernel, Prepared, Promises, hookimpl

Hosts = tuple[ox.Device, ...]
Call = Callable[[], list[list[float]]]


class Planted:
    """A backend whose all_reduce is wrong on purpose, so that a result says who made it."""

    @hookimpl
    def opmux_kernels(self) -> tuple[Kernel, ...]:
        promises = Promises(order="canonical", determinism=Determinism.CANONICAL)
        cheap = CostTerms(launch=-1.0)  # cheaper than whatever there is
        return (Kernel("sevens", "all_reduce", "cpu", self._prepare, promises=promises, cost=cheap),)

    def _prepare(self, spec: Any) -> Prepared:
        def launch(outs: Any, ins: Any, workspace: Any, queue: Any) -> None:
            for y in outs:
                y.host.fill(7)

        return Prepared(launch)


@contextlib.contextmanager
def planted() -> Iterator[None]:
    manager.register("planted", Planted())
    try:
        yield
    finally:
        manager.unregister("planted")


@pytest.fixture
def call(hosts: Hosts) -> Call:
    mesh, arrays = ox.Mesh(hosts[:2]), [ox.asarray([1.0, 2.0], device=d) for d in hosts[:2]]
    return lambda: [y.tolist() for y in ox.all_reduce(arrays, mesh)]


RIGHT, SEVENS = [[2.0, 4.0]] * 2, [[7.0, 7.0]] * 2


def test_a_backend_that_comes_and_goes_is_seen_by_the_next_call(call: Call) -> None:
    for _ in range(3):
        assert call() == RIGHT
    with planted():
        assert call() == SEVENS
        assert call() == SEVENS
    assert call() == RIGHT


@pytest.mark.parametrize("levels", [(2e9, 60e9), (60e9, 2e9)])
@pytest.mark.parametrize("n", [1, 2, 4])
def test_one_kernel_is_cheaper_than_its_messages_whatever_memory_is_faster(
    hosts: Hosts, monkeypatch: pytest.MonkeyPatch, n: int, levels: tuple[float, float]
) -> None:
    mesh, arrays = ox.Mesh(hosts[:n]), [ox.zeros(1_200_000, dtype="float32", device=d) for d in hosts[:n]]
    for d in hosts[:n]:
        bandwidth = ((1 << 27, levels[0]), (1 << 40, levels[1]))
        monkeypatch.setattr(d, "_rates", Rates((("default", 1e11),), bandwidth, 1e-6, "declared"))
    with planning() as made:
        for function in (ox.all_reduce, ox.reduce_scatter, ox.all_gather, ox.broadcast):
            function(arrays, mesh)
    assert [d.chosen.kind for d in made] == [Kind.KERNEL] * 4


def test_a_policy_is_seen_by_the_next_call(call: Call) -> None:
    with planted():
        for _ in range(3):
            assert call() == SEVENS
            with ox.policy(backends=("numpy", "llvm")):
                assert call() == RIGHT
            with ox.policy(pins={"all_reduce": "ring"}):
                assert call() == RIGHT


def test_recording_and_counting_see_the_next_call(call: Call, tmp_path: Path) -> None:
    call()
    recorder = Recorder(tmp_path / "log")
    OBSERVERS.append(recorder.note)
    try:
        with ox.count_calls() as seen:
            call()
    finally:
        OBSERVERS.remove(recorder.note)
    recorder.finish()
    assert [(c.decision.op.name, c.calls) for c in seen.most_expensive()] == [("all_reduce", 1)]
    assert recorder.calls == 1
    assert "all_reduce" in (tmp_path / "log").read_text()
    assert call() == RIGHT
    assert recorder.calls == 1


def test_a_mesh_forgets_what_no_longer_holds(hosts: Hosts) -> None:
    mesh, arrays = ox.Mesh(hosts[:2]), [ox.asarray([1.0], device=d) for d in hosts[:2]]
    for _ in range(3):
        ox.all_reduce(arrays, mesh)
        with planted():
            ox.all_reduce(arrays, mesh)
    ox.all_reduce(arrays, mesh)
    assert {key[0] for key in mesh.decisions} == {current().slot.tables}


def test_another_reduction_or_mesh_is_another_call(hosts: Hosts) -> None:
    arrays = [ox.asarray([3.0], device=d) for d in hosts[:2]]
    mesh, other = ox.Mesh(hosts[:2]), ox.Mesh(hosts[1::-1])
    for _ in range(2):
        assert ox.all_reduce(arrays, mesh)[0].tolist() == [6.0]
        assert ox.all_reduce(arrays, mesh, reduction="prod")[0].tolist() == [9.0]
        assert [y.device for y in ox.all_reduce(arrays[::-1], other)] == [hosts[1], hosts[0]]
        with pytest.raises(DeviceError, match="rank 0"):
            ox.all_reduce(arrays, other)


def test_a_known_call_is_checked_like_a_new_one(hosts: Hosts) -> None:
    mesh, arrays = ox.Mesh(hosts[:2]), [ox.asarray([1.0], device=d) for d in hosts[:2]]
    ox.all_reduce(arrays, mesh)
    with pytest.raises(ArgumentTypeError, match="no list"):
        ox.all_reduce((x for x in arrays), mesh)
    ox.add(arrays[1], arrays[1], out=arrays[1])
    with pytest.raises(ConsumedError, match="rank 1"):
        ox.all_reduce(arrays, mesh)


def test_a_mesh_that_failed_says_so_on_a_known_call(call: Call, hosts: Hosts) -> None:
    mesh, arrays = ox.Mesh(hosts[:2]), [ox.asarray([1.0], device=d) for d in hosts[:2]]
    ox.all_reduce(arrays, mesh)
    mesh.fail(MeshFailure("all_reduce", 1, 1, Cause.DIED, 0).error())
    with pytest.raises(CollectiveError, match="rank 1 died"):
        ox.all_reduce(arrays, mesh)
    assert call() == RIGHT


def test_a_mesh_goes_when_nobody_uses_it(hosts: Hosts) -> None:
    mesh, arrays = ox.Mesh(hosts[:2]), [ox.asarray([1.0], device=d) for d in hosts[:2]]
    ox.all_reduce(arrays, mesh)
    gone = weakref.ref(mesh)
    del mesh
    gc.collect()
    assert gone() is None
