"""Calls that are one exchange of messages: done without a generator, and handed to one where a message is awaited.

Where all that a rank sends goes out at once, or the communicator has a collective of its own, nothing is left to
decide once the messages are posted. What is the same in every call of a decision is kept from one to the next.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from inspect import GEN_CREATED, getgeneratorstate
from typing import Any, Final

import numpy as np

from ..devices.driver import HostBytes
from ..errors import CollectiveError
from .agreement import FRAME, SIZE, Header
from .communicator import Endpoint, Standing, Ticket
from .control import Control
from .engine import Call, Combine, Elements, Refused, Running, Wait, finish, go_on, rides, tag
from .rank_plan import RankPlan, Receive, Region

#: How often a message is asked for before others get a turn.
_SPINS: Final = 4000
#: Of more ranks the messages are what takes the time, and each would hold memory for every other one.
_MOST: Final = 64
#: Bytes that are kept from one call of a decision to the next, at most.
KEPT: Final = 1 << 24
_EMPTY: Final = np.empty(0, np.uint8)


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
        return _pass(self._coming.values(), polls)

    def have_left(self, polls: int) -> bool:
        """Return whether all have left, asking each so often."""
        return _pass(self._going.values(), polls)

    def tickets(self) -> tuple[Mapping[int, Ticket], Mapping[int, Ticket]]:
        """Return what was posted in and out, by rank."""
        return dict(self._coming), dict(self._going)


def _posted(post: Callable[[int, int, HostBytes], Ticket], peer: int, at: int, data: HostBytes) -> Ticket:
    try:
        return post(peer, at, data)
    except CollectiveError as error:
        return Refused(error)


def _are_over(waits: Iterable[Wait]) -> bool:
    """Return whether messages are over soon; False also where one never will."""
    return _pass([wait.ticket for wait in waits], _SPINS)


def _pass(tickets: Iterable[Ticket], polls: int) -> bool:
    try:
        for ticket in tickets:
            if not ticket.done() and not any(ticket.done() for _ in range(polls)):
                return False
    except CollectiveError:
        return False  # the long way finds it too, and what it means
    return True


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
        self.itemsize = dtype.itemsize
        self.before, self.after = header.around()
        first = plan.opening
        self.riding = [
            (_behind(frames.out[m.target], m.data, dtype), m.data.slot, _place(plan, m.data))
            for m in first.sends
            if rides(m, dtype.itemsize)
        ]
        self.sends = [m for m in first.sends if not rides(m, dtype.itemsize)]
        self.receives = [m for m in first.receives if not rides(m, dtype.itemsize)]
        #: Where a message is received beside its place: kept from call to call, since fresh memory costs page faults.
        self.rooms = {(m.source, m.number): np.empty(self._bytes(m.into), np.uint8) for m in self.receives if m.beside}
        self.work: list[_Work] = [
            _work(plan, receive, self._arrived(receive, dtype))
            for step in plan.steps
            for receive in (*step.locals, *step.receives)
            if receive.into.length and (receive.beside or receive.data is not None or rides(receive, dtype.itemsize))
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
        coming: list[Wait] = []
        going: list[Wait] = []
        is_done = False
        rest: Running | None = None
        try:
            messages.start(tag(sequence, 0))
            # Nothing else may be written to before all agree on lengths: see Call.agree.
            if messages.have_come(_SPINS) and all(told.tobytes() == said for told in frames.told):
                if native is not None:
                    coming.append(Wait(_started(native), -1, -1, _EMPTY))
                elif self.receives or self.sends:
                    self._exchange(sequence, slots, coming, going)
                if not coming or _are_over(coming):
                    if native is None:
                        self._do(slots)
                        is_done = True
                    if messages.have_left(_SPINS) and (not going or _are_over(going)):
                        control.passed(sequence)
                        return None
            rest = go_on(self._call(sequence, slots, native, coming, going, is_done, owner))
            # A generator that was never begun ends without a word, and here messages are under way already.
            return None if next(rest, None) is None else rest
        except BaseException as error:
            if rest is None or getgeneratorstate(rest) == GEN_CREATED:
                finish(self._call(sequence, slots, native, coming, going, is_done, owner), error)
            else:
                rest.close()
            raise

    def _bytes(self, region: Region) -> int:
        return region.length * self.itemsize

    def _arrived(self, receive: Receive, dtype: np.dtype[Any]) -> Elements | None:
        """Return the elements that a message brings, where it does not bring them to their place."""
        if receive.data is not None:
            return None
        if rides(receive, dtype.itemsize):
            return _behind(self.frames.into[receive.source], receive.into, dtype)
        return self.rooms[receive.source, receive.number].view(dtype)

    def _raw(self, slots: Sequence[Elements], region: Region) -> HostBytes:
        """Return the bytes of a region."""
        first = region.first * self.itemsize
        return slots[region.slot].view(np.uint8)[first : first + self._bytes(region)]

    def _exchange(self, sequence: int, slots: Sequence[Elements], coming: list[Wait], going: list[Wait]) -> None:
        """Post what does not ride with the headers, and note what comes and what goes."""
        for receive in self.receives:
            room = self.rooms[receive.source, receive.number] if receive.beside else self._raw(slots, receive.into)
            ticket = _posted(self.endpoint.receive, receive.source, tag(sequence, receive.number), room)
            place = None if receive.beside else receive.into
            coming.append(Wait(ticket, receive.source, receive.number, room, place, receive))
        for send in self.sends:
            data = self._raw(slots, send.data)
            ticket = _posted(self.endpoint.send, send.target, tag(sequence, send.number), data)
            going.append(Wait(ticket, send.target, -1, data, send.data))

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
        self,
        sequence: int,
        slots: Sequence[Elements],
        native: Callable[[], Ticket] | None,
        coming: list[Wait],
        going: list[Wait],
        is_done: bool,
        owner: object,
    ) -> Call:
        """Return the call as it stands, to be ended by the long way."""
        header = replace(self.header, sequence=sequence)
        call = Call(self.endpoint, self.plan, header, slots, self.combine, self.control, self.timeout, native, owner)
        call.told[call.rank] = header.pack()
        told, said = self.frames.messages.tickets()
        call.frames = {peer: Wait(ticket, peer, 0, self.frames.into[peer]) for peer, ticket in told.items()}
        call.headers = list(call.frames.values())
        call.outgoing = [Wait(ticket, peer, -1, self.frames.out[peer]) for peer, ticket in said.items()] + going
        for peer in said:
            call.sent[peer] = 1
        if is_done:
            call.at = len(self.plan.steps)
        elif native is not None:
            call.incoming, call.is_to_start = coming, not coming
        if coming or going:
            for send in self.sends:
                call.sent[send.target] = send.number + 1
            call.posted = coming if native is None and not is_done else None
        return call


def fits(plan: RankPlan, itemsize: int) -> bool:
    """Return whether a rank's part of a collective is one exchange, and local work that writes nothing still sent.

    What is kept from call to call, the slots beside input and output included, has to be little.
    """
    if not 1 < plan.ranks <= _MOST or any(step.copied for step in plan.steps):
        return False
    if any((step.sends or step.receives) and step is not plan.opening for step in plan.steps):
        return False
    beside = sum(m.into.length for m in plan.opening.receives if m.beside and not rides(m, itemsize))
    if (beside + sum(plan.sizes[2:])) * itemsize > KEPT:
        return False
    written = [work.into for step in plan.steps for work in (*step.locals, *step.receives)]
    read = [send.data for step in plan.steps for send in step.sends if not rides(send, itemsize)]
    return not any(region.overlaps(other) for region in read for other in written)


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
