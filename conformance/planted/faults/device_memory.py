"""Memory of devices: what is given out twice, too early or too short, and what never comes back."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any, Final

import numpy as np

from ....plugin import HostBytes
from ..fault import Family
from ..twin.accelerator import GARBAGE, Accelerator, Block, Queue, Task
from ..twin.backend import Twin

FAMILY: Final = Family("device_memory")


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

    return Twin(driver=Accelerator).with_ware("add", prepare=prepare)
