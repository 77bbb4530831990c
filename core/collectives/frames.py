"""What the calls of a mesh use one after the other: the messages of headers, and memory that they need meanwhile."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import accumulate
from typing import Final

import numpy as np

from ..devices.driver import HostBytes
from ..errors import CollectiveError
from .agreement import FRAME, SIZE
from .communicator import Endpoint, Standing, Ticket
from .watch import Refused

#: Bytes of a line of a cache, at a multiple of which memory begins.
_LINE: Final = 64
#: Bytes that a call needs at most beside its arrays, so that they are kept for the next.
KEPT: Final = 1 << 24


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
        self._room = np.empty(0, np.uint8)

    def rooms(self, sizes: Sequence[int]) -> list[HostBytes]:
        """Return memory of so many bytes each, for the time of a call: other calls are given the same.

        Fresh memory costs page faults in every call, and memory for each shape would grow with their number.
        """
        starts = [0, *accumulate(-(-n // _LINE) * _LINE for n in sizes)]
        if starts[-1] > self._room.nbytes:  # twice as much: what earlier calls hold is less than this in all
            self._room = np.empty(max(starts[-1], 2 * self._room.nbytes), np.uint8)
        return [self._room[start : start + n] for start, n in zip(starts, sizes, strict=False)]


class Spare:
    """Memory of messages of earlier calls, by size, of at most :data:`KEPT` bytes; calls may be under way at once."""

    def __init__(self) -> None:
        self._rooms: dict[int, list[HostBytes]] = {}
        self._nbytes = 0

    def take(self, nbytes: int) -> HostBytes:
        """Return memory of so many bytes that nobody else has."""
        rooms = self._rooms.get(nbytes)
        if not rooms:
            return np.empty(nbytes, np.uint8)
        self._nbytes -= nbytes
        return rooms.pop()

    def keep(self, room: HostBytes) -> None:
        """Take memory that nobody uses any more; where there is too much, that of other sizes goes."""
        if room.nbytes > KEPT:
            return
        if self._nbytes + room.nbytes > KEPT:
            self._rooms.clear()
            self._nbytes = 0
        self._rooms.setdefault(room.nbytes, []).append(room)
        self._nbytes += room.nbytes


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
            self._coming[peer] = posted(self._endpoint.receive, peer, at, room)
        for peer, frame in self._out.items():
            self._going[peer] = posted(self._endpoint.send, peer, at, frame)

    def have_come(self, polls: int) -> bool:
        """Return whether all have arrived, asking each so often."""
        return are_over(self._coming.values(), polls)

    def have_left(self, polls: int) -> bool:
        """Return whether all have left, asking each so often."""
        return are_over(self._going.values(), polls)

    def tickets(self) -> tuple[Mapping[int, Ticket], Mapping[int, Ticket]]:
        """Return what was posted in and out, by rank."""
        return dict(self._coming), dict(self._going)


def posted(post: Callable[[int, int, HostBytes], Ticket], peer: int, at: int, data: HostBytes) -> Ticket:
    """Post a message; one that cannot be posted is a ticket too, which says why."""
    try:
        return post(peer, at, data)
    except CollectiveError as error:
        return Refused(error)


def are_over(tickets: Iterable[Ticket], polls: int) -> bool:
    """Return whether messages are over soon, asking each so often; False also where one never will."""
    try:
        for ticket in tickets:
            if not ticket.done() and not any(ticket.done() for _ in range(polls)):
                return False
    except CollectiveError:
        return False  # the long way finds it too, and what it means
    return True
