"""A run of the suite: what to run, where, and the report."""

from __future__ import annotations

import datetime
import difflib
import os
import queue
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from ...core.dispatch.registry import REGISTRY
from ...core.dtypes import DType, dtype
from ...core.errors import ArgumentError, ConformanceError
from ...core.op import OPS, Op
from ...core.plugins import manager
from ...core.plugins.status import State
from ...opset.profiles import PROFILES
from ..cases.enumerate import Case, all_pairs, cases
from ..results import waivers
from ..results.outcome import CaseResult, Outcome
from ..results.report import Report
from ..target import Target, targets
from .execute import execute
from .isolation import WORKER, Job, Runner

#: Seconds that one case may take.
TIME_LIMIT: Final = 60.0
#: More worker processes than this do not help: each compiles and warms its own caches.
_MOST_WORKERS: Final = 4


@dataclass(frozen=True)
class Selection:
    """What to run.

    Attributes:
        backends: names; none for every usable one.
        profile: only its pairs of op and dtype.
        ops, dtypes: names; none for all.
        quick: a sample of the cases, which is not sufficient for a claim.
        cases: exact ids; none for all.
        waivers: a file of known failures.
        isolate: run in worker processes; backends registered in this process alone can only be run here.
        limit: seconds that one case may take before its worker is ended.
        workers: processes; None for one per core, at most four.
        exit_first: stop at the first failure.
        command: starts a worker, where it is not to be the suite's own.
    """

    backends: tuple[str, ...] = ()
    profile: str | None = None
    ops: tuple[str, ...] = ()
    dtypes: tuple[str, ...] = ()
    quick: bool = False
    cases: tuple[str, ...] = ()
    waivers: Path | None = None
    isolate: bool = True
    limit: float = TIME_LIMIT
    workers: int | None = None
    exit_first: bool = False
    command: tuple[str, ...] = WORKER

    @property
    def partial(self) -> bool:
        """Whether some of the opset is left out."""
        return bool(self.profile or self.ops or self.dtypes or self.cases)


def chosen_pairs(selection: Selection) -> list[tuple[Op, DType]]:
    """Return the pairs of op and dtype that a selection names.

    Raises:
        ArgumentError: for an op or a profile that does not exist.
        DTypeError: for a dtype that does not exist.
    """
    for name in selection.ops:
        if name not in OPS:
            raise ArgumentError(
                f"no op named {name!r}{_near(name, (op.name for op in OPS))}; `opmux ops` lists them", op=name
            )
    types = {dtype(name) for name in selection.dtypes}
    if selection.profile is not None and selection.profile not in PROFILES:
        raise ArgumentError(
            f"no profile named {selection.profile!r}; there are {', '.join(PROFILES)}", profile=selection.profile
        )
    pairs = PROFILES[selection.profile].pairs if selection.profile is not None else None
    return [
        (op, t)
        for op, t in all_pairs()
        if (not selection.ops or op.name in selection.ops)
        and (not types or t in types)
        and (pairs is None or (op.name, t.name) in pairs)
    ]


def _near(name: str, known: Iterable[str]) -> str:
    found = difflib.get_close_matches(name, list(known), n=1)
    return f"; did you mean {found[0]!r}?" if found else ""


def _chosen_cases(selection: Selection, pairs: list[tuple[Op, DType]]) -> dict[tuple[str, str], tuple[Case, ...]]:
    """Return the cases of every pair that has some.

    Raises:
        ArgumentError: for the id of a case that does not exist among these pairs.
    """
    wanted = set(selection.cases)
    found = {}
    for op, t in pairs:
        if wanted and not any(c.startswith(f"{op.name}-{t.name}-") for c in wanted):
            continue
        mine = tuple(c for c in cases(op, t, selection.quick) if not wanted or c.id in wanted)
        if mine:
            found[op.name, t.name] = mine
    unknown = wanted - {c.id for mine in found.values() for c in mine}
    if unknown:
        raise ArgumentError(
            f"no case {sorted(unknown)[0]!r} among those selected; ids are exact", cases=tuple(sorted(unknown))
        )
    return found


def run(selection: Selection, console: Console | None = None) -> Report:
    """Run the suite.

    Args:
        selection: what to run.
        console: for the progress bar; None shows none.

    Raises:
        ArgumentError, DTypeError, PluginError: the selection names what does not exist.
    """
    start = time.monotonic()
    known = waivers.read(selection.waivers) if selection.waivers is not None else ()
    pairs = chosen_pairs(selection)
    found = _targets(selection)
    chosen = _chosen_cases(selection, pairs) if selection.cases or not selection.isolate else None
    jobs = [
        Job(t.backend, t.device.name, op.name, d.name, selection.quick, selection.cases or None)
        for t in found.ready
        for op, d in pairs
        if chosen is None or (op.name, d.name) in chosen
    ]
    work = _Work(selection, jobs, found.ready, console)
    results = _hold_to_profiles(work.run())
    applied = waivers.apply(known, results, datetime.datetime.now(datetime.UTC).date())
    return Report(
        found.names, tuple(applied), selection.quick, selection.partial, time.monotonic() - start,
        (*found.troubles, *work.troubles),
    )  # fmt: skip


@dataclass(frozen=True)
class _Found:
    names: tuple[str, ...]
    ready: tuple[Target, ...]
    troubles: tuple[str, ...]


def _targets(selection: Selection) -> _Found:
    """Return the targets of the backends asked for; one kept out is a trouble, one that does not exist an error."""
    states = {s.name: s for s in manager.status()}
    names = selection.backends or tuple(sorted(REGISTRY.contributions))
    ready: list[Target] = []
    troubles = []
    for name in names:
        status = states.get(name)
        if status is not None and status.state is not State.READY:
            troubles.append(f"backend {name} is {status.state.value}: {status.reason} (`opmux doctor` says more)")
        else:
            ready += targets(name)
    return _Found(tuple(names), tuple(ready), tuple(troubles))


class _Work:
    """Jobs shared out among workers; results come back in the order of the jobs."""

    def __init__(
        self, selection: Selection, jobs: list[Job], ready: tuple[Target, ...], console: Console | None
    ) -> None:
        self._selection, self._jobs, self._console = selection, jobs, console
        self._targets = {(t.backend, t.device.name): t for t in ready}
        self._results: list[list[CaseResult]] = [[] for _ in jobs]
        self._stop = threading.Event()
        self.troubles: list[str] = []

    def run(self) -> list[CaseResult]:
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
        shown = self._console is not None and self._console.is_terminal
        with Progress(*columns, console=self._console, transient=True, disable=not shown) as progress:
            task = progress.add_task("conformance", total=len(self._jobs))
            if self._selection.isolate:
                self._in_workers(lambda: progress.advance(task))
            else:
                for i, job in enumerate(self._jobs):
                    self._here(i, job)
                    progress.advance(task)
        return [r for results in self._results for r in results]

    def _note(self, result: CaseResult) -> None:
        if self._selection.exit_first and result.outcome in (Outcome.FAIL, Outcome.CRASH, Outcome.TIMEOUT):
            self._stop.set()

    def _here(self, i: int, job: Job) -> None:
        target = self._targets[job.backend, job.device]
        for case in cases(OPS[job.op], dtype(job.dtype), job.quick):
            if self._stop.is_set():
                return
            if job.only is None or case.id in job.only:
                result = execute(case, target)
                self._results[i].append(result)
                self._note(result)

    def _in_workers(self, advance: Callable[[], None]) -> None:
        waiting: queue.SimpleQueue[tuple[int, Job]] = queue.SimpleQueue()
        for item in enumerate(self._jobs):
            waiting.put(item)
        count = self._selection.workers or min(_cores(), _MOST_WORKERS)
        threads = [
            threading.Thread(target=self._serve, args=(waiting, advance)) for _ in range(min(count, len(self._jobs)))
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    def _serve(self, waiting: queue.SimpleQueue[tuple[int, Job]], advance: Callable[[], None]) -> None:
        runner = Runner(self._selection.limit, self._selection.command)
        try:
            while not self._stop.is_set():
                try:
                    i, job = waiting.get_nowait()
                except queue.Empty:
                    return
                try:
                    for result in runner.run(job, self._note):
                        self._results[i].append(result)
                        if self._stop.is_set():
                            return
                except ConformanceError as error:
                    self.troubles.append(str(error))
                advance()
        finally:
            runner.close()


def _cores() -> int:
    """Return how many cores this process may use."""
    allowed = getattr(os, "sched_getaffinity", None)  # not on macOS
    return len(allowed(0)) if allowed is not None else os.cpu_count() or 1


def _hold_to_profiles(results: list[CaseResult]) -> list[CaseResult]:
    """A refusal inside of a profile that the backend claims is a failure: a profile is passed whole or not at all."""
    made = []
    for r in results:
        claimed = next((p for p in _claims(r.backend) if (r.op, r.dtype) in PROFILES[p].pairs), None)
        if r.outcome is Outcome.UNSUPPORTED and claimed is not None:
            r = r.turned(Outcome.FAIL, f"{r.backend} claims {claimed} and refuses a part of it: {r.message}")
        made.append(r)
    return made


def _claims(backend: str) -> tuple[str, ...]:
    contribution = REGISTRY.contributions.get(backend)
    return () if contribution is None else tuple(p for p in contribution.profiles if p in PROFILES)
