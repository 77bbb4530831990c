"""Every way to do a call, made ready to run: the dispatcher itself prepares only the one that it chooses."""

from __future__ import annotations

from ...core.dispatch.candidates import ready
from ...core.dispatch.decision import Candidate, Decision, Kind


def without_casts(decision: Decision) -> Decision:
    """Return the decision of a call after the casts of its operands; the same one where there are none."""
    parts = decision.chosen.parts
    after_casts = decision.chosen.kind is Kind.KERNEL and parts and parts[-1].op is decision.op
    return parts[-1] if after_casts else decision


def runnable(decision: Decision) -> tuple[Candidate, ...]:
    """Return the candidates of a call, cheapest first: each can run or has its rejection."""
    return tuple(ready(c) for c in decision.candidates)
