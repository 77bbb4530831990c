"""Memory of one GPU: a pool in stream order, and copies to it, from it, and from other GPUs."""

from __future__ import annotations

import functools
import threading
from typing import Any, Final

from ....plugin import HostBytes
from .current import CurrentGpu
from .streams import Stream

#: ``cudaDeviceAttr``.
_HOST_PAGE_TABLES: Final = 100
#: ``cudaMemcpyKind``.
_HOST_TO_DEVICE: Final = 1
_DEVICE_TO_HOST: Final = 2
#: ``cudaMemAllocationType``, ``cudaMemAllocationHandleType`` and ``cudaMemLocationType``.
_PINNED, _NO_HANDLE, _ON_DEVICE = 1, 0, 1
#: ``cudaMemPoolAttr``.
_RELEASE_THRESHOLD: Final = 4
_KEEP_ALL: Final = 2**64 - 1


class Memory(CurrentGpu):
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

    @functools.cached_property
    def _reads_pages(self) -> bool:
        """Whether the GPU copies from any host memory by itself, hence later than it is told to."""
        return bool(self.runtime.deviceGetAttribute(_HOST_PAGE_TABLES, self.ordinal))

    def upload(self, pointer: int, source: HostBytes, stream: Stream) -> None:
        """Copy from host memory, which may be written again when this returns."""
        self.call(self._upload, pointer, source.ctypes.data, source.nbytes, stream.whole)

    def _upload(self, pointer: int, source: int, nbytes: int, stream: int) -> None:
        # From memory that CUDA does not know it copies to memory of its own before it returns (CUDA runtime API, API
        # synchronization behavior); from any other the copy may come later.
        known = self.runtime.pointerGetAttributes(source).type > 0
        self.runtime.memcpyAsync(pointer, source, nbytes, _HOST_TO_DEVICE, stream)
        if known or self._reads_pages:
            self.runtime.streamSynchronize(stream)

    def download(self, target: HostBytes, pointer: int, stream: Stream) -> None:
        """Copy to host memory after the stream's work, and wait for it."""
        self.call(self.runtime.memcpyAsync, target.ctypes.data, pointer, target.nbytes, _DEVICE_TO_HOST, stream.whole)
        self.call(self.runtime.streamSynchronize, stream.whole)

    def copy_peer(self, pointer: int, source: int, source_pointer: int, nbytes: int, stream: Stream) -> None:
        """Put a copy from the memory of another GPU on a stream; without a way between them CUDA goes over the host."""
        copy = self.runtime.memcpyPeerAsync
        self.call(copy, pointer, self.ordinal, source_pointer, source, nbytes, stream.whole)
