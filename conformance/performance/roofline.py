"""A device's own roofline, measured through the device itself: what its best kernels reach, whoever brings them.

Williams, Waterman, Patterson: Roofline, CACM 52(4), 2009. Every probe is a call of the opset, run by every kernel that
is eligible on the device. The best sample counts: a limit is what the device does when nothing disturbs it.

- *Launch*: the shortest time of a copy of one element.
- *Traffic* by working set: ``copy`` (a read and a write), ``add`` (two reads and a write) and ``sum`` (a read), each
  over operands and result of so many bytes together. The fastest is the limit.
- *Arithmetic* by dtype: ``matmul`` of growing squares, and elementwise ops in cache for the dtypes and devices whose
  products are slower than those. It is the largest rate seen, with the operations that the opset declares.

It has nothing to do with the rates by which the dispatcher predicts (``Device.rates``; for ``cpu`` those of
``core.devices.host_rates``, measured through NumPy), so predictions can be held against it.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final, Literal

from ...core.devices.device import Device
from ...core.dispatch.call import decide_call
from ...core.dispatch.decision import Candidate, Decision
from ...core.dispatch.policy import policy
from ...core.dtypes import DType, dtype, float32
from ...core.errors import OpmuxError, OutOfMemoryError, UnsupportedError
from ...core.kernel import ArraySpec
from ...core.op import OPS, Work
from ...core.signature import signature
from ...opset.declare import declaration_of
from ..cases.samples.sample import operand_dtypes
from ..target import arguments
from .candidates import runnable, without_casts
from .operands import Operands
from .timing import Settings, calibrate, sample, timed, without_collection

Bound = Literal["launch", "memory", "compute"]

#: Working sets in bytes, from what a first-level cache holds to beyond most last-level ones.
WORKING_SETS: Final = (1 << 14, 1 << 16, 1 << 18, 1 << 20, 1 << 22, 1 << 24, 1 << 26)
#: Sides of the products.
SIDES: Final = (64, 256, 512)
#: Elements of the elementwise probes of arithmetic.
_IN_CACHE: Final = 1 << 14
_TRAFFIC: Final = ("copy", "add", "sum")
_ARITHMETIC: Final = ("fma", "exp", "add", "bitwise_and")
#: A probe whose single call takes longer ends its series: the device is slow, larger ones would take too long.
_SLOW: Final = 0.2
#: A kernel whose first two runs both take so many times as long as the fastest one's is not measured further.
_FAR_BEHIND: Final = 10.0
#: Below so many launches a call is bound by the launch: at least half of its time is none of its work.
_LAUNCHES: Final = 2.0

PROBES: Final = Settings(rounds=7, sample_seconds=1e-3, budget_seconds=0.06, fewest=2)


@dataclass(frozen=True, slots=True)
class Transfer:
    """The least time that moving so many bytes took.

    Attributes:
        nbytes: read and written.
        seconds: launch included.
        by: which call and kernel.
    """

    nbytes: float
    seconds: float
    by: str


@dataclass(frozen=True, slots=True)
class Arithmetic:
    """The largest rate of one dtype.

    Attributes:
        dtype: its name.
        flops: operations per second.
        by: which call and kernel.
    """

    dtype: str
    flops: float
    by: str


@dataclass(frozen=True, slots=True)
class Floor:
    """The least seconds that a device needs for a call, and what they are spent on."""

    seconds: float
    bound: Bound


@dataclass(frozen=True)
class Roofline:
    """What a device does at best.

    Attributes:
        launch: seconds of the cheapest call.
        transfers: by working set, ascending.
        rates: by dtype.
    """

    launch: float
    transfers: tuple[Transfer, ...]
    rates: tuple[Arithmetic, ...]

    def transfer_seconds(self, nbytes: float) -> float:
        """Return the least seconds that moving so many bytes takes, launch included.

        Between two working sets that were measured it is interpolated on logarithmic scales; beyond the largest, its
        bandwidth holds; below the smallest, between the launch and its time in proportion to the bytes.
        """
        if not self.transfers or nbytes <= 0:
            return self.launch
        sizes = [t.nbytes for t in self.transfers]
        i = bisect_left(sizes, nbytes)
        if i == len(sizes):
            return self.transfers[-1].seconds * nbytes / sizes[-1]
        after = self.transfers[i]
        if i == 0:
            return self.launch + (after.seconds - self.launch) * nbytes / after.nbytes
        before = self.transfers[i - 1]
        part = math.log(nbytes / before.nbytes) / math.log(after.nbytes / before.nbytes)
        return float(before.seconds * (after.seconds / before.seconds) ** part)

    def bandwidth_at(self, nbytes: float) -> float:
        """Return the bytes per second that a call on so many can reach, launch included."""
        return nbytes / self.transfer_seconds(nbytes)

    def flops_for(self, name: str) -> float | None:
        """Return operations per second of a dtype; None where none was measured."""
        return next((r.flops for r in self.rates if r.dtype == name), None)

    def floor(self, work: Work, name: str) -> Floor:
        """Return the least seconds of a call.

        Args:
            work: its operations and bytes.
            name: the dtype in which it computes.
        """
        rate = self.flops_for(name)
        compute = work.flops / rate if rate else 0.0
        memory = self.transfer_seconds(work.nbytes)
        seconds = max(compute, memory, self.launch)
        if seconds < _LAUNCHES * self.launch:
            return Floor(seconds, "launch")
        return Floor(seconds, "compute" if compute > memory else "memory")

    def to_dict(self) -> dict[str, Any]:
        """Return it as plain data."""
        return asdict(self)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Roofline:
        """Return what :meth:`to_dict` gave."""
        transfers = tuple(Transfer(**t) for t in data["transfers"])
        return cls(float(data["launch"]), transfers, tuple(Arithmetic(**r) for r in data["rates"]))


def roofline_of(launch: float, transfers: Sequence[Transfer], rates: Sequence[Arithmetic]) -> Roofline:
    """Return the roofline of what probes measured.

    Of each working set and dtype the fastest probe counts. More bytes never take less time than fewer: where noise says
    so, the larger one's time holds for both.
    """
    best: dict[float, Transfer] = {}
    for t in transfers:
        if t.nbytes not in best or t.seconds < best[t.nbytes].seconds:
            best[t.nbytes] = t
    ordered: list[Transfer] = []
    for t in sorted(best.values(), key=lambda t: -t.nbytes):
        least = min(t.seconds, ordered[-1].seconds) if ordered else t.seconds
        ordered.append(Transfer(t.nbytes, max(least, launch), t.by))
    fastest: dict[str, Arithmetic] = {}
    for r in rates:
        if r.dtype not in fastest or r.flops > fastest[r.dtype].flops:
            fastest[r.dtype] = r
    return Roofline(launch, tuple(reversed(ordered)), tuple(fastest.values()))


def measure_roofline(
    device: Device,
    dtypes: Sequence[str],
    *,
    working_sets: Sequence[int] = WORKING_SETS,
    settings: Settings = PROBES,
    progress: Callable[[str], None] | None = None,
) -> Roofline:
    """Measure what a device does at best, by the kernels of every backend that serves it.

    Args:
        device: which.
        dtypes: whose arithmetic is measured.
        working_sets: in bytes.
        settings: how each probe is measured.
        progress: told what is probed next.

    Raises:
        UnsupportedError: when nothing on the device copies.
    """
    prober = _Prober(device, settings, progress or (lambda what: None))
    with policy(backends=None, fallback="forbid"), without_collection():
        launch = min((s for s, _, _ in prober.times("copy", float32, (1,))), default=math.inf)
        if math.isinf(launch):
            raise UnsupportedError(
                f"no kernel copies on {device}, so it has no roofline", op="copy", device=device.name
            )
        transfers = [t for name in _TRAFFIC for t in prober.transfers(name, working_sets)]
        rates = [r for name in dtypes for r in prober.rates(dtype(name))]
    return roofline_of(launch, transfers, rates)


class _Prober:
    """Times the probes."""

    def __init__(self, device: Device, settings: Settings, progress: Callable[[str], None]) -> None:
        self._device, self._settings, self._progress = device, settings, progress
        self._operands = Operands(device)

    def times(self, name: str, t: DType, shape: tuple[int, ...]) -> Iterator[tuple[float, Work, str]]:
        """Yield the best seconds of each kernel for a call, with the call's work; nothing where none is eligible."""
        op = OPS[name]
        if t not in declaration_of(op).dtypes:
            return
        specs = [ArraySpec(x, shape) for x in operand_dtypes(op, t)]
        self._progress(f"roofline: {name} {', '.join(map(str, specs))}")
        try:
            operands = self._operands.of(op, [signature(self._device, s.dtype, s.shape) for s in specs], {})
            decision = without_casts(decide_call(op, (), arguments(op, operands, {}, self._device)))
            candidates = runnable(decision)
        except (UnsupportedError, OutOfMemoryError):
            return
        fastest = math.inf
        for candidate in candidates:
            seconds = self._best(candidate, operands, fastest)
            if seconds is not None:
                fastest = min(fastest, seconds)
                yield seconds, work_of(decision), f"{name} {specs[0]} by {candidate.name}"

    def _best(self, candidate: Candidate, operands: list[Any], fastest: float) -> float | None:
        """Return a kernel's best seconds; one far behind the fastest is no limit, so a first look at it will do."""
        if candidate.run is None or candidate.rejection is not None:
            return None
        wait = None if self._device.is_host else self._device.synchronize
        seconds_of = timed(candidate.run, operands, wait)
        try:
            first = seconds_of(1)
            if first > _FAR_BEHIND * fastest and seconds_of(1) > _FAR_BEHIND * fastest:
                return first
            repetitions, each = calibrate(seconds_of, self._settings.sample_seconds, self._settings.most_repetitions)
            rounds = self._settings.rounds_for(each, repetitions)
            return min(sample(seconds_of, repetitions, each) for _ in range(rounds)) / repetitions
        except OpmuxError:  # a kernel that fails is conformance's to report, and no limit
            return None

    def transfers(self, name: str, working_sets: Sequence[int]) -> Iterator[Transfer]:
        """Yield what moving each working set takes; none larger after a slow one."""
        arrays = {"copy": 2, "add": 3, "sum": 1}[name]
        for nbytes in working_sets:
            slow = False
            for seconds, _, by in self.times(name, float32, (nbytes // arrays // 4,)):
                yield Transfer(float(nbytes), seconds, by)
                slow = slow or seconds > _SLOW
            if slow:
                return

    def rates(self, t: DType) -> Iterator[Arithmetic]:
        """Yield the rates of a dtype."""
        for name in _ARITHMETIC:
            for seconds, work, by in self.times(name, t, (_IN_CACHE,)):
                yield Arithmetic(t.name, work.flops / seconds, by)
        for side in SIDES:
            slow = False
            for seconds, work, by in self.times("matmul", t, (side, side)):
                yield Arithmetic(t.name, work.flops / seconds, by)
                slow = slow or seconds > _SLOW / 8  # the next product is eight times as much
            if slow:
                return


def work_of(decision: Decision) -> Work:
    """Return the operations and bytes of a call, as its op declares them."""
    specs = tuple(None if s is None else ArraySpec(s.dtype, s.shape) for s in decision.inputs)
    outputs = [ArraySpec(s.dtype, s.shape) for s in decision.outputs]
    return decision.op.work(specs, outputs, dict(decision.attributes))
