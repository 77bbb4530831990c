"""Whole histories of a mesh under a nemesis, in one thread, by a clock of its own; a seed replays exactly.

The network delays messages and reorders those of different sources and tags, as the contract of endpoints allows. The
nemesis kills ranks at any point, stalls them, has one call something else or end early, and loses or doubles messages.
What every rank got is checked afterwards: payloads are powers of two that no other rank and no other call has, so a
contribution that is lost, doubled, stale or misplaced shows.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
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
from opmux.core.errors import CollectiveError
from tests.collectives.by_hand import Collective
from tests.collectives.histories import BOUND, LIMIT, Event, History, Wrong, check, made, payload
from tests.collectives.network import Fault, Network, SimulatedEndpoint

_BY_HAND: Final = ("ring", "doubling", "gather", "broadcast", "exchange", "barrier")
_ALGORITHMS: Final = ("ring", "doubling", "rabenseifner", "tree", "direct", "hierarchical")
_KINDS: Final = (*_BY_HAND, *(f"by {name}" for name in _ALGORITHMS))


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
        end = BOUND * (len(history.calls) + 1) + sum(min(f.length, 60 * LIMIT) for f in history.faults)
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


def replay(seed: int) -> History:
    """Play a seed and check what came of it."""
    history = Played(seed).play()
    check(history)
    return history
