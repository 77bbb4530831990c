"""A crew of threads that begin at once, work for a time, and are told apart from stuck ones."""

from __future__ import annotations

import contextvars
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Final

from ....core.errors import ConformanceError
from ...target import Findings
from .. import values

THREADS: Final = 4
#: Seconds after which a case counts as stuck.
_STUCK: Final = 30.0
#: Threads change places as often as the interpreter lets them: what is unguarded shows sooner.
_SWITCH: Final = 1e-5

#: ``job(worker)`` is one round of one thread.
Job = Callable[["Worker"], None]


class Worker:
    """One thread's part of a case.

    Attributes:
        number: which thread.
        rng: its random numbers, from the seed and the number.
        findings: what it held.
        rounds: how many it has ended.
    """

    def __init__(self, crew: Crew, number: int, seed: int) -> None:
        self.crew, self.number = crew, number
        self.rng = values.generator("threads", seed, number)
        self.findings = Findings()
        self.error: BaseException | None = None
        self.rounds = 0

    def serve(self, job: Job, until: float) -> None:
        """Work until the time is over or somebody has failed."""
        try:
            self.crew.start.wait(_STUCK)
            while not self.rounds or (time.monotonic() < until and not self.crew.failed.is_set()):
                job(self)
                self.rounds += 1
        except BaseException as error:
            self.error = error
            self.crew.failed.set()


class Crew:
    """Threads that begin at once.

    Args:
        jobs: one per thread.
        seed: of what they draw.
    """

    def __init__(self, jobs: Sequence[Job], seed: int) -> None:
        self.jobs = jobs
        self.start = threading.Barrier(len(jobs))
        self.failed = threading.Event()
        self.workers = [Worker(self, i, seed) for i in range(len(jobs))]

    def work(self, findings: Findings, seconds: float) -> None:
        """Let every thread work for so many seconds.

        Raises:
            ConformanceError: one of them does not end.
            Exception: what the first one that failed raised.
        """
        until = time.monotonic() + seconds
        threads = []
        for worker, job in zip(self.workers, self.jobs, strict=True):
            context = contextvars.copy_context()  # the policy of the case holds in its threads
            threads.append(
                threading.Thread(target=context.run, args=(worker.serve, job, until), daemon=True, name="conformance")
            )
        with _switching_often():
            for thread in threads:
                thread.start()
            stuck = until + _STUCK
            for thread in threads:
                thread.join(max(stuck - time.monotonic(), 0))
        late = [t for t in threads if t.is_alive()]
        if late:
            self.failed.set()
            raise ConformanceError(f"{len(late)} of {len(threads)} threads do not end: {_where(late[0])}")
        for worker in self.workers:
            if worker.error is not None:
                raise worker.error
            findings.assertions += worker.findings.assertions


def _where(thread: threading.Thread) -> str:
    """Return where a thread stands, innermost frame last."""
    frame = sys._current_frames().get(thread.ident or 0)
    lines = traceback.format_stack(frame)[-6:] if frame is not None else ["it has just ended"]
    return "; ".join(line.strip().replace("\n", ": ") for line in lines)


@contextmanager
def _switching_often() -> Iterator[None]:
    usual = sys.getswitchinterval()
    sys.setswitchinterval(_SWITCH)
    try:
        yield
    finally:
        sys.setswitchinterval(usual)


class InStep:
    """A job whose first round is done in step with the other threads.

    Args:
        first: ``first(worker, together)``, which calls ``together`` where all are to go on at one moment.
        later: every other round, which waits for nobody.
    """

    def __init__(self, first: Callable[[Worker, Callable[[], object]], None], later: Job) -> None:
        self._first, self.later = first, later
        self._together = threading.Barrier(THREADS)

    def __call__(self, w: Worker) -> None:
        if w.rounds:
            self.later(w)
            return
        try:
            self._first(w, lambda: self._together.wait(_STUCK))
        except threading.BrokenBarrierError:
            pass  # the thread that broke it says why
        except BaseException:
            self._together.abort()
            raise
