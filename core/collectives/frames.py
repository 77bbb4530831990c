"""The messages of headers, in memory that is kept from one call to the next."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

import numpy as np

from ..devices.driver import HostBytes
from ..errors import CollectiveError
from .agreement import FRAME, SIZE
from .communicator import Endpoint, Standing, Ticket
from .watch import Refused


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
