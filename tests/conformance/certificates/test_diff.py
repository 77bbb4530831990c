"""Losing an op, a dtype, accuracy, a class, a profile or a claim is a breaking change and says so."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from opmux.conformance.certificates.diff import diff, text_of
from opmux.conformance.certificates.errors import CertificateError
from opmux.conformance.certificates.model import Certificate, ClaimRow, OpRow, Worst
from opmux.conformance.results.outcome import Outcome
from opmux.conformance.results.subject import Subject
from tests.conformance.certificates.conftest import Made, failed, result


def _row(c: Certificate, op: str, dtype: str, **changes: Any) -> Certificate:
    rows = tuple(replace(r, **changes) if (r.op, r.dtype) == (op, dtype) else r for r in c.ops)
    return replace(c, ops=rows)


def _kinds(old: Certificate, new: Certificate) -> tuple[set[str], set[str]]:
    found = diff(old, new)
    return {c.kind for c in found.breaking}, {c.kind for c in found.gains}


def test_nothing_changed(whole: Certificate) -> None:
    found = diff(whole, whole)
    assert (found.breaking, found.gains, found.appeared, found.disappeared) == ((), (), (), ())
    assert text_of(found).startswith("nothing is lost")


def test_a_failure_loses_the_dtype_the_claim_and_the_profile(whole: Certificate, made: Made) -> None:
    found = diff(whole, made(failed("exp-float32-values")))
    told = {str(c) for c in found.breaking}
    assert "dtype: exp on float32: 1 cases fail" in told
    assert "profile: core-f32: no longer conformant" in told
    assert "claim: exp on float32: no kernel is shown any more" in told
    assert text_of(found).startswith("BREAKING")
    assert found.to_dict()["is_breaking"]


def test_what_one_way_is_a_loss_is_a_gain_the_other_way(whole: Certificate, made: Made) -> None:
    worse = made(failed("exp-float32-values"))
    assert _kinds(whole, worse) == ({"profile", "dtype", "claim"}, set())
    assert _kinds(worse, whole) == (set(), {"profile", "dtype", "claim"})


def test_an_op_that_no_dtype_has_any_more(whole: Certificate) -> None:
    new = replace(whole, ops=tuple(r for r in whole.ops if r.op != "exp"))
    (change,) = diff(whole, new).breaking
    assert (change.kind, change.what) == ("op", "exp")
    assert "float32" in change.text


@pytest.mark.parametrize(
    ("before", "after", "breaks"),
    [(0.5, 0.51, True), (0.51, 0.99, False), (0.99, 1.01, True), (2.2, 2.2, False), (2.2, 1.4, False)],
)
def test_accuracy_counts_in_half_ulps(whole: Certificate, before: float, after: float, breaks: bool) -> None:
    old, new = (
        _row(whole, "exp", "float32", worst=(Worst(e, "ULP", "exp-float32-values", "numpy/exp"),))
        for e in (before, after)
    )
    lost, won = _kinds(old, new)
    assert lost == ({"accuracy"} if breaks else set())
    assert won == ({"accuracy"} if after < 2 < before else set())


@pytest.mark.parametrize(("before", "after", "breaks"), [(0.01, 0.09, False), (0.06, 0.2, True), (0.3, 0.5, False)])
def test_a_share_of_a_bound_breaks_when_it_more_than_doubles(
    whole: Certificate, before: float, after: float, breaks: bool
) -> None:
    old, new = (
        _row(whole, "sum", "float32", worst=(Worst(e, "of the bound", "x", "numpy/sum"),)) for e in (before, after)
    )
    assert _kinds(old, new)[0] == ({"accuracy"} if breaks else set())


def test_what_was_exact_and_no_longer_is(whole: Certificate) -> None:
    old = _row(whole, "exp", "float32", worst=())
    (change,) = diff(old, whole).breaking
    assert str(change) == "accuracy: exp on float32: worst error 0, now 0.4 ULP"


def _promising(c: Certificate, bound: float | None, determinism: str) -> Certificate:
    row = ClaimRow("exp", "exp", "float32", "shown", 0.4, bound, determinism)
    return replace(c, claims=(row,))


def test_a_promise_that_became_weaker(whole: Certificate) -> None:
    old, new = _promising(whole, 1.0, "batch"), _promising(whole, None, "run")
    found = diff(old, new)
    assert {str(c) for c in found.breaking} == {
        "accuracy: exp on float32: 1 ULP was promised, now nothing",
        "determinism: exp on float32: batch was kept, now run",
    }
    assert {str(c) for c in diff(new, old).gains} == {
        "accuracy: exp on float32: nothing was promised, now 1 ULP",
        "determinism: exp on float32: run was kept, now batch",
    }


def test_a_determinism_class_that_no_longer_passes(whole: Certificate) -> None:
    old = _row(whole, "sum", "float32", determinism={"run": "pass", "threads": "pass"})
    new = _row(whole, "sum", "float32", determinism={"run": "pass", "threads": "unsupported"})
    assert {str(c) for c in diff(old, new).breaking} == {"determinism: sum on float32: threads: unsupported"}


def test_flushing_subnormals_is_a_loss(whole: Certificate, made: Made, subject: Subject) -> None:
    flushing = made(about=replace(subject, flushes_subnormals=True))
    assert "subnormals" in _kinds(whole, flushing)[0]


def test_cases_that_came_or_went_break_nothing(whole: Certificate) -> None:
    cases = {**whole.cases, "exp-float32": {"values": "pass", "values-new": "pass"}}
    new = replace(whole, cases=cases, suite=replace(whole.suite, digest="sha256:1", version="9"))
    found = diff(whole, new)
    assert found.breaking == ()
    assert found.appeared == ("exp-float32-values-new",)
    assert len(found.disappeared) == len(whole.cases["exp-float32"]) - 1
    assert "the suite differs" in found.notes[0]


def test_an_incomplete_certificate_is_not_compared(whole: Certificate, made: Made) -> None:
    with pytest.raises(CertificateError, match="new certificate is not complete"):
        diff(whole, made(without=("exp-float32-values",)))


def test_other_subjects_are_not_compared(whole: Certificate) -> None:
    with pytest.raises(CertificateError, match="different subjects"):
        diff(whole, replace(whole, backend=replace(whole.backend, name="acme")))


def test_a_row_is_looked_up_by_op_and_dtype(whole: Certificate) -> None:
    rows: list[OpRow] = list(whole.ops)[::-1]
    assert diff(whole, replace(whole, ops=tuple(rows))).breaking == ()


def test_a_loss_outside_of_every_profile_shows(whole: Certificate, made: Made) -> None:
    case = "cast-float8_e5m2-values-to-bool"
    refused = made(*(result(i, outcome=Outcome.UNSUPPORTED) for i, _ in whole.outcomes() if i.startswith(case[:17])))
    assert any(c.what == "cast on float8_e5m2" for c in diff(whole, refused).breaking)
