"""What the race detector is told of queues: their work, and when memory begins and ends to be used."""

from __future__ import annotations

from collections.abc import Sequence

from .happens_before import Access, Clock, Detector, Mode, Race, join
from .memory import Block, View
from .queues import Event, Queue, Task, Work


class Watch(Detector):
    """The detector of one device.

    Args:
        device: its index.
        mode: whether it looks at all.
        host: what the host has waited for.
    """

    def __init__(self, device: int, mode: Mode, host: Clock) -> None:
        super().__init__(device, mode)
        self._host = host

    @property
    def on(self) -> bool:
        """Whether it looks at all."""
        return self.mode is not Mode.OFF

    def submitted(self, task: Task, work: Work) -> list[Race]:
        """Note work that was put on a queue, and return the races that it makes."""
        if not self.on:
            return []
        queue = task.queue
        join(queue.clock, self._host)
        queue.clock[queue.key] = task.tick
        task.clock = dict(queue.clock)
        found: list[Race] = []
        for detector, writes, views in ((work.reads_of or self, False, work.reads), (self, True, work.writes)):
            access = Access(work.op, *queue.key, task.number, writes, task.start, task.end)
            found += detector.note(views, access, task.clock, task.tick)
        return found

    def allocated(self, block: Block, queue: Queue, number: int) -> None:
        """Note a fresh block, which is the queue's until an event is recorded on it."""
        if not self.on:
            return
        queue.tick += 1
        queue.clock[queue.key] = queue.tick
        access = Access("alloc", *queue.key, number, True, queue.tail, queue.tail)
        self.note((View.bytes_of(block, 0, block.nbytes),), access, queue.clock, queue.tick)

    def freed(self, block: Block, default: Queue, last_uses: Sequence[Event], number: int) -> None:
        """Note the end of a block: a write that comes after the default queue and the events alone."""
        if not self.on:
            return
        clock = dict(default.clock)
        join(clock, self._host)
        for event in last_uses:
            join(clock, event.clock)
        access = Access("free", self.device, -1, number, True, default.tail, default.tail)
        self.note((View.bytes_of(block, 0, block.nbytes),), access, clock, 0)
        self.forget(block)
