"""Running a planted fault against cases, and the verdict: which of them caught it."""

from __future__ import annotations

import functools
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from ...core.plugins import manager
from ..cases.case import Case
from ..cases.enumerate import cases
from ..results.outcome import BAD, CaseResult, Outcome
from ..running.execute import execute
from ..running.isolation import Job, Runner, command
from ..running.run import run
from ..running.selection import Selection
from ..target import targets
from .fault import Fault, Pair, pair_of
from .twin.backend import Twin


@dataclass(frozen=True, slots=True)
class Verdict:
    """What became of one fault.

    Attributes:
        fault: which.
        by: ids of the cases that caught it.
        missed: killers that did not, each with what it said instead.
        seconds: how long it took.
    """

    fault: Fault
    by: tuple[str, ...]
    missed: tuple[str, ...]
    seconds: float

    @property
    def killed(self) -> bool:
        """Whether the suite catches the fault, and does so where the entry says."""
        return bool(self.by) and not self.missed


@contextmanager
def registered(name: str, twin: Twin) -> Iterator[str]:
    """Have a backend registered for a while."""
    manager.register(name, twin.plugin())
    try:
        yield name
    finally:
        manager.unregister(name)


def judge(fault: Fault, *, every: bool = False) -> Verdict:
    """Run a fault against its killers, or against every case in its reach."""
    begun = time.monotonic()
    others = [c.id for pair in fault.reach for c in of_pair(pair) if c.id not in fault.killers] if every else []
    # What a faulty driver does to cases that are not meant for it may be to wait for ever.
    isolate = fault.isolate or (every and fault.make().driver is not None)
    # Killers first, on a device of their own: a fault of the 300th call is spent by others.
    found = [r for ids in (fault.killers, others) if ids for r in run_cases(fault, ids, isolate=isolate)]
    results = {r.id: r for r in found}
    bad = {*BAD, fault.outcome}
    by = tuple(
        i for i in results if results[i].outcome in bad and (i not in fault.killers or _right(fault, results[i]))
    )
    missed = tuple(
        f"{i}: {results[i].outcome.value}, {results[i].message or 'nothing wrong seen'}"
        for i in fault.killers
        if not _right(fault, results[i])
    )
    return Verdict(fault, by, missed, time.monotonic() - begun)


def _right(fault: Fault, result: CaseResult) -> bool:
    """Return whether a killer killed, and for the right reason."""
    return result.outcome is fault.outcome and fault.says in result.message


def run_cases(fault: Fault, ids: Sequence[str], *, isolate: bool = False) -> list[CaseResult]:
    """Run cases on the backend with the fault; one result for each."""
    if isolate or fault.isolate:
        return list(_in_workers(fault, ids))
    with registered(fault.backend, fault.make()):
        if fault.claims:
            pairs = dict.fromkeys(map(pair_of, ids))
            ops, types = tuple({op: None for op, _ in pairs}), tuple({t: None for _, t in pairs})
            return list(run(Selection((fault.backend,), None, ops, types, cases=tuple(ids), isolate=False)).cases)
        return list(execute_all(fault.backend, ids))


def execute_all(backend: str, ids: Iterable[str]) -> Iterator[CaseResult]:
    """Run cases on a registered backend, in this process."""
    (target,) = targets(backend)
    for i in ids:
        pair = pair_of(i)
        case = by_id(pair)[i]
        yield execute(case, target, Job(backend, target.device.name, *pair, False, (i,)))


def _in_workers(fault: Fault, ids: Sequence[str]) -> Iterator[CaseResult]:
    device = "cpu:0" if fault.make().driver is None else "planted:0"
    runner = Runner(fault.limit, command("opmux.conformance.planted.worker", fault.name))
    try:
        for pair in dict.fromkeys(map(pair_of, ids)):
            mine = tuple(i for i in ids if pair_of(i) == pair)
            yield from runner.run(Job(fault.backend, device, *pair, False, mine))
    finally:
        runner.close()


@functools.cache
def of_pair(pair: Pair) -> tuple[Case, ...]:
    """Return every case of an op and dtype; kept, so that many faults of one op share the oracles of its cases."""
    return cases(*pair)


@functools.cache
def by_id(pair: Pair) -> dict[str, Case]:
    """Return the same by id."""
    return {c.id: c for c in of_pair(pair)}


def failures(results: Iterable[CaseResult]) -> list[CaseResult]:
    """Return the results of a twin that are wrong: an unfaulted backend has none."""
    return [r for r in results if r.outcome not in (Outcome.PASS, Outcome.UNSUPPORTED)]
