"""Copies straight between devices of a kind: in order, without the host, and with late errors."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from typing import Any

import pytest

import opmux as ox
from opmux.conformance.planted.twin.accelerator import Accelerator, Block, Queue, Task
from opmux.core.collectives.communicator import Link
from opmux.core.plugins import manager
from opmux.plugin import HostBytes, hookimpl


class Peer(Accelerator):
    """A device that is linked with others of its kind, and counts what goes through the host."""

    def __init__(self) -> None:
        super().__init__(kind="peer")
        self.downloads = 0
        self.broken: Exception | None = None

    def download(self, target: HostBytes, handle: Block, offset: int, queue: Queue) -> None:
        self.downloads += 1
        super().download(target, handle, offset, queue)

    def copy_peer(
        self, handle: Block, offset: int, source: Any, source_handle: Block, start: int, nbytes: int, queue: Queue
    ) -> None:
        if self.broken is not None:
            raise self.broken

        def copy() -> None:
            handle.content()[offset : offset + nbytes] = source_handle.content()[start : start + nbytes]

        queue.put(copy)

    def link(self, source: Any) -> Link:
        return Link(1e-6, 1e9)


class Peers:
    def __init__(self) -> None:
        self.drivers = [Peer(), Peer()]

    @hookimpl
    def opmux_devices(self) -> list[Peer]:
        return self.drivers


@pytest.fixture
def peers() -> Iterator[list[Peer]]:
    ox.devices()
    made = Peers()
    manager.register("peers", made)
    try:
        yield made.drivers
    finally:
        manager.unregister("peers")


def test_values_arrive_without_the_host(peers: list[Peer]) -> None:
    x = ox.asarray([1.0, 2.0, 3.0]).to_device("peer:0")
    y = x.to_device("peer:1")
    assert (y.device.name, peers[0].downloads) == ("peer:1", 0)
    assert y.tolist() == [1.0, 2.0, 3.0]


def test_a_view_is_copied_from_where_it_lies(peers: list[Peer]) -> None:
    x = ox.asarray([[1, 2], [3, 4]]).to_device("peer:0")
    assert x[1, :].to_device("peer:1").tolist() == [3, 4]


def test_what_the_device_cannot_make_dense_goes_by_way_of_the_host(peers: list[Peer]) -> None:
    x = ox.asarray([[1, 2], [3, 4]]).to_device("peer:0")
    with ox.policy(fallback="forbid"):
        y = x[:, 1].to_device("peer:1")
    assert (y.tolist(), y.device.name, peers[0].downloads) == ([2, 4], "peer:1", 1)


def test_it_waits_for_what_writes_the_source(peers: list[Peer]) -> None:
    ox.asarray([0.0]).to_device("peer:0")
    gate = Task(lambda: None)
    peers[0].queues[0].put(gate.error)  # the device is busy
    copied = ox.asarray([5.0]).to_device("peer:0").to_device("peer:1")
    behind = peers[1].queues[0].put(lambda: None)
    assert not behind._ended.wait(0.2)  # the copy stands before it, and waits for the upload
    gate.run()
    assert copied.tolist() == [5.0]


def test_memory_is_given_back_only_after_the_copy(peers: list[Peer]) -> None:
    x = ox.asarray([7.0]).to_device("peer:0")
    ox.asarray([0.0]).to_device("peer:1")
    gate = Task(lambda: None)
    peers[1].queues[0].put(gate.error)  # the copy stands behind it
    y = x.to_device("peer:1")
    del x
    gc.collect()
    gate.run()
    assert y.tolist() == [7.0]


def test_a_broken_link_is_an_error_that_names_the_device(peers: list[Peer]) -> None:
    x = ox.asarray([1.0]).to_device("peer:0")
    peers[1].broken = RuntimeError("link down")
    with pytest.raises(ox.DeviceError, match="peer:1: copy_peer failed"):
        x.to_device("peer:1")
