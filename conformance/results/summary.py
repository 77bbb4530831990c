"""A run in a few lines, for the person who waits for it: what failed, how to run it alone, and what to do next."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Final

from ...core.op import find_op
from ...opset.profiles import PROFILES
from .outcome import CaseResult, Outcome
from .profiles import ProfileVerdict

if TYPE_CHECKING:
    from .report import Report

#: Failures that are shown in full.
_SHOWN: Final = 20
#: Flags about performance that are shown: they fail nothing, and must not bury what does.
_FLAGS: Final = 3
#: Ops of which the failures that are not shown are counted.
_NAMED: Final = 8


def summary(report: Report) -> str:
    """Return what a person wants to know; what to do next comes last."""
    return "\n".join(_lines(report))


def _lines(report: Report) -> Iterator[str]:
    failed = report.regressions
    yield from _failures(sorted(failed, key=_depth))
    yield from (f"not run: {t}" for t in report.troubles)
    yield from (f"waivers: {w}" for w in report.waiver_faults)
    known = len(report.failures) - len(failed)
    if known:
        yield f"{known} known failures of the baseline are not counted"
    yield from _not_served(report)
    yield from _under_claims(report.cases)
    yield from (f"note: {n}" for n in report.notes)
    yield from _flags(report)
    verdicts: dict[tuple[str, str], list[ProfileVerdict]] = defaultdict(list)
    given = report.profiles()
    for v in given:
        verdicts[v.backend, v.device].append(v)
    for backend in report.backends:
        devices = dict.fromkeys(c.device for c in report.of(backend))
        if not devices:
            yield f"{backend}: nothing ran"
        for device in devices:
            mine = report.of(backend, device)
            yield f"{backend} on {device}: {_counted(c.outcome for c in mine)}"
            yield from (f"  {_told(v, report)}" for v in of_interest(verdicts[backend, device], report))
    yield from (f"{v.backend} does not pass {v.profile}, which was asked for" for v in report.lacking(given))
    if not report.sufficient:
        yield f"{report.scope} run: not sufficient for any claim about the whole backend"
    assertions = sum(c.assertions for c in report.cases)
    yield f"{len(report.cases)} cases, {assertions} assertions in {report.seconds:.1f} s"


def of_interest(verdicts: Iterable[ProfileVerdict], report: Report) -> list[ProfileVerdict]:
    """Return the verdicts that a person wants: the profile asked for, claimed ones, half-built ones, else the nearest.

    Of a partial run that names no profile they say nothing, but where all of one happened to be run.
    """
    given = list(verdicts)
    begun = [v for v in given if v.whole or not report.partial]
    plain = [v for v in begun if PROFILES[v.profile].kinds is None]  # the others are of interest to who claims them
    nearest = max(plain, key=lambda v: v.passed / v.of, default=None)
    shown = [
        v
        for v in given
        if v.profile == report.profile
        or (v in begun and v.claimed)
        or (v in plain and (2 * v.passed >= v.of or (v is nearest and not any(b.claimed for b in begun))))
    ]
    return sorted(shown, key=lambda v: (v.profile == report.profile, v.claimed, not v.missing), reverse=True)


def _not_served(report: Report) -> Iterator[str]:
    """Tell of ops that were asked for and that nothing serves: else a few refusals that pass look like success."""
    values: dict[tuple[str, ...], list[CaseResult]] = defaultdict(list)
    for c in report.cases:
        if c.kind == "values":
            values[c.backend, c.op, c.dtype].append(c)
    lost = {key: cs for key, cs in values.items() if all(c.outcome is Outcome.UNSUPPORTED for c in cs)}
    if report.partial and report.profile is None and len(lost) <= _NAMED:
        yield from (f"not served: {' '.join(key)}: {cs[0].message}" for key, cs in lost.items())


def _told(v: ProfileVerdict, report: Report) -> str:
    """Return a verdict in words; only a whole run without a failure makes a backend conformant."""
    told = f"{v.profile}: {v.passed} of {v.of}"
    if v.missing:
        return f"{told}, next: {v.missing[0]}"
    if v.waived:
        return f"{told} ({v.waived} waived cases: not conformant)"
    if not v.whole:
        return f"{told} of the sample"
    if not report.sufficient:
        return f"{told} (passed; a whole run can make the backend conformant)"
    if not report.conformant(v):
        return f"{told} (passed, but cases failed or were not run elsewhere: not conformant)"
    return f"{told} (conformant{'' if v.claimed else ', though the backend does not claim it'})"


def _depth(c: CaseResult) -> int:
    """Return a key that sorts causes before what they break: primitives, composites, collectives, the device."""
    found = find_op(c.op)
    return 3 if found is None else 2 if "collective" in found.facts else 0 if found.primitive else 1


def _counted(outcomes: Iterable[Outcome]) -> str:
    found = Counter(outcomes)
    return ", ".join(f"{found[o]} {o.value.replace('_', ' ')}" for o in Outcome if found[o]) or "nothing ran"


def _failures(failures: list[CaseResult]) -> Iterator[str]:
    for c in failures[:_SHOWN]:
        yield f"{c.outcome.value.upper()} {c.backend} {c.id}"
        yield f"  {c.message}"
        yield f"  {c.reproducer}"
    if len(failures) > _SHOWN:
        rest = Counter(c.op for c in failures[_SHOWN:])
        most = ", ".join(f"{op} ({count})" for op, count in rest.most_common(_NAMED))
        yield f"and {len(failures) - _SHOWN} more failures, of {most}"


def _flags(report: Report) -> Iterator[str]:
    found = report.flags()
    yield from (f"performance: {flag.message}" for flag in found[:_FLAGS])
    if len(found) > _FLAGS:
        yield f"performance: and {len(found) - _FLAGS} more flags; --json and --html hold them all"


def _under_claims(cases: Iterable[CaseResult]) -> Iterator[str]:
    found = [c for c in cases if c.outcome is Outcome.UNDER_CLAIM]
    yield from (f"under-claim: {c.backend} {c.id}: {c.message}" for c in found[:_SHOWN])
    if len(found) > _SHOWN:
        yield f"and {len(found) - _SHOWN} more under-claims"
