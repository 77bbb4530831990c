"""What becomes of a case."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from enum import StrEnum
from typing import Any


class Outcome(StrEnum):
    """The seven ends of a case; the values are the keys of a report's counts."""

    PASS = "pass"
    UNSUPPORTED = "unsupported"  # not served, and refused with the typed exception
    WAIVED = "waived"  # fails, and a public file says why and until when
    FAIL = "fail"
    CRASH = "crash"
    TIMEOUT = "timeout"
    NOT_RUN = "not_run"


#: Outcomes that make a run fail.
BAD = frozenset({Outcome.FAIL, Outcome.CRASH, Outcome.TIMEOUT})


@dataclass(frozen=True, slots=True)
class CaseResult:
    """One case on one device of one backend.

    Attributes:
        id: the case's id, e.g. ``exp-float32-values``.
        backend, op, dtype, kind, device: what it is about.
        outcome: what became of it.
        kernel: the kernels that ran, comma-separated, ``decomposition of ...`` where the backend has none of its own.
        worst: the largest error seen, in *unit*.
        unit: ``"exact"``, ``"ULP"`` or ``"of the bound"``.
        seconds: how long it took.
        message: why it did not pass.
        reproducer: a command that runs this case alone.
    """

    id: str
    backend: str
    op: str
    dtype: str
    kind: str
    device: str
    outcome: Outcome
    kernel: str = ""
    worst: float = 0.0
    unit: str = ""
    seconds: float = 0.0
    message: str = ""
    reproducer: str = ""

    def to_dict(self) -> dict[str, Any]:
        """Return plain data, ready for JSON."""
        return asdict(self)

    def turned(self, outcome: Outcome, message: str) -> CaseResult:
        """Return the result with another outcome."""
        return replace(self, outcome=outcome, message=message)
