"""Faults of kernels' launches, planted as functions around the right launch."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable
from typing import Any

import numpy as np

from opmux.conformance.planted.faults.meeting import Meeting
from tests.remote.plants import PLANTS, Launch, Plant, launch


def _put(x: Any, offset: int, count: int, queue: Any) -> None:
    """Write some bytes relative to the start of an array."""
    with contextlib.suppress(ValueError, IndexError):  # where the block ends there
        x.device.driver.upload(x._buffer.handle, x._offset + offset, np.full(count, 0x11, np.uint8), queue)


@launch("writes-past-the-end", "memory-garbage", host=True)
@launch("writes-past-the-end-late", "memory-garbage")
def past_the_end() -> Launch:
    """A vector store at the end of a result goes four bytes too far."""

    def launched(right: Launch, outs: Any, ins: Any, workspace: Any, queue: Any) -> Any:
        made = right(outs, ins, workspace, queue)
        _put(outs[0], outs[0].nbytes, 4, queue)
        return made

    return launched


@launch("writes-before-the-start", "memory-garbage", host=True)
def before_the_start() -> Launch:
    """A store that is aligned down begins before a result."""

    def launched(right: Launch, outs: Any, ins: Any, workspace: Any, queue: Any) -> Any:
        _put(outs[0], -4, 4, queue)
        return right(outs, ins, workspace, queue)

    return launched


@launch("scribbles-on-operands", "memory-garbage")
def scribbles() -> Launch:
    """An operand is used for scratch."""

    def launched(right: Launch, outs: Any, ins: Any, workspace: Any, queue: Any) -> Any:
        made = right(outs, ins, workspace, queue)
        _put(ins[0], 0, ins[0].dtype.itemsize, queue)
        return made

    return launched


@launch("zeros-left-out", "memory-garbage", host=True)
def zeros_left_out() -> Launch:
    """Zeros are not written, since fresh memory has them."""

    def launched(right: Launch, outs: Any, ins: Any, workspace: Any, queue: Any) -> Any:
        before = outs[0].host.copy()
        made = right(outs, ins, workspace, queue)
        np.copyto(outs[0].host, before, where=outs[0].host == 0)
        return made

    return launched


@launch("keeps-arrays", "memory-given-back", "faults-late", host=True)
def keeps_arrays() -> Launch:
    """Arrays of every launch are kept."""
    kept: list[Any] = []

    def launched(right: Launch, outs: Any, ins: Any, workspace: Any, queue: Any) -> Any:
        kept.append(outs)
        return right(outs, ins, workspace, queue)

    return launched


@launch("skips-a-launch", "memory-garbage", "faults-launch")
def skips() -> Launch:
    """Every third launch fails, and says that all is well."""
    count = [0]

    def launched(right: Launch, outs: Any, ins: Any, workspace: Any, queue: Any) -> Any:
        count[0] += 1
        return None if count[0] % 3 == 0 else right(outs, ins, workspace, queue)

    return launched


class _Done:
    def __init__(self, inner: Any) -> None:
        self.inner = inner

    def done(self) -> bool:
        return True

    def error(self) -> Any:
        return None


@launch("done-too-early", "queues-completions")
def done_too_early() -> Launch:
    """A completion says done as soon as the work is on the queue."""

    def launched(right: Launch, outs: Any, ins: Any, workspace: Any, queue: Any) -> Any:
        return _Done(right(outs, ins, workspace, queue))

    return launched


@launch("completion-of-another", "queues-completions")
def of_another() -> Launch:
    """A launch returns the completion of the one before."""
    last: list[Any] = [None]

    def launched(right: Launch, outs: Any, ins: Any, workspace: Any, queue: Any) -> Any:
        before, last[0] = last[0], right(outs, ins, workspace, queue)
        return before or last[0]

    return launched


@launch("arguments-shared", "threads-one-call", host=True)
@launch("arguments-shared-late", "threads-one-call")
def arguments_shared() -> Launch:
    """The arguments of a launch lie in one place for all threads."""
    shared: dict[str, Any] = {}
    meeting = Meeting()

    def launched(right: Launch, outs: Any, ins: Any, workspace: Any, queue: Any) -> Any:
        shared["ins"] = list(ins)
        meeting.wait()
        given = shared["ins"]
        same = len(given) == len(ins) and all(a.shape == b.shape for a, b in zip(given, ins, strict=True))
        return right(outs, given if same else ins, workspace, queue)

    return launched


@launch("lock-never-released", "threads-one-call", host=True)
def lock_never_released() -> Launch:
    """A lock stays taken by the thread that had it when work failed."""
    lock, count = threading.Lock(), [0]

    def launched(right: Launch, outs: Any, ins: Any, workspace: Any, queue: Any) -> Any:
        if not lock.acquire(timeout=8):  # for ever, but for the other tests
            raise TimeoutError("the lock is taken")
        made = right(outs, ins, workspace, queue)
        count[0] += 1
        if count[0] != 40:
            lock.release()
        return made

    return launched


def half_made() -> Callable[..., Any]:
    """A table of compiled code shows an entry before it is made."""
    table: dict[str, Any] = {}
    meeting = Meeting()

    def prepared(right: Callable[..., Any], spec: Any) -> Any:
        if spec.op in table and table[spec.op] is None:
            return None
        table[spec.op] = None
        meeting.wait()
        table[spec.op] = right(spec)
        return table[spec.op]

    return prepared


PLANTS.append(Plant("code-half-made", ("threads-first-call",), prepare=half_made, host=True))
