"""One page, one badge, and what a baseline allows."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from dataclasses import replace
from typing import Any

import pytest

from opmux.conformance.certificates.baseline import earlier_performance, known_failures
from opmux.conformance.certificates.model import Certificate
from opmux.conformance.certificates.summary import badge, summary
from opmux.conformance.results.outcome import Outcome
from opmux.conformance.results.report import Report
from opmux.conformance.results.subject import Subject
from tests.conformance.certificates.conftest import BACKEND, Made, failed, result

EXP, ADD = "exp-float32-values", "add-float32-values"


def _text(svg: str) -> tuple[str, set[str]]:
    root = ET.fromstring(svg)
    fills = {str(r.get("fill")) for r in root.iter("{http://www.w3.org/2000/svg}rect")}
    return str(root.get("aria-label")), fills


def test_a_badge_is_green_where_it_is_conformant(whole: Certificate) -> None:
    label, fills = _text(badge(whole, "self-declared"))
    assert label == "opmux: core-f32, core-f16 +6 conformant (self-declared)"
    assert "#2e7d32" in fills


def test_a_badge_is_red_after_a_failure_and_grey_where_nothing_is_shown(made: Made) -> None:
    assert _text(badge(made(failed(EXP)), "signed")) == ("opmux: not conformant", {"#444", "#b3261e"})
    assert _text(badge(made(quick=True), "signed")) == ("opmux: not sufficient", {"#444", "#6b6b6b"})


def test_a_badge_of_a_device_that_flushes_says_so(made: Made, subject: Subject) -> None:
    c = made(about=replace(subject, flushes_subnormals=True))
    assert "flushes subnormals" in _text(badge(c, "self-declared"))[0]


def test_a_badge_escapes_what_it_shows(whole: Certificate) -> None:
    hostile = replace(whole, headline="<script>&</script>", conformant=('"><script>',))
    assert "<script>" not in badge(hostile, "self-declared")
    assert '"><script>' in _text(badge(hostile, "self-declared"))[0]


def test_the_page_begins_with_the_verdict(whole: Certificate, made: Made) -> None:
    assert summary(whole, "self-declared").startswith("# conformant to core-f32")
    assert "(self-declared)" in summary(whole, "self-declared").splitlines()[0]
    page = summary(made(failed(EXP)), "self-declared")
    assert page.startswith("# NOT CONFORMANT")
    assert f"fail `{EXP}`: wrong" in page
    assert "| core-f64 |" in page
    assert "passed, but cases failed elsewhere" in page


def test_the_page_is_one_page_whatever_fails(made: Made, whole: Certificate) -> None:
    c = made(*(failed(case) for case, _ in whole.outcomes()))
    assert len(summary(c, "self-declared").splitlines()) < 90


def test_what_a_backend_says_is_no_markup_on_the_page(made: Made) -> None:
    page = summary(made(result(EXP, outcome=Outcome.FAIL, message="<b>| # x\nsecond line")), "self-declared")
    assert "<b>" not in page
    assert "second line" not in page


def _report(passing: Report, *others: Any, baseline: Certificate) -> Report:
    by_id = {r.id: r for r in others}
    cases = tuple(by_id.get(r.id, r) for r in passing.cases)
    return replace(passing, cases=cases, baseline=known_failures([baseline]))


@pytest.mark.parametrize(
    ("now", "status"), [((), 0), ((EXP,), 0), ((EXP, ADD), 1), ((ADD,), 1)], ids=["mended", "known", "more", "other"]
)
def test_only_regressions_fail(passing: Report, made: Made, now: tuple[str, ...], status: int) -> None:
    baseline = made(failed(EXP, Outcome.CRASH))
    assert _report(passing, *map(failed, now), baseline=baseline).exit_code == status


@pytest.mark.parametrize("outcome", [Outcome.UNSUPPORTED, Outcome.WAIVED, Outcome.UNDER_CLAIM])
def test_what_did_not_fail_in_the_baseline_may_not_fail_now(passing: Report, made: Made, outcome: Outcome) -> None:
    report = _report(passing, failed(EXP), baseline=made(result(EXP, outcome=outcome)))
    assert [r.id for r in report.regressions] == [EXP]


def test_a_case_that_the_baseline_does_not_know_may_not_fail(passing: Report, made: Made) -> None:
    assert _report(passing, failed(EXP), baseline=made(without=(EXP,))).exit_code == 1


def test_failures_of_another_device_are_not_known(made: Made, passing: Report) -> None:
    c = made(failed(EXP))
    other = replace(c, device=replace(c.device, name="acme:0"))
    assert known_failures([c]) == {(BACKEND, "cpu:0", EXP)}
    assert _report(passing, failed(EXP), baseline=other).exit_code == 1


def test_performance_of_another_form_is_left_out(whole: Certificate) -> None:
    assert earlier_performance([whole, replace(whole, performance={"rows": 3})]) == {}
