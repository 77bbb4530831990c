"""Calls done without a generator, as long as no message is long in coming, and handed to one where one is.

Each step of a rank's part is posted, awaited and worked off in turn. What is the same in every call of a decision is
kept from one to the next; the memory that messages are received in beside their place serves those of all decisions.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from inspect import GEN_CREATED, getgeneratorstate
from typing import Any, Final

import numpy as np

from ..devices.driver import HostBytes
from ..errors import CollectiveError
from .agreement import SIZE, Header
from .communicator import Endpoint, Ticket
from .control import Control
from .engine import Call, Combine, finish, rides, run_rank, tag
from .frames import KEPT, Frames, are_over, posted
from .rank_plan import RankPlan, RankStep, Receive, Region, Send
from .watch import Elements, Refused, Running, Wait

#: How often a message is asked for before others get a turn.
_SPINS: Final = 4000
#: Of more ranks the messages are what takes the time, and each would hold memory for every other one.
_MOST: Final = 64
#: The first slot that holds neither what the rank brings nor its result.
_SCRATCH: Final = 2
_EMPTY: Final = np.empty(0, np.uint8)

#: What is done with a region of a slot: the slot and where, likewise its base (-1 for none) and the data, or the data
#: as they came with a message. A place is None where it is the whole slot.
_Work = tuple[int, slice | None, int, slice | None, int, slice | None, Elements | None]


@dataclass(frozen=True, slots=True)
class _Stage:
    """A step of the plan, beside what rides with the headers.

    Attributes:
        receives: messages in, the memory of those that are received beside their place, and the bytes of that place.
        sends: messages out, and the bytes of what is sent.
        work: what is written once all have come.
        is_read: whether work may write only once all have left, since they are read from there.
    """

    receives: tuple[tuple[Receive, HostBytes | None, slice], ...]
    sends: tuple[tuple[Send, slice], ...]
    work: tuple[_Work, ...]
    is_read: bool


class Exchange:
    """One rank's calls of one decision.

    Args:
        endpoint: the rank's messages.
        control: the rank's side of the control messages.
        frames: the messages of its headers.
        plan: what the rank does, as it :func:`fits`; no step where the communicator's own collective does it.
        header: what it calls, whatever its number.
        dtype: of the slots.
        combine: as of :class:`~opmux.core.collectives.engine.Call`.
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
    ) -> None:
        self.endpoint, self.control, self.frames, self.plan, self.header = endpoint, control, frames, plan, header
        self.combine, self.dtype = combine, dtype
        self.before, self.after = header.around()
        self.riding = [
            (self._behind(frames.out[m.target], m.data), m.data.slot, self._place(m.data))
            for m in plan.opening.sends
            if self._rides(m)
        ]
        framed = {m.into.slot: m for m in plan.opening.receives if self._stays(m)}
        scratch = {i: size * dtype.itemsize for i, size in enumerate(plan.sizes) if i >= _SCRATCH and i not in framed}
        #: Memory beside a message's place, for the step that needs the most.
        self.room, *rooms = frames.rooms([max(map(self._beside, plan.steps), default=0), *scratch.values()])
        found = {i: room.view(dtype) for i, room in zip(scratch, rooms, strict=True)}
        found |= {i: self._behind(frames.into[m.source], m.into) for i, m in framed.items()}
        self.scratch = [found[i] for i in sorted(found)]
        self.stages = [self._stage(step, tuple(framed.values())) for step in plan.steps]

    def run(
        self,
        sequence: int,
        slots: Sequence[Elements],
        native: Callable[[], Ticket] | None,
        owner: object,
        timeout: float,
    ) -> Running | None:
        """Do a call; return what is left of it where another rank is awaited.

        Args:
            sequence: the number of the call.
            slots: what the rank brings, and the memory of its result, as of
                :class:`~opmux.core.collectives.engine.Call`.
            native: likewise.
            owner: likewise.
            timeout: likewise.

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
        state = _State(slots=[*slots, *self.scratch])
        rest: Running | None = None
        try:
            messages.start(tag(sequence, 0))
            # Nothing else may be written to before all agree on lengths: see Call.agree.
            if messages.have_come(_SPINS) and _all_say(frames, said):
                over = self._steps(sequence, state) if native is None else _started(native, state)
                if over and messages.have_left(_SPINS):
                    control.passed(sequence)
                    return None
            rest = run_rank(self._call(sequence, state, native, owner, timeout))
            # A generator that was never begun ends without a word, and here messages are under way already.
            return None if next(rest, None) is None else rest
        except BaseException as error:
            if rest is None or getgeneratorstate(rest) == GEN_CREATED:
                finish(self._call(sequence, state, native, owner, timeout), error)
            else:
                rest.close()
            raise

    def _steps(self, sequence: int, state: _State) -> bool:
        """Do the steps; return whether all are done, and everything that they sent has left."""
        coming, going = state.coming, state.going
        for stage in self.stages:
            if stage.receives or stage.sends:
                self._post(sequence, stage, state)
                if coming and not _are_over(coming):
                    return False
                if stage.is_read and not _are_over(going):
                    return False
            if stage.work:
                self._do(stage.work, state.slots)
            state.at += 1
            if coming:
                coming.clear()
            if going:
                if not _are_over(going):
                    return False
                going.clear()
        return True

    def _post(self, sequence: int, stage: _Stage, state: _State) -> None:
        """Post what does not ride with the headers, and note what comes and what goes."""
        endpoint = self.endpoint
        slots = state.bytes = state.bytes or [slot.view(np.uint8) for slot in state.slots]
        state.posted = state.at
        for receive, beside, place in stage.receives:
            source, number = receive.source, receive.number
            room = slots[receive.into.slot][place] if beside is None else beside
            ticket = posted(endpoint.receive, source, tag(sequence, number), room)
            state.coming.append(Wait(ticket, source, number, room, receive.into if beside is None else None, receive))
        for send, place in stage.sends:
            data = slots[send.data.slot][place]
            ticket = posted(endpoint.send, send.target, tag(sequence, send.number), data)
            state.going.append(Wait(ticket, send.target, -1, data, send.data))

    def _do(self, work: Iterable[_Work], slots: Sequence[Elements]) -> None:
        """Write and combine what has come."""
        for slot, place, base, base_place, data, data_place, arrived in work:
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
        state: _State,
        native: Callable[[], Ticket] | None,
        owner: object,
        timeout: float,
    ) -> Call:
        """Return the call as it stands, to be ended by the long way."""
        header = replace(self.header, sequence=sequence)
        known = self.endpoint, self.plan, header, state.slots, self.combine, self.control, timeout, native
        call = Call(*known, owner=(owner, self.room))
        call.told[call.rank] = header.pack()
        told, said = self.frames.messages.tickets()
        call.frames = {peer: Wait(ticket, peer, 0, self.frames.into[peer]) for peer, ticket in told.items()}
        call.headers = list(call.frames.values())
        call.outgoing = [Wait(ticket, peer, -1, self.frames.out[peer]) for peer, ticket in said.items()] + state.going
        for peer in said:
            call.sent[peer] = 1
        for stage in self.stages[: state.posted + 1]:
            for send, _ in stage.sends:
                call.sent[send.target] = send.number + 1
        call.at = state.at
        if native is not None:
            call.incoming, call.is_to_start = state.coming, not state.coming
        elif state.posted == state.at:
            call.posted = state.coming
        return call

    def _stage(self, step: RankStep, framed: Sequence[Receive]) -> _Stage:
        """Return a step made ready."""
        rooms: dict[int, HostBytes] = {}
        used = 0
        for i, m in enumerate(step.receives):
            if m.beside and not self._rides(m):
                rooms[i] = self.room[used : used + self._bytes(m.into)]
                used += self._bytes(m.into)
        receives = tuple(
            (m, rooms.get(i), self._span(m.into)) for i, m in enumerate(step.receives) if not self._rides(m)
        )  # fmt: skip
        sends = tuple((m, self._span(m.data)) for m in step.sends if not self._rides(m))
        arrived = [rooms[i].view(self.dtype) if i in rooms else self._arrived(m) for i, m in enumerate(step.receives)]
        work: list[tuple[Receive, Elements | None]] = [(m, None) for m in step.locals]
        work += [
            (m, data) for m, data in zip(step.receives, arrived, strict=True) if data is not None and m not in framed
        ]  # fmt: skip
        return _Stage(
            receives,
            sends,
            tuple(self._work(m, data) for m, data in work if m.into.length),
            any(send.data.overlaps(m.into) for send, _ in sends for m, _ in work),
        )

    def _rides(self, message: Send | Receive) -> bool:
        return rides(message, self.dtype.itemsize)

    def _stays(self, receive: Receive) -> bool:
        """Return whether what rides can stay where it came: as a whole slot, which nothing has written before."""
        into, plan = receive.into, self.plan
        if not self._rides(receive) or receive.base is not None or into.slot < _SCRATCH:
            return False
        written = [
            m
            for step in plan.steps[: plan.steps.index(plan.opening) + 1]
            for m in (*step.locals, *step.receives)
            if m.into.slot == into.slot
        ]
        return written == [receive] and into.length == plan.sizes[into.slot]

    def _beside(self, step: RankStep) -> int:
        """Return the bytes that a step receives beside their place."""
        return sum(self._bytes(m.into) for m in step.receives if m.beside and not self._rides(m))

    def _bytes(self, region: Region) -> int:
        return region.length * self.dtype.itemsize

    def _arrived(self, receive: Receive) -> Elements | None:
        """Return the elements that ride with a header; None of a message that comes to its place."""
        return self._behind(self.frames.into[receive.source], receive.into) if self._rides(receive) else None

    def _span(self, region: Region) -> slice:
        """Return where the bytes of a region lie in those of its slot."""
        first = region.first * self.dtype.itemsize
        return slice(first, first + self._bytes(region))

    def _place(self, region: Region) -> slice | None:
        """Return where a region lies in its slot; None where it is all of it."""
        if region.length == self.plan.sizes[region.slot]:
            return None
        return slice(region.first, region.first + region.length)

    def _behind(self, frame: HostBytes, region: Region) -> Elements:
        """Return the elements of a region where they ride with a header."""
        return frame[SIZE : SIZE + self._bytes(region)].view(self.dtype)

    def _work(self, receive: Receive, arrived: Elements | None) -> _Work:
        base = (-1, None) if receive.base is None else (receive.base.slot, self._place(receive.base))
        data = (-1, None) if receive.data is None else (receive.data.slot, self._place(receive.data))
        return (receive.into.slot, self._place(receive.into), *base, *data, arrived)


class _State:
    """How far a call has come: its slots, the step it is in, the last one that was posted, and that one's messages."""

    __slots__ = ("at", "bytes", "coming", "going", "posted", "slots")

    def __init__(self, slots: list[Elements]) -> None:
        self.slots = slots
        self.bytes: list[HostBytes] | None = None
        self.at, self.posted = 0, -1
        self.coming: list[Wait] = []
        self.going: list[Wait] = []


def fits(plan: RankPlan, itemsize: int) -> bool:
    """Return whether a rank's part can be done without a generator.

    It reads nothing that the same step overwrites, and what is kept from call to call, the slots beside input and
    output included, is little.
    """
    if not 1 < plan.ranks <= _MOST or any(step.copied for step in plan.steps):
        return False
    beside = (sum(m.into.length for m in step.receives if m.beside and not rides(m, itemsize)) for step in plan.steps)
    return (max(beside, default=0) + sum(plan.sizes[_SCRATCH:])) * itemsize <= KEPT


def _all_say(frames: Frames, said: bytes) -> bool:
    """Return whether the headers that came are this rank's own."""
    for told in frames.told:  # noqa: SIM110 - a generator takes longer than what it asks
        if told.tobytes() != said:
            return False
    return True


def _are_over(waits: Iterable[Wait]) -> bool:
    """Return whether messages are over soon; False also where one never will."""
    return are_over([wait.ticket for wait in waits], _SPINS)


def _started(native: Callable[[], Ticket], state: _State) -> bool:
    """Start the communicator's own collective, and return whether it is soon over."""
    ticket: Ticket
    try:
        ticket = native()
    except CollectiveError as error:
        ticket = Refused(error)
    state.coming.append(Wait(ticket, -1, -1, _EMPTY))
    return _are_over(state.coming)
