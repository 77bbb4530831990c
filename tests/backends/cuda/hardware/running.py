"""Trials in processes of their own, some side by side, each ended when its time is over."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass, replace
from pathlib import Path
from time import monotonic
from typing import Final

from opmux.core.devices.host import usable_cpus

from .catalogue import FIRST
from .trial import Trial

ROOT: Final = Path(__file__).parents[4]
#: Processes that use one GPU side by side: more would wait for its memory and for each other's compiling.
_SIDE_BY_SIDE: Final = 8
#: What a process said last, in characters.
_SAID: Final = 2000
#: Outcomes that fail a run.
BAD: Final = frozenset({"fail", "crash", "timeout"})
#: Outcomes after which the GPU may be of no more use.
_HARM: Final = frozenset({"crash", "timeout"})


@dataclass(frozen=True, slots=True)
class Seen:
    """How a trial went.

    Attributes:
        name: of the trial.
        outcome: ``pass``, ``skip``, ``fail``, ``crash``, ``timeout``, ``no GPU``, or ``not run`` once the GPU is gone.
        seconds: of its process.
        said: what it saw, or what was wrong.
    """

    name: str
    outcome: str
    seconds: float
    said: str


def command(name: str) -> list[str]:
    """Return what starts the process of a trial."""
    return [sys.executable, "-m", "tests.backends.cuda.hardware.one", name]


def seen(
    trial: Trial,
    start: Sequence[str],
    under: Sequence[str] = (),
    slower: float = 1.0,
    noted: Callable[[subprocess.Popen[str]], None] = lambda process: None,
) -> Seen:
    """Carry out a trial.

    Args:
        trial: which.
        start: starts its process.
        under: a command that the process is started under, such as ``compute-sanitizer``.
        slower: what its time limit is multiplied with.
        noted: is told of its process.
    """
    begun = monotonic()
    process = subprocess.Popen(
        [*under, *start], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace",
        start_new_session=True,
    )  # fmt: skip
    noted(process)
    try:
        printed, _ = process.communicate(timeout=trial.seconds * slower)
    except subprocess.TimeoutExpired:
        return Seen(trial.name, "timeout", monotonic() - begun, _ended(process))
    finally:
        _kill(process)  # after an interrupt it would go on
    taken = monotonic() - begun
    with contextlib.suppress(ValueError, IndexError, KeyError, TypeError):
        told = [line for line in printed.splitlines() if line.startswith('{"outcome"')]
        made = json.loads(told[-1])
        if process.returncode == 0 or made["outcome"] != "pass":
            return Seen(trial.name, made["outcome"], taken, made["said"])
    return Seen(trial.name, "crash", taken, f"its process ended with {process.returncode}: {printed[-_SAID:]}")


def _ended(process: subprocess.Popen[str]) -> str:
    """End a process and all that it started; return what it had printed."""
    _kill(process)
    try:
        return process.communicate(timeout=20)[0][-_SAID:]
    except subprocess.TimeoutExpired:
        return "its process cannot be ended: it waits within the driver"


def _kill(process: subprocess.Popen[str]) -> None:
    if process.poll() is None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)


def run(
    trials: Sequence[Trial],
    start: Callable[[str], Sequence[str]] = command,
    under: Sequence[str] = (),
    slower: float = 1.0,
) -> Iterator[Seen]:
    """Carry out trials, the first one before all others, and yield each as it is done.

    Where the first one fails, and where it fails after another one hung or crashed, the GPU is of no more use, and the
    rest is not run. Whoever reads no further ends what is under way.
    """
    first, *rest = trials
    if first.name != FIRST:
        raise ValueError(f"{FIRST!r} comes first")

    def tried(trial: Trial, noted: Callable[[subprocess.Popen[str]], None] = lambda process: None) -> Seen:
        return seen(trial, start(trial.name), under, slower, noted)

    found = tried(first)
    yield found
    together, left = [t for t in rest if not t.alone], deque(rest)
    if found.outcome == "pass":
        left = deque(t for t in rest if t.alone)
        harm = []
        for made in _side_by_side(tried, together):
            yield made
            harm += [made.name] if made.outcome in _HARM else []
        if harm:
            found = replace(tried(first), name=f"{FIRST}, after {', '.join(harm)}")
            yield found
    while left and found.outcome == "pass":
        made = tried(left.popleft())
        yield made
        if made.outcome in _HARM:
            found = replace(tried(first), name=f"{FIRST}, after {made.name}")
            yield found
    for trial in left:
        yield Seen(trial.name, "not run", 0.0, f"{FIRST}: {found.outcome}")


def _side_by_side(tried: Callable[..., Seen], trials: Sequence[Trial]) -> Iterator[Seen]:
    over, processes = threading.Event(), list[subprocess.Popen[str]]()

    def noted(process: subprocess.Popen[str]) -> None:
        processes.append(process)
        if over.is_set():
            _kill(process)

    with ThreadPoolExecutor(min(_SIDE_BY_SIDE, usable_cpus())) as pool:
        try:
            for done in as_completed([pool.submit(tried, t, noted) for t in trials]):
                yield done.result()
        finally:  # after an interrupt the pool would start the others, and wait for them
            pool.shutdown(wait=False, cancel_futures=True)
            over.set()
            for process in processes[:]:
                _kill(process)
