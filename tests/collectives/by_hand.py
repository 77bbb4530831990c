"""Schedules written out by hand, and what they must give; and opmux's own algorithms beside them."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from opmux.core.collectives.begun import Begun
from opmux.core.collectives.engine import Running
from opmux.core.collectives.layout import Layout, cut
from opmux.core.collectives.schedule import INPUT, OUTPUT, Schedule, Step, Transfer
from opmux.core.kernel import Rejection
from opmux.opset.collectives.algorithms import ALGORITHMS

Values = NDArray[np.int64]
#: What each rank brings, by rank.
Brought = list[Values]


def drive(parts: Iterable[Running], progress: Callable[[], object] | None = None) -> None:
    """Bring a call to its end as a mesh does; between rounds, let the network of a test move."""
    begun = Begun(list(parts), [], lambda error: None)
    if progress is None:
        begun.advance(True)
        return
    try:
        while not begun.advance(False):
            progress()
    except BaseException as error:
        begun.abandon(error)
        raise


@dataclass(frozen=True)
class Collective:
    """A schedule, where its chunks lie, and what each rank must have at the end."""

    schedule: Schedule
    layout: Layout
    expected: Callable[[Brought], list[Values]]

    @property
    def name(self) -> str:
        return self.schedule.collective


def ring(ranks: int, length: int) -> Collective:
    """A sum over all ranks, passed around twice."""
    if ranks == 1:
        steps = [Step((Transfer(0, 0, 0),))]
    else:
        steps = [
            Step((Transfer(0, 1, -k % ranks, slot=INPUT if k == 0 else OUTPUT, base=INPUT),), (ranks,))
            for k in range(ranks - 1)
        ]
        steps += [Step((Transfer(0, 1, (1 - k) % ranks, slot=OUTPUT),), (ranks,)) for k in range(ranks - 1)]
    schedule = Schedule("all_reduce", "ring", ranks, ranks, 2, tuple(steps))
    return Collective(schedule, Layout(cut(length, ranks)), _sums)


def doubling(ranks: int, length: int) -> Collective:
    """A sum over a power of two of ranks; each exchange reads and writes the same memory."""
    steps = [Step(tuple(Transfer(r, r, 0) for r in range(ranks)))]
    for bit in range(int(math.log2(ranks))):
        pairs = tuple(Transfer(r, r ^ (1 << bit), 0, slot=OUTPUT, base=OUTPUT) for r in range(ranks))
        steps.append(Step(pairs))
    return Collective(Schedule("all_reduce", "doubling", ranks, 1, 2, tuple(steps)), Layout((length,)), _sums)


def algorithm(name: str, ranks: int, length: int) -> Collective:
    """A sum by one of opmux's own algorithms; by the ring above where it has no schedule for so many ranks."""
    found = next(a for a in ALGORITHMS["all_reduce"] if a.name == name)
    schedule = found.build(ranks, groups=(2, ranks // 2) if name == "hierarchical" and ranks % 2 == 0 else ())
    if isinstance(schedule, Rejection):
        return ring(ranks, length)
    return Collective(schedule, Layout((length,)).bound(schedule), _sums)


def gather(ranks: int, length: int) -> Collective:
    """Every rank's uneven part, to every rank, in one step."""
    lengths = tuple((length + 3 * r) % 7 for r in range(ranks))
    step = Step(tuple(Transfer(r, t, r) for r in range(ranks) for t in range(ranks)))
    schedule = Schedule("all_gather", "direct", ranks, ranks, 2, (step,))
    return Collective(schedule, Layout(lengths, own=frozenset({INPUT})), lambda x: [np.concatenate(x)] * len(x))


def broadcast(ranks: int, length: int, root: int = 0) -> Collective:
    """The root's array, by a binomial tree."""
    steps, have = [Step((Transfer(root, root, 0),))], 1
    while have < ranks:
        pairs = [(i, i + have) for i in range(have) if i + have < ranks]
        steps.append(Step(tuple(Transfer((a + root) % ranks, (b + root) % ranks, 0, slot=OUTPUT) for a, b in pairs)))
        have *= 2
    schedule = Schedule("broadcast", f"tree{root}", ranks, 1, 2, tuple(steps))
    return Collective(schedule, Layout((length,)), lambda x: [x[root]] * len(x))


def exchange(ranks: int, length: int) -> Collective:
    """An all_to_all in which each pair of ranks has another size."""
    pairs = tuple(tuple((length + r + 2 * t) % 5 for t in range(ranks)) for r in range(ranks))
    step = Step(tuple(Transfer(r, t, t, at=r) for r in range(ranks) for t in range(ranks)))
    schedule = Schedule("all_to_all", "direct", ranks, ranks, 2, (step,))

    def expected(x: Brought) -> list[Values]:
        starts = [np.cumsum((0, *row)) for row in pairs]
        return [np.concatenate([x[r][starts[r][t] : starts[r][t + 1]] for r in range(ranks)]) for t in range(ranks)]

    return Collective(schedule, Layout((0,) * ranks, pairs=pairs), expected)


def barrier(ranks: int, length: int = 0) -> Collective:
    """Empty messages."""
    return Collective(ring(ranks, 0).schedule, Layout((0,) * ranks), lambda x: [x[0]] * len(x))


def _sums(brought: Brought) -> list[Values]:
    total = np.sum(brought, axis=0, dtype=np.int64)
    return [total] * len(brought)
