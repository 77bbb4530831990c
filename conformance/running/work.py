"""Jobs shared out among worker processes, what they lose, and what is tried again."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Final

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from ...core.devices.host import usable_cpus
from ...core.errors import ConformanceError
from ..cases.enumerate import cases
from ..results.outcome import BAD, CaseResult, Outcome
from ..target import Target
from .execute import execute
from .isolation import Job, Runner, reproducer
from .journal import Journal
from .selection import Selection

#: More worker processes than this do not help: each compiles and warms its own caches.
_MOST_WORKERS: Final = 4
#: Jobs whose failures are run a second time: each costs a fresh process.
_MOST_RETRIES: Final = 24
#: Cases of a job that may lose their device before the rest of it is not run, and cases that may do so in a run before
#: any has passed: each costs a fresh process or two.
_MOST_LOSSES: Final = 3


class Work:
    """Jobs shared out among workers; results come back in the order of the jobs.

    Args:
        selection: how to run them.
        jobs: each with the ids of its cases.
        ready: the targets.
        journal: what has been found before, and takes what is found now.
        console: for the progress bar; None shows none.
    """

    def __init__(
        self,
        selection: Selection,
        jobs: list[Job],
        ready: tuple[Target, ...],
        journal: Journal,
        console: Console | None,
    ) -> None:
        self._selection, self._jobs, self._journal, self._console = selection, jobs, journal, console
        self._targets = {(t.backend, t.device.name): t for t in ready}
        self._results: list[dict[str, CaseResult]] = [journal.known(job) for job in jobs]
        self._stop = threading.Event()
        self._deadline = time.monotonic() + selection.within
        self._lost: dict[tuple[str, str], str] = {}
        self._losses: dict[tuple[str, str], int] = {}
        self._passed: dict[tuple[str, str], Job] = {}
        self._retries = _MOST_RETRIES
        self._lock = threading.Lock()
        self._runners: list[Runner] = []
        self.troubles: list[str] = []

    @property
    def stopped(self) -> bool:
        """Whether the run ended at a failure, or when its time was over."""
        return self._stop.is_set()

    def run(self) -> list[CaseResult]:
        """Run every job; one result per case, in order; after a stop those that were run."""
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
        shown = self._console is not None and self._console.is_terminal
        with Progress(*columns, console=self._console, transient=True, disable=not shown) as progress:
            task = progress.add_task("conformance", total=sum(len(job.only) for job in self._jobs))

            def advance(count: int) -> None:
                progress.advance(task, count)

            if self._selection.isolate:
                self._in_workers(advance)
            else:
                for i, job in enumerate(self._jobs):
                    self._here(i, job)
                    advance(len(job.only))
        left = sum(len(set(job.only) - set(found)) for job, found in zip(self._jobs, self._results, strict=True))
        if left and time.monotonic() > self._deadline:
            self.troubles.append(f"{left} cases were left when the time was over; --resume goes on")
        return [
            found[case]
            for job, found in zip(self._jobs, self._results, strict=True)
            for case in job.only
            if case in found
        ]

    def _note(self, i: int, result: CaseResult) -> None:
        self._results[i][result.id] = result
        self._journal.write(result)
        if (self._selection.exit_first and result.outcome in BAD) or time.monotonic() > self._deadline:
            self._stop.set()

    def _rest_not_run(self, i: int, job: Job, why: str) -> None:
        """Give every case of a job that has no result yet the outcome not_run."""
        kinds = {c.id: c.kind for c in cases(job.op, job.dtype, job.quick, job.seed)}
        for case in job.only:
            if case not in self._results[i]:
                again = reproducer(job, case)
                self._results[i][case] = CaseResult(
                    case, job.backend, job.op, job.dtype, kinds[case], job.device, Outcome.NOT_RUN, message=why,
                    reproducer=again,
                )  # fmt: skip

    def _skipped(self, i: int, job: Job) -> bool:
        """Return whether a job is not to be run: the run was stopped, or its device is lost."""
        lost = self._lost.get((job.backend, job.device))
        if lost is not None:
            self._rest_not_run(i, job, f"{job.device} was lost in {lost}")
        return lost is not None or self._stop.is_set()

    def _here(self, i: int, job: Job) -> None:
        target, todo = self._targets[job.backend, job.device], set(job.only) - set(self._results[i])
        for case in cases(job.op, job.dtype, job.quick, job.seed):
            if self._skipped(i, job):
                return
            if case.id in todo:
                result = execute(case, target, job)
                if result.lost:
                    self._lost[result.backend, result.device] = result.id
                self._note(i, result)

    def _in_workers(self, advance: Callable[[int], None]) -> None:
        waiting: queue.SimpleQueue[tuple[int, Job]] = queue.SimpleQueue()
        for item in enumerate(self._jobs):
            waiting.put(item)
        count = self._selection.workers or min(usable_cpus(), _MOST_WORKERS)
        threads = [
            threading.Thread(target=self._serve, args=(waiting, advance)) for _ in range(min(count, len(self._jobs)))
        ]
        try:
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
        except BaseException:  # an interrupt: no worker outlives the run
            self._stop.set()
            for runner in tuple(self._runners):
                runner.end()
            raise

    def _serve(self, waiting: queue.SimpleQueue[tuple[int, Job]], advance: Callable[[int], None]) -> None:
        runner = Runner(self._selection.limit, self._selection.command)
        self._runners.append(runner)
        try:
            while not self._stop.is_set():
                try:
                    i, job = waiting.get_nowait()
                except queue.Empty:
                    return
                self._one(runner, i, job)
                advance(len(job.only))
        finally:
            runner.close()

    def _one(self, runner: Runner, i: int, job: Job) -> None:
        if set(job.only) <= set(self._results[i]) or self._skipped(i, job):
            return
        losses = 0
        try:
            while self._until_lost(runner, i, job):
                losses += 1
                if self._skipped(i, job):
                    return
                if losses == _MOST_LOSSES:
                    self._rest_not_run(i, job, f"{job.op} on {job.dtype} has lost {job.device} {losses} times")
                    break
        except ConformanceError as error:
            self.troubles.append(str(error))
            self._rest_not_run(i, job, str(error))
        self._try_again(runner, i, job)

    def _until_lost(self, runner: Runner, i: int, job: Job) -> bool:
        """Run what is left of a job; return whether its device was lost to the process that ran it."""
        for result in runner.run(replace(job, skip=tuple(self._results[i]))):
            if result.lost:
                self._note(i, self._judged(runner, job, result))
                return True
            if result.outcome is Outcome.PASS:
                self._passed[job.backend, job.device] = replace(job, only=(result.id,), skip=())
            self._note(i, result)
            if self._skipped(i, job):
                return False
        return False

    def _judged(self, runner: Runner, job: Job, result: CaseResult) -> CaseResult:
        """Return what a loss was: a crash where a fresh process does what has passed before, else the device's end."""
        runner.close()
        key = job.backend, job.device
        witness = self._passed.get(key)
        if witness is None:
            self._losses[key] = self._losses.get(key, 0) + 1
            usable = self._losses[key] < _MOST_LOSSES
        else:
            try:
                usable = [again.outcome for again in runner.run(witness)] == [Outcome.PASS]
            except ConformanceError:
                usable = False
        if not usable:
            self._lost[key] = result.id
            return result
        if witness is None:
            return result
        text = f"{result.message}; in a fresh process {job.device} works"
        return replace(result.turned(Outcome.CRASH, text), lost=False)

    def _try_again(self, runner: Runner, i: int, job: Job) -> None:
        """Run what failed a second time, in a fresh process: what passes then is still a failure, and flaky."""
        failed = [r for r in self._results[i].values() if r.outcome in (Outcome.FAIL, Outcome.CRASH) and not r.flaky]
        with self._lock:
            if not failed or self._retries == 0:
                return
            self._retries -= 1
        runner.close()
        before = {r.id: r for r in failed}
        try:
            for again in runner.run(replace(job, only=tuple(before), skip=())):
                if again.outcome is Outcome.PASS:
                    first = before[again.id]
                    text = f"flaky: it passed when it was run again; the first time: {first.message}"
                    self._note(i, replace(first, flaky=True, message=text))
                if again.lost:  # the process has no device any more
                    runner.close()
                    return
        except ConformanceError as error:
            self.troubles.append(str(error))
