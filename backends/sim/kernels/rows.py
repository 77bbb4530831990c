"""A kernel as a row: an op, its computation over views of device memory, the unit that does it, the order it keeps."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final

import numpy as np

from ....plugin import (
    Accepts,
    Array,
    CallSpec,
    CostTerms,
    Determinism,
    Kernel,
    Prepared,
    Promises,
    Reason,
    Rejection,
    dtypes,
)
from ..costs import computes, cost_of
from ..device import SimulatedDevice
from ..hardware import Description
from ..identity import KIND, feature
from ..injection import Request
from ..memory import View
from ..queues import Queue, Task, Work

#: ``compute(out, *operands)`` over views in any strides; None for an optional operand left out.
Compute = Callable[..., None]
Bind = Callable[[CallSpec], "Compute | Rejection"]

INTEGERS: Final = frozenset(t.name for t in dtypes.INTEGERS)
FLOATS: Final = frozenset(t.name for t in dtypes.FLOATS)
BOOL: Final = frozenset({"bool"})
NUMBERS: Final = INTEGERS | FLOATS
ALL: Final = NUMBERS | BOOL
NARROW: Final = frozenset({"float16", "bfloat16"})


class Unit(StrEnum):
    """What does the work."""

    MATRIX = "matrix"
    VECTOR = "vector"
    DMA = "dma"


CANONICAL: Final = Promises(order="canonical", determinism=Determinism.CANONICAL)


@dataclass(frozen=True)
class Row:
    """One kernel.

    Attributes:
        op: the op.
        bind: binds the attributes of a call, and returns its computation or why there is none.
        accepts: dtypes per operand; those that the hardware does not have are left out.
        unit: what does the work.
        promises: the order that it keeps.
        name: the op's where none is given.
        cost: its share of the device's rates.
        accumulates: whether integers answer in the widest of their kind, which the device has to have then.
    """

    op: str
    bind: Bind
    accepts: tuple[frozenset[str], ...]
    unit: Unit = Unit.VECTOR
    promises: Promises = CANONICAL
    name: str = ""
    cost: CostTerms = field(default_factory=CostTerms)
    accumulates: bool = False


def kernel(row: Row, description: Description, suffix: str = "") -> Kernel | None:
    """Return a row as a kernel for the devices of a description; None where they have none of its dtypes."""
    held = frozenset(description.supports.dtypes)
    usable = computes(description) if row.unit is Unit.VECTOR else held
    if row.accumulates:
        usable = frozenset(t for t in usable if _accumulator(t) in held)
    accepted = tuple(each & usable for each in row.accepts)
    if not all(accepted):
        return None

    def prepare(spec: CallSpec) -> Prepared | Rejection:
        foreign = {s.dtype.name for s in (*spec.arrays, *spec.outputs)} - held
        if foreign:
            return Rejection(Reason.DTYPE, f"{description.name} has no {', '.join(sorted(foreign))}")
        for i, given in enumerate(spec.inputs):
            if accepted and given is not None and given.dtype.name not in accepted[min(i, len(accepted) - 1)]:
                return Rejection(Reason.DTYPE, f"operand {i} is {given.dtype}")
        compute = row.bind(spec)
        return compute if isinstance(compute, Rejection) else Prepared(launcher(row, description, spec, compute))

    promises = row.promises
    if description.supports.flushes_subnormals and promises is CANONICAL:
        promises = Promises()  # which canonical bits are not
    name = f"{row.name or row.op}{suffix}"
    accepts = Accepts(accepted, features=frozenset({feature(description)}))
    return Kernel(name, row.op, KIND, prepare, accepts, promises, row.cost)


def _accumulator(t: str) -> str:
    """Return the dtype in which sums of a dtype answer where nothing else is asked for."""
    widest = {"signed integer": "int64", "unsigned integer": "uint64"}
    return widest.get(dtypes.BY_NAME[t].kind, t)


def launcher(row: Row, description: Description, spec: CallSpec, compute: Compute) -> Callable[..., Task]:
    """Return the launch of a prepared kernel: its cost is that of the signature, so it is asked once."""
    cost = cost_of(description, spec, on_vector_unit=row.unit is Unit.VECTOR)

    def launch(outs: Sequence[Array], ins: Sequence[Array | None], workspace: Array | None, queue: Any) -> Task:
        target = View.of(outs[0])
        operands = [None if x is None else View.of(x) for x in ins]
        reads = tuple(view for view in operands if view is not None)

        def work() -> None:
            with np.errstate(all="ignore"):  # special values are defined results
                compute(target.content(), *[None if view is None else view.content() for view in operands])

        if not isinstance(queue, Queue) or not isinstance(device := queue.keeper, SimulatedDevice):
            raise TypeError(f"{queue!r} is not a queue of a simulated device")
        return device.submit(
            queue,
            Work(
                *(row.op, Request.LAUNCH, device.engine(cost.engine), cost.duration, work, reads, (target,)),
                *(cost.lead, cost.nbytes, cost.cycles, cost.energy),
            ),
        )

    return launch
