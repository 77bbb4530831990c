"""Several queues: what waits for what, and what does not."""

from __future__ import annotations

import gc
import sys
import threading
import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

import opmux as ox
from opmux.core.devices.device import Device, DeviceTable
from opmux.core.devices.driver import DeviceInfo
from opmux.core.devices.memory import CachingAllocator
from opmux.core.devices.queues import Queue
from opmux.core.devices.status import Status
from opmux.core.errors import DeviceError
from opmux.core.plugins import manager
from tests.remote import RemotePlugin
from tests.remote.driver import RemoteDriver

V = np.array([1.0, 4.0, 9.0], np.float32)


class CountingDriver(RemoteDriver):
    """A remote device that counts what orders its queues."""

    def __init__(self) -> None:
        super().__init__()
        self.waits = 0
        self.recorded: list[Any] = []
        self.asked: list[int] = []

    def alloc(self, nbytes: int, queue: Any) -> Any:
        self.asked.append(nbytes)
        return super().alloc(nbytes, queue)

    def record(self, queue: Any) -> Any:
        self.recorded.append(queue)
        return super().record(queue)

    def wait(self, queue: Any, event: Any) -> None:
        self.waits += 1
        super().wait(queue, event)


@pytest.fixture
def driver() -> Iterator[CountingDriver]:
    plugin = RemotePlugin()
    plugin.drivers = [CountingDriver()]
    manager.register("remote", plugin)
    yield plugin.drivers[0]
    for queue in plugin.drivers[0].queues:
        queue.gate.set()
    manager.unregister("remote")


@pytest.fixture
def switching() -> Iterator[None]:
    """Threads change places as often as they can."""
    usual = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(usual)


def on_remote(values: np.ndarray = V) -> ox.Array:
    return ox.asarray(values).to_device("remote")


def opened(driver: CountingDriver) -> tuple[Queue, Any]:
    """Another queue of the device, and what the driver made for it."""
    return ox.device("remote").queue(), driver.queues[-1]


def ended(x: ox.Array, seconds: float = 5.0) -> bool:
    """Whether the launch that made an array ends within a time."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        status = x._buffer.status
        if status is None or status.settled_well():
            return True
        time.sleep(0.005)
    return False


def test_out_waits_for_what_another_queue_still_reads(driver: CountingDriver) -> None:
    x, big = on_remote(), on_remote(100 * V)
    other, held = opened(driver)
    held.gate.clear()
    with ox.use_queue(other):
        y = ox.negative(x)
    z = ox.add(big, big, out=x)
    too_early = ended(z, 0.1)
    held.gate.set()
    assert not too_early
    assert y.numpy().tolist() == (-V).tolist()
    assert z.numpy().tolist() == (200 * V).tolist()


def test_out_on_another_queue_waits_for_what_the_default_one_still_reads(driver: CountingDriver) -> None:
    x, big = on_remote(), on_remote(100 * V)
    x.device.synchronize()
    driver.queues[0].gate.clear()
    y = ox.negative(x)
    other, _ = opened(driver)
    with ox.use_queue(other):
        z = ox.add(big, big, out=x)
    too_early = ended(z, 0.1)
    driver.queues[0].gate.set()
    assert not too_early
    assert y.numpy().tolist() == (-V).tolist()
    assert z.numpy().tolist() == (200 * V).tolist()


def test_a_queue_does_not_wait_for_work_put_on_another_after_what_it_reads(driver: CountingDriver) -> None:
    other, _ = opened(driver)
    x = on_remote()
    driver.queues[0].put(lambda: None).error()  # x is there before anything is held, and opmux does not know
    driver.queues[0].gate.clear()
    unrelated = ox.exp(x)
    with ox.use_queue(other):
        z = ox.add(x, x)
    in_time, held = ended(z), unrelated._buffer.pending() is not None
    driver.queues[0].gate.set()  # before the assertion: a message that shows an array waits for it
    assert (in_time, held) == (True, True)


def test_reading_one_array_again_and_again_is_ordered_once(driver: CountingDriver) -> None:
    x = on_remote()
    other, _ = opened(driver)
    with ox.use_queue(other):
        made = [ox.add(x, x) for _ in range(50)]
    assert driver.waits == 1
    assert driver.recorded.count(driver.queues[0]) == 1
    assert made[-1].numpy().tolist() == (V + V).tolist()


def test_one_event_orders_all_that_was_written_before_it(driver: CountingDriver) -> None:
    weights = [on_remote(i * V) for i in range(20)]
    other, _ = opened(driver)
    with ox.use_queue(other):
        total = weights[-1]
        for w in weights[:-1]:
            total = ox.add(total, w)
    assert driver.waits == 1
    assert total.numpy().tolist() == (190 * V).tolist()


def test_one_event_serves_several_queues(driver: CountingDriver) -> None:
    weights = [on_remote(), on_remote()]
    for w in weights:
        other, _ = opened(driver)
        with ox.use_queue(other):
            assert ox.add(w, w).numpy().tolist() == (V + V).tolist()
    assert driver.recorded.count(driver.queues[0]) == 1


def test_nothing_waits_for_what_is_known_to_have_ended(driver: CountingDriver) -> None:
    x = on_remote()
    x.device.synchronize()
    other, _ = opened(driver)
    with ox.use_queue(other):
        ox.add(x, x).numpy()
    assert driver.waits == 0


def test_one_queue_alone_records_nothing(driver: CountingDriver) -> None:
    x = on_remote()
    for _ in range(5):
        x = ox.add(x, x)
    assert x.numpy().tolist() == (32 * V).tolist()
    assert (driver.recorded, driver.waits) == ([], 0)


def test_memory_used_on_another_queue_is_released_after_that_use(driver: CountingDriver) -> None:
    x = on_remote()
    other, held = opened(driver)
    held.gate.clear()
    with ox.use_queue(other):
        y = ox.negative(x)
    block = x._buffer.handle
    del x
    gc.collect()
    time.sleep(0.05)
    assert not block.freed
    held.gate.set()
    assert y.numpy().tolist() == (-V).tolist()


def test_threads_get_one_default_queue() -> None:
    class Slow(RemoteDriver):
        def open_queue(self) -> Any:
            queue = super().open_queue()
            time.sleep(0.02)
            return queue

    driver = Slow()
    device = Device(driver, 0, "test")
    got: list[Queue] = []
    threads = [threading.Thread(target=lambda: got.append(device.default_queue)) for _ in range(4)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert len(set(got)) == len(driver.queues) == 1
    assert got[0].handle is driver.queues[0]


@pytest.mark.usefixtures("switching")
def test_launches_are_tracked_from_many_threads(driver: CountingDriver) -> None:
    class Done:
        def done(self) -> bool:
            return True

        def error(self) -> None:
            return None

    queue = ox.device("remote").default_queue
    faults: list[BaseException] = []

    def launch() -> None:
        try:
            for _ in range(300):
                queue.track(Status(Done(), (), "add", "add", "remote", queue.point()))
        except Exception as error:
            faults.append(error)

    threads = [threading.Thread(target=launch) for _ in range(4)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert faults == []
    queue.track(Status(Done(), (), "add", "add", "remote"))
    assert queue.outstanding() == 0


def test_a_device_of_a_name_that_is_taken_is_refused() -> None:
    class Driver:
        info = DeviceInfo("twin", "twin", 1)

    table = DeviceTable()
    first = Device(Driver(), 0, "acme")  # type: ignore[arg-type]
    table.add(first)
    with pytest.raises(DeviceError, match="twin:0 already"):
        table.add(Device(Driver(), 0, "acme"))  # type: ignore[arg-type]
    assert table.find("twin") is first


@pytest.mark.usefixtures("switching")
def test_devices_are_added_by_several_threads() -> None:
    table = DeviceTable()
    faults: list[BaseException] = []

    class Driver:
        def __init__(self, kind: str) -> None:
            self.info = DeviceInfo(kind, kind, 1)

    def add(owner: str) -> None:
        try:
            for i in range(300):
                table.add(Device(Driver(f"{owner}{i}"), 0, owner))  # type: ignore[arg-type]
        except Exception as error:
            faults.append(error)

    threads = [threading.Thread(target=add, args=(owner,)) for owner in "abcd"]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert faults == []
    assert len(list(table)) == 1200


def test_an_empty_result_is_not_launched_and_no_driver_is_asked_for_nothing(driver: CountingDriver) -> None:
    x = on_remote(np.empty((0, 3), np.float32))
    driver.queues[0].gate.clear()
    y = ox.add(x, x)
    assert (y.shape, y._buffer.status) == ((0, 3), None)
    assert 0 not in driver.asked
    driver.queues[0].gate.set()
    assert ox.sum(x, axis=0).numpy().tolist() == [0.0, 0.0, 0.0]


def test_kept_blocks_go_back_before_the_system_refuses_for_good(monkeypatch: pytest.MonkeyPatch) -> None:
    allocator = CachingAllocator(1 << 40)
    for block in [allocator.alloc(1 << 20) for _ in range(4)]:
        allocator.free(block)
    real = np.empty

    def full(*args: Any) -> Any:
        if allocator.statistics().cached:
            raise MemoryError("no memory while blocks are kept")
        return real(*args)

    monkeypatch.setattr(np, "empty", full)
    assert allocator.alloc(3 << 20).capacity >= 3 << 20
