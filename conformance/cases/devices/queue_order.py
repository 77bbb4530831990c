"""Queues of a device: work in order on one, events between several, memory that is used again after its last use."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any, Final

import numpy as np

from ....core.devices.queues import use_queue
from ....core.errors import ConformanceError
from ...target import Findings
from ..case import ANY, Check, DeviceContext
from . import many_queues
from .bench import ELEMENTS, Bench, bound
from .workload import demand, hold

#: Elements of an upload that takes longer than the next launch, and what share of the device's memory it may take.
_LARGE: Final = 16 * ELEMENTS
_SHARE: Final = 8
#: Seconds after which a queue that waits for an event is taken for stuck.
_STUCK: Final = 20.0


def queues(t: str, context: DeviceContext) -> Iterator[tuple[str, str, Check]]:
    """Cases of a device's queues."""
    if t != ANY:
        return
    for label, check in _CASES.items():
        yield "queues", label, bound(check, context)


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
            large = b.up(np.resize(b.x, max(min(_LARGE, b.device.info.memory // _SHARE // b.x.itemsize), ELEMENTS)))
            found = b.work.add(large[-ELEMENTS:], large[-ELEMENTS:])
        b.expect(findings, found, b.sum(b.x, b.x), "a call right behind the upload of its operand")
    for producer, consumer in ((b.first, b.second), (b.second, b.first)):
        with use_queue(producer):
            b.late(x, y)
            fresh = b.up(b.y)
        with use_queue(consumer):
            found = b.work.add(fresh, x)
        b.put()
        b.expect(findings, found, b.sum(b.y, b.x), "a call that reads what was uploaded on another queue")
    for queue in (b.first, b.second):
        with use_queue(queue):
            target = b.up(b.x)
            late = b.late(target, y)
            b.device.driver.upload(target._buffer.handle, 0, b.y.copy().view(np.uint8), queue.handle)
        b.put()
        hold(findings, b.raw(late, queue), b.sum(b.x, b.y), "a late call whose operand a later upload overwrites")
        hold(findings, b.raw(target, queue), b.y, "what was uploaded behind a late reader")


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
    **many_queues.CASES,
}
