"""JUnit XML, read back with another parser than it was written with."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from dataclasses import replace

import pytest

from opmux.conformance.reports import junit

from .pages import acme, conformant


def cases(text: str) -> dict[str, ET.Element]:
    return {f"{c.get('classname')}.{c.get('name')}": c for c in ET.fromstring(text).iter("testcase")}


def test_every_case_is_counted_once() -> None:
    root = ET.fromstring(junit.render([acme()]))
    counts = {key: root.get(key) for key in ("tests", "failures", "errors", "skipped")}
    # Eight cases and one trouble; the crash and the trouble are errors.
    assert counts == {"tests": "9", "failures": "1", "errors": "2", "skipped": "3"}
    assert sum(int(s.get("tests", "0")) for s in root.iter("testsuite")) == 9


def test_a_failure_tells_the_message_the_kernel_and_how_to_run_it_alone() -> None:
    found = cases(junit.render([acme()]))["acme@acme:0.exp.float32.special-exp(<-inf) -> +0"]
    failure = found.find("failure")
    assert failure is not None
    assert found.get("time") == "0.5000"
    text = failure.text or ""
    assert '<script>document.title = "owned"</script>' in text
    assert "kernel: acme/exp" in text
    assert "--case 'exp-float32-special-exp(<-inf) -> +0'" in text


def test_what_xml_cannot_hold_is_shown_as_escapes() -> None:
    text = junit.render([acme()])
    assert "\x1b" not in text
    assert "\\x00\\x1b[31m" in text


@pytest.mark.parametrize(
    ("case", "reason"),
    [
        ("add.float32.values", "unsupported: no kernel"),
        ("sum.float32.values", "waived: known (issue 7)"),
        ("max.float32.values", "not run"),
    ],
)
def test_what_was_not_shown_is_skipped_with_its_reason(case: str, reason: str) -> None:
    skipped = cases(junit.render([acme()]))[f"acme@acme:0.{case}"].find("skipped")
    assert skipped is not None
    assert skipped.get("message") == reason


def test_an_under_claim_passes_and_fails_where_claims_are_strict() -> None:
    name = "acme@acme:0.negative.int8.values"
    assert cases(junit.render([acme()]))[name].find("failure") is None
    strict = acme()
    under = next(c for c in strict.cases if c.outcome == "under_claim")
    strict = replace(strict, failures=(*strict.failures, replace(strict.failures[0], case=under)))
    assert cases(junit.render([strict]))[name].find("failure") is not None


def test_a_known_failure_is_no_failure() -> None:
    page = acme()
    page = replace(page, failures=(replace(page.failures[0], known=True),))
    found = cases(junit.render([page]))["acme@acme:0.exp.float32.special-exp(<-inf) -> +0"]
    assert found.find("failure") is None
    assert "baseline" in str(found.find("skipped").get("message"))  # type: ignore[union-attr]


def test_cases_that_were_not_run_are_an_error_of_the_run() -> None:
    page = replace(acme(), troubles=())
    trouble = cases(junit.render([page]))["acme@acme:0.run.trouble 1"].find("error")
    assert trouble is not None
    assert trouble.get("message") == "1 cases were not run"


def test_a_waiver_that_fails_the_run_is_a_failure_and_no_trouble() -> None:
    page = replace(acme(), troubles=(), cases=acme().cases[:1], cells=acme().cells[:1], waiver_faults=("it expired",))
    found = cases(junit.render([page]))["acme@acme:0.run.waiver 1"]
    assert found.find("error") is None
    assert found.find("failure").get("message") == "it expired"  # type: ignore[union-attr]


def test_suites_hold_kernels_and_worst_errors() -> None:
    root = ET.fromstring(junit.render([acme(), conformant()]))
    suite = next(s for s in root.iter("testsuite") if s.get("name") == "globex@globex:0.exp")
    found = {p.get("name"): p.get("value") for p in suite.iter("property")}
    assert found["kernel[float32]"] == "globex/exp"
    assert found["worst[float32]"] == "0.9 ULP in exp-float32-values"
