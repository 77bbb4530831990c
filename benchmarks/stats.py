"""Medians, spreads and paired ratios of samples."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

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
