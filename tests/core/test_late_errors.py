"""Failures that come after a call has returned: where they show, how often, and what they keep."""

from __future__ import annotations

import gc
import time
import weakref
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

import opmux as ox
from opmux.core.devices.queues import Queue
from opmux.core.plugins import manager
from opmux.plugin import Accepts, CostTerms, DeviceLostError, Kernel, KernelError, Layout, Prepared, hookimpl
from tests.remote import RemotePlugin
from tests.remote.driver import RemoteDriver

V = np.array([1.0, 4.0, 9.0], np.float32)
Launch = Callable[[Any, Any, Any, Any], Any]


@pytest.fixture
def driver() -> Iterator[RemoteDriver]:
    plugin = RemotePlugin()
    manager.register("remote", plugin)
    yield plugin.drivers[0]
    manager.unregister("remote")


@pytest.fixture
def floor() -> Iterator[Callable[..., None]]:
    """A function that registers a kernel for `floor` with a given launch."""

    def register(launch: Launch, device: str, workspace: int = 0) -> None:
        class Plugin:
            @hookimpl
            def opmux_kernels(self) -> list[Kernel]:
                cost = CostTerms(launch=1e-12, compute=1e6, memory=1e6)
                accepts = Accepts(layout=Layout.CONTIGUOUS)
                return [Kernel("floor", "floor", device, lambda spec: Prepared(launch, workspace), accepts, cost=cost)]

        manager.register("floor", Plugin())

    yield register
    manager.unregister("floor")


def on_remote(values: np.ndarray = V) -> ox.Array:
    return ox.asarray(values).to_device("remote")


def eventually_outstanding(queue: Queue, call: Callable[[], object], most: int) -> int:
    """Make calls until no more than so many launches are remembered; return how many are."""
    deadline = time.monotonic() + 5
    while queue.outstanding() > most and time.monotonic() < deadline:
        time.sleep(0.01)
        call()
    return queue.outstanding()


def test_a_failure_does_not_stay_with_memory_that_is_written_anew(
    driver: RemoteDriver, floor: Callable[..., None]
) -> None:
    def launch(outs: Any, ins: Any, workspace: Any, queue: Any) -> None:
        to, of = outs[0].ptr, ins[0].ptr

        def work() -> None:
            to.block.content()[:12] = of.block.content()[:12]

        queue.put(work).error()

    floor(launch, "remote")
    bad = ox.sqrt(on_remote(-V))
    assert ox.floor(on_remote(), out=bad).numpy().tolist() == V.tolist()


class Later:
    """The completion of work that ends when somebody waits for it."""

    def __init__(self, work: Callable[[], None], fault: Exception | None = None) -> None:
        self._work, self._fault, self._ended = work, fault, False

    def done(self) -> bool:
        return self._ended

    def error(self) -> Exception | None:
        if not self._ended:
            self._work()
        self._ended = True
        return self._fault


@pytest.mark.parametrize("workspace", [0, 64])
def test_late_work_on_the_host_is_waited_for(floor: Callable[..., None], workspace: int) -> None:
    floor(lambda outs, ins, w, queue: Later(lambda: outs[0].host.fill(7.0)), "cpu", workspace)
    y = ox.floor(ox.asarray([1.5]))
    assert ox.add(y, y).tolist() == [14.0]
    assert y.tolist() == [7.0]


@pytest.mark.parametrize("workspace", [0, 64])
def test_a_late_failure_on_the_host_is_raised_by_the_call(floor: Callable[..., None], workspace: int) -> None:
    floor(lambda outs, ins, w, queue: Later(lambda: None, ValueError("late")), "cpu", workspace)
    with pytest.raises(KernelError, match="floor failed in kernel floor of backend floor on cpu:0: ValueError"):
        ox.floor(ox.asarray([1.5]))


def test_what_is_no_completion_is_a_fault_of_the_kernel(floor: Callable[..., None]) -> None:
    floor(lambda outs, ins, w, queue: 0, "cpu")
    with pytest.raises(KernelError, match="'int' object has no attribute 'error'"):
        ox.floor(ox.asarray([1.5]))


def losing(outs: Any, ins: Any, workspace: Any, queue: Any) -> Any:
    def work() -> None:
        raise DeviceLostError("fell off the bus", device="remote:0")

    return queue.put(work)


def test_a_loss_that_is_found_late_is_the_devices(driver: RemoteDriver, floor: Callable[..., None]) -> None:
    floor(losing, "remote")
    x = on_remote()
    with pytest.raises(DeviceLostError, match="fell off"):
        ox.floor(x).numpy()
    for use in (lambda: ox.add(x, x), x.device.synchronize, x.numpy):
        with pytest.raises(DeviceLostError, match="fell off"):
            use()


def test_a_completion_that_raises_has_failed(driver: RemoteDriver, floor: Callable[..., None]) -> None:
    class Raising:
        def done(self) -> bool:
            raise DeviceLostError("no answer", device="remote:0")

        def error(self) -> None:
            raise AssertionError("not asked again")

    floor(lambda outs, ins, w, queue: Raising(), "remote")
    y = ox.floor(on_remote())
    with pytest.raises(DeviceLostError, match="no answer"):
        y.numpy()


def test_each_read_raises_an_exception_of_its_own(driver: RemoteDriver) -> None:
    bad = ox.sqrt(on_remote(-V))
    errors = []
    for _ in range(5):
        with pytest.raises(KernelError) as e:
            bad.numpy()
        errors.append(e.value)
    assert len({id(e) for e in errors}) == 5
    assert len({str(e) for e in errors}) == 1

    def frames(error: BaseException) -> int:
        count, traceback = 0, error.__traceback__
        while traceback is not None:
            count, traceback = count + 1, traceback.tb_next
        return count

    assert frames(errors[0]) == frames(errors[-1])
    assert errors[-1].culprits == {"op": "sqrt", "kernel": "sqrt", "backend": "remote"}


def test_a_failed_array_keeps_nothing_of_who_read_it(driver: RemoteDriver) -> None:
    class Local:
        pass

    def read(bad: ox.Array) -> weakref.ref[Local]:
        mine = Local()
        with pytest.raises(KernelError):
            bad.numpy()
        return weakref.ref(mine)

    bad = ox.sqrt(on_remote(-V))
    seen = read(bad)
    gc.collect()
    assert seen() is None


def test_a_kernels_own_error_is_not_its_own_cause(floor: Callable[..., None]) -> None:
    def launch(outs: Any, ins: Any, workspace: Any, queue: Any) -> None:
        raise KernelError("mine")

    floor(launch, "cpu")
    with pytest.raises(KernelError, match="mine") as e:
        ox.floor(ox.asarray([1.5]))
    assert e.value.__cause__ is None
    assert e.value.op == "floor"


def test_a_poisoned_reader_counts_as_told_of_the_cause(driver: RemoteDriver) -> None:
    worse = ox.add(ox.sqrt(on_remote(-V)), on_remote())
    with pytest.raises(KernelError, match="sqrt"):
        worse.numpy()
    ox.device("remote").synchronize()


def test_synchronize_still_tells_of_a_failure_among_many_launches(driver: RemoteDriver) -> None:
    x = on_remote()
    queue = x.device.default_queue
    ox.sqrt(on_remote(-V))
    for _ in range(100):
        ox.add(x, x)
    assert eventually_outstanding(queue, lambda: ox.add(x, x), 2) <= 2
    with pytest.raises(KernelError, match="sqrt"):
        queue.synchronize()
    assert queue.outstanding() == 0


def test_launches_are_forgotten_though_what_they_read_was_made_on_an_idle_queue(driver: RemoteDriver) -> None:
    x = on_remote()
    x.device.synchronize()
    driver.queues[0].gate.clear()
    a = ox.add(x, x)
    other = x.device.queue()
    with ox.use_queue(other):
        s = ox.add(a, x)
        driver.queues[0].gate.set()
        for _ in range(100):
            s = ox.add(s, x)
        assert eventually_outstanding(other, lambda: ox.add(s, x), 1) <= 1
    assert s.numpy().tolist() == (103 * V).tolist()


@pytest.mark.parametrize("call", ["upload", "download", "record", "wait", "synchronize", "alloc"])
def test_what_a_driver_raises_names_the_device_and_the_call(
    driver: RemoteDriver, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    x = on_remote()
    other = x.device.queue()

    def broken(*args: object) -> None:
        raise RuntimeError("bus error")

    def use() -> None:
        y = ox.add(on_remote(), x)
        with ox.use_queue(other):
            ox.add(y, y).numpy()
        x.device.synchronize()

    with monkeypatch.context() as patched:
        patched.setattr(driver, call, broken)
        with pytest.raises(ox.DeviceError, match=rf"remote:0: {call} failed.*bus error") as e:
            use()
    assert (e.value.device, e.value.call) == ("remote:0", call)
    assert isinstance(e.value.__cause__, RuntimeError)
    use()


def test_an_event_that_nobody_needs_yet_costs_no_launch(driver: RemoteDriver, monkeypatch: pytest.MonkeyPatch) -> None:
    """With several queues each launch records an event; where that fails, the launch is known all the same."""
    x = on_remote()
    other = x.device.queue()
    x.device.synchronize()

    def broken(queue: object) -> None:
        raise RuntimeError("no events left")

    with monkeypatch.context() as patched:
        patched.setattr(driver, "record", broken)
        with ox.use_queue(other):
            y = ox.sqrt(x)
        assert y._buffer.status is not None
    assert ox.add(y, y).numpy().tolist() == (2 * np.sqrt(V)).tolist()
