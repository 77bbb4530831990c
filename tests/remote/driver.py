"""Memory, copies and queues of the remote device: those of the suite's own accelerator, and a gate in each queue."""

from __future__ import annotations

import threading
from collections.abc import Sequence

from opmux.conformance.planted.twin.accelerator import Accelerator, Block, Queue, Task


class RemoteQueue(Queue):
    """An in-order queue with a thread of its own; its gate keeps the thread from starting the next task."""

    def __init__(self) -> None:
        self.gate = threading.Event()
        self.gate.set()
        super().__init__()

    def _work(self) -> None:
        while True:
            task = self._tasks.get()
            self.gate.wait()
            task.run()


class RemoteDriver(Accelerator):
    """One remote device. Faults are planted by setting its attributes.

    Attributes:
        live: blocks allocated and not freed.
    """

    queues: list[RemoteQueue]  # type: ignore[assignment]

    def __init__(self, memory: int = 1 << 28) -> None:
        super().__init__(memory, "remote")
        self.live: set[Block] = set()

    def open_queue(self) -> RemoteQueue:
        self.queues.append(RemoteQueue())
        return self.queues[-1]

    def alloc(self, nbytes: int, queue: Queue) -> Block:
        block = super().alloc(nbytes, queue)
        self.live.add(block)
        return block

    def free(self, handle: Block, last_uses: Sequence[Task]) -> None:
        self.live.discard(handle)
        super().free(handle, last_uses)
