"""Measuring a case: results checked, peers interleaved round by round, one at work at a time."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Literal, Protocol

from numpy.typing import NDArray

from opmux.conformance.performance.timing import Settings, turns

from .case import Case
from .errors import BenchmarkError, UnsupportedCaseError, WrongResultError
from .kinds import Expected, draw, expected
from .peers import PROBE
from .protocol import Message

Status = Literal["measured", "wrong", "failed", "unsupported"]
#: One seed for all cases: the operands of a case are the same in every run.
SEED: Final = 20_240_601


@dataclass(frozen=True, slots=True)
class Sample:
    """One timed loop.

    Attributes:
        peer: who ran.
        round: in which round.
        position: its place in the round's order.
        repetitions: calls in the loop.
        seconds: of the whole loop.
    """

    peer: str
    round: int
    position: int
    repetitions: int
    seconds: float

    @property
    def each(self) -> float:
        """Seconds of one call."""
        return self.seconds / self.repetitions


@dataclass(slots=True)
class Outcome:
    """How a peer fared with a case.

    Attributes:
        peer: who.
        status: only a measured one has samples.
        note: why there is no number.
        detail: which kernels ran.
        work: for the probe, flops or bytes of one repetition.
        error: largest error as a fraction of its bound.
        samples: the timed loops.
    """

    peer: str
    status: Status
    note: str = ""
    detail: str = ""
    work: float | None = None
    error: float | None = None
    samples: list[Sample] = field(default_factory=list)

    def by_round(self) -> dict[int, float]:
        """Return seconds per call by round."""
        return {s.round: s.each for s in self.samples}

    def refuse(self, error: BenchmarkError) -> None:
        """Note a failure and drop what was measured."""
        statuses: dict[type[BenchmarkError], Status] = {
            UnsupportedCaseError: "unsupported",
            WrongResultError: "wrong",
        }
        self.status, self.note = statuses.get(type(error), "failed"), str(error)
        self.samples.clear()


class Contestant(Protocol):
    """What measuring needs of a worker."""

    def prepare(self, case: Case, seed: int) -> Message:
        """Make a case ready."""

    def calibrate(self, seconds: float, most: int) -> tuple[int, float]:
        """Return how many repetitions last so long, and the seconds of one."""

    def run(self, repetitions: int) -> float:
        """Return the seconds of so many repetitions."""

    def result(self) -> NDArray[Any]:
        """Return what the last repetition computed."""


def measure_case(
    case: Case, peers: Sequence[str], worker: Callable[[str], Contestant], settings: Settings
) -> dict[str, Outcome]:
    """Return how every peer fared with a case.

    Args:
        case: what to measure.
        peers: in the order of the first round; the probe may be one of them.
        worker: gives the worker of a peer.
        settings: how to measure.
    """
    reference = expected(case, draw(case, SEED))
    outcomes = {peer: Outcome(peer, "measured") for peer in peers}
    planned: dict[str, tuple[int, int]] = {}
    for peer, outcome in outcomes.items():
        try:
            contestant = worker(peer)
            answer = contestant.prepare(case, SEED)
            outcome.detail, outcome.work = answer["detail"], answer["work"]
            _check(outcome, contestant, reference)
            repetitions, each = contestant.calibrate(settings.sample_seconds, settings.most_repetitions)
            planned[peer] = settings.rounds_for(each, repetitions), repetitions
        except BenchmarkError as error:
            outcome.refuse(error)
    for turn in turns(planned):
        outcome = outcomes[turn.name]
        if outcome.status != "measured":
            continue
        try:
            seconds = worker(turn.name).run(turn.repetitions)
            outcome.samples.append(Sample(turn.name, turn.round, turn.position, turn.repetitions, seconds))
        except BenchmarkError as error:
            outcome.refuse(error)
    for peer, outcome in outcomes.items():
        if outcome.status == "measured":
            try:
                _check(outcome, worker(peer), reference)
            except BenchmarkError as error:
                outcome.refuse(error)
    return outcomes


def _check(outcome: Outcome, contestant: Contestant, reference: Expected) -> None:
    if outcome.peer != PROBE:
        outcome.error = max(reference.check(contestant.result()), outcome.error or 0.0)
