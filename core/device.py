"""Devices, queues and buffers: memory spaces and the order in which work happens on them."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from .errors import DeviceError, DeviceLostError, OpmuxError, OutOfMemoryError, shown
from .status import Status

HostBytes = NDArray[np.uint8]
Handle = Any  # whatever the owner's alloc returned; opmux never looks inside


@dataclass(frozen=True, slots=True)
class Rates:
    """What a device can do at best, for the cost model.

    Attributes:
        flops: floating or integer operations per second, by dtype name; ``"default"`` serves the others.
        bandwidth: pairs (working set in bytes, bytes per second), ascending; the last serves all that is larger.
        launch: seconds that the cheapest launch costs.
        source: where the numbers come from: ``"model"``, ``"measured"``, ``"declared"``.
    """

    flops: tuple[tuple[str, float], ...] = (("default", 1e10),)
    bandwidth: tuple[tuple[int, float], ...] = ((1 << 62, 1e10),)
    launch: float = 1e-6
    source: str = "declared"

    def flops_for(self, dtype: str) -> float:
        """Return operations per second for a dtype."""
        table = dict(self.flops)
        return table.get(dtype, table["default"])

    def bandwidth_at(self, nbytes: float) -> float:
        """Return bytes per second at the level where a working set of this size lives."""
        for limit, rate in self.bandwidth:
            if nbytes <= limit:
                return rate
        return self.bandwidth[-1][1]


@dataclass(frozen=True, slots=True)
class DeviceInfo:
    """What a device says of itself.

    Attributes:
        kind: the device kind, e.g. ``"cuda"``.
        name: the product's name, for people.
        memory: bytes of memory.
        features: what kernels may require, as free words.
        flushes_subnormals: whether results below the smallest normal number become zero.
        rates: its best rates, for the cost model, or a function that finds them on first need.
    """

    kind: str
    name: str
    memory: int
    features: frozenset[str] = frozenset()
    flushes_subnormals: bool = False
    rates: Rates | Callable[[], Rates] = field(default_factory=Rates)


@runtime_checkable
class DeviceDriver(Protocol):
    """What the owner of a device implements: memory, copies and queues. One object per device.

    All sizes and offsets are bytes. ``queue`` arguments are what :meth:`open_queue` returned. Work on one queue runs in order.
    A driver raises :class:`MemoryError` when an allocation does not fit, and ``DeviceLostError`` when the device is gone.
    """

    @property
    def info(self) -> DeviceInfo:
        """What the device says of itself."""

    def open_queue(self) -> Any:
        """Open an in-order queue; the first one opened is the default queue."""

    def alloc(self, nbytes: int, queue: Any) -> Handle:
        """Return fresh memory, at least 64-byte aligned, usable by work put on *queue* from now on."""

    def free(self, handle: Handle, last_uses: Sequence[Any]) -> None:
        """Take memory back after the work now on the default queue and every event in *last_uses*; must not wait."""

    def pointer(self, handle: Handle, offset: int) -> Any:
        """Return what kernels get as ``array.ptr`` for the element at this offset."""

    def upload(self, handle: Handle, offset: int, source: HostBytes, queue: Any) -> None:
        """Put a copy from host memory on the queue; *source* may be reused when this returns."""

    def download(self, target: HostBytes, handle: Handle, offset: int, queue: Any) -> None:
        """Copy to host memory after all earlier work of the queue, and wait for it."""

    def record(self, queue: Any) -> Any:
        """Return an event that happens when all work now on the queue is done."""

    def wait(self, queue: Any, event: Any) -> None:
        """Let later work of the queue start only after the event."""

    def synchronize(self, queue: Any) -> None:
        """Return when all work of the queue is done."""


class Queue:
    """An in-order stream of work on a device."""

    __slots__ = ("__weakref__", "device", "handle", "outstanding")

    def __init__(self, device: Device, handle: Any) -> None:
        self.device = device
        self.handle = handle
        self.outstanding: deque[Status] = deque()

    def track(self, status: Status) -> None:
        """Remember a launch that may fail late; launches known to be good are forgotten."""
        while self.outstanding and self.outstanding[0].settled_well():
            self.outstanding.popleft()
        self.outstanding.append(status)

    def synchronize(self) -> None:
        """Wait until the queue is empty.

        Raises:
            OpmuxError: the first late failure that nobody has seen yet.
        """
        self.device.check_alive()
        try:
            self.device.driver.synchronize(self.handle)
        except DeviceLostError as lost:
            self.device.lose(lost)
            raise
        first: OpmuxError | None = None
        while self.outstanding:
            status = self.outstanding.popleft()
            error = status.error()
            if error is not None and not status.seen() and first is None:
                first = error
            if error is not None:
                status.mark_seen()
        if first is not None:
            raise first

    def __repr__(self) -> str:
        return f"<queue of {self.device}>"


class Device:
    """A memory space with one default queue and others on request.

    Attributes:
        kind: e.g. ``"cpu"``.
        index: its number among devices of that kind.
        driver: the owner's implementation.
        owner: name of the backend that owns it; ``"opmux"`` for cpu.
        is_host: whether the host can address its memory.
    """

    __slots__ = ("__weakref__", "_queue", "_rates", "driver", "index", "info", "is_host", "kind", "lost", "name", "owner")

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
        self._rates: Rates | None = None

    @property
    def rates(self) -> Rates:
        """Its best rates, for the cost model."""
        if self._rates is None:
            given = self.info.rates
            self._rates = given if isinstance(given, Rates) else given()
        return self._rates

    @property
    def default_queue(self) -> Queue:
        """The queue that calls use."""
        if self._queue is None:
            self._queue = Queue(self, self.driver.open_queue())
        return self._queue

    def queue(self) -> Queue:
        """Open another in-order queue."""
        self.default_queue  # noqa: B018 - the first queue a driver opens is its default one
        return Queue(self, self.driver.open_queue())

    def synchronize(self) -> None:
        """Wait for the default queue and raise the first late failure that nobody has seen."""
        self.default_queue.synchronize()

    def check_alive(self) -> None:
        """Raise the loss of this device, if it is lost."""
        if self.lost is not None:
            raise self.lost

    def lose(self, error: DeviceLostError) -> None:
        """Mark the device lost; every later use of it raises the same error."""
        self.lost = error

    def alloc(self, nbytes: int, queue: Queue | None = None) -> Buffer:
        """Return a fresh buffer of at least *nbytes*.

        Raises:
            OutOfMemoryError: when the device cannot hold it.
            DeviceLostError: when the device is lost.
        """
        self.check_alive()
        queue = queue or self.default_queue
        try:
            handle = self.driver.alloc(nbytes, queue.handle)
        except OutOfMemoryError:
            raise
        except DeviceLostError as lost:
            self.lose(lost)
            raise
        except MemoryError as error:
            raise OutOfMemoryError(
                f"{self.name} could not allocate {nbytes:,} bytes (it has {self.info.memory:,} in all): {error}; "
                f"free arrays or use smaller ones",
                device=self.name,
                nbytes=nbytes,
            ) from error
        return Buffer(self, handle, nbytes, queue)

    def __repr__(self) -> str:
        return self.name

    def __reduce__(self) -> tuple[Any, ...]:
        return find_device, (self.name,)


class Buffer:
    """Memory of one device, returned to its owner when the last array over it is gone.

    Attributes:
        device: where it lives.
        handle: the owner's handle.
        nbytes: its size.
        queue: the queue of the last launch that wrote it.
        status: how that launch went, where it may fail late.
        writable: False for memory that somebody else owns.
    """

    __slots__ = ("__weakref__", "device", "handle", "nbytes", "other_uses", "queue", "status", "writable")

    def __init__(self, device: Device, handle: Handle, nbytes: int, queue: Queue, *, writable: bool = True) -> None:
        self.device = device
        self.handle = handle
        self.nbytes = nbytes
        self.queue = queue
        self.status: Status | None = None
        self.other_uses: set[Queue] | None = None
        self.writable = writable

    def used_on(self, queue: Queue) -> None:
        """Order the work of another queue after this buffer's last write, and note the use."""
        driver = self.device.driver
        driver.wait(queue.handle, driver.record(self.queue.handle))
        if self.other_uses is None:
            self.other_uses = set()
        self.other_uses.add(queue)

    def __del__(self) -> None:
        if not self.writable:
            return
        try:
            driver, default = self.device.driver, self.device._queue
            if self.other_uses is None and self.queue is default:
                driver.free(self.handle, ())
            else:
                # Work of the default queue is in order with the release; events are for the other queues.
                others = {*(self.other_uses or ()), self.queue} - {default}
                driver.free(self.handle, [driver.record(q.handle) for q in others])
        except Exception as error:  # a destructor cannot raise, and the interpreter may be going down
            if self.device.lost is None:
                _report_leak(self.device, error)


def _report_leak(device: Device, error: Exception) -> None:
    import warnings

    warnings.warn(f"{device} did not take back a buffer: {error!r}", ResourceWarning, stacklevel=2)


class DeviceTable:
    """All devices present, by name. The core puts ``cpu`` in; plugins add the rest through the manager."""

    def __init__(self) -> None:
        self._devices: dict[str, Device] = {}

    def add(self, device: Device) -> None:
        """Add a device.

        Raises:
            DeviceError: when the kind has another owner already.
        """
        for other in self._devices.values():
            if other.kind == device.kind and other.owner != device.owner:
                raise DeviceError(
                    f"device kind {device.kind!r} of {device.owner} is owned by {other.owner} already",
                    device=device.name,
                    owner=other.owner,
                )
        self._devices[device.name] = device

    def drop(self, owner: str) -> None:
        """Forget every device of an owner."""
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
        if isinstance(given, str):
            found = self._devices.get(given) or self._devices.get(f"{given}:0")
            if found is not None:
                return found
        raise DeviceError(
            f"no device {shown(given)}; present: {', '.join(self._devices) or 'none'} "
            f"(`opmux doctor` says why a backend is missing)",
            device=given,
        )


DEVICES: Final = DeviceTable()


def find_device(given: Device | str) -> Device:
    """Return a present device by name, loading backends if the name is not known yet."""
    if isinstance(given, str) and given not in ("cpu", "cpu:0"):
        from . import runtime

        runtime.ensure_loaded()
    return DEVICES.find(given)
