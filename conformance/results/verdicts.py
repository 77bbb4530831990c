"""What a run shows or refutes of each kernel, for the dispatcher and for certificates.

A kernel's claims on a dtype are shown when every case of an (op, dtype) was run and every one in which it ran passed,
and refuted when one failed. A quick run, and a choice of single cases, can refute but show nothing; a waived case
shows nothing.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import Final

from ...core.dispatch.claims import ClaimKey, Verdict
from ...core.dispatch.decision import Claim
from ...core.dispatch.registry import REGISTRY
from ...core.kernel import Kernel
from ...core.op import COLLECTIVES
from ..cases.case import DEVICE
from ..cases.enumerate import case_ids
from .outcome import BAD, CaseResult, Outcome
from .subject import Subject

#: Outcomes that leave a claim as it is.
_NEUTRAL: Final = frozenset({Outcome.PASS, Outcome.UNSUPPORTED, Outcome.UNDER_CLAIM})


def verdicts(subject: Subject, results: Iterable[CaseResult], *, quick: bool, seed: int) -> dict[ClaimKey, Verdict]:
    """Return what results on one subject show of its kernels."""
    by_pair: dict[tuple[str, str], list[CaseResult]] = defaultdict(list)
    for r in results:
        if (r.backend, r.device) == (subject.backend, subject.device):
            by_pair[r.pair].append(r)
    made: dict[ClaimKey, Verdict] = {}
    for (op, dtype), mine in by_pair.items():
        if op == DEVICE:
            continue
        whole = not quick and {r.id for r in mine} == set(case_ids(op, dtype, seed=seed))
        kernels = _kernels(subject, op, dtype)
        for name, kernel in kernels.items():
            found = _verdict(name, mine, whole, alone=len(kernels) == 1 and op not in COLLECTIVES)
            if found is not None:
                made[ClaimKey(subject.backend, subject.version, kernel.name, dtype, subject.model)] = found
    return made


def _kernels(subject: Subject, op: str, dtype: str) -> Mapping[str, Kernel]:
    """Return the backend's kernels for an op and dtype by the names that candidates have."""
    mine = [k for b, k in REGISTRY.kernels(op, subject.kind) if b == subject.backend]
    return {f"{subject.backend}/{k.name}": k for k in mine if k.accepts.leads_with(dtype)}


def _verdict(name: str, mine: list[CaseResult], whole: bool, *, alone: bool) -> Verdict | None:
    ran = [r for r in mine if name in r.errors]
    # A crash says nothing of which kernel ran; neither does a failure before the first result.
    failed = [r for r in mine if r.outcome in BAD and (_blames(r, name) or not r.errors or alone)]
    if failed:
        return Verdict(Claim.REFUTED, None, failed[0].id)
    if not whole or not ran or any(r.outcome not in _NEUTRAL for r in mine):
        return None
    worst = max((r.errors[name] for r in ran if r.unit == "ULP"), default=None)
    return Verdict(Claim.SHOWN, worst, "conformance")


def _blames(r: CaseResult, name: str) -> bool:
    """Return whether a failure's message begins with the kernel's name, as those of wrong results do."""
    return name in r.errors or f"{name}:" in r.message
