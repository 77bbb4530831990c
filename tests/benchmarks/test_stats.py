"""Medians, spreads and paired ratios."""

from __future__ import annotations

import pytest

from opmux.benchmarks.stats import ratio, spread


def test_quartiles_by_linear_interpolation() -> None:
    s = spread([4.0, 1.0, 3.0, 2.0])
    assert (s.median, s.q1, s.q3, s.best, s.count) == (2.5, 1.75, 3.25, 1.0, 4)
    assert s.iqr == 1.5


def test_no_samples_are_refused() -> None:
    with pytest.raises(ValueError, match="no samples"):
        spread([])


def test_paired_ratio_is_not_moved_by_a_drift_that_hits_both() -> None:
    # Every round is ten times slower than the one before; within each, one peer takes twice as long.
    fast = {r: 10.0**r for r in range(5)}
    slow = {r: 2 * t for r, t in fast.items()}
    found = ratio(slow, fast)
    assert found is not None
    assert (found.paired, found.q1, found.q3, found.rounds) == (2.0, 2.0, 2.0, 5)


def test_ratio_of_medians_and_paired_ratio_differ_where_rounds_do() -> None:
    found = ratio({0: 1.0, 1: 10.0, 2: 100.0}, {0: 1.0, 1: 1.0, 2: 25.0})
    assert found is not None
    assert found.of_medians == 10.0
    assert found.paired == 4.0


def test_only_rounds_that_both_have_count() -> None:
    found = ratio({0: 4.0, 1: 100.0}, {0: 2.0, 7: 1.0})
    assert found is not None
    assert (found.paired, found.of_medians, found.rounds) == (2.0, 2.0, 1)
    assert ratio({0: 1.0}, {1: 1.0}) is None
