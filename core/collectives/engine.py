"""A rank's part of a collective call, as a generator that posts messages and never waits.

Headers go out first, with a little of the data behind them, and travel beside the rest; a call ends only when every
rank's header is known and equal, so no result comes of calls that differ. Whatever goes wrong ends in a
``CollectiveError`` within the time limit, which the other ranks are told of.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Generator, Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from ..devices.driver import HostBytes
from ..errors import CollectiveError
from . import agreement
from .agreement import Header
from .communicator import Endpoint, Ticket
from .control import Control, Status, stuck
from .failure import Cause, MeshFailure
from .rank_plan import RankPlan, RankStep, Receive, Region, Send

Elements = NDArray[Any]
#: Writes ``base (+) arrived`` into its third argument, which may be its first.
Combine = Callable[[Elements, Elements, Elements], None]
#: Yields whether anything has moved since it was last resumed.
Running = Generator[bool, None, None]

#: Bytes of data that go along with a header.
RIDING: Final = agreement.FRAME - agreement.SIZE
#: Bits of a tag for the number of a message within its call; above them is the number of the call.
NUMBER_BITS: Final = 16
_NUMBERS: Final = 1 << NUMBER_BITS
#: Parts of the time limit at which a rank that waits asks the others what they wait for.
_ASKED_AT: Final = (0.4, 0.6, 0.75, 0.9)
#: Answers older than this part of the time limit do not count.
_FRESH: Final = 0.3
#: While waiting, news are looked for this often: every so many rounds, and in every such part of the time limit.
_ROUNDS: Final = 8
_PART: Final = 1 / 64
#: How often messages are asked for before there is a look at anything else.
_POLLS: Final = 64
#: This part of the time limit a rank waits for the headers, once another one says that they differ.
_GRACE: Final = 0.1


def tag(sequence: int, number: int) -> int:
    """Return the tag of a message, so that none reaches a later call: 0 is its header, others count from 1."""
    return sequence << NUMBER_BITS | (number if number < _NUMBERS else 1 + (number - 1) % (_NUMBERS - 1))


class _Failed(Exception):
    """Ends a call; carries what is known of the failure."""

    def __init__(self, failure: MeshFailure) -> None:
        self.failure = failure


class _Doubtful(Exception):
    """A message that is not what was expected; the headers will tell why."""


class Wait:
    """A message under way: with whom, its number (-1 for one that goes out), and what it is read from or written to."""

    __slots__ = ("number", "peer", "receive", "region", "room", "ticket")

    def __init__(
        self,
        ticket: Ticket,
        peer: int,
        number: int,
        room: HostBytes,
        region: Region | None = None,
        receive: Receive | None = None,
    ) -> None:
        self.ticket = ticket
        self.peer = peer
        self.number = number
        self.room = room
        self.region = region
        self.receive = receive


def rides(message: Send | Receive, itemsize: int) -> bool:
    """Return whether a message goes along with the header, its elements being of so many bytes."""
    region = message.data if isinstance(message, Send) else message.into
    return message.first and region.length * itemsize <= RIDING


class Refused:
    """A message that could not be posted, as a ticket."""

    def __init__(self, error: CollectiveError) -> None:
        self._error = error

    def done(self) -> bool:
        """Say why."""
        raise self._error


class Call:
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
        spare: memory for messages of earlier calls, by size; filled again.
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
        spare: dict[int, list[HostBytes]] | None = None,
    ) -> None:
        self.endpoint = endpoint
        self.native = native
        self.is_to_start = native is not None  # whether the communicator's own collective is still to be started
        self.owner = owner
        self.rank = endpoint.rank
        self.plan = plan
        self.header = header
        self.sequence = header.sequence
        self.slots = slots
        self.bytes = [s.view(np.uint8) for s in slots]
        self.combine = combine
        self.control = control
        self.started = endpoint.now()
        self.timeout = timeout
        self.told: list[bytes | None] = [None] * endpoint.ranks
        self.frames: dict[int, Wait] = {}
        self.headers: list[Wait] = []
        self.outgoing: list[Wait] = []
        self.incoming: list[Wait] = []
        self.sent = [0] * endpoint.ranks
        self.moved = False
        self.at = 0  # the step that comes next
        self.posted: list[Wait] | None = None  # what comes of that step, where it was posted before
        self.rounds = 0
        self.looked = self.started
        self.grace = self.started + timeout
        self.questions = [self.started + part * timeout for part in reversed(_ASKED_AT)]
        self.spare = {} if spare is None else spare

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
        except _Doubtful as doubt:
            while self.headers:
                yield from self.pause(True)
            peer = int(doubt.args[0])
            detail = f"a message of rank {peer} is not the one expected"
            raise _Failed(self.failure(Cause.LOST, peer, detail)) from doubt

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
                            self.spare.setdefault(wait.room.nbytes, []).append(wait.room)
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
            room = self.room(self.raw(into).nbytes) if beside else self.raw(into)
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

    def room(self, nbytes: int) -> HostBytes:
        """Return memory for a message that cannot be received where it belongs."""
        spare = self.spare.get(nbytes)
        return spare.pop() if spare else np.empty(nbytes, np.uint8)

    def is_over(self, wait: Wait) -> bool:
        """Return whether a message has arrived, or has left."""
        try:
            return wait.ticket.done()
        except CollectiveError as error:
            raise self.gone(wait.peer, error) from error

    def gone(self, peer: int, error: CollectiveError) -> Exception:
        """Return what a message that will never come means."""
        lost = self.endpoint.lost()
        if peer in lost or (peer < 0 and lost) or getattr(error, "cause", None) == Cause.DIED:
            return _Failed(self.failure(Cause.DIED, peer if peer >= 0 else next(iter(lost), -1)))
        return _Doubtful(peer, str(error))

    def pause(self, needed: bool) -> Running:
        """Look for news, and yield where there is nothing to do."""
        self.take_headers()
        if not needed:
            return
        self.rounds += 1
        now = self.endpoint.now()
        if self.rounds % _ROUNDS == 0 or now >= self.looked + self.timeout * _PART:
            self.looked = now
            self.control.poll()
            self.look(now)
        moved, self.moved = self.moved, False
        yield moved

    def take_headers(self) -> None:
        """Take the headers that came; once all are there, compare them."""
        if not self.headers:
            return
        still = []
        for wait in self.headers:
            try:
                over = wait.ticket.done()
            except CollectiveError as error:
                found = self.gone(wait.peer, error)
                if isinstance(found, _Failed):
                    raise found from error
                detail = f"the header of rank {wait.peer} has another length; install the same opmux for every process"
                raise _Failed(self.failure(Cause.MISMATCH, wait.peer, detail)) from error
            if over:
                self.moved = True
                self.told[wait.peer] = wait.room[: agreement.SIZE].tobytes()
            else:
                still.append(wait)
        self.headers = still
        if not still:
            self.compare()

    def compare(self) -> None:
        """Compare the headers that are there."""
        found = agreement.compare(self.told, self.rank)
        if found is not None:
            raise _Failed(found)

    def look(self, now: float) -> None:
        """End the call where news, or the time, say so."""
        known = self.control.failure
        if known is not None and not self.will_see_itself(known, now):
            raise _Failed(known)
        lost, left = self.endpoint.lost(), self.control.left
        for wait in self.waits():
            if wait.peer < 0 and lost:
                raise _Failed(self.failure(Cause.DIED, next(iter(lost))))
            if wait.peer in lost:
                raise _Failed(self.failure(Cause.DIED, wait.peer))
            if wait.number == 0 and left.get(wait.peer, self.sequence) < self.sequence:
                count = left[wait.peer]
                detail = f"rank {wait.peer} has closed the mesh or ended after {count} call{'s' * (count != 1)}"
                raise _Failed(self.failure(Cause.LEFT, wait.peer, detail))
        if now >= self.started + self.timeout:
            raise _Failed(self.too_late(now))
        if self.questions and now >= self.questions[-1]:
            self.questions.pop()
            self.control.ask()

    def will_see_itself(self, known: MeshFailure, now: float) -> bool:
        """Return whether the headers, which are on their way, will show a failure with all that is wrong."""
        if known.cause is not Cause.MISMATCH or known.sequence != self.sequence or not self.headers:
            return False
        self.grace = min(self.grace, now + self.timeout * _GRACE)
        return now < self.grace

    def waits(self) -> list[Wait]:
        """Return the messages that this rank waits for, the headers first, which data rides with."""
        incoming = (w for w in (*self.incoming, *(self.posted or ())) if w.number)
        return [*self.headers, *incoming, *(w for w in self.outgoing if not _has_left(w))]

    def status(self) -> Status:
        """Return what this rank waits for."""
        first = next(iter(self.waits()), None)
        peer, number = (-1, -1) if first is None else (first.peer, first.number)
        return Status(self.sequence, peer, number, tuple(self.sent))

    def too_late(self, now: float) -> MeshFailure:
        """Return who is at fault when the time is over."""
        found = agreement.compare(self.told, self.rank)
        if found is not None:
            return found
        lost, fresh = self.endpoint.lost(), now - _FRESH * self.timeout
        waits = self.waits()
        if any(w.peer < 0 for w in waits):
            return self.failure(*self.absent(fresh))
        traced = []
        for wait in waits:
            status = Status(self.sequence, wait.peer, wait.number, tuple(self.sent))
            traced.append(stuck(self.control, status, fresh, lost))
        if not traced:  # this rank itself was away for longer than the limit
            return self.failure(Cause.LATE, self.rank, f"rank {self.rank} was away for {now - self.started:.3g} s")
        rank, cause = min(traced, key=lambda pair: _WORST.index(pair[1]))
        detail = {
            Cause.LATE: f"rank {rank} did not take part within {self.timeout:g} s",
            Cause.LOST: f"a message that rank {rank} sent did not arrive within {self.timeout:g} s",
        }
        return self.failure(cause, rank, detail.get(cause, ""))

    def absent(self, fresh: float) -> tuple[Cause, int]:
        """Return the first rank that does not take part, where a chain of waiting ranks is not known."""
        lost, heard = self.endpoint.lost(), self.control.heard
        others = [r for r in range(self.endpoint.ranks) if r != self.rank]
        found = next((r for r in others if r not in heard or heard[r][0] < fresh), self.rank)
        gone = next(iter(lost), None)
        return (Cause.LATE, found) if gone is None else (Cause.DIED, gone)

    def failure(self, cause: Cause, rank: int, detail: str = "") -> MeshFailure:
        """Return a failure of this call that this rank has seen."""
        return MeshFailure(self.header.collective, self.sequence, rank, cause, self.rank, detail)

    def give_up(self) -> None:
        """Take back every message; the memory of those that had begun is kept as long as the process lives."""
        waits = self.waits()
        for wait in waits:
            if not isinstance(wait.ticket, Refused):
                self.endpoint.cancel(wait.ticket)
        if waits:
            _kept.append((self.owner, self.slots, waits))


#: What messages of calls that failed may still be read from, or written to. A failed mesh makes no further calls, so
#: this grows by one call for each mesh that fails.
_kept: Final[list[object]] = []


def framed(said: bytes, data: HostBytes | None = None) -> HostBytes:
    """Return the message of a header, with data behind it."""
    frame = np.zeros(agreement.FRAME, np.uint8)
    frame[: agreement.SIZE] = np.frombuffer(said, np.uint8)
    if data is not None:
        frame[agreement.SIZE : agreement.SIZE + data.nbytes] = data
    return frame


def _has_left(wait: Wait) -> bool:
    try:
        return wait.ticket.done()
    except CollectiveError:  # whoever waits for it will see why
        return False


#: Which finding of several explains the others.
_WORST: Final = (Cause.DIED, Cause.LEFT, Cause.LOST, Cause.LATE)


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
        if isinstance(error, _Failed):
            raise call.control.fail(error.failure).error() from error.__cause__
        if error is not None:  # this rank's own doing: an interrupt, or no memory to combine in
            what = f"{type(error).__name__} on rank {call.rank}"
            call.control.fail(call.failure(Cause.ABORTED, call.rank, what))
    finally:
        call.give_up()
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
