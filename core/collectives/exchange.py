"""Calls that are one exchange of messages: done without a generator, and handed to one where a message is awaited.

Where all that a rank sends rides with the headers, or the communicator has a collective of its own, nothing is left to
decide once the messages are posted. What is the same in every call of a decision is kept from one to the next.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

import numpy as np

from ..devices.driver import HostBytes
from ..errors import CollectiveError
from .agreement import FRAME, SIZE, Header
from .communicator import Endpoint, Standing, Ticket
from .control import Control
from .engine import NUMBER_BITS, RIDING, Call, Combine, Elements, Refused, Running, Wait, finish, go_on
from .rank_plan import RankPlan, Receive, Region

#: How often a message is asked for before others get a turn.
_SPINS: Final = 400
#: Of more ranks the messages are what takes the time, and each would hold memory for every other one.
_MOST: Final = 64


class Frames:
    """The messages of headers of one rank, in memory of their own; for one call at a time.

    Args:
        endpoint: the rank's messages.
    """

    def __init__(self, endpoint: Endpoint) -> None:
        n, me = endpoint.ranks, endpoint.rank
        # Each begins with its neighbour, so that no rank is met by all at once.
        self.into = {(me - step) % n: np.zeros(FRAME, np.uint8) for step in range(1, n)}
        self.out = {(me + step) % n: np.zeros(FRAME, np.uint8) for step in range(1, n)}
        self.told = [room.data[:SIZE] for room in self.into.values()]
        self.heads = [frame.data[:SIZE] for frame in self.out.values()]
        lasting = getattr(endpoint, "standing", None)
        made: Standing | None = None if lasting is None else lasting(self.into, self.out)
        self.messages: Standing = made or _Posted(endpoint, self.into, self.out)


class _Posted:
    """Messages that are posted anew for every call."""

    def __init__(self, endpoint: Endpoint, into: Mapping[int, HostBytes], out: Mapping[int, HostBytes]) -> None:
        self._endpoint, self._into, self._out = endpoint, into, out
        self._coming: dict[int, Ticket] = {}
        self._going: dict[int, Ticket] = {}

    def start(self, at: int) -> None:
        """Post every message."""
        self._coming.clear()
        self._going.clear()
        for peer, room in self._into.items():
            self._coming[peer] = _posted(self._endpoint.receive, peer, at, room)
        for peer, frame in self._out.items():
            self._going[peer] = _posted(self._endpoint.send, peer, at, frame)

    def have_come(self, polls: int) -> bool:
        """Return whether all have arrived, asking each so often."""
        return _are_over(self._coming.values(), polls)

    def have_left(self, polls: int) -> bool:
        """Return whether all have left, asking each so often."""
        return _are_over(self._going.values(), polls)

    def tickets(self) -> tuple[Mapping[int, Ticket], Mapping[int, Ticket]]:
        """Return what was posted in and out, by rank."""
        return dict(self._coming), dict(self._going)


def _posted(post: Callable[[int, int, HostBytes], Ticket], peer: int, at: int, data: HostBytes) -> Ticket:
    try:
        return post(peer, at, data)
    except CollectiveError as error:
        return Refused(error)


def _are_over(tickets: Iterable[Ticket], polls: int) -> bool:
    try:
        return all(_is_over(ticket, polls) for ticket in tickets)
    except CollectiveError:
        return False  # the long way finds it too, and what it means


def _is_over(ticket: Ticket, polls: int) -> bool:
    return any(ticket.done() for _ in range(polls))


#: What is done with a region of a slot: the slot and where, likewise its base (-1 for none) and the data, or the data
#: as they came with a frame. A place is None where it is the whole slot.
_Work = tuple[int, slice | None, int, slice | None, int, slice | None, Elements | None]


class Exchange:
    """One rank's calls of one decision.

    Args:
        endpoint: the rank's messages.
        control: the rank's side of the control messages.
        frames: the messages of its headers.
        plan: what the rank does, as it :func:`fits`; no step where the communicator's own collective does it.
        header: what it calls, whatever its number.
        dtype: of the slots.
        combine: as of :func:`~opmux.core.collectives.engine.run_rank`.
        timeout: likewise.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        control: Control,
        frames: Frames,
        plan: RankPlan,
        header: Header,
        dtype: np.dtype[Any],
        combine: Combine | None,
        timeout: float,
    ) -> None:
        self.endpoint, self.control, self.frames, self.plan, self.header = endpoint, control, frames, plan, header
        self.combine, self.timeout = combine, timeout
        self.before, self.after = header.around()
        sends = plan.steps[0].sends if plan.steps else ()
        self.riding = [(_behind(frames.out[s.target], s.data, dtype), s.data.slot, _place(plan, s.data)) for s in sends]
        self.work: list[_Work] = [
            _work(plan, receive, _behind(frames.into[receive.source], receive.into, dtype) if receive.first else None)
            for step in plan.steps
            for receive in (*step.locals, *step.receives)
            if receive.into.length
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
        control, frames = self.control, self.frames
        if control.failure is not None:
            raise control.failure.again()
        said = self.before + sequence.to_bytes(8, "little") + self.after
        for head in frames.heads:
            head[:] = said
        for frame, slot, place in self.riding:
            frame[:] = slots[slot] if place is None else slots[slot][place]
        messages = frames.messages
        started, is_done = None, False
        try:
            messages.start(sequence << NUMBER_BITS)
            if native is not None:
                started = _started(native)
            if messages.have_come(_SPINS):
                for told in frames.told:
                    if told.tobytes() != said:
                        break
                else:
                    if started is None:
                        self._do(slots)
                        is_done = True
                    if (started is None or _are_over((started,), _SPINS)) and messages.have_left(_SPINS):
                        control.passed(sequence)
                        return None
            return go_on(self._call(sequence, slots, started, is_done, owner))
        except BaseException as error:
            finish(self._call(sequence, slots, started, is_done, owner), error)
            raise

    def _do(self, slots: Sequence[Elements]) -> None:
        """Write and combine what has come."""
        for slot, place, base, base_place, data, data_place, arrived in self.work:
            into = slots[slot] if place is None else slots[slot][place]
            if arrived is None:
                arrived = slots[data] if data_place is None else slots[data][data_place]
            if base < 0 or self.combine is None:
                into[:] = arrived
            else:
                self.combine(slots[base] if base_place is None else slots[base][base_place], arrived, into)

    def _call(
        self, sequence: int, slots: Sequence[Elements], started: Ticket | None, is_done: bool, owner: object
    ) -> Call:
        """Return the call as it stands, to be ended by the long way."""
        header = replace(self.header, sequence=sequence)
        native = None if started is None else lambda: started
        call = Call(self.endpoint, self.plan, header, slots, self.combine, self.control, self.timeout, native, owner)
        call.told[call.rank] = header.pack()
        coming, going = self.frames.messages.tickets()
        call.frames = {peer: Wait(ticket, peer, 0, self.frames.into[peer]) for peer, ticket in coming.items()}
        call.headers = list(call.frames.values())
        call.outgoing = [Wait(ticket, peer, -1, self.frames.out[peer]) for peer, ticket in going.items()]
        for peer in going:
            call.sent[peer] = 1
        call.at = len(self.plan.steps) if is_done else 0
        return call


def fits(plan: RankPlan, itemsize: int) -> bool:
    """Return whether a rank's part of a collective is one exchange, its data riding with the headers."""
    sends = [(send.first, send.data) for step in plan.steps for send in step.sends]
    receives = [(receive.first, receive.into) for step in plan.steps for receive in step.receives]
    ride = all(first and region.length * itemsize <= RIDING for first, region in sends + receives)
    return ride and 1 < plan.ranks <= _MOST and not any(step.copied for step in plan.steps)


def _started(native: Callable[[], Ticket]) -> Ticket:
    try:
        return native()
    except CollectiveError as error:
        return Refused(error)


def _place(plan: RankPlan, region: Region) -> slice | None:
    """Return where a region lies in its slot; None where it is all of it."""
    if region.length == plan.sizes[region.slot]:
        return None
    return slice(region.first, region.first + region.length)


def _behind(frame: HostBytes, region: Region, dtype: np.dtype[Any]) -> Elements:
    """Return the elements of a region where they ride with a header."""
    return frame[SIZE : SIZE + region.length * dtype.itemsize].view(dtype)


def _work(plan: RankPlan, receive: Receive, arrived: Elements | None) -> _Work:
    base = (-1, None) if receive.base is None else (receive.base.slot, _place(plan, receive.base))
    data = (-1, None) if receive.data is None else (receive.data.slot, _place(plan, receive.data))
    return (receive.into.slot, _place(plan, receive.into), *base, *data, arrived)
