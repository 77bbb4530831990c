"""What goes between devices and libraries: copies that do not wait, lose bytes, or look at the wrong memory."""

from __future__ import annotations

from typing import Final

import numpy as np

from ....plugin import HostBytes
from ..fault import Family
from ..twin.accelerator import Accelerator, Block, Queue, Task, happened
from ..twin.call import Call
from ..twin.formats import Host

FAMILY: Final = Family("interop")
_COPIES: Final = "device-any-interop-copies"
_LATE: Final = "device-any-interop-late"


@FAMILY.driver("copy-does-not-wait", _LATE)
class CopyDoesNotWait(Accelerator):
    """A copy to the host goes by a queue of its own, and does not wait for what makes the value."""

    def __init__(self, memory: int) -> None:
        super().__init__(memory)
        self._own = Queue()

    def download(self, target: HostBytes, handle: Block, offset: int, queue: Queue) -> None:
        super().download(target, handle, offset, self._own)


@FAMILY.driver("recorded-before-the-work", "device-any-interop-arrived")
class RecordedBefore(Accelerator):
    """An event is recorded at the head of its queue: what was copied on one queue is not there for another."""

    def record(self, queue: Queue) -> Task:
        return happened()


@FAMILY.driver("copy-reads-late", "device-any-interop-arrived")
class CopyReadsLate(Accelerator):
    """A copy from the host reads its source when the queue gets there, not before the call returns."""

    def upload(self, handle: Block, offset: int, source: HostBytes, queue: Queue) -> None:
        self._check()

        def copy() -> None:
            handle.content()[offset : offset + source.size] = source

        queue.put(copy)


@FAMILY.driver("copies-by-words", _COPIES)
class CopiesByWords(Accelerator):
    """Bytes are copied four at a time, and up to three at the end are left out."""

    def download(self, target: HostBytes, handle: Block, offset: int, queue: Queue) -> None:
        whole = target.size // 4 * 4
        super().download(target[:whole], handle, offset, queue)


@FAMILY.driver("copy-of-64k", _COPIES)
class CopyOf64K(Accelerator):
    """A copy from the host is made in one piece of 65,536 bytes at most."""

    def upload(self, handle: Block, offset: int, source: HostBytes, queue: Queue) -> None:
        super().upload(handle, offset, source[: 1 << 16], queue)


@FAMILY.driver("second-piece-at-the-start", _COPIES)
class SecondPiece(Accelerator):
    """Long copies to the host are made in two pieces, and both are read from the start of the memory."""

    def download(self, target: HostBytes, handle: Block, offset: int, queue: Queue) -> None:
        half = target.size if target.size < 4096 else target.size // 2
        super().download(target[:half], handle, offset, queue)
        super().download(target[half:], handle, offset, queue)


@FAMILY.driver("offset-forgotten", "device-any-interop-views")
class OffsetForgotten(Accelerator):
    """A copy of a view begins where its memory does."""

    def download(self, target: HostBytes, handle: Block, offset: int, queue: Queue) -> None:
        super().download(target, handle, 0, queue)


@FAMILY.driver("bytes-swapped", _COPIES)
class BytesSwapped(Accelerator):
    """The bytes of each word are swapped on the way to the device, and not on the way back."""

    def upload(self, handle: Block, offset: int, source: HostBytes, queue: Queue) -> None:
        words = source[: source.size // 4 * 4].reshape(-1, 4)[:, ::-1].reshape(-1)
        super().upload(handle, offset, np.concatenate([words, source[words.size :]]), queue)


def _shifted(x: Host, by: int) -> Host:
    """Return what lies so many elements before each one, as far as that can be known."""
    return np.roll(x.reshape(-1), by).reshape(x.shape)


@FAMILY.plant("imports-aligned", "add", "device-any-interop-imports")
def imports_aligned(call: Call) -> None:
    """Memory of another library is read from the 64-byte boundary before it."""
    call.finish(*(_shifted(x, x.ctypes.data % 64 // x.itemsize) if x.flags.c_contiguous else x for x in call.ins))


@FAMILY.plant("imports-dense", "add", "device-any-interop-imports")
def imports_dense(call: Call) -> None:
    """The steps of an imported matrix are ignored along the first axis."""

    def dense(x: Host) -> Host:
        if x.ndim != 2 or x.flags.c_contiguous or x.shape[0] < 2:
            return x
        return np.lib.stride_tricks.as_strided(x, x.shape, (abs(x.strides[1]) * x.shape[1], x.strides[1]))

    call.finish(*map(dense, call.ins))
