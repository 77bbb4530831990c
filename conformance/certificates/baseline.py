"""A certificate as a baseline: what failed in it may fail again, anything else that fails is new."""

from __future__ import annotations

from collections.abc import Iterable

from ..performance.phase import Performance
from ..results.outcome import BAD
from .model import Certificate


def known_failures(certificates: Iterable[Certificate]) -> frozenset[tuple[str, str, str]]:
    """Return the cases that may fail, as backend, device and id, for ``Report.baseline``.

    A case that passed in the baseline, was refused in it, was waived, or was not in it at all and fails now is a
    regression: of a case that the baseline does not know nobody has said that it may fail.
    """
    return frozenset(
        (c.backend.name, c.device.name, case) for c in certificates for case, outcome in c.outcomes() if outcome in BAD
    )


def earlier_performance(certificates: Iterable[Certificate]) -> dict[tuple[str, str], Performance]:
    """Return how fast each subject was, for ``Report.earlier``; what another version measured otherwise is left out."""
    found = {}
    for c in certificates:
        try:
            if c.performance is not None:
                found[c.backend.name, c.device.name] = Performance.from_dict(c.performance)
        except (KeyError, TypeError, ValueError):
            continue
    return found
