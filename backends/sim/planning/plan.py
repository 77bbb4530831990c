"""The plan: what a recorded program would come to on a described device."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import Any, Final

from ....plugin import CallLog
from ..hardware import Description
from .lowering import Lowering
from .replay import Replay
from .state import HOST, HOST_LINK, LINKS, Tally, Task, Uses

_HOUR: Final = 3600.0
#: Why a call runs on the host: more reasons than that are counted.
_REASONS: Final = 3
#: Called before each replay with how many are done, how many there are, and what the next one leaves out.
Progress = Callable[[int, int, str], None]


@dataclass(frozen=True, slots=True)
class OpRow:
    """What one op came to.

    Attributes:
        op: the op that a kernel does; ``"upload"``, ``"download"`` or ``"spill"`` for what moves.
        engine: where: ``"matrix"``, ``"vector"``, ``"dma"``, ``"links"``, ``"host link"`` or ``"host"``.
        calls: how often.
        seconds: of all calls, each by itself.
        share: of the seconds of all rows.
        bound: what most of the seconds are bound by; empty for moves and the host.
        utilisation: operations over what the engine could do in that time; None where nothing is computed on it.
        inside: ops of the program that it is a part of.
        reason: why it ran on the host.
    """

    op: str
    engine: str
    calls: int
    seconds: float
    share: float
    bound: str
    utilisation: float | None
    inside: tuple[str, ...] = ()
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Absence:
    """What the program would take if the device had no kernel for an op.

    Attributes:
        op: the op.
        seconds: of the program then.
        times: how many times longer.
        instead: ``"decomposition"`` or ``"host"``: what does it then.
    """

    op: str
    seconds: float
    times: float
    instead: str


@dataclass(frozen=True, slots=True)
class Point:
    """An op on one dtype under the roofline.

    Attributes:
        op, dtype: which.
        flops, nbytes, seconds: operations, bytes of off-chip memory, and time, of all calls.
    """

    op: str
    dtype: str
    flops: float
    nbytes: float
    seconds: float


@dataclass(frozen=True, slots=True)
class Plan:
    """A program on devices of one description.

    Attributes:
        device: the description.
        devices: how many of it: one for each that the program ran on.
        seconds: virtual time of the whole program.
        joules: of the devices, idling included; None where the description has no power.
        price: of the devices for that time; None where the description has no price per hour.
        currency: of the price.
        peak: the most bytes that one device would have to hold at once.
        uploaded, downloaded, spilled: bytes over the host's link; the last because memory does not suffice.
        calls, fallbacks: of the program; those that run on the host.
        engines: the share of the time during which each works, by ``device engine``.
        ops: what each op came to, the longest first.
        absences: what the lack of an op costs, the dearest first; empty where it was not asked for.
        points: for the roofline.
        tasks: the timeline.
        complete: whether the log holds the program to its end.
    """

    device: Description
    devices: int
    seconds: float
    joules: float | None
    price: float | None
    currency: str
    peak: int
    uploaded: int
    downloaded: int
    spilled: int
    calls: int
    fallbacks: int
    engines: dict[str, float]
    ops: tuple[OpRow, ...]
    absences: tuple[Absence, ...]
    points: tuple[Point, ...]
    tasks: tuple[Task, ...] = field(repr=False)
    complete: bool

    @property
    def capacity(self) -> int:
        """Bytes of memory of one device."""
        return self.device.off_chip.bytes

    def to_dict(self) -> dict[str, Any]:
        """Return it as plain data, without the timeline."""
        return {
            "device": self.device.name,
            "where": self.device.where,
            "devices": self.devices,
            "seconds": self.seconds,
            "joules": self.joules,
            "price": self.price,
            "currency": None if self.price is None else self.currency,
            "memory": {"peak": self.peak, "capacity": self.capacity, "spilled": self.spilled},
            "transfers": {"uploaded": self.uploaded, "downloaded": self.downloaded},
            "calls": self.calls,
            "fallbacks": self.fallbacks,
            "engines": self.engines,
            "ops": [asdict(row) for row in self.ops],
            "absences": [asdict(row) for row in self.absences],
            "points": [asdict(point) for point in self.points],
            "complete": self.complete,
        }


def plan(
    log: CallLog,
    description: Description,
    *,
    in_order: bool = False,
    absences: bool = True,
    progress: Progress | None = None,
) -> Plan:
    """Return what a program would come to on devices of a description, one for each device that it ran on.

    Args:
        log: the program.
        description: the device.
        in_order: whether each device has one queue, whose work never overlaps.
        absences: whether to plan anew without each op, which takes one replay per op.
        progress: told before each replay.
    """
    uses = Uses(log)
    lowering = Lowering(description)
    if progress is not None:
        progress(0, 1, description.name)
    whole = Replay(log, lowering, uses, in_order=in_order)
    lacking = []
    if absences:
        names = sorted({op for op, engine in whole.tallies if engine in ("matrix", "vector", "dma")})
        for i, op in enumerate(names):
            if progress is not None:
                progress(i + 1, len(names) + 1, f"without {op}")
            other = Replay(log, Lowering(description, frozenset({op})), uses, in_order=in_order, keep=False)
            times = other.end / whole.end if whole.end else 1.0
            instead = "host" if other.fallbacks > whole.fallbacks else "decomposition"
            lacking.append(Absence(op, other.seconds, times, instead))
    lacking.sort(key=lambda a: (-a.seconds, a.op))
    return _made(log, description, whole, tuple(lacking))


def _made(log: CallLog, description: Description, whole: Replay, absences: tuple[Absence, ...]) -> Plan:
    count, seconds = len(whole.devices), whole.seconds
    joules = None
    if whole.joules is not None and description.power is not None:
        joules = whole.joules + description.power.idle * seconds * count
    price = description.price
    per_hour = None if price is None else price.per_hour
    in_all = sum(t.seconds for t in whole.tallies.values())
    rows = [_row(op, engine, tally, in_all) for (op, engine), tally in whole.tallies.items()]
    engines = {
        f"{device.index} {engine.name}": engine.busy / whole.end if whole.end else 0.0
        for device in whole.devices
        for engine in device.engines()
        if engine.busy or engine.name not in (HOST_LINK, LINKS)
    }
    if whole.host.busy:
        engines[HOST] = whole.host.busy / whole.end
    return Plan(
        description,
        count,
        seconds,
        joules,
        None if per_hour is None else per_hour * seconds / _HOUR * count,
        "USD" if price is None else price.currency,
        max(d.peak for d in whole.devices),
        whole.uploaded,
        whole.downloaded,
        whole.spilled,
        len(log.calls),
        whole.fallbacks,
        engines,
        tuple(sorted(rows, key=lambda r: (-r.seconds, r.op, r.engine))),
        absences,
        tuple(
            Point(op, dtype, *sums)
            for (op, _), tally in whole.tallies.items()
            for dtype, sums in tally.dtypes.items()
            if sums[0] > 0 and sums[1] > 0 and sums[2] > 0
        ),
        tuple(whole.tasks),
        log.complete,
    )


def _row(op: str, engine: str, tally: Tally, in_all: float) -> OpRow:
    bound = max(tally.bound, key=tally.bound.__getitem__) if tally.bound else ""
    computes = engine in ("matrix", "vector") and tally.seconds > 0
    return OpRow(
        op,
        engine,
        tally.calls,
        tally.seconds,
        tally.seconds / in_all if in_all else 0.0,
        bound,
        tally.used / tally.seconds if computes else None,
        tuple(tally.inside),
        _told(list(tally.reasons)),
    )


def _told(reasons: list[str]) -> str:
    """Return the first reasons, and how many more there are."""
    more = len(reasons) - _REASONS
    return "; ".join(reasons[:_REASONS]) + (f"; {more} more" if more > 0 else "")
