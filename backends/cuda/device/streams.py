"""Streams of one GPU, events that order them, and graphs of what a stream noted."""

from __future__ import annotations

import contextlib
import sys
import threading
from collections import deque
from collections.abc import Callable
from typing import Any, Final

from ....plugin import HostBytes
from .current import CurrentGpu, process
from .runtime import CudaError

#: ``cudaStreamNonBlocking``, ``cudaStreamCaptureModeRelaxed`` and ``cudaEventDisableTiming``.
_NON_BLOCKING: Final = 1
_RELAXED: Final = 2
_WITHOUT_TIMING: Final = 2


class _Owned:
    """What CUDA made for this process; it is given back with the object, once its work is done."""

    __slots__ = ("_destroy", "_owner", "handle")

    def __init__(self, owner: CurrentGpu, handle: int, destroy: Callable[[int], None]) -> None:
        self._owner = owner
        self._destroy = destroy
        self.handle = handle

    def __del__(self, is_finalizing: Callable[[], bool] = sys.is_finalizing) -> None:
        # Held here: when the interpreter ends, the names of the module may be gone before the object is.
        if not (is_finalizing() or process.forked):
            with contextlib.suppress(CudaError):
                self._owner.call(self._destroy, self.handle)


class Stream(_Owned):
    """A stream.

    Attributes:
        whole: what :attr:`handle` is, for all but kernels: a stream that is captured takes only those.
        kept: host memory that work of the stream may still read, by numbers that never come again.
    """

    __slots__ = ("kept", "whole")

    def __init__(self, owner: CurrentGpu) -> None:
        handle = owner.call(owner.runtime.streamCreateWithFlags, _NON_BLOCKING)
        super().__init__(owner, handle, owner.runtime.streamDestroy)
        self.whole = self.handle
        self.kept: dict[int, HostBytes] = {}


class Capture:
    """A stream that is captured, and that nobody else has: what other threads put on it would be noted too."""

    __slots__ = ("handle", "stream")

    def __init__(self, stream: Stream) -> None:
        self.stream = stream
        self.handle = stream.handle

    @property
    def whole(self) -> int:
        raise CudaError("cudaErrorStreamCaptureUnsupported", "only kernels are captured")


class Graph(_Owned):
    """Work that is ready to be done. Calls on one graph at once are left to callers to prevent (CUDA driver API, graph
    object thread safety), and functions are called by several threads.
    """

    __slots__ = ("lock",)

    def __init__(self, owner: CurrentGpu, handle: int) -> None:
        super().__init__(owner, handle, owner.runtime.graphExecDestroy)
        self.lock = threading.RLock()


class Event:
    """An event; it is used again once nobody has it: a stream that waits has noted what for when it was told to."""

    __slots__ = ("_spare", "handle")

    def __init__(self, handle: int, spare: deque[int]) -> None:
        self.handle = handle
        self._spare = spare

    def __del__(self) -> None:
        self._spare.append(self.handle)


class Streams(CurrentGpu):
    """The streams of one GPU."""

    def __init__(self, runtime: Any, driver: Any, ordinal: int, *, alone: bool) -> None:
        super().__init__(runtime, driver, ordinal, alone=alone)
        self._spare: deque[int] = deque()

    def open_stream(self) -> Stream:
        """Return a stream that orders itself with no other one."""
        return Stream(self)

    def stream_handle(self, stream: Stream) -> int:
        """Return a stream as CUDA's own libraries take it."""
        return stream.whole

    def record(self, stream: Stream) -> Event:
        """Return an event that happens when all that is on a stream now is done."""
        try:
            handle = self._spare.pop()
        except IndexError:
            handle = self.call(self.runtime.eventCreateWithFlags, _WITHOUT_TIMING)
        event = Event(handle, self._spare)
        self.call(self.runtime.eventRecord, handle, stream.whole)
        return event

    def wait(self, stream: Stream, event: Event) -> None:
        """Let later work of a stream begin after an event, which may be another GPU's."""
        self.call(self.runtime.streamWaitEvent, stream.whole, event.handle)

    def synchronize(self, stream: Stream) -> None:
        """Wait for all that is on a stream."""
        whole = stream.whole
        kept = list(stream.kept)  # what other threads add from here on may come after the wait
        self.call(self.runtime.streamSynchronize, whole)
        for number in kept:
            stream.kept.pop(number, None)

    def begin_capture(self) -> Capture:
        """Return a stream that notes kernels and products and does none of them; it takes nothing else."""
        stream = self.open_stream()
        # Relaxed: other threads may allocate and load meanwhile.
        self.call(self.runtime.streamBeginCapture, stream.handle, _RELAXED)
        return Capture(stream)

    def end_capture(self, stream: Capture) -> Graph:
        """Return what was put on such a stream, ready to be done; it is given back with the object."""
        graph = self.call(self.runtime.streamEndCapture, stream.handle)
        try:
            return Graph(self, self.call(self.runtime.graphInstantiate, graph))
        finally:
            self.call(self.runtime.graphDestroy, graph)

    def replay(self, graph: Graph, stream: Stream) -> None:
        """Put all that was noted on a stream, in its order."""
        self.call(self._replay, graph, stream.whole)

    def _replay(self, graph: Graph, stream: int) -> None:
        with graph.lock:  # not before `call` has turned a child of a fork away, which may find it taken
            self.runtime.graphLaunch(graph.handle, stream)
