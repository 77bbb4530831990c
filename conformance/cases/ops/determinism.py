"""Determinism classes, shown: a kernel that promises a class gives the bits that the class asks for.

Where the contract gives every bit of a result, every class follows from the exact cases; such ops and dtypes are only
repeated and run at once, which shows races. Elsewhere each class has a case of its own, which is unsupported where no
kernel promises the class.
"""

from __future__ import annotations

import contextlib
import contextvars
import functools
import hashlib
import os
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from ....core.arrays.array import Array
from ....core.arrays.metadata import SLICE, apply, reshape
from ....core.devices.device import Device
from ....core.dispatch import tables
from ....core.dispatch.decision import Candidate, Kind
from ....core.dtypes import DType, dtype
from ....core.errors import ConformanceError
from ....core.kernel import Determinism
from ....core.op import OPS, Op
from ...oracle.canonical import NoCanonicalOrderError, canonical
from ...oracle.compare import Where, check_exact
from ...oracle.expect import Operands
from ...oracle.formats import Host
from ...performance.candidates import runnable, without_casts
from ...target import Findings, RefusedError, Target, dense, leaves
from .. import values
from ..case import OpCheck, OpContext
from ..samples.sample import Sample, is_exhaustive, samples
from . import repeats
from .repeats import VECTOR
from .siblings import VARIABLE, sibling

#: Numbers of threads that are tried: one, what a small machine has, more than it has, and one that divides nothing.
THREADS: Final = (1, 2, 3, 7)
#: Those that are also tried in processes of their own, started with them.
_FROM_THE_START: Final = (1, 3)
_AT_ONCE: Final = 3
#: Elements over which the canonical bits of an elementwise op are compared; float64's fused multiply-adds are slow.
_POINTS: Final = {"float64": 3000}
_POINTS_ELSE: Final = 12_000


@dataclass(frozen=True)
class Ran:
    """One kernel's result of one call."""

    candidate: Candidate
    result: Host


def family(op: Op, t: DType, context: OpContext) -> Iterator[tuple[str, str, OpCheck]]:
    """Yield a case per class."""
    yield "determinism", "run", _shows(t, Determinism.RUN, _same_on_every_run)
    if op.settled(t):
        return
    yield "determinism", "threads", _shows(t, Determinism.THREADS, _same_with_any_threads)
    yield "determinism", "batch", _shows(t, Determinism.BATCH, _same_in_any_batch)
    yield "determinism", "canonical", _shows(t, Determinism.CANONICAL, _canonical_bits)


Shown = Callable[[Target, Op, DType, Determinism, Findings], None]


def _shows(t: DType, least: Determinism, show: Shown) -> OpCheck:
    def check(target: Target, op: Op, findings: Findings) -> None:
        if not any(promised(target, op, s, least) for s in calls(op, t)):
            raise RefusedError(f"no kernel promises {least.name.lower()} for {op.name} on {t}")
        show(target, op, t, least, findings)
        if not findings.assertions:
            raise RefusedError(f"no kernel promises {least.name.lower()} for the calls of {op.name} that show it")

    return check


@functools.lru_cache(maxsize=2)
def calls(op: Op, t: DType) -> tuple[Sample, ...]:
    """Return the calls of an op that are repeated: its base sample, large ones, and some of its other samples.

    Fewer where every bit is given: there other cases hold each result to it, and only races are left to be seen.
    """
    given = samples(op, t, quick=True)
    others = [s for s in given if s.kind == "values" and not s.base]
    return (*(s for s in given if s.base), *others[: 1 if op.settled(t) else 3], *repeats.large(op, t))


def promised(target: Target, op: Op, sample: Sample, least: Determinism) -> list[str]:
    """Return the names of the candidates that promise a class for a call."""
    try:
        return [c.name for c in _candidates(target, op, target.upload(sample.operands), sample.attributes, least)]
    except RefusedError:
        return []


def _candidates(
    target: Target, op: Op, arrays: Sequence[Array | None], attributes: Mapping[str, Any], least: Determinism
) -> list[Candidate]:
    decision = target.decide(op, arrays, attributes)
    found = runnable(decision) if without_casts(decision) is decision else (decision.chosen,)
    return [c for c in found if c.rejection is None and c.run is not None and _promises(op, c, target, least)]


def _promises(op: Op, candidate: Candidate, target: Target, least: Determinism) -> bool:
    composed = candidate.kind is Kind.DECOMPOSITION
    if composed and "decomposition-reorders" in op.facts and least is Determinism.CANONICAL:
        return False
    # Which kernels serve the parts of a decomposition may change with the size: only one order for all binds them.
    wanted = Determinism.CANONICAL if composed and least is not Determinism.RUN else least
    return all(_class_of(leaf).value >= wanted.value and leaf.backend == target.backend for leaf in leaves(candidate))


def _class_of(leaf: Candidate) -> Determinism:
    kernel, spec = leaf.kernel, leaf.spec
    if kernel is None or spec is None:
        return Determinism.NONE
    op = OPS.get(kernel.op)  # None for a region, which is no op
    settled = op is not None and op.gives_every_bit(spec)
    return Determinism.CANONICAL if settled else kernel.promises.determinism


def _run_all(
    target: Target, op: Op, operands: Operands, attributes: Mapping[str, Any], least: Determinism
) -> dict[str, Ran]:
    """Run a call by every candidate that promises a class; none where the backend refuses the call."""
    arrays = target.upload(operands)
    try:
        found = _candidates(target, op, arrays, attributes, least)
    except RefusedError:
        return {}
    with target.watched(op):
        return {c.name: Ran(c, _launched(c, arrays)) for c in found}


def _launched(candidate: Candidate, arrays: Sequence[Array | None], into: Array | None = None) -> Host:
    if candidate.run is None:
        raise RefusedError(f"{candidate.name} was not prepared")
    (made,) = candidate.run(list(arrays), None if into is None else into._buffer)
    return np.asarray(made.numpy())


def bits_of(x: Host) -> bytes:
    """Return the bits of a result, all NaNs made one."""
    if x.dtype.kind in "iub":
        return np.ascontiguousarray(x).tobytes()
    parts = np.stack([x.real, x.imag]) if x.dtype.kind == "c" else x
    with np.errstate(invalid="ignore"):
        return np.where(np.isnan(parts), np.array(np.nan).astype(parts.dtype), parts).tobytes()


def _demand(op: Op, ran: Ran, other: Host, what: str, findings: Findings) -> None:
    """Demand the same bits."""
    got = ran.result
    if got.shape != other.shape or bits_of(got) != bits_of(other):
        raise ConformanceError(
            f"{ran.candidate.name}: {op.name} gives other bits {what}: first in {_first(got, other)}",
            op=op.name,
            kernel=ran.candidate.name,
        )
    findings.note(ran.candidate, 0.0, "exact")


def _first(got: Host, other: Host) -> str:
    if got.shape != other.shape:
        return f"the shape, {got.shape} and {other.shape}"
    for i, (a, b) in enumerate(zip(got.reshape(-1), other.reshape(-1), strict=True)):
        if bits_of(np.asarray(a)) != bits_of(np.asarray(b)):
            return f"element {i}: {a!r} and {b!r}"
    return "nothing"


def _same_on_every_run(target: Target, op: Op, t: DType, least: Determinism, findings: Findings) -> None:
    for sample in calls(op, t):
        arrays = target.upload(sample.operands)
        try:
            found = _candidates(target, op, arrays, sample.attributes, least)
        except RefusedError:
            continue
        for candidate in found:
            first = Ran(candidate, _launched(candidate, arrays))
            for what, again in _repetitions(target, candidate, arrays, first.result):
                _demand(op, first, again(), what, findings)
            for again_at_once in _at_once(candidate, arrays):
                _demand(op, first, again_at_once, f"in {_AT_ONCE} calls at once", findings)
        _elsewhere(target, op, sample, found, least, findings)


def _repetitions(
    target: Target, candidate: Candidate, arrays: Sequence[Array | None], first: Host
) -> Iterator[tuple[str, Callable[[], Host]]]:
    yield "on the next run", lambda: _launched(candidate, arrays)
    for pattern in (0xFF, 0x55):
        if candidate.kind is Kind.KERNEL and first.size:
            dirty = np.empty(first.shape, first.dtype)
            dirty.reshape(-1).view(np.uint8)[...] = 1 if first.dtype.kind == "b" else pattern
            yield (
                "in memory that held something",
                lambda d=dirty: _launched(  # type: ignore[misc]
                    candidate, arrays, dense(d, target.device)
                ),
            )


def _at_once(candidate: Candidate, arrays: Sequence[Array | None]) -> list[Host]:
    """Return what several threads get that start together."""
    gate, found, failed = threading.Barrier(_AT_ONCE), [], []

    def call() -> None:
        try:
            gate.wait()
            found.append(_launched(candidate, arrays))
        except BaseException as error:
            failed.append(error)

    threads = [threading.Thread(target=contextvars.copy_context().run, args=(call,)) for _ in range(_AT_ONCE)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failed:
        raise failed[0]
    return found


def _elsewhere(
    target: Target, op: Op, sample: Sample, found: Sequence[Candidate], least: Determinism, findings: Findings
) -> None:
    """Demand the same bits of operands at other addresses, whole vectors off and one element off."""
    first = {c.name: Ran(c, _launched(c, target.upload(sample.operands))) for c in found}
    for skipped in (64, 1):
        moved = [None if x is None else _moved(x, target.device, skipped) for x in sample.operands]
        for again in _candidates(target, op, moved, sample.attributes, least):
            if again.name in first:
                other = _launched(again, moved)
                _demand(op, first[again.name], other, f"from operands {skipped} elements further on", findings)


def _moved(x: Host, device: Device, skipped: int) -> Array:
    """Upload behind some other elements, contiguous."""
    line = np.resize(x.reshape(-1) if x.size else np.zeros(1, x.dtype), (x.size + skipped,))
    line[skipped:] = x.reshape(-1)
    whole = dense(line, device)
    return reshape(apply(SLICE, whole, (skipped,), (x.size + skipped,), (1,)), x.shape)


@contextlib.contextmanager
def threads_set(count: int) -> Iterator[None]:
    """Set the number of threads that kernels may use, for calls prepared inside."""
    before = os.environ.get(VARIABLE)
    os.environ[VARIABLE] = str(count)
    tables.forget_decisions()
    try:
        yield
    finally:
        if before is None:
            del os.environ[VARIABLE]
        else:
            os.environ[VARIABLE] = before
        tables.forget_decisions()


def _same_with_any_threads(target: Target, op: Op, t: DType, least: Determinism, findings: Findings) -> None:
    known: dict[str, str] = {}
    for i, sample in enumerate(calls(op, t)):
        first = _run_all(target, op, sample.operands, sample.attributes, least)
        known |= {f"{i} {name}": _digest(ran.result) for name, ran in first.items()}
        for count in THREADS:
            with threads_set(count):
                for name, ran in _run_all(target, op, sample.operands, sample.attributes, least).items():
                    if name in first:
                        _demand(op, ran, first[name].result, f"with {count} threads", findings)
    for count in _FROM_THE_START:
        there = sibling(target.backend, count).digests(target.device.name, op.name, t.name)
        for key in sorted(known.keys() & there.keys()):
            if known[key] != there[key]:
                name = key.partition(" ")[2]
                raise ConformanceError(
                    f"{name}: {op.name} gives other bits in a process that starts with {count} threads",
                    op=op.name,
                    kernel=name,
                )
            findings.held()


def digests(target: Target, op: str, t: str) -> dict[str, str]:
    """Return what the calls of an op and dtype give, by call and kernel."""
    found: dict[str, str] = {}
    for i, sample in enumerate(calls(OPS[op], dtype(t))):
        ran = _run_all(target, OPS[op], sample.operands, sample.attributes, Determinism.THREADS)
        found |= {f"{i} {name}": _digest(r.result) for name, r in ran.items()}
    return found


def _digest(x: Host) -> str:
    return hashlib.sha256(bits_of(x)).hexdigest()


def _same_in_any_batch(target: Target, op: Op, t: DType, least: Determinism, findings: Findings) -> None:
    if "elementwise" in op.facts and op.name != "clip":
        _same_at_any_place(target, op, t, least, findings)
    for batch in repeats.batches(op, t):
        first: dict[str, Host] = {}
        for rows, at in batch.places:
            for name, ran in _run_all(target, op, batch.placed(rows, at), batch.attributes, least).items():
                row = batch.picked(ran.result, at)
                if name in first:
                    what = f"at place {at} of {rows} ({batch.label})"
                    _demand(op, Ran(ran.candidate, row), first[name], what, findings)
                first.setdefault(name, row)


def _same_at_any_place(target: Target, op: Op, t: DType, least: Determinism, findings: Findings) -> None:
    line = repeats.vectors(op, t, 211)
    first: dict[str, Host] = {}
    for shift, size in repeats.offsets(211):
        for name, ran in _run_all(target, op, repeats.shifted(line, shift, size), {}, least).items():
            part = ran.result[shift : shift + 211]
            if name in first:
                _demand(op, Ran(ran.candidate, part), first[name], f"at offset {shift} of {size}", findings)
            first.setdefault(name, part)
    for i in range(0, 211, 6):
        alone = tuple(None if x is None else x[i : i + 1] for x in line)
        for name, ran in _run_all(target, op, alone, {}, least).items():
            if name in first:
                _demand(op, ran, first[name][i : i + 1], f"for element {i} alone", findings)


def _canonical_bits(target: Target, op: Op, t: DType, least: Determinism, findings: Findings) -> None:
    for sample in _canonical_calls(op, t):
        found = _run_all(target, op, sample.operands, sample.attributes, least)
        if not found:
            continue
        operands, pick = _part(op, sample)
        try:
            want = canonical(op, operands, sample.attributes)
        except NoCanonicalOrderError as error:
            raise ConformanceError(
                f"{', '.join(found)} promises the canonical class, and {error}: promise batch at most", op=op.name
            ) from error
        for name, ran in found.items():
            try:
                check_exact(ran.result[pick], want, Where(op.name, dtype(want.dtype), ()))
            except ConformanceError as error:
                raise ConformanceError(
                    f"{name}: not the canonical bits ({sample.label}): {error}", **{**error.culprits, "kernel": name}
                ) from error
            findings.note(ran.candidate, 0.0, "exact")


def _canonical_calls(op: Op, t: DType) -> list[Sample]:
    given = [s for s in samples(op, t, quick=True) if s.label != "empty-result"]
    most = _POINTS.get(t.name, _POINTS_ELSE)
    if "elementwise" in op.facts:
        if is_exhaustive(op, t):
            given.append(Sample("every value", (values.exhaustive(t),)))
        elif op.name != "clip":
            given.append(Sample("far and wide", repeats.vectors(op, t, most // 2)))
        return [repeats.thinned(s, most) if s.label != "every value" else s for s in given]
    return given + repeats.large(op, t)


def _part(op: Op, sample: Sample) -> tuple[Operands, tuple[slice, ...]]:
    """Return rows and columns of a large matrix product, whose canonical bits do not depend on the others."""
    x, y = (*sample.operands, None)[:2]
    if op.name != "matmul" or x is None or y is None or x.ndim != 2 or x.shape[0] * y.shape[1] < VECTOR:
        return sample.operands, ()
    rows, columns = slice(None, None, 37), slice(None, None, 41)
    return (np.ascontiguousarray(x[rows]), np.ascontiguousarray(y[:, columns])), (rows, columns)
