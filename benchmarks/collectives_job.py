"""The parent's side of a job: its processes started, stopped while another job works, killed when they hang."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import sysconfig
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from .collectives_cases import Case
from .errors import PeerUnavailableError, WorkerError
from .pool import ROOT, clean_environment
from .protocol import Channel, Message

_MODULE: Final = "benchmarks.collectives_rank"
#: Seconds for the start of a job; torch alone takes several to import.
_START: Final = 60.0
#: As many processes as asked for, whoever runs them and on however few cores; for Open MPI.
_MPI: Final = {
    "OMPI_ALLOW_RUN_AS_ROOT": "1",
    "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1",
    "PRTE_MCA_rmaps_default_mapping_policy": ":oversubscribe",
}
_DEVICES: Final = 4


@dataclass(frozen=True, slots=True)
class Contestant:
    """Who takes part.

    Attributes:
        way: what its processes run; contestants of one way share them.
        variant: which program of theirs.
        checked: whether it computes the collective.
    """

    way: str
    variant: str = ""
    checked: bool = True


CONTESTANTS: Final[Mapping[str, Contestant]] = {
    "opmux": Contestant("opmux"),
    "opmux-out": Contestant("opmux", "out"),
    "opmux-canonical": Contestant("opmux", "canonical"),
    "opmux-mpi": Contestant("opmux-mpi"),
    "opmux-mpi-canonical": Contestant("opmux-mpi", "canonical"),
    "mpi4py": Contestant("mpi4py"),
    "gloo": Contestant("gloo"),
    #: What the checks of agreement send, alone; and the limit that memory sets.
    "agreement": Contestant("mpi4py", "agreement", checked=False),
    "copy": Contestant("copy", checked=False),
}


def launcher() -> str | None:
    """Return the path of mpiexec: beside the interpreter, or in PATH."""
    return shutil.which("mpiexec", path=f"{sysconfig.get_path('scripts')}{os.pathsep}{os.environ.get('PATH', '')}")


def _commands(way: str, ranks: int, path: str, torch: str) -> list[list[str]]:
    """Return the commands that start the processes of a job."""
    own = [sys.executable, "-m", _MODULE, way, path, str(ranks)]
    if way == "gloo":
        return [[torch, "-m", _MODULE, way, path, str(ranks), str(r), f"{path}.store"] for r in range(ranks)]
    if way in ("opmux", "copy"):
        return [own]
    found = launcher()
    if found is None:
        raise PeerUnavailableError("mpiexec is not installed: pip install 'opmux[mpi]'")
    return [[found, "-n", str(ranks), *own]]


class Job:
    """The processes that run one collective together, stopped (SIGSTOP) except while they answer.

    Args:
        way: what they run.
        ranks: how many ranks there are.
        torch: the interpreter that has torch.
        timeout: seconds that any one answer may take.
    """

    def __init__(self, way: str, ranks: int, torch: str, timeout: float) -> None:
        self.way = way
        self._timeout = timeout
        self._folder = tempfile.TemporaryDirectory(prefix="bench")
        self._started: list[subprocess.Popen[bytes]] = []
        self._connections: list[socket.socket] = []
        self._channels: list[Channel] = []
        self._pids: list[int] = []
        path = str(Path(self._folder.name) / "parent")
        environment = {**clean_environment(), **_MPI, "OPMUX_CPU_DEVICES": str(_DEVICES)}
        if way == "opmux-mpi":
            del environment["OPMUX_CPU_DEVICES"]
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115 - closed with the job
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
                listener.bind(path)
                listener.listen()
                for command in _commands(way, ranks, path, torch):
                    process = subprocess.Popen(
                        command, cwd=ROOT, env=environment, stdin=subprocess.DEVNULL,
                        stdout=self._errors, stderr=self._errors, start_new_session=True,
                    )  # fmt: skip
                    self._started.append(process)
                self._accept(listener, 1 if way in ("opmux", "copy") else ranks)
            said = self.ask("hello")
        except BaseException:
            self.kill()
            raise
        self.versions: dict[str, str] = said[0]["versions"]

    def _accept(self, listener: socket.socket, count: int) -> None:
        deadline = time.monotonic() + _START
        listener.settimeout(0.2)
        while len(self._connections) < count:
            with contextlib.suppress(TimeoutError):
                connection, _ = listener.accept()
                self._connections.append(connection)
                channel = Channel(connection.fileno(), connection.fileno())
                self._channels.append(channel)
                self._pids.append(channel.receive(_START)[0]["pid"])
            ended = [p.returncode for p in self._started if p.poll() is not None]
            if ended or time.monotonic() > deadline:
                what = f"ended with status {ended[0]}" if ended else f"did not start within {_START:g} s"
                raise WorkerError(f"{self.way} {what}: {self._last_words()}")

    def _last_words(self) -> str:
        self._errors.seek(0)
        lines = self._errors.read().decode(errors="replace").strip().splitlines()
        return " ".join(lines[-2:])[-300:]

    @property
    def alive(self) -> bool:
        """Whether every process that was started still runs."""
        return bool(self._started) and all(p.poll() is None for p in self._started)

    def ask(self, do: str, **arguments: Any) -> list[Message]:
        """Send a request to every process and return their answers.

        Raises:
            WorkerError: when one raised, died, or took too long; in the last two cases all are gone.
        """
        try:
            self._signal(signal.SIGCONT)
            for channel in self._channels:
                channel.send({"do": do, **arguments})
            answers = [channel.receive(self._timeout)[0] for channel in self._channels]
            self._signal(signal.SIGSTOP)
        except WorkerError as error:
            words = self._last_words()
            self.kill()
            raise WorkerError(f"{self.way}: {do}: {error} {words}") from None
        for answer in answers:
            if "error" in answer:
                self.kill()  # its processes may be out of step
                raise WorkerError(f"{self.way}: {do}: {answer['error']}")
        return answers

    def prepare(self, case: Case, variant: str) -> str:
        """Make a case ready; return what runs."""
        detail: str = self.ask("prepare", case=case.to_data(), variant=variant)[0]["detail"]
        return detail

    def seconds(self, variant: str) -> Callable[[int], float]:
        """Return what times a variant: the seconds of so many calls, by the slowest process."""
        return lambda repetitions: max(
            a["seconds"] for a in self.ask("run", variant=variant, repetitions=repetitions)
        )  # fmt: skip

    def wrong(self, variant: str) -> str:
        """Return what is wrong with the last results; empty where nothing is."""
        return next((a["wrong"] for a in self.ask("check", variant=variant) if a["wrong"]), "")

    def drop(self) -> None:
        """Give back the memory of the case."""
        self.ask("drop")

    def close(self) -> None:
        """Ask the processes to end; kill those that do not."""
        with contextlib.suppress(WorkerError, subprocess.TimeoutExpired, OSError):
            if self.alive:
                self._signal(signal.SIGCONT)
                for channel in self._channels:
                    channel.send({"do": "stop"})
                for process in self._started:
                    process.wait(10)
        self.kill()

    def kill(self) -> None:
        """End the processes now."""
        self._signal(signal.SIGCONT)
        for process in self._started:
            if process.poll() is None:
                process.terminate()  # a launcher ends its processes
        for process in self._started:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(5)
            if process.poll() is None:
                process.kill()
                process.wait()
        for connection in self._connections:
            connection.close()
        self._connections.clear()
        self._channels.clear()
        self._pids.clear()
        self._errors.close()
        self._folder.cleanup()

    def _signal(self, number: int) -> None:
        for pid in self._pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)


class Jobs:
    """Jobs by way and number of ranks, started on first need."""

    def __init__(self, torch: str, timeout: float) -> None:
        self._torch, self._timeout = torch, timeout
        self._made: dict[tuple[str, int], Job] = {}
        self._refused: dict[tuple[str, int], str] = {}

    def job(self, contestant: Contestant, ranks: int) -> Job:
        """Return a live job.

        Raises:
            PeerUnavailableError: it could not be started, now or earlier.
        """
        key = contestant.way, 0 if contestant.way in ("opmux", "copy") else ranks
        if key in self._refused:
            raise PeerUnavailableError(self._refused[key])
        found = self._made.get(key)
        if found is None or not found.alive:
            try:
                found = self._made[key] = Job(contestant.way, ranks, self._torch, self._timeout)
            except (WorkerError, PeerUnavailableError, OSError) as error:
                self._refused[key] = str(error)
                raise PeerUnavailableError(str(error)) from error
        return found

    def versions(self) -> dict[str, str]:
        """Return the versions of everything that ran."""
        return {name: v for job in self._made.values() for name, v in job.versions.items()}

    def drop(self) -> None:
        """Give back the memory of the last case."""
        for job in self._made.values():
            if job.alive:
                job.drop()

    def close(self) -> None:
        """End every job."""
        for job in self._made.values():
            job.close()
