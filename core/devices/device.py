"""Devices and buffers: memory spaces, and the order in which work reads and writes them."""

from __future__ import annotations

import os
import sys
import threading
import warnings
from collections.abc import Callable
from typing import Any, Final, NoReturn
from weakref import WeakSet

from ..errors import DeviceError, DeviceLostError, OpmuxError, OutOfMemoryError, shown
from ..locks import Order, held_across_fork
from .driver import DeviceDriver, Handle, Rates
from .queues import Point, Queue
from .status import Status, again

_measuring: Final = held_across_fork(Order.MEASURING)


class Device:
    """A memory space with one default queue and others on request.

    Attributes:
        kind: e.g. ``"cpu"``.
        index: its number among devices of that kind.
        driver: the owner's implementation.
        owner: name of the backend that owns it; ``"opmux"`` for cpu.
        is_host: whether the host can address its memory.
    """

    __slots__ = (
        "__weakref__",
        "_opened_others",
        "_opening",
        "_others",
        "_queue",
        "_rates",
        "driver",
        "index",
        "info",
        "is_host",
        "kind",
        "lost",
        "name",
        "owner",
    )

    def __init__(self, driver: DeviceDriver, index: int, owner: str, *, is_host: bool = False) -> None:
        self.driver = driver
        self.info = driver.info
        self.kind = self.info.kind
        self.index = index
        self.owner = owner
        self.name = f"{self.kind}:{index}"
        self.is_host = is_host
        self.lost: DeviceLostError | None = None
        self._queue: Queue | None = None
        self._others: WeakSet[Queue] = WeakSet()
        self._opened_others = False  # asked first at every launch: to count a weak set takes several times as long
        self._rates: Rates | None = None
        self.renew_lock()

    def renew_lock(self) -> None:
        """Forget who is opening a queue: in the child of a fork it may be a thread that the child does not have."""
        self._opening = threading.RLock()

    @property
    def rates(self) -> Rates:
        """Its best rates, for the cost model."""
        known = self._rates
        if known is None:
            with _measuring:
                known = self._rates
                if known is None:
                    given = self.info.rates
                    known = self._rates = given if isinstance(given, Rates) else given()
        return known

    @property
    def default_queue(self) -> Queue:
        """The queue that calls use."""
        if self._queue is None:
            with self._opening:
                if self._queue is None:
                    self._queue = self._open()
        return self._queue

    def queue(self) -> Queue:
        """Open another in-order queue.

        Raises:
            DeviceError: when the driver fails.
            DeviceLostError: when the device is lost.
        """
        self.default_queue  # noqa: B018 - the first queue a driver opens is its default one
        with self._opening:
            opened = self._open()
        self._others.add(opened)
        self._opened_others = True
        return opened

    def _open(self) -> Queue:
        self.check_alive()
        try:
            return Queue(self, self.driver.open_queue())
        except Exception as error:
            self.fail("open_queue", error)

    @property
    def several_queues(self) -> bool:
        """Whether there are queues beside the default one."""
        return self._opened_others and len(self._others) > 0

    def synchronize(self) -> None:
        """Wait for the default queue and raise the first late failure that nobody has seen."""
        self.default_queue.synchronize()

    def check_alive(self) -> None:
        """Raise the loss of this device, if it is lost."""
        if self.lost is not None:
            raise again(self.lost)

    def lose(self, error: DeviceLostError) -> None:
        """Mark the device lost; every later use of it raises the same error."""
        if self.lost is None:
            self.lost = again(error)

    def fail(self, call: str, error: Exception) -> NoReturn:
        """Raise what a method of the driver failed with, as opmux reports it.

        Raises:
            DeviceLostError: the device's loss, which is noted.
            OpmuxError: as it is.
            DeviceError: for anything else, with ``device`` and ``call``.
        """
        if isinstance(error, DeviceLostError):
            self.lose(error)
        if isinstance(error, OpmuxError):
            raise error
        raise DeviceError(
            f"{self.name}: {call} failed in the driver of backend {self.owner}: {error!r}; this is a fault of the "
            "backend "
            f"or of the device, report it there",
            device=self.name,
            call=call,
            backend=self.owner,
        ) from error

    def alloc(self, nbytes: int, queue: Queue | None = None) -> Buffer:
        """Return a fresh buffer of at least *nbytes*.

        Raises:
            OutOfMemoryError: when the device cannot hold it.
            DeviceLostError: when the device is lost.
            DeviceError: when the driver fails.
        """
        if self.lost is not None:
            raise again(self.lost)
        if queue is None:
            queue = self._queue or self.default_queue
        try:
            # Also an empty array has memory: kernels may ask for its pointer, and no driver is asked for 0 bytes.
            handle = self.driver.alloc(nbytes or 1, queue.handle)
        except OpmuxError as error:
            self.fail("alloc", error)
        except MemoryError as error:
            raise OutOfMemoryError(
                f"{self.name} could not allocate {nbytes:,} bytes (it has {self.info.memory:,} in all): {error}; "
                f"free arrays or use smaller ones",
                device=self.name,
                nbytes=nbytes,
            ) from error
        except Exception as error:
            self.fail("alloc", error)
        return Buffer(self, handle, nbytes, queue)

    def __repr__(self) -> str:
        return self.name

    def __reduce__(self) -> tuple[Any, ...]:
        return find_device, (self.name,)


class Buffer:
    """Memory of one device, returned to its owner when the last array over it is gone.

    Launches and copies tell the buffer what they are about to do and what they have done; it keeps them in order across
    queues. On the host everything is done at once, so nothing is kept.

    Attributes:
        device: where it lives.
        handle: the owner's handle.
        address: of its first byte, where the host can address it; else None. Asking a driver takes twice as long.
        nbytes: its size.
        status: how the launch that wrote it went, where it may fail late.
        writable: False for memory that somebody else owns.
    """

    __slots__ = ("__weakref__", "_uses", "_written", "address", "device", "handle", "nbytes", "status", "writable")

    def __init__(self, device: Device, handle: Handle, nbytes: int, queue: Queue, *, writable: bool = True) -> None:
        self.device = device
        self.handle = handle
        self.nbytes = nbytes
        self.status: Status | None = None
        self.writable = writable
        #: Points of the last write, and of the last use on each queue.
        self._written: Point | None = None
        self._uses: dict[Queue, Point] | None = None
        if device.is_host:
            self.address: int | None = handle.address
        else:
            self.address = None
            self._written = queue.point()
            self._uses = {queue: self._written}

    def before_read(self, queue: Queue) -> None:
        """Let work that is about to be put on a queue start only after the last write."""
        written = self._written
        if written is not None and written.queue is not queue:
            queue.wait_for(written)

    def record_write(self) -> None:
        """Record an event behind the last write now, for queues of other devices that are about to read.

        Recorded when they ask for it, it would also make them wait for what this queue was given in between.
        """
        if self._written is not None and not self._written.is_over():
            self._written.event()

    def before_write(self, queue: Queue) -> None:
        """Let work that is about to be put on a queue start only after every read and write so far."""
        for point in self._last_uses():
            queue.wait_for(point)

    def was_read(self, point: Point) -> None:
        """Note a read that has been put on a queue."""
        if self._uses is not None:
            self._uses[point.queue] = point

    def was_written(self, point: Point, status: Status | None) -> None:
        """Note a write that has been put on a queue after :meth:`before_write`.

        Args:
            point: where on the queue it is.
            status: its fate, where that is not known to be good; it replaces the one of the value before.
        """
        self._written = point
        self._uses = {point.queue: point}  # which is after all earlier uses
        self.status = status

    def pending(self) -> Status | None:
        """Return the status of the last write unless it is known to be good; asks, and never waits."""
        status = self.status
        if status is None or not status.settled_well():
            return status
        self.status = None
        return None

    def settle(self) -> None:
        """Wait for the launch that made the value and raise its late failure, if it may have one."""
        status = self.status
        if status is not None:
            status.raise_if_failed()
            self.status = None

    def _last_uses(self) -> tuple[Point, ...]:
        return () if self._uses is None else tuple(self._uses.values())

    def __del__(self, is_finalizing: Callable[[], bool] = sys.is_finalizing) -> None:
        # Held here: when the interpreter ends, the names of the module may be gone before the buffer is.
        if not self.writable:
            return
        try:
            driver, uses = self.device.driver, self._uses
            # Work of the default queue is in order with the release; events are for the other queues.
            default = self.device._queue
            if uses is None or (len(uses) == 1 and default in uses):
                driver.free(self.handle, ())
                return
            default = self.device.default_queue
            driver.free(self.handle, [p.event()[1] for p in uses.values() if not default.is_after(p)])
        except Exception as error:  # a destructor cannot raise
            # With the interpreter going down, drivers lose what they stand on, and the memory goes with the process.
            if self.device.lost is None and not is_finalizing():
                _report_leak(self.device, error)


def _report_leak(device: Device, error: Exception) -> None:
    warnings.warn(f"{device} did not take back a buffer: {error!r}", ResourceWarning, stacklevel=2)


_table_lock: Final = held_across_fork(Order.TABLE)


class DeviceTable:
    """All devices present, by name. The core puts ``cpu`` in; plugins add the rest through the manager."""

    def __init__(self) -> None:
        self._devices: dict[str, Device] = {}  # replaced, never changed: readers take no lock

    def add(self, device: Device) -> None:
        """Add a device.

        Raises:
            DeviceError: when the kind has another owner already, or the name is taken.
        """
        with _table_lock:
            for other in self._devices.values():
                if other.kind == device.kind and other.owner != device.owner:
                    raise DeviceError(
                        f"device kind {device.kind!r} of {device.owner} is owned by {other.owner} already",
                        device=device.name,
                        owner=other.owner,
                    )
            if device.name in self._devices:
                raise DeviceError(
                    f"{device.owner} has a device {device.name} already; give each device of a kind its own number",
                    device=device.name,
                    owner=device.owner,
                )
            self._devices = {**self._devices, device.name: device}

    def remove(self, name: str) -> None:
        """Forget one device; arrays on it stay as they are."""
        with _table_lock:
            self._devices = {n: d for n, d in self._devices.items() if n != name}

    def drop(self, owner: str) -> None:
        """Forget every device of an owner."""
        with _table_lock:
            self._devices = {n: d for n, d in self._devices.items() if d.owner != owner}

    def __iter__(self) -> Any:
        return iter(tuple(self._devices.values()))

    def find(self, given: Device | str) -> Device:
        """Return the device of this name; a kind alone means its device 0.

        Raises:
            DeviceError: when there is none, naming those that are present.
        """
        if isinstance(given, Device):
            return given
        remedy = "`opmux doctor` says why a backend is missing"
        if isinstance(given, str):
            found = self._devices.get(given) or self._devices.get(f"{given}:0")
            if found is not None:
                return found
            if given.partition(":")[0] == "cpu":  # the host can be more devices, and needs no backend for it
                remedy = "OPMUX_CPU_DEVICES=N makes the host N devices"
        raise DeviceError(
            f"no device {shown(given)}; present: {', '.join(self._devices) or 'none'} ({remedy})",
            device=given,
        )


DEVICES: Final = DeviceTable()


def _after_fork_in_child() -> None:
    for device in DEVICES:
        device.renew_lock()


os.register_at_fork(after_in_child=_after_fork_in_child)


def find_device(given: Device | str) -> Device:
    """Return a present device by name, loading backends if the name is not known yet."""
    if isinstance(given, str) and given not in ("cpu", "cpu:0"):
        from .. import runtime

        runtime.ensure_loaded()
    return DEVICES.find(given)
