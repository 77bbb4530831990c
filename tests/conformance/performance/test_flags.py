"""Unchanged code measured twice is not flagged, what became slower is; predictions are judged by rank and error."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from opmux.conformance.performance.flags import LEAST_CORRELATION, cost_model, predictions, regressions
from opmux.conformance.performance.measure import Measurement

Row = Callable[..., Measurement]


@pytest.mark.parametrize("seed", range(8))
def test_unchanged_code_is_not_flagged_whatever_the_noise(machine: Any, seed: int) -> None:
    made = machine(seed)
    assert regressions(made.run(), made.run()) == ()


def test_calls_that_differ_from_run_to_run_are_not_flagged_however_steady_within(machine: Any) -> None:
    made = machine(3, busy=0.0, offset=0.3)
    before, now = made.run(), made.run()
    assert any(m.best > 1.6 * old.q3 for m, old in zip(now, before, strict=True))
    assert regressions(now, before) == ()


@pytest.mark.parametrize("seed", range(6))
def test_what_takes_twice_as_long_is_flagged_and_nothing_else(machine: Any, seed: int) -> None:
    made = machine(seed, busy=0.03)
    before = made.run()
    flags = regressions(made.run(slower={3: 2.5, 47: 4.0}), before)
    assert {(f.kind, f.op, f.size_class) for f in flags} == {
        ("slower", "op3", "medium"),
        ("slower", "op47", "medium"),
    }
    assert flags[0].op == "op47"
    assert flags[0].figures["slowdown"] > flags[1].figures["slowdown"] > 1.5


def test_a_slower_machine_is_one_flag_and_not_one_per_call(machine: Any) -> None:
    made = machine(5)
    before = made.run(drift=1.0)
    flags = regressions(made.run(drift=2.0), before)
    assert [(f.kind, f.op) for f in flags] == [("slower-throughout", None)]
    assert flags[0].figures["slowdown"] == pytest.approx(2.0, rel=0.1)


def test_a_faster_machine_does_not_make_unchanged_calls_slow(machine: Any) -> None:
    made = machine(6)
    before = made.run(drift=2.0)
    assert regressions(made.run(drift=1.0, slower={1: 2.0}), before) == ()


def test_an_overlap_of_the_samples_is_no_regression(row: Row) -> None:
    before = row([1.0, 1.0, 1.0, 4.0, 4.0, 4.0])
    assert regressions([row([3.0, 3.0, 3.0, 3.0, 3.0, 3.0])], [before]) == ()
    steady = row([1.0, 1.0, 1.0, 1.1, 1.1, 1.1])
    (flag,) = regressions([row([3.0] * 6, kernel="acme/exp.v2")], [steady])
    assert "acme/exp.v2 runs it now, acme/exp did" in flag.message


@pytest.mark.parametrize(("samples", "flagged"), [(4, False), (5, True)])
def test_a_row_with_few_samples_says_nothing(row: Row, samples: int, flagged: bool) -> None:
    found = regressions([row([9.0] * samples)], [row([1.0] * samples)])
    assert bool(found) is flagged


def test_a_row_that_was_disturbed_in_every_sample_says_nothing(row: Row) -> None:
    assert regressions([replace(row([9.0] * 9), disturbed=True)], [row([1.0] * 9)]) == ()


def test_rows_of_one_run_only_are_not_compared(row: Row) -> None:
    assert regressions([row([9.0] * 9, op="new")], [row([1.0] * 9, op="old")]) == ()


def test_predictions_that_are_right_are_not_flagged(row: Row) -> None:
    rows = [row([t] * 5, f"op{i}", predicted=1.2 * t) for i, t in enumerate((1e-6, 1e-5, 1e-4, 1e-3))]
    (whole, _) = predictions(rows)
    assert (whole.rows, whole.correlation, whole.mape) == (4, 1.0, pytest.approx(0.2))
    assert cost_model(rows) == ()


def test_predictions_in_the_wrong_order_are_flagged(row: Row) -> None:
    times = (1.0, 2.0, 3.0, 4.0)
    rows = [row([t] * 5, f"op{i}", predicted=5.0 - t) for i, t in enumerate(times)]
    flags = cost_model(rows)
    assert {f.size_class for f in flags} == {None, "medium"}
    assert flags[0].figures["correlation"] == -1.0 < LEAST_CORRELATION
    assert flags[0].figures["worst"][0]["op"] == "op0"
    assert "ranks them wrongly" in flags[0].message


def test_predictions_that_are_far_off_are_flagged_with_the_worst_first(row: Row) -> None:
    rows = [row([t] * 5, f"op{i}", predicted=3.0 * t) for i, t in enumerate((1.0, 2.0, 3.0))]
    rows.append(row([4.0] * 5, "worst", predicted=400.0))
    whole = cost_model(rows)[0]
    assert whole.figures["mape"] == pytest.approx((2 + 2 + 2 + 99) / 4)
    assert whole.figures["worst"][0]["op"] == "worst"
    assert "is off by" in whole.message


def test_of_small_calls_the_ranks_are_not_asked(row: Row) -> None:
    rows = [row([t] * 5, f"op{i}", "small", predicted=4.0 - t) for i, t in enumerate((1.9, 2.0, 2.1))]
    assert [f.size_class for f in cost_model(rows)] == [None]
