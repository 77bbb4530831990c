"""What follows from the evidence of a certificate: counts, verdicts, claims and the headline, and nothing else does.

Writing, merging and verifying all come through here, so a certificate whose parts contradict each other cannot be made,
and one that was edited and sealed again shows.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from ...core.dispatch.decision import Claim
from ...opset.profiles import PROFILES
from ..results.outcome import BAD, Outcome
from ..results.profiles import verdict_of
from ..results.verdicts import fewest
from .model import (
    KIND,
    SCHEMA_VERSION,
    Backend,
    Certificate,
    ClaimRow,
    DeviceUsed,
    Failure,
    KernelRow,
    Note,
    Obstacle,
    OpRow,
    ProfileRow,
    Run,
    Suite,
    Worst,
    results_of,
)
from .reconcile import summary_of

#: Outcomes that leave a kernel's claim as it is; the same as in ``results.verdicts``.
_NEUTRAL: Final = frozenset({Outcome.PASS, Outcome.UNSUPPORTED, Outcome.UNDER_CLAIM})
#: The class that flushing subnormals rules out, and the strongest one left.
_CANONICAL: Final = ("canonical", "batch")


@dataclass(frozen=True)
class Evidence:
    """What a run brought, from which the rest of a certificate follows; fields as in :class:`Certificate`.

    Attributes:
        kernels: what each kernel did, by ``op-dtype``.
        worst: largest errors, by ``op-dtype``.
    """

    suite: Suite
    backend: Backend
    device: DeviceUsed
    environment: dict[str, str]
    run: Run
    incomplete: tuple[Obstacle, ...]
    assertions: int
    cases: dict[str, dict[str, str]]
    kernels: Mapping[str, tuple[KernelRow, ...]]
    worst: Mapping[str, tuple[Worst, ...]]
    failures: tuple[Failure, ...]
    waivers: tuple[dict[str, str], ...]
    warnings: tuple[Note, ...]
    troubles: tuple[str, ...]
    waiver_faults: tuple[str, ...]
    performance: dict[str, Any] | None

    @classmethod
    def of(cls, given: Certificate) -> Evidence:
        """Return the evidence in a certificate."""
        kernels = {row.pair: row.kernels for row in given.ops}
        worst = {row.pair: row.worst for row in given.ops}
        return cls(
            given.suite, given.backend, given.device, given.environment, given.run, given.incomplete, given.assertions,
            given.cases, kernels, worst, given.failures, given.waivers, given.warnings, given.troubles,
            given.waiver_faults, given.performance,
        )  # fmt: skip


def assemble(e: Evidence) -> Certificate:
    """Return the certificate that follows from evidence."""
    complete = not e.incomplete
    counts = _counts(o for rest in e.cases.values() for o in rest.values())
    failed = sum(counts[o] for o in BAD)
    # The word is for an implementation of which nothing failed: what is wrong in one place may be elsewhere, unseen.
    profiles = _profiles(e, sound=complete and not failed)
    conformant = tuple(p.profile for p in profiles if p.conformant)
    ops = tuple(_op_row(pair, rest, e) for pair, rest in e.cases.items())
    made = Certificate(
        "", SCHEMA_VERSION, KIND, e.suite, e.backend, e.device, e.environment, e.run, complete, e.incomplete,
        conformant, profiles, counts, e.assertions, ops, _claims(e, ops, complete), e.cases, e.failures, e.waivers,
        e.warnings, e.troubles, e.waiver_faults, e.performance,
    )  # fmt: skip
    return replace(made, headline=_headline(made, failed))


def _counts(outcomes: Iterable[str]) -> dict[str, int]:
    found = Counter(outcomes)
    return {str(o): found[o] for o in Outcome}


def _profiles(e: Evidence, *, sound: bool) -> tuple[ProfileRow, ...]:
    results = results_of(e.cases, e.backend.name, e.device.name)
    seed = None if e.run.quick else e.run.seed
    made = []
    for name in PROFILES:
        v = verdict_of(e.backend.name, e.device.name, name, results, claimed=name in e.backend.claims, seed=seed)
        if v is not None:
            passed = v.passed_whole
            rest = (v.missing, v.pairs, v.waived, passed, passed and sound)
            made.append(ProfileRow(name, v.claimed, v.passed, v.of, v.whole, *rest))
    return tuple(made)


def _op_row(pair: str, rest: Mapping[str, str], e: Evidence) -> OpRow:
    op, _, dtype = pair.partition("-")
    counts = {outcome: n for outcome, n in _counts(rest.values()).items() if n}
    determinism = {
        label.removeprefix("determinism").removeprefix("-"): outcome
        for label, outcome in rest.items()
        if label.partition("-")[0] == "determinism"
    }
    return OpRow(op, dtype, counts, tuple(e.kernels.get(pair, ())), tuple(e.worst.get(pair, ())), determinism)


def _claims(e: Evidence, ops: Iterable[OpRow], complete: bool) -> tuple[ClaimRow, ...]:
    """Return what is proved: a refutation always, a proof only by a complete run in which nothing of the op failed."""
    made = []
    for row in ops:
        neutral = all(Outcome(o) in _NEUTRAL for o in row.counts)
        for k in row.kernels:
            if not k.declared:
                continue
            name = k.name.removeprefix(f"{e.backend.name}/")
            if k.refuted:
                made.append(ClaimRow(name, row.op, row.dtype, str(Claim.REFUTED), None, None, "none"))
            elif complete and neutral and k.ran >= fewest(row.op):
                weaker = e.device.flushes_subnormals and k.determinism == _CANONICAL[0]
                determinism = _CANONICAL[1] if weaker else k.determinism
                made.append(
                    ClaimRow(name, row.op, row.dtype, str(Claim.SHOWN), k.worst_ulp, k.promised_ulp, determinism)
                )
    return tuple(made)


def _headline(c: Certificate, failed: int) -> str:
    total = sum(c.counts.values())
    against = [f"{failed} of {total} cases failed"] if failed else []
    if not c.complete:
        against.append(f"not sufficient for any claim ({summary_of(c.incomplete)})")
    if failed:
        verdict = "NOT CONFORMANT"
    elif not c.complete:
        verdict = "NOT SUFFICIENT"
    elif c.conformant:
        verdict = f"conformant to {', '.join(c.conformant)}"
    else:
        verdict, against = "NO PROFILE", ["nothing failed, and no profile is passed whole"]
    told = [f"{verdict}: {c.subject}", *against]
    if c.device.flushes_subnormals:
        told.append("this device flushes subnormals")
    return "; ".join(told)
