"""What becomes of a case."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from enum import StrEnum
from typing import Any, Final

from ...core.dtypes import BY_NAME
from ...opset.profiles import PROFILES


class Outcome(StrEnum):
    """The ends of a case; the values are the keys of a report's counts."""

    PASS = "pass"
    UNSUPPORTED = "unsupported"  # not served, and refused with the typed exception
    UNDER_CLAIM = "under_claim"  # it works, and the backend does not say so
    WAIVED = "waived"  # fails, and a public file says why and until when
    FAIL = "fail"
    CRASH = "crash"
    TIMEOUT = "timeout"
    NOT_RUN = "not_run"


#: Outcomes that make a run fail.
BAD = frozenset({Outcome.FAIL, Outcome.CRASH, Outcome.TIMEOUT})


#: Kinds of case about what a backend may promise beyond the op's contract.
PROMISES: Final = frozenset({"determinism", "claims"})
_DTYPE: Final = re.compile(r"\b(?:" + "|".join(sorted(BY_NAME, key=len, reverse=True)) + r")\b")


@dataclass(frozen=True, slots=True)
class CaseResult:
    """One case on one device of one backend.

    Attributes:
        id: the case's id, e.g. ``exp-float32-values``.
        backend, op, dtype, kind, device: what it is about.
        outcome: what became of it.
        errors: the kernels that ran, ``decomposition of ...`` where the backend has none of its own, each with the
            largest error seen, in *unit*.
        unit: ``"exact"``, ``"ULP"`` or ``"of the bound"``.
        assertions: how many results, refusals and facts were held to what they must be.
        seconds: how long it took.
        message: why it did not pass.
        reproducer: a command that runs this case alone.
        flaky: whether it failed and then passed when it was run again.
        lost: whether the device was lost in it.
    """

    id: str
    backend: str
    op: str
    dtype: str
    kind: str
    device: str
    outcome: Outcome
    errors: dict[str, float] = field(default_factory=dict)
    unit: str = ""
    assertions: int = 0
    seconds: float = 0.0
    message: str = ""
    reproducer: str = ""
    flaky: bool = False
    lost: bool = False

    @property
    def kernel(self) -> str:
        """The kernels that ran, comma-separated."""
        return ", ".join(self.errors)

    @property
    def worst(self) -> float:
        """The largest error seen."""
        return max(self.errors.values(), default=0.0)

    @property
    def pair(self) -> tuple[str, str]:
        """Op and dtype."""
        return self.op, self.dtype

    def optional(self, profile: str) -> bool:
        """Return whether a profile does without this case: a promise nobody made, or a dtype that it does not name."""
        if self.kind in PROMISES:
            return True
        names = {t.name for t in PROFILES[profile].dtypes}
        label = self.id.removeprefix(f"{self.op}-{self.dtype}-{self.kind}")
        return any(t not in names for t in _DTYPE.findall(label))

    @classmethod
    def from_dict(cls, given: Mapping[str, Any]) -> CaseResult:
        """Return the result that :meth:`to_dict` gave.

        Raises:
            TypeError, ValueError, KeyError: it is not one.
        """
        return cls(**{**given, "outcome": Outcome(given["outcome"])})

    def to_dict(self) -> dict[str, Any]:
        """Return plain data, ready for JSON."""
        return asdict(self)

    def turned(self, outcome: Outcome, message: str) -> CaseResult:
        """Return the result with another outcome."""
        return replace(self, outcome=outcome, message=message)
