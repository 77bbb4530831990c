"""A crash or a hang costs one case, and the run goes on."""

from __future__ import annotations

import sys
from collections import Counter
from pathlib import Path

import pytest

from opmux.conformance.results.outcome import CaseResult, Outcome
from opmux.conformance.running.isolation import Job, Runner
from opmux.core.errors import ConformanceError

WORKER = (sys.executable, str(Path(__file__).parent / "faulty_worker.py"))
LOST = "exp-float32-shapes-0d"


def _results(monkeypatch: pytest.MonkeyPatch, fault: str, limit: float, *only: str) -> dict[str, CaseResult]:
    monkeypatch.setenv("ZOO_FAULT", fault)
    runner = Runner(limit, WORKER)
    try:
        job = Job("zoo-down", "cpu:0", "exp", "float32", False, only)
        return {r.id: r for r in runner.run(job, lambda result: None)}
    finally:
        runner.close()


def test_a_crash_costs_one_case(monkeypatch: pytest.MonkeyPatch) -> None:
    found = _results(monkeypatch, "crash", 60, "exp-float32-values", LOST, "exp-float32-strides-step")
    assert found[LOST].outcome is Outcome.CRASH
    assert "SIGABRT" in found[LOST].message
    assert Counter(r.outcome for r in found.values() if r.id != LOST).keys() == {Outcome.PASS}


def test_a_hang_costs_one_case(monkeypatch: pytest.MonkeyPatch) -> None:
    found = _results(monkeypatch, "hang", 3, LOST, "exp-float32-values")
    assert found[LOST].outcome is Outcome.TIMEOUT
    assert found["exp-float32-values"].outcome is Outcome.PASS


def test_a_worker_that_dies_outside_of_cases_is_no_verdict() -> None:
    runner = Runner(5, (sys.executable, "-c", "raise SystemExit(7)"))
    with pytest.raises(ConformanceError, match="exit status 7"):
        list(runner.run(Job("numpy", "cpu:0", "exp", "float32", True, ("exp-float32-values",)), lambda result: None))
