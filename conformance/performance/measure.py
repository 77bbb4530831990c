"""Times of a backend's own kernels, call by call: in passes over all of them, so that a drift of the machine shows as
the spread of a row and not as its time.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Final

from ...core.devices.device import Device
from ...core.dispatch.call import decide_call
from ...core.dispatch.decision import Decision, Kind
from ...core.dtypes import dtype
from ...core.errors import OpmuxError, OutOfMemoryError, UnsupportedError
from ...core.op import OPS
from ...core.signature import Signature, signature
from ..target import arguments, dense, leaves, only
from .calls import SIZES, Call, calls
from .operands import Operands
from .roofline import Bound, Roofline, work_of
from .stats import Spread, spread
from .timing import calibrate, interruptions, timed, without_collection

#: Passes over all calls.
PASSES: Final = 5
#: A sample of one call lasts at least so long.
_SAMPLE_SECONDS: Final = 5e-4
#: Samples of one call in one pass, at most.
_MOST_SAMPLES: Final = 3
_MOST_REPETITIONS: Final = 100_000
#: With fewer samples there are no quartiles to speak of.
FEWEST_SAMPLES: Final = 5
#: Calls slower than this are not warmed up at each visit: they have time enough to do that themselves.
_WARM_BELOW: Final = 5e-3
#: A call is left out where the smaller one of its op says that one run takes more than this share of the budget.
_LARGEST_SHARE: Final = 0.05

#: ``progress(done, of, what)``.
Progress = Callable[[int, int, str], None]
Clock = Callable[[], float]


@dataclass(frozen=True, slots=True)
class Measurement:
    """How long one call takes.

    Attributes:
        op, dtype, size_class: which.
        specs: operands and attributes, as ``opmux bench`` takes them.
        kernel: what ran, ``backend/kernel`` or the decomposition.
        seconds: the median of the samples.
        best: the shortest.
        q1, q3: their quartiles.
        spread: their interquartile range.
        repeats: how many samples.
        flops, nbytes: the work that the op declares for the call.
        predicted: seconds by the cost model.
        share: the device's least seconds for that work, over the measured ones.
        bound: what those least seconds are spent on.
        disturbed: whether other work took a CPU in too many samples for the others to count alone.
        interrupted: the share of the samples taken in which it did; none of those counts unless ``disturbed``.
    """

    op: str
    dtype: str
    size_class: str
    specs: tuple[str, ...]
    kernel: str
    seconds: float
    best: float
    q1: float
    q3: float
    repeats: int
    flops: float
    nbytes: float
    predicted: float
    share: float
    bound: Bound
    disturbed: bool = False
    interrupted: float = 0.0

    @property
    def key(self) -> tuple[str, str, str]:
        """What makes rows of two runs the same row."""
        return self.op, self.dtype, self.size_class

    @property
    def spread(self) -> float:
        """The interquartile range."""
        return self.q3 - self.q1

    @property
    def gflops(self) -> float:
        """Billions of operations per second."""
        return self.flops / self.seconds / 1e9

    @property
    def gbytes(self) -> float:
        """Billions of bytes per second."""
        return self.nbytes / self.seconds / 1e9

    def to_dict(self) -> dict[str, Any]:
        """Return it as plain data."""
        return {**asdict(self), "specs": list(self.specs), "spread": self.spread}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Measurement:
        """Return what :meth:`to_dict` gave."""
        return cls(**{**{k: v for k, v in data.items() if k != "spread"}, "specs": tuple(data["specs"])})


@dataclass(frozen=True, slots=True)
class Skipped:
    """A call without a time.

    Attributes:
        op, dtype, size_class: which.
        reason: why.
    """

    op: str
    dtype: str
    size_class: str
    reason: str


@dataclass(frozen=True, slots=True)
class Sample:
    """One timed loop.

    Attributes:
        seconds: of one run.
        disturbed: whether the system gave a CPU to other work meanwhile.
    """

    seconds: float
    disturbed: bool = False


@dataclass
class Timing:
    """A call on its way to a measurement.

    Attributes:
        call: what.
        decision: who does it.
        each: about the seconds of one run; None before the first.
        samples: taken so far.
        repetitions: in one sample.
    """

    call: Call
    decision: Decision
    each: float | None = None
    samples: list[Sample] = field(default_factory=list)
    repetitions: int = 1


def measure(
    backend: str,
    device: Device,
    pairs: Iterable[tuple[str, str]],
    budget_seconds: float,
    *,
    roofline: Roofline,
    progress: Progress | None = None,
    clock: Clock = time.perf_counter,
) -> tuple[tuple[Measurement, ...], tuple[Skipped, ...]]:
    """Time a backend's own kernels for (op, dtype) pairs in every size class.

    Calls that the backend refuses are left out without a word: what it claims is conformance's matter.

    Args:
        backend: the only one that may run anything.
        device: where.
        pairs: names of ops and dtypes.
        budget_seconds: about how long all of it may take; when it is used up, what has no time is skipped.
        roofline: of the device.
        progress: told what comes next.
        clock: tells the seconds of the budget.

    Returns:
        The measurements, and the calls that were left out.
    """
    tell = progress or (lambda done, of, what: None)
    begun = clock()
    with only(backend), without_collection():
        timer = _Timer(device, [c for op, t in pairs for c in calls(OPS[op], dtype(t))], budget_seconds)
        for pass_ in range(PASSES):
            for i, call in enumerate(timer.calls):
                left = budget_seconds - (clock() - begun)
                turns_left = (PASSES - pass_) * len(timer.calls) - i
                tell(pass_ * len(timer.calls) + i, PASSES * len(timer.calls), call.name)
                timer.turn(call, left, left / turns_left)
    return timer.measured(roofline), tuple(timer.skipped)


class _Timer:
    """Takes the samples of all calls, the small ones first."""

    def __init__(self, device: Device, every: Sequence[Call], budget: float) -> None:
        order = {size.name: i for i, size in enumerate(SIZES)}
        self.calls = sorted(every, key=lambda c: order[c.size])
        self.skipped: list[Skipped] = []
        self._device, self._longest = device, budget * _LARGEST_SHARE
        self._operands = Operands(device)
        self._timings: dict[tuple[str, str, str], Timing | None] = {}

    def turn(self, call: Call, left: float, share: float) -> None:
        """Take a call's samples of one pass.

        Args:
            call: which.
            left: seconds of the budget.
            share: the call's part of them.
        """
        key = call.op.name, call.dtype, call.size
        if key not in self._timings:
            if left <= 0:
                self._skip(call, "the budget of time was used up")
                return
            self._timings[key] = self._begin(call)
        timing = self._timings[key]
        if timing is None or (left <= 0 and timing.samples):
            return
        try:
            self._sample(timing, share)
        except OpmuxError as error:
            self._skip(call, f"{type(error).__name__}: {error}")

    def _skip(self, call: Call, reason: str) -> None:
        self._timings[call.op.name, call.dtype, call.size] = None
        self.skipped.append(Skipped(call.op.name, call.dtype, call.size, reason))

    def _arrays(self, call: Call) -> list[Any]:
        if call.values is not None:
            return [None if x is None else dense(x, self._device) for x in call.values]
        signatures = [None if s is None else signature(self._device, s.dtype, s.shape) for s in call.operands]
        return list(self._operands.of(call.op, signatures, call.attributes))

    def _begin(self, call: Call) -> Timing | None:
        """Decide a call; None where it is refused, or would take too long."""
        try:
            arrays = self._arrays(call)
            decision = decide_call(call.op, (), arguments(call.op, arrays, call.attributes, self._device))
        except UnsupportedError:
            return None
        except OutOfMemoryError as error:
            self._skip(call, str(error))
            return None
        if decision.chosen.kind is Kind.FALLBACK:
            return None
        expected = self._expected(call, decision)
        if expected > self._longest:
            self._skip(call, f"one run is expected to take {expected:.3g} s")
            return None
        return Timing(call, decision)

    def _expected(self, call: Call, decision: Decision) -> float:
        """Return about the seconds of one run: those of the next smaller call, grown as the cost model says."""
        names = [size.name for size in SIZES]
        for size in reversed(names[: names.index(call.size)]):
            known = self._timings.get((call.op.name, call.dtype, size))
            if known is not None and known.each is not None:
                return known.each * decision.cost.total / known.decision.cost.total
        return 0.0

    def _sample(self, timing: Timing, share: float) -> None:
        wait = None if self._device.is_host else self._device.synchronize
        seconds_of = timed(timing.decision.run, self._arrays(timing.call), wait)
        if timing.each is None:
            timing.each = seconds_of(1)
            if timing.each < _SAMPLE_SECONDS:
                timing.repetitions, timing.each = calibrate(seconds_of, _SAMPLE_SECONDS, _MOST_REPETITIONS)
        elif timing.each < _WARM_BELOW:  # between two visits other calls had the caches
            seconds_of(max(1, timing.repetitions // 4))
        once = timing.each * timing.repetitions
        for _ in range(max(1, min(_MOST_SAMPLES, int(share / max(once, 1e-9))))):
            before = interruptions()
            seconds = seconds_of(timing.repetitions) / timing.repetitions
            timing.samples.append(Sample(seconds, interruptions() > before))

    def measured(self, roofline: Roofline) -> tuple[Measurement, ...]:
        """Return a row per call that has samples, in the order of the opset."""
        found = [_measurement(t, roofline) for t in self._timings.values() if t is not None and t.samples]
        positions = {op.name: i for i, op in enumerate(OPS)}
        return tuple(sorted(found, key=lambda m: positions[m.op]))


def _measurement(timing: Timing, roofline: Roofline) -> Measurement:
    call, decision = timing.call, timing.decision
    work, (of, disturbed) = work_of(decision), undisturbed(timing.samples)
    floor = roofline.floor(work, computes_in(decision.inputs, decision.outputs))
    return Measurement(
        call.op.name, call.dtype, call.size, call.words, kernel_name(decision), of.median, of.best, of.q1, of.q3,
        of.count, work.flops, work.nbytes, decision.cost.total, floor.seconds / of.median, floor.bound,
        disturbed, sum(s.disturbed for s in timing.samples) / len(timing.samples),
    )  # fmt: skip


def undisturbed(samples: Sequence[Sample]) -> tuple[Spread, bool]:
    """Return where the samples lie during which no other work had the CPU; where they are too few, where all lie.

    Returns:
        Median and quartiles, and whether they are disturbed.
    """
    clean = [s.seconds for s in samples if not s.disturbed]
    if len(clean) >= FEWEST_SAMPLES or len(clean) == len(samples):
        return spread(clean), False
    return spread([s.seconds for s in samples]), True


def computes_in(inputs: Sequence[Signature | None], outputs: Sequence[Signature]) -> str:
    """Return the dtype whose arithmetic a call is held to: that of its first operand, or of its result without one."""
    there = [s.dtype for s in inputs if s is not None] or [s.dtype for s in outputs]
    return there[0].name


def kernel_name(decision: Decision) -> str:
    """Return what runs a call: its kernel, or for a decomposition the kernels that it ends in."""
    chosen = decision.chosen
    if chosen.kind is not Kind.DECOMPOSITION:
        return chosen.name
    return f"decomposition of {', '.join(dict.fromkeys(c.name for c in leaves(chosen)))}"
