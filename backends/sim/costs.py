"""What a call costs in virtual time, in whole picoseconds, by the timing model."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from ...plugin import CallSpec, Signature, dtypes
from .clock import picoseconds
from .hardware import Description, VectorUnit
from .timing.op_time import Tensor, time_of


@dataclass(frozen=True, slots=True)
class Cost:
    """What a call costs.

    Attributes:
        engine: ``"matrix"``, ``"vector"`` or ``"dma"``.
        lead: picoseconds that issuing it takes.
        duration: picoseconds on the engine.
        nbytes, cycles, energy: as in spans.
    """

    engine: str
    lead: int
    duration: int
    nbytes: int
    cycles: int
    energy: float


def cost_of(description: Description, spec: CallSpec, *, on_vector_unit: bool = False) -> Cost:
    """Return what a call costs.

    Args:
        description: the device.
        spec: the call.
        on_vector_unit: whether a product is computed there, whatever the matrix unit could do.
    """
    device = replace(description, matrix=None) if on_vector_unit else description
    products = frozenset() if device.matrix is None else frozenset(device.matrix.precisions)

    def tensor(s: Signature) -> Tensor:
        given = Tensor.of(s)
        return given if spec.op == "matmul" and given.dtype in products else in_pieces(device.vector, given)

    inputs = [None if s is None else tensor(s) for s in spec.inputs]
    found = time_of(device, spec.op, inputs, [tensor(s) for s in spec.outputs], spec.attributes)
    return Cost(
        found.engine,
        picoseconds(device.launch),
        picoseconds(max(0.0, found.seconds - device.launch)),
        round(found.bytes.off_chip),
        math.ceil(found.cycles),
        found.energy_joules or 0.0,
    )


def in_pieces(unit: VectorUnit | None, given: Tensor) -> Tensor:
    """Return a tensor of integers that are wider than what the vector unit has, as one of the pieces it works on."""
    if unit is None or given.dtype in unit.precisions:
        return given
    dtype = dtypes.BY_NAME[given.dtype]
    pieces = [dtypes.BY_NAME[t] for t in unit.precisions if dtypes.BY_NAME[t].kind == dtype.kind]
    narrower = [t for t in pieces if t.itemsize < dtype.itemsize]
    if not dtype.kind.endswith("integer") or not narrower:
        return given
    widest = max(narrower, key=lambda t: t.itemsize)
    return Tensor(widest.name, (*given.shape, dtype.itemsize // widest.itemsize))


def computes(description: Description) -> frozenset[str]:
    """Return the dtypes on which the vector unit computes, in pieces or at once."""
    unit = description.vector
    if unit is None:
        return frozenset()
    held = description.supports.dtypes
    return frozenset(t for t in held if in_pieces(unit, Tensor(t, ())).dtype in unit.precisions)
