"""Whether a certificate is to be believed: its form, its seal, its signature, its parts, and what is installed here."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, Final

from ...core.errors import OpmuxError
from ...core.plugins import manager
from ...core.plugins.identity import implementation
from ...core.plugins.status import State
from ...core.sealed import is_intact
from ...opset.profiles import PROFILES
from ..identity import suite_digest
from ..results.outcome import BAD, CaseResult, Outcome
from ..results.profiles import require_profile
from ..running.selection import Selection
from . import sign
from .assemble import Evidence, assemble
from .errors import CertificateError
from .model import Certificate, check_kind
from .reconcile import reconcile
from .schema import schema_faults

#: Parts that follow from the others.
_DERIVED: Final = ("headline", "complete", "conformant", "profiles", "counts", "ops", "claims")
#: Runs a selection; returns the results of one backend on one kind of device, with the device's model.
Rerun = Callable[[Selection, str], tuple[str, Sequence[CaseResult]]]


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that was looked at.

    Attributes:
        name: what.
        fine: whether it holds; None where it could not be looked at.
        text: what was found.
    """

    name: str
    fine: bool | None
    text: str

    def __str__(self) -> str:
        word = {True: "ok", False: "WRONG", None: "not checked"}[self.fine]
        return f"{self.name}: {word}: {self.text}"


@dataclass(frozen=True)
class Verification:
    """What verifying found.

    Attributes:
        certificate: as read; None where it cannot be.
        checks: in order.
    """

    certificate: Certificate | None
    checks: tuple[Check, ...]

    @property
    def fine(self) -> bool:
        """Whether nothing is wrong; what could not be looked at is not wrong."""
        return all(c.fine is not False for c in self.checks)

    def to_dict(self) -> dict[str, Any]:
        """Return plain data, ready for JSON."""
        headline = None if self.certificate is None else self.certificate.headline
        return {"headline": headline, "fine": self.fine, "checks": [asdict(c) for c in self.checks]}


def verify(
    document: object,
    where: str,
    *,
    public_key: Path | None = None,
    profile: str | None = None,
    rerun: int = 0,
    seed: int = 0,
    runner: Rerun | None = None,
) -> Verification:
    """Look at everything that can be looked at.

    Args:
        document: as read from a file.
        where: the file, for messages.
        public_key: the key that must have signed it.
        profile: that it must be conformant to.
        rerun: how many of its passed cases to run again here.
        seed: decides which.
        runner: runs them, where it is not to be the suite itself.

    Raises:
        CertificateError: the document is no certificate, or of a newer format.
        ArgumentError: jsonschema or cryptography is not installed and needed, or there is no such profile.
    """
    check_kind(document, where)
    if profile is not None:
        require_profile(profile, (*PROFILES, *_named(document)))
    checks = [_schema(document), _seal(document)]
    if not all(c.fine for c in checks):
        return Verification(None, tuple(checks))
    try:
        c = Certificate.from_dict(document, where)
    except CertificateError as error:
        return Verification(None, (*checks, Check("schema", False, str(error))))
    checks += [_signature(c, public_key), *_parts(c)]
    if profile is not None:
        fine = profile in c.conformant
        checks.append(Check("profile", fine, f"{'conformant' if fine else 'NOT conformant'} to {profile}"))
    checks.append(_installed(c))
    if rerun:
        checks.append(_rerun(c, rerun, seed, runner or _run))
    return Verification(c, tuple(checks))


def _named(document: Any) -> Iterator[str]:
    """Yield the profiles that a certificate names: one of another opset may have others than there are here."""
    rows = document.get("profiles")
    for row in rows if isinstance(rows, list) else ():
        if isinstance(row, dict) and isinstance(row.get("profile"), str):
            yield row["profile"]


def _schema(document: object) -> Check:
    faults = schema_faults(document)
    more = f"; and {len(faults) - 3} more" if len(faults) > 3 else ""
    return Check("schema", not faults, "; ".join(faults[:3]) + more or "it follows the JSON Schema")


def _seal(document: Any) -> Check:
    fine = is_intact(document)
    return Check("seal", fine, "nothing was changed since" if fine else "it was edited since it was sealed")


def _signature(c: Certificate, public_key: Path | None) -> Check:
    try:
        return Check("signature", True, sign.check(c, public_key))
    except CertificateError as error:
        return Check("signature", False, str(error))


def _parts(c: Certificate) -> Iterator[Check]:
    faults = list(_contradictions(c))
    yield Check("parts", not faults, "; ".join(faults) or "its parts agree with each other")
    if c.suite.digest != suite_digest():
        text = f"it is of the suite of opmux {c.suite.version}, which is not the one installed here"
        yield Check("suite", None, text)
        return
    faults = list(_underived(c))
    yield Check(
        "suite", not faults, "; ".join(faults) or "its verdicts follow from its cases, and it says which are missing"
    )


def _contradictions(c: Certificate) -> Iterator[str]:
    """Yield what is wrong whichever suite it is of."""
    outcomes = dict(c.outcomes())
    bad = {case for case, outcome in outcomes.items() if outcome in BAD}
    told = {f.id for f in c.failures}
    if bad != told:
        yield f"its failures name {len(told)} cases, its cases have {len(bad)} that failed"
    for outcome in Outcome:
        found = sum(o is outcome for o in outcomes.values())
        if c.counts.get(outcome) != found:
            yield f"it counts {c.counts.get(outcome)} {outcome}, and has {found}"
    passed = sum(o is Outcome.PASS for o in outcomes.values())
    if c.assertions < passed:
        yield f"{passed} cases passed with {c.assertions} assertions"
    if c.conformant and (c.failures or not c.complete):
        yield "it says conformant in spite of failures, or without being complete"


def _underived(c: Certificate) -> Iterator[str]:
    """Yield the parts that do not follow from the cases, with the suite that asked them."""
    recorded = {o.reason for o in c.incomplete}
    for o in reconcile(c.cases, c.run, c.backend):
        if o.reason not in recorded:
            yield f"it does not say that it is not complete: {o.reason}: {o.detail}"
    again = assemble(Evidence.of(c))
    for f in fields(c):
        if f.name in _DERIVED and _unordered(getattr(c, f.name)) != _unordered(getattr(again, f.name)):
            yield f"its {f.name} do not follow from its cases"


def _unordered(part: object) -> object:
    """Return rows in one order: a tool may have written the cases in another, and the seal allows that."""
    return sorted(part, key=repr) if isinstance(part, tuple) else part


def _installed(c: Certificate) -> Check:
    name = "implementation"
    found = next((s for s in manager.status() if s.name == c.backend.name and s.state is State.READY), None)
    folder = manager.package_folder(c.backend.name)
    if found is None or folder is None:
        return Check(name, None, f"{c.backend.name} is not installed here")
    if implementation(folder) != c.backend.implementation:
        text = f"{c.backend.name} {found.version} is installed here with other files than those of the certificate"
        return Check(name, False, text)
    return Check(name, True, f"{c.backend.name} {found.version}, as installed here, is the one that was tried")


def chosen(c: Certificate, count: int, seed: int) -> list[str]:
    """Return some of the passed cases at random, the same ones for the same seed."""
    passed = sorted(case for case, outcome in c.outcomes() if outcome is Outcome.PASS)
    return sorted(random.Random(seed).sample(passed, min(count, len(passed))))


def _rerun(c: Certificate, count: int, seed: int, runner: Rerun) -> Check:
    name, ids = f"rerun (seed {seed})", chosen(c, count, seed)
    if c.suite.digest != suite_digest():
        return Check(name, False, "another suite is installed here: its cases are not the same questions")
    if not ids:
        return Check(name, False, "no case passed, so there is none to run again")
    wanted = set(ids)
    pairs = {row.pair: row for row in c.ops}
    rows = [row for pair, row in pairs.items() if any(f"{pair}-{label}" in wanted for label in c.cases[pair])]
    selection = Selection(
        (c.backend.name,),
        ops=tuple(dict.fromkeys(row.op for row in rows)),
        dtypes=tuple(dict.fromkeys(row.dtype for row in rows)),
        cases=tuple(ids),
        seed=c.run.seed,
    )
    try:
        model, results = runner(selection, c.device.kind)
    except OpmuxError as error:
        return Check(name, False, f"it cannot be run here: {error}")
    if model != c.device.model:
        return Check(name, False, f"this device is {model!r}, the certificate is of {c.device.model!r}")
    wrong = [f"{r.id}: {r.outcome}: {r.message}" for r in results if r.outcome is not Outcome.PASS]
    wrong += [f"{case} was not run" for case in sorted(wanted - {r.id for r in results})]
    if wrong:
        return Check(name, False, f"{len(wrong)} of {len(ids)} cases are not as certified: {'; '.join(wrong[:3])}")
    return Check(name, True, f"{len(ids)} cases passed again: {', '.join(ids[:5])}{', ...' * (len(ids) > 5)}")


def _run(selection: Selection, kind: str) -> tuple[str, Sequence[CaseResult]]:
    from ..running.run import run

    report = run(selection)
    subject = next((s for s in report.subjects if s.kind == kind), None)
    if subject is None:
        raise CertificateError(f"no device of kind {kind} is here; {'; '.join(report.troubles)}", kind=kind)
    return subject.model, report.of(subject.backend, subject.device)
