"""Rounds are interleaved, wrong results never become numbers, slow calls get fewer rounds."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from opmux.benchmarks.errors import UnsupportedCaseError, WorkerError
from opmux.benchmarks.kinds import make_case
from opmux.benchmarks.measure import measure_case
from opmux.benchmarks.report import summary, targets
from opmux.benchmarks.suites import Suite, Target
from opmux.conformance.performance.timing import Settings

CASE = make_case("add", "float32", (16,), (16,), limit="copy")
SETTINGS = Settings(rounds=3)


def measured(workers: dict[str, Any], settings: Settings = SETTINGS) -> dict[str, Any]:
    return measure_case(CASE, list(workers), workers.__getitem__, settings)


def test_order_turns_by_one_each_round(scripted: Callable[..., Any], right: Any) -> None:
    workers = scripted(a=(right, 1e-3), b=(right, 1e-3), c=(right, 1e-3))
    measured(workers)
    assert "".join(workers["a"].log) == "abc" + "bca" + "cab"


def test_planted_wrong_peer_is_an_error_and_has_no_number(scripted: Callable[..., Any], right: Any, wrong: Any) -> None:
    outcomes = measured(scripted(good=(right, 2e-3), liar=(wrong, 1e-6)))
    liar, good = (next(r for r in summary(CASE, outcomes) if r["peer"] == p) for p in ("liar", "good"))
    assert (liar["status"], liar["seconds"], liar["rate"], liar["ratios"]) == ("wrong", None, None, [])
    assert "1 of 16 elements" in liar["note"]
    assert good["ratios"] == []


def test_result_that_turns_wrong_during_the_rounds_is_caught(
    scripted: Callable[..., Any], right: Any, wrong: Any
) -> None:
    workers = scripted(turncoat=(right, 1e-3))
    worker = workers["turncoat"]

    def run(repetitions: int) -> float:
        worker.answer = wrong
        return 1e-3

    worker.run = run
    outcome = measured(workers)["turncoat"]
    assert (outcome.status, outcome.samples) == ("wrong", [])


@pytest.mark.parametrize(
    ("error", "status"), [(WorkerError("it died"), "failed"), (UnsupportedCaseError("no such op"), "unsupported")]
)
def test_peer_that_cannot_does_not_stop_the_others(
    scripted: Callable[..., Any], right: Any, error: Exception, status: str
) -> None:
    workers = scripted(bad=(right, 1e-3), good=(right, 1e-3))

    def prepare(case: Any, seed: int) -> Any:
        raise error

    workers["bad"].prepare = prepare
    outcomes = measured(workers)
    assert (outcomes["bad"].status, outcomes["bad"].note) == (status, str(error))
    assert len(outcomes["good"].samples) == 3


def test_summary_and_target_of_known_times(scripted: Callable[..., Any], right: Any) -> None:
    rows = summary(CASE, measured(scripted(quick=(right, 1e-3), slow=(right, 4e-3))))
    quick = rows[0]
    assert quick["seconds"]["median"] == pytest.approx(1e-3)
    assert quick["rate"] == pytest.approx(3 * 16 * 4 / 1e-3 / 1e9)
    assert quick["ratios"][0]["paired"] == pytest.approx(4.0)
    wanted = (Target("twice", CASE.name, "quick", "slow", 2.0), Target("reverse", CASE.name, "slow", "quick", 1.0))
    reached = targets(Suite("s", "t", "GB/s", lambda quick: [CASE], wanted), rows)
    assert [(t["value"], t["met"]) for t in reached] == [(pytest.approx(4.0), True), (pytest.approx(0.25), False)]


def test_target_that_was_not_measured_is_not_met() -> None:
    wanted = (Target("absent", CASE.name, "a", "b", 0.0),)
    [row] = targets(Suite("s", "t", "GB/s", lambda quick: [CASE], wanted), [])
    assert (row["value"], row["met"]) == (None, False)
    assert "not both measured" in row["note"]
