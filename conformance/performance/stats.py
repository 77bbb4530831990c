"""Statistics of samples: medians, spreads, paired ratios, rank correlation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np


@dataclass(frozen=True, slots=True)
class Spread:
    """Where samples lie.

    Attributes:
        median, q1, q3: quartiles, by linear interpolation.
        best: the smallest.
        count: how many samples.
    """

    median: float
    q1: float
    q3: float
    best: float
    count: int

    @property
    def iqr(self) -> float:
        """The interquartile range."""
        return self.q3 - self.q1


def spread(values: Sequence[float]) -> Spread:
    """Return where samples lie.

    >>> spread([3.0, 1.0, 2.0]).median
    2.0
    """
    if not values:
        raise ValueError("no samples")
    q1, median, q3 = (float(q) for q in np.quantile(values, (0.25, 0.5, 0.75)))
    return Spread(median, q1, q3, float(min(values)), len(values))


@dataclass(frozen=True, slots=True)
class Ratio:
    """How two series relate.

    Attributes:
        of_medians: ratio of their medians.
        paired: median of the ratios within rounds, which slow drifts of the machine do not move.
        q1, q3: quartiles of those.
        rounds: how many rounds had both.
    """

    of_medians: float
    paired: float
    q1: float
    q3: float
    rounds: int


def ratio(numerator: Mapping[int, float], denominator: Mapping[int, float]) -> Ratio | None:
    """Return how two series relate, by round; None where no round has both.

    >>> ratio({0: 4.0, 1: 9.0}, {0: 2.0, 1: 3.0}).paired
    2.5
    """
    rounds = sorted(numerator.keys() & denominator.keys())
    if not rounds:
        return None
    paired = spread([numerator[r] / denominator[r] for r in rounds])
    of_medians = spread([numerator[r] for r in rounds]).median / spread([denominator[r] for r in rounds]).median
    return Ratio(of_medians, paired.median, paired.q1, paired.q3, len(rounds))


#: The interquartile range of a normal distribution, in standard deviations.
_IQR_OF_NORMAL: Final = 1.349


def deviation(values: Sequence[float]) -> float:
    """Return the standard deviation that the interquartile range stands for, which a few outliers do not move.

    >>> round(deviation([1.0, 2.0, 3.0, 4.0, 1000.0]), 2)
    1.48
    """
    return spread(values).iqr / _IQR_OF_NORMAL


def ranks(values: Sequence[float]) -> list[float]:
    """Return the rank of each value from 1; equal values share the mean of theirs.

    >>> ranks([10.0, 30.0, 10.0])
    [1.5, 3.0, 1.5]
    """
    array = np.asarray(values, dtype=np.float64)
    _, group, counts = np.unique(array, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    return [float(r) for r in (last - (counts - 1) / 2)[group]]


def spearman(x: Sequence[float], y: Sequence[float]) -> float | None:
    """Return the rank correlation of two series; None for fewer than three pairs, and where one of them is constant.

    Spearman's rho as Pearson's coefficient of the ranks, which holds with ties.

    >>> spearman([1.0, 2.0, 3.0], [10.0, 100.0, 1000.0])
    1.0
    """
    a, b = np.asarray(ranks(x)), np.asarray(ranks(y))
    if len(a) != len(b):
        raise ValueError(f"series of {len(a)} and {len(b)} values have no correlation")
    if len(a) < 3 or np.ptp(a) == 0 or np.ptp(b) == 0:
        return None
    a, b = a - a.mean(), b - b.mean()
    return float(np.clip(np.sum(a * b) / np.sqrt(np.sum(a * a) * np.sum(b * b)), -1.0, 1.0))


def mape(predicted: Sequence[float], measured: Sequence[float]) -> float | None:
    """Return the mean absolute error of predictions as a fraction of what was measured; None for none.

    >>> mape([1.0, 4.0], [2.0, 4.0])
    0.25
    """
    pairs = list(zip(predicted, measured, strict=True))
    return sum(abs(p - m) / m for p, m in pairs) / len(pairs) if pairs else None
