"""Queues: in-order streams of work, points on them, and which queue a call goes on."""

from __future__ import annotations

import contextlib
import itertools
from collections import deque
from collections.abc import Iterator, Mapping
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, Final
from weakref import WeakKeyDictionary

from ..errors import OpmuxError
from ..locks import Order, held_across_fork
from .status import Status

if TYPE_CHECKING:
    from .device import Device

# For the few list operations of bookkeeping; no driver and no completion is called under it.
_lock: Final = held_across_fork(Order.TABLE)


class Point:
    """A place on the timeline of a queue: after one launch, copy or allocation.

    Attributes:
        queue: the queue.
        tick: its number. Work of a lower number was put on the queue before.
        since: a number that was given when the work was about to begin, so that work up to there has ended when this
            work has. (It is not always ``tick - 1``: several threads may use a queue.)
    """

    __slots__ = ("_event", "_over", "queue", "since", "tick")

    def __init__(self, queue: Queue, tick: int, since: int) -> None:
        self.queue = queue
        self.tick = tick
        self.since = since
        self._event: tuple[int, Any] | None = None
        self._over = False

    def record(self) -> None:
        """Record an event now, right behind the work."""
        self._event = self.queue.record()

    def event(self) -> tuple[int, Any]:
        """Return an event that happens after the work, and the number up to which it covers the queue.

        Without an event of its own the point takes the last one of the queue if that covers it, or records one at the
        queue's end.
        """
        if self._event is None:
            last = self.queue.last_event
            self._event = last if last is not None and last[0] >= self.tick else self.queue.record()
        return self._event

    def reached(self) -> None:
        """Note that the work has ended."""
        self._over, self._event = True, None
        self.queue.reached(self.since)

    def is_over(self) -> bool:
        """Return whether the work is known to have ended."""
        return self._over or self.tick <= self.queue.ended


class Queue:
    """An in-order stream of work on a device.

    Attributes:
        device: whose it is.
        handle: what the driver opened.
        ended: number of the point up to which all work is known to have ended.
        last_event: the event recorded last, with the number up to which it covers the queue.
    """

    __slots__ = (
        "__weakref__",
        "_after",
        "_failed",
        "_outstanding",
        "_ticks",
        "device",
        "ended",
        "handle",
        "last_event",
    )

    def __init__(self, device: Device, handle: Any) -> None:
        self.device = device
        self.handle = handle
        self._ticks = itertools.count(1)  # next() of it takes no lock, and gives no number twice
        self.ended = 0
        self.last_event: tuple[int, Any] | None = None
        self._after: WeakKeyDictionary[Queue, int] = WeakKeyDictionary()
        self._outstanding: deque[Status] = deque()
        self._failed: dict[Status, None] = {}  # failures that nobody has seen, in order, one per origin

    def now(self) -> int:
        """Return a number between those of the points so far and those that come."""
        return next(self._ticks)

    def point(self) -> Point:
        """Return a new point behind the work that was put on the queue so far, where none was put on it just now."""
        tick = next(self._ticks)
        return Point(self, tick, tick - 1)

    def launched(self, since: int) -> Point:
        """Return the point of work that was put on the queue just now.

        Where the device has several queues it gets an event of its own at once: recorded later, it would also make
        another queue wait for what this one was given in between.
        """
        point = Point(self, next(self._ticks), since)
        if self.device.several_queues:
            # Whoever needs the event tries again, and is told. A launch that raised here would go on unnoticed, while
            # the memory that it uses is given away.
            with contextlib.suppress(OpmuxError):
                point.record()
        return point

    def record(self) -> tuple[int, Any]:
        """Record an event behind all work now on the queue; return it with the number up to which it covers the queue.

        Raises:
            DeviceError: when the driver fails.
        """
        tick = next(self._ticks)  # taken first: what another thread launches meanwhile may be behind the event
        try:
            event = self.device.driver.record(self.handle)
        except Exception as error:
            self.device.fail("record", error)
        self.last_event = tick, event
        return self.last_event

    def is_after(self, point: Point) -> bool:
        """Return whether later work of this queue starts after a point without any further waiting."""
        return point.queue is self or point.is_over() or self._after.get(point.queue, 0) >= point.tick

    def wait_for(self, point: Point) -> None:
        """Let later work of this queue start only after a point of another one; the host does not wait.

        Raises:
            DeviceError: when the driver fails.
        """
        if self.is_after(point):
            return
        covered, event = point.event()
        try:
            self.device.driver.wait(self.handle, event)
        except Exception as error:
            self.device.fail("wait", error)
        self._after[point.queue] = max(covered, self._after.get(point.queue, 0))

    def reached(self, tick: int) -> None:
        """Note that all work up to a point has ended."""
        with _lock:
            self.ended = max(self.ended, tick)

    def track(self, status: Status) -> None:
        """Remember a launch that may fail late; launches known to be good are forgotten."""
        self._outstanding.append(status)
        self._sweep()

    def outstanding(self) -> int:
        """Return how many launches are remembered: those whose end is not known, and failures that nobody has seen."""
        return len(self._outstanding) + len(self._failed)

    def _sweep(self) -> None:
        """Forget the launches at the head that have ended, but for failures that nobody has seen."""
        while True:
            with _lock:
                if not self._outstanding:
                    return
                head = self._outstanding[0]
            if not head.ended():
                return
            with _lock:
                if self._outstanding and self._outstanding[0] is head:  # no other thread was faster
                    self._outstanding.popleft()
                    if head.failed() and not head.seen():
                        self._failed[head.origin] = None

    def synchronize(self) -> None:
        """Wait until the queue is empty.

        Raises:
            OpmuxError: the first late failure that nobody has seen yet.
        """
        self.device.check_alive()
        tick = next(self._ticks)
        try:
            self.device.driver.synchronize(self.handle)
        except Exception as error:
            self.device.fail("synchronize", error)
        self.reached(tick)
        with _lock:
            launched = tuple(self._outstanding)
        for status in launched:
            status.error()
        self._sweep()
        with _lock:
            failed = [status for status in self._failed if not status.seen()]
            self._failed.clear()
        for status in failed:
            status.mark_seen()
        for status in failed[:1]:
            status.raise_if_failed()

    def __repr__(self) -> str:
        return f"<queue of {self.device}>"


_chosen: ContextVar[Mapping[Device, Queue] | None] = ContextVar("opmux_queues", default=None)


def queue_of(device: Device) -> Queue:
    """Return the queue that calls on a device go on now."""
    chosen = _chosen.get()
    if chosen is not None and device in chosen:
        return chosen[device]
    return device._queue or device.default_queue


@contextlib.contextmanager
def use_queue(queue: Queue) -> Iterator[Queue]:
    """Put calls inside the block on this queue; work on other queues that they depend on is waited for.

    >>> import opmux as ox
    >>> with ox.use_queue(ox.device("cpu").queue()):
    ...     y = ox.asarray([1.0]) + 1.0
    """
    token = _chosen.set({**(_chosen.get() or {}), queue.device: queue})
    try:
        yield queue
    finally:
        _chosen.reset(token)
