"""Measurements and rooflines made up of numbers, and a pair of runs with the noise of a busy machine."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest

from opmux.conformance.performance.measure import Measurement
from opmux.conformance.performance.stats import spread


def measurement(samples: Sequence[float], op: str = "exp", size_class: str = "medium", **more: Any) -> Measurement:
    """Return a row with these samples, in seconds."""
    s = spread(list(samples))
    given: dict[str, Any] = {"kernel": "acme/exp", "predicted": s.median, "flops": 1e6, "nbytes": 1e5, **more}
    return Measurement(
        op, "float32", size_class, ("float32[8]",), given["kernel"], s.median, s.best, s.q1, s.q3, s.count,
        given["flops"], given["nbytes"], given["predicted"], 0.5, "memory",
    )  # fmt: skip


class Machine:
    """Runs the same 60 calls in three size classes again and again.

    Each run has a drift of its own; each call of a run an offset, as memory lies otherwise; and other work lengthens
    some samples, few of them by much.
    """

    def __init__(self, seed: int, busy: float = 0.15, offset: float = 0.05) -> None:
        self._busy, self._offset = busy, offset
        self._rng = np.random.default_rng(seed)
        self.seconds = self._rng.uniform(1e-6, 1e-3, (3, 60))

    def run(self, slower: dict[int, float] | None = None, drift: float | None = None) -> tuple[Measurement, ...]:
        """Return the rows of a run; *slower* multiplies the times of some calls of the medium class."""
        rng = self._rng
        drift = rng.uniform(0.85, 1.2) if drift is None else drift
        rows = []
        for size, seconds in zip(("small", "medium", "large"), self.seconds, strict=True):
            for i, each in enumerate(seconds):
                offset = np.exp(rng.normal(0, self._offset))
                busy = np.where(
                    rng.random(11) < self._busy, rng.uniform(1.5, 20, 11), np.exp(np.abs(rng.normal(0, 0.1, 11)))
                )
                factor = (slower or {}).get(i, 1.0) if size == "medium" else 1.0
                rows.append(measurement(list(each * drift * offset * busy * factor), f"op{i}", size))
        return tuple(rows)


@pytest.fixture
def row() -> Callable[..., Measurement]:
    return measurement


@pytest.fixture
def machine() -> Callable[..., Machine]:
    return Machine
