"""What a run found: counts, cases, worst errors, verdicts per profile, and the exit status that follows."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from typing import Any, Final

from ...core.dtypes import BY_NAME
from ...opset.declare import VERSION
from ...opset.profiles import PROFILES, Profile
from .outcome import BAD, CaseResult, Outcome

#: Exit statuses, documented in the command's help.
OK: Final = 0
FAILURES: Final = 1
INFRASTRUCTURE: Final = 3
NOTHING: Final = 5
#: Failures that the summary shows in full.
_SHOWN: Final = 20
_DTYPE: Final = re.compile(r"\b(?:" + "|".join(sorted(BY_NAME, key=len, reverse=True)) + r")\b")


@dataclass(frozen=True, slots=True)
class ProfileVerdict:
    """How much of a profile a backend passes.

    Attributes:
        backend, profile: which.
        passed, of: pairs of op and dtype.
        whole: whether all of the profile was run.
        missing: pairs that do not pass, ``op dtype``, the first is what to do next.
    """

    backend: str
    profile: str
    passed: int
    of: int
    whole: bool
    missing: tuple[str, ...]

    def __str__(self) -> str:
        rest = f", next: {self.missing[0]}" if self.missing else ""
        return f"{self.profile}: {self.passed} of {self.of}{rest}" + ("" if self.whole else " (not all of it was run)")


@dataclass(frozen=True)
class Report:
    """The outcome of a run.

    Attributes:
        backends: that were asked.
        cases: every case, in order.
        quick: whether it was a quick run, which shows nothing.
        partial: whether only some ops, dtypes or cases were asked for.
        seconds: wall time.
        troubles: what kept cases from running: a quarantined backend, a worker that does not start.
    """

    backends: tuple[str, ...]
    cases: tuple[CaseResult, ...]
    quick: bool = False
    partial: bool = False
    seconds: float = 0.0
    troubles: tuple[str, ...] = field(default=())

    @property
    def counts(self) -> dict[str, int]:
        """How many cases ended how."""
        found = Counter(c.outcome for c in self.cases)
        return {str(outcome): found[outcome] for outcome in Outcome}

    @property
    def failures(self) -> list[CaseResult]:
        """Cases that failed, crashed or hung."""
        return [c for c in self.cases if c.outcome in BAD]

    @property
    def sufficient(self) -> bool:
        """Whether the run can show anything: neither quick nor partial."""
        return not (self.quick or self.partial)

    @property
    def exit_code(self) -> int:
        """0 when nothing failed, 1 on failures, 3 when something kept cases from running, 5 when nothing ran."""
        if self.failures:
            return FAILURES
        if self.troubles or any(c.outcome is Outcome.NOT_RUN for c in self.cases):
            return INFRASTRUCTURE
        ran = any(c.outcome in (Outcome.PASS, Outcome.WAIVED) for c in self.cases)
        return OK if ran else NOTHING

    def profiles(self) -> list[ProfileVerdict]:
        """Return a verdict for every profile of which something was run."""
        made = [_verdict(b, p, self._of(b)) for b in self.backends for p in PROFILES.values()]
        return [v for v in made if v is not None]

    def _of(self, backend: str) -> dict[tuple[str, str], list[CaseResult]]:
        found: dict[tuple[str, str], list[CaseResult]] = {}
        for c in self.cases:
            if c.backend == backend:
                found.setdefault((c.op, c.dtype), []).append(c)
        return found

    def worst(self) -> list[dict[str, Any]]:
        """Return the largest error seen per backend, op and dtype."""
        found: dict[tuple[str, str, str], CaseResult] = {}
        for c in self.cases:
            key = (c.backend, c.op, c.dtype)
            if c.outcome is Outcome.PASS and c.unit != "exact" and (key not in found or c.worst > found[key].worst):
                found[key] = c
        return [
            {"backend": b, "op": op, "dtype": t, "error": c.worst, "unit": c.unit, "case": c.id}
            for (b, op, t), c in found.items()
        ]

    def to_dict(self) -> dict[str, Any]:
        """Return the report as plain data, ready for JSON."""
        return {
            "opset": VERSION,
            "backends": list(self.backends),
            "quick": self.quick,
            "sufficient": self.sufficient,
            "seconds": round(self.seconds, 3),
            "exit_code": self.exit_code,
            "counts": self.counts,
            "profiles": [asdict(v) for v in self.profiles()],
            "worst": self.worst(),
            "troubles": list(self.troubles),
            "cases": [c.to_dict() for c in self.cases],
        }

    def summary(self) -> str:
        """Return what a person wants to know, in a few lines."""
        lines = [*_failure_lines(self.failures), *(f"not run: {t}" for t in self.troubles)]
        verdicts = self.profiles()
        for backend in self.backends:
            lines.append(f"{backend}: {_counted(c.outcome for c in self.cases if c.backend == backend)}")
            shown = [str(v) for v in verdicts if v.backend == backend and (v.whole or not self.partial)]
            lines += [f"  {s}" for s in shown]
        if not self.sufficient:
            lines.append(f"{'quick' if self.quick else 'partial'} run: not sufficient for any claim")
        lines.append(f"{len(self.cases)} cases in {self.seconds:.1f} s")
        return "\n".join(lines)


def _counted(outcomes: Iterable[Outcome]) -> str:
    found = Counter(outcomes)
    return ", ".join(f"{found[o]} {o.value.replace('_', ' ')}" for o in Outcome if found[o]) or "nothing ran"


def _failure_lines(failures: list[CaseResult]) -> list[str]:
    lines = []
    for c in failures[:_SHOWN]:
        lines += [f"{c.outcome.value.upper()} {c.backend} {c.id}", f"  {c.message}", f"  {c.reproducer}"]
    if len(failures) > _SHOWN:
        lines.append(f"and {len(failures) - _SHOWN} more failures")
    return lines


def _verdict(backend: str, profile: Profile, found: dict[tuple[str, str], list[CaseResult]]) -> ProfileVerdict | None:
    pairs = sorted(profile.pairs)
    if not any(pair in found for pair in pairs):
        return None
    names = {t.name for t in profile.dtypes}
    missing = tuple(" ".join(pair) for pair in pairs if not _passes(found.get(pair, []), names))
    whole = all(pair in found for pair in pairs)
    return ProfileVerdict(backend, profile.name, len(pairs) - len(missing), len(pairs), whole, missing)


def _passes(results: list[CaseResult], names: set[str]) -> bool:
    """A pair passes with at least one pass and nothing else, but for refusals of what lies outside of the profile."""
    if not any(c.outcome is Outcome.PASS for c in results):
        return False
    return all(
        c.outcome in (Outcome.PASS, Outcome.WAIVED) or (c.outcome is Outcome.UNSUPPORTED and _outside(c, names))
        for c in results
    )


def _outside(c: CaseResult, names: set[str]) -> bool:
    """Return whether a case's id names a dtype that the profile does not speak of."""
    label = c.id.removeprefix(f"{c.op}-{c.dtype}-{c.kind}")
    return any(t not in names for t in _DTYPE.findall(label))
