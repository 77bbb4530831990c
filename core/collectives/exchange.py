"""Calls that are one exchange of messages: done without a generator, and handed to one where a message is awaited.

Where all that a rank sends rides with the headers, or the communicator has a collective of its own, nothing is left to
decide once the messages are posted. What is the same in every call of a decision is kept from one to the next.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np

from ..devices.driver import HostBytes
from ..errors import CollectiveError
from .agreement import FRAME, SIZE, Header, numbered
from .communicator import Endpoint, Ticket
from .control import Control
from .engine import NUMBER_BITS, RIDING, Call, Combine, Elements, Running, Wait, finish, go_on
from .rank_plan import RankPlan, Receive, Region

#: How often a message is asked for before others get a turn.
_SPINS: Final = 400
#: Of more ranks the messages are what takes the time, and each would hold memory for every other one.
_MOST: Final = 64


@dataclass(frozen=True, slots=True)
class _Work:
    """One writing of a region: what is read there (or came with a frame), and with what it is combined."""

    into: int
    at: slice
    base: int
    base_at: slice
    data: int
    data_at: slice
    arrived: Elements | None


class Exchange:
    """One rank's calls of one decision.

    Args:
        endpoint: the rank's messages.
        control: the rank's side of the control messages.
        plan: what the rank does; empty where the communicator's own collective does it.
        header: what it calls, whatever its number.
        dtype: of the slots.
        combine: as of :func:`~opmux.core.collectives.engine.run_rank`.
        timeout: likewise.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        control: Control,
        plan: RankPlan,
        header: Header,
        dtype: np.dtype[Any],
        combine: Combine | None,
        timeout: float,
    ) -> None:
        self.endpoint, self.control, self.plan, self.header = endpoint, control, plan, header
        self.combine, self.timeout = combine, timeout
        self.said = header.pack()
        n, me = endpoint.ranks, endpoint.rank
        self.sources = [(me - step) % n for step in range(1, n)]
        self.targets = [(me + step) % n for step in range(1, n)]
        self.rooms = [np.zeros(FRAME, np.uint8) for _ in self.sources]
        self.told = [room.data[:SIZE] for room in self.rooms]
        first = plan.steps[0] if plan.steps else None
        riding = {s.target: s.data for s in (first.sends if first else ())}
        bare = np.zeros(FRAME, np.uint8)
        self.frames = [np.zeros(FRAME, np.uint8) if t in riding else bare for t in self.targets]
        self.heads = [f.data[:SIZE] for f in {id(f): f for f in self.frames}.values()]
        self.filled = [
            (_behind(frame, riding[t], dtype), riding[t].slot, _slice(riding[t]))
            for t, frame in zip(self.targets, self.frames, strict=True)
            if t in riding
        ]
        room_of = dict(zip(self.sources, self.rooms, strict=True))
        self.work = [
            _work(receive, _behind(room_of[receive.source], receive.into, dtype) if receive.first else None)
            for step in plan.steps
            for receive in (*step.locals, *step.receives)
        ]

    def run(
        self, sequence: int, slots: Sequence[Elements], native: Callable[[], Ticket] | None, owner: object
    ) -> Running | None:
        """Do a call; return what is left of it where another rank is awaited.

        Args:
            sequence: the number of the call.
            slots: as of :func:`~opmux.core.collectives.engine.run_rank`.
            native: likewise.
            owner: likewise.

        Raises:
            CollectiveError: it cannot complete.
        """
        if self.control.failure is not None:
            raise self.control.failure.again()
        said = numbered(self.said, sequence)
        for head in self.heads:
            head[:] = said
        for frame, slot, at in self.filled:
            frame[:] = slots[slot][at]
        posted = _Posted()
        try:
            if self._post(posted, sequence, native) and self._ends(posted, said, slots):
                self.control.passed(sequence)
                return None
        except BaseException as error:
            finish(self._call(posted, sequence, slots, native, owner), error)
            raise
        return go_on(self._call(posted, sequence, slots, native, owner))

    def _post(self, posted: _Posted, sequence: int, native: Callable[[], Ticket] | None) -> bool:
        """Post every message; return whether that was possible."""
        number = sequence << NUMBER_BITS
        peer = -1
        try:
            for peer, room in zip(self.sources, self.rooms, strict=True):
                posted.incoming.append(self.endpoint.receive(peer, number, room))
            for peer, frame in zip(self.targets, self.frames, strict=True):
                posted.outgoing.append(self.endpoint.send(peer, number, frame))
            if native is not None:
                peer = -1
                posted.started = native()
        except CollectiveError as error:
            posted.trouble = peer, error
            return False
        return True

    def _ends(self, posted: _Posted, said: bytes, slots: Sequence[Elements]) -> bool:
        """Return whether everything arrives and leaves while this rank looks on."""
        try:
            for ticket in posted.incoming:
                if not ticket.done() and not _comes(ticket):
                    return False
            for told in self.told:
                if told.tobytes() != said:
                    return False
            if posted.started is None:
                self._do(slots)
                posted.is_done = True
            elif not _comes(posted.started):
                return False
            for ticket in posted.outgoing:
                if not ticket.done() and not _comes(ticket):
                    return False
        except CollectiveError:
            return False  # the long way finds it too, and what it means
        return True

    def _do(self, slots: Sequence[Elements]) -> None:
        """Write and combine what has come."""
        for work in self.work:
            data = slots[work.data][work.data_at] if work.arrived is None else work.arrived
            into = slots[work.into][work.at]
            if work.base < 0 or self.combine is None:
                into[:] = data
            elif into.size:
                self.combine(slots[work.base][work.base_at], data, into)

    def _call(
        self,
        posted: _Posted,
        sequence: int,
        slots: Sequence[Elements],
        native: Callable[[], Ticket] | None,
        owner: object,
    ) -> Call:
        """Return the call as it stands, to be ended by the long way."""
        header = replace(self.header, sequence=sequence)
        call = Call(self.endpoint, self.plan, header, slots, self.combine, self.control, self.timeout, native, owner)
        call.told[call.rank] = header.pack()
        for peer, room, ticket in zip(self.sources, self.rooms, posted.incoming, strict=False):
            call.frames[peer] = Wait(ticket, peer, 0, room)
        call.headers = list(call.frames.values())
        for peer, frame, ticket in zip(self.targets, self.frames, posted.outgoing, strict=False):
            call.outgoing.append(Wait(ticket, peer, -1, frame))
            call.sent[peer] = 1
        if posted.started is not None:
            call.incoming.append(Wait(posted.started, -1, -1, np.empty(0, np.uint8)))
        call.at = len(self.plan.steps) if posted.is_done else 0
        call.trouble = posted.trouble
        return call


class _Posted:
    """What is under way of a call."""

    __slots__ = ("incoming", "is_done", "outgoing", "started", "trouble")

    def __init__(self) -> None:
        self.incoming: list[Ticket] = []
        self.outgoing: list[Ticket] = []
        self.started: Ticket | None = None
        self.is_done = False
        self.trouble: tuple[int, CollectiveError] | None = None


def fits(plan: RankPlan, itemsize: int) -> bool:
    """Return whether a rank's part of a collective is one exchange, its data riding with the headers."""
    sends = [(send.first, send.data) for step in plan.steps for send in step.sends]
    receives = [(receive.first, receive.into) for step in plan.steps for receive in step.receives]
    ride = all(first and region.length * itemsize <= RIDING for first, region in sends + receives)
    return ride and plan.ranks <= _MOST and not any(step.copied for step in plan.steps)


def _comes(ticket: Ticket) -> bool:
    """Return whether a message is over soon."""
    for _ in range(_SPINS):  # noqa: SIM110 - a generator would be asked in place of the ticket
        if ticket.done():
            return True
    return False


def _slice(region: Region) -> slice:
    return slice(region.first, region.first + region.length)


def _behind(frame: HostBytes, region: Region, dtype: np.dtype[Any]) -> Elements:
    """Return the elements of a region where they ride with a header."""
    return frame[SIZE : SIZE + region.length * dtype.itemsize].view(dtype)


def _work(receive: Receive, arrived: Elements | None) -> _Work:
    into, base, data = receive.into, receive.base or _NOTHING, receive.data or _NOTHING
    return _Work(into.slot, _slice(into), base.slot, _slice(base), data.slot, _slice(data), arrived)


#: Stands where nothing is read.
_NOTHING: Final = Region(-1, 0, 0)
