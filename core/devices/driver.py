"""What the owner of a device implements: memory, copies and queues."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from ..collectives.communicator import Link

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


@dataclass(frozen=True, slots=True, eq=False)
class DeviceInfo:
    """What a device says of itself.

    Attributes:
        kind: the device kind, e.g. ``"cuda"``.
        name: the product's name, for people.
        memory: bytes of memory.
        features: what kernels may require, as free words.
        flushes_subnormals: whether results below the smallest normal number become zero.
        rates: its best rates, for the cost model, or a function that finds them on first need.
        lacks: returns what is not on the machine and would give the device more kernels, each as a sentence that says
            how to get it; ``opmux doctor`` calls it and prints them.
    """

    kind: str
    name: str
    memory: int
    features: frozenset[str] = frozenset()
    flushes_subnormals: bool = False
    rates: Rates | Callable[[], Rates] = field(default_factory=Rates)
    lacks: Callable[[], Sequence[str]] = tuple


@runtime_checkable
class DeviceDriver(Protocol):
    """What the owner of a device implements: memory, copies and queues. One object per device.

    All sizes and offsets are bytes. ``queue`` arguments are what :meth:`open_queue` returned. Work on one queue runs in
    order: it begins when all earlier work of the queue has ended. Methods are called from any thread, :meth:`free` also
    from the collector in the middle of another call; only :meth:`open_queue` is never called by two threads at once.

    A driver raises :class:`MemoryError` when an allocation does not fit, and ``DeviceLostError``, from any method, when
    the device is gone: every later use of the device then raises that. Anything else that it raises reaches the caller
    as a ``DeviceError`` that names the device and the method.
    """

    @property
    def info(self) -> DeviceInfo:
        """What the device says of itself."""

    def open_queue(self) -> Any:
        """Open an in-order queue; the first one opened is the default queue."""

    def alloc(self, nbytes: int, queue: Any) -> Handle:
        """Return fresh memory, at least 64-byte aligned, usable by work put on *queue* from now on.

        *nbytes* is at least 1. Another queue touches the memory only after an event recorded on *queue* later.
        """

    def free(self, handle: Handle, last_uses: Sequence[Any]) -> None:
        """Take memory back after the work now on the default queue and every event in *last_uses*; must not wait.

        Called once per handle, also after a failure of the work that used it.
        """

    def pointer(self, handle: Handle, offset: int) -> Any:
        """Return what kernels get as ``array.ptr`` for the element at this offset."""

    def upload(self, handle: Handle, offset: int, source: HostBytes, queue: Any) -> None:
        """Put a copy from host memory on the queue; *source* may be reused when this returns."""

    def download(self, target: HostBytes, handle: Handle, offset: int, queue: Any) -> None:
        """Copy to host memory after all earlier work of the queue, and wait for it."""

    def record(self, queue: Any) -> Any:
        """Return an event that happens when all work now on the queue is done, well or badly.

        It may be waited for by several queues, and never: opmux keeps it with the buffers that the work used.
        """

    def wait(self, queue: Any, event: Any) -> None:
        """Let later work of the queue start only after the event, and see what the work before it wrote."""

    def synchronize(self, queue: Any) -> None:
        """Return when all work of the queue is done, whether or not it failed; late failures are the completions'."""


#: Puts work that was recorded on a queue.
Replay = Callable[[Any], None]


@runtime_checkable
class ReplayingDriver(Protocol):
    """What a driver may implement besides, where work is recorded once and then put on a queue as a whole."""

    def replayable(self, put: Callable[[Any], None]) -> Replay | None:
        """Record the work that *put* puts on the queue which it is given, and do none of it.

        *put* launches kernels of the device's owner. Return what puts the same work, in order and on the same memory,
        on a queue of the device; it may be called by several threads at once, and is dropped when nobody needs it. None
        where this work cannot be recorded; opmux then makes the launches themselves.
        """


@runtime_checkable
class PeerDriver(Protocol):
    """What a driver may implement besides, where the devices of its kind are connected with each other.

    Its queues then wait for events of any device of the kind. Without it values go from device to device through the
    host.
    """

    def copy_peer(
        self,
        handle: Handle,
        offset: int,
        source: Any,
        source_handle: Handle,
        source_offset: int,
        nbytes: int,
        queue: Any,
    ) -> None:
        """Put a copy from the memory of another device of the kind on a queue of this one.

        *source* is that device's driver. opmux has put the queue after the last write of the memory that is read, and
        gives none of it back before the copy.
        """

    def link(self, source: Any) -> Link:
        """Return what a copy from another device of the kind costs, given its driver."""
