"""Queues of a device with work on them that is late, so that a missing order shows.

A producer is a chain of calls. Whether it was still at work when all else had been put on the queues is looked at, and
so is whether an idle queue did some calls meanwhile, as the one that must wait could have done: a busy machine shows
nothing otherwise. A round in which something was not late enough is done again, with a longer chain.
"""

from __future__ import annotations

import functools
import time
from collections.abc import Callable
from typing import Any, Final
from weakref import WeakKeyDictionary

import numpy as np

from ....core.arrays.array import Array
from ....core.devices.device import Buffer, Device
from ....core.devices.queues import Queue, queue_of, use_queue
from ....core.devices.status import Status
from ...oracle.formats import Host
from ...target import Findings, Target
from ..case import Check, DeviceContext
from .workload import Workload, hold

#: Seconds of work that a producer puts on its queue, at first and at most.
_LATE: Final = 0.02
_LATEST: Final = 0.3
#: A call of a producer takes so many times longer than its launch; else a queue would be done as soon as it is filled.
_RATIO: Final = 4
#: Bytes of a producer's operand at most, and what share of the device's memory.
_MOST_BYTES: Final = 1 << 28
_SHARE: Final = 16
#: Elements of the arrays that are held.
ELEMENTS: Final = 1 << 18
#: Calls that an idle queue does one after the other while a late one goes on.
_PROBES: Final = 3
#: Queues beyond 16, 32 and 64.
_MANY: Final = 70
#: What lies where a late result is to be: no sum of operands, and exact in every dtype.
_SOIL: Final = 99


def bound(check: Callable[[Bench, Findings], None], context: DeviceContext) -> Check:
    """Return a case that does rounds of a check until enough of them showed something."""

    def bound(target: Target, findings: Findings) -> None:
        bench = Bench(target, context.seed)
        left, tries = (1, 4) if context.quick else (3, 9)
        while left and tries:
            left, tries = left - bench.shows(check, findings), tries - 1
        target.device.synchronize()

    return bound


#: Queues that were opened beside the numbered ones of opmux, by device; they cannot be closed, so they are kept.
_opened: Final[WeakKeyDictionary[Device, list[Any]]] = WeakKeyDictionary()


def _queue_number(device: Device, i: int) -> Queue:
    """Return a further queue of a device, of which opmux does not know that it is there.

    So opmux records no events of its own, and what is waited for is what a case has recorded.
    """
    device.default_queue  # noqa: B018 - the first queue a driver opens is its default one
    opened = _opened.setdefault(device, [])
    while len(opened) <= i:
        opened.append(device.driver.open_queue())
    return Queue(device, opened[i])


class Bench:
    """Queues of a device, and calls that keep one of them busy.

    Attributes:
        first: the default queue.
        x, y: operands, as NumPy arrays.
    """

    def __init__(self, target: Target, seed: int) -> None:
        self.work = Workload(target)
        self.device = target.device
        self.first = self.device.default_queue
        self._idle = _queue_number(self.device, 0)
        self.x, self.y = (self.work.values((ELEMENTS,), i, seed) for i in range(2))
        self._scratch: dict[Queue, Array] = {}
        self._last: Status | None = None
        self._in_time = True
        self._heavy, self._each = self._slow_enough()
        # Work that is over when its launch returns is never late, and cannot be overtaken.
        self._at_once = self.device.is_host or all(self._is_over(self._busy(4)) for _ in range(3))
        self._calls = 2 if self.device.is_host else max(4, int(_LATE / self._each))
        self._small = self.up(self.x[:64])
        self._overlaps = not self._at_once and self._runs_beside()

    @functools.cached_property
    def second(self) -> Queue:
        """Another queue, once it is asked for."""
        return self.device.queue()

    def line(self) -> list[Queue]:
        """Return many more queues, which opmux does not order."""
        return [_queue_number(self.device, i) for i in range(1, 3 if self.device.is_host else 1 + _MANY)]

    def _slow_enough(self) -> tuple[Array, float]:
        """Return an operand that makes a call take longer than its launch, and how long it takes."""
        count = ELEMENTS
        while True:
            heavy = self.work.upload(np.resize(self.x, count))
            self._scratch.clear()
            self._busy(1, heavy)  # code is made on the first call
            self.device.synchronize()
            start = time.perf_counter()
            self._busy(4, heavy)
            launched = time.perf_counter() - start
            self.device.synchronize()
            whole = time.perf_counter() - start
            most = min(_MOST_BYTES, self.device.info.memory // _SHARE)
            if self.device.is_host or whole > _RATIO * launched or whole > _LATE or 4 * heavy.nbytes > most:
                return heavy, max(whole / 4, 1e-6)
            count *= 4

    def _busy(self, calls: int, heavy: Array | None = None) -> Array:
        """Put calls on the queue in use, which need no memory but the first one's."""
        x, queue = self._heavy if heavy is None else heavy, queue_of(self.device)
        made = self._scratch.pop(queue, None)
        for _ in range(calls):
            made = self.work.add(x, x, out=made)
        return self._scratch.setdefault(queue, x if made is None else made)

    @staticmethod
    def _is_over(x: Array) -> bool:
        status = x._buffer.status
        return status is None or status.ended()

    def _probe(self) -> None:
        """Let a queue that has nothing to do make some calls, one after the other."""
        for _ in range(_PROBES):
            with use_queue(self._idle):
                made = self.work.add(self._small, self._small)
            self.raw(made, self._idle)

    def _runs_beside(self) -> bool:
        """Return whether one queue works while another one does."""
        self._probe()  # code is made on the first call
        for more in (1, 2, 4):
            busy = self._busy(more * self._calls)
            self._probe()
            if busy._buffer.status is not None and not self._is_over(busy):
                return True
            self.device.synchronize()
        return False

    def shows(self, check: Callable[[Bench, Findings], None], findings: Findings) -> bool:
        """Do a round; return whether all that was to be late was."""
        self._in_time = True
        check(self, findings)
        if self._in_time or self._at_once:
            return True
        self._calls = min(2 * self._calls, max(4, int(_LATEST / self._each)))
        return False

    def late(self, x: Array, y: Array) -> Array:
        """Return the sum of two arrays, behind so much other work of the queue that it is there late.

        It is made in memory that holds something else: what was freed last may hold the same sum.
        """
        place = self.up(np.full(x.shape, _SOIL, x.dtype.numpy))
        self._busy(self._calls)
        made = self.work.add(x, y, out=place)
        self._last = made._buffer.status
        return made

    def put(self) -> None:
        """Note that all is on the queues that is to be there before the last late call ends, and could have begun."""
        if self._last is not None:
            if self._overlaps and not self._last.ended():
                self._probe()
            self._in_time &= not self._last.ended()
        self._last = None

    def sum(self, x: Host, y: Host) -> Host:
        """Return the same with NumPy."""
        return np.asarray(self.work.binary.host(x, y))

    def up(self, host: Host) -> Array:
        """Return host data on the device."""
        return self.work.upload(host)

    def raw(self, x: Array, queue: Queue) -> Host:
        """Return what lies in an array's memory for a queue, without the order that opmux would put before it."""
        found = np.empty(x.shape, x.dtype.numpy)
        self.device.driver.download(found.view(np.uint8), x._buffer.handle, 0, queue.handle)
        return found

    def unordered(self, x: Array, queue: Queue) -> Array:
        """Return an array on the same memory that opmux takes for ready on a queue; it lives no longer than *x*."""
        there = Buffer(self.device, x._buffer.handle, x._buffer.nbytes, queue, writable=False)
        return Array(there, x._sig, x._offset)

    def expect(self, findings: Findings, x: Array, expected: Host, what: str) -> None:
        """Hold an array to its values."""
        hold(findings, np.asarray(x.numpy()), expected, what)
