"""Devices with memory of their own: copies, queues, events, allocation, errors that come late."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from functools import partial
from typing import Final

import numpy as np

from ....plugin import HostBytes
from ..fault import Family
from ..twin.accelerator import Accelerator, Block, Pointer, Queue, Task
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
        self.queues.append(opened)
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


def _nothing() -> None:
    """Only be in the queue."""
