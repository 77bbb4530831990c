"""Faults of drivers, planted as drivers around the right one: of order first, then of memory."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

from opmux.conformance.cases.devices.interception import Around
from opmux.conformance.planted.faults.meeting import Meeting
from opmux.plugin import HostBytes
from tests.remote.plants import driver


@driver("wait-ignored", "queues-across", "queues-uploads", "queues-write-after-read")
class WaitIgnored(Around):
    """A queue does not wait for an event."""

    def wait(self, queue: Any, event: Any) -> None:
        """Do nothing."""


class _Idle(Around):
    """Has a queue of its own on which nothing is ever put."""

    def __init__(self, inner: Any) -> None:
        super().__init__(inner)
        self.idle = inner.open_queue()


@driver("event-too-early", "queues-events", "queues-across")
class EventTooEarly(_Idle):
    """An event happens when it is recorded, not when the work before it is done."""

    def record(self, queue: Any) -> Any:
        return self.inner.record(self.idle)


@driver("download-does-not-wait", "queues-download-waits")
class DownloadEarly(_Idle):
    """A download overtakes the work of its queue."""

    def download(self, target: HostBytes, handle: Any, offset: int, queue: Any) -> None:
        self.inner.download(target, handle, offset, self.idle)


@driver("upload-on-a-copy-queue", "queues-uploads")
class UploadAside(_Idle):
    """Uploads go on a copy queue that nothing orders."""

    def upload(self, handle: Any, offset: int, source: HostBytes, queue: Any) -> None:
        self.idle.put(lambda: time.sleep(0.01))  # it is busy with a copy for somebody else
        self.inner.upload(handle, offset, source, self.idle)


@driver("upload-source-kept", "queues-upload-source")
class SourceKept(Around):
    """The source of an upload is read later, when the driver is called again."""

    def __init__(self, inner: Any) -> None:
        super().__init__(inner)
        self.pending: list[tuple[Any, int, HostBytes, Any]] = []

    def flush(self) -> None:
        while self.pending:
            self.inner.upload(*self.pending.pop(0))

    def upload(self, handle: Any, offset: int, source: HostBytes, queue: Any) -> None:
        self.flush()
        self.pending.append((handle, offset, source, queue))

    def pointer(self, handle: Any, offset: int) -> Any:
        self.flush()
        return self.inner.pointer(handle, offset)

    def download(self, target: HostBytes, handle: Any, offset: int, queue: Any) -> None:
        self.flush()
        self.inner.download(target, handle, offset, queue)

    def record(self, queue: Any) -> Any:
        self.flush()
        return self.inner.record(queue)

    def free(self, handle: Any, last_uses: Sequence[Any]) -> None:
        self.flush()
        self.inner.free(handle, last_uses)


@driver("synchronize-does-not-wait", "queues-synchronize")
class SynchronizeEarly(Around):
    """Synchronize returns at once."""

    def synchronize(self, queue: Any) -> None:
        """Do nothing."""


@driver("free-ignores-last-uses", "queues-reuse")
class FreeIgnoresUses(Around):
    """Memory is free after the default queue's work, whatever other queues still do with it."""

    def free(self, handle: Any, last_uses: Sequence[Any]) -> None:
        self.inner.free(handle, ())


class _Pool(Around):
    """Keeps freed memory by size."""

    def __init__(self, inner: Any) -> None:
        super().__init__(inner)
        self.sizes: dict[int, int] = {}
        self.kept: dict[int, list[Any]] = {}

    def alloc(self, nbytes: int, queue: Any) -> Any:
        kept = self.kept.setdefault(nbytes, [])
        handle = self.take(kept) if kept else self.inner.alloc(nbytes, queue)
        self.sizes[id(handle)] = nbytes
        return handle

    def take(self, kept: list[Any]) -> Any:
        return kept.pop()

    def free(self, handle: Any, last_uses: Sequence[Any]) -> None:
        nbytes = self.sizes.get(id(handle))
        if nbytes is None:
            self.inner.free(handle, last_uses)
        else:
            self.kept[nbytes].append(handle)


@driver("pool-without-events", "queues-reuse", "queues-dropped-result")
class PoolWithoutEvents(_Pool):
    """A pool hands out freed memory at once, to any queue."""


@driver("pool-race", "threads-memory")
class PoolRace(_Pool):
    """Two threads take the same block from a pool without a lock."""

    def __init__(self, inner: Any) -> None:
        super().__init__(inner)
        self.meeting = Meeting()

    def take(self, kept: list[Any]) -> Any:
        handle = kept[-1]
        self.meeting.wait()
        if kept:
            kept.pop()
        return handle


@driver("failed-allocation-counted", "memory-out-of-memory")
class FailedCounted(Around):
    """What an allocation that failed asked for stays counted."""

    def __init__(self, inner: Any) -> None:
        super().__init__(inner)
        self.left = inner.info.memory

    def alloc(self, nbytes: int, queue: Any) -> Any:
        self.left -= nbytes
        if self.left < 0:
            raise MemoryError("no memory left")
        handle = self.inner.alloc(nbytes, queue)
        self.left += nbytes  # the budget is of one allocation, which is enough for the fault
        return handle


@driver("out-of-memory-untyped", "memory-out-of-memory", "faults-full")
class Untyped(Around):
    """Want of memory is reported as any other failure."""

    def alloc(self, nbytes: int, queue: Any) -> Any:
        try:
            return self.inner.alloc(nbytes, queue)
        except MemoryError as error:
            raise RuntimeError("error code 2") from error


@driver("unusable-after-out-of-memory", "memory-out-of-memory", "faults-full")
class UnusableAfter(Around):
    """After an allocation failed, copies to the device do nothing."""

    def __init__(self, inner: Any) -> None:
        super().__init__(inner)
        self.broken = False

    def alloc(self, nbytes: int, queue: Any) -> Any:
        try:
            return self.inner.alloc(nbytes, queue)
        except Exception:
            self.broken = True
            raise

    def upload(self, handle: Any, offset: int, source: HostBytes, queue: Any) -> None:
        if not self.broken:
            self.inner.upload(handle, offset, source, queue)


@driver("every-fifth-free-forgotten", "memory-brim")
class Leak(Around):
    """Every fifth buffer is not taken back."""

    def __init__(self, inner: Any) -> None:
        super().__init__(inner)
        self.count = 0
        self.leaked: list[Any] = []

    def free(self, handle: Any, last_uses: Sequence[Any]) -> None:
        self.count += 1
        if self.count % 5:
            self.inner.free(handle, last_uses)
        else:
            self.leaked.append(handle)


@driver("size-rounded-down", "memory-sizes", "memory-disjoint")
class RoundedDown(Around):
    """A request is rounded down to whole words, and what is beyond is cut off."""

    def upload(self, handle: Any, offset: int, source: HostBytes, queue: Any) -> None:
        self.inner.upload(handle, offset, source[: source.size - source.size % 4], queue)


@driver("one-handle-twice", "memory-many", "memory-disjoint")
class Twice(Around):
    """Now and then a buffer is handed out a second time while it is in use."""

    def __init__(self, inner: Any) -> None:
        super().__init__(inner)
        self.last: tuple[int, Any] = (0, None)
        self.count = 0

    def alloc(self, nbytes: int, queue: Any) -> Any:
        self.count += 1
        if self.count % 7 == 0 and self.last[0] >= nbytes:
            return self.last[1]
        self.last = nbytes, self.inner.alloc(nbytes, queue)
        return self.last[1]

    def free(self, handle: Any, last_uses: Sequence[Any]) -> None:
        """Keep it: a handle that is out twice must not be freed twice."""


@driver("upload-offset-in-words", "memory-offsets")
class UploadInWords(Around):
    """The offset of an upload loses its last two bits."""

    def upload(self, handle: Any, offset: int, source: HostBytes, queue: Any) -> None:
        self.inner.upload(handle, offset & ~3, source, queue)


@driver("download-offset-ignored", "memory-offsets", "memory-views")
class DownloadFromStart(Around):
    """A download begins at the start of the buffer."""

    def download(self, target: HostBytes, handle: Any, offset: int, queue: Any) -> None:
        self.inner.download(target, handle, 0, queue)


@driver("copy-in-chunks", "memory-sizes")
class Chunks(Around):
    """Copies go in chunks of 64 KiB, and a last one that is not full is forgotten."""

    def upload(self, handle: Any, offset: int, source: HostBytes, queue: Any) -> None:
        whole = source.size if source.size < 1 << 16 else source.size >> 16 << 16
        self.inner.upload(handle, offset, source[:whole], queue)


@driver("download-byte-order", "memory-dtypes")
class ByteOrder(Around):
    """Pairs of bytes are exchanged where a copy has an even number of them."""

    def download(self, target: HostBytes, handle: Any, offset: int, queue: Any) -> None:
        self.inner.download(target, handle, offset, queue)
        if target.size % 2 == 0:
            target[:] = target.reshape(-1, 2)[:, ::-1].reshape(-1).copy()


class _Shifted:
    """A block of host memory that begins somewhere else."""

    def __init__(self, block: Any, by: int) -> None:
        self.block, self.bytes, self.address = block, block.bytes[by:], block.address + by
        self.capacity, self.view = block.capacity - by, None


@driver("alignment-of-sixteen", "memory-disjoint", host=True)
class SixteenAligned(Around):
    """Memory begins at multiples of 16, not of 64."""

    def alloc(self, nbytes: int, queue: Any) -> Any:
        return _Shifted(self.inner.alloc(nbytes + 64, queue), 16)

    def free(self, handle: Any, last_uses: Sequence[Any]) -> None:
        self.inner.free(getattr(handle, "block", handle), last_uses)


@driver("buffers-overlap", "memory-disjoint", "memory-many", host=True)
class Overlapping(Around):
    """Blocks are cut from one piece, the next one a line too early."""

    def __init__(self, inner: Any) -> None:
        super().__init__(inner)
        self.whole = inner.alloc(1 << 26, None)
        self.at = 0

    def alloc(self, nbytes: int, queue: Any) -> Any:
        made = _Shifted(self.whole, self.at)
        made.bytes, made.capacity = made.bytes[: nbytes + 64], nbytes
        self.at = (self.at + max(-(-nbytes // 64) * 64 - 64, 64)) % (1 << 25)
        return made

    def free(self, handle: Any, last_uses: Sequence[Any]) -> None:
        if isinstance(handle, _Shifted):
            return
        self.inner.free(handle, last_uses)
