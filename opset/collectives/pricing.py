"""What an algorithm is predicted to take on a mesh."""

from __future__ import annotations

from ...core.collectives.mesh import Mesh
from ...core.collectives.schedule import Schedule
from ...core.dispatch.decision import Cost
from .problem import Problem

#: Seconds that a call of the opset takes from Python: each message within a process is one or two.
_CALL = 5e-6


def price_on(schedule: Schedule, problem: Problem, mesh: Mesh) -> Cost:
    """Return the predicted time of a schedule."""
    launches = sum(len(p.transfers) * p.times * (schedule.ranks if p.radices else 1) for p in schedule.phases)
    return Cost(launch=launches * 2 * _CALL, compute=0.0, memory=0.0)
