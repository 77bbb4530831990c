"""What a replay keeps: tasks, tallies, where buffers are, engines, and which calls read what."""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass, field
from typing import Final

from ....plugin import CallLog, LoggedCall
from ..clock import Engine
from ..hardware import Description

HOST: Final = "host"
HOST_LINK: Final = "host link"
LINKS: Final = "links"


@dataclass(frozen=True, slots=True)
class Task:
    """One piece of work in virtual time.

    Attributes:
        number: its place in the list of tasks.
        device: index of the device; -1 for the host.
        engine: what it keeps busy: ``"matrix"``, ``"vector"``, ``"dma"``, ``"host link"``, ``"links"`` or ``"host"``.
        op: the op; ``"upload"``, ``"download"`` or ``"spill"`` for what moves.
        call: number of the logged call.
        start, end: virtual picoseconds.
        nbytes: bytes of off-chip memory, or carried.
        after: numbers of tasks that it waited for.
    """

    number: int
    device: int
    engine: str
    op: str
    call: int
    start: int
    end: int
    nbytes: int
    after: tuple[int, ...] = ()


@dataclass(slots=True)
class Tally:
    """What one op came to on one engine, over all calls.

    Attributes:
        calls: times it was carried out; for moves, how many there were.
        seconds: each on a device that does nothing else, added up.
        bound: seconds by what they were bound by.
        used: utilisation times seconds.
        flops, nbytes: operations, and bytes of off-chip memory or carried.
        inside: ops of the program that it is a part of.
        reasons: why it ran on the host.
        dtypes: flops, bytes and seconds by dtype.
    """

    calls: int = 0
    seconds: float = 0.0
    bound: dict[str, float] = field(default_factory=dict)
    used: float = 0.0
    flops: float = 0.0
    nbytes: float = 0.0
    inside: dict[str, None] = field(default_factory=dict)
    reasons: dict[str, None] = field(default_factory=dict)
    dtypes: dict[str, tuple[float, float, float]] = field(default_factory=dict)


class Place:
    """Where a buffer is, and since when."""

    __slots__ = (
        "counted", "device", "device_ready", "host_ready", "maker", "nbytes", "on_device", "on_host", "read", "used",
        "written",
    )  # fmt: skip

    def __init__(self, nbytes: int, device: int) -> None:
        self.nbytes = nbytes
        self.device = device
        self.on_device = self.on_host = False
        self.device_ready = self.host_ready = 0  # picoseconds
        self.used = 0  # the end of the last work that reads or writes it on the device
        self.maker: int | None = None  # the task that its content comes from
        self.counted = False  # whether it is part of what the program wants in memory
        self.written = False  # by a call
        self.read = False  # by a call, since it was written

    def made(self, end: int, task: int) -> None:
        """Note that a task writes it on the device."""
        self.on_device, self.on_host = True, False
        self.device_ready = self.used = end
        self.maker = task
        self.written, self.read = True, False


class SimDevice:
    """The engines and the memory of one described device."""

    def __init__(self, description: Description, index: int) -> None:
        self.index = index
        has = {"matrix": description.matrix, "vector": description.vector, "dma": description.dma}
        self.units = {name: Engine(name) for name, unit in has.items() if unit is not None}
        self.host_link = Engine(HOST_LINK)
        self.links = Engine(LINKS)
        self.issued = 0
        self.tail = 0
        self.resident = 0
        self.wanted = 0
        self.peak = 0

    def engines(self) -> list[Engine]:
        """Return all of them."""
        return [*self.units.values(), self.host_link, self.links]


class Uses:
    """What every replay of a log needs of it, found once.

    Attributes:
        reads: the calls that read each buffer, ascending.
        devices: indices of the devices that the program ran on, by name.
        inputs: of each call, the operands that are there.
        buffers: of each call, those that it touches, each once.
        kinds: of each call a number; calls with one number have equal ops, signatures and attributes.
    """

    def __init__(self, log: CallLog) -> None:
        self.reads: dict[int, list[int]] = {}
        self.inputs = [[x for x in c.inputs if x is not None] for c in log.calls]
        self.buffers = [
            list(dict.fromkeys([x.buffer for x in (*given, *c.outputs)]))
            for c, given in zip(log.calls, self.inputs, strict=True)
        ]
        known: dict[tuple[object, ...], int] = {}
        self.kinds = [known.setdefault(_kind(c), len(known)) for c in log.calls]
        names: dict[str, None] = {}
        for call in log.calls:
            for x in call.inputs:
                if x is not None:
                    of = self.reads.setdefault(x.buffer, [])
                    if not of or of[-1] != call.number:
                        of.append(call.number)
            for x in call.outputs:
                names[log.buffers[x.buffer].device] = None
        self.devices: dict[str, int] = {name: i for i, name in enumerate(sorted(names))}

    def next_after(self, buffer: int, call: int) -> float:
        """Return the next call that reads a buffer; infinity where none does."""
        reads = self.reads.get(buffer, [])
        at = bisect_right(reads, call)
        return reads[at] if at < len(reads) else float("inf")


def _kind(call: LoggedCall) -> tuple[object, ...]:
    # 1, 1.0 and True are equal, and different attributes.
    types = tuple(type(v) for _, v in call.attributes)
    return call.op.name, tuple(None if x is None else x.sig for x in call.inputs), call.attributes, types
