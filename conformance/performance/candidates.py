"""Every way to do a call, made ready to run: the dispatcher itself prepares only the one that it chooses."""

from __future__ import annotations

from ...core.dispatch.choose import Planner, spec_of
from ...core.dispatch.decision import Candidate, Decision, Kind
from ...core.dispatch.policy import current


def without_casts(decision: Decision) -> Decision:
    """Return the decision of a call after the casts of its operands; the same one where there are none."""
    parts = decision.chosen.parts
    after_casts = decision.chosen.kind is Kind.KERNEL and parts and parts[-1].op is decision.op
    return parts[-1] if after_casts else decision


def runnable(decision: Decision) -> tuple[Candidate, ...]:
    """Return the candidates of a call under the policy in force, cheapest first: each can run or has its rejection."""
    specs = tuple(spec_of(s) for s in decision.inputs)
    inferred = decision.op.infer(decision.op.name, specs, dict(decision.attributes))
    planner = Planner(decision.op, decision.inputs, inferred, decision.device, current().slot.tables)
    return tuple(
        c if c.run is not None or c.rejection is not None else planner.prepared([c])[0] for c in decision.candidates
    )
