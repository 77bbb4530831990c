"""Whole histories of a mesh under a nemesis, in one thread, by a clock of its own; a seed replays exactly.

The network delays messages and reorders those of different sources and tags, as the contract of endpoints allows. The
nemesis kills ranks at any point, stalls them, has one call something else or end early, and loses or doubles messages.
What every rank got is checked afterwards: payloads are powers of two that no other rank and no other call has, so a
contribution that is lost, doubled, stale or misplaced shows.
"""

from __future__ import annotations

import heapq
import random
from collections import defaultdict, deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final
from unittest import mock

import numpy as np
from numpy.typing import NDArray

from opmux.core.collectives import engine, exchange
from opmux.core.collectives.agreement import Header
from opmux.core.collectives.control import Control
from opmux.core.collectives.engine import Call, run_rank
from opmux.core.collectives.exchange import Exchange, fits
from opmux.core.collectives.frames import Frames
from opmux.core.collectives.rank_plan import RankPlan, plan_rank
from opmux.core.devices.driver import HostBytes
from opmux.core.errors import CollectiveError
from tests.collectives import by_hand
from tests.collectives.by_hand import Collective, Values

#: The time limit of every call, in seconds of the simulated clock.
LIMIT: Final = 10.0
#: Messages take at most this long, far less than the limit.
_DELAY: Final = 0.05
#: A rank that is away for longer may be blamed.
_NOTICED: Final = 0.1 * LIMIT
#: No call may take longer than this, whatever happens to other ranks.
_BOUND: Final = 1.3 * LIMIT
_BY_HAND: Final = ("ring", "doubling", "gather", "broadcast", "exchange", "barrier")
_ALGORITHMS: Final = ("ring", "doubling", "rabenseifner", "tree", "direct", "hierarchical")
_KINDS: Final = (*_BY_HAND, *(f"by {name}" for name in _ALGORITHMS))


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


@dataclass(frozen=True)
class Event:
    """What a rank got of a call: its result, or the error, and when."""

    rank: int
    call: int
    began: float
    ended: float
    result: Values | None = None
    error: CollectiveError | None = None


@dataclass
class History:
    """All that happened on a seed."""

    seed: int
    ranks: int
    calls: list[tuple[str, int, int]]
    faults: tuple[Fault, ...]
    events: list[Event] = field(default_factory=list)
    away: dict[int, float] = field(default_factory=dict)
    lost_from: set[int] = field(default_factory=set)
    overruns: list[str] = field(default_factory=list)
    hung: bool = False

    def __str__(self) -> str:
        faults = ", ".join(map(str, self.faults)) or "no fault"
        said = [f"seed {self.seed}: {self.ranks} ranks, calls {self.calls}, {faults}"]
        said += [
            f"  rank {e.rank} call {e.call} at {e.began:.3f}-{e.ended:.3f}: {e.error or 'ok'}" for e in self.events
        ]
        return "\n".join(said)


class Wrong(AssertionError):
    """A history that must not be."""


def made(kind: str, ranks: int, length: int, root: int = 0) -> Collective:
    """Return a collective written by hand."""
    if kind.startswith("by "):
        return by_hand.algorithm(kind.removeprefix("by "), ranks, length)
    if kind == "doubling" and ranks & (ranks - 1):
        kind = "ring"
    if kind == "broadcast":
        return by_hand.broadcast(ranks, length, root)
    return getattr(by_hand, kind)(ranks, length)  # type: ignore[no-any-return]


def payload(rank: int, call: int, size: int) -> Values:
    """Return what a rank brings: a bit that is its own, and the element's number above."""
    return (np.int64(1) << np.int64(rank + 8 * call)) + (np.arange(1, size + 1, dtype=np.int64) << 40)


def drawn(seed: int) -> tuple[random.Random, int, list[tuple[str, int, int]], tuple[Fault, ...]]:
    """Draw a history's calls and faults."""
    rng = random.Random(seed)
    ranks = rng.choice((1, 2, 2, 3, 3, 4, 4, 5))
    calls = [(rng.choice(_KINDS), rng.choice((0, 1, 3, 8, 17)), rng.randrange(ranks)) for _ in range(rng.randint(1, 3))]
    kind = rng.choice(("none", "kill", "kill", "stall", "other", "other", "leave", "lose", "double"))
    if ranks == 1 or kind == "none":
        return rng, ranks, calls, ()
    rank, call = rng.randrange(ranks), rng.randrange(len(calls))
    length = rng.choice((0.02, 0.05, 0.5, 2.0, 50.0)) * LIMIT if kind == "stall" else rng.choice((0.0, 0.1, 99 * LIMIT))
    what = rng.choice(("collective", "shape", "dtype", "reduction", "mesh", "plugins", "root"))
    return rng, ranks, calls, (Fault(kind, rank, rng.randint(1, 12 * len(calls)), call, length, what),)


class Played:
    """One history being played."""

    def __init__(self, seed: int) -> None:
        self.rng, ranks, calls, faults = drawn(seed)
        self.history = History(seed, ranks, calls, faults)
        self.network = Network(ranks, self.rng, faults, synchronous=self.rng.random() < 0.4)
        self.overlapping = self.rng.random() < 0.3
        self.controls: list[Control] = []
        self.turns = [0] * ranks
        self.until = [0.0] * ranks

    def play(self) -> History:
        """Give the ranks turns in a drawn order, until all have ended.

        By the seed all that comes first rides with the headers, or what is short, or nothing. Looking again and again
        would bring nothing here, since messages move between turns only.
        """
        most = (1 << 10, 24, -1)[self.history.seed % 3]
        with mock.patch.object(engine, "RIDING", most), mock.patch.object(exchange, "_SPINS", 1):
            return self._play()

    def _play(self) -> History:
        history, network = self.history, self.network
        running = {r: self._program(r) for r in range(history.ranks)}
        end = _BOUND * (len(history.calls) + 1) + sum(min(f.length, 60 * LIMIT) for f in history.faults)
        idle = 0
        while running:
            if network.clock > end:
                history.hung = True
                break
            order = list(running)
            self.rng.shuffle(order)
            moved = network.deliver()
            for rank in order:
                if self._is_away(rank):
                    continue
                self.turns[rank] += 1
                if self._strike(rank):
                    running.pop(rank, None) if rank in network.dead else None
                    continue
                try:
                    moved |= bool(next(running[rank]))
                except StopIteration:
                    moved = True
                    del running[rank]
            network.clock += 1e-5
            idle = 0 if moved else idle + 1
            if idle:
                self._skip()
        history.lost_from = set(network.lost_from)
        history.overruns = network.overruns
        for control in self.controls:  # only now: a program that failed, or was killed, says no goodbye
            control.close()
        return history

    def _is_away(self, rank: int) -> bool:
        return self.network.clock < self.until[rank]

    def _strike(self, rank: int) -> bool:
        """Do what the nemesis has for a rank at this turn; return whether its turn is gone."""
        for fault in self.history.faults:
            if fault.rank != rank or fault.when != self.turns[rank]:
                continue
            if fault.kind == "kill":
                self.network.dead.add(rank)
                self.history.away[rank] = self.network.clock
                self.until.append(self.network.clock + fault.length)
                return True
            if fault.kind == "stall":
                self.until[rank] = self.network.clock + fault.length
                self.history.away[rank] = fault.length
                return True
        return False

    def _skip(self) -> None:
        """Nobody has anything to do: go on to where something happens, or somewhat on."""
        network = self.network
        for fault in self.history.faults:
            if fault.kind == "kill" and fault.rank in network.dead and network.clock >= self.until[-1]:
                network.noticed = {fault.rank: "its process ended"}
        arrival = network.next_arrival()
        ahead = network.clock + LIMIT / 40
        network.clock = max(network.clock, min(arrival, ahead) if arrival is not None else ahead)

    def _program(self, rank: int) -> Iterator[bool]:
        """What a rank's program does: its calls, and after a failure one more use of the mesh."""
        history = self.history
        endpoint = SimulatedEndpoint(self.network, rank)
        control = Control(endpoint)
        self.controls.append(control)
        leave = next((f.call for f in history.faults if f.kind == "leave" and f.rank == rank), len(history.calls))
        parts = [self._one(rank, endpoint, control, call) for call in range(leave)]
        if self.overlapping:
            yield from _at_once(parts)
        for part in parts:
            if control.failure is None:
                yield from part
        if control.failure is not None and any(e.rank == rank for e in history.events):
            self._use_again(control, endpoint, rank)
        else:
            control.close()

    def _one(self, rank: int, endpoint: SimulatedEndpoint, control: Control, call: int) -> Iterator[bool]:
        """One call of one rank."""
        history, network = self.history, self.network
        kind, length, root = history.calls[call]
        mine = [f for f in history.faults if f.rank == rank and f.call == call]
        dtype, header, collective = self._call(call, kind, length, root, mine)
        began = network.clock
        pieces = 3 if history.seed % 5 == 0 else None  # every rank cuts messages of more elements
        plan = plan_rank(collective.schedule, collective.layout, rank, pieces)
        brought = payload(rank, call, plan.sizes[0]).astype(dtype)
        slots: list[NDArray[Any]] = [brought, *(np.full(size, -1, dtype) for size in plan.sizes[1:])]
        try:
            yield from self._run(endpoint, plan, header, slots, control)
        except CollectiveError as error:
            history.events.append(Event(rank, call, began, network.clock, error=error))
            return
        history.events.append(Event(rank, call, began, network.clock, result=slots[1].astype(np.int64)))
        for slot in slots:  # a message still read from here would carry this
            slot[:] = -7
        for _ in range(self.rng.randrange(3)):
            yield True

    def _run(
        self, endpoint: SimulatedEndpoint, plan: RankPlan, header: Header, slots: list[NDArray[Any]], control: Control
    ) -> Iterator[bool]:
        """Do a rank's part, on some seeds as one exchange where it is one."""
        dtype = slots[0].dtype
        if self.history.seed % 2 and fits(plan, dtype.itemsize):
            one = Exchange(endpoint, control, Frames(endpoint), plan, header, dtype, _add)
            yield from one.run(header.sequence, slots[:2], None, None, LIMIT) or ()
        else:
            yield from run_rank(Call(endpoint, plan, header, slots, _add, control, LIMIT))

    def _call(
        self, call: int, kind: str, length: int, root: int, faults: Sequence[Fault]
    ) -> tuple[str, Header, Collective]:
        """Return what a rank calls, which is not what the others call where the nemesis says so."""
        ranks, dtype = self.history.ranks, "int64"
        what = next((f.what for f in faults if f.kind == "other"), "")
        if what == "collective":
            kind = "gather" if kind != "gather" else "ring"
        if what == "shape":
            length += 1
        if what == "dtype":
            dtype = "int32"
        collective = made(kind, ranks, length, root)
        header = Header(
            mesh=77 if what != "mesh" else 78,
            sequence=call + 1,
            collective=collective.name,
            reduction="sum" if what != "reduction" else "max",
            root=root if what != "root" else root + 1,
            dtype=dtype,
            shapes=((length,),),
            algorithm=collective.schedule.algorithm,
            opmux="1",
            plugins=b"same" if what != "plugins" else b"other",
        )
        return dtype, header, collective

    def _use_again(self, control: Control, endpoint: SimulatedEndpoint, rank: int) -> None:
        """Use a failed mesh once more, in the two ways that there are."""
        ring = made("ring", self.history.ranks, 3)
        plan = plan_rank(ring.schedule, ring.layout, rank)
        slots = [np.zeros(size, np.int64) for size in plan.sizes]
        later = Header(77, len(self.history.calls) + 1, "all_reduce")
        again = Call(endpoint, plan, later, slots, _add, control, LIMIT)
        for use in (control.check, lambda: next(run_rank(again), None)):
            try:
                use()
            except CollectiveError as error:
                if "cannot be used" not in str(error):
                    raise Wrong(f"{self.history}\nrank {rank}: the second error does not say so: {error}") from error
            else:
                raise Wrong(f"{self.history}\nrank {rank}: a failed mesh was used again")


def _at_once(parts: list[Iterator[bool]]) -> Iterator[bool]:
    """Run calls that overlap, each in turn, until all have ended."""
    running = list(parts)
    while running:
        moved = False
        for part in tuple(running):
            try:
                moved |= next(part)
            except StopIteration:
                moved = True
                running.remove(part)
        yield moved


def _add(base: NDArray[Any], arrived: NDArray[Any], into: NDArray[Any]) -> None:
    np.add(base, arrived, out=into)


def check(history: History) -> None:
    """Raise unless a history is one that may be.

    Raises:
        Wrong: with the seed, the calls, the faults and all events.
    """

    def demand(holds: bool, what: str) -> None:
        if not holds:
            raise Wrong(f"{history}\n{what}")

    demand(not history.hung, "it hangs")
    demand(not history.overruns, "; ".join(history.overruns))
    fault = history.faults[0] if history.faults else Fault()
    culprits = _culprits(history, fault)
    for event in history.events:
        kind, length, root = history.calls[event.call]
        if event.result is not None:
            wanted = _expected(kind, history.ranks, length, root, event.call)[event.rank]
            demand(np.array_equal(event.result, wanted), f"rank {event.rank}: {event.result} is not {wanted}")
            differs = fault.kind == "other" and event.call == fault.call
            differs |= fault.kind == "leave" and event.call >= fault.call
            demand(not differs, f"rank {event.rank}: success, though rank {fault.rank} did something else")
        if event.error is not None:
            demand(bool(culprits), f"rank {event.rank}: an error without a fault")
            demand(event.error.rank in culprits, f"rank {event.rank} blames {event.error.rank}, not {culprits}")
            own = history.away.get(event.rank, 0.0) if fault.kind == "stall" else 0.0
            demand(event.ended - event.began <= _BOUND + own, f"rank {event.rank}: only after the limit")
    for rank in range(history.ranks):
        if rank in history.away and fault.kind == "kill":
            continue
        mine = [e for e in history.events if e.rank == rank]
        ended = any(e.error is not None for e in mine)
        expected = fault.call if fault.kind == "leave" and rank == fault.rank else len(history.calls)
        demand(ended or len(mine) == expected, f"rank {rank} has {len(mine)} of {expected} calls and no error")


def _expected(kind: str, ranks: int, length: int, root: int, call: int) -> list[Values]:
    collective = made(kind, ranks, length, root)
    sizes = [collective.layout.size(r, 0) for r in range(ranks)]
    return collective.expected([payload(r, call, sizes[r]) for r in range(ranks)])


def _culprits(history: History, fault: Fault) -> set[int]:
    """Return who may be blamed."""
    match fault.kind:
        case "kill" if fault.rank in history.away:
            return {fault.rank}
        case "stall" if history.away.get(fault.rank, 0.0) >= _NOTICED:
            return {fault.rank}
        case "other":  # of two ranks neither has the majority, so the second is blamed
            return {fault.rank} if history.ranks > 2 else {1}
        case "leave":
            return {fault.rank}
        case "lose":
            return history.lost_from
    return set()


def replay(seed: int) -> History:
    """Play a seed and check what came of it."""
    history = Played(seed).play()
    check(history)
    return history
