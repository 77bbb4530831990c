"""What a run found: counts, cases, worst errors, verdicts per profile, and the exit status that follows."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from functools import cached_property
from typing import Any, Final

from ...opset.declare import VERSION
from ...opset.profiles import PROFILES
from ..performance.flags import Flag
from ..performance.phase import Performance
from .outcome import BAD, CaseResult, Outcome
from .profiles import ProfileVerdict, verdict_of
from .subject import Subject
from .summary import summary
from .waivers import Waiver

#: Exit statuses, documented in the command's help.
OK: Final = 0
FAILURES: Final = 1
INFRASTRUCTURE: Final = 3
NOTHING: Final = 5


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
        subjects: every implementation on every device that was tried.
        begun: when, as ISO 8601 in UTC.
        seed: of what the cases drew at random.
        shard: ``"2/4"`` where it is one part of a run.
        stopped: whether it ended at the first failure, or when its time was over.
        profile: the profile that was asked for, if one was.
        strict_claims: whether an under-claim is a failure.
        waivers: those that turned a failure.
        waiver_faults: waivers that have expired or that nothing needs, in words.
        baseline: ids of the cases that may fail, by backend and device, where only regressions count.
        performance: how fast each subject was, by backend and device.
        earlier: how fast it was when the baseline was made.
        notes: what a person should know and what fails nothing.
    """

    backends: tuple[str, ...]
    cases: tuple[CaseResult, ...]
    quick: bool = False
    partial: bool = False
    seconds: float = 0.0
    troubles: tuple[str, ...] = field(default=())
    subjects: tuple[Subject, ...] = ()
    begun: str = ""
    seed: int = 0
    shard: str = ""
    stopped: bool = False
    profile: str | None = None
    strict_claims: bool = False
    waivers: tuple[Waiver, ...] = ()
    waiver_faults: tuple[str, ...] = ()
    baseline: frozenset[tuple[str, str, str]] | None = None
    performance: dict[tuple[str, str], Performance] = field(default_factory=dict)
    earlier: dict[tuple[str, str], Performance] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    @property
    def counts(self) -> dict[str, int]:
        """How many cases ended how."""
        found = Counter(c.outcome for c in self.cases)
        return {str(outcome): found[outcome] for outcome in Outcome}

    @property
    def failures(self) -> list[CaseResult]:
        """Cases that failed, crashed or hung; with strict claims those that under-claim too."""
        bad = BAD | {Outcome.UNDER_CLAIM} if self.strict_claims else BAD
        return [c for c in self.cases if c.outcome in bad]

    @property
    def regressions(self) -> list[CaseResult]:
        """Failures that the baseline does not have; without one all of them."""
        known = self.baseline
        if known is None:
            return self.failures
        return [c for c in self.failures if (c.backend, c.device, c.id) not in known]

    @property
    def sufficient(self) -> bool:
        """Whether the run can show anything of a whole backend: neither quick, nor partial, nor cut short."""
        return not (self.quick or self.partial or self.stopped)

    @property
    def exit_code(self) -> int:
        """0 when nothing failed, 1 on failures, 3 when something kept cases from running, 5 when nothing ran.

        A profile that was asked for and is not passed is a failure, whether or not the backend claims it.
        """
        if self.regressions or self.waiver_faults or (self.baseline is None and self._lacks_profile()):
            return FAILURES
        if self.troubles or any(c.outcome is Outcome.NOT_RUN for c in self.cases):
            return INFRASTRUCTURE
        ran = any(c.outcome in (Outcome.PASS, Outcome.WAIVED) for c in self.cases) or self.failures
        return OK if ran else NOTHING

    def _lacks_profile(self) -> bool:
        return any(c.outcome is Outcome.PASS for c in self.cases) and bool(self.lacking(self.profiles()))

    def lacking(self, verdicts: Iterable[ProfileVerdict]) -> list[ProfileVerdict]:
        """Return those of the profile that was asked for which do not pass; of a part nothing can be said."""
        return [] if self.shard or self.stopped else [v for v in verdicts if v.profile == self.profile and v.missing]

    @property
    def scope(self) -> str:
        """What was run: ``"quick"``, ``"partial"``, ``"stopped"`` or ``"whole"``."""
        return "quick" if self.quick else "partial" if self.partial else "stopped" if self.stopped else "whole"

    def of(self, backend: str, device: str | None = None) -> list[CaseResult]:
        """Return the cases of a backend, on one device or on all."""
        return [c for c in self.cases if c.backend == backend and device in (None, c.device)]

    def profiles(self) -> list[ProfileVerdict]:
        """Return a verdict for every subject and every profile of which something was run."""
        where = {key: self.of(*key) for key in dict.fromkeys((c.backend, c.device) for c in self.cases)}
        claims = {(s.backend, s.device): s.claims for s in self.subjects}
        seed = None if self.quick else self.seed
        made = [
            verdict_of(b, d, p, mine, claimed=p in claims.get((b, d), ()), seed=seed)
            for (b, d), mine in where.items()
            for p in PROFILES
        ]
        return [v for v in made if v is not None]

    @cached_property
    def _spoiled(self) -> frozenset[tuple[str, str]]:
        """The subjects of which something failed, or could not be run."""
        lost = (c for c in self.cases if c.outcome is Outcome.NOT_RUN)
        return frozenset((c.backend, c.device) for c in (*self.failures, *lost))

    def conformant(self, verdict: ProfileVerdict) -> bool:
        """Return whether a backend is conformant to a profile.

        The word is the same as in certificates: the whole suite was run, the profile is passed whole, and nothing of
        the backend failed on the device, inside of the profile or outside of it.
        """
        spoiled = (verdict.backend, verdict.device) in self._spoiled
        return verdict.passed_whole and self.sufficient and not spoiled

    def worst(self) -> list[dict[str, Any]]:
        """Return the largest error seen per backend, device, op, dtype and kernel, where a contract allows errors."""
        found: dict[tuple[str, ...], dict[str, Any]] = {}
        for c in self.cases:
            if c.outcome is not Outcome.PASS or c.unit in ("", "exact"):
                continue
            for kernel, error in c.errors.items():
                key = (c.backend, c.device, c.op, c.dtype, kernel, c.unit)
                if key not in found or error > found[key]["error"]:
                    found[key] = {
                        "backend": c.backend, "device": c.device, "op": c.op, "dtype": c.dtype, "kernel": kernel,
                        "error": error, "unit": c.unit, "case": c.id,
                    }  # fmt: skip
        return list(found.values())

    def flags(self) -> list[Flag]:
        """Return what is noticed about performance: what became slower, and a cost model that mispredicts."""
        return [flag for where in self.performance for flag in self.flags_of(where)]

    def flags_of(self, where: tuple[str, str]) -> tuple[Flag, ...]:
        """Return what is noticed about the performance of one backend on one device."""
        found = self.performance.get(where)
        return () if found is None else found.flags(self.earlier.get(where))

    def to_dict(self) -> dict[str, Any]:
        """Return the report as plain data, ready for JSON."""
        return {
            "opset": VERSION,
            "backends": list(self.backends),
            "subjects": [s.to_dict() for s in self.subjects],
            "begun": self.begun,
            "seed": self.seed,
            "shard": self.shard,
            "quick": self.quick,
            "sufficient": self.sufficient,
            "seconds": round(self.seconds, 3),
            "exit_code": self.exit_code,
            "counts": self.counts,
            "assertions": sum(c.assertions for c in self.cases),
            "profiles": [
                {**asdict(v), "passed_whole": v.passed_whole, "conformant": self.conformant(v)} for v in self.profiles()
            ],
            "worst": self.worst(),
            "waivers": [w.to_dict() for w in self.waivers],
            "waiver_faults": list(self.waiver_faults),
            "troubles": list(self.troubles),
            "notes": list(self.notes),
            "performance": [p.to_dict() for p in self.performance.values()],
            "flags": [flag.to_dict() for flag in self.flags()],
            "cases": [{**c.to_dict(), "kernel": c.kernel, "worst": c.worst} for c in self.cases],
        }

    def summary(self) -> str:
        """Return what a person wants to know, in a few lines; what to do next comes last."""
        return summary(self)
