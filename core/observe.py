"""Observers of calls: the debugging switches of the environment, and the profile of a block.

OPMUX_SYNC=1 waits after every op; OPMUX_CHECK=1 runs the oracle beside every op. Both are read at import.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from .array import Array
from .decision import Decision
from .device import Buffer
from .signature import Signature

#: ``observer(decision, operands, results, seconds)``, after each call.
Observer = Callable[[Decision, Sequence["Array | None"], Sequence[Array], float], None]
#: All observers in force; calls take the short way while there is none.
OBSERVERS: Final[list[Observer]] = []


def observed(decision: Decision, operands: Sequence[Array | None], into: Buffer | None) -> tuple[Array, ...]:
    """Run a decision and tell every observer."""
    start = time.perf_counter()
    results = decision.run(operands, into)
    seconds = time.perf_counter() - start
    for observer in tuple(OBSERVERS):
        observer(decision, operands, results, seconds)
    return results


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


class Profile:
    """The calls of a block, by decision."""

    def __init__(self) -> None:
        self._counts: dict[tuple[str, tuple[Signature | None, ...], str, object], CallCount] = {}

    def note(
        self, decision: Decision, operands: Sequence[Array | None], results: Sequence[Array], seconds: float
    ) -> None:
        """Count one call."""
        key = (decision.op.name, decision.inputs, decision.chosen.name, decision.attributes)
        count = self._counts.setdefault(key, CallCount(decision))
        count.calls += 1
        count.seconds += seconds

    def most_expensive(self) -> list[CallCount]:
        """Return every decision that ran, the one that took longest first."""
        return sorted(self._counts.values(), key=lambda c: -c.seconds)


@contextlib.contextmanager
def profile() -> Iterator[Profile]:
    """Count and time the calls of a block, in every thread.

    >>> import opmux as ox
    >>> with ox.profile() as seen:
    ...     y = ox.exp(ox.asarray([0.0]))
    >>> [(c.decision.op.name, c.calls) for c in seen.most_expensive()]
    [('exp', 1)]
    """
    made = Profile()
    OBSERVERS.append(made.note)
    try:
        yield made
    finally:
        OBSERVERS.remove(made.note)
