"""The parent's side of the workers: started clean, stopped while another one works, killed when they hang."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from .case import Case
from .errors import UnsupportedCaseError, WorkerError
from .protocol import Channel, Message

#: The checkout's root, from which ``benchmarks`` is importable whatever the folder is called.
ROOT: Final = Path(__file__).resolve().parent.parent
#: What a worker inherits. Settings of thread counts and kernels (OMP_*, OPENBLAS_*, MKL_*, OPMUX_*) do not pass: peers
#: are measured as shipped.
_INHERITED: Final = (
    "PATH", "HOME", "TMPDIR", "LANG", "LC_ALL", "LD_LIBRARY_PATH", "SYSTEMROOT", "OPMUX_CACHE_DIR",
    "CUDA_VISIBLE_DEVICES", "CUDA_PATH",
)  # fmt: skip
_SETTINGS: Final = (
    "OMP_", "OPENBLAS_", "MKL_", "GOTO_", "NUMEXPR_", "NUMBA_", "XLA_", "JAX_", "OPMUX_", "KMP_", "GOMP_",
)  # fmt: skip


def clean_environment() -> dict[str, str]:
    """Return the environment of a worker."""
    kept = {name: os.environ[name] for name in _INHERITED if name in os.environ}
    return {**kept, "PYTHONHASHSEED": "0", "PYTHONUNBUFFERED": "1"}


def ignored_settings() -> list[str]:
    """Return the variables set here that decide speed and that workers do not see."""
    return sorted(name for name in os.environ if name.startswith(_SETTINGS) and name not in _INHERITED)


class WorkerHandle:
    """One worker process, stopped (SIGSTOP) except while it answers: threads that spin after their work, as those of
    several BLAS do, take nothing from the others.

    Args:
        name: the peer's.
        command: what to start instead of the worker, in tests.
        timeout: seconds that any one answer may take.
    """

    def __init__(self, name: str, command: Sequence[str] | None = None, timeout: float = 120.0) -> None:
        self.name = name
        self._timeout = timeout
        self._process = subprocess.Popen(
            command or [sys.executable, "-m", "benchmarks.worker", name],
            cwd=ROOT,
            env=clean_environment(),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        stdin, stdout = self._process.stdin, self._process.stdout
        if stdin is None or stdout is None:
            raise WorkerError(f"{name}: the worker was started without pipes")
        self._channel = Channel(stdout.fileno(), stdin.fileno())

    @property
    def alive(self) -> bool:
        """Whether the process still runs."""
        return self._process.poll() is None

    def ask(self, do: str, **arguments: Any) -> tuple[Message, bytearray]:
        """Send a request and wait for the answer.

        Raises:
            UnsupportedCaseError: for a case that the peer does not offer.
            WorkerError: when it raised, died, or took too long; it is gone then.
        """
        try:
            self._signal(signal.SIGCONT)
            self._channel.send({"do": do, **arguments})
            answer, payload = self._channel.receive(self._timeout)
            self._signal(signal.SIGSTOP)
        except WorkerError as error:
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(0.5)  # its pipe closes before its status is known
            code = self._process.poll()
            self.kill()
            state = f"it ended with status {code}" if code is not None else f"it was killed after {self._timeout:g} s"
            raise WorkerError(f"{self.name}: {do}: {error}; {state}") from None
        if "error" in answer:
            if answer["error"] == "unsupported":
                raise UnsupportedCaseError(answer["message"])
            self.kill()  # a library or a device may be the worse for it: the next case has a process of its own
            raise WorkerError(f"{self.name}: {do}: {answer['message']}")
        return answer, payload

    def hello(self) -> dict[str, str]:
        """Return the versions of what the worker measures."""
        versions: dict[str, str] = self.ask("hello")[0]["versions"]
        return versions

    def prepare(self, case: Case, seed: int) -> Message:
        """Make a case ready."""
        return self.ask("prepare", case=case.to_data(), seed=seed)[0]

    def calibrate(self, seconds: float, most: int) -> tuple[int, float]:
        """Return how many repetitions last so long, at most so many, and the seconds of one."""
        answer, _ = self.ask("calibrate", seconds=seconds, most=most)
        return answer["repetitions"], answer["seconds"]

    def run(self, repetitions: int) -> float:
        """Return the seconds of so many repetitions."""
        seconds: float = self.ask("run", repetitions=repetitions)[0]["seconds"]
        return seconds

    def result(self) -> NDArray[Any]:
        """Return what the last repetition computed."""
        answer, payload = self.ask("result")
        return np.frombuffer(payload, np.dtype(answer["dtype"])).reshape(answer["shape"])

    def close(self) -> None:
        """Ask the worker to end; kill it if it does not."""
        with contextlib.suppress(WorkerError, subprocess.TimeoutExpired):
            if self.alive:
                self._signal(signal.SIGCONT)
                self._channel.send({"do": "stop"})
                self._process.wait(5)
        self.kill()

    def kill(self) -> None:
        """End the process now."""
        if self.alive:
            self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                with contextlib.suppress(OSError):
                    pipe.close()

    def _signal(self, number: int) -> None:
        with contextlib.suppress(ProcessLookupError):
            self._process.send_signal(number)


class Pool:
    """Workers by peer, started on first need and again after they died."""

    def __init__(self, peers: Sequence[str], timeout: float = 120.0) -> None:
        self._timeout = timeout
        self._workers: dict[str, WorkerHandle] = {}
        self.peers = tuple(peers)

    def worker(self, peer: str) -> WorkerHandle:
        """Return a live worker for a peer."""
        found = self._workers.get(peer)
        if found is None or not found.alive:
            found = self._workers[peer] = WorkerHandle(peer, timeout=self._timeout)
        return found

    def close(self) -> None:
        """End every worker."""
        for worker in self._workers.values():
            worker.close()


@contextlib.contextmanager
def pool(peers: Sequence[str], timeout: float = 120.0) -> Iterator[Pool]:
    """Open a pool for the block; no worker outlives it."""
    made = Pool(peers, timeout)
    try:
        yield made
    finally:
        made.close()
