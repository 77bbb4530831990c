"""Queues of a device: work in order on one, events between several, memory that is used again only after its last use.

A missing order shows only where something is late, so a producer is a chain of calls. Whether it was still at work
when all else had been put on the queues is looked at, and a round in which it was not is done again, with a longer one.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any, Final

import numpy as np

from ....core.arrays.array import Array
from ....core.devices.queues import Queue, queue_of, use_queue
from ....core.devices.status import Status
from ....core.errors import ConformanceError
from ...oracle.formats import Host
from ...target import Findings, Target
from ..case import ANY, Check, DeviceContext
from .workload import Workload, demand, hold

#: Seconds of work that a producer puts on its queue, at first and at most.
_LATE: Final = 0.02
_LATEST: Final = 0.3
#: A call of a producer takes so many times longer than its launch; else a queue would be done as soon as it is filled.
_RATIO: Final = 4
#: Bytes of a producer's operand at most, and what share of the device's memory.
_MOST_BYTES: Final = 1 << 28
_SHARE: Final = 16
#: Elements of the arrays that are held.
_ELEMENTS: Final = 1 << 18
#: Elements of an upload that takes longer than the next launch.
_LARGE: Final = 16 * _ELEMENTS
#: Seconds after which a queue that waits for an event is taken for stuck.
_STUCK: Final = 20.0


def queues(t: str, context: DeviceContext) -> Iterator[tuple[str, str, Check]]:
    """Cases of a device's queues."""
    if t != ANY:
        return
    for label, check in _CASES.items():
        yield "queues", label, _bound(check, context)


def _bound(check: Callable[[Bench, Findings], None], context: DeviceContext) -> Check:
    def bound(target: Target, findings: Findings) -> None:
        bench = Bench(target, context.seed)
        left, tries = (1, 4) if context.quick else (3, 9)
        while left and tries:
            left, tries = left - bench.shows(check, findings), tries - 1
        target.device.synchronize()

    return bound


class Bench:
    """Two queues of a device, and calls that keep one of them busy.

    Attributes:
        first, second: the default queue and another one.
        x, y: operands, as NumPy arrays.
    """

    def __init__(self, target: Target, seed: int) -> None:
        self.work = Workload(target)
        self.device = target.device
        self.first, self.second = self.device.default_queue, self.device.queue()
        self.x, self.y = (self.work.values((_ELEMENTS,), i, seed) for i in range(2))
        self._scratch: dict[Queue, Array] = {}
        self._last: Status | None = None
        self._in_time = True
        self._heavy, self._each = self._slow_enough()
        # Work that is over when its launch returns is never late, and cannot be overtaken.
        self._at_once = self.device.is_host or all(self._is_over(self._busy(4)) for _ in range(3))
        self._calls = 2 if self.device.is_host else max(4, int(_LATE / self._each))

    def _slow_enough(self) -> tuple[Array, float]:
        """Return an operand that makes a call take longer than its launch, and how long it takes."""
        count = _ELEMENTS
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

    def shows(self, check: Callable[[Bench, Findings], None], findings: Findings) -> bool:
        """Do a round; return whether all that was to be late was."""
        self._in_time = True
        check(self, findings)
        if self._in_time or self._at_once:
            return True
        self._calls = min(2 * self._calls, max(4, int(_LATEST / self._each)))
        return False

    def late(self, x: Array, y: Array) -> Array:
        """Return the sum of two arrays, behind so much other work of the queue that it is there late."""
        self._busy(self._calls)
        made = self.work.add(x, y)
        self._last = made._buffer.status
        return made

    def put(self) -> None:
        """Note that all is on the queues that is to be there before the last late call ends."""
        if self._last is not None and self._last.ended():
            self._in_time = False
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

    def expect(self, findings: Findings, x: Array, expected: Host, what: str) -> None:
        """Hold an array to its values."""
        hold(findings, np.asarray(x.numpy()), expected, what)


def in_order(b: Bench, findings: Findings) -> None:
    """Calls, uploads and overwriting on one queue happen in the order in which they were made."""
    for queue in (b.first, b.second):
        with use_queue(queue):
            x, y = b.up(b.x), b.up(b.y)
            late = b.late(x, y)
            more = b.work.add(late, b.up(b.x))
            spare = b.up(np.zeros_like(b.x))
            early = b.work.add(spare, y)
            over = b.work.add(x, x, out=spare)
            b.put()
            b.expect(findings, over, b.sum(b.x, b.x), "out= on memory that an earlier call of the queue reads")
            b.expect(findings, early, b.sum(np.zeros_like(b.x), b.y), "a call whose operand a later call overwrites")
            b.expect(findings, more, b.sum(b.sum(b.x, b.y), b.x), "a call that reads what a late call wrote")


def across(b: Bench, findings: Findings) -> None:
    """A call on one queue reads what a late call on another one writes, there and back again."""
    x, y = b.up(b.x), b.up(b.y)
    for producer, consumer in ((b.first, b.second), (b.second, b.first)):
        with use_queue(producer):
            late = b.late(x, y)
        with use_queue(consumer):
            found = b.work.add(late, x)
        with use_queue(producer):
            back = b.work.add(found, y)
        b.put()
        expected = b.sum(b.sum(b.x, b.y), b.x)
        b.expect(findings, found, expected, "a consumer on another queue than its late producer")
        b.expect(findings, back, b.sum(expected, b.y), "the first queue again, after the other one")


def uploads(b: Bench, findings: Findings) -> None:
    """What was uploaded is there for the next call of its queue, and behind late work for one of another queue."""
    x, y = b.up(b.x), b.up(b.y)
    b.device.synchronize()  # now nothing but the uploads themselves can be late
    for queue in (b.first, b.second):
        with use_queue(queue):
            large = b.up(np.resize(b.x, _LARGE))
            found = b.work.add(large, large)[-_ELEMENTS:]
        b.expect(findings, found, b.sum(b.x, b.x), "a call right behind the upload of its operand")
    for producer, consumer in ((b.first, b.second), (b.second, b.first)):
        with use_queue(producer):
            b.late(x, y)
            fresh = b.up(b.y)
        with use_queue(consumer):
            found = b.work.add(fresh, x)
        b.put()
        b.expect(findings, found, b.sum(b.y, b.x), "a call that reads what was uploaded on another queue")


def write_after_read(b: Bench, findings: Findings) -> None:
    """``out=`` on one queue waits for a late reader on another one."""
    x, y = b.up(b.x), b.up(b.y)
    for reader, writer in ((b.first, b.second), (b.second, b.first)):
        shared = b.up(b.x)
        with use_queue(reader):
            found = b.late(shared, y)
        with use_queue(writer):
            over = b.work.add(y, y, out=shared)
        b.put()
        b.expect(findings, found, b.sum(b.x, b.y), "a late reader of memory that another queue overwrites")
        b.expect(findings, over, b.sum(b.y, b.y), "what was written over it")
    del x


def reuse(b: Bench, findings: Findings) -> None:
    """Memory that is freed while a late call reads it is given to nobody before that call, on whichever queue."""
    y = b.up(b.y)
    for reader, taker in ((b.first, b.second), (b.second, b.first), (b.first, b.first), (b.second, b.second)):
        with use_queue(reader):
            doomed = b.up(b.x)
            found = b.late(doomed, y)
            del doomed
        with use_queue(taker):
            others = [b.up(np.full_like(b.x, i)) for i in range(3)]
            made = [b.work.add(o, y) for o in others]
        b.put()
        b.expect(findings, found, b.sum(b.x, b.y), "a late call whose operand was freed and allocated anew")
        for i, (o, m) in enumerate(zip(others, made, strict=True)):
            b.expect(findings, o, np.full_like(b.x, i), "an array in memory that was freed on another queue")
            b.expect(findings, m, b.sum(np.full_like(b.x, i), b.y), "a result in memory freed on another queue")


def dropped_result(b: Bench, findings: Findings) -> None:
    """A late call whose result nobody keeps writes into memory that nobody else has yet."""
    x, y = b.up(b.x), b.up(b.y)
    for writer, taker in ((b.first, b.second), (b.second, b.first)):
        with use_queue(writer):
            b.late(x, y)
        with use_queue(taker):
            others = [b.up(np.full_like(b.x, i)) for i in range(4)]
        b.put()
        for queue in (writer, taker):
            queue.synchronize()
        for i, o in enumerate(others):
            b.expect(findings, o, np.full_like(b.x, i), "an array beside a late call whose result was dropped")


def download_waits(b: Bench, findings: Findings) -> None:
    """Reading a value waits for the late call that makes it, on its queue and on the other one."""
    x, y = b.up(b.x), b.up(b.y)
    for queue in (b.first, b.second):
        with use_queue(queue):
            late = b.late(x, y)
        b.put()
        hold(findings, b.raw(late, queue), b.sum(b.x, b.y), "a download right behind the call that makes the value")
        with use_queue(queue):
            late = b.late(x, y)
        b.put()
        b.expect(findings, late, b.sum(b.x, b.y), "a value read from the default queue")


def upload_source(b: Bench, findings: Findings) -> None:
    """The source of an upload may be written as soon as the call has returned, however busy the queue is."""
    x, y = b.up(b.x), b.up(b.y)
    for queue in (b.first, b.second):
        with use_queue(queue):
            b.late(x, y)
            fresh, source = b.up(np.zeros_like(b.x)), b.x.copy()
            b.device.driver.upload(fresh._buffer.handle, 0, source.view(np.uint8), queue.handle)
            source[...] = 0
            b.put()
            hold(findings, b.raw(fresh, queue), b.x, "an upload whose source was overwritten when it had returned")


def events(b: Bench, findings: Findings) -> None:
    """An event covers all work put on the queue before it, for every queue that waits, as often as it does."""
    driver, third = b.device.driver, b.device.queue()
    x, y = b.up(b.x), b.up(b.y)
    b.device.synchronize()
    for producer, consumers in ((b.first, (b.second, third)), (b.second, (b.first, third, b.second))):
        with use_queue(producer):
            early = driver.record(producer.handle)
            late = b.late(x, y)
            event = driver.record(producer.handle)
            b.put()
            b.late(x, y)
        for consumer in consumers:
            driver.wait(consumer.handle, event)
            driver.wait(consumer.handle, early)
        for consumer in reversed(consumers):  # the last one to wait first: when one has been read the event is over
            hold(findings, b.raw(late, consumer), b.sum(b.x, b.y), "what was there before an event that was waited for")
        producer.synchronize()
        driver.wait(consumers[0].handle, event)
        hold(findings, b.raw(late, consumers[0]), b.sum(b.x, b.y), "an event waited for again when it is over")


def no_deadlock(b: Bench, findings: Findings) -> None:
    """Queues that wait for each other's earlier work, or for an event of their own, go on."""
    driver, device = b.device.driver, b.device
    x, y = b.up(b.x), b.up(b.y)
    device.synchronize()
    before = driver.record(b.first.handle)
    driver.wait(b.first.handle, before)
    b.late(x, y)
    driver.wait(b.second.handle, before)
    start = time.monotonic()
    b.second.synchronize()  # it waits for what was before the late work, or for a little more
    for queue, other in ((b.first, b.second), (b.second, b.first)):
        driver.wait(queue.handle, driver.record(other.handle))
    b.first.synchronize()
    b.second.synchronize()
    demand(findings, time.monotonic() - start < _STUCK, f"queues that wait for each other took over {_STUCK:g} s")


def synchronized(b: Bench, findings: Findings) -> None:
    """After ``synchronize`` everything that the queue did is there for every queue."""
    x, y = b.up(b.x), b.up(b.y)
    for queue, other in ((b.first, b.second), (b.second, b.first)):
        with use_queue(queue):
            late = b.late(x, y)
        b.put()
        b.device.driver.synchronize(queue.handle)  # opmux itself would wait for the completions too
        hold(findings, b.raw(late, other), b.sum(b.x, b.y), "another queue, after the first was waited for")


def completions(b: Bench, findings: Findings) -> None:
    """When a completion says that work is done, its results are there for every queue, and stay."""
    x, y = b.up(b.x), b.up(b.y)
    for queue, other in ((b.first, b.second), (b.second, b.first)):
        for wait in (False, True):
            with use_queue(queue):
                late = b.late(x, y)
            b.put()
            status = late._buffer.status
            if status is not None:
                _until_settled(status, wait=wait)
            else:  # work that cannot fail has no completion; the queue says when it is over
                queue.synchronize()
            hold(findings, b.raw(late, other), b.sum(b.x, b.y), "another queue, when the completion says done")


def _until_settled(status: Any, *, wait: bool) -> None:
    if wait:
        status.raise_if_failed()
        return
    end = time.monotonic() + _STUCK
    while not status.ended():
        if time.monotonic() > end:
            raise ConformanceError(f"a completion did not say that it is done within {_STUCK:g} s")
        time.sleep(0.0005)
    status.raise_if_failed()


def many_hops(b: Bench, findings: Findings) -> None:
    """A value handed from queue to queue, changed on each."""
    all_queues = [b.first, b.second, b.device.queue()]
    x, y = b.up(np.minimum(b.x, 0)), b.up(np.zeros_like(b.x))
    expected = np.minimum(b.x, 0)
    for i in range(24):
        with use_queue(all_queues[i % 3]):
            x = b.work.add(x, y) if i % 2 else b.work.add(y, x)
        expected = b.sum(expected, np.zeros_like(b.x)) if i % 2 else b.sum(np.zeros_like(b.x), expected)
    b.expect(findings, x, expected, "a value that went from queue to queue")


_CASES: Final[dict[str, Callable[[Bench, Findings], None]]] = {
    "in-order": in_order,
    "across": across,
    "uploads": uploads,
    "write-after-read": write_after_read,
    "reuse": reuse,
    "dropped-result": dropped_result,
    "download-waits": download_waits,
    "upload-source": upload_source,
    "events": events,
    "no-deadlock": no_deadlock,
    "synchronize": synchronized,
    "completions": completions,
    "hops": many_hops,
}
