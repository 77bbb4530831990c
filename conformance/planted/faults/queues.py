"""Queues and events that are many: rings that come round, tables that are full, every tenth call forgotten."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable, Iterator
from typing import Any, Final

from ...results.outcome import Outcome
from ..fault import Family
from ..twin.accelerator import Accelerator, Queue, Task, happened

FAMILY: Final = Family("queues")
_MANY: Final = "device-any-queues-many"
_OLD: Final = "device-any-queues-old-events"
#: Seconds that a case may take which waits for what never comes.
_LIMIT: Final = 6.0


@FAMILY.driver("wait-does-nothing", "device-any-queues-across")
class WaitDoesNothing(Accelerator):
    """A queue that is told to wait for an event does not."""

    def wait(self, queue: Queue, event: Task) -> None:
        queue.put(_nothing)


@FAMILY.driver("event-too-early", "device-any-queues-events", "device-any-queues-across")
class EventTooEarly(Accelerator):
    """An event happens when it is recorded, not when the work before it is done."""

    def record(self, queue: Queue) -> Task:
        return happened()


@FAMILY.driver("event-waited-for-once", "device-any-queues-events")
class EventOnce(Accelerator):
    """An event is used up by the first queue that waits for it."""

    def wait(self, queue: Queue, event: Task) -> None:
        if not hasattr(event, "used"):
            event.used = True  # type: ignore[attr-defined]
            super().wait(queue, event)


@FAMILY.driver("synchronize-does-nothing", "device-any-queues-synchronize")
class SynchronizeDoesNothing(Accelerator):
    """Waiting for a queue returns at once."""

    def synchronize(self, queue: Queue) -> None:
        self._check()


class _Slot:
    """An event that is a place in a ring."""

    def __init__(self, ring: dict[int, Task], at: int) -> None:
        self._ring, self._at, self.task = ring, at, ring[at]

    def error(self) -> BaseException | None:
        return self._ring[self._at].error()

    def is_taken(self) -> bool:
        return self._ring[self._at] is not self.task

    def now(self) -> Task:
        return self._ring[self._at]


class _Ring(Accelerator):
    """Events are kept in a ring."""

    slots = 64

    def __init__(self, memory: int) -> None:
        super().__init__(memory)
        self._ring: dict[int, Task] = {}
        self._numbers: Iterator[int] = itertools.count()

    def record(self, queue: Queue) -> Any:
        at = next(self._numbers) % self.slots
        self._ring[at] = super().record(queue)
        return _Slot(self._ring, at)

    def wait(self, queue: Queue, event: Any) -> None:
        super().wait(queue, event.now())


@FAMILY.driver("ring-of-64-events", _OLD)
class RingOf64(_Ring):
    """Events are kept in a ring of 64, and a wait for an older one waits for the one that has its place."""


@FAMILY.driver("ring-of-256-events", _OLD)
class RingOf256(_Ring):
    """Events are kept in a ring of 256, and a wait for an older one waits for the one that has its place."""

    slots = 256


@FAMILY.driver("ring-of-1024-events", _OLD)
class RingOf1024(_Ring):
    """Events are kept in a ring of 1,024, and an event that has lost its place counts as happened."""

    slots = 1024

    def wait(self, queue: Queue, event: Any) -> None:
        super().wait(queue, happened() if event.is_taken() else event)


class _Counting(Accelerator):
    """Counts the calls of one method."""

    def __init__(self, memory: int) -> None:
        super().__init__(memory)
        self._numbers = itertools.count(1)


@FAMILY.driver("event-300", _MANY)
class Event300(_Counting):
    """The 300th event finds the table full, and counts as happened."""

    def record(self, queue: Queue) -> Task:
        return happened() if next(self._numbers) == 300 else super().record(queue)


@FAMILY.driver("event-300-never", _OLD, outcome=Outcome.TIMEOUT, isolate=True, limit=_LIMIT)
class Event300Never(_Counting):
    """The 300th event finds the table full, and never happens."""

    def record(self, queue: Queue) -> Task:
        return Task(_nothing) if next(self._numbers) == 300 else super().record(queue)


@FAMILY.driver("every-tenth-wait", _MANY)
class EveryTenthWait(_Counting):
    """Every tenth wait for an event is interrupted by a signal, and not taken up again."""

    def wait(self, queue: Queue, event: Task) -> None:
        if next(self._numbers) % 10:
            super().wait(queue, event)


@FAMILY.driver("every-fiftieth-wait", _MANY)
class EveryFiftiethWait(_Counting):
    """Every fiftieth wait for an event is lost: the queue of commands is full, and says so to nobody."""

    def wait(self, queue: Queue, event: Task) -> None:
        if next(self._numbers) % 50:
            super().wait(queue, event)


@FAMILY.driver("every-tenth-synchronize", "device-any-queues-synchronize-often")
class EveryTenthSynchronize(_Counting):
    """Every tenth call of synchronize is interrupted by a signal, and returns."""

    def synchronize(self, queue: Queue) -> None:
        if next(self._numbers) % 10:
            super().synchronize(queue)


class _Crowd(Queue):
    """A queue with two threads."""

    def __init__(self) -> None:
        super().__init__()
        threading.Thread(target=self._work, name=self.thread, daemon=True).start()


@FAMILY.driver("queues-beyond-16-unordered", _MANY)
class Beyond16(Accelerator):
    """There are 16 queues in hardware; those beyond are served by a pool of threads, without an order."""

    def open_queue(self) -> Queue:
        self.queues.append(Queue() if len(self.queues) < 16 else _Crowd())
        return self.queues[-1]


class _Guest(Queue):
    """A queue whose work another one does."""

    def __init__(self, host: Queue) -> None:
        self._host = host

    def put(self, action: Callable[[], None]) -> Task:
        return self._host.put(action)


@FAMILY.driver("queues-beyond-32-shared", _MANY)
class Beyond32(Accelerator):
    """Queues beyond the 32nd share its thread; an event is recorded on their own, which is always empty."""

    def open_queue(self) -> Queue:
        self.queues.append(Queue() if len(self.queues) < 32 else _Guest(self.queues[31]))
        return self.queues[-1]

    def record(self, queue: Queue) -> Task:
        return happened() if isinstance(queue, _Guest) else super().record(queue)


@FAMILY.driver("queue-33-never-runs", _MANY, outcome=Outcome.TIMEOUT, isolate=True, limit=_LIMIT)
class Queue33(Accelerator):
    """The 33rd queue is opened, and nothing on it is ever done."""

    def open_queue(self) -> Queue:
        opened = super().open_queue()
        if len(self.queues) == 33:
            opened.put(_never)
        return opened


def _nothing() -> None:
    """Be an event that nobody makes happen."""


def _never() -> None:
    threading.Event().wait()
