"""Queues, their work and events, in virtual time.

Work is carried out when it is submitted, on the caller's thread: that makes results and replays exact. Its *times* are
what an asynchronous device would give, so a completion is done only when the host has come that far in virtual time,
and what went wrong is told by completions. Only where a fault holds work back does it wait: then it is carried out
when something needs it, or a few requests later, and what other queues were given meanwhile goes first.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Protocol

from .clock import Engine
from .happens_before import Clock, Detector
from .injection import Request
from .links import Way
from .memory import View

if TYPE_CHECKING:
    from .errors import HangError

#: Works of a queue whose end the host has not waited for; beyond it, submitting waits for the oldest. As on real
#: devices, whose queues are as long as their memory for commands.
DEPTH: Final = 1024
#: A host that asks one completion so often waits for it: virtual time would stand still otherwise.
POLLS: Final = 4096


@dataclass(frozen=True, slots=True)
class Work:
    """What is put on a queue.

    Attributes:
        op: as in spans.
        request: which faults it may meet.
        engine: what does it.
        duration: picoseconds on the engine.
        compute: does it, on the content of device memory.
        reads, writes: what it touches.
        lead: picoseconds that the queue takes to issue it, which it does one work after the other, while others run.
        nbytes, cycles, energy: as in spans.
        reads_of: what looks for races in the memory that it reads, where that is another device's.
    """

    op: str
    request: Request
    engine: Engine | Way
    duration: int
    compute: Callable[[], None]
    reads: tuple[View, ...] = ()
    writes: tuple[View, ...] = ()
    lead: int = 0
    nbytes: int = 0
    cycles: int = 0
    energy: float = 0.0
    reads_of: Detector | None = None


class Keeper(Protocol):
    """What tasks ask of the device on whose queue they are."""

    def is_done(self, task: Task) -> bool:
        """Return whether a task has ended in virtual time, without waiting."""

    def wait_for(self, task: Task) -> None:
        """Wait for the end of a task, in virtual time."""


class Task:
    """Work on a queue; also its completion.

    Attributes:
        queue: where it is.
        number: the request of the device that it was.
        op: the op.
        start, end: virtual picoseconds.
        reported: when the host can know of the end; None where it never can.
        failure: what it failed with.
        tick: its number on the queue.
        polls: how often it was asked in vain.
        release: the request of the device with which it is carried out at the latest, where it is held back.
    """

    __slots__ = (
        "clock",
        "end",
        "failure",
        "number",
        "op",
        "pending",
        "polls",
        "queue",
        "release",
        "reported",
        "start",
        "tick",
    )

    def __init__(self, queue: Queue, number: int, op: str, tick: int) -> None:
        self.queue = queue
        self.number = number
        self.op = op
        self.tick = tick
        self.start = self.end = 0
        self.reported: int | None = 0
        self.failure: BaseException | None = None
        self.clock: Clock = {}
        self.pending: Callable[[], None] | None = None
        self.polls = 0
        self.release = 0

    def carry_out(self) -> None:
        """Do what was held back."""
        pending, self.pending = self.pending, None
        if pending is not None:
            pending()

    def done(self) -> bool:
        """Return whether it has ended, in virtual time and as far as the host can know."""
        return self.queue.keeper.is_done(self)

    def error(self) -> BaseException | None:
        """Wait in virtual time, and return what it failed with."""
        self.queue.keeper.wait_for(self)
        return self.failure


@dataclass(frozen=True, slots=True, eq=False)
class Event:
    """A point on a queue, behind all its work at that time.

    Attributes:
        time: when it happens.
        task: the last work before it, if there was any.
        clock: what happens before it, where races are looked for.
        stuck: what keeps it from ever happening.
    """

    time: int
    task: Task | None
    clock: Clock
    stuck: HangError | None


class Queue:
    """An in-order queue of a device.

    Attributes:
        keeper: the device.
        key: the device's index and its own number.
        tail: when its last work ends.
        issued: when it has issued its last work.
        last: its last work.
        tick: how much work it was given.
        clock: what happens before its next work, where races are looked for.
        stuck: set when work on it does not end.
        ends: when its works end that the host has not waited for.
    """

    __slots__ = ("clock", "ends", "held", "issued", "keeper", "key", "last", "stuck", "tail", "tick")

    def __init__(self, keeper: Keeper, device: int, number: int) -> None:
        self.keeper = keeper
        self.key = (device, number)
        self.tail = 0
        self.issued = 0
        self.last: Task | None = None
        self.tick = 0
        self.clock: Clock = {}
        self.stuck: HangError | None = None
        self.ends: deque[int] = deque()
        self.held: deque[Task | Event] = deque()  # not carried out yet, in order; an event is one to wait for

    @property
    def number(self) -> int:
        """Its number on the device; 0 is the default queue."""
        return self.key[1]

    def holds(self, task: Task | None) -> bool:
        """Return whether work of it is still held back."""
        return task is not None and task.pending is not None

    def drain(self, until: Task | None = None) -> None:
        """Carry out what is held back, up to and with a task, or all of it; what it waits for on other queues first."""
        while self.held and (until is None or until.pending is not None):
            first = self.held.popleft()
            if isinstance(first, Task):
                first.carry_out()
            elif first.task is not None:
                first.task.queue.drain(first.task)
