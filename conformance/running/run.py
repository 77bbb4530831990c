"""A run of the suite: what to run, where, and the report."""

from __future__ import annotations

import datetime
import time
from collections.abc import Sequence
from dataclasses import replace

from rich.console import Console

from ...core.dispatch.claims import CLAIMS
from ...core.dispatch.registry import REGISTRY
from ...core.op import OPS
from ...core.plugins import manager
from ...core.plugins.status import State
from ...opset.profiles import PROFILES
from ..results import waivers
from ..results.outcome import CaseResult, Outcome
from ..results.profiles import demanded_by, demands
from ..results.report import Report
from ..results.subject import Subject
from ..target import Target, targets
from .beside import Measured, measured
from .isolation import Job
from .journal import Journal
from .selection import Selection, chosen_cases
from .work import Work


def run(selection: Selection, console: Console | None = None) -> Report:
    """Run the suite.

    Args:
        selection: what to run.
        console: for the progress bar; None shows none.

    Raises:
        ArgumentError, DTypeError, PluginError: the selection names what does not exist.
    """
    begun, start = datetime.datetime.now(datetime.UTC), time.monotonic()
    known = waivers.read(selection.waivers) if selection.waivers is not None else ()
    names, ready, troubles = _targets(selection)
    chosen = chosen_cases(selection)
    jobs = [
        Job(t.backend, t.device.name, op, d, selection.quick, mine, selection.seed)
        for t in ready
        for (op, d), mine in chosen.items()
    ]
    with Journal.of(selection, ready) as journal, CLAIMS.set_aside():
        work = Work(selection, jobs, ready, journal, console)
        results = _hold_to_profiles(work.run())
    held = waivers.apply(
        known,
        results,
        begun.date(),
        versions={t.backend: REGISTRY.contributions[t.backend].version for t in ready},
        partial=selection.partial or selection.quick or work.stopped,
    )
    if work.stopped:
        selection = replace(selection, performance=0.0)
    figures, notes = _measured(selection, ready, [pair for pair in chosen if pair[0] in OPS], console)
    return Report(
        names,
        held.results,
        selection.quick,
        selection.partial,
        time.monotonic() - start,
        (*troubles, *work.troubles),
        subjects=tuple(map(Subject.of, ready)),
        begun=begun.isoformat(timespec="seconds"),
        seed=selection.seed,
        shard=str(selection.shard or ""),
        stopped=work.stopped,
        profile=selection.profile if not (selection.ops or selection.dtypes or selection.cases) else None,
        strict_claims=selection.strict_claims,
        waivers=held.used,
        waiver_faults=held.faults,
        performance=figures,
        notes=notes,
    )


def _measured(
    selection: Selection, ready: tuple[Target, ...], pairs: list[tuple[str, str]], console: Console | None
) -> tuple[Measured, tuple[str, ...]]:
    """Measure what was selected, or of a whole run what a certificate tells of, where that is asked for."""
    if not selection.performance:
        return {}, ()
    return measured(ready, selection.performance, pairs if selection.partial else None, console)


def _targets(selection: Selection) -> tuple[tuple[str, ...], tuple[Target, ...], tuple[str, ...]]:
    """Return names, targets and troubles: a backend kept out is a trouble, one that does not exist an error.

    Where none is named, all that should be usable are meant: those in quarantine too.
    """
    states = {s.name: s for s in manager.status()}
    kept_out = (name for name, s in states.items() if s.state is State.QUARANTINED)
    names = selection.backends or tuple(sorted({*REGISTRY.contributions, *kept_out}))
    ready: list[Target] = []
    troubles = []
    for name in names:
        status = states.get(name)
        if status is not None and status.state is not State.READY:
            troubles.append(f"backend {name} is {status.state.value}: {status.reason} (`opmux doctor` says more)")
        else:
            ready += targets(name)
    return tuple(names), tuple(ready), tuple(troubles)


def _hold_to_profiles(results: Sequence[CaseResult]) -> list[CaseResult]:
    """A refusal inside of a profile that the backend claims is a failure: a profile is passed whole or not at all."""
    claims = {r.backend: _claimed(r.backend) for r in results}
    made = []
    for r in results:
        mine = (p for p, pairs in claims[r.backend].items() if r.pair in pairs and demands(p, r.op, r.kind))
        claimed = next(mine, None)
        if r.outcome is Outcome.UNSUPPORTED and claimed is not None and not r.optional(claimed):
            r = r.turned(Outcome.FAIL, f"{r.backend} claims {claimed} and refuses a part of it: {r.message}")
        made.append(r)
    return made


def _claimed(backend: str) -> dict[str, frozenset[tuple[str, str]]]:
    contribution = REGISTRY.contributions.get(backend)
    return {} if contribution is None else {p: demanded_by(p) for p in contribution.profiles if p in PROFILES}
