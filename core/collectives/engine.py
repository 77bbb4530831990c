"""A rank's part of a collective call, as a generator that posts messages and never waits.

Headers go out first, with a little of the data behind them, and travel beside the rest; a call ends only when every
rank's header is known and equal, so no result comes of calls that differ. Whatever goes wrong ends in a
``CollectiveError`` within the time limit, which the other ranks are told of.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from typing import Final

import numpy as np

from ..devices.driver import HostBytes
from ..errors import CollectiveError
from . import agreement
from .agreement import Header
from .communicator import Endpoint, Ticket
from .control import Control
from .failure import Cause
from .frames import Spare
from .rank_plan import RankPlan, RankStep, Receive, Region, Send
from .watch import Doubtful, Elements, Failed, Running, Wait, Watch

#: Writes ``base (+) arrived`` into its third argument, which may be its first.
Combine = Callable[[Elements, Elements, Elements], None]
#: Bytes of data that go along with a header.
RIDING: Final = agreement.FRAME - agreement.SIZE
#: Bits of a tag for the number of a message within its call; above them is the number of the call.
NUMBER_BITS: Final = 16
_NUMBERS: Final = 1 << NUMBER_BITS
#: How often messages are asked for before there is a look at anything else.
_POLLS: Final = 64


def tag(sequence: int, number: int) -> int:
    """Return the tag of a message, so that none reaches a later call: 0 is its header, others count from 1."""
    return sequence << NUMBER_BITS | (number if number < _NUMBERS else 1 + (number - 1) % (_NUMBERS - 1))


def rides(message: Send | Receive, itemsize: int) -> bool:
    """Return whether a message goes along with the header, its elements being of so many bytes."""
    region = message.data if isinstance(message, Send) else message.into
    return message.first and region.length * itemsize <= RIDING


class Call(Watch):
    """The state of one rank in one call.

    Args:
        endpoint: the rank's messages.
        plan: what it does.
        header: what it calls; ``header.sequence`` counts the calls of the mesh from 1.
        slots: the memory of each slot, one-dimensional and dense, in host memory, of ``plan.sizes`` elements each, or
            of any size where the plan does not touch it. After a failure it must stay as it is, since messages may
            still be read from it, or be on their way to it.
        combine: writes ``base (+) arrived`` into its third argument; None where nothing is combined.
        control: the rank's side of the control messages.
        timeout: seconds by the endpoint's clock.
        native: starts the communicator's own collective, which is done instead of the plan.
        owner: what the slots' memory belongs to, where a slot itself does not hold it: kept after a failure.
        spare: memory of messages of earlier calls; filled again.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        plan: RankPlan,
        header: Header,
        slots: Sequence[Elements],
        combine: Combine | None,
        control: Control,
        timeout: float,
        native: Callable[[], Ticket] | None = None,
        owner: object = None,
        spare: Spare | None = None,
    ) -> None:
        super().__init__(endpoint, header, control, timeout)
        self.native = native
        self.is_to_start = native is not None
        self.owner = owner
        self.plan = plan
        self.slots = slots
        self.bytes = [s.view(np.uint8) for s in slots]
        self.combine = combine
        self.frames: dict[int, Wait] = {}
        self.at = 0  # the step that comes next; what comes of it may be posted already
        self.spare = Spare() if spare is None else spare
        self.latest: object = None  # what was posted last: an interrupt may come before it is noted

    def run(self) -> Running:
        """Do the whole call, or what is left of it."""
        try:
            if not self.frames:
                self.exchange_headers()
            yield from self.transfer() if self.native is None else self.wait_for(self.native)
            while self.outgoing or self.headers:
                self.outgoing = [w for w in self.outgoing if not self.is_over(w)]
                left = self.outgoing or self.headers
                yield from self.pause(bool(left) and not self.moves(left))
        except Doubtful as doubt:
            while self.headers:
                yield from self.pause(True)
            peer = int(doubt.args[0])
            detail = f"a message of rank {peer} is not the one expected"
            raise Failed(self.failure(Cause.LOST, peer, detail)) from doubt

    def exchange_headers(self) -> None:
        """Post this rank's header to every other rank, and a receive for each of theirs."""
        said = self.header.pack()
        self.told[self.rank] = said
        riding = {s.target: self.raw(s.data) for s in self.plan.opening.sends if self.rides(s)}
        # Each begins with its neighbour, so that no rank is met by all at once.
        for step in range(1, self.endpoint.ranks):
            peer = (self.rank - step) % self.endpoint.ranks
            room = np.empty(agreement.FRAME, np.uint8)
            self.frames[peer] = Wait(self.post(False, peer, 0, room), peer, 0, room)
            self.headers.append(self.frames[peer])
        empty = framed(said)
        for step in range(1, self.endpoint.ranks):
            peer = (self.rank + step) % self.endpoint.ranks
            frame = framed(said, riding[peer]) if peer in riding else empty
            self.outgoing.append(Wait(self.post(True, peer, 0, frame), peer, -1, frame))

    def rides(self, message: Send | Receive) -> bool:
        """Return whether a message goes along with the header."""
        return rides(message, self.slots[0].itemsize if self.slots else 1)

    def post(self, out: bool, peer: int, number: int, data: HostBytes) -> Ticket:
        """Post a message out or in."""
        at = tag(self.sequence, number)
        self.latest = data
        try:
            if not out:
                return self.endpoint.receive(peer, at, data)
            self.sent[peer] = number + 1
            return self.endpoint.send(peer, at, data)
        except CollectiveError as error:
            raise self.gone(peer, error) from error

    def transfer(self) -> Running:
        """Make every step of the plan."""
        for step in self.plan.steps[self.at :]:
            kept = {id(r): self.snapshot(r) for r in step.copied}
            if any(not self.rides(receive) for receive in step.receives):
                yield from self.agree()
            self.begin(step)
            for local in step.locals:
                if self.is_read(local.into):
                    yield from self.free(local.into)
                assert local.data is not None  # local work reads this rank's memory
                base, data = kept.get(id(local), (None, None))
                self.put(local, self.view(local.data) if data is None else data, base)
            while self.incoming:
                still = []
                for wait in self.incoming:
                    if not self.is_over(wait):
                        still.append(wait)
                        continue
                    self.moved = True
                    receive = wait.receive
                    assert receive is not None  # headers are kept apart
                    if wait.region is None:
                        if self.is_read(receive.into):
                            yield from self.free(receive.into)
                        arrived = wait.room.view(self.slots[receive.into.slot].dtype)
                        self.put(receive, arrived, kept.get(id(receive), (None, None))[0])
                        if wait.number:
                            self.spare.keep(wait.room)
                self.incoming = still
                if still and not self.moves(still):
                    yield from self.pause(True)

    def wait_for(self, native: Callable[[], Ticket]) -> Running:
        """Run the communicator's own collective, of which nobody knows whom it waits for."""
        if not self.incoming:
            yield from self.agree()
            # Libraries tell their collectives apart by nothing but the order in which a rank starts them.
            while self.control.starts_later(self.sequence):
                yield from self.pause(True)
            self.is_to_start = False
            self.incoming.append(Wait(native(), -1, -1, np.empty(0, np.uint8)))
        (wait,) = self.incoming
        while not self.is_over(wait):
            if not self.moves(self.incoming):
                yield from self.pause(True)
        self.incoming.clear()

    def agree(self) -> Running:
        """Wait until every header is there, and all agree.

        No memory is given to be written before: where a message is longer than the memory that awaits it, Open MPI 5.0
        writes beyond the end (it copies straight from the sender's memory, and what length the sender says).
        """
        while self.headers:
            yield from self.pause(not self.moves(self.headers))

    def moves(self, waits: Sequence[Wait]) -> bool:
        """Return whether one of several messages is over soon: the library moves them on while it is asked."""
        tests = [wait.ticket.done for wait in waits]
        try:
            for _ in range(_POLLS // len(tests) + 1):
                for test in tests:
                    if test():
                        return True
        except CollectiveError:
            return True  # whoever asks for that one next sees what it means
        return False

    def begin(self, step: RankStep) -> None:
        """Post what a step sends and receives."""
        for receive in step.receives:
            if self.rides(receive):
                frame = self.frames[receive.source]
                behind = frame.room[agreement.SIZE : agreement.SIZE + self.raw(receive.into).nbytes]
                self.incoming.append(Wait(frame.ticket, frame.peer, 0, behind, None, receive))
        if self.posted is not None:
            self.incoming += self.posted
            self.posted = None
            return
        busy = [w.region for w in self.outgoing if w.region is not None]
        for receive in step.receives:
            into = receive.into
            if self.rides(receive):
                continue
            beside = receive.beside or any(into.overlaps(r) for r in busy)
            room = self.spare.take(self.raw(into).nbytes) if beside else self.raw(into)
            ticket = self.post(False, receive.source, receive.number, room)
            self.incoming.append(Wait(ticket, receive.source, receive.number, room, None if beside else into, receive))
        for send in step.sends:
            if self.rides(send):
                continue
            data = self.raw(send.data)
            ticket = self.post(True, send.target, send.number, data)
            self.outgoing.append(Wait(ticket, send.target, -1, data, send.data))

    def free(self, region: Region) -> Running:
        """Wait until no message that is still going out is read from a region."""
        while self.is_read(region):
            self.outgoing = [w for w in self.outgoing if not self.is_over(w)]
            yield from self.pause(self.is_read(region))

    def is_read(self, region: Region) -> bool:
        """Return whether a message that goes out, as far as is known, is read from a region."""
        return any(wait.region is not None and wait.region.overlaps(region) for wait in self.outgoing)

    def put(self, receive: Receive, data: Elements, base: Elements | None) -> None:
        """Write what arrived, combined with its base where there is one."""
        into = self.view(receive.into)
        if receive.base is None:
            np.copyto(into, data)
        elif into.size and self.combine is not None:
            self.combine(self.view(receive.base) if base is None else base, data, into)

    def snapshot(self, receive: Receive) -> tuple[Elements | None, Elements | None]:
        """Return copies of what a transfer reads of this rank: its base, and the data of local work."""
        base, data = (None if r is None else self.view(r).copy() for r in (receive.base, receive.data))
        return base, data

    def view(self, region: Region) -> Elements:
        """Return the elements of a region."""
        return self.slots[region.slot][region.first : region.first + region.length]

    def raw(self, region: Region) -> HostBytes:
        """Return the bytes of a region."""
        size = self.slots[region.slot].dtype.itemsize
        return self.bytes[region.slot][region.first * size : (region.first + region.length) * size]


def framed(said: bytes, data: HostBytes | None = None) -> HostBytes:
    """Return the message of a header, with data behind it."""
    frame = np.zeros(agreement.FRAME, np.uint8)
    frame[: agreement.SIZE] = np.frombuffer(said, np.uint8)
    if data is not None:
        frame[agreement.SIZE : agreement.SIZE + data.nbytes] = data
    return frame


def run_rank(call: Call) -> Running:
    """Do a rank's part of a collective, or what is left of it, as a generator.

    Yields:
        Whether anything has moved since it was last resumed.

    Raises:
        CollectiveError: it cannot complete; the mesh has failed then, on all ranks.
    """
    call.control.enter(call.sequence, call)
    try:
        yield from call.run()
    except BaseException as error:
        finish(call, error)
        raise
    finish(call, None)


def finish(call: Call, error: BaseException | None) -> None:
    """End a call: tell the others of what it failed with, and take back its messages.

    Raises:
        CollectiveError: in place of what only this module knows.
    """
    try:
        if isinstance(error, Failed):
            raise call.control.fail(error.failure).error() from error.__cause__
        if error is not None:  # this rank's own doing: an interrupt, or no memory to combine in
            what = f"{type(error).__name__} on rank {call.rank}"
            call.control.fail(call.failure(Cause.ABORTED, call.rank, what))
    finally:
        call.give_up(call.owner, call.slots, call.latest, is_cut=error is not None and not isinstance(error, Failed))
        call.control.leave(call.sequence)


#: Rounds without news before a process lets others run, and before it sleeps; the shortest and the longest sleep in
#: seconds. A message between two processes of a machine takes microseconds, giving up the processor may cost more.
_SPINS: Final = 20
_TURNS: Final = 2000
_NAPS: Final = (2e-5, 1e-3)


def rest(idle: int) -> None:
    """Let others run, the longer the more rounds brought nothing."""
    if idle < _SPINS:
        return
    if idle < _TURNS:
        os.sched_yield() if hasattr(os, "sched_yield") else time.sleep(0)
        return
    time.sleep(min(_NAPS[1], _NAPS[0] * (1 + (idle - _TURNS) / 100)))
