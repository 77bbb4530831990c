"""Memory, copies and queues of one GPU, as opmux asks for them."""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable, Sequence
from typing import Final, ParamSpec, TypeVar

from ...plugin import DeviceInfo, DeviceLostError, HostBytes
from .loading import Loader
from .rates import rates
from .runtime import CudaError, Event, Runtime, Stream
from .targets import Target, target_for

P = ParamSpec("P")
R = TypeVar("R")

#: The kind of device.
KIND: Final = "cuda"


class CudaDriver:
    """One GPU.

    Memory is ordered by streams. What is freed goes through a stream of its own, which waits for all that still uses
    it, so that no queue ever waits for a release.

    Args:
        runtime: the GPU.
        target: what code is compiled for; None for the best that it runs.
    """

    def __init__(self, runtime: Runtime, target: Target | None = None) -> None:
        self.runtime = runtime
        properties = runtime.properties
        self.target = target or target_for(properties.capability)
        self.loader = Loader(runtime)
        self._lost: DeviceLostError | None = None
        self._releases: Stream = runtime.open_stream()
        self._default: Stream | None = None
        self._lock = threading.RLock()  # the collector frees in the middle of other calls
        self._info = DeviceInfo(
            KIND,
            properties.name,
            properties.memory,
            features=frozenset() if self.target is None else frozenset({self.target.name}),
            rates=functools.partial(rates, properties),
        )

    @property
    def info(self) -> DeviceInfo:
        """What the GPU says of itself."""
        return self._info

    def open_queue(self) -> Stream:
        """Open a stream; the first one is the default queue."""
        stream = self._asked(self.runtime.open_stream)
        if self._default is None:
            self._default = stream
        return stream

    def alloc(self, nbytes: int, queue: Stream) -> int:
        """Return memory for a stream's later work; where none is left, what is kept for later is given back first."""
        try:
            return self._asked(self.runtime.allocate, nbytes, queue)
        except MemoryError:
            self._asked(self.runtime.synchronize, self._releases)
            self._asked(self.runtime.trim)
            return self._asked(self.runtime.allocate, nbytes, queue)

    def free(self, handle: int, last_uses: Sequence[Event]) -> None:
        """Give memory back after the default queue's work and the last uses."""
        with self._lock:
            if self._default is not None:
                self._asked(self.runtime.wait, self._releases, self._asked(self.runtime.record, self._default))
            for event in last_uses:
                self._asked(self.runtime.wait, self._releases, event)
            self._asked(self.runtime.release, handle, self._releases)

    def pointer(self, handle: int, offset: int) -> int:
        """Return the address of a byte."""
        return handle + offset

    def upload(self, handle: int, offset: int, source: HostBytes, queue: Stream) -> None:
        """Put a copy from host memory on a stream."""
        self._asked(self.runtime.upload, handle + offset, source, queue)

    def download(self, target: HostBytes, handle: int, offset: int, queue: Stream) -> None:
        """Copy to host memory and wait."""
        self._asked(self.runtime.download, target, handle + offset, queue)

    def record(self, queue: Stream) -> Event:
        """Return an event after all that is on a stream."""
        return self._asked(self.runtime.record, queue)

    def wait(self, queue: Stream, event: Event) -> None:
        """Let a stream's later work begin after an event."""
        self._asked(self.runtime.wait, queue, event)

    def synchronize(self, queue: Stream) -> None:
        """Wait for all that is on a stream."""
        self._asked(self.runtime.synchronize, queue)

    def _asked(self, call: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        """Call CUDA; an error that spoils every later call marks the device lost, once and for all."""
        if self._lost is not None:
            raise self._lost
        try:
            return call(*args, **kwargs)
        except CudaError as error:
            if not error.sticky:
                raise
            self._lost = DeviceLostError(
                f"{self._info.name} is lost to this process: {error}. A kernel touched memory that is not its own, or "
                f"the GPU is gone; start a new process to use it again"
            )
            raise self._lost from error
