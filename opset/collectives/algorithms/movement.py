"""all_gather, all_to_all, broadcast, permute and barrier as schedules."""

from __future__ import annotations

from dataclasses import replace

from ....core.collectives.schedule import INPUT, OUTPUT, Schedule, Step, Transfer
from ....core.kernel import Reason, Rejection
from .parts import Group, direct_gather, doubling, flat, is_power_of_two, only_powers_of_two, ring_gather
from .request import Request


def _gathering(algorithm: str, ranks: int, steps: tuple[Step, ...]) -> Schedule:
    """Return an all_gather: every rank puts its own chunk in its place first."""
    own = flat(ranks).step(Transfer(0, 0, 0, 1, INPUT, OUTPUT))
    return Schedule("all_gather", algorithm, ranks, ranks, 2, (own, *steps), own=frozenset({INPUT}))


def ring_all_gather(request: Request) -> Schedule:
    """Build chunks that go round a ring."""
    return _gathering("ring", request.ranks, ring_gather(flat(request.ranks)))


def doubling_all_gather(request: Request) -> Schedule | Rejection:
    """Build the exchange of what each rank has so far, at doubling distances."""
    n = request.ranks
    if not is_power_of_two(n):
        return only_powers_of_two(n)
    return _gathering("doubling", n, doubling(flat(n), OUTPUT, False))


def bruck_all_gather(request: Request) -> Schedule:
    """Build the same for any number of ranks: at distance d each rank sends the d chunks from its own on."""
    n = request.ranks
    steps = []
    for i in range((n - 1).bit_length()):
        distance = 1 << i
        count = min(distance, n - distance)
        transfers = []
        for rank in range(n):
            here = min(count, n - rank)  # the row goes on at chunk 0
            for chunk, length in ((rank, here), (0, count - here)):
                if length:
                    transfers.append(Transfer(rank, (rank - distance) % n, chunk, length, OUTPUT, OUTPUT))
        steps.append(Step(tuple(transfers)))
    return _gathering("bruck", n, tuple(steps))


def direct_all_gather(request: Request) -> Schedule:
    """Build what sends every rank's chunk to every other."""
    return _gathering("direct", request.ranks, (direct_gather(request.ranks),))


def rotation_all_to_all(request: Request) -> Schedule:
    """Build one message to every other rank, at growing distances."""
    n = request.ranks
    steps = tuple(flat(n).step(Transfer(0, k, k, 1, INPUT, OUTPUT, at=0)) for k in range(n))
    return Schedule("all_to_all", "rotation", n, n, 2, steps)


def direct_all_to_all(request: Request) -> Schedule:
    """Build one message to every other rank, all at once."""
    n = request.ranks
    step = flat(n).step(*(Transfer(0, k, k, 1, INPUT, OUTPUT, at=0) for k in range(n)))
    return Schedule("all_to_all", "direct", n, n, 2, (step,))


def tree_broadcast(request: Request) -> Schedule:
    """Build a binomial tree from the root."""
    n, root = request.ranks, request.root
    steps = [Step((Transfer(root, root, 0),))]
    for i in reversed(range((n - 1).bit_length())):
        d = 1 << i
        pairs = (((v + root) % n, (v + d + root) % n) for v in range(0, n - d, 2 * d))
        steps.append(Step(tuple(Transfer(a, b, 0, 1, OUTPUT, OUTPUT) for a, b in pairs)))
    return Schedule("broadcast", "tree", n, 1, 2, tuple(steps))


def flat_broadcast(request: Request) -> Schedule:
    """Build one message from the root to every other rank."""
    n, root = request.ranks, request.root
    return Schedule("broadcast", "flat", n, 1, 2, (Step(tuple(Transfer(root, r, 0) for r in range(n))),))


def scatter_broadcast(request: Request) -> Schedule:
    """Build a scatter down a binomial tree, then an all_gather round a ring; chunk v is for the v-th from the root."""
    n, root = request.ranks, request.root
    steps = [Step((Transfer(root, root, 0, n),))]
    for i in reversed(range((n - 1).bit_length())):
        d = 1 << i
        steps.append(
            Step(
                tuple(
                    Transfer((v + root) % n, (v + d + root) % n, v + d, min(d, n - v - d), OUTPUT, OUTPUT)
                    for v in range(0, n - d, 2 * d)
                )
            )
        )
    return Schedule("broadcast", "scatter", n, n, 2, (*steps, *ring_gather(flat(n), chunk=-root % n)))


def direct_permute(request: Request) -> Schedule | Rejection:
    """Build one message for every pair; a rank that is no target has zeros."""
    n, targets = request.ranks, {b for _, b in request.pairs}
    if len(targets) < len(request.pairs):
        return Rejection(Reason.ATTRIBUTE, f"pairs {request.pairs}: a rank is the target of two")
    if any(not 0 <= rank < n for pair in request.pairs for rank in pair):
        return Rejection(Reason.ATTRIBUTE, f"pairs {request.pairs}: not all are ranks of {n}")
    step = Step(tuple(Transfer(a, b, 0) for a, b in request.pairs))
    zeroed = tuple(r for r in range(n) if r not in targets)
    return Schedule("permute", "direct", n, 1, 2, (step,) if request.pairs else (), zeroed=zeroed)


def dissemination_barrier(request: Request) -> Schedule:
    """Build empty messages at doubling distances, after which every rank has heard of every other."""
    n = request.ranks
    group = Group((n,), (0,), 0)
    steps = tuple(group.step(Transfer(0, 1 << i, 0)) for i in range((n - 1).bit_length()))
    return Schedule("barrier", "dissemination", n, 1, 2, steps)


def tree_barrier(request: Request) -> Schedule:
    """Build empty messages up a binomial tree to rank 0, and down again."""
    n = request.ranks
    down = [
        Step(tuple(Transfer(r, r + d, 0) for r in range(0, n - d, 2 * d)))
        for d in (1 << i for i in reversed(range((n - 1).bit_length())))
    ]
    up = [
        Step(tuple(replace(t, source=t.target, target=t.source) for t in step.transfers)) for step in reversed(down)
    ]  # fmt: skip
    return Schedule("barrier", "tree", n, 1, 2, (*up, *down))
