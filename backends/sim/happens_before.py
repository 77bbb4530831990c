"""A happens-before race detector over buffers: vector clocks on queues, events and the host.

Two accesses race where they touch a common byte, one of them writes, and nothing orders them: no queue that holds both,
no event recorded after the one and waited for before the other, no wait of the host in between. The order in which they
happened to be submitted does not count, since a device need not keep it. Threads of the host count as one: what one has
waited for orders what another submits later, so that a race between two threads may be missed, and none is made up.

Lamport, "Time, Clocks, and the Ordering of Events in a Distributed System", 1978; Fidge, "Timestamps in Message-Passing
Systems That Preserve the Partial Ordering", 1988.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

import numpy as np

from .memory import Block, View, extent

#: Queue, as a pair of device and number, to how many of its works are known to have happened.
Clock = dict[tuple[int, int], int]
#: NumPy's answer to whether two strided views share an element may take very long; beyond this they count as sharing
#: one.
_WORK: Final = 100_000


class Mode(StrEnum):
    """What becomes of a race that is found."""

    OFF = "off"
    RECORD = "record"
    ERROR = "error"


@dataclass(frozen=True, slots=True)
class Access:
    """One access to a buffer.

    Attributes:
        op: the op, ``"upload"``, ``"download"``, ``"alloc"`` or ``"free"``.
        device, queue: where it was submitted; the queue is -1 for ``"free"``.
        number: the request of the device.
        writes: whether it writes.
        start, end: its span in virtual picoseconds.
    """

    op: str
    device: int
    queue: int
    number: int
    writes: bool
    start: int
    end: int

    def __str__(self) -> str:
        how = "writes" if self.writes else "reads"
        return f"{self.op} (request {self.number}, queue {self.queue}, {self.start} to {self.end} ps) {how}"


@dataclass(frozen=True, slots=True)
class Race:
    """Two accesses to a buffer that nothing orders.

    Attributes:
        device: index of the device.
        block: number of the buffer on it.
        low, high: the bytes of the buffer that both extents have in common.
        first, second: the accesses, in the order of submission.
    """

    device: int
    block: int
    low: int
    high: int
    first: Access
    second: Access

    def __str__(self) -> str:
        return (
            f"race on bytes {self.low} to {self.high} of buffer {self.block} of sim:{self.device}: {self.first}, and "
            f"{self.second}, and nothing orders them; record an event behind the first, and wait for it before the "
            f"second"
        )


def join(clock: Clock, other: Mapping[tuple[int, int], int]) -> None:
    """Add what another clock knows."""
    for queue, tick in other.items():
        if clock.get(queue, 0) < tick:
            clock[queue] = tick


@dataclass(frozen=True, slots=True)
class _Kept:
    """An access with where it was and when, in the time of its queue."""

    view: View
    access: Access
    tick: int

    def before(self, clock: Mapping[tuple[int, int], int]) -> bool:
        return self.tick <= clock.get((self.access.device, self.access.queue), 0)


class Detector:
    """The accesses to the buffers of one device that later ones may race with.

    Attributes:
        mode: whether it looks at all.
        found: the races so far.
    """

    def __init__(self, device: int, mode: Mode) -> None:
        self.device = device
        self.mode = mode
        self.found: list[Race] = []
        self._kept: dict[int, list[_Kept]] = {}  # by the number of the block, until it is freed

    def note(
        self, views: Sequence[View], access: Access, clock: Mapping[tuple[int, int], int], tick: int
    ) -> list[Race]:
        """Note an access to some views, and return the races that it makes.

        Args:
            views: what it touches.
            access: what it is.
            clock: what happens before it.
            tick: its number on its queue.
        """
        made: list[Race] = []
        for view in views:
            earlier = self._kept.get(view.block.number, [])
            still: list[_Kept] = []
            for kept in earlier:
                ordered = kept.before(clock)
                if not ordered and (access.writes or kept.access.writes) and _share(kept.view, view):
                    made.append(self._race(kept, view, access))
                # What a later access races with, it also races with the one that is ordered after and hides it.
                hidden = ordered and (access.writes or not kept.access.writes) and _hides(view, kept.view)
                if not hidden:
                    still.append(kept)
            still.append(_Kept(view, access, tick))
            self._kept[view.block.number] = still
        self.found += made
        return made

    def forget(self, block: Block) -> None:
        """Drop what is kept of a block that nothing can touch any more."""
        self._kept.pop(block.number, None)

    def _race(self, kept: _Kept, view: View, access: Access) -> Race:
        (low, high), (other_low, other_high) = _extent(kept.view), _extent(view)
        return Race(self.device, view.block.number, max(low, other_low), min(high, other_high), kept.access, access)


def _extent(view: View) -> tuple[int, int]:
    return extent(view.offset, view.shape, view.dtype.itemsize, view.strides)


def _hides(view: View, other: View) -> bool:
    """Return whether every byte of another view is in a view, as far as that is easily said."""
    if view.covers_block():
        return True
    return view == other


def _share(one: View, other: View) -> bool:
    """Return whether two views of a block have a byte in common."""
    (low, high), (other_low, other_high) = _extent(one), _extent(other)
    if max(low, other_low) >= min(high, other_high):
        return False
    return bool(np.may_share_memory(_shape_of(one), _shape_of(other), max_work=_WORK))  # type: ignore[arg-type] # any count will do


def _shape_of(view: View) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    """Return a view of the block's extent in the same places, of bytes, which is never read."""
    raw = view.block.content(0, (view.block.nbytes,), np.dtype(np.uint8), (1,))
    shape, strides = (*view.shape, view.dtype.itemsize), (*view.strides, 1)
    return np.ndarray(shape, np.uint8, raw.data, view.offset, strides)
