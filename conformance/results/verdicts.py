"""What a run shows or refutes of each kernel, for the dispatcher and for certificates.

A kernel's claims on a dtype are shown when every case of an (op, dtype) was run and every one in which it ran passed,
and refuted when one failed. A quick run, and a choice of single cases, can refute but show nothing; a waived case
shows nothing. A family of regions is judged like a kernel, by the cases about regions on the dtype of their leading
operand; it has to have run in a few of them, for one graph says little of the next. What shows nothing of a family,
such as a region that another dtype leads in a case, refutes it all the same where it is wrong.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import Final

from ...core.dispatch.claims import ClaimKey, Verdict
from ...core.dispatch.decision import Claim
from ...core.dispatch.registry import REGISTRY
from ...core.dtypes import BY_NAME
from ...core.kernel import FAMILY_PREFIX
from ...core.op import COLLECTIVES
from ..cases.case import DEVICE, REGIONS
from ..cases.enumerate import case_ids
from .outcome import BAD, CaseResult, Outcome
from .subject import Subject

#: Graphs of which a family of regions has to get some right.
_GRAPHS: Final = 3
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
        judged = _families(subject, mine) if op == REGIONS else _kernels(subject, op, dtype)
        for name in judged:
            alone = len(judged) == 1 and op not in COLLECTIVES and op != REGIONS
            found = _verdict(name, mine, whole, alone=alone, fewest=fewest(op))
            if found is not None:
                kernel = name.removeprefix(f"{subject.backend}/")
                made[ClaimKey(subject.backend, subject.version, kernel, dtype, subject.model)] = found
    return made | _wrong_regions(subject, by_pair)


def _wrong_regions(
    subject: Subject, by_pair: Mapping[tuple[str, str], Iterable[CaseResult]]
) -> dict[ClaimKey, Verdict]:
    """Return the families that failed, each on the dtype that led the region."""
    made: dict[ClaimKey, Verdict] = {}
    failed = (r for (op, _), mine in by_pair.items() if op == REGIONS for r in mine if r.outcome in BAD)
    for r in failed:
        for name in r.errors:
            judged_as, _, place = name.removeprefix(f"{subject.backend}/").partition(" on ")
            if judged_as.startswith(FAMILY_PREFIX) and _blames(r, name):
                t = place if place in BY_NAME else r.dtype
                key = ClaimKey(subject.backend, subject.version, judged_as, t, subject.model)
                made.setdefault(key, Verdict(Claim.REFUTED, None, r.id))
    return made


def fewest(op: str) -> int:
    """Return in how many cases of an op a kernel has to run before anything is shown of it."""
    return _GRAPHS if op == REGIONS else 1


def is_family(name: str, backend: str) -> bool:
    """Return whether a name in a result is that of a family of regions, on the dtype that the case is about."""
    return name.startswith(f"{backend}/{FAMILY_PREFIX}") and " " not in name


def _kernels(subject: Subject, op: str, dtype: str) -> list[str]:
    """Return the backend's kernels for an op and dtype, by the names that candidates have."""
    mine = [k for b, k in REGISTRY.kernels(op, subject.kind) if b == subject.backend]
    return [f"{subject.backend}/{k.name}" for k in mine if k.accepts.leads_with(dtype)]


def _families(subject: Subject, mine: Iterable[CaseResult]) -> list[str]:
    """Return the families of regions that ran: nobody declares them."""
    return list(dict.fromkeys(n for r in mine for n in r.errors if is_family(n, subject.backend)))


def _verdict(name: str, mine: list[CaseResult], whole: bool, *, alone: bool, fewest: int) -> Verdict | None:
    ran = [r for r in mine if name in r.errors]
    # A crash says nothing of which kernel ran; neither does a failure before the first result.
    failed = [r for r in mine if r.outcome in BAD and (_blames(r, name) or not r.errors or alone)]
    if failed:
        return Verdict(Claim.REFUTED, None, failed[0].id)
    if not whole or len(ran) < fewest or any(r.outcome not in _NEUTRAL for r in mine):
        return None
    worst = max((r.errors[name] for r in ran if r.unit == "ULP"), default=None)
    return Verdict(Claim.SHOWN, worst, "conformance")


def _blames(r: CaseResult, name: str) -> bool:
    """Return whether a failure is a kernel's: it ran before, or the message begins with its name, as of wrong results.

    Regions of several families run in one case, one after the other: there the name alone decides, where there is one.
    """
    named = f"{name}:" in r.message
    if r.op == REGIONS and any(f"{other}:" in r.message for other in r.errors):
        return named
    return named or name in r.errors
