"""Worker processes: started, fed, watched, and replaced when a case takes one down."""

from __future__ import annotations

import json
import os
import select
import shlex
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

from ...core.dispatch.registry import REGISTRY
from ...core.errors import ConformanceError
from ...core.plugins import manager
from ..results.outcome import CaseResult, Outcome

#: Starts the suite's own worker; ``-P`` keeps what lies in the current folder from taking a package's place.
WORKER: Final = (sys.executable, "-P", "-m", "opmux.conformance.running.worker")
#: Seconds that a worker may take to import opmux and to load the backends.
_START_LIMIT: Final = 120.0
#: Characters of a dead worker's standard error that go into the report.
_LAST_WORDS: Final = 2000


@dataclass(frozen=True)
class Job:
    """The cases of one op and dtype on one device of one backend.

    Attributes:
        backend, device, op, dtype, quick: what to run.
        only: the ids of the cases.
        seed: of what they draw at random.
        skip: ids that have been run.
    """

    backend: str
    device: str
    op: str
    dtype: str
    quick: bool
    only: tuple[str, ...]
    seed: int = 0
    skip: tuple[str, ...] = field(default=())

    @classmethod
    def from_json(cls, line: str) -> Job:
        """Return the job of a line."""
        given = json.loads(line)
        return cls(**{**given, "only": tuple(given["only"]), "skip": tuple(given["skip"])})

    def to_json(self) -> str:
        """Return the line that a worker reads."""
        return json.dumps(vars(self))


class WorkerLostError(Exception):
    """The worker died, or was killed because it took too long; ``timed_out`` and ``why`` say which."""

    def __init__(self, why: str, *, timed_out: bool) -> None:
        super().__init__(why)
        self.why, self.timed_out = why, timed_out


class Worker:
    """One worker process."""

    def __init__(self, command: tuple[str, ...]) -> None:
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115 - it lives as long as the worker
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._errors)
        self._pending = b""
        try:
            #: Where it found opmux and the backends, by name.
            self.folders: dict[str, str] = self.receive(_START_LIMIT).get("folders", {})
        except WorkerLostError:
            self.kill()
            raise

    def send(self, request: str) -> None:
        """Give it something to do, as one line of JSON."""
        stdin = self._process.stdin
        if stdin is None:
            raise WorkerLostError("it has no standard input", timed_out=False)
        try:
            stdin.write(f"{request}\n".encode())
            stdin.flush()
        except OSError as error:
            raise WorkerLostError(self._epitaph(), timed_out=False) from error

    def receive(self, limit: float) -> dict[str, Any]:
        """Return its next message.

        Raises:
            WorkerLostError: it died, or said nothing within so many seconds.
        """
        deadline = time.monotonic() + limit
        while b"\n" not in self._pending:
            stdout = self._process.stdout
            if stdout is None:
                raise WorkerLostError("it has no standard output", timed_out=False)
            ready, _, _ = select.select([stdout], [], [], max(deadline - time.monotonic(), 0))
            if not ready:
                self.kill()
                raise WorkerLostError(f"no answer within {limit:g} s", timed_out=True)
            part = os.read(stdout.fileno(), 1 << 16)
            if not part:
                raise WorkerLostError(self._epitaph(), timed_out=False)
            self._pending += part
        line, _, self._pending = self._pending.partition(b"\n")
        message: dict[str, Any] = json.loads(line)
        return message

    def _epitaph(self) -> str:
        code = self._process.wait()
        how = f"signal {signal.Signals(-code).name}" if code < 0 else f"exit status {code}"
        self._errors.seek(0, os.SEEK_END)
        self._errors.seek(max(self._errors.tell() - _LAST_WORDS, 0))
        words = self._errors.read().decode(errors="replace").strip()
        return f"the worker ended with {how}" + (f": {words}" if words else "")

    def kill(self) -> None:
        """End it."""
        self._process.kill()
        self._process.wait()
        for stream in (self._process.stdin, self._process.stdout, self._errors):
            if stream is not None:
                try:
                    stream.close()
                except OSError:
                    continue  # what it had not read of a job is of no use any more


class Runner:
    """Runs jobs one after the other in a worker process, which it replaces as often as it must.

    Args:
        limit: seconds for one case.
        command: starts a worker.
    """

    def __init__(self, limit: float, command: tuple[str, ...] = WORKER) -> None:
        self._limit, self._command = limit, command
        self._worker: Worker | None = None

    def run(self, job: Job, note: Callable[[CaseResult], None]) -> Iterator[CaseResult]:
        """Run a job; one result per case, whatever the cases do.

        Raises:
            ConformanceError: no worker can be started, or it fails outside of every case.
        """
        done: list[str] = []
        while True:
            started: dict[str, Any] | None = None
            begun = time.monotonic()
            try:
                worker = self._ready(job.backend)
                worker.send(replace(job, skip=tuple(done)).to_json())
                while "end" not in (message := worker.receive(self._limit)):
                    if "start" in message:
                        started, begun = message, time.monotonic()
                        continue
                    result = CaseResult.from_dict(message["result"])
                    done.append(result.id)
                    started = None
                    note(result)
                    yield result
                return
            except WorkerLostError as lost:
                self.close()
                if started is None:
                    raise ConformanceError(f"{job.op} on {job.dtype}: {lost.why}", op=job.op, dtype=job.dtype) from lost
                result = _lost(job, started, lost, time.monotonic() - begun)
                done.append(result.id)
                note(result)
                yield result

    def _ready(self, backend: str) -> Worker:
        if self._worker is None:
            self._worker = Worker(self._command)
        here = folders()
        for name in ("opmux", backend):
            there = self._worker.folders.get(name)
            if there is not None and there != here.get(name):
                self.close()
                raise ConformanceError(
                    f"the worker found {name} in {there}, and this process in {here.get(name, 'no folder')}: what would"
                    " be tried is not what is installed here; run the command in another folder, or mend the path",
                    backend=backend,
                )
        return self._worker

    def close(self) -> None:
        """End the worker."""
        if self._worker is not None:
            self._worker.kill()
            self._worker = None


def folders() -> dict[str, str]:
    """Return where opmux and the backends of this process lie, by name; without those that it registered itself."""
    found = {name: manager.package_folder(name) for name in REGISTRY.contributions}
    made = {name: str(folder.resolve()) for name, folder in found.items() if folder is not None}
    return {**made, "opmux": str(Path(__file__).resolve().parents[2])}


def _lost(job: Job, started: dict[str, Any], lost: WorkerLostError, seconds: float) -> CaseResult:
    outcome = Outcome.TIMEOUT if lost.timed_out else Outcome.CRASH
    case = started["start"]
    return CaseResult(
        case, job.backend, job.op, job.dtype, started["kind"], job.device, outcome, seconds=round(seconds, 3),
        message=lost.why, reproducer=reproducer(job, case),
    )  # fmt: skip


def reproducer(job: Job, case: str) -> str:
    """Return the command that runs one case alone."""
    seed = f" --seed {job.seed}" if job.seed else ""
    quick = " --quick" if job.quick else ""
    return (
        f"opmux conformance --backend {job.backend} --op {job.op} --dtype {job.dtype}{quick}{seed} "
        f"--case {shlex.quote(case)}"
    )
