"""A network of ranks in one thread, by a clock of its own: it delays, reorders, loses and doubles messages."""

from __future__ import annotations

import heapq
import random
from collections import defaultdict, deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from opmux.core.devices.driver import HostBytes
from opmux.core.errors import CollectiveError

#: Messages take at most this long, far less than the limit.
_DELAY: Final = 0.05


@dataclass(frozen=True)
class Fault:
    """What the nemesis does to a rank.

    Attributes:
        kind: ``"none"``, ``"kill"``, ``"stall"``, ``"other"`` (another call), ``"leave"``, ``"lose"`` or ``"double"``.
        rank: to which rank, or whose message.
        when: after how many of its turns, or which of its messages.
        call: in which of its calls.
        length: seconds of a stall, or after how many a death is noticed.
        what: in what another call differs.
    """

    kind: str = "none"
    rank: int = 0
    when: int = 0
    call: int = 0
    length: float = 0.0
    what: str = ""


@dataclass
class _Message:
    """A message under way; a synchronous one is read from its sender's memory when it is matched."""

    source: int
    data: HostBytes | bytes
    ticket: _Ticket


@dataclass(eq=False)
class _Ticket:
    into: HostBytes | None = None
    over: bool = False
    gone: bool = False
    error: CollectiveError | None = None

    def done(self) -> bool:
        if self.error is not None:
            raise self.error
        return self.over


class Network:
    """Endpoints of all ranks, their messages and the clock."""

    def __init__(self, ranks: int, rng: random.Random, faults: Sequence[Fault] = (), synchronous: bool = False) -> None:
        self.ranks = ranks
        self.rng = rng
        self.clock = 0.0
        self.synchronous = synchronous
        self.dead: set[int] = set()
        self.noticed: dict[int, str] = {}
        self._lose = {(f.rank, f.when) for f in faults if f.kind == "lose"}
        self._double = {f.rank for f in faults if f.kind == "double"}
        self._count = [0] * ranks
        self._serial = 0
        self._flying: list[tuple[float, int, int, int, _Message]] = []
        self._latest: dict[tuple[int, int, int], float] = {}
        self._come: dict[tuple[int, int, int], deque[_Message]] = defaultdict(deque)
        self._wanted: dict[tuple[int, int, int], deque[_Ticket]] = defaultdict(deque)
        self.lost_from: set[int] = set()
        self.overruns: list[str] = []

    def post(self, source: int, target: int, tag: int, data: HostBytes) -> _Ticket:
        ticket = _Ticket(over=not self.synchronous)
        if source in self.dead:
            return ticket
        self._count[source] += 1
        if (source, self._count[source]) in self._lose:
            ticket.over = True
            self.lost_from.add(source)
            return ticket
        self._fly(source, target, tag, _Message(source, data if self.synchronous else data.tobytes(), ticket))
        if source in self._double and self.rng.random() < 0.3:
            self._fly(source, target, tag, _Message(source, data.tobytes(), _Ticket()))
        return ticket

    def _fly(self, source: int, target: int, tag: int, message: _Message) -> None:
        key = source, target, tag
        # Messages of one source, target and tag stay in order; all others may overtake each other.
        at = max(self.clock + self.rng.expovariate(8 / _DELAY), self._latest.get(key, 0.0))
        at = self._latest[key] = min(at, max(self.clock + _DELAY, self._latest.get(key, 0.0)))
        self._serial += 1
        heapq.heappush(self._flying, (at, self._serial, target, tag, message))

    def want(self, source: int, target: int, tag: int, into: HostBytes) -> _Ticket:
        ticket = _Ticket(into)
        self._wanted[source, target, tag].append(ticket)
        self._match((source, target, tag))
        return ticket

    def deliver(self) -> bool:
        """Deliver what has arrived by now; return whether anything has."""
        any_came = False
        while self._flying and self._flying[0][0] <= self.clock:
            _, _, target, tag, message = heapq.heappop(self._flying)
            if target in self.dead or (self.synchronous and message.source in self.dead):
                continue
            any_came = True
            self._come[message.source, target, tag].append(message)
            self._match((message.source, target, tag))
        return any_came

    def _match(self, key: tuple[int, int, int]) -> None:
        wanted, come = self._wanted[key], self._come[key]
        while wanted and come:
            message = come.popleft()
            if message.ticket.gone:
                continue
            ticket = wanted.popleft()
            data = message.data if isinstance(message.data, bytes) else message.data.tobytes()
            message.ticket.over = True
            assert ticket.into is not None
            if len(data) > ticket.into.nbytes:  # a library that copies what the sender says writes beyond the end
                self.overruns.append(
                    f"{len(data)} bytes come from rank {key[0]} where {ticket.into.nbytes} are awaited"
                )
            if len(data) != ticket.into.nbytes:
                ticket.error = CollectiveError("a message of another length", rank=key[0])
                continue
            ticket.into[:] = np.frombuffer(data, np.uint8)
            ticket.over = True

    def forget(self, ticket: _Ticket) -> None:
        ticket.gone = True
        if ticket.into is not None:
            for wanted in self._wanted.values():
                if ticket in wanted:
                    wanted.remove(ticket)

    def next_arrival(self) -> float | None:
        return self._flying[0][0] if self._flying else None


class SimulatedEndpoint:
    """One rank's messages on a simulated network."""

    def __init__(self, network: Network, rank: int) -> None:
        self.network = network
        self.rank = rank
        self.ranks = network.ranks

    def send(self, target: int, tag: int, data: HostBytes) -> _Ticket:
        return self.network.post(self.rank, target, tag, data)

    def receive(self, source: int, tag: int, into: HostBytes) -> _Ticket:
        return self.network.want(source, self.rank, tag, into)

    def cancel(self, ticket: Any) -> None:
        self.network.forget(ticket)

    def now(self) -> float:
        return self.network.clock

    def lost(self) -> Mapping[int, str]:
        return self.network.noticed

    def native(self, collective: str, reduction: str, dtype: Any) -> None:
        return None

    def close(self) -> None:
        pass
