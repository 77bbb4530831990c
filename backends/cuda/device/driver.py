"""Memory, copies and queues of one GPU, as opmux asks for them."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Final, TypeVar, cast

from ....plugin import CallSpec, DeviceError, DeviceInfo, DeviceLostError, HostBytes, Link, Replay
from ..compiling.targets import Target, refusal, target_for
from .loading import Loader
from .rates import rates
from .runtime import CudaError, Event, Graph, Runtime, Stream
from .watching import watched

R = TypeVar("R")

#: The kind of device.
KIND: Final = "cuda"
#: Bytes per second between two GPUs: PCI Express 4.0 with 16 lanes, 16 GT/s each, 128 bits of 130 being data (PCI-SIG,
#: PCI Express Base Specification 4.0). GPUs of compute capability 8.0 have it; what NVLink adds is not known here.
_PEER_BANDWIDTH: Final = 16 * 16e9 * 128 / 130 / 8


class CudaDriver:
    """One GPU.

    Memory is ordered by streams. What is freed goes back on the default queue, whose next allocation may have it at
    once; what other queues used, on a stream of its own, which waits for them, so that no queue ever waits for a
    release. Nothing is opened on the GPU before the first queue is.

    Attributes:
        runtime: the GPU; after an error that spoils every later call, each raises ``DeviceLostError``.
        target: what code is compiled for.
        loader: its code.

    Args:
        runtime: the GPU.
        target: what code is compiled for; None for the best that it runs.

    Raises:
        DeviceError: no kernel runs on a GPU of this capability.
    """

    def __init__(self, runtime: Runtime, target: Target | None = None) -> None:
        self.runtime = watched(runtime)
        properties = runtime.properties
        found = target or target_for(properties.capability)
        if found is None:
            raise DeviceError(refusal(properties.name, properties.capability))
        self.target = found
        self.loader = Loader(self.runtime, found.name, self._with_room)
        self._releases: Stream | None = None
        self._default: Stream | None = None
        self._info = DeviceInfo(
            KIND,
            properties.name,
            properties.memory,
            features=frozenset({found.name}),
            rates=functools.partial(rates, properties),
            lacks=self._lacks,
        )

    def _lacks(self) -> tuple[str, ...]:
        missing = self.runtime.lacks_blas()
        return () if missing is None else (missing,)

    @property
    def info(self) -> DeviceInfo:
        """What the GPU says of itself."""
        return self._info

    def open_queue(self) -> Stream:
        """Open a stream; the first one is the default queue."""
        stream = self.runtime.open_stream()
        if self._default is None:
            self._releases = self.runtime.open_stream()
            self._default = stream
        return stream

    def alloc(self, nbytes: int, queue: Stream) -> int:
        """Return memory for a stream's later work; where none is left, what is kept for later is given back first."""
        try:
            return self.runtime.allocate(nbytes, queue)
        except MemoryError:
            self._make_room()
            return self.runtime.allocate(nbytes, queue)

    def _with_room(self, call: Callable[..., R], *args: object) -> R:
        """Call for what takes memory of the GPU: CUDA gives nothing else the memory that a pool keeps."""
        try:
            return call(*args)
        except MemoryError:
            self._make_room()
            return call(*args)

    def _make_room(self) -> None:
        if self._default is not None:  # else nothing was allocated
            self.runtime.synchronize(self._default)
            self.runtime.synchronize(self._releases)
            self.runtime.trim()

    def free(self, handle: int, last_uses: Sequence[Event]) -> None:
        """Give memory back after the default queue's work and the last uses; a lost GPU's is gone already.

        It takes no lock: the collector may call it in the middle of another call, and a child of a fork too. Where two
        threads free at once, what either waits for may delay the other's release.
        """
        try:  # and not `suppress`, which takes as long as the release of memory that one queue used
            if not last_uses:
                self.runtime.release(handle, self._default)
                return
            self.runtime.wait(self._releases, self.runtime.record(self._default))
            for event in last_uses:
                self.runtime.wait(self._releases, event)
            self.runtime.release(handle, self._releases)
        except DeviceLostError:
            return

    def pointer(self, handle: int, offset: int) -> int:
        """Return the address of a byte."""
        return handle + offset

    def upload(self, handle: int, offset: int, source: HostBytes, queue: Stream) -> None:
        """Put a copy from host memory on a stream."""
        self.runtime.upload(handle + offset, source, queue)

    def download(self, target: HostBytes, handle: int, offset: int, queue: Stream) -> None:
        """Copy to host memory and wait."""
        self.runtime.download(target, handle + offset, queue)

    def copy_peer(
        self,
        handle: int,
        offset: int,
        source: CudaDriver,
        source_handle: int,
        source_offset: int,
        nbytes: int,
        queue: Stream,
    ) -> None:
        """Put a copy from another GPU's memory on a stream of this one."""
        ordinal = source.runtime.ordinal
        self.runtime.copy_peer(handle + offset, ordinal, source_handle + source_offset, nbytes, queue)

    def link(self, source: CudaDriver) -> Link:
        """Return what a copy from another GPU costs, by the least that connects the GPUs that kernels run on.

        The latency is that of a launch on either side.
        """
        launches = (rates(d.runtime.properties).launch for d in (source, self))
        return Link(sum(launches), _PEER_BANDWIDTH, "declared")

    def replayable(self, put: Callable[[Stream], None]) -> Replay | None:
        """Record launches as a CUDA graph; None for what is more than launches of kernels on one stream."""
        try:
            graph = self._with_room(self._captured, put)
        except (CudaError, MemoryError):
            return None
        return functools.partial(self.runtime.replay, graph)

    def _captured(self, put: Callable[[Stream], None]) -> Graph:
        stream = self.runtime.begin_capture()
        try:
            put(stream)
        finally:
            graph = self.runtime.end_capture(stream)
        return graph

    def record(self, queue: Stream) -> Event:
        """Return an event after all that is on a stream."""
        return self.runtime.record(queue)

    def wait(self, queue: Stream, event: Event) -> None:
        """Let a stream's later work begin after an event."""
        self.runtime.wait(queue, event)

    def synchronize(self, queue: Stream) -> None:
        """Wait for all that is on a stream."""
        self.runtime.synchronize(queue)


def driver_of(spec: CallSpec) -> CudaDriver:
    """Return the GPU that a call runs on."""
    return cast(CudaDriver, spec.outputs[0].device.driver)
