"""Two small interpreters of schedules, for tests: one over symbols, which checks everything, one over NumPy arrays."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from opmux.core.collectives.layout import INPUT, OUTPUT, Layout
from opmux.core.collectives.schedule import Schedule, Transfer

#: A symbol: (block, chunk) for what a rank brings, a pair of symbols for a combination.
Term = Any
Memory = list[dict[tuple[int, int], Term]]


def blocks_of(schedule: Schedule, blocks: Sequence[int] = ()) -> list[list[int]]:
    """Return the numbers of the contributions of each rank."""
    counts = blocks or (1,) * schedule.ranks
    return [list(range(sum(counts[:r]), sum(counts[: r + 1]))) for r in range(schedule.ranks)]


def chunks_of(schedule: Schedule, rank: int, slot: int) -> Sequence[int]:
    """Return the chunks that a slot of a rank has."""
    return [rank] if slot in schedule.own and schedule.chunks > 1 else range(schedule.chunks)


def run(schedule: Schedule, blocks: Sequence[int] = ()) -> Memory:
    """Return what every rank's slots hold at the end, having checked every step on the way."""
    memory: Memory = [{} for _ in range(schedule.ranks)]
    inputs = [INPUT, *range(2, schedule.inputs + 1)]
    for rank, numbers in enumerate(blocks_of(schedule, blocks)):
        for slot, number in zip(inputs, numbers, strict=False):
            memory[rank].update({(slot, c): (number, c) for c in chunks_of(schedule, rank, slot)})
    for step in schedule.steps:
        _make(schedule, list(step.all()), memory, inputs)
    return memory


def _make(schedule: Schedule, transfers: list[Transfer], memory: Memory, inputs: list[int]) -> None:
    written: dict[tuple[int, int, int], int] = {}
    values: list[Term] = []
    for i, t in enumerate(transfers):
        for k in range(t.count):
            here = memory[t.source][t.slot, t.chunk + k]  # a KeyError: read before it was written
            value = here if t.base is None else _combined(memory[t.target][t.base, t.at + k], here)
            place = (t.target, t.into, t.at + k)
            assert place not in written, f"written twice: {place}"
            assert t.into < schedule.slots, "no such slot"
            assert t.into not in inputs, "an input is written"
            assert t.at + k in chunks_of(schedule, t.target, t.into), "no such chunk"
            written[place] = i
            values.append(value)
    for i, t in enumerate(transfers):
        reads = [(t.source, t.slot, t.chunk + k) for k in range(t.count)]
        reads += [(t.target, t.base, t.at + k) for k in range(t.count) if t.base is not None]
        assert all(written.get(place, i) == i for place in reads), f"{t} reads what another transfer writes"
    for (rank, slot, chunk), value in zip(written, values, strict=True):
        memory[rank][slot, chunk] = value


def _combined(a: Term, b: Term) -> Term:
    """Combine without regard to left and right: the operations commute. The half with the lowest block stands first."""
    return (a, b) if lowest(a) < lowest(b) else (b, a)


def lowest(term: Term) -> int:
    """Return the lowest block of a term, which stands in front."""
    while isinstance(term[0], tuple):
        term = term[0]
    return int(term[0])


def leaves(term: Term) -> list[tuple[int, int]]:
    """Return what was combined, in the order of the tree."""
    if not isinstance(term[0], tuple):
        return [term]
    return [*leaves(term[0]), *leaves(term[1])]


def tree(term: Term) -> Any:
    """Return the tree over block numbers."""
    return tuple(map(tree, term)) if isinstance(term[0], tuple) else term[0]


def compute(
    schedule: Schedule, layout: Layout, given: Sequence[Sequence[Any]], combine: Callable[[Any, Any], Any]
) -> list[Any]:
    """Return every rank's output, as a layout has it; *given* are each rank's vectors."""
    layout = layout.bound(schedule)
    inputs = [INPUT, *range(2, schedule.inputs + 1)]
    like = next(v for vectors in given for v in vectors)
    memory = [
        {s: np.full(layout.size(rank, s), -77, like.dtype) for s in range(schedule.slots)}
        for rank in range(schedule.ranks)
    ]
    for rank, vectors in enumerate(given):
        memory[rank].update(zip(inputs, vectors, strict=False))
    for rank in schedule.zeroed:
        memory[rank][OUTPUT][:] = 0
    for step in schedule.steps:
        made = []
        for t in step.all():
            start, length = layout.span(t.source, t.slot, t.chunk, t.count)
            value = memory[t.source][t.slot][start : start + length]
            begin, room = layout.span(t.target, t.into, t.at, t.count)
            assert len(value) == length == room, "the two ends disagree about the length"
            if t.base is not None:
                first, many = layout.span(t.target, t.base, t.at, t.count)
                assert many == room
                value = combine(memory[t.target][t.base][first : first + many], value)
            made.append((memory[t.target][t.into], begin, np.array(value)))
        for slot, begin, value in made:
            slot[begin : begin + len(value)] = value
    return [m[OUTPUT] for m in memory]
