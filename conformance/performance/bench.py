"""One call, timed with every kernel that can do it: results checked first, kernels interleaved."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Final, Literal

import numpy as np

from ...core.arrays.array import Array
from ...core.dispatch.choose import decide
from ...core.dispatch.decision import Candidate, Decision
from ...core.dispatch.explanation import explanation_of
from ...core.dispatch.policy import current
from ...core.errors import ConformanceError, OpmuxError
from ...core.op import Work
from ..check import SAMPLE, sampled
from ..oracle.expect import expect
from ..oracle.formats import Host
from .candidates import runnable, without_casts
from .measure import computes_in
from .operands import Operands
from .roofline import PROBES, WORKING_SETS, Bound, Floor, Roofline, measure_roofline, work_of
from .stats import Spread, spread
from .timing import SecondsOf, Settings, calibrate, sample, timed, turns, without_collection

Status = Literal["measured", "wrong", "failed", "rejected"]
#: ``progress(done, of, what)``.
Progress = Callable[[int, int, str], None]

SETTINGS: Final = Settings(rounds=15, sample_seconds=2e-3, budget_seconds=1.0)
#: The oracle computes a whole call of at most so many operations and bytes; of a larger one a part, or nothing.
_WHOLE_FLOPS: Final = 2e8
_WHOLE_BYTES: Final = 1 << 26
#: Rows of a large product that the oracle computes.
_ROWS: Final = 4


@dataclass(frozen=True, slots=True)
class BenchRow:
    """How one candidate fared.

    Attributes:
        candidate: its name, ``backend/kernel``.
        backend: whose it is, None for what several take part in.
        status: only a measured one has times.
        note: why there are none.
        seconds: the median of the samples.
        best, q1, q3: the shortest, and the quartiles.
        repeats: how many samples.
        gflops, gbytes: billions of operations and bytes per second.
        share: the device's least seconds for the call, over the measured ones.
        bound: what those least seconds are spent on.
        predicted: seconds by the cost model.
        ratio: predicted over measured.
    """

    candidate: str
    backend: str | None
    status: Status
    note: str = ""
    seconds: float | None = None
    best: float | None = None
    q1: float | None = None
    q3: float | None = None
    repeats: int = 0
    gflops: float | None = None
    gbytes: float | None = None
    share: float | None = None
    bound: Bound | None = None
    predicted: float | None = None
    ratio: float | None = None


@dataclass(frozen=True)
class Bench:
    """One call and everything that can do it.

    Attributes:
        op: its name.
        call: the op with the signatures of its operands.
        device: where it ran.
        checked: what the results were held to.
        flops, nbytes: the work that the op declares for the call.
        roofline: of the device, about the call's working set.
        rows: the measured ones first, the fastest first.
        notes: what else is to say.
    """

    op: str
    call: str
    device: str
    checked: str
    flops: float
    nbytes: float
    roofline: Roofline
    rows: tuple[BenchRow, ...]
    notes: tuple[str, ...] = ()

    @property
    def sound(self) -> bool:
        """Whether every candidate that could run gave a right result."""
        return not any(r.status in ("wrong", "failed") for r in self.rows)

    def to_dict(self) -> dict[str, Any]:
        """Return it as plain data, ready for JSON."""
        return {**asdict(self), "roofline": self.roofline.to_dict()}


def bench(planned: Decision, settings: Settings = SETTINGS, progress: Progress | None = None) -> Bench:
    """Time every candidate of a call under the policy in force.

    Args:
        planned: the call's decision; its operands may be without memory.
        settings: how to measure.
        progress: told what comes next.

    Raises:
        OutOfMemoryError: when the operands do not fit.
    """
    tell = progress or (lambda done, of, what: None)
    bare = without_casts(planned)
    attributes = dict(bare.attributes)
    operands = Operands(bare.device).of(bare.op, bare.inputs, attributes)
    signatures = tuple(None if x is None else x._sig for x in operands)
    # Once more: memory may be better aligned than the planned operands said.
    decision = decide(bare.op, signatures, bare.attributes, bare.device, current().slot.tables)
    work, name = work_of(decision), computes_in(decision.inputs, decision.outputs)
    candidates = runnable(decision)
    tell(0, 1, "checking the results")
    results, failed = _run_once(candidates, operands)
    checked, wrong = check(decision, [None if x is None else np.asarray(x.numpy()) for x in operands], results)
    bad: dict[str, tuple[Status, str]] = {k: ("failed", v) for k, v in failed.items()}
    bad |= {k: ("wrong", v) for k, v in wrong.items()}
    each = replace(PROBES, budget_seconds=min(PROBES.budget_seconds, settings.budget_seconds / 10))
    roofline = measure_roofline(
        decision.device, (name,), working_sets=_around(work.nbytes), settings=each,
        progress=lambda what: tell(0, 1, what),
    )  # fmt: skip
    good = {c.name: c for c in candidates if c.name in results and c.name not in bad}
    times = _times(good, operands, decision, settings, tell)
    floor = roofline.floor(work, name)
    rows = [
        _row(c, work, floor, times.get(c.name), bad.get(c.name))
        for c in candidates
        if c.rejection is not None or c.name in times or c.name in bad
    ]
    rows.sort(key=lambda r: (r.seconds is None, r.seconds or 0.0))
    casts = "the operands are cast first; the casts are not timed"
    return Bench(
        decision.op.name, explanation_of(decision).call, decision.device.name, checked, work.flops, work.nbytes,
        roofline, tuple(rows), () if bare is planned else (casts,),
    )  # fmt: skip


def _row(c: Candidate, work: Work, floor: Floor, s: Spread | None, bad: tuple[Status, str] | None) -> BenchRow:
    """Return how a candidate fared, from its times or from what is wrong with it."""
    if c.rejection is not None:
        return BenchRow(c.name, c.backend, "rejected", f"{c.rejection.reason}: {c.rejection.detail}")
    if bad is not None or s is None:
        return BenchRow(c.name, c.backend, *(bad or ("failed", "it has no samples")))
    predicted = None if c.cost is None else c.cost.total
    return BenchRow(
        c.name, c.backend, "measured", "", s.median, s.best, s.q1, s.q3, s.count, work.flops / s.median / 1e9,
        work.nbytes / s.median / 1e9, floor.seconds / s.median, floor.bound, predicted,
        None if predicted is None else predicted / s.median,
    )  # fmt: skip


def _around(nbytes: float) -> tuple[int, ...]:
    """Return the working sets between which a call's lies."""
    i = min(bisect_left(WORKING_SETS, nbytes), len(WORKING_SETS) - 1)
    return WORKING_SETS[max(i - 1, 0) : i + 1]


def _run_once(
    candidates: Sequence[Candidate], operands: Sequence[Array | None]
) -> tuple[dict[str, list[Host]], dict[str, str]]:
    """Return each candidate's results, and for those that fail why."""
    results, failed = {}, {}
    for c in candidates:
        if c.rejection is None and c.run is not None:
            try:
                results[c.name] = [np.asarray(y.numpy()) for y in c.run(operands, None)]
            except OpmuxError as error:
                failed[c.name] = f"{type(error).__name__}: {error}"
    return results, failed


def _times(
    good: Mapping[str, Candidate],
    operands: Sequence[Array | None],
    decision: Decision,
    settings: Settings,
    tell: Progress,
) -> dict[str, Spread]:
    """Return the times of candidates, interleaved."""
    device = decision.device
    wait = None if device.is_host else device.synchronize
    loops: dict[str, SecondsOf] = {n: timed(c.run, operands, wait) for n, c in good.items() if c.run is not None}
    samples: dict[str, list[float]] = {name: [] for name in loops}
    planned: dict[str, tuple[int, int]] = {}
    each: dict[str, float] = {}
    with without_collection():
        for name, loop in loops.items():
            tell(0, 1, f"{name}: how long a sample is")
            repetitions, each[name] = calibrate(loop, settings.sample_seconds, settings.most_repetitions)
            planned[name] = settings.rounds_for(each[name], repetitions), repetitions
        of = sum(rounds for rounds, _ in planned.values())
        for done, turn in enumerate(turns(planned)):
            tell(done, of, turn.name)
            taken = sample(loops[turn.name], turn.repetitions, each[turn.name])
            samples[turn.name].append(taken / turn.repetitions)
    return {name: spread(taken) for name, taken in samples.items()}


def check(
    decision: Decision, operands: Sequence[Host | None], results: Mapping[str, Sequence[Host]]
) -> tuple[str, dict[str, str]]:
    """Hold results to the oracle where it can be asked in a moment, else to each other.

    Args:
        decision: the call.
        operands: on the host.
        results: by candidate.

    Returns:
        What they were held to, and for each wrong one why.
    """
    op, attributes, work = decision.op, dict(decision.attributes), work_of(decision)
    given, part, words = tuple(operands), _whole, "the oracle"
    if len(decision.outputs) != 1:
        return _each_other(results)
    size = decision.outputs[0].size
    if "elementwise" in op.facts and size > SAMPLE:
        shape = decision.outputs[0].shape
        given, _ = sampled(given, np.empty(shape, bool))
        part, words = _elements, f"the oracle, {SAMPLE} elements of {size}"
    elif work.flops > _WHOLE_FLOPS or work.nbytes > _WHOLE_BYTES:
        x = given[0] if given else None
        if op.name != "matmul" or x is None:
            return _each_other(results)
        given, part = (x[..., :_ROWS, :], *given[1:]), _first_rows
        words = f"the oracle, {min(_ROWS, x.shape[-2])} rows of {x.shape[-2]}"
    try:
        expected = expect(op, given, attributes)
    except ConformanceError:  # the oracle has no answer here
        return _each_other(results)
    wrong: dict[str, str] = {}
    for name, (result,) in results.items():
        try:
            expected.on(flushes=decision.device.info.flushes_subnormals)(part(result))
        except ConformanceError as error:
            wrong[name] = str(error)
    return words, wrong


def _whole(result: Host) -> Host:
    return result


def _elements(result: Host) -> Host:
    return sampled((), result)[1]


def _first_rows(result: Host) -> Host:
    return result[..., :_ROWS, :]


def _each_other(results: Mapping[str, Sequence[Host]]) -> tuple[str, dict[str, str]]:
    """Hold every result to the first: floats to half of their digits, all else to every bit."""
    names = list(results)
    if len(names) < 2:
        return "nothing: the call is too large for the oracle, and only one candidate can run it", {}
    wrong = {}
    for name in names[1:]:
        if not all(map(_alike, results[names[0]], results[name])):
            wrong[name] = f"its result differs from that of {names[0]}"
    return "each other", wrong


def _alike(x: Host, y: Host) -> bool:
    if (x.shape, x.dtype) != (y.shape, y.dtype):
        return False
    if x.dtype.kind in "biu":
        return bool(np.array_equal(x, y))
    wide = np.complex128 if x.dtype.kind == "c" else np.float64
    a, b = x.astype(wide), y.astype(wide)
    epsilon = {2: 2.0**-7, 4: 2.0**-23, 8: 2.0**-52}.get(x.real.dtype.itemsize, 0.5)
    with np.errstate(invalid="ignore"):
        largest = float(np.max(np.abs(a[np.isfinite(a)]), initial=0.0))
        return bool(np.allclose(a, b, rtol=0.0, atol=np.sqrt(epsilon) * largest, equal_nan=True))
