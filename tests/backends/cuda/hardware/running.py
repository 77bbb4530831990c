"""Trials in processes of their own, some side by side, each ended when its time is over."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path
from time import monotonic
from typing import Final

from opmux.core.devices.host import usable_cpus

from .catalogue import FIRST, TRIALS
from .trial import Trial

ROOT: Final = Path(__file__).parents[4]
#: Processes that use one GPU side by side: more would wait for its memory and for each other's compiling.
_SIDE_BY_SIDE: Final = 8
#: What a process said last, in characters.
_SAID: Final = 2000
#: Outcomes that fail a run.
BAD: Final = frozenset({"fail", "crash", "timeout"})


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


def seen(trial: Trial, start: Sequence[str], under: Sequence[str] = (), slower: float = 1.0) -> Seen:
    """Carry out a trial.

    Args:
        trial: which.
        start: starts its process.
        under: a command that the process is started under, such as ``compute-sanitizer``.
        slower: what its time limit is multiplied with.
    """
    begun = monotonic()
    process = subprocess.Popen(
        [*under, *start], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace",
        start_new_session=True,
    )  # fmt: skip
    try:
        printed, _ = process.communicate(timeout=trial.seconds * slower)
    except subprocess.TimeoutExpired:
        return Seen(trial.name, "timeout", monotonic() - begun, _ended(process))
    taken = monotonic() - begun
    with contextlib.suppress(ValueError, IndexError, KeyError, TypeError):
        told = [line for line in printed.splitlines() if line.startswith('{"outcome"')]
        made = json.loads(told[-1])
        if process.returncode == 0 or made["outcome"] != "pass":
            return Seen(trial.name, made["outcome"], taken, made["said"])
    return Seen(trial.name, "crash", taken, f"its process ended with {process.returncode}: {printed[-_SAID:]}")


def _ended(process: subprocess.Popen[str]) -> str:
    """End a process and all that it started; return what it had printed."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    try:
        return process.communicate(timeout=20)[0][-_SAID:]
    except subprocess.TimeoutExpired:
        return "its process cannot be ended: it waits within the driver"


def run(
    trials: Sequence[Trial],
    start: Callable[[str], Sequence[str]] = command,
    under: Sequence[str] = (),
    slower: float = 1.0,
) -> Iterator[Seen]:
    """Carry out trials, the first one before all others, and yield each as it is done.

    Where the first one fails, and where it fails after another one hung or crashed, the GPU is of no more use, and the
    rest is not run.
    """
    first, *rest = trials
    if first.name != FIRST:
        raise ValueError(f"{FIRST!r} comes first")
    found = seen(first, start(first.name), under, slower)
    yield found
    usable = found.outcome == "pass"
    together, alone = [t for t in rest if not t.alone], [t for t in rest if t.alone]
    if usable:
        with ThreadPoolExecutor(min(_SIDE_BY_SIDE, usable_cpus())) as pool:
            for done in as_completed([pool.submit(seen, t, start(t.name), under, slower) for t in together]):
                yield done.result()
    for trial in alone if usable else rest:
        if not usable:
            yield Seen(trial.name, "not run", 0.0, f"{FIRST}: {found.outcome}")
            continue
        made = seen(trial, start(trial.name), under, slower)
        yield made
        if made.outcome in ("crash", "timeout"):
            found = seen(TRIALS[FIRST], start(FIRST), under, slower)
            usable = found.outcome == "pass"
            yield Seen(f"{FIRST}, after {trial.name}", found.outcome, found.seconds, found.said)
