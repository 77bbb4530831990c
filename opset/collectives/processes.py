"""Running a schedule over several processes: each drives its own ranks' parts in host memory, without further threads.

Operands that are not in host memory are copied there and back.
"""

from __future__ import annotations

import contextvars
from collections.abc import Callable, Sequence
from functools import cached_property, partial
from typing import Any, Final

import numpy as np

from ...core.arrays.array import Array
from ...core.arrays.reuse import LARGEST, Results
from ...core.arrays.transfer import contiguous, to_device
from ...core.collectives.agreement import Header, digest
from ...core.collectives.communicator import NativeStart
from ...core.collectives.engine import Call, run_rank
from ...core.collectives.exchange import Exchange, fits
from ...core.collectives.frames import Frames, Spare
from ...core.collectives.handle import Handle
from ...core.collectives.layout import INPUT, OUTPUT
from ...core.collectives.mesh import Mesh
from ...core.collectives.rank_plan import RankPlan, plan_rank
from ...core.collectives.schedule import Schedule
from ...core.collectives.watch import Elements, Running
from ...core.devices.device import Buffer, Device, find_device
from ...core.errors import CollectiveError
from ...core.rounding import rounded
from ...core.signature import signature
from .algorithms import block_slots
from .combine import Combine, combine_of
from .problem import Problem

#: Bytes in which a longer message goes that is combined with what is there. Ranks wait for each other at every piece:
#: on a busy machine pieces of 1 MiB took a quarter longer, in `all_reduce` of 8 and of 64 MiB over 2 ranks.
_PIECE: Final = 1 << 22


class Prepared:
    """A schedule made ready for a mesh: what each local rank does, and what it tells the others.

    Args:
        schedule: what is done.
        problem: the call.
        mesh: the ranks.
        attributes: what all ranks must have given alike, beside the operands.
        native: the communicator's own collective, which is done instead of the schedule, where there is one.
    """

    def __init__(
        self,
        schedule: Schedule,
        problem: Problem,
        mesh: Mesh,
        attributes: tuple[Any, ...],
        native: NativeStart | None = None,
    ) -> None:
        layout = problem.layout.bound(schedule)
        self.start = native
        self.problem, self.schedule, self.mesh = problem, schedule, mesh
        piece = _PIECE // problem.accumulator.itemsize
        self.plans = [plan_rank(schedule, layout, rank, piece) for rank in mesh.local_ranks]
        host = find_device("cpu")
        self.outputs = {rank: signature(host, problem.dtype, problem.results[rank]) for rank in mesh.local_ranks}
        self.combine: Combine | None = None
        if problem.reduction is not None:
            self.combine = _quiet(combine_of(problem.reduction, problem.accumulator))
        self.is_plain = self.fits()
        if self.is_plain:
            (rank,) = mesh.local_ranks
            made_as = self.result_as = self.outputs[rank]
            self.native_cuts = self.cuts(rank)
            self.is_row = len(problem.operands[rank]) == len(problem.results[rank]) == 1
            self.results = Results((made_as,)) if 0 < made_as.nbytes <= LARGEST else None
        alike = len(set(problem.operands)) == 1
        self.said = {
            "collective": problem.collective,
            "reduction": problem.reduction or "",
            "root": problem.arguments.get("root", -1),
            "attributes": digest(attributes),
            "dtype": problem.dtype.name,
            "shapes": problem.operands[:1] if alike else problem.operands,
            "algorithm": schedule.algorithm,
        }

    def run(self, operands: Sequence[Array | None], into: Buffer | None = None) -> tuple[Array, ...]:
        """Do the call and return the local ranks' results."""
        x = operands[0] if self.is_plain and not self.mesh.begun else None
        if x is not None and x._sig.contiguous and x._buffer.status is None:
            return self.at_once(x)
        found: tuple[Array, ...] = self.begin(operands).wait()
        return found

    def at_once(self, x: Array) -> tuple[Array, ...]:
        """Do the call of one rank, whose slots are its operand's and its result's own memory."""
        mesh = self.mesh
        turn = mesh.in_use
        if not turn.acquire(False):
            turn = mesh.take_over(turn)
        try:
            if self.results is not None:
                (y,) = self.results.take()
            else:
                y = Array(self.result_as.device.alloc(self.result_as.nbytes), self.result_as)
            slots = (x.host, y.host) if self.is_row else (x.host.reshape(-1), y.host.reshape(-1))
            native = None if self.start is None else partial(self.start, *slots, *self.native_cuts)
            owner = x, y, x._buffer  # held by itself, so that no call may write to it until this one has ended
            try:
                rest = self.exchange.run(mesh.next_call(), slots, native, owner, mesh.timeout)
            except CollectiveError as error:
                mesh.fail(error)
                raise
            if rest is not None:
                mesh.begin([rest]).advance(True)
            return (y,)
        finally:
            turn.release()

    @cached_property
    def exchange(self) -> Exchange:
        """The calls of the one rank of this process, where they need no generator."""
        ((endpoint, control),) = self.mesh.lines()
        header = Header(self.mesh.number, 0, **self.said, **self.mesh.identity)
        frames = control.frames = control.frames or Frames(endpoint)
        dtype = self.problem.accumulator.numpy
        return Exchange(endpoint, control, frames, self.plans[0], header, dtype, self.combine)

    def fits(self) -> bool:
        """Return whether a call needs no generator: one rank's, in the memory of its arrays."""
        mesh, wide = self.mesh, self.problem.accumulator
        return (
            len(self.plans) == 1
            and mesh.local_devices[0] is find_device("cpu")
            and wide is self.problem.dtype
            and not self.problem.blocked
            and mesh.local_ranks[0] not in self.schedule.zeroed
            and fits(self.plans[0], wide.itemsize)
        )

    def begin(self, operands: Sequence[Array | None]) -> Handle:
        """Begin the call; the first messages go out at once."""
        mesh = self.mesh
        turn = mesh.take_turn()
        try:
            made: list[tuple[Array, list[Elements]]] = []
            for plan, rank, x in zip(self.plans, mesh.local_ranks, operands, strict=True):
                assert x is not None  # a collective has no optional operands
                made_as = self.outputs[rank]
                y = Array(made_as.device.alloc(made_as.nbytes), made_as)
                made.append((y, self.slots(plan, x, y)))
            # Numbered once there is memory for it: a rank that had none may call again, and is not one call off then.
            header = Header(mesh.number, mesh.next_call(), **self.said, **mesh.identity)
            parts = list(map(partial(self.part, header), range(len(made)), operands, made))
            begun = mesh.begin(parts)
        finally:
            turn.release()

        def advance(wait: bool) -> bool:
            turn = mesh.take_turn()
            try:
                return begun.advance(wait)
            finally:
                turn.release()

        def result() -> tuple[Array, ...]:
            return tuple(
                self.result(rank, device, y, slots[OUTPUT])
                for rank, device, (y, slots) in zip(mesh.local_ranks, mesh.local_devices, made, strict=True)
            )

        return Handle(advance, result)

    def part(self, header: Header, i: int, x: Array, made: tuple[Array, list[Elements]]) -> Running:
        """Return what the i-th local rank does in a call."""
        mesh, (y, slots) = self.mesh, made
        endpoint, control = mesh.lines()[i]
        owner = x, y, x._buffer  # held by itself, so that no call may write to it until this one has ended
        cuts = self.cuts(mesh.local_ranks[i])
        native = None if self.start is None else partial(self.start, slots[INPUT], slots[OUTPUT], *cuts)
        control.spare = control.spare or Spare()
        known = endpoint, self.plans[i], header, slots, self.combine, control, mesh.timeout, native, owner
        return run_rank(Call(*known, control.spare))

    def cuts(self, rank: int) -> tuple[Sequence[Sequence[int]], int]:
        """Return the lengths of a rank's parts, as the communicator's own collective wants them, and the root."""
        layout = self.problem.layout
        if layout.pairs is None:
            return (layout.lengths,), self.problem.arguments.get("root", -1)
        return (layout.pairs[rank], tuple(row[rank] for row in layout.pairs)), -1

    def slots(self, plan: RankPlan, x: Array, y: Array) -> list[Elements]:
        """Return the memory of a rank's slots: its operand's and its result's own, where it can be used as it is."""
        wide = self.problem.accumulator
        plain = wide is self.problem.dtype and not self.problem.blocked
        if plain and x.device.is_host and x._sig.contiguous and x._buffer.status is None:
            own = {INPUT: x.host.reshape(-1), OUTPUT: y.host.reshape(-1)}
            return [own[i] if i in own else np.empty(n, wide.numpy) for i, n in enumerate(plan.sizes)]
        host = to_device(contiguous(x), "cpu").numpy()
        found: dict[int, Elements] = {}
        rows = host if self.problem.blocked else host[None]
        for slot, row in zip(block_slots(rows.shape[0]), rows, strict=True):
            found[slot] = np.ascontiguousarray(row, wide.numpy).reshape(-1)
        if wide is self.problem.dtype:
            found[OUTPUT] = y.host.reshape(-1)
        return [found[i] if i in found else np.empty(n, wide.numpy) for i, n in enumerate(plan.sizes)]

    def result(self, rank: int, device: Device, y: Array, elements: Elements) -> Array:
        """Return a rank's result as an array on its device."""
        if rank in self.schedule.zeroed:
            y.host[...] = 0
        elif self.problem.accumulator is not self.problem.dtype:
            y.host.reshape(-1)[...] = rounded(elements, self.problem.dtype)
        return y if y.device is device else to_device(y, device)


def _quiet(combine: Combine) -> Combine:
    """Return a combination without NumPy's warnings, in a context that has them off: entering one costs more."""
    silent = contextvars.copy_context()
    silent.run(np.seterr, all="ignore")

    def silenced(x: Elements, y: Elements, into: Elements) -> None:
        silent.copy().run(combine, x, y, into)  # a copy, since two threads cannot be in one context

    return silenced


def prepare(
    schedule: Schedule, problem: Problem, mesh: Mesh, attributes: tuple[Any, ...], native: NativeStart | None = None
) -> tuple[Callable[..., tuple[Array, ...]], Callable[..., Handle]]:
    """Return what runs a schedule on a mesh over processes, and what begins it."""
    made = Prepared(schedule, problem, mesh, attributes, native)
    return made.run, made.begin
