"""What-if for hardware that one does not own: recorded programs on described devices."""

from __future__ import annotations

from .plan import Absence, OpRow, Plan, Point, plan
from .state import Task

__all__ = ["Absence", "OpRow", "Plan", "Point", "Task", "plan"]
