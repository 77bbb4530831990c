"""Timed loops: how often a call is repeated in a sample, how many samples there are, and who is next."""

from __future__ import annotations

import contextlib
import gc
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import repeat
from time import perf_counter
from typing import Final

from ...core.dispatch.decision import Operands, Run

#: ``seconds_of(repetitions)``: runs something so often, waits for the last, and returns the seconds that took.
SecondsOf = Callable[[int], float]
#: Calls slower than this are not warmed up before each sample: what caches held matters no more.
WARM_BELOW: Final = 0.05


@dataclass(frozen=True, slots=True)
class Settings:
    """How to measure.

    Attributes:
        rounds: samples per contestant and case.
        sample_seconds: how long a sample lasts at least, by repeating short calls.
        budget_seconds: about how long all samples of one contestant and case may take together; slow calls get fewer
            rounds, at least ``fewest``, and only one where a single call exceeds the budget.
        fewest: see above.
        most_repetitions: in one sample.
    """

    rounds: int = 9
    sample_seconds: float = 3e-3
    budget_seconds: float = 1.5
    fewest: int = 3
    most_repetitions: int = 1_000_000

    def rounds_for(self, call_seconds: float, repetitions: int) -> int:
        """Return in how many rounds a contestant takes part.

        >>> Settings(rounds=9, budget_seconds=1.0).rounds_for(0.2, 1)
        5
        """
        if call_seconds > self.budget_seconds:
            return 1
        affordable = math.floor(self.budget_seconds / max(call_seconds * repetitions, 1e-9) + 1e-9)
        return min(self.rounds, max(affordable, min(self.fewest, self.rounds)))


@dataclass(frozen=True, slots=True)
class Turn:
    """One sample to take.

    Attributes:
        name: who runs.
        round: in which round.
        position: its place in the round's order.
        repetitions: calls in the loop.
    """

    name: str
    round: int
    position: int
    repetitions: int


def order(names: Sequence[str], round_: int) -> list[str]:
    """Return the order of a round: rotated by one each time, so that nobody always follows the same one.

    >>> order(["a", "b", "c"], 1)
    ['b', 'c', 'a']
    """
    turn = round_ % len(names) if names else 0
    return [*names[turn:], *names[:turn]]


def turns(planned: Mapping[str, tuple[int, int]]) -> Iterator[Turn]:
    """Yield the samples of several contestants, interleaved round by round, so that drifts hit all of them.

    Args:
        planned: for each, its rounds and the repetitions of one sample.
    """
    names = list(planned)
    for round_ in range(max((rounds for rounds, _ in planned.values()), default=0)):
        for position, name in enumerate(order(names, round_)):
            rounds, repetitions = planned[name]
            if round_ < rounds:
                yield Turn(name, round_, position, repetitions)


def calibrate(seconds_of: SecondsOf, wanted: float, most: int) -> tuple[int, float]:
    """Find how many repetitions last as long as a sample should.

    Returns:
        The repetitions, and the seconds of one.
    """
    repetitions = 1
    while True:
        taken = seconds_of(repetitions)
        if taken >= wanted / 2 or repetitions >= most:
            break
        growth = 2 * wanted / max(taken, 1e-9)
        repetitions = min(max(2 * repetitions, int(repetitions * min(growth, 20))), most)
    each = taken / repetitions
    return max(1, min(math.ceil(wanted / max(each, 1e-9)), most)), each


def sample(seconds_of: SecondsOf, repetitions: int, each: float) -> float:
    """Return the seconds of so many repetitions, after a few that are not counted where caches matter.

    Args:
        seconds_of: what to time.
        repetitions: of the sample.
        each: about the seconds of one.
    """
    if each < WARM_BELOW:
        seconds_of(max(1, repetitions // 4))
    return seconds_of(repetitions)


def timed(run: Run, operands: Operands, wait: Callable[[], None] | None) -> SecondsOf:
    """Return what times a candidate in a loop.

    Time is from the first launch to the end of the last, over the repetitions: on a device with a queue launches
    overlap with work, as they do in a program. The results' memory is part of a call.

    Args:
        run: of a candidate.
        operands: of its signatures.
        wait: returns when the device is done; None on the host, where a call is complete when it returns.
    """

    def seconds_of(repetitions: int) -> float:
        start = perf_counter()
        for _ in repeat(None, repetitions):
            results = run(operands, None)  # noqa: F841 - held until the next: as a program holds it
        if wait is not None:
            wait()
        return perf_counter() - start

    return seconds_of


def interruptions() -> int:
    """Return how often the system has taken a CPU from this process for other work; 0 where it does not say."""
    try:
        import resource
    except ImportError:  # Windows has none
        return 0
    return resource.getrusage(resource.RUSAGE_SELF).ru_nivcsw


@contextlib.contextmanager
def without_collection() -> Iterator[None]:
    """Keep the garbage collector out of the block, as timeit does: it would count against whoever runs."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()
