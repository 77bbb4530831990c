"""Reductions of several contributions per rank: what each rank folds by itself, and how the rest is exchanged.

The contributions of all ranks are blocks, numbered in the order of the ranks. A rank folds the largest nodes of the
canonical tree that lie within its own range. Where that leaves every rank one node of the same level, the nodes are to
the tree above what single contributions are, and any algorithm goes on from there. Where blocks are spread unevenly, a
rank may be left with several, and all of them go to the rank that folds the chunk.
"""

from __future__ import annotations

from dataclasses import replace
from itertools import accumulate, count
from typing import TYPE_CHECKING, Final

from ....core.collectives.schedule import INPUT, OUTPUT, Schedule, Step, Transfer
from ....core.kernel import CANONICAL_ORDER, Reason, Rejection
from .reductions import gathered, scattered
from .tree import Node, Rounds, folded, local_steps, maximal

if TYPE_CHECKING:
    from .request import Algorithm, Request

_REDUCTIONS: Final = frozenset({"all_reduce", "reduce_scatter", "reduce"})
#: The most transfers of a schedule in which no two ranks are alike: beyond, a call would wait for its building.
_MOST_TRANSFERS: Final = 1 << 18


def spread(algorithm: Algorithm, request: Request) -> Schedule | Rejection:
    """Return an algorithm's schedule for ranks that bring several contributions, or none.

    The slots of a rank's contributions are INPUT, and those from 2 on.
    """
    n, blocks = request.ranks, request.blocks
    if algorithm.collective not in _REDUCTIONS or len(blocks) != n or min(blocks) < 0 or sum(blocks) == 0:
        return Rejection(Reason.ATTRIBUTE, f"blocks {blocks}: {algorithm.collective} over {n} ranks has no such input")
    inner = algorithm.build(n, root=request.root, groups=request.groups)
    if isinstance(inner, Rejection):
        return inner
    if inner.order == CANONICAL_ORDER and not _is_even(blocks):
        if n == 1:
            return _before(inner, blocks)
        if algorithm.name == "direct":
            return _direct(algorithm.collective, blocks)
        return Rejection(Reason.DETERMINISM, f"blocks {blocks} leave ranks with several partial results each")
    if 0 in blocks:
        return Rejection(Reason.SIZE, f"blocks {blocks}: a rank without a contribution has nothing to pass on")
    return _before(inner, blocks)


def block_slots(blocks: int) -> tuple[int, ...]:
    """Return the slots of so many contributions of a rank.

    >>> block_slots(3)
    (0, 2, 3)
    """
    return (INPUT, *range(2, blocks + 1))[:blocks]


def _is_even(blocks: tuple[int, ...]) -> bool:
    """Return whether each rank is left with one node, all of one level."""
    total = sum(blocks)
    left = [maximal(first, own, total) for first, own in zip(accumulate(blocks, initial=0), blocks, strict=False)]
    return all(len(nodes) == 1 for nodes in left) and len({nodes[0][0] for nodes in left}) == 1


def _before(inner: Schedule, blocks: tuple[int, ...]) -> Schedule:
    """Return a schedule whose ranks fold their own contributions first, each along a tree of its own."""
    more = max(blocks) - 1
    first = 2 + more  # of the scratch slots, the folded contributions in front
    keep = frozenset(block_slots(more + 1))
    rounds: list[Rounds] = []
    free = first + 1
    for own in blocks:
        fresh = count(first + 1)
        found, _ = folded({(0, i): s for i, s in enumerate(block_slots(own))}, own, fresh.__next__, keep, first)
        rounds.append(found)
        free = max(free, next(fresh))

    def slot(number: int) -> int:
        return first if number == INPUT else number if number == OUTPUT else number - 2 + free

    def moved(t: Transfer) -> Transfer:
        return replace(t, slot=slot(t.slot), into=slot(t.into), base=None if t.base is None else slot(t.base))

    local = local_steps(rounds, inner.ranks, inner.chunks)
    phases = tuple(replace(p, transfers=tuple(map(moved, p.transfers))) for p in inner.phases)
    own_slots = frozenset(slot(s) for s in inner.own)
    return replace(inner, slots=slot(inner.slots), phases=(*local, *phases), own=own_slots, inputs=more + 1)


def _direct(collective: str, blocks: tuple[int, ...]) -> Schedule | Rejection:
    """Return the schedule in which all partial results of a chunk go to the rank that folds it."""
    n, total = len(blocks), sum(blocks)
    keep = frozenset(block_slots(max(blocks)))
    rounds: list[Rounds] = []
    held: list[tuple[int, Node, int]] = []  # the rank, the node, and its slot there
    free = max(blocks) + 1
    first = 0
    for rank, own in enumerate(blocks):
        fresh = count(max(blocks) + 1)
        nodes = {(0, first + i): s for i, s in enumerate(block_slots(own))}
        found, left = folded(nodes, total, fresh.__next__, keep)
        rounds.append(found)
        held += [(rank, node, left[node]) for node in sorted(left)]
        free = max(free, next(fresh))
        first += own
    if n * len(held) > _MOST_TRANSFERS:
        return Rejection(Reason.SIZE, f"{len(held)} partial results for each of {n} ranks are too many messages")
    send = Step(
        tuple(
            Transfer(rank, k, k, 1, slot, free + i) for i, (rank, _, slot) in enumerate(held) for k in range(n)
        )
    )  # fmt: skip
    arrived = {node: free + i for i, (_, node, _) in enumerate(held)}
    made = scattered(n, (*local_steps(rounds, n, n), send), arrived, total, inputs=max(blocks))
    return made if collective == "reduce_scatter" else gathered(made)


__all__ = ["block_slots", "spread"]
