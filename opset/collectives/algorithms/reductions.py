"""all_reduce, reduce_scatter and reduce as schedules."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from ....core.collectives.schedule import INPUT, OUTPUT, Schedule, Step, Transfer
from ....core.kernel import CANONICAL_ORDER, Reason, Rejection
from .parts import (
    Group,
    direct_gather,
    doubling,
    flat,
    halving,
    is_power_of_two,
    only_powers_of_two,
    ring_gather,
    ring_scatter,
)
from .request import Request
from .tree import Node, folded, local_steps

_SCRATCH: Final = 2


def ring_all_reduce(request: Request) -> Schedule:
    """Build reduce_scatter and all_gather round a ring."""
    group = flat(request.ranks)
    phases = (*ring_scatter(group, INPUT, OUTPUT, OUTPUT), *ring_gather(group))
    return Schedule("all_reduce", "ring", request.ranks, request.ranks, 2, phases, order="ring")


def doubling_all_reduce(request: Request) -> Schedule:
    """Build recursive doubling, the pairs of neighbours first; extra ranks hand theirs over before."""
    n = request.ranks
    k = n.bit_length() - 1
    # Two slots in turn, so that nothing is read in the step that writes it; the last step writes the output.
    slots = [INPUT, *(OUTPUT if (k - 1 - i) % 2 == 0 else _SCRATCH for i in range(k))]
    group = Group((2,) * k, (0,) * k, 0)
    phases = tuple(
        group.step(Transfer(0, 1 << i, 0, 1, slots[i], slots[i + 1], slots[i])) for i in range(k)
    )  # fmt: skip
    made = Schedule("all_reduce", "doubling", 1 << k, 1, 3, phases)
    return made if made.ranks == n else _with_extras(made, n)


def rabenseifner(request: Request) -> Schedule:
    """Build exchanges of halves and back, the pairs of neighbours first; extra ranks hand theirs over before."""
    n = request.ranks
    group = flat(1 << n.bit_length() - 1)
    phases = (*halving(group, INPUT, OUTPUT, OUTPUT, True), *doubling(group, OUTPUT, True))
    made = Schedule("all_reduce", "rabenseifner", group.size, group.size, 2, phases)
    return made if made.ranks == n else _with_extras(made, n)


def _with_extras(made: Schedule, ranks: int) -> Schedule:
    """Return a schedule for more ranks than its power of two.

    The first ranks come in pairs, as many as there are too many: the odd one hands its contribution to the even one
    before and gets the result after. What comes out is the canonical tree where the pairs are whole subtrees of it.
    """
    extra, chunks, both = ranks - made.ranks, made.chunks, made.slots
    real = [2 * v if v < extra else v + extra for v in range(made.ranks)]

    def slot(number: int | None, rank: int) -> int | None:
        return both if number == INPUT and rank < 2 * extra else number

    def moved(t: Transfer) -> Transfer:
        source, target = real[t.source], real[t.target]
        base = slot(t.base, target)
        return replace(t, source=source, target=target, slot=slot(t.slot, source) or INPUT, base=base)

    before = Step(tuple(Transfer(2 * i + 1, 2 * i, 0, chunks, INPUT, both, INPUT) for i in range(extra)))
    during = tuple(Step(tuple(moved(t) for t in step.all())) for step in made.steps)
    after = Step(tuple(Transfer(2 * i, 2 * i + 1, 0, chunks, OUTPUT, OUTPUT) for i in range(extra)))
    canonical = is_power_of_two(made.ranks - extra)
    order = CANONICAL_ORDER if canonical else f"{made.algorithm}-{ranks}"
    return replace(made, ranks=ranks, slots=both + 1, phases=(before, *during, after), order=order)


def tree_all_reduce(request: Request) -> Schedule:
    """Build a reduction to rank 0 along the canonical tree, and a broadcast from there."""
    n = request.ranks
    up = _climb(n, 0, OUTPUT)
    distances = [1 << i for i in range((n - 1).bit_length())]
    down = tuple(
        Step(tuple(Transfer(r, r + d, 0, 1, OUTPUT, OUTPUT) for r in range(0, n - d, 2 * d)))
        for d in reversed(distances)
    )  # fmt: skip
    return Schedule("all_reduce", "tree", n, 1, 2, (*up, *down))


def tree_reduce(request: Request) -> Schedule:
    """Build a reduction to the root along the canonical tree."""
    n, root = request.ranks, request.root
    phases = _climb(n, root, _SCRATCH)
    last = phases[-1].transfers  # only the root's result is an output
    phases = (*phases[:-1], Step(tuple(replace(t, into=OUTPUT) for t in last)))
    return Schedule("reduce", "tree", n, 1, 3, phases)


def _climb(n: int, root: int, slot: int) -> tuple[Step, ...]:
    """Return the steps that fold the canonical tree; a node's value is with the root, or with its first rank."""
    steps = []
    holders, begun = list(range(n)), [False] * n
    while len(holders) > 1:
        transfers, above = [], []
        for left, right in zip(holders[::2], holders[1::2], strict=False):
            to, other = (right, left) if right == root else (left, right)
            transfers.append(
                Transfer(other, to, 0, 1, slot if begun[other] else INPUT, slot, slot if begun[to] else INPUT)
            )
            begun[to] = True
            above.append(to)
        steps.append(Step(tuple(transfers)))
        holders = above + holders[len(holders) // 2 * 2 :]
    return tuple(steps)


def halving_reduce_scatter(request: Request) -> Schedule | Rejection:
    """Build exchanges of halves, the ranks far apart first, which leaves each rank its own chunk."""
    n = request.ranks
    if not is_power_of_two(n):
        return only_powers_of_two(n)
    phases = halving(flat(n), INPUT, _SCRATCH, OUTPUT, False)
    order = CANONICAL_ORDER if n == 2 else "halving"
    return Schedule("reduce_scatter", "halving", n, n, 3, phases, order, own=frozenset({OUTPUT}))


def ring_reduce_scatter(request: Request) -> Schedule:
    """Build a ring that leaves each rank its own chunk."""
    n = request.ranks
    phases = ring_scatter(flat(n), INPUT, _SCRATCH, OUTPUT)
    return Schedule("reduce_scatter", "ring", n, n, 3, phases, "ring", own=frozenset({OUTPUT}))


def direct_reduce_scatter(request: Request) -> Schedule:
    """Build what sends every chunk to its rank, which folds the contributions along the canonical tree."""
    n = request.ranks
    send = replace(flat(n).step(*(Transfer(0, k, k, 1, INPUT, _SCRATCH) for k in range(n))), fan=True)
    nodes = {(0, i): _SCRATCH + i for i in range(n)}
    return scattered(n, (send,), nodes, n)


def direct_all_reduce(request: Request) -> Schedule:
    """Build what sends every chunk to its rank, folds there, and sends the results to all."""
    return gathered(direct_reduce_scatter(request))


def one_shot_all_reduce(request: Request) -> Schedule:
    """Build what sends every contribution to every rank, each of which folds all of them."""
    n = request.ranks
    send = Step(tuple(Transfer(0, k, 0, 1, INPUT, _SCRATCH) for k in range(n)), (n,), (0,), fan=True)
    rounds, _ = folded({(0, i): _SCRATCH + i for i in range(n)}, n, lambda: _SCRATCH + n, frozenset(), into=OUTPUT)
    return Schedule("all_reduce", "one-shot", n, 1, _SCRATCH + n, (send, *local_steps([rounds], n, 1)))


def scattered(ranks: int, before: tuple[Step, ...], nodes: dict[Node, int], blocks: int, inputs: int = 1) -> Schedule:
    """Return a reduce_scatter that ends with every rank folding the nodes of its own chunk."""
    slots = max(nodes.values()) + 1
    rounds, _ = folded(nodes, blocks, lambda: slots, frozenset(), into=OUTPUT)
    own = frozenset({OUTPUT, *nodes.values()})
    phases = (*before, *local_steps([rounds], ranks, ranks, own=True))
    return Schedule("reduce_scatter", "direct", ranks, ranks, slots, phases, own=own, inputs=inputs)


def gathered(scatter: Schedule) -> Schedule:
    """Return the all_reduce that a reduce_scatter and a direct all_gather make."""
    phases = (*scatter.phases, direct_gather(scatter.ranks))
    return replace(scatter, collective="all_reduce", phases=phases, own=scatter.own - {OUTPUT})


def hierarchical(request: Request) -> Schedule | Rejection:
    """Build reduce_scatter inside each group, all_reduce across groups, all_gather inside."""
    if len(request.groups) != 2 or min(request.groups) < 2 or request.groups[0] * request.groups[1] != request.ranks:
        levels = " x ".join(map(str, request.groups)) or "one group"
        return Rejection(Reason.SIZE, f"{request.ranks} ranks as {levels}; it takes equal groups of two ranks or more")
    outer, inner = request.groups
    radices, places = (outer, inner), (1, outer)  # a rank's row inside its group is a chunk for each group
    inside, across = Group(radices, places, 1), Group(radices, places, 0)
    if is_power_of_two(outer):
        between = (*halving(across, OUTPUT, OUTPUT, OUTPUT, True), *doubling(across, OUTPUT, True))
    else:
        between = (*ring_scatter(across, OUTPUT, OUTPUT, OUTPUT), *ring_gather(across))
    phases = (*ring_scatter(inside, INPUT, OUTPUT, OUTPUT), *between, *ring_gather(inside))
    order = f"hierarchical-{outer}x{inner}"
    if inner == 2 and is_power_of_two(outer):
        order = CANONICAL_ORDER  # a ring of two is a pair of neighbours
    return Schedule("all_reduce", "hierarchical", request.ranks, request.ranks, 2, phases, order)
