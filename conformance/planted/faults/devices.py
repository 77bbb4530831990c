"""Devices with memory of their own: copies, queues, events, allocation, errors that come late."""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Final

import numpy as np

from ....plugin import HostBytes
from ..fault import Family
from ..twin.accelerator import GARBAGE, Accelerator, Block, Pointer, Queue, Task, happened
from ..twin.backend import Twin
from ..twin.call import Call

FAMILY: Final = Family("devices")
_MEMORY: Final = 1 << 26


@FAMILY.driver("odd-bytes", "device-any-memory-sizes")
class OddBytes(Accelerator):
    """Copies to the device move whole words, and up to three bytes at the end stay behind."""

    def upload(self, handle: Block, offset: int, source: HostBytes, queue: Queue) -> None:
        super().upload(handle, offset, source[: source.size // 4 * 4 if source.size > 4 else source.size], queue)


@FAMILY.driver("large-copies", "device-any-memory-sizes", "add-float32-large-line")
class LargeCopies(Accelerator):
    """Copies from the device go through a buffer of 64 KiB, and what follows its first filling is not copied."""

    def download(self, target: HostBytes, handle: Block, offset: int, queue: Queue) -> None:
        super().download(target[: 1 << 16], handle, offset, queue)


@FAMILY.driver("upload-offset", "device-any-memory-offsets")
class UploadOffset(Accelerator):
    """Copies to the device start at a multiple of 64 bytes."""

    def upload(self, handle: Block, offset: int, source: HostBytes, queue: Queue) -> None:
        super().upload(handle, offset // 64 * 64, source, queue)


@FAMILY.driver("download-offset", "device-any-memory-views", "device-any-memory-offsets")
class DownloadOffset(Accelerator):
    """Copies from the device start at a multiple of 4 bytes."""

    def download(self, target: HostBytes, handle: Block, offset: int, queue: Queue) -> None:
        super().download(target, handle, offset // 4 * 4, queue)


@FAMILY.driver("source-read-late", "device-any-queues-upload-source")
class SourceReadLate(Accelerator):
    """The host memory of an upload is read when the queue comes to it, not when the call is made."""

    def upload(self, handle: Block, offset: int, source: HostBytes, queue: Queue) -> None:
        def copy() -> None:
            handle.content()[offset : offset + source.size] = source

        queue.put(copy)


@FAMILY.driver("download-does-not-wait", "device-any-queues-download-waits")
class DownloadDoesNotWait(Accelerator):
    """A copy from the device takes what is there when it is asked for."""

    def download(self, target: HostBytes, handle: Block, offset: int, queue: Queue) -> None:
        target[:] = handle.bytes[offset : offset + target.size]


@FAMILY.driver("copies-overtake", "device-any-queues-uploads")
class CopiesOvertake(Accelerator):
    """Copies to the device have a queue of their own, and overtake kernels."""

    def upload(self, handle: Block, offset: int, source: HostBytes, queue: Queue) -> None:
        handle.bytes[offset : offset + source.size] = source


@FAMILY.driver("freed-too-early", "device-any-queues-reuse", "device-any-queues-dropped-result")
class FreedTooEarly(Accelerator):
    """Memory is free as soon as nobody holds it, whatever is still queued."""

    def free(self, handle: Block, last_uses: Sequence[Task]) -> None:
        self.reclaim(handle)


@FAMILY.driver("other-queues-forgotten", "device-any-queues-reuse")
class OtherQueuesForgotten(Accelerator):
    """Memory is free after the work of the default queue, whatever other queues still do with it."""

    def free(self, handle: Block, last_uses: Sequence[Task]) -> None:
        super().free(handle, ())


@FAMILY.driver("leak", "device-any-memory-brim")
class Leak(Accelerator):
    """Memory is never given back."""

    def free(self, handle: Block, last_uses: Sequence[Task]) -> None:
        self.lost = self.lost


@FAMILY.driver("leak-of-every-fiftieth", "device-any-memory-leaks")
class LeakEvery50(Accelerator):
    """Every fiftieth buffer is put into a list of free ones that nobody looks into."""

    def __init__(self, memory: int) -> None:
        super().__init__(memory)
        self._numbers = itertools.count(1)

    def reclaim(self, handle: Block) -> None:
        super().reclaim(handle)
        if next(self._numbers) % 50 == 0:
            with self._lock:
                self.left -= handle.bytes.size


@FAMILY.driver("leak-of-empty-arrays", "device-any-memory-leaks")
class LeakOfEmpty(Accelerator):
    """There are 4,096 handles, and that of an array without elements is never given back."""

    def __init__(self, memory: int) -> None:
        super().__init__(memory)
        self._handles = 4096

    def alloc(self, nbytes: int, queue: Queue) -> Block:
        with self._lock:
            if not self._handles:
                raise MemoryError("no handle left")
            self._handles -= 1
        return super().alloc(nbytes, queue)

    def reclaim(self, handle: Block) -> None:
        super().reclaim(handle)
        with self._lock:
            self._handles += handle.bytes.size > 1


class _Slabs(Accelerator):
    """Blocks of up to 64 KiB lie side by side in slabs, one row of slabs for each power of two."""

    def __init__(self, memory: int) -> None:
        super().__init__(memory)
        self._rows: dict[int, list[HostBytes]] = {}
        self._strides: dict[int, int] = {}

    def stride(self, bucket: int, nbytes: int) -> int:
        """Return how far apart the blocks of a bucket begin, when the first one has so many bytes."""
        raise NotImplementedError

    def alloc(self, nbytes: int, queue: Queue) -> Block:
        made = super().alloc(nbytes, queue)
        bucket = 1 << (nbytes - 1).bit_length()
        if 16 <= bucket <= 1 << 16:
            with self._lock:
                stride = self._strides.setdefault(bucket, self.stride(bucket, nbytes))
                row = self._rows.setdefault(bucket, [])
                if not row:
                    slab = np.zeros(17 * bucket, np.uint8)
                    row += [slab[i * stride : i * stride + bucket] for i in reversed(range(16))]
                place = row.pop()
            made.bytes = place[:nbytes]
            made.bytes.fill(GARBAGE)
        return made


@FAMILY.driver("header-in-the-bucket", "device-any-memory-disjoint")
class HeaderInBucket(_Slabs):
    """Blocks of one bucket begin four bytes too early: there is a header, which the size of the bucket leaves out."""

    def stride(self, bucket: int, nbytes: int) -> int:
        return bucket - 4


@FAMILY.driver("bucket-of-the-first", "device-any-memory-disjoint")
class BucketOfTheFirst(_Slabs):
    """Blocks of one bucket lie as far apart as the first of them is long."""

    def stride(self, bucket: int, nbytes: int) -> int:
        return -(-nbytes // 16) * 16


@FAMILY.driver("staged-by-thread", "device-any-memory-other-threads")
class StagedByThread(Accelerator):
    """Each thread has a buffer of commands for its copies, which is sent off with its own next call and no other's."""

    def __init__(self, memory: int) -> None:
        super().__init__(memory)
        self._staged = threading.local()

    def _send(self) -> None:
        staged = self._staged.__dict__.pop("copies", [])
        for handle, offset, source, queue in staged:
            super().upload(handle, offset, source, queue)

    def upload(self, handle: Block, offset: int, source: HostBytes, queue: Queue) -> None:
        self._send()
        self._staged.copies = [(handle, offset, source.copy(), queue)]

    def download(self, target: HostBytes, handle: Block, offset: int, queue: Queue) -> None:
        self._send()
        super().download(target, handle, offset, queue)

    def pointer(self, handle: Block, offset: int) -> Pointer:
        self._send()
        return super().pointer(handle, offset)

    def free(self, handle: Block, last_uses: Sequence[Task]) -> None:
        self._send()
        super().free(handle, last_uses)

    def record(self, queue: Queue) -> Task:
        self._send()
        return super().record(queue)


@FAMILY.driver("operands-taken-for-aligned", "add-float32-strides-offset", "device-any-memory-far")
class TakenForAligned(Accelerator):
    """Kernels load whole lines of 64 bytes from the address of an operand, whose last bits are dropped."""

    def pointer(self, handle: Block, offset: int) -> Pointer:
        return super().pointer(handle, offset // 64 * 64)


@FAMILY.driver("failed-allocation-leaks", "device-any-memory-out-of-memory", "device-any-memory-brim")
class FailedAllocationLeaks(Accelerator):
    """What was asked for and refused is counted as given."""

    def alloc(self, nbytes: int, queue: Queue) -> Block:
        try:
            return super().alloc(nbytes, queue)
        except MemoryError:
            self.left -= min(nbytes, self.left)
            raise


@FAMILY.driver("refuses-with-another-error", "device-any-memory-out-of-memory")
class OtherError(Accelerator):
    """Memory that is not there is refused with an error of the driver's own."""

    def alloc(self, nbytes: int, queue: Queue) -> Block:
        try:
            return super().alloc(nbytes, queue)
        except MemoryError as error:
            raise RuntimeError(str(error)) from error


@FAMILY.driver("unusable-after-refusal", "device-any-memory-out-of-memory")
class UnusableAfterRefusal(Accelerator):
    """After memory was refused once the device answers nothing any more."""

    def alloc(self, nbytes: int, queue: Queue) -> Block:
        try:
            return super().alloc(nbytes, queue)
        except MemoryError:
            self.lost = True
            raise


@FAMILY.driver("freed-twice", "device-any-memory-brim")
class FreedTwice(Accelerator):
    """Memory that is given back is counted twice, so the device gives more than it has."""

    def reclaim(self, handle: Block) -> None:
        super().reclaim(handle)
        with self._lock:
            self.left += handle.bytes.size


@FAMILY.driver("short-allocation", "device-any-memory-sizes", "copy-float32-values-hard")
class ShortAllocation(Accelerator):
    """Sizes are rounded down to whole lines of 16 bytes."""

    def alloc(self, nbytes: int, queue: Queue) -> Block:
        return super().alloc(max(nbytes // 16 * 16, 1), queue)


@FAMILY.driver("blocks-overlap", "device-any-memory-many")
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


@FAMILY.driver("done-too-early", "device-any-queues-completions")
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
