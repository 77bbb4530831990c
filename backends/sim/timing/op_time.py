"""How long one op takes on a described accelerator, on which unit, and at what cost in energy."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal, NamedTuple

from ....plugin import ArgumentError, Signature, dtypes
from ..hardware import Description, MatrixUnit, VectorUnit
from . import memory, systolic, vector
from .memory import Traffic

Engine = Literal["matrix", "vector", "dma"]
Bound = Literal["compute", "memory", "launch"]

#: Ops that only move bytes.
MOVEMENT: Final = frozenset(
    {"concat", "pad", "gather", "scatter", "copy", "bitcast", "real", "imag", "complex", "conj"}
)
CONTRACTIONS: Final = frozenset({"matmul", "conv"})


class Tensor(NamedTuple):
    """Dtype, by name, and shape of an operand or result."""

    dtype: str
    shape: tuple[int, ...]

    @classmethod
    def of(cls, signature: Signature) -> Tensor:
        """Return those of a signature."""
        return cls(signature.dtype.name, tuple(signature.shape))

    @property
    def elements(self) -> int:
        """How many it has."""
        return math.prod(self.shape)

    @property
    def bytes(self) -> int:
        """How many it takes."""
        return self.elements * dtypes.BY_NAME[self.dtype].itemsize


@dataclass(frozen=True, slots=True)
class OpTime:
    """What an op costs.

    Attributes:
        seconds: from submission to the last byte, on a device that does nothing else.
        cycles: that the engine is busy.
        engine: what does the work: ``"matrix"``, ``"vector"``, ``"dma"``.
        bytes: moved at each level.
        flops: operations, a multiply-accumulate counting two.
        energy_joules: of the work and of idling meanwhile; None where the description has no power.
        bound: what the time is mostly made of: ``"compute"``, ``"memory"`` or ``"launch"``.
        utilisation: flops over what the engine could do in that time; 0 for what only moves.
    """

    seconds: float
    cycles: float
    engine: Engine
    bytes: Traffic
    flops: float
    energy_joules: float | None
    bound: Bound
    utilisation: float


def time_of(
    device: Description,
    op: str,
    inputs: Sequence[Tensor | None],
    outputs: Sequence[Tensor],
    attributes: Mapping[str, Any] | None = None,
) -> OpTime:
    """Return what one op costs: any primitive of the opset that is no collective, and ``conv``.

    Args:
        device: what it runs on.
        op: its name.
        inputs: its operands; None for an optional one left out.
        outputs: its results.
        attributes: as normalised by the opset; of them only ``axis`` matters.

    Raises:
        ArgumentError: for an op that is not known, or a dtype that no unit of the device computes; it names both.

    >>> from opmux.backends.sim.description import preset
    >>> tile = Tensor("int8", (256, 256))
    >>> time_of(preset("tpu-v1"), "matmul", [tile, tile], [Tensor("int32", (256, 256))]).engine
    'matrix'
    """
    given = [t for t in inputs if t is not None]
    if op in MOVEMENT:
        return _movement(device, op, given, outputs)
    if op in CONTRACTIONS:
        return _contraction(device, op, given, outputs[0])
    return _vector(device, op, given, outputs, attributes or {})


def _movement(device: Description, op: str, inputs: Sequence[Tensor], outputs: Sequence[Tensor]) -> OpTime:
    written = sum(t.bytes for t in outputs)
    read = sum(t.bytes for t in inputs)
    if op == "gather":  # reads what it writes, and the indices, however large the operand is
        read = written + inputs[-1].bytes
    moved = float(read + written)
    seconds = memory.off_chip_seconds(device, moved)
    return _finished(device, "dma", 0.0, seconds, Traffic(2 * moved, moved), 0.0, 0.0, cycles=seconds * device.clock)


def _vector(
    device: Description, op: str, inputs: Sequence[Tensor], outputs: Sequence[Tensor], attributes: Mapping[str, Any]
) -> OpTime:
    # A cast computes on either side, whichever is slower; everything else on its operands.
    sides = {t.dtype for t in (*inputs, *outputs)} if op == "cast" else {t.dtype for t in inputs or outputs}
    read, written = max((t.elements for t in inputs), default=0), sum(t.elements for t in outputs)
    if op not in vector.OPS:
        raise ArgumentError(f"{op}: no op whose time is known on {device.name}", op=op, device=device.name)
    unit, dtype = _computing(device, op, sides)
    work = vector.work_of(op, read, written, _line(inputs, attributes), unit.lanes)
    joules = device.power.vector * work.elements * unit.costs[work.cost] if device.power is not None else 0.0
    return _on_lanes(device, unit, dtype, work, inputs, outputs, flops=work.elements, joules=joules, per_lane=1)


def _on_lanes(
    device: Description,
    unit: VectorUnit,
    dtype: str,
    work: vector.Work,
    inputs: Sequence[Tensor],
    outputs: Sequence[Tensor],
    *,
    flops: float,
    joules: float,
    per_lane: int,
) -> OpTime:
    traffic = float(sum(t.bytes for t in (*inputs, *outputs)))
    cycles = vector.cycles(unit, work, dtype) if work.elements else 0.0
    load = memory.off_chip_seconds(device, sum(t.bytes for t in inputs))
    store = memory.off_chip_seconds(device, sum(t.bytes for t in outputs))
    compute = max(cycles / device.clock, traffic / device.on_chip.bandwidth)
    return _finished(
        device,
        "vector",
        compute,
        load + store,
        Traffic(2 * traffic, traffic),
        flops,
        joules,
        cycles=cycles,
        busy=memory.overlapped(load, compute, store, memory.tiles_of(device, traffic)),
        peak=per_lane * unit.lanes * unit.precisions[vector.COMPLEX.get(dtype, dtype)] * device.clock,
    )


def _line(inputs: Sequence[Tensor], attributes: Mapping[str, Any]) -> int:
    """Return the length of the lines that a scan, sort or search goes along."""
    if not inputs or not inputs[0].shape:
        return 1
    axis = attributes.get("axis", -1)
    return inputs[0].shape[axis if isinstance(axis, int) else -1]


def _computing(device: Description, op: str, sides: set[str]) -> tuple[VectorUnit, str]:
    """Return the vector unit, and of the dtypes that take part the one on which it is slowest.

    Storage dtypes are only widened on the way, and what the unit lacks is only stored, while another side computes.
    """
    unit = device.vector
    wanted = sorted(t for t in sides if dtypes.BY_NAME[t].kind != dtypes.STORAGE) or ["float32"]
    known: Mapping[str, float] = unit.precisions if unit is not None else {}
    rates = {t: known[vector.COMPLEX.get(t, t)] for t in wanted if vector.COMPLEX.get(t, t) in known}
    if unit is None or not rates:
        has = f"its vector unit has {', '.join(known)}" if unit is not None else "it has no vector unit"
        raise ArgumentError(
            f"{op}: {device.name} does not compute on {', '.join(wanted)}; {has}",
            op=op,
            device=device.name,
            dtypes=tuple(wanted),
        )
    return unit, min(rates, key=rates.__getitem__)


def _contraction(device: Description, op: str, inputs: Sequence[Tensor], output: Tensor) -> OpTime:
    m, n, k, batch = _conv_sizes(inputs, output) if op == "conv" else _matmul_sizes(inputs, output)
    dtype = inputs[0].dtype
    unit = device.matrix
    macs = float(m * n * k * batch)
    if unit is None or dtype not in unit.precisions:
        return _product_on_lanes(device, op, inputs, output, macs)
    precision = unit.precisions[dtype]
    array = systolic.Array(unit.rows, unit.columns, unit.dataflow)
    cycles = systolic.cycles(
        m, n, k, array, count=unit.count, rate=precision.rate, double_buffered=unit.double_buffered, batch=batch
    )
    sizes = _in_memory(unit, inputs, output, m, n, k, batch)
    width = dtypes.BY_NAME[precision.accumulate].itemsize
    loaded = batch * memory.product_loads(device, sizes, m, n, width) + sum(t.bytes for t in inputs[2:])
    load = memory.off_chip_seconds(device, loaded)
    store = memory.off_chip_seconds(device, output.bytes)
    compute = cycles / device.clock
    folds = math.ceil(batch * systolic.gemm(m, n, k, array).folds / unit.count)
    busy = memory.overlapped(load, compute, store, max(1, folds))
    run = systolic.gemm(m, n, k, array)
    itemsize = dtypes.BY_NAME[dtype].itemsize
    on_chip = batch * ((run.input_reads + run.weight_reads) * itemsize + run.output_writes * width)
    return _finished(
        device,
        "matrix",
        compute,
        load + store,
        Traffic(float(on_chip), loaded + output.bytes),
        2 * macs,
        _mac_joules(device, dtype) * macs,
        cycles=cycles,
        busy=busy,
        peak=2 * unit.cells * precision.rate * device.clock,
    )


def _product_on_lanes(device: Description, op: str, inputs: Sequence[Tensor], output: Tensor, macs: float) -> OpTime:
    """Return the time of a product without a matrix unit for its dtype: a multiply and an add per term."""
    unit, dtype = _computing(device, op, {inputs[0].dtype})
    work = vector.Work(macs, "multiply_add")
    joules = _mac_joules(device, dtype) * macs
    return _on_lanes(device, unit, dtype, work, inputs, [output], flops=2 * macs, joules=joules, per_lane=2)


def _matmul_sizes(inputs: Sequence[Tensor], output: Tensor) -> tuple[int, int, int, int]:
    """Return (m, n, k, batch); a second operand without batches makes one tall product of all of them."""
    x1, x2 = inputs[0].shape, inputs[1].shape
    k = x1[-1] if x1 else 1
    m = x1[-2] if len(x1) > 1 else 1
    n = x2[-1] if len(x2) > 1 else 1
    batch = output.elements // (m * n) if m and n else 0
    if math.prod(x2[:-2]) == 1:
        return m * batch, n, k, 1 if batch else 0
    return m, n, k, batch


def _conv_sizes(inputs: Sequence[Tensor], output: Tensor) -> tuple[int, int, int, int]:
    """Return (m, n, k, groups) of a convolution lowered to products, one per group.

    Layouts are (batch, channels, ...), and (filters, channels of a group, ...) for the weight.
    """
    x, weight = inputs[0].shape, inputs[1].shape
    groups = x[1] // weight[1] if weight[1] else 0
    filters = output.shape[1] // groups if groups else 0
    pixels = output.shape[0] * math.prod(output.shape[2:])
    return pixels, filters, math.prod(weight[1:]), groups


def _in_memory(
    unit: MatrixUnit, inputs: Sequence[Tensor], output: Tensor, m: int, n: int, k: int, batch: int
) -> memory.Operands:
    """Return the bytes of one product's operands as they lie in memory."""
    itemsize = dtypes.BY_NAME[inputs[1].dtype].itemsize
    weights = k * n * itemsize
    if unit.whole_tiles:
        weights = -(-k // unit.rows) * unit.rows * -(-n // unit.columns) * unit.columns * itemsize
    each = max(1, batch)
    return memory.Operands(inputs[0].bytes / each, weights, output.bytes / each)


def _mac_joules(device: Description, dtype: str) -> float:
    return device.power.mac.get(dtype, 2 * device.power.vector) if device.power is not None else 0.0


def _finished(
    device: Description,
    engine: Engine,
    compute: float,
    moving: float,
    traffic: Traffic,
    flops: float,
    joules: float,
    *,
    cycles: float,
    busy: float | None = None,
    peak: float = 0.0,
) -> OpTime:
    seconds = device.launch + (moving if busy is None else busy)
    parts: dict[Bound, float] = {"compute": compute, "memory": moving, "launch": device.launch}
    largest: Callable[[Bound], float] = parts.__getitem__
    power = device.power
    energy = None
    if power is not None:
        moved = traffic.on_chip * power.on_chip + traffic.off_chip * power.off_chip + traffic.link * power.link
        energy = joules + moved + power.idle * seconds
    utilisation = flops / (seconds * peak) if peak and seconds else 0.0
    return OpTime(seconds, cycles, engine, traffic, flops, energy, max(parts, key=largest), utilisation)
