"""Devices with memory of their own: copies, queues, events, allocation, errors that come late."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Final

import numpy as np

from ....plugin import HostBytes
from ..fault import Family
from ..twin.accelerator import Accelerator, Block, Queue, Task
from ..twin.backend import Twin
from ..twin.call import Call

FAMILY: Final = Family("devices")
#: Enough for every case, and soon filled by those that fill a device.
_MEMORY: Final = 1 << 26
_COPIES: Final = "copy add exp"


def _on(name: str, *killers: str, says: str = "") -> Callable[[type[Accelerator]], type[Accelerator]]:
    """Enter a driver with a fault; its docstring is the story."""

    def enter(driver: type[Accelerator]) -> type[Accelerator]:
        def make() -> Twin:
            return Twin(driver=partial(driver, _MEMORY))

        make.__doc__ = driver.__doc__
        FAMILY.backend(name, _COPIES, *killers, says=says)(make)
        return driver

    return enter


@_on("odd-bytes", "device-any-memory-sizes")
class OddBytes(Accelerator):
    """Copies to the device move whole words, and up to three bytes at the end stay behind."""

    def upload(self, handle: Block, offset: int, source: HostBytes, queue: Queue) -> None:
        super().upload(handle, offset, source[: source.size // 4 * 4 if source.size > 4 else source.size], queue)


@_on("large-copies", "device-any-memory-sizes", "add-float32-large-line")
class LargeCopies(Accelerator):
    """Copies from the device go through a buffer of 64 KiB, and what follows its first filling is not copied."""

    def download(self, target: HostBytes, handle: Block, offset: int, queue: Queue) -> None:
        super().download(target[: 1 << 16], handle, offset, queue)


@_on("upload-offset", "device-any-memory-offsets")
class UploadOffset(Accelerator):
    """Copies to the device start at a multiple of 64 bytes."""

    def upload(self, handle: Block, offset: int, source: HostBytes, queue: Queue) -> None:
        super().upload(handle, offset // 64 * 64, source, queue)


@_on("download-offset", "device-any-memory-views", "device-any-memory-offsets")
class DownloadOffset(Accelerator):
    """Copies from the device start at a multiple of 4 bytes."""

    def download(self, target: HostBytes, handle: Block, offset: int, queue: Queue) -> None:
        super().download(target, handle, offset // 4 * 4, queue)


@_on("source-read-late", "device-any-queues-upload-source")
class SourceReadLate(Accelerator):
    """The host memory of an upload is read when the queue comes to it, not when the call is made."""

    def upload(self, handle: Block, offset: int, source: HostBytes, queue: Queue) -> None:
        def copy() -> None:
            handle.content()[offset : offset + source.size] = source

        queue.put(copy)


@_on("download-does-not-wait", "device-any-queues-download-waits")
class DownloadDoesNotWait(Accelerator):
    """A copy from the device takes what is there when it is asked for."""

    def download(self, target: HostBytes, handle: Block, offset: int, queue: Queue) -> None:
        target[:] = handle.bytes[offset : offset + target.size]


@_on("copies-overtake", "device-any-queues-uploads")
class CopiesOvertake(Accelerator):
    """Copies to the device have a queue of their own, and overtake kernels."""

    def upload(self, handle: Block, offset: int, source: HostBytes, queue: Queue) -> None:
        handle.bytes[offset : offset + source.size] = source


@_on("freed-too-early", "device-any-queues-reuse", "device-any-queues-dropped-result")
class FreedTooEarly(Accelerator):
    """Memory is free as soon as nobody holds it, whatever is still queued."""

    def free(self, handle: Block, last_uses: Sequence[Task]) -> None:
        self.reclaim(handle)


@_on("other-queues-forgotten", "device-any-queues-reuse")
class OtherQueuesForgotten(Accelerator):
    """Memory is free after the work of the default queue, whatever other queues still do with it."""

    def free(self, handle: Block, last_uses: Sequence[Task]) -> None:
        super().free(handle, ())


@_on("leak", "device-any-memory-brim")
class Leak(Accelerator):
    """Memory is never given back."""

    def free(self, handle: Block, last_uses: Sequence[Task]) -> None:
        self.lost = self.lost


@_on("failed-allocation-leaks", "device-any-memory-out-of-memory", "device-any-memory-brim")
class FailedAllocationLeaks(Accelerator):
    """What was asked for and refused is counted as given."""

    def alloc(self, nbytes: int, queue: Queue) -> Block:
        try:
            return super().alloc(nbytes, queue)
        except MemoryError:
            self.left -= min(nbytes, self.left)
            raise


@_on("refuses-with-another-error", "device-any-memory-out-of-memory")
class OtherError(Accelerator):
    """Memory that is not there is refused with an error of the driver's own."""

    def alloc(self, nbytes: int, queue: Queue) -> Block:
        try:
            return super().alloc(nbytes, queue)
        except MemoryError as error:
            raise RuntimeError(str(error)) from error


@_on("unusable-after-refusal", "device-any-memory-out-of-memory")
class UnusableAfterRefusal(Accelerator):
    """After memory was refused once the device answers nothing any more."""

    def alloc(self, nbytes: int, queue: Queue) -> Block:
        try:
            return super().alloc(nbytes, queue)
        except MemoryError:
            self.lost = True
            raise


@_on("freed-twice", "device-any-memory-brim")
class FreedTwice(Accelerator):
    """Memory that is given back is counted twice, so the device gives more than it has."""

    def reclaim(self, handle: Block) -> None:
        super().reclaim(handle)
        with self._lock:
            self.left += handle.bytes.size


@_on("short-allocation", "device-any-memory-sizes", "copy-float32-values-hard")
class ShortAllocation(Accelerator):
    """Sizes are rounded down to whole lines of 16 bytes."""

    def alloc(self, nbytes: int, queue: Queue) -> Block:
        return super().alloc(max(nbytes // 16 * 16, 1), queue)


@_on("blocks-overlap", "device-any-memory-many")
class BlocksOverlap(Accelerator):
    """A block begins before the end of the one before it: the allocator rounds sizes down and offsets too."""

    def __init__(self, memory: int) -> None:
        super().__init__(memory)
        self._last = np.zeros(0, np.uint8)

    def alloc(self, nbytes: int, queue: Queue) -> Block:
        made = super().alloc(nbytes, queue)
        with self._lock:
            if self._last.size == nbytes and nbytes > 64:
                shared = np.concatenate([self._last, made.bytes])
                made.bytes = self._last
                self._last = shared[:0]
            else:
                self._last = made.bytes
        return made


@_on("wait-does-nothing", "device-any-queues-across")
class WaitDoesNothing(Accelerator):
    """A queue that is told to wait for an event does not."""

    def wait(self, queue: Queue, event: Task) -> None:
        queue.put(_nothing)


@_on("event-too-early", "device-any-queues-events", "device-any-queues-across")
class EventTooEarly(Accelerator):
    """An event happens when it is recorded, not when the work before it is done."""

    def record(self, queue: Queue) -> Task:
        done = Task(_nothing)
        done.run()
        return done


@_on("event-waited-for-once", "device-any-queues-events")
class EventOnce(Accelerator):
    """An event is used up by the first queue that waits for it."""

    def wait(self, queue: Queue, event: Task) -> None:
        if not hasattr(event, "used"):
            event.used = True  # type: ignore[attr-defined]
            super().wait(queue, event)


@_on("synchronize-does-nothing", "device-any-queues-synchronize")
class SynchronizeDoesNothing(Accelerator):
    """Waiting for a queue returns at once."""

    def synchronize(self, queue: Queue) -> None:
        self._check()


class _Hasty(Task):
    def done(self) -> bool:
        return True

    def error(self) -> BaseException | None:
        return None if threading.current_thread() is threading.main_thread() else super().error()


class _Deaf(Task):
    def error(self) -> BaseException | None:
        super().error()
        return None


class _Impatient(Task):
    def error(self) -> BaseException | None:
        return self._error


def _queue(kind: type[Task]) -> type[Queue]:
    class Made(Queue):
        def put(self, action: Callable[[], None]) -> Task:
            task = kind(action)
            self._tasks.put(task)
            return task

    return Made


class _WithTasks(Accelerator):
    """A device whose queues make tasks of another kind."""

    kind: type[Task] = Task

    def open_queue(self) -> Queue:
        opened = _queue(self.kind)()
        self._queues.append(opened)
        return opened


@_on("done-too-early", "device-any-queues-completions")
class DoneTooEarly(_WithTasks):
    """A completion says that work is done as soon as it is queued."""

    kind = _Hasty


def _failing(call: Call) -> None:
    if call.ins[0].size and np.isnan(call.ins[0].astype(np.float64)).any():
        raise RuntimeError("the unit met a number that it does not know")
    call.finish()


class _Swallowing(_WithTasks):
    kind = _Deaf


class _NotWaiting(_WithTasks):
    kind = _Impatient


@FAMILY.backend("error-swallowed", "sqrt", "sqrt-float32-values")
def error_swallowed() -> Twin:
    """A kernel that fails late is reported as done well, and its result is what the memory held."""
    return Twin(driver=partial(_Swallowing, _MEMORY)).with_ware("sqrt", faulty=_failing)


@FAMILY.backend("error-not-waited-for", "sqrt", "sqrt-float32-values")
def error_not_waited() -> Twin:
    """A completion is asked for its error and answers before the work has ended."""
    return Twin(driver=partial(_NotWaiting, _MEMORY)).with_ware("sqrt", faulty=_failing)


@FAMILY.backend("late-error-is-told", "sqrt", "sqrt-float32-values", says="does not know")
def late_error() -> Twin:
    """A kernel fails late, and the error is told: that is a fault of the kernel all the same."""
    return Twin(driver=partial(Accelerator, _MEMORY)).with_ware("sqrt", faulty=_failing)


@FAMILY.backend("keeps-arrays", "add", "device-any-memory-given-back")
def keeps_arrays() -> Twin:
    """A kernel keeps the arrays of its calls, so their memory is never given back."""
    kept: list[Any] = []

    def prepare(spec: Any, plain: Any) -> Any:
        made = plain(spec)

        def launch(outs: Any, ins: Any, workspace: Any, queue: Any) -> Any:
            kept.append((outs, ins))
            return made.launch(outs, ins, workspace, queue)

        return type(made)(launch)

    return Twin(driver=partial(Accelerator, _MEMORY)).with_ware("add", prepare=prepare)


@FAMILY.plant("one-scratch-for-all-queues", "add", "device-any-threads-queues", driver=partial(Accelerator, _MEMORY))
def one_scratch(call: Call) -> None:
    """Kernels on all queues of a device put their partial results into the same memory."""
    scratch = call.memory.setdefault((call.out.shape, call.out.dtype.name), call.out.copy())
    scratch[...] = call.result()
    time.sleep(0.0005)
    call.out[...] = scratch


def _nothing() -> None:
    """Only be in the queue."""
