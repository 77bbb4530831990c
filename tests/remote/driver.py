"""Memory, copies and queues of the remote device."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from opmux.plugin import DeviceInfo, DeviceLostError, HostBytes, Rates


class Block:
    """Memory of the device. Only the queue thread may look inside; ``freed`` catches a use after free."""

    def __init__(self, nbytes: int) -> None:
        self._content = np.full(nbytes + 64, 0xA5, np.uint8)[:nbytes]
        self.freed = False

    def content(self) -> HostBytes:
        if not threading.current_thread().name.startswith("remote-queue"):
            raise RuntimeError("the host cannot address memory of the remote device")
        if self.freed:
            raise RuntimeError("use of freed memory")
        return self._content


@dataclass(frozen=True)
class Pointer:
    """What kernels get as ``array.ptr``: no integer, no buffer."""

    block: Block
    offset: int


class Task:
    """One piece of work; also its completion."""

    def __init__(self, action: Callable[[], None]) -> None:
        self._action = action
        self._ended = threading.Event()
        self._error: BaseException | None = None

    def run(self) -> None:
        try:
            self._action()
        except BaseException as error:
            self._error = error
        self._ended.set()

    def done(self) -> bool:
        return self._ended.is_set()

    def error(self) -> BaseException | None:
        self._ended.wait()
        return self._error


class RemoteQueue:
    """An in-order queue with a thread of its own; ``hold`` keeps the thread from starting the next task."""

    def __init__(self) -> None:
        self._tasks: queue.SimpleQueue[Task] = queue.SimpleQueue()
        self.gate = threading.Event()
        self.gate.set()
        threading.Thread(target=self._work, name="remote-queue", daemon=True).start()

    def _work(self) -> None:
        while True:
            task = self._tasks.get()
            self.gate.wait()
            task.run()

    def put(self, action: Callable[[], None]) -> Task:
        task = Task(action)
        self._tasks.put(task)
        return task


class RemoteDriver:
    """One remote device. Faults are planted by setting its attributes.

    Attributes:
        memory_left: bytes that may still be allocated.
        lost: when True, every call says that the device is gone.
        live: blocks allocated and not freed.
    """

    def __init__(self, memory: int = 1 << 28) -> None:
        self.info = DeviceInfo(
            "remote", "Remote test device", memory, rates=Rates((("default", 1e9),), ((1 << 62, 1e9),), 1e-5)
        )
        self.memory_left = memory
        self.lost = False
        self.live: set[Block] = set()
        self.queues: list[RemoteQueue] = []

    def _check(self) -> None:
        if self.lost:
            raise DeviceLostError("the remote device is gone", device="remote:0")

    def open_queue(self) -> RemoteQueue:
        self.queues.append(RemoteQueue())
        return self.queues[-1]

    def alloc(self, nbytes: int, queue: RemoteQueue) -> Block:
        self._check()
        if nbytes > self.memory_left:
            raise MemoryError(f"{nbytes} bytes asked for, {self.memory_left} left")
        self.memory_left -= nbytes
        block = Block(nbytes)
        self.live.add(block)
        return block

    def free(self, handle: Block, last_uses: Sequence[Task]) -> None:
        self.live.discard(handle)
        self.memory_left += len(handle._content)

        def release() -> None:
            for use in last_uses:
                use.error()
            handle.freed = True

        self.queues[0].put(release)

    def pointer(self, handle: Block, offset: int) -> Pointer:
        return Pointer(handle, offset)

    def upload(self, handle: Block, offset: int, source: HostBytes, queue: RemoteQueue) -> None:
        self._check()
        staged = source.copy()

        def copy() -> None:
            handle.content()[offset : offset + staged.size] = staged

        queue.put(copy)

    def download(self, target: HostBytes, handle: Block, offset: int, queue: RemoteQueue) -> None:
        self._check()
        arrived: list[Any] = []

        def copy() -> None:
            arrived.append(handle.content()[offset : offset + target.size].copy())

        error = queue.put(copy).error()
        if error is not None:
            raise error
        target[:] = arrived[0]

    def record(self, queue: RemoteQueue) -> Task:
        return queue.put(lambda: None)

    def wait(self, queue: RemoteQueue, event: Task) -> None:
        queue.put(lambda: event.error() and None)

    def synchronize(self, queue: RemoteQueue) -> None:
        self._check()
        queue.put(lambda: None).error()
        self._check()
