"""What a rank knows of a call under way: what it waits for, what the others have told, and who is at fault.

A rank that waits looks for news, asks the others what they wait for, and ends the call within the time limit.
"""

from __future__ import annotations

from collections.abc import Generator
from typing import Any, Final

from numpy.typing import NDArray

from ..devices.driver import HostBytes
from ..errors import CollectiveError
from . import agreement
from .agreement import Header
from .communicator import Endpoint, Ticket
from .control import Control, Status, stuck
from .failure import Cause, MeshFailure
from .rank_plan import Receive, Region

Elements = NDArray[Any]
#: Yields whether anything has moved since it was last resumed.
Running = Generator[bool, None, None]

#: Parts of the time limit at which a rank that waits asks the others what they wait for.
_ASKED_AT: Final = (0.4, 0.6, 0.75, 0.9)
#: Answers older than this part of the time limit do not count.
_FRESH: Final = 0.3
#: While waiting, news are looked for this often: every so many rounds, and in every such part of the time limit.
_ROUNDS: Final = 8
_PART: Final = 1 / 64
#: This part of the time limit a rank waits for the headers, once another one says that they differ.
_GRACE: Final = 0.1


class Failed(Exception):
    """Ends a call; carries what is known of the failure."""

    def __init__(self, failure: MeshFailure) -> None:
        self.failure = failure


class Doubtful(Exception):
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


class Refused:
    """A message that could not be posted, as a ticket."""

    def __init__(self, error: CollectiveError) -> None:
        self._error = error

    def done(self) -> bool:
        """Say why."""
        raise self._error


class Watch:
    """One rank's view of a call.

    Args:
        endpoint: the rank's messages.
        header: what it calls.
        control: the rank's side of the control messages.
        timeout: seconds by the endpoint's clock.

    Attributes:
        told: what the ranks have told of their calls, packed; None where it is not known.
        headers: messages in that bring the rest of it.
        outgoing, incoming: messages with data.
        posted: messages in of a step that was posted before, where there is one.
        sent: how many messages have gone to each rank, the header included.
        is_to_start: whether the communicator's own collective is still to be started.
    """

    def __init__(self, endpoint: Endpoint, header: Header, control: Control, timeout: float) -> None:
        self.endpoint = endpoint
        self.rank = endpoint.rank
        self.header = header
        self.sequence = header.sequence
        self.control = control
        self.started = endpoint.now()
        self.timeout = timeout
        self.told: list[bytes | None] = [None] * endpoint.ranks
        self.headers: list[Wait] = []
        self.outgoing: list[Wait] = []
        self.incoming: list[Wait] = []
        self.posted: list[Wait] | None = None
        self.sent = [0] * endpoint.ranks
        self.is_to_start = False
        self.moved = False
        self.rounds = 0
        self.looked = self.started
        self.grace = self.started + timeout
        self.questions = [self.started + part * timeout for part in reversed(_ASKED_AT)]

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
            return Failed(self.failure(Cause.DIED, peer if peer >= 0 else next(iter(lost), -1)))
        return Doubtful(peer, str(error))

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
                if isinstance(found, Failed):
                    raise found from error
                detail = f"the header of rank {wait.peer} has another length; install the same opmux for every process"
                raise Failed(self.failure(Cause.MISMATCH, wait.peer, detail)) from error
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
            raise Failed(found)

    def look(self, now: float) -> None:
        """End the call where news, or the time, say so."""
        known = self.control.failure
        if known is not None and not self.will_see_itself(known, now):
            raise Failed(known)
        lost, left = self.endpoint.lost(), self.control.left
        for wait in self.waits():
            if wait.peer < 0 and lost:
                raise Failed(self.failure(Cause.DIED, next(iter(lost))))
            if wait.peer in lost:
                raise Failed(self.failure(Cause.DIED, wait.peer))
            if wait.number == 0 and left.get(wait.peer, self.sequence) < self.sequence:
                count = left[wait.peer]
                detail = f"rank {wait.peer} has closed the mesh or ended after {count} call{'s' * (count != 1)}"
                raise Failed(self.failure(Cause.LEFT, wait.peer, detail))
        if now >= self.started + self.timeout:
            raise Failed(self.too_late(now))
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

    def give_up(self, *owners: object, is_cut: bool = False) -> None:
        """Take back every message; the memory of those that had begun is kept as long as the process lives.

        Args:
            owners: what that memory belongs to.
            is_cut: whether an interrupt came: a message may have been posted that nobody knows of.
        """
        waits = self.waits()
        for wait in waits:
            if not isinstance(wait.ticket, Refused):
                self.endpoint.cancel(wait.ticket)
        if waits or is_cut:
            _kept.append((owners, waits))


#: What messages of calls that failed may still be read from, or written to. A failed mesh makes no further calls, so
#: this grows by one call for each mesh that fails.
_kept: Final[list[object]] = []


def _has_left(wait: Wait) -> bool:
    try:
        return wait.ticket.done()
    except CollectiveError:  # whoever waits for it will see why
        return False


#: Which finding of several explains the others.
_WORST: Final = (Cause.DIED, Cause.LEFT, Cause.LOST, Cause.LATE)
