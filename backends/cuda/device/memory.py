"""Memory of one GPU: a pool in the order of its streams, and copies to it, from it, and from other GPUs."""

from __future__ import annotations

import itertools
import threading
from typing import Any, Final

from ....plugin import HostBytes
from .streams import Stream, Streams

#: ``cudaMemcpyKind``.
_HOST_TO_DEVICE: Final = 1
_DEVICE_TO_HOST: Final = 2
#: ``cudaMemAllocationType``, ``cudaMemAllocationHandleType`` and ``cudaMemLocationType``.
_PINNED, _NO_HANDLE, _ON_DEVICE = 1, 0, 1
#: ``cudaMemPoolAttr``.
_RELEASE_THRESHOLD: Final = 4
_KEEP_ALL: Final = 2**64 - 1
#: Bytes of what is kept until it has been copied, and how many such copies a stream may have: a mebibyte in all.
_SMALL: Final = 4096
_MOST_KEPT: Final = 256
_numbers: Final = itertools.count()


class Memory(Streams):
    """The memory of one GPU.

    It comes from a pool of its own, which keeps what is released until :meth:`trim`: other libraries of the process
    share none of it.
    """

    def __init__(self, runtime: Any, driver: Any, ordinal: int, *, alone: bool) -> None:
        super().__init__(runtime, driver, ordinal, alone=alone)
        self._pool_lock = threading.RLock()
        self._pool_made: int | None = None

    def _pool(self) -> int:
        """Return the pool that memory comes from, made when the first is wanted: that starts the GPU."""
        with self._pool_lock:
            if self._pool_made is None:
                properties = self.runtime.MemPoolProps(_PINNED, _NO_HANDLE, _ON_DEVICE, self.ordinal)
                made = self.runtime.memPoolCreate(properties)
                self.runtime.memPoolSetAttribute(made, _RELEASE_THRESHOLD, _KEEP_ALL)
                self._pool_made = int(made)
            return self._pool_made

    def allocate(self, nbytes: int, stream: Stream) -> int:
        """Return memory that later work of a stream may use, aligned to 256.

        Raises:
            MemoryError: it does not fit.
        """
        pool = self._pool_made or self.call_during_captures(self._pool)
        return int(self.call(self.runtime.mallocFromPoolAsync, nbytes, pool, stream.whole))

    def release(self, pointer: int, stream: Stream) -> None:
        """Give memory back once all that is on a stream now is done."""
        self.call(self.runtime.freeAsync, pointer, stream.whole)

    def trim(self) -> None:
        """Give memory that was released, and is kept for later, back to the device."""
        if self._pool_made is not None:
            self.call_during_captures(self.runtime.memPoolTrimTo, self._pool_made, 0)

    def upload(self, pointer: int, source: HostBytes, stream: Stream) -> None:
        """Copy from host memory, which may be written again when this returns.

        CUDA promises of no memory that it has been read by then: where it does not know it, the copy "might be
        synchronous" (CUDA runtime API, API synchronization behavior). So a few small values, such as numbers beside an
        array, are kept until somebody waits for the stream; for all else this waits.
        """
        few = source.nbytes <= _SMALL and len(stream.kept) < _MOST_KEPT
        if few:
            source = source.copy()
        self.call(self.runtime.memcpyAsync, pointer, source.ctypes.data, source.nbytes, _HOST_TO_DEVICE, stream.whole)
        if few:
            stream.kept[next(_numbers)] = source  # not before the copy was put there: `synchronize` may drop it
        else:
            self.synchronize(stream)

    def download(self, target: HostBytes, pointer: int, stream: Stream) -> None:
        """Copy to host memory after the stream's work, and wait for it."""
        self.call(self.runtime.memcpyAsync, target.ctypes.data, pointer, target.nbytes, _DEVICE_TO_HOST, stream.whole)
        self.synchronize(stream)

    def copy_peer(self, pointer: int, source: int, source_pointer: int, nbytes: int, stream: Stream) -> None:
        """Put a copy from the memory of another GPU on a stream; without a way between them CUDA goes over the host."""
        copy = self.runtime.memcpyPeerAsync
        self.call(copy, pointer, self.ordinal, source_pointer, source, nbytes, stream.whole)
