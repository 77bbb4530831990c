"""Histories of a mesh, and what must hold of each: results, errors, who is blamed and when."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

import numpy as np

from opmux.core.errors import CollectiveError
from tests.collectives import by_hand
from tests.collectives.by_hand import Collective, Values
from tests.collectives.network import Fault

#: The time limit of every call, in seconds of the simulated clock.
LIMIT: Final = 10.0
#: A rank that is away for longer may be blamed.
_NOTICED: Final = 0.1 * LIMIT
#: No call may take longer than this, whatever happens to other ranks.
BOUND: Final = 1.3 * LIMIT


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
            demand(event.ended - event.began <= BOUND + own, f"rank {event.rank}: only after the limit")
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
