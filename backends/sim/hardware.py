"""The parts of a simulated accelerator, as frozen dataclasses in SI units."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from .fields import Dataflow, Topology

#: Cycles per element and lane for each class of vector operation, where a description says nothing: those of a unit
#: that does simple operations at full rate and divides and evaluates functions step by step. An assumption.
COST_CLASSES: Final[Mapping[str, float]] = {
    "simple": 1.0,
    "multiply_add": 1.0,
    "divide": 8.0,
    "square_root": 8.0,
    "transcendental": 16.0,
    "compare": 1.0,
}


@dataclass(frozen=True, slots=True)
class Precision:
    """How the matrix unit multiplies one operand dtype.

    Attributes:
        accumulate: the dtype of its accumulators.
        rate: multiply-accumulates per cell and cycle.
    """

    accumulate: str
    rate: float = 1.0


@dataclass(frozen=True, slots=True)
class MatrixUnit:
    """Systolic arrays of multiply-accumulate cells.

    Attributes:
        rows: of one array.
        columns: of one array.
        dataflow: what stays in the cells: outputs (``"os"``), weights (``"ws"``), inputs (``"is"``).
        precisions: operand dtype to how it is multiplied.
        count: arrays that work side by side.
        double_buffered: whether the cells have shadow registers, so that a fold's stationary values move while another
            fold computes. Without, each fold waits for them, as in SCALE-Sim.
        whole_tiles: whether operands lie in memory padded to whole tiles of the array, as TPU v1's weights do.
    """

    rows: int
    columns: int
    dataflow: Dataflow
    precisions: Mapping[str, Precision] = field(hash=False)
    count: int = 1
    double_buffered: bool = False
    whole_tiles: bool = False

    @property
    def cells(self) -> int:
        """Cells of all arrays together."""
        return self.rows * self.columns * self.count


@dataclass(frozen=True, slots=True)
class VectorUnit:
    """Lanes that do elementwise work and reductions.

    Attributes:
        lanes: elements worked on side by side.
        precisions: dtype to elements per lane and cycle for an operation of cost 1.
        costs: class of operation (``simple``, ``multiply_add``, ``divide``, ``square_root``, ``transcendental``,
            ``compare``) to cycles per element and lane.
    """

    lanes: int
    precisions: Mapping[str, float] = field(hash=False)
    costs: Mapping[str, float] = field(default_factory=lambda: COST_CLASSES, hash=False)


@dataclass(frozen=True, slots=True)
class Memory:
    """A memory on the chip.

    Attributes:
        bytes: capacity.
        bandwidth: bytes per second.
    """

    bytes: int
    bandwidth: float


@dataclass(frozen=True, slots=True)
class OffChipMemory:
    """The device's main memory; what a program allocates lies here.

    Attributes:
        bytes: capacity.
        bandwidth: bytes per second.
        latency: seconds until the first byte.
    """

    bytes: int
    bandwidth: float
    latency: float = 0.0


@dataclass(frozen=True, slots=True)
class Dma:
    """Engines that move data: between memories of the device, and to and from the host.

    Attributes:
        engines: how many work side by side.
        bandwidth: bytes per second of one engine between the device's memories.
        latency: seconds that a transfer takes to start.
        host_bandwidth: bytes per second to and from the host, all engines together.
    """

    engines: int
    bandwidth: float
    latency: float
    host_bandwidth: float


@dataclass(frozen=True, slots=True)
class Links:
    """What connects devices of this kind with each other.

    Attributes:
        topology: ``ring``, ``torus`` (two-dimensional), ``mesh`` (two-dimensional), ``switch``, ``fully_connected``.
        count: links of one device.
        bandwidth: bytes per second of one link in one direction.
        latency: seconds per hop.
    """

    topology: Topology
    count: int
    bandwidth: float
    latency: float


@dataclass(frozen=True, slots=True)
class Power:
    """What work costs in energy.

    Attributes:
        idle: watts that the device draws whether or not it works.
        mac: operand dtype to joules per multiply-accumulate.
        vector: joules per element and unit of cost on the vector unit.
        on_chip: joules per byte moved to or from the on-chip memory.
        off_chip: joules per byte moved to or from the off-chip memory.
        link: joules per byte sent over a link.
    """

    idle: float
    mac: Mapping[str, float] = field(hash=False)
    vector: float = 0.0
    on_chip: float = 0.0
    off_chip: float = 0.0
    link: float = 0.0


@dataclass(frozen=True, slots=True)
class Price:
    """What the device costs.

    Attributes:
        per_hour: to rent, or None where that is not known.
        purchase: to buy, or None where that is not known.
        currency: three letters.
    """

    per_hour: float | None = None
    purchase: float | None = None
    currency: str = "USD"


@dataclass(frozen=True, slots=True)
class Supports:
    """What programs may ask of the device.

    Attributes:
        dtypes: what its memory and its movement ops may hold.
        profiles: what it claims to pass whole.
        flushes_subnormals: whether results below the smallest normal number become zero.
    """

    dtypes: tuple[str, ...]
    profiles: tuple[str, ...] = ()
    flushes_subnormals: bool = False


@dataclass(frozen=True, slots=True)
class Description:
    """A simulated accelerator. SI units throughout.

    Attributes:
        name: for people.
        clock: cycles per second of every unit.
        launch: seconds from the submission of one operation to its start.
        on_chip: the memory beside the units.
        off_chip: the main memory.
        dma: what moves data.
        supports: dtypes and profiles.
        matrix: the matrix unit, if there is one.
        vector: the vector unit, if there is one.
        links: to other devices, if there are any.
        power: where it is known.
        price: where it is known.
        where: the file, for messages.

    >>> from opmux.backends.sim.description import preset
    >>> preset("tpu-v1").peak_operations("int8") / 1e12
    91.75...
    """

    name: str
    clock: float
    launch: float
    on_chip: Memory
    off_chip: OffChipMemory
    dma: Dma
    supports: Supports
    matrix: MatrixUnit | None = None
    vector: VectorUnit | None = None
    links: Links | None = None
    power: Power | None = None
    price: Price | None = None
    where: str = ""

    def peak_operations(self, dtype: str) -> float:
        """Return operations per second at best, a multiply-accumulate counting two; 0 for a dtype of neither unit."""
        best = 0.0
        if self.matrix is not None and dtype in self.matrix.precisions:
            best = 2.0 * self.matrix.cells * self.matrix.precisions[dtype].rate * self.clock
        if self.vector is not None and dtype in self.vector.precisions:
            vector = self.vector
            cycles = vector.costs["multiply_add"]
            best = max(best, 2.0 * vector.lanes * vector.precisions[dtype] * self.clock / cycles)
        return best
