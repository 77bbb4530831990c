"""From a description's tables to its dataclasses: ranges, and what no single key can get wrong."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from .fields import Reader
from .hardware import (
    COST_CLASSES,
    Description,
    Dma,
    Links,
    MatrixUnit,
    Memory,
    OffChipMemory,
    Power,
    Precision,
    Price,
    Supports,
    VectorUnit,
)

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
#: On the lanes, one of these: every profile has `random_bits`, whose words are worked on whole or in pieces.
_WORDS: Final = ("uint32", "uint16", "uint8")

# The ranges are wide: they keep out slips of units and signs, not hardware that may come.
_COUNT: Final = (1, 1 << 20)
_BYTES: Final = (1 << 10, 1 << 50)
_BANDWIDTH: Final = (1e3, 1e18)
_SECONDS: Final = (0.0, 1.0)
_RATE: Final = (1.0 / 1024, 1024.0)
_COST: Final = (1.0 / 64, 4096.0)
_JOULES: Final = (0.0, 1e-3)


def parse(top: Reader) -> Description:
    """Return what the whole of a description says; faults are the reader's."""
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


def check_together(made: Description, top: Reader) -> None:
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
        if not vector.intersection(_WORDS):
            top.fault(
                "supports.profiles", f"has {profile}, which needs {_WORDS[0]} in vector.precisions for random words"
            )
        for dtype in _HELD_FOR_RESULTS:
            if dtype not in held:
                top.fault("supports.profiles", f"has {profile}, which needs {dtype} in supports.dtypes for results")
    if made.power is not None and made.matrix is not None:
        for dtype in matrix.keys() - made.power.mac.keys():
            top.fault("power.mac_joules", f"lacks {dtype}, which matrix.precisions has")
    if made.power is not None and made.matrix is None and made.vector is not None:
        for dtype in vector - made.power.mac.keys():
            top.fault("power.mac_joules", f"lacks {dtype}, which vector.precisions has")
