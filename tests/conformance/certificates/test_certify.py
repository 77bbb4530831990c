"""What makes a certificate complete and conformant, and everything that keeps it from being either."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from opmux.conformance.certificates.certify import Witness, certificates, certify, command_of
from opmux.conformance.certificates.model import Certificate
from opmux.conformance.results.outcome import CaseResult, Outcome
from opmux.conformance.results.report import Report
from opmux.conformance.results.subject import Subject
from opmux.conformance.results.verdicts import verdicts
from opmux.conformance.results.waivers import Waiver
from opmux.conformance.running.run import run
from opmux.conformance.running.selection import Selection
from opmux.core.dispatch.decision import Claim
from tests.conformance.certificates.conftest import BACKEND, Made, failed, result
from tests.conformance.zoo import TWINS, Zoo, kernel, registered

CASE = "exp-float32-values"
Change = dict[str, Any]


def _reasons(c: Certificate) -> set[str]:
    return {o.reason for o in c.incomplete}


def test_a_whole_run_without_failures_is_complete_and_conformant(whole: Certificate) -> None:
    assert whole.complete
    assert whole.incomplete == ()
    assert {"core-f32", "full"} <= set(whole.conformant)
    assert whole.headline.startswith("conformant to core-f32")
    assert sum(whole.counts.values()) == whole.counts["pass"] == whole.suite.cases
    assert whole.assertions == 2 * whole.suite.cases


@pytest.mark.parametrize(
    ("change", "reason"),
    [({"quick": True}, "quick"), ({"partial": True}, "partial"), ({"stopped": True}, "stopped")],
)
def test_a_run_that_left_something_out_is_never_complete(made: Made, change: Change, reason: str) -> None:
    c = made(**change)
    assert reason in _reasons(c)
    assert (c.complete, c.conformant) == (False, ())
    assert "NOT SUFFICIENT" in c.headline
    assert not any(row.level == "shown" for row in c.claims)
    assert not any(row.conformant for row in c.profiles)


def test_a_case_that_is_missing_shows_though_the_run_says_it_was_whole(made: Made) -> None:
    c = made(without=(CASE,))
    assert _reasons(c) == {"absent"}
    assert CASE in c.incomplete[0].detail
    assert c.conformant == ()


def test_a_case_that_was_run_twice_shows(passing: Report, subject: Subject, witness: Witness) -> None:
    # The second result hides the first in any table by id.
    c = certify(replace(passing, cases=(failed(CASE), *passing.cases)), subject, witness)
    assert _reasons(c) == {"doubled"}
    assert c.counts["fail"] == 1


def test_a_case_that_the_suite_does_not_have_shows(made: Made) -> None:
    assert "unknown" in _reasons(made(result("exp-float32-values-of-my-own")))


def test_a_case_that_was_not_run_shows(made: Made) -> None:
    c = made(result(CASE, outcome=Outcome.NOT_RUN))
    assert _reasons(c) == {"not-run"}


@pytest.mark.parametrize(
    "change",
    [{"assertions": 0}, {"errors": {"numpy/exp": float("nan")}}, {"errors": {"numpy/exp": float("inf")}},
     {"flaky": True}, {"lost": True}],
)  # fmt: skip
def test_a_pass_that_proves_nothing_shows(made: Made, change: Change) -> None:
    assert _reasons(made(result(CASE, **change))) == {"unproven"}


@pytest.mark.parametrize("outcome", [Outcome.FAIL, Outcome.CRASH, Outcome.TIMEOUT])
def test_one_failure_anywhere_leaves_no_profile(made: Made, outcome: Outcome) -> None:
    # float8 is part of no core profile.
    case = "cast-float8_e5m2-values-to-bool"
    c = made(failed(case, outcome))
    assert (c.complete, c.conformant) == (True, ())
    assert c.headline.startswith("NOT CONFORMANT")
    assert [f.id for f in c.failures] == [case]


def test_a_waived_case_is_in_no_conformant_profile(made: Made, passing: Report) -> None:
    c = made(result("add-float32-values", outcome=Outcome.WAIVED))
    assert "core-f32" not in c.conformant
    assert "core-f64" in c.conformant


def test_waivers_of_other_backends_are_not_told(passing: Report, made: Made) -> None:
    import datetime

    day = datetime.date(2999, 1, 1)
    known = [Waiver(b, ">=0", "*", "*", "*", CASE, "why", "where", day) for b in (BACKEND, "acme")]
    assert [w["backend"] for w in made(waivers=tuple(known)).waivers] == [BACKEND]


def test_without_a_witness_nothing_is_complete(passing: Report, subject: Subject) -> None:
    assert _reasons(certify(passing, subject)) == {"in-process"}


def test_a_run_by_another_worker_is_not_the_suites_own() -> None:
    assert Witness.of(Selection((BACKEND,))).isolated
    assert not Witness.of(Selection((BACKEND,), isolate=False)).isolated
    assert not Witness.of(Selection((BACKEND,), command=("echo",))).isolated


def test_files_that_changed_during_the_run_show(
    passing: Report, subject: Subject, witness: Witness, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = replace(witness, implementations={BACKEND: "sha256:" + "1" * 64})
    assert _reasons(certify(passing, subject, before)) == {"changed"}
    monkeypatch.setattr("opmux.conformance.certificates.certify._implementation", lambda name: "sha256:" + "2" * 64)
    assert _reasons(certify(passing, subject, witness)) == {"changed"}


def test_a_suite_that_changed_during_the_run_shows(passing: Report, subject: Subject, witness: Witness) -> None:
    assert _reasons(certify(passing, subject, replace(witness, suite="sha256:0"))) == {"changed"}


def test_a_backend_without_files_is_never_complete() -> None:
    with registered("zoo-nameless", Zoo([kernel("exp", TWINS["exp"])])) as name:
        selection = Selection((name,), ops=("exp",), dtypes=("float32",), isolate=False)
        (c,) = certificates(run(selection), Witness.of(selection))
    assert {"unidentified", "in-process", "partial", "absent"} <= _reasons(c)
    assert c.counts["pass"] > 5


def test_a_device_that_flushes_subnormals_says_so_in_the_first_line(made: Made, subject: Subject) -> None:
    c = made(about=replace(subject, flushes_subnormals=True))
    assert "flushes subnormals" in c.headline
    assert "canonical" not in {row.determinism for row in c.claims}


def test_claims_are_those_that_the_dispatcher_is_told(made: Made, passing: Report, subject: Subject) -> None:
    others = (failed(CASE), result("add-float32-values", outcome=Outcome.WAIVED))
    c = made(*others)
    by_id = {r.id: r for r in others}
    cases: list[CaseResult] = [by_id.get(r.id, r) for r in passing.cases]
    told = verdicts(subject, cases, quick=False, seed=0)
    rows = {(row.kernel, row.dtype): (Claim(row.level), row.max_ulp) for row in c.claims}
    assert rows == {(k.kernel, k.dtype): (v.level, v.max_ulp) for k, v in told.items()}
    assert rows["exp", "float32"] == (Claim.REFUTED, None)
    assert rows["exp", "float64"] == (Claim.SHOWN, 0.4)
    assert ("add", "float32") not in rows


def test_the_worst_error_names_its_case_and_kernel(made: Made) -> None:
    c = made(result(CASE, errors={"numpy/exp": 2.25}))
    (row,) = [row for row in c.ops if (row.op, row.dtype) == ("exp", "float32")]
    assert [(w.error, w.unit, w.case, w.kernel) for w in row.worst] == [(2.25, "ULP", CASE, "numpy/exp")]


def test_the_command_makes_the_same_run(tmp_path: Path) -> None:
    given = Selection(("acme",), ops=("exp",), seed=7, quick=True, waivers=tmp_path / "waivers.toml")
    # Where a file lay is nobody else's business.
    assert command_of(given) == "opmux conformance --backend acme --op exp --waivers waivers.toml --seed 7 --quick"


def test_an_under_claim_is_told(made: Made) -> None:
    c = made(result(CASE, outcome=Outcome.UNDER_CLAIM, message="it works, and is not declared"))
    assert [(n.id, n.message) for n in c.warnings] == [(CASE, "it works, and is not declared")]


def test_performance_without_numbers_is_kept_as_null(made: Made) -> None:
    class Measured:
        def to_dict(self) -> dict[str, Any]:
            return {"rows": [{"time": float("nan")}, {"time": 1.5}]}

    c = made(performance={(BACKEND, "cpu:0"): Measured()})
    assert c.performance == {"rows": [{"time": None}, {"time": 1.5}]}
    assert c.to_dict()["digest"].startswith("sha256:")


@pytest.fixture
def edited(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Return what changes a file of the backend, which lies in a folder made for the test."""
    (tmp_path / "kernels.py").write_text("one = 1\n")
    monkeypatch.setattr("opmux.core.plugins.manager.package_folder", lambda name: tmp_path)
    return lambda: (tmp_path / "kernels.py").write_text("one = 2\n") and None


def test_what_changed_files_show_is_not_told_to_the_dispatcher(edited: Callable[[], None]) -> None:
    before = Witness.of(Selection((BACKEND,)))
    assert before.is_still(BACKEND)
    edited()
    assert not before.is_still(BACKEND)
