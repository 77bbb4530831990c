"""Reports in which every case of the suite has a result, made without running any."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest

from opmux.conformance import identity
from opmux.conformance.cases.enumerate import case_ids
from opmux.conformance.certificates.certify import Witness, certify
from opmux.conformance.certificates.model import Certificate
from opmux.conformance.certificates.reconcile import all_ids
from opmux.conformance.results.outcome import CaseResult, Outcome
from opmux.conformance.results.report import Report
from opmux.conformance.results.subject import Subject
from opmux.conformance.running.selection import Selection, Shard
from opmux.conformance.target import targets
from opmux.core.dispatch.registry import REGISTRY

#: A backend of the tree, for its files and kernels; nothing of it is run.
BACKEND = "numpy"


def result(case: str, **changes: Any) -> CaseResult:
    op, dtype, kind = case.split("-")[:3]
    mine = [k.name for b, k in REGISTRY.kernels(op, "cpu") if b == BACKEND]
    kernel = f"{BACKEND}/{mine[0]}" if mine else f"decomposition of {BACKEND}/copy"
    plain = {"outcome": Outcome.PASS, "errors": {kernel: 0.4}, "unit": "ULP", "assertions": 2}
    return CaseResult(case, BACKEND, op, dtype, kind, "cpu:0", **(plain | changes))


def failed(case: str, outcome: Outcome = Outcome.FAIL) -> CaseResult:
    return result(case, outcome=outcome, message="wrong", reproducer=f"opmux conformance --case {case}")


@pytest.fixture(scope="module")
def subject() -> Subject:
    from opmux.core.runtime import ensure_loaded

    ensure_loaded()
    return Subject.of(targets(BACKEND)[0])


@pytest.fixture(scope="module")
def passing(subject: Subject) -> Report:
    """A whole run in which everything passed."""
    cases = tuple(result(case) for ids in all_ids(0).values() for case in ids)
    return Report((BACKEND,), cases, seconds=100.0, subjects=(subject,), begun="2026-01-01T00:00:00+00:00")


@pytest.fixture(scope="module")
def witness() -> Witness:
    return Witness.of(Selection((BACKEND,)))


@pytest.fixture(scope="module")
def whole(passing: Report, subject: Subject, witness: Witness) -> Certificate:
    """The certificate of a run in which everything passed."""
    return certify(passing, subject, witness)


Made = Callable[..., Certificate]


@pytest.fixture(scope="module")
def made(passing: Report, subject: Subject, witness: Witness) -> Made:
    """Return the certificate of a whole run with other results for some cases, or none for some."""

    def make(
        *others: CaseResult, without: tuple[str, ...] = (), about: Subject = subject, **changes: Any
    ) -> Certificate:
        by_id = {r.id: r for r in others}
        cases = tuple(by_id.pop(r.id, r) for r in passing.cases if r.id not in without)
        report = replace(passing, cases=(*cases, *by_id.values()), **changes)
        return certify(report, about, witness)

    return make


@pytest.fixture(scope="module")
def shards(passing: Report, subject: Subject, witness: Witness) -> list[Certificate]:
    """The certificates of a whole run in two parts."""
    found = []
    for i in (1, 2):
        shard = Shard(i, 2)
        mine = tuple(r for r in passing.cases if shard.holds(r.id))
        one = replace(witness, command=f"opmux conformance --backend {BACKEND} --shard {shard}")
        found.append(certify(replace(passing, cases=mine, shard=str(shard), partial=True), subject, one))
    return found


#: Cases of each op and dtype that these tests take for the whole suite: a tenth of it is as good and as fast.
FEW = 3


def _few(op: str, dtype: str, quick: bool = False, seed: int = 0) -> tuple[str, ...]:
    return case_ids(op, dtype, quick, seed)[:FEW]


@pytest.fixture(autouse=True, scope="module")
def _small_steady_suite() -> Iterator[None]:
    """A suite of fewer cases, whose digest holds still: its files may be edited while its tests run."""
    digests = (identity.suite_digest(), "sha256:" + "0" * 64)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("opmux.conformance.certificates.certify._suite", lambda: digests)
        for module in ("certificates.reconcile", "results.profiles", "results.verdicts"):
            patch.setattr(f"opmux.conformance.{module}.case_ids", _few)
        yield
