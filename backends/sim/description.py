"""What a simulated accelerator is: the description file, as frozen dataclasses.

A description is a TOML file. All numbers are in SI units: hertz, bytes, bytes per second, seconds, joules, watts. Each
key has an allowed range, which a message names. ``docs/simulator.md`` lists the keys.

Rules that no single key can say:

- A device has a matrix unit, or a vector unit, or both.
- Without a matrix unit, contractions run on the vector unit, one multiply and one add per term.
- Without a vector unit, only contractions and data movement can be done, so such a device claims no profile.
- Every dtype of a unit's ``precisions`` stands in ``supports.dtypes``; of a profile that is claimed,
  every dtype that it speaks of is one of the vector unit's.
"""

from __future__ import annotations

import functools
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from typing import Final

from ...plugin import ArgumentError
from .fields import Dataflow, Reader, Topology

__all__ = [
    "Dataflow",
    "Description",
    "Dma",
    "Links",
    "MatrixUnit",
    "Memory",
    "OffChipMemory",
    "Power",
    "Precision",
    "Price",
    "Supports",
    "Topology",
    "VectorUnit",
    "load",
    "loads",
    "preset",
    "presets",
]

#: A description is a page or two of text; anything larger is not one, and is not worth parsing.
_LARGEST: Final = 256 << 10

#: The dtypes that each profile speaks of, on which a device that claims it must therefore compute.
PROFILE_DTYPES: Final[Mapping[str, tuple[str, ...]]] = {
    "core-f32": ("float32", "int32", "bool"),
    "core-f16": ("float16", "float32", "int16", "int32", "bool"),
    "core-bf16": ("bfloat16", "float32", "int16", "int32", "bool"),
    "core-int8": ("int8", "int32", "bool"),
    "core-f64": ("float64", "int64", "int32", "bool"),
}

#: Dtypes that the results of a profile's ops have besides: random words, and the indices that sort.
_HELD_FOR_RESULTS: Final = ("uint32", "int64")

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


_PRESETS: Final = f"{__package__}.presets"
_SUFFIX: Final = ".toml"


def load(path: str | Path) -> Description:
    """Return the description in a file.

    Raises:
        ArgumentError: for a file that cannot be read, is not TOML, or describes no device; it names the dotted key,
            what was given and what is allowed.
    """
    try:
        with Path(path).open("rb") as file:
            content = file.read(_LARGEST + 1)
    except (OSError, ValueError) as error:  # ValueError: a path with a null byte
        reason = getattr(error, "strerror", None) or str(error)
        raise ArgumentError(f"device description {path}: cannot be read: {reason}", where=str(path)) from error
    if len(content) > _LARGEST:
        raise ArgumentError(f"device description {path}: larger than {_LARGEST:,} bytes", where=str(path))
    try:
        text = content.decode()
    except UnicodeDecodeError as error:
        message = f"device description {path}: is not TOML, which is UTF-8: {error}"
        raise ArgumentError(message, where=str(path)) from error
    return loads(text, str(path))


def loads(text: str, where: str = "<text>") -> Description:
    """Return the description in a TOML text; *where* names it in messages.

    Raises:
        ArgumentError: as :func:`load`.
    """
    try:
        given = tomllib.loads(text)
    except (ValueError, RecursionError) as error:  # ValueError: also integers longer than Python reads
        raise ArgumentError(f"device description {where}: is not TOML: {error}", where=where) from error
    with Reader(given, where) as reader:
        made = _description(reader)
        _check_together(made, reader)
    return made


def presets() -> tuple[str, ...]:
    """Return the names of the descriptions that come with opmux, sorted."""
    names = (entry.name for entry in resources.files(_PRESETS).iterdir())
    return tuple(sorted(name.removesuffix(_SUFFIX) for name in names if name.endswith(_SUFFIX)))


@functools.cache
def preset(name: str) -> Description:
    """Return a description that comes with opmux.

    Raises:
        ArgumentError: for a name that is none; it lists them.
    """
    if name not in presets():
        raise ArgumentError(f"no simulated device {name!r}; there are {', '.join(presets())}, and files", given=name)
    file = resources.files(_PRESETS).joinpath(name + _SUFFIX)
    return loads(file.read_text(encoding="utf-8"), f"preset {name}")


# The ranges are wide: they keep out slips of units and signs, not hardware that may come.
_COUNT: Final = (1, 1 << 20)
_BYTES: Final = (1 << 10, 1 << 50)
_BANDWIDTH: Final = (1e3, 1e18)
_SECONDS: Final = (0.0, 1.0)
_RATE: Final = (1.0 / 1024, 1024.0)
_COST: Final = (1.0 / 64, 4096.0)
_JOULES: Final = (0.0, 1e-3)


def _description(top: Reader) -> Description:
    matrix = top.optional("matrix", _matrix)
    vector = top.optional("vector", _vector)
    return Description(
        name=top.text("name"),
        clock=top.number("clock_hz", 1e3, 1e12),
        launch=top.number("launch_seconds", *_SECONDS, default=0.0),
        on_chip=top.required("on_chip", _on_chip),
        off_chip=top.required("off_chip", _off_chip),
        dma=top.required("dma", _dma),
        supports=top.required("supports", _supports),
        matrix=matrix,
        vector=vector,
        links=top.optional("links", _links),
        power=top.optional("power", _power),
        price=top.optional("price", _price),
        where=top.where,
    )


def _precision(t: Reader) -> Precision:
    return Precision(t.dtype("accumulate"), t.number("rate", *_RATE, default=1.0))


def _on_chip(t: Reader) -> Memory:
    return Memory(t.integer("bytes", *_BYTES), t.number("bandwidth", *_BANDWIDTH))


def _matrix(t: Reader) -> MatrixUnit:
    return MatrixUnit(
        rows=t.integer("rows", 1, 1 << 16),
        columns=t.integer("columns", 1, 1 << 16),
        dataflow=t.choice("dataflow", ("os", "ws", "is")),
        precisions=t.tables("precisions", _precision),
        count=t.integer("count", *_COUNT, default=1),
        double_buffered=t.flag("double_buffered", False),
        whole_tiles=t.flag("whole_tiles", False),
    )


def _vector(t: Reader) -> VectorUnit:
    return VectorUnit(
        lanes=t.integer("lanes", *_COUNT),
        precisions=t.numbers("precisions", *_RATE),
        costs=t.numbers("costs", *_COST, defaults=COST_CLASSES, known=COST_CLASSES),
    )


def _off_chip(t: Reader) -> OffChipMemory:
    return OffChipMemory(
        bytes=t.integer("bytes", *_BYTES),
        bandwidth=t.number("bandwidth", *_BANDWIDTH),
        latency=t.number("latency_seconds", *_SECONDS, default=0.0),
    )


def _dma(t: Reader) -> Dma:
    return Dma(
        engines=t.integer("engines", 1, 1 << 10),
        bandwidth=t.number("bandwidth", *_BANDWIDTH),
        latency=t.number("latency_seconds", *_SECONDS, default=0.0),
        host_bandwidth=t.number("host_bandwidth", *_BANDWIDTH),
    )


def _supports(t: Reader) -> Supports:
    return Supports(
        dtypes=t.dtypes("dtypes"),
        profiles=t.names("profiles", PROFILE_DTYPES, default=()),
        flushes_subnormals=t.flag("flushes_subnormals", False),
    )


def _links(t: Reader) -> Links:
    return Links(
        topology=t.choice("topology", ("ring", "torus", "mesh", "switch", "fully_connected")),
        count=t.integer("count", 1, 1 << 10),
        bandwidth=t.number("bandwidth", *_BANDWIDTH),
        latency=t.number("latency_seconds", *_SECONDS),
    )


def _power(t: Reader) -> Power:
    return Power(
        idle=t.number("idle_watts", 0.0, 1e6),
        mac=t.numbers("mac_joules", *_JOULES),
        vector=t.number("vector_joules", *_JOULES, default=0.0),
        on_chip=t.number("on_chip_joules_per_byte", *_JOULES, default=0.0),
        off_chip=t.number("off_chip_joules_per_byte", *_JOULES, default=0.0),
        link=t.number("link_joules_per_byte", *_JOULES, default=0.0),
    )


def _price(t: Reader) -> Price:
    made = Price(
        per_hour=t.number("per_hour", 0.0, 1e9, default=None),
        purchase=t.number("purchase", 0.0, 1e12, default=None),
        currency=t.text("currency", default="USD"),
    )
    if made.per_hour is None and made.purchase is None:
        t.fault("per_hour", "is missing; a price has per_hour, or purchase, or both")
    return made


def _check_together(made: Description, top: Reader) -> None:
    """Note what no single key can get wrong."""
    if made.matrix is None and made.vector is None:
        top.fault("matrix", "is missing, and so is vector; a device has at least one of them")
    held = set(made.supports.dtypes)
    vector = set(made.vector.precisions) if made.vector is not None else set()
    matrix = made.matrix.precisions if made.matrix is not None else {}
    wanted = [("vector.precisions", t) for t in vector]
    wanted += [("matrix.precisions", t) for t in matrix]
    wanted += [(f"matrix.precisions.{t}.accumulate", p.accumulate) for t, p in matrix.items()]
    for key, dtype in wanted:
        if dtype not in held:
            top.fault(key, f"has {dtype}, which supports.dtypes lacks ({', '.join(made.supports.dtypes)})")
    for profile in made.supports.profiles:
        for dtype in PROFILE_DTYPES.get(profile, ()):
            if dtype not in vector:
                top.fault("supports.profiles", f"has {profile}, which needs {dtype} in vector.precisions")
        for dtype in _HELD_FOR_RESULTS:
            if dtype not in held:
                top.fault("supports.profiles", f"has {profile}, which needs {dtype} in supports.dtypes for results")
    if made.power is not None and made.matrix is not None:
        for dtype in matrix.keys() - made.power.mac.keys():
            top.fault("power.mac_joules", f"lacks {dtype}, which matrix.precisions has")
    if made.power is not None and made.matrix is None and made.vector is not None:
        for dtype in vector - made.power.mac.keys():
            top.fault("power.mac_joules", f"lacks {dtype}, which vector.precisions has")
