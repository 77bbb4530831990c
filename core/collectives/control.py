"""What ranks tell each other beside the data: that a collective was aborted, and what each of them waits for.

Every rank has one receive posted for each other rank as long as the mesh lives, under a tag of its own. So a failure
reaches a rank in whichever call it is, and one that waits too long can ask the others what they wait for: of a chain of
waiting ranks the last one is at fault, and not the neighbour.
"""

from __future__ import annotations

import atexit
import struct
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import TYPE_CHECKING, Final, Protocol

import numpy as np

from ..devices.driver import HostBytes
from ..errors import CollectiveError
from .communicator import Endpoint, Ticket
from .failure import Cause, MeshFailure

if TYPE_CHECKING:
    from .frames import Frames, Spare

#: The tag of control messages. Those of calls begin at ``1 << 16``, calls being numbered from 1.
TAG: Final = 0
#: kind, cause (of an answer whether it is the first), the rank at fault or waited for, the message waited for, the
#: reporter, sequence, the last call begun, collective.
_FORM: Final = struct.Struct("<BBxxiiiqq24s")
#: A rank tells of its oldest calls under way, at most so many.
_TOLD: Final = 16
_CAUSES: Final = tuple(Cause)
_MOST: Final = 0xFFFF


class _Kind(IntEnum):
    ABORT = 1
    QUESTION = 2
    ANSWER = 3
    GOODBYE = 4


@dataclass(frozen=True, slots=True)
class Status:
    """What a rank does at a moment.

    Attributes:
        sequence: the call that it is in.
        waits_for: the rank that it waits for; -1 where it does not wait.
        message: the number of the message that it waits for, counted between the two; -1 where it waits to be received.
        sent: how many messages it has posted in this call, by target.
    """

    sequence: int
    waits_for: int
    message: int
    sent: tuple[int, ...]


class Asked(Protocol):
    """A call under way, which can say what it waits for.

    Attributes:
        is_to_start: whether the communicator's own collective is still to be started.
    """

    is_to_start: bool

    def status(self) -> Status:
        """Return what it does now."""


class Control:
    """A rank's side of the control messages of one mesh; one for all of its calls.

    Args:
        endpoint: the rank's messages.

    Attributes:
        failure: what made the mesh unusable, once something has.
        answers: what the other ranks last said of each of their calls under way, by rank and call.
        heard: when each of them last said something, and the last call that it had begun by then.
        left: ranks that closed the mesh, with the number of their last call.
    """

    def __init__(self, endpoint: Endpoint) -> None:
        self.endpoint = endpoint
        self.failure: MeshFailure | None = None
        self.answers: dict[int, dict[int, Status]] = {}
        self.heard: dict[int, tuple[float, int]] = {}
        self.left: dict[int, int] = {}
        self._calls: dict[int, Asked] = {}
        self._last = 0
        self._counts = struct.Struct(f"<{endpoint.ranks}H")
        self._open: dict[int, tuple[Ticket, HostBytes]] = {}
        self._sent: list[tuple[Ticket, HostBytes]] = []
        self._closed = False
        #: Memory for the headers of calls that are one exchange, once there is one.
        self.frames: Frames | None = None
        #: Memory for messages of the others, likewise.
        self.spare: Spare | None = None
        _open.add(self)
        # Registered last of all, hence run first: the communicator still carries messages then.
        atexit.unregister(_close_all)
        atexit.register(_close_all)
        for peer in self._others():
            self._listen(peer)

    def _others(self) -> Iterable[int]:
        return (r for r in range(self.endpoint.ranks) if r != self.endpoint.rank)

    def _listen(self, peer: int) -> None:
        into = np.zeros(_FORM.size + self._counts.size, np.uint8)
        try:
            self._open[peer] = self.endpoint.receive(peer, TAG, into), into
        except CollectiveError:  # it is gone; whoever waits for it will see that
            self._open.pop(peer, None)

    def enter(self, sequence: int, call: Asked) -> None:
        """Note a call under way.

        Raises:
            CollectiveError: the mesh is known to have failed before.
        """
        if self.failure is not None:
            raise self.failure.again()
        self._calls[sequence] = call
        self._last = max(self._last, sequence)

    def leave(self, sequence: int) -> None:
        """Note that a call has ended."""
        self._calls.pop(sequence, None)

    def starts_later(self, sequence: int) -> bool:
        """Return whether a call before this one is still to start the communicator's own collective."""
        return any(number < sequence and call.is_to_start for number, call in self._calls.items())

    def passed(self, sequence: int) -> None:
        """Note a call that began and ended with nobody to ask about it in between."""
        if sequence > self._last:
            self._last = sequence

    def check(self) -> None:
        """Look for news.

        Raises:
            CollectiveError: the mesh has failed.
        """
        self.poll()
        if self.failure is not None:
            raise self.failure.again()

    def poll(self) -> None:
        """Take the control messages that came, and answer questions."""
        for peer in tuple(self._open):
            while peer in self._open and self._has_come(peer):
                data = self._open[peer][1].tobytes()
                self._listen(peer)
                self._take(peer, data)

    def _has_come(self, peer: int) -> bool:
        try:
            return self._open[peer][0].done()
        except CollectiveError:
            del self._open[peer]
            return False

    def _take(self, peer: int, data: bytes) -> None:
        number, cause, rank, message, reporter, sequence, last, name = _FORM.unpack_from(data)
        match number:
            case _Kind.ABORT:
                collective = name.rstrip(b"\0").decode(errors="replace")
                told = MeshFailure(collective, sequence, rank, _CAUSES[cause], reporter)
                self.failure = self.failure or told
            case _Kind.GOODBYE:
                self.left[peer] = sequence
            case _Kind.QUESTION:
                self._tell((peer,))
            case _Kind.ANSWER:
                self.heard[peer] = self.endpoint.now(), last
                if cause:
                    self.answers[peer] = {}
                if sequence:
                    sent = self._counts.unpack_from(data, _FORM.size)
                    self.answers.setdefault(peer, {})[sequence] = Status(sequence, rank, message, sent)

    def ask(self) -> None:
        """Ask every other rank what it waits for, and tell them what this one does."""
        others = tuple(self._others())
        self._post(_FORM.pack(_Kind.QUESTION, 0, -1, -1, -1, 0, 0, b"") + bytes(self._counts.size), others)
        self._tell(others)

    def status(self, sequence: int) -> Status | None:
        """Return what this rank does in a call; None where that is not under way."""
        call = self._calls.get(sequence)
        return None if call is None else call.status()

    def _tell(self, peers: Sequence[int]) -> None:
        """Tell of every call under way, or that there is none."""
        none = Status(0, -1, -1, (0,) * self.endpoint.ranks)
        for i, status in enumerate([self._calls[n].status() for n in sorted(self._calls)[:_TOLD]] or [none]):
            counts = self._counts.pack(*(min(n, _MOST) for n in status.sent))
            said = (status.waits_for, status.message, -1, status.sequence, self._last, b"")
            self._post(_FORM.pack(_Kind.ANSWER, i == 0, *said) + counts, peers)

    def fail(self, failure: MeshFailure) -> MeshFailure:
        """Make the mesh unusable and tell the others; return the failure that counts, which is the first one."""
        first = self.failure
        if first is None or first.sequence == failure.sequence:
            self.failure = failure
        told = first or failure
        cause = _CAUSES.index(told.cause)
        name = told.collective.encode()
        said = _FORM.pack(_Kind.ABORT, cause, told.rank, -1, told.reporter, told.sequence, 0, name)
        self._post(said + bytes(self._counts.size), self._others())
        return self.failure or failure

    def close(self) -> None:
        """Tell the others that no call follows, and post no more; done at the end of the process at the latest."""
        if self._closed:
            return
        self._closed = True
        _open.discard(self)
        said = _FORM.pack(_Kind.GOODBYE, 0, self.endpoint.rank, -1, self.endpoint.rank, self._last, 0, b"")
        self._post(said + bytes(self._counts.size), self._others())
        for ticket, _ in self._open.values():
            self.endpoint.cancel(ticket)
        self._open.clear()

    def _post(self, said: bytes, peers: Iterable[int]) -> None:
        self._sent = [(ticket, data) for ticket, data in self._sent if not _is_over(ticket)]
        lost: Mapping[int, str] = self.endpoint.lost()
        for peer in peers:
            if peer in lost:
                continue
            data = np.frombuffer(said, np.uint8)
            try:
                self._sent.append((self.endpoint.send(peer, TAG, data), data))
            except CollectiveError:
                continue  # it is gone, and needs to hear nothing


_open: Final[set[Control]] = set()


def _close_all() -> None:
    """Say goodbye on every mesh, so that no other rank waits for this process until its time is over."""
    for control in tuple(_open):
        control.close()


def _is_over(ticket: Ticket) -> bool:
    try:
        return ticket.done()
    except CollectiveError:
        return True


def stuck(control: Control, own: Status, fresh: float, lost: Mapping[int, str]) -> tuple[int, Cause]:
    """Return which rank a chain of waiting ranks ends at, beginning with this one, and what is wrong with it.

    Args:
        control: what the others said of themselves.
        own: what this rank waits for.
        fresh: answers from before this time do not count.
        lost: ranks that are known to be gone.
    """
    at, status = control.endpoint.rank, own
    seen = {(at, own.sequence)}
    while True:
        peer = status.waits_for
        if peer in lost:
            return peer, Cause.DIED
        if peer in control.left:
            return peer, Cause.LEFT if control.left[peer] < status.sequence else Cause.LOST
        found = _said(control, peer, status.sequence, fresh)
        if isinstance(found, Cause):
            return peer, found
        if found.sequence == status.sequence and 0 <= status.message < found.sent[at]:
            return peer, Cause.LOST
        if found.waits_for < 0 or (peer, found.sequence) in seen:
            return peer, Cause.LATE
        seen.add((peer, found.sequence))
        at, status = peer, found


def _said(control: Control, peer: int, sequence: int, fresh: float) -> Status | Cause:
    """Return what a rank does in a call, or in its oldest one if it has not begun that; or what is wrong with it."""
    if peer == control.endpoint.rank:
        return control.status(sequence) or Cause.LOST  # no other rank waits for it in a call that it has not begun
    when, last = control.heard.get(peer, (fresh - 1, 0))
    if when < fresh:
        return Cause.LATE
    answers = control.answers.get(peer, {})
    if sequence in answers:
        return answers[sequence]
    if last >= sequence:  # it has ended that call, so it has sent everything
        return Cause.LOST
    return answers[min(answers)] if answers else Cause.LATE
