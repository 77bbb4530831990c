"""A device with an address space of its own, a thread per queue, and errors that come late.

Handles are opaque, pointers are (block, offset) pairs that no NumPy call accepts, and work happens on a thread after
the call has returned. Faults of drivers override one method.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from ....plugin import DeviceInfo, DeviceLostError, HostBytes, Rates
from .formats import Host

#: The kind of its device.
KIND: Final = "planted"
#: Fresh and freed memory hold this byte, NaN in every float format: what is read too early or too late shows.
GARBAGE: Final = 0xFF
_THREAD: Final = "planted-queue"
_MEMORY: Final = 1 << 30


class Block:
    """Memory of the device, which its queue threads alone may look into."""

    def __init__(self, nbytes: int) -> None:
        self.bytes = np.full(nbytes, GARBAGE, np.uint8)
        self.freed = False

    def content(self) -> HostBytes:
        """Return the bytes.

        Raises:
            RuntimeError: from the host, or after the block was freed.
        """
        if not threading.current_thread().name.startswith(_THREAD):
            raise RuntimeError("the host cannot address memory of the device")
        if self.freed:
            raise RuntimeError("use of freed memory")
        return self.bytes


@dataclass(frozen=True, slots=True)
class Pointer:
    """What kernels get as ``array.ptr``."""

    block: Block
    offset: int


class Task:
    """One piece of work; also its completion, and an event."""

    def __init__(self, action: Callable[[], None]) -> None:
        self._action: Callable[[], None] | None = action
        self._ended = threading.Event()
        self._error: BaseException | None = None

    def run(self) -> None:
        """Do the work, and keep what it fails with."""
        try:
            if self._action is not None:
                self._action()
        except BaseException as error:
            self._error = error
        self._action = None
        self._ended.set()

    def done(self) -> bool:
        """Return whether it has ended."""
        return self._ended.is_set()

    def error(self) -> BaseException | None:
        """Wait, and return what it failed with."""
        self._ended.wait()
        return self._error


def happened() -> Task:
    """Return an event that has happened."""
    event = Task(_nothing)
    event.run()
    return event


class Queue:
    """An in-order queue with a thread of its own."""

    #: How threads are named that may look into the device's memory.
    thread: Final = _THREAD

    def __init__(self) -> None:
        self._tasks: queue.SimpleQueue[Task] = queue.SimpleQueue()
        threading.Thread(target=self._work, name=_THREAD, daemon=True).start()

    def _work(self) -> None:
        while True:
            self._tasks.get().run()

    def put(self, action: Callable[[], None]) -> Task:
        """Add work."""
        task = Task(action)
        self._tasks.put(task)
        return task


class Accelerator:
    """The driver of one device.

    Args:
        memory: bytes of it.
        kind: of the device.

    Attributes:
        info: what it says of itself.
        left: bytes that may still be allocated.
        lost: when True, every call says that the device is gone.
        queues: those opened, the default one first.
    """

    def __init__(self, memory: int = _MEMORY, kind: str = KIND) -> None:
        rates = Rates((("default", 1e9),), ((1 << 62, 1e9),), 1e-5)
        self.info = DeviceInfo(kind, "A device of its own, for tests", memory, rates=rates)
        self.left = memory
        self.lost = False
        self.queues: list[Queue] = []
        self._lock = threading.RLock()  # the collector frees in the middle of an allocation

    def _check(self) -> None:
        if self.lost:
            raise DeviceLostError("the device is gone", device=f"{self.info.kind}:0")

    def open_queue(self) -> Queue:
        """Open a queue."""
        opened = Queue()
        self.queues.append(opened)
        return opened

    def alloc(self, nbytes: int, queue: Queue) -> Block:
        """Return memory full of garbage."""
        self._check()
        with self._lock:
            if nbytes > self.left:
                raise MemoryError(f"{nbytes} bytes asked for, {self.left} left")
            self.left -= nbytes
        return Block(nbytes)

    def free(self, handle: Block, last_uses: Sequence[Task]) -> None:
        """Take memory back after its last uses."""

        def release() -> None:
            for use in last_uses:
                use.error()
            self.reclaim(handle)

        self.queues[0].put(release)

    def reclaim(self, handle: Block) -> None:
        """Make the memory of a block available, and spoil its content."""
        with self._lock:
            self.left += handle.bytes.size
        handle.freed = True
        handle.bytes.fill(GARBAGE)

    def pointer(self, handle: Block, offset: int) -> Pointer:
        """Return what kernels get."""
        return Pointer(handle, offset)

    def upload(self, handle: Block, offset: int, source: HostBytes, queue: Queue) -> None:
        """Copy from a snapshot of the source, on the queue."""
        self._check()
        staged = source.copy()

        def copy() -> None:
            handle.content()[offset : offset + staged.size] = staged

        queue.put(copy)

    def download(self, target: HostBytes, handle: Block, offset: int, queue: Queue) -> None:
        """Copy after all earlier work, and wait."""
        self._check()
        arrived: list[HostBytes] = []

        def copy() -> None:
            arrived.append(handle.content()[offset : offset + target.size].copy())

        error = queue.put(copy).error()
        if error is not None:
            raise error
        target[:] = arrived[0]

    def record(self, queue: Queue) -> Task:
        """Return an event behind all work of the queue."""
        return queue.put(_nothing)

    def wait(self, queue: Queue, event: Task) -> None:
        """Let later work of the queue wait for an event."""

        def until() -> None:
            event.error()

        queue.put(until)

    def synchronize(self, queue: Queue) -> None:
        """Wait for all work of the queue."""
        self._check()
        queue.put(_nothing).error()
        self._check()


def _nothing() -> None:
    """Only be in the queue."""


@dataclass(frozen=True, slots=True)
class _Place:
    """What a launch keeps of an array: where it is, so that its memory may be given back while the work is queued."""

    pointer: Pointer
    shape: tuple[int, ...]
    strides: tuple[int, ...]
    dtype: np.dtype[Any]

    @classmethod
    def of(cls, x: Any) -> _Place:
        return cls(x.ptr, x.shape, x.strides, x.dtype.numpy)

    def view(self) -> Host:
        steps = tuple(s * self.dtype.itemsize for s in self.strides)
        raw = self.pointer.block.content()
        return np.ndarray(self.shape, self.dtype, raw, self.pointer.offset, steps)


def put(queue: Queue, compute: Callable[..., None], out: Any, ins: Sequence[Any], workspace: Any) -> Task:
    """Put a computation over NumPy views of device memory on a queue."""
    target, scratch = _Place.of(out), None if workspace is None else _Place.of(workspace)
    operands = [None if x is None else _Place.of(x) for x in ins]

    def work() -> None:
        views = [None if p is None else p.view() for p in operands]
        compute(target.view(), views, None if scratch is None else scratch.view())

    return queue.put(work)
