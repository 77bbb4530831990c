"""NCCL over several GPUs of this process: CuPy's binding of it, communicators, and one order of calls for all GPUs.

A GPU has one stream for all calls of NCCL, and calls are made one at a time. So two calls that have GPUs in common come
in the same order on each of those, and none waits for another that stands behind it elsewhere, which NCCL leaves to its
callers (NCCL user guide, "Using multiple NCCL communicators concurrently").
"""

from __future__ import annotations

import contextlib
import importlib
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final
from weakref import WeakKeyDictionary

from ....plugin import CollectiveError, DeviceLostError, Reason, Rejection
from .driver import CudaDriver
from .runtime import Event, Runtime, Stream

#: CuPy's module; typed by nobody.
Binding = Any
Communicator = Any
#: One rank's part of a collective: its communicator, where it sends from, where it receives to, and its stream.
Call = Callable[[Communicator, int, int, int], None]

_BINDING: Final = "cupy_backends.cuda.libs.nccl"
_MISSING: Final = Rejection(Reason.FEATURE, "CuPy finds no NCCL: pip install nvidia-nccl-cu13")
#: NCCL must not let a GPU read another one's operands where they lie (NCCL user guide, environment variables): memory
#: of a pool is its own GPU's alone, and CuPy has no call that gives others access.
_OWN_MEMORY_ALONE: Final = "NCCL_P2P_DIRECT_DISABLE"


def binding() -> Binding | Rejection:
    """Return CuPy's binding of NCCL, or why there is none."""
    try:
        return importlib.import_module(_BINDING)
    except ImportError:
        pass  # the library is not on the loader's path; a package of it is found by what comes with CuPy
    try:
        importlib.import_module("cuda.pathfinder").load_nvidia_dynamic_lib("nccl")
        return importlib.import_module(_BINDING)
    except (ImportError, RuntimeError):
        return _MISSING


@dataclass(frozen=True, slots=True, eq=False)
class Clique:
    """GPUs that do a collective together.

    Attributes:
        nccl: CuPy's binding.
        drivers: the GPUs in the order of the ranks.
        names: theirs, for people.
    """

    nccl: Binding
    drivers: tuple[CudaDriver, ...]
    names: tuple[str, ...]

    def run(self, op: str, calls: Sequence[Call], send: Sequence[int], receive: Sequence[int], queue: Stream) -> None:
        """Put calls of all ranks on the GPUs, behind what is on a queue of the first one, and before what comes on it.

        Args:
            op: what is done, for errors.
            calls: each is made for every rank.
            send: where each rank's operand lies.
            receive: where its result goes.
            queue: the queue.

        Raises:
            CollectiveError: NCCL cannot do it, or the GPU of another rank is lost. The communicators are given up; the
                next call makes new ones.
        """
        first = self.drivers[0].runtime
        begin = first.record(queue)
        with _lock, contextlib.ExitStack() as after:
            streams = []
            for rank, driver in enumerate(self.drivers):
                with self._blamed(op, rank):
                    stream = _stream(driver)
                    driver.runtime.wait(stream, begin)
                # Also what NCCL fails to complete uses the memory until its stream has passed it.
                after.callback(self._join, op, rank, stream, first, queue)
                streams.append(driver.runtime.stream_handle(stream))
            try:
                ranks = list(zip(self._communicators(), send, receive, streams, strict=True))
                with self._group():
                    for call in calls:
                        for arguments in ranks:
                            call(*arguments)
            except self.nccl.NcclError as error:
                self._give_up()
                raise CollectiveError(
                    f"{op} over {', '.join(self.names)} failed in NCCL: {error}; NCCL_DEBUG=INFO says more, and "
                    f"policy(pins={{'{op}': ...}}) takes an algorithm by its name in opmux.explain",
                    op=op,
                    devices=self.names,
                ) from error

    @contextlib.contextmanager
    def _blamed(self, op: str, rank: int) -> Iterator[None]:
        """Let the loss of another rank's GPU be that rank's fault: a kernel that raises it loses the first one's."""
        try:
            yield
        except DeviceLostError as error:
            if rank == 0:
                raise
            raise CollectiveError(
                f"{op}: rank {rank}, on {self.names[rank]}, is gone: {error}", op=op, rank=rank, cause="died"
            ) from error

    def _join(self, op: str, rank: int, stream: Stream, first: Runtime, queue: Stream) -> None:
        with self._blamed(op, rank):
            done: Event = self.drivers[rank].runtime.record(stream)
        first.wait(queue, done)

    @contextlib.contextmanager
    def _group(self) -> Iterator[None]:
        """Let NCCL begin the calls of all ranks together: one by one, the first would wait for ever for the others."""
        self.nccl.groupStart()
        try:
            yield
        finally:
            self.nccl.groupEnd()

    @property
    def _key(self) -> tuple[int, ...]:
        return tuple(driver.runtime.ordinal for driver in self.drivers)

    def _communicators(self) -> list[Communicator]:
        """Return each rank's communicator, made when the first are wanted; an error that one had since is raised."""
        known = _made.setdefault(self.drivers[0], {})
        found = known.get(self._key)
        if found is None:
            os.environ.setdefault(_OWN_MEMORY_ALONE, "1")
            found = known[self._key] = self.nccl.NcclCommunicator.initAll(list(self._key))
        for communicator in found:
            communicator.check_async_error()
        return found

    def _give_up(self) -> None:
        """Forget the communicators, and end what hangs in them."""
        for communicator in _made[self.drivers[0]].pop(self._key, ()):
            with contextlib.suppress(self.nccl.NcclError):
                communicator.abort()


def _stream(driver: CudaDriver) -> Stream:
    found = _streams.get(driver)
    if found is None:
        found = _streams[driver] = driver.runtime.open_stream()
    return found


# After a fork nobody gets here: recording an event says first that CUDA does not follow it.
_lock: Final = threading.Lock()
_streams: Final[WeakKeyDictionary[CudaDriver, Stream]] = WeakKeyDictionary()
#: By the first rank's GPU and the numbers of all.
_made: Final[WeakKeyDictionary[CudaDriver, dict[tuple[int, ...], list[Communicator]]]] = WeakKeyDictionary()
