"""Medians, spreads and paired ratios."""

from __future__ import annotations

import math

import numpy as np
import pytest

from opmux.conformance.performance.stats import deviation, mape, ranks, ratio, spearman, spread


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


def test_deviation_of_a_normal_sample_is_not_moved_by_outliers() -> None:
    values = [*np.random.default_rng(1).normal(10.0, 2.0, 2000)]
    assert deviation(values) == pytest.approx(2.0, rel=0.1)
    assert deviation([*values, *[1e9] * 20]) == pytest.approx(2.0, rel=0.1)


def test_ties_share_the_mean_of_their_ranks() -> None:
    assert ranks([5.0, 1.0, 5.0, 5.0, 2.0]) == [4.0, 1.0, 4.0, 4.0, 2.0]


def test_rank_correlation_of_monotone_and_opposite_series() -> None:
    x = [1.0, 2.0, 3.0, 4.0]
    assert spearman(x, [math.exp(v) for v in x]) == 1.0
    assert spearman(x, [-v for v in x]) == -1.0


def test_rank_correlation_with_ties() -> None:
    # Ranks 1.5 1.5 3 4 5 and 2 1 3 4.5 4.5: the sum of products of deviations is 9, those of squares 9.5.
    assert spearman([1, 1, 2, 3, 4], [2, 1, 3, 4, 4]) == pytest.approx(9 / 9.5)


def test_series_that_have_no_rank_correlation() -> None:
    assert spearman([1.0, 2.0], [1.0, 2.0]) is None
    assert spearman([1.0, 2.0, 3.0], [7.0, 7.0, 7.0]) is None
    with pytest.raises(ValueError, match="3 and 2 values"):
        spearman([1.0, 2.0, 3.0], [1.0, 2.0])


def test_error_of_predictions_is_relative_to_what_was_measured() -> None:
    assert mape([3.0, 1.0], [1.0, 2.0]) == pytest.approx((2.0 + 0.5) / 2)
    assert mape([], []) is None
