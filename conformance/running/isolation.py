"""Worker processes: started, fed, watched, and replaced when a case takes one down."""

from __future__ import annotations

import contextlib
import json
import os
import select
import shlex
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

from ...core.devices.device import DEVICES
from ...core.dispatch.registry import REGISTRY
from ...core.errors import ConformanceError
from ...core.plugins import manager
from ..results.outcome import CaseResult, Outcome


def command(module: str, *arguments: str) -> tuple[str, ...]:
    """Return what starts a module of opmux in a process of its own.

    ``-P`` keeps what lies in the current folder from taking a package's place.
    """
    return (sys.executable, "-P", "-m", module, *arguments)


#: Starts the suite's own worker.
WORKER: Final = command("opmux.conformance.running.worker")
#: The documented variable (``docs/environment.md``).
_BACKENDS: Final = "OPMUX_BACKENDS"
#: Seconds that a worker may take to import opmux and to load the backends.
_START_LIMIT: Final = 120.0
#: Characters of a dead worker's standard error that go into the report, and how many are looked through for them.
_LAST_WORDS: Final = 2000
_LAST_PAGES: Final = 1 << 16
#: What the dump of the threads of a process that dies begins with.
_DUMP: Final = "Fatal Python error"
#: Seconds in which a worker that is told to die may say where it stands.
_DYING: Final = 2.0
#: Seconds between two looks at how much memory a worker holds, and the share of the machine's that it may.
_LOOK: Final = 0.2
_MEMORY_SHARE: Final = 0.75


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
    def from_dict(cls, given: dict[str, Any]) -> Job:
        """Return the job that :meth:`to_json` wrote."""
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
    """One worker process, with whatever it starts.

    Args:
        command: starts it.
        memory: bytes that it may hold.
        backends: the only ones that it may load; none where all are allowed.
    """

    def __init__(self, command: tuple[str, ...], memory: int | None = None, backends: tuple[str, ...] = ()) -> None:
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115 - it lives as long as the worker
        # A group of its own: an interrupt from the terminal goes to the run alone, which ends every group.
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            process_group=0,
            env={**os.environ, _BACKENDS: ",".join(backends)} if backends else None,
        )
        self._memory = memory_limit() if memory is None else memory
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

    def receive(self, limit: float, since: float | None = None) -> dict[str, Any]:
        """Return its next message.

        Args:
            limit: seconds that it has.
            since: by the monotonic clock, when they began; None for now.

        Raises:
            WorkerLostError: it died, said nothing within its time, said what no worker says, or held more memory than
                it may.
        """
        deadline = (time.monotonic() if since is None else since) + limit
        while b"\n" not in self._pending:
            self._pending += self._next_part(deadline, limit)
        line, _, self._pending = self._pending.partition(b"\n")
        try:
            message: object = json.loads(line)
        except ValueError:
            message = None
        if not isinstance(message, dict):
            self.end()
            raise WorkerLostError(f"something wrote {line[:80]!r} where only the worker writes", timed_out=False)
        return message

    def _next_part(self, deadline: float, limit: float) -> bytes:
        stdout = self._process.stdout
        if stdout is None:
            raise WorkerLostError("it has no standard output", timed_out=False)
        while not select.select([stdout], [], [], min(max(deadline - time.monotonic(), 0), _LOOK))[0]:
            held = _resident(self._process.pid)
            if held > self._memory:
                self.end()
                raise WorkerLostError(
                    f"it held {held:,} bytes of memory, more than the {self._memory:,} that it may", timed_out=False
                )
            if time.monotonic() >= deadline:
                place = self._place()
                raise WorkerLostError(f"no answer within {limit:g} s" + (f": {place}" if place else ""), timed_out=True)
        part = os.read(stdout.fileno(), 1 << 16)
        if not part:
            raise WorkerLostError(self._epitaph(), timed_out=False)
        return part

    def _place(self) -> str:
        """End it, and return where its threads stood."""
        with contextlib.suppress(OSError):
            self._process.send_signal(signal.SIGABRT)  # at which a worker says where it stands
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(_DYING)
        self.end()
        return self._last_words()

    def _epitaph(self) -> str:
        try:
            code = self._process.wait(_DYING)
        except subprocess.TimeoutExpired:
            return f"it closed its output and went on: {self._place()}"
        how = f"signal {signal.Signals(-code).name}" if code < 0 else f"exit status {code}"
        words = self._last_words()
        return f"the worker ended with {how}" + (f": {words}" if words else "")

    def _last_words(self) -> str:
        """Return the end of its standard error, or what it said of its threads when it died."""
        self._errors.seek(0, os.SEEK_END)
        self._errors.seek(max(self._errors.tell() - _LAST_PAGES, 0))
        words = self._errors.read().decode(errors="replace").strip()
        dumped = words.rfind(_DUMP)
        return words[-_LAST_WORDS:] if dumped < 0 else words[dumped:][:_LAST_WORDS]

    def end(self) -> None:
        """End the process and whatever it started; from any thread."""
        with contextlib.suppress(ProcessLookupError, PermissionError):  # nobody of the group is left
            os.killpg(self._process.pid, signal.SIGKILL)

    def kill(self) -> None:
        """End it, and close what it was spoken to through."""
        self.end()
        self._process.wait()
        for stream in (self._process.stdin, self._process.stdout, self._errors):
            if stream is not None:
                try:
                    stream.close()
                except OSError:
                    continue  # what it had not read of a job is of no use any more


def _resident(pid: int) -> int:
    """Return how many bytes of memory a process holds; 0 where the system does not tell."""
    try:
        with open(f"/proc/{pid}/statm", encoding="ascii") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, IndexError):
        return 0


def memory_limit() -> int:
    """Return the bytes that a worker may hold: a share of what this machine, or the container, has."""
    most = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    for path in ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"):
        with contextlib.suppress(OSError, ValueError):  # no such control, or no limit
            most = min(most, int(Path(path).read_text(encoding="ascii")))
    return int(most * _MEMORY_SHARE)


class Runner:
    """Runs jobs one after the other in a worker process, which it replaces as often as it must.

    Args:
        limit: seconds for one case.
        command: starts a worker.
        memory: bytes that a worker may hold; None for a share of the machine's.
    """

    def __init__(self, limit: float, command: tuple[str, ...] = WORKER, memory: int | None = None) -> None:
        self._limit, self._command, self._memory = limit, command, memory
        self._worker: Worker | None = None
        self._loaded: tuple[str, ...] = ()
        self._ended = threading.Event()

    def run(self, job: Job) -> Iterator[CaseResult]:
        """Run a job; one result per case, whatever the cases do, and a second one for a case that was over when its
        worker died.

        Raises:
            ConformanceError: no worker can be started, or it fails outside of every case.
        """
        done = list(job.skip)
        while not self._ended.is_set():
            started: dict[str, Any] | None = None
            running: list[str] = []
            last: CaseResult | None = None
            known = frozenset(done)
            begun = time.monotonic()
            try:
                worker = self._ready(job.backend, job.device)
                if self._ended.is_set():  # while it was starting
                    self.close()
                    return
                worker.send(replace(job, skip=tuple(done)).to_json())
                begun = time.monotonic()
                while "end" not in (message := worker.receive(self._limit, begun)):
                    if "runs" in message:
                        running.append(str(message["runs"]))
                        continue
                    if "start" in message:
                        started, running, begun = message, [], time.monotonic()
                        continue
                    last = _result(message)
                    done.append(last.id)
                    started = None
                    yield last
                    begun = time.monotonic()
                return
            except WorkerLostError as lost:
                self.close()
                if self._ended.is_set():
                    return
                result = None
                if started is not None:
                    result = _lost(job, started, running, lost, time.monotonic() - begun)
                elif last is not None:  # work that went on after the case: a queue, a thread, a destructor
                    result = last.turned(Outcome.CRASH, f"the worker was lost right after this case: {lost.why}")
                if result is None or result.id in known:  # another worker would come no further
                    raise ConformanceError(f"{job.op} on {job.dtype}: {lost.why}", op=job.op, dtype=job.dtype) from lost
                done.append(result.id)
                yield result

    def end(self) -> None:
        """End the worker and start no other; from any thread."""
        self._ended.set()
        worker = self._worker
        if worker is not None:
            worker.end()

    def _ready(self, backend: str, device: str) -> Worker:
        needed = alone(backend, device)
        if needed != self._loaded:
            self.close()
        if self._worker is None:
            self._worker, self._loaded = Worker(self._command, self._memory, needed), needed
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


def alone(backend: str, device: str) -> tuple[str, ...]:
    """Return the backends that a worker loads: the one under test and the owner of its device.

    A kernel that hands its work to another backend in secret, by whatever door, then finds none. Empty, which allows
    all, where the backend was registered by this process and cannot be loaded by name.
    """
    if manager.package_folder(backend) is None:
        return ()
    owner = next((d.owner for d in DEVICES if d.name == device), backend)
    return (backend,) if owner in (backend, "opmux") else (backend, owner)


def folders() -> dict[str, str]:
    """Return where opmux and the backends of this process lie, by name; without those that it registered itself."""
    found = {name: manager.package_folder(name) for name in REGISTRY.contributions}
    made = {name: str(folder.resolve()) for name, folder in found.items() if folder is not None}
    return {**made, "opmux": str(Path(__file__).resolve().parents[2])}


def _result(message: dict[str, Any]) -> CaseResult:
    """Return the result in a message.

    Raises:
        WorkerLostError: there is none.
    """
    try:
        return CaseResult.from_dict(message["result"])
    except (KeyError, TypeError, ValueError) as error:
        raise WorkerLostError(f"it sent {str(message)[:80]}, which is no result", timed_out=False) from error


def _lost(job: Job, started: dict[str, Any], running: list[str], lost: WorkerLostError, seconds: float) -> CaseResult:
    outcome = Outcome.TIMEOUT if lost.timed_out else Outcome.CRASH
    case = started["start"]
    return CaseResult(
        case, job.backend, job.op, job.dtype, started["kind"], job.device, outcome, dict.fromkeys(running, 0.0),
        seconds=round(seconds, 3), message=lost.why, reproducer=reproducer(job, case),
    )  # fmt: skip


def reproducer(job: Job, case: str) -> str:
    """Return the command that runs one case alone."""
    seed = f" --seed {job.seed}" if job.seed else ""
    quick = " --quick" if job.quick else ""
    return (
        f"opmux conformance --backend {job.backend} --op {job.op} --dtype {job.dtype}{quick}{seed} "
        f"--case {shlex.quote(case)}"
    )
