"""Observers of calls: the debugging switches of the environment, and the count of a block's calls.

OPMUX_SYNC=1 waits after every op; OPMUX_CHECK=1 runs the oracle beside every op. Both are read at import.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from ..arrays.array import Array
from ..devices.device import Buffer
from ..signature import Signature
from .decision import Decision

if TYPE_CHECKING:
    from .record import Recorder

#: ``observer(decision, operands, results, seconds)``, after each call.
Observer = Callable[[Decision, Sequence["Array | None"], Sequence[Array], float], None]
#: All observers in force; calls take the short way while there is none.
OBSERVERS: Final[list[Observer]] = []
#: Observers of the steps inside calls: of what a decomposition consists of.
STEP_OBSERVERS: Final[list[Observer]] = []
#: Where the decisions of this context's calls go that are made and not run; None where calls run.
_PLANNED: Final[ContextVar[list[Decision] | None]] = ContextVar("opmux_planned", default=None)


def observed(decision: Decision, operands: Sequence[Array | None], into: Buffer | None) -> tuple[Array, ...]:
    """Run a decision and tell every observer."""
    start = time.perf_counter()
    results = decision.run(operands, into)
    seconds = time.perf_counter() - start
    for observer in tuple(OBSERVERS):
        observer(decision, operands, results, seconds)
    return results


def is_planning() -> bool:
    """Return whether calls of this thread or task are planned instead of run."""
    return _PLANNED.get() is not None


def planned(decision: Decision) -> tuple[Array, ...]:
    """Note a decision instead of running it; its results are arrays without memory."""
    noted = _PLANNED.get()
    if noted is not None:
        noted.append(decision)
    return tuple(Array(None, s) for s in decision.outputs)  # type: ignore[arg-type]


def observed_step(decision: Decision, operands: Sequence[Array | None]) -> tuple[Array, ...]:
    """Run a decision as a step of a call and tell every observer of steps."""
    start = time.perf_counter()
    results = decision.run(operands, None)
    seconds = time.perf_counter() - start
    for observer in tuple(STEP_OBSERVERS):
        observer(decision, operands, results, seconds)
    return results


@contextlib.contextmanager
def planning() -> Iterator[list[Decision]]:
    """Collect the decisions of a block's calls without running them, in this thread or task.

    Results are arrays without memory: they have dtype, shape and strides, and must not leave the block.
    """
    made: list[Decision] = []
    token = _PLANNED.set(made)
    OBSERVERS.append(_nothing)  # calls look whether they are planned only where somebody observes
    try:
        yield made
    finally:
        OBSERVERS.remove(_nothing)
        _PLANNED.reset(token)


@contextlib.contextmanager
def running() -> Iterator[None]:
    """Let calls run inside of :func:`planning`: what a decomposition computes during its capture are its constants."""
    token = _PLANNED.set(None)
    try:
        yield
    finally:
        _PLANNED.reset(token)


def _nothing(
    decision: Decision, operands: Sequence[Array | None], results: Sequence[Array], seconds: float
) -> None:
    """Observe nothing."""


def on(variable: str) -> bool:
    """Return whether a switch of the environment is on."""
    return os.environ.get(variable, "0") not in ("", "0")


def wait(decision: Decision, operands: Sequence[Array | None], results: Sequence[Array], seconds: float) -> None:
    """Wait for what a call made and raise its late failure at the call."""
    for y in results:
        if y._buffer.status is not None:
            y._buffer.status.raise_if_failed()


if on("OPMUX_SYNC") or on("OPMUX_CHECK"):
    OBSERVERS.append(wait)


@dataclass(slots=True)
class CallCount:
    """How often one decision ran, and for how long.

    Attributes:
        decision: what ran.
        calls: how often.
        seconds: in all; on an asynchronous device the time to launch.
    """

    decision: Decision
    calls: int = 0
    seconds: float = 0.0


_Key = tuple[str, "tuple[Signature | None, ...]", str, object]


class CallCounts:
    """The calls of a block, by decision, and the steps of which decompositions consist."""

    def __init__(self) -> None:
        self._calls: dict[_Key, CallCount] = {}
        self._steps: dict[_Key, CallCount] = {}

    def note(
        self, decision: Decision, operands: Sequence[Array | None], results: Sequence[Array], seconds: float
    ) -> None:
        """Count one call."""
        _count(self._calls, decision, seconds)

    def note_step(
        self, decision: Decision, operands: Sequence[Array | None], results: Sequence[Array], seconds: float
    ) -> None:
        """Count one step inside a call."""
        _count(self._steps, decision, seconds)

    def most_expensive(self) -> list[CallCount]:
        """Return every decision that a call ran, the one that took longest first."""
        return sorted(self._calls.values(), key=lambda c: -c.seconds)

    def steps(self) -> list[CallCount]:
        """Return every decision that ran inside a call, nested ones too, the one that took longest first."""
        return sorted(self._steps.values(), key=lambda c: -c.seconds)


def _count(counts: dict[_Key, CallCount], decision: Decision, seconds: float) -> None:
    key = (decision.op.name, decision.inputs, decision.chosen.name, decision.attributes)
    count = counts.setdefault(key, CallCount(decision))
    count.calls += 1
    count.seconds += seconds


@contextlib.contextmanager
def count_calls() -> Iterator[CallCounts]:
    """Count and time the calls of a block, in every thread.

    >>> import opmux as ox
    >>> with ox.count_calls() as seen:
    ...     y = ox.exp(ox.asarray([0.0]))
    >>> [(c.decision.op.name, c.calls) for c in seen.most_expensive()]
    [('exp', 1)]
    """
    made = CallCounts()
    OBSERVERS.append(made.note)
    STEP_OBSERVERS.append(made.note_step)
    try:
        yield made
    finally:
        OBSERVERS.remove(made.note)
        STEP_OBSERVERS.remove(made.note_step)


@contextlib.contextmanager
def record_calls(path: str | os.PathLike[str]) -> Iterator[Recorder]:
    """Log the calls of a block, in every thread, for ``opmux plan``: signatures and dependences, no data.

    Arrays from before the block count as inputs. A block that calls nothing leaves no log; one that an exception
    leaves has a log without an end, which ``opmux plan`` tells. An earlier log is overwritten, so processes that run at
    the same time give names of their own.

    Args:
        path: of the log, in the form that ``docs/planning.md`` describes.

    Returns:
        The recorder; its ``calls`` says how many calls were written so far.

    Raises:
        ArgumentError: a file that is no call log is there already, or a log that is being written here, or nothing can
            be written there.

    >>> import os, tempfile
    >>> import opmux as ox
    >>> from opmux.core.dispatch.calllog import read_call_log
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path, x = os.path.join(folder, "calls.jsonl"), ox.asarray([0.0])
    ...     with ox.record_calls(path) as log:
    ...         y = ox.exp(x) + 1.0
    ...     log.calls, [call.op.name for call in read_call_log(path).calls]
    (2, ['exp', 'add'])
    """
    from .record import Recorder, make_room

    target = Path(path).absolute()
    make_room(target, "record_calls:")
    recorder = Recorder(target, "record_calls")
    recorder.watch()
    complete = False
    try:
        yield recorder
        complete = True
    finally:
        recorder.leave(complete=complete)
