"""Running a schedule over devices of this process, as calls of the opset on the ranks' values.

Arrays being values, a chunk of a slot is an array, a combination a call of the op that combines, and a message a copy
to another device. So every device that has the opset has every collective, and late errors, queues and memory order are
those of any other call.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from ...core.arrays.array import Array
from ...core.arrays.metadata import reshape
from ...core.arrays.transfer import contiguous, to_device
from ...core.collectives.layout import OUTPUT, Layout
from ...core.collectives.schedule import Schedule, Transfer
from ...core.devices.device import Device
from ...core.op import OPS
from ...core.signature import Shape
from .algorithms import block_slots
from .problem import Problem

#: Of each rank the pieces of its slots, by slot and chunk.
State = list[dict[tuple[int, int], Array]]


def run(schedule: Schedule, problem: Problem, operands: Sequence[Array]) -> list[Array]:
    """Execute a schedule; *operands* and results are one per rank, on the rank's device, in memory of their own."""
    layout = problem.layout.bound(schedule)
    devices = [x.device for x in operands]
    state: State = [_pieces(schedule, problem, layout, rank, x) for rank, x in enumerate(operands)]
    combine = None if problem.combine is None else OPS.public[problem.combine]
    for step in schedule.steps:
        # Every transfer of a step reads what was there before the step, and waits for nothing that came later.
        for t in step.all():
            for c in () if t.is_local else range(t.chunk, t.chunk + t.count):
                state[t.source][t.slot, c]._buffer.record_write()
        made = [(t, _arriving(t, state, devices, combine)) for t in step.all()]
        for t, pieces in made:
            for i, piece in enumerate(pieces):
                state[t.target][t.into, t.at + i] = piece
    results = [_result(schedule, problem, layout, rank, state[rank], devices[rank]) for rank in range(schedule.ranks)]
    # A result in an operand's memory would bar that from `out=`, or not, as prices choose this way or a kernel.
    given = {id(x._buffer) for x in operands}
    return [OPS.public["copy"](y) if id(y._buffer) in given else y for y in results]


def _pieces(
    schedule: Schedule, problem: Problem, layout: Layout, rank: int, operand: Array
) -> dict[tuple[int, int], Array]:
    """Cut a rank's contributions into the chunks of its input slots."""
    dense = contiguous(operand)
    if problem.accumulator is not problem.dtype:
        dense = OPS.public["cast"](dense, dtype=problem.accumulator)
    rows = [dense] if not problem.blocked else [dense[i] for i in range(dense.shape[0])]
    found = {}
    for slot, row in zip(block_slots(len(rows)), rows, strict=True):
        flat = reshape(row, (-1,))
        for c in [rank] if slot in layout.own else range(schedule.chunks):
            start, length = layout.span(rank, slot, c, 1)
            found[slot, c] = flat[start : start + length]
    return found


def _arriving(
    t: Transfer, state: State, devices: Sequence[Device], combine: Callable[[Array, Array], Array] | None
) -> list[Array]:
    """Return what a transfer puts into its target's chunks."""
    found = []
    for i in range(t.count):
        piece = to_device(state[t.source][t.slot, t.chunk + i], devices[t.target])
        if t.base is not None and combine is not None:
            piece = combine(state[t.target][t.base, t.at + i], piece)
        found.append(piece)
    return found


def _result(
    schedule: Schedule,
    problem: Problem,
    layout: Layout,
    rank: int,
    pieces: dict[tuple[int, int], Array],
    device: Device,
) -> Array:
    """Join the chunks of a rank's output slot; zeros where nothing arrives."""
    shape: Shape = problem.results[rank]
    if rank in schedule.zeroed:
        zeros: Array = OPS.public["full"](shape, 0, dtype=problem.dtype, device=device)
        return zeros
    found = [pieces[OUTPUT, c] for c in ([rank] if OUTPUT in layout.own else range(schedule.chunks))]
    joined = found[0] if len(found) == 1 else OPS.public["concat"](found)
    if problem.accumulator is not problem.dtype:
        joined = OPS.public["cast"](joined, dtype=problem.dtype)
    return reshape(contiguous(joined), shape)
