"""A worker that answers as it is told, and a report that is valid."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from opmux.benchmarks.case import Case
from opmux.benchmarks.kinds import as_given, draw
from opmux.benchmarks.protocol import Message

Answer = Callable[[Case, tuple[Any, ...]], NDArray[Any]]


class Scripted:
    """Takes part in a measurement in this process, at a given number of seconds per call.

    Attributes:
        log: shared with others; who ran, in order.
    """

    def __init__(self, name: str, answer: Answer, seconds: float, log: list[str]) -> None:
        self.name, self.answer, self.each, self.log = name, answer, seconds, log
        self.case: Case | None = None
        self.seed = 0

    def prepare(self, case: Case, seed: int) -> Message:
        self.case, self.seed = case, seed
        return {"detail": f"{self.name}/kernel", "work": None}

    def calibrate(self, seconds: float, most: int) -> tuple[int, float]:
        return 2, self.each

    def run(self, repetitions: int) -> float:
        self.log.append(self.name)
        return self.each * repetitions

    def result(self) -> NDArray[Any]:
        assert self.case is not None
        return self.answer(self.case, as_given(self.case, draw(self.case, self.seed)))


@pytest.fixture
def scripted() -> Callable[..., dict[str, Scripted]]:
    """Make scripted workers from name=(answer, seconds); all share one log."""

    def make(**given: tuple[Answer, float]) -> dict[str, Scripted]:
        log: list[str] = []
        return {name: Scripted(name, answer, seconds, log) for name, (answer, seconds) in given.items()}

    return make


def right_sum(case: Case, operands: tuple[Any, ...]) -> NDArray[Any]:
    return np.add(*operands)


def wrong_sum(case: Case, operands: tuple[Any, ...]) -> NDArray[Any]:
    result = np.add(*operands)
    result[3] += 1e-3
    return result


@pytest.fixture
def right() -> Answer:
    return right_sum


@pytest.fixture
def wrong() -> Answer:
    return wrong_sum
