"""Selections, reports, waivers, exit statuses, the command and its JSON."""

from __future__ import annotations

import datetime
import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from opmux.cli.main import main
from opmux.conformance.cases.enumerate import case_ids
from opmux.conformance.performance.flags import Flag
from opmux.conformance.results import waivers
from opmux.conformance.results.outcome import CaseResult, Outcome
from opmux.conformance.results.profiles import demanded_by
from opmux.conformance.results.report import Report
from opmux.conformance.results.waivers import Applied, Waiver
from opmux.conformance.running.run import run
from opmux.conformance.running.selection import Selection, chosen_pairs
from opmux.core.errors import ArgumentError, DTypeError, PluginError
from opmux.core.plugins import manager
from opmux.core.plugins.status import BackendStatus, State
from tests.conformance.zoo import TWINS, Zoo, kernel, registered, sign_of_zero

ZERO = "multiply-float32-special-multiply(-1, +0) -> -0"
BAD_RANGE = "[[waiver]]\nbackend='a'\nreason='b'\nissue='c'\nexpiry=2999-01-01\nversions='about 2'"
COUNTS = {"pass", "unsupported", "under_claim", "waived", "fail", "crash", "timeout", "not_run"}


def _result(outcome: Outcome, case: str = "exp-float32-values", backend: str = "acme") -> CaseResult:
    op, dtype, kind = case.split("-")[:3]
    return CaseResult(case, backend, op, dtype, kind, "cpu:0", outcome, message="wrong")


def _command(*arguments: str) -> int:
    with pytest.raises(SystemExit) as caught:
        main(["conformance", *arguments])
    return int(caught.value.code or 0)


@pytest.mark.parametrize(
    ("outcomes", "status"),
    [
        ([Outcome.PASS, Outcome.UNSUPPORTED], 0),
        ([Outcome.PASS, Outcome.WAIVED], 0),
        ([Outcome.PASS, Outcome.FAIL], 1),
        ([Outcome.CRASH], 1),
        ([Outcome.PASS, Outcome.TIMEOUT], 1),
        ([Outcome.PASS, Outcome.NOT_RUN], 3),
        ([Outcome.UNSUPPORTED], 5),
        ([], 5),
    ],
)
def test_exit_status(outcomes: list[Outcome], status: int) -> None:
    assert Report(("acme",), tuple(map(_result, outcomes))).exit_code == status


def test_a_trouble_is_infrastructure() -> None:
    assert Report(("acme",), (_result(Outcome.PASS),), troubles=("acme is quarantined",)).exit_code == 3


def test_counts_have_every_outcome() -> None:
    assert Report(("acme",), (_result(Outcome.PASS),)).counts == {**dict.fromkeys(COUNTS, 0), "pass": 1}


def test_quick_and_partial_runs_say_that_they_do_not_suffice() -> None:
    assert "not sufficient" in Report((), (), quick=True).summary()
    assert "not sufficient" in Report((), (), partial=True).summary()
    assert "not sufficient" not in Report((), ()).summary()


def _whole(*others: CaseResult, **changes: Any) -> Report:
    """A run in which all that core-f32 demands passed, with other results beside it."""
    ids = [case for pair in demanded_by("core-f32") for case in case_ids(*pair)]
    changed = {r.id for r in others}
    passed = [replace(_result(Outcome.PASS, case), assertions=1) for case in ids if case not in changed]
    return Report(("acme",), (*passed, *others), **changes)


@pytest.mark.parametrize(
    ("report", "passed", "conformant"),
    [
        (_whole(), True, True),
        (_whole(_result(Outcome.FAIL, "tan-float64-values")), True, False),
        (_whole(_result(Outcome.NOT_RUN, "tan-float64-values")), True, False),
        (_whole(partial=True), True, False),
        (_whole(_result(Outcome.FAIL, "add-float32-values")), False, False),
    ],
)
def test_conformant_is_what_fails_nowhere(report: Report, passed: bool, conformant: bool) -> None:
    (found,) = (p for p in report.to_dict()["profiles"] if p["profile"] == "core-f32")
    assert (found["passed_whole"], found["conformant"]) == (passed, conformant)
    assert ("(conformant" in report.summary()) is conformant


def test_of_many_flags_the_first_few_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    flags = [Flag("slower", "exp", "float32", None, f"flag {i}", {}) for i in range(40)]
    monkeypatch.setattr(Report, "flags", lambda self: flags)
    told = [line for line in Report((), ()).summary().splitlines() if line.startswith("performance: ")]
    assert told[:3] == ["performance: flag 0", "performance: flag 1", "performance: flag 2"]
    assert told[3:] == ["performance: and 37 more flags; --json and --html hold them all"]
    assert len(Report((), ()).to_dict()["flags"]) == 40


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"limit": 0.0}, "cannot have 0 seconds: the timeout is 0.1 or more, and 60 where none is given"),
        ({"limit": math.nan}, "cannot have nan seconds"),
        ({"workers": 0}, "workers is 0: it is a whole number, 1 or more"),
        ({"seed": -1}, "seed is -1"),
    ],
)
def test_what_no_run_can_have_is_refused(options: dict[str, Any], says: str) -> None:
    with pytest.raises(ArgumentError, match=says):
        Selection(**options)


def test_verdict_of_a_profile_names_what_is_next() -> None:
    results = (_result(Outcome.PASS, "add-float32-values"), _result(Outcome.FAIL, "sum-float32-values"))
    verdict = next(v for v in Report(("acme",), results).profiles() if v.profile == "core-f32")
    assert (verdict.passed, verdict.whole, verdict.passed_whole) == (0, False, False)
    assert verdict.missing[0] == "copy"
    assert "sum float32" in verdict.pairs
    assert "add float32" not in verdict.pairs
    assert "sum" in verdict.missing


def test_refusals_outside_of_a_profile_do_not_count_against_it() -> None:
    results = (
        _result(Outcome.PASS, "cast-float32-values-to-int32"),
        _result(Outcome.UNSUPPORTED, "cast-float32-values-to-float8_e5m2"),
    )
    inside = (*results, _result(Outcome.UNSUPPORTED, "cast-float32-values-to-bool"))
    verdicts = [next(v for v in Report(("acme",), r).profiles() if v.profile == "core-f32") for r in (results, inside)]
    assert ["cast float32" in v.pairs for v in verdicts] == [False, True]


def _waiver_file(folder: Path, **changes: Any) -> Path:
    entry = {"backend": "acme", "op": "exp", "reason": "old libm", "issue": "acme#1", **changes}
    lines = [f'{k} = "{v}"' for k, v in entry.items() if k != "expiry"]
    expiry = changes.get("expiry", datetime.date(2999, 1, 1))
    path = folder / "waivers.toml"
    path.write_text("\n".join(["[[waiver]]", *lines, f"expiry = {expiry}"]))
    return path


def _applied(known: tuple[Waiver, ...], *results: CaseResult, partial: bool = False) -> Applied:
    return waivers.apply(known, results, datetime.date(2026, 1, 1), versions={"acme": "1.2.dev3"}, partial=partial)


def test_a_waiver_turns_a_failure(tmp_path: Path) -> None:
    known = waivers.read(_waiver_file(tmp_path))
    failed, other = _result(Outcome.FAIL), _result(Outcome.FAIL, "log-float32-values")
    turned = _applied(known, failed, other).results
    assert [r.outcome for r in turned] == [Outcome.WAIVED, Outcome.FAIL]
    assert "old libm" in turned[0].message


def test_an_expired_waiver_fails(tmp_path: Path) -> None:
    known = waivers.read(_waiver_file(tmp_path, expiry=datetime.date(2020, 1, 1)))
    applied = _applied(known, _result(Outcome.FAIL))
    assert applied.results[0].outcome is Outcome.FAIL
    assert "expired" in applied.results[0].message
    assert "expired on 2020-01-01" in applied.faults[0]
    assert Report(("acme",), (_result(Outcome.PASS),), waiver_faults=applied.faults).exit_code == 1


def test_a_waiver_that_nothing_needs_fails(tmp_path: Path) -> None:
    known = waivers.read(_waiver_file(tmp_path))
    assert "matches no failure" in _applied(known, _result(Outcome.PASS)).faults[0]
    assert _applied(known, _result(Outcome.PASS), partial=True).faults == ()
    exact = waivers.read(_waiver_file(tmp_path, case="exp-float32-values"))
    assert "delete it" in _applied(exact, _result(Outcome.PASS), partial=True).faults[0]


@pytest.mark.parametrize(("field", "value"), [("versions", "<1.2"), ("device", "cuda:*"), ("dtype", "float64")])
def test_a_waiver_of_something_else_turns_nothing(tmp_path: Path, field: str, value: str) -> None:
    known = waivers.read(_waiver_file(tmp_path, **{field: value}))
    assert _applied(known, _result(Outcome.FAIL)).results[0].outcome is Outcome.FAIL


def test_a_waiver_of_these_versions_and_devices_holds(tmp_path: Path) -> None:
    known = waivers.read(_waiver_file(tmp_path, versions=">=1.2,<2", device="cpu:*"))
    assert _applied(known, _result(Outcome.FAIL)).results[0].outcome is Outcome.WAIVED
    assert _applied(known, _result(Outcome.FAIL)).used == known


def test_a_waiver_by_exact_id_may_hold_brackets(tmp_path: Path) -> None:
    case = "sum-float32-special-sum([]) -> +0"
    known = waivers.read(_waiver_file(tmp_path, op="sum", case=case))
    assert _applied(known, _result(Outcome.FAIL, case)).results[0].outcome is Outcome.WAIVED


@pytest.mark.parametrize("text", ["[[waiver]]\nbackend = 'acme'", "[[waiver", "[[waiver]]\nwho = 'acme'", BAD_RANGE])
def test_a_bad_waiver_file_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "waivers.toml"
    path.write_text(text)
    with pytest.raises(ArgumentError, match=r"waivers\.toml"):
        waivers.read(path)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[[waiver]]\nreson = 'x'", r"unknown 'reson' \(did you mean 'reason'\?\); the keys are backend, .*, case$"),
        ("[[waivers]]\nbackend = 'acme'", r"nothing but tables headed \[\[waiver\]\], and has 'waivers'"),
        ("[waiver]\nbackend = 'acme'", "gives 'waiver' as something else"),
        ("[[waiver]]\nbackend='a'\nreason='b'\nissue=7\nexpiry=2027-01-01", "issue=7 is not a string"),
    ],
)
def test_a_misspelt_waiver_file_says_how_it_is_spelt(tmp_path: Path, text: str, says: str) -> None:
    path = tmp_path / "waivers.toml"
    path.write_text(text)
    with pytest.raises(ArgumentError, match=says):
        waivers.read(path)


def test_selection_by_op_and_dtype() -> None:
    chosen = chosen_pairs(Selection(ops=("exp",), dtypes=("float32", "float64")))
    assert chosen == [("exp", "float32"), ("exp", "float64")]


@pytest.mark.parametrize(
    ("selection", "error", "says"),
    [
        (Selection(ops=("expp",)), ArgumentError, "did you mean 'exp'"),
        (Selection(dtypes=("float31",)), DTypeError, "float31"),
        (Selection(profile="core-f31"), ArgumentError, "core-f32"),
        (Selection(backends=("acme",), ops=("exp",)), PluginError, "acme"),
        (Selection(ops=("exp",), cases=("exp-float32-nothing",)), ArgumentError, "exact"),
    ],
)
def test_what_does_not_exist_is_a_typed_error(selection: Selection, error: type[Exception], says: str) -> None:
    with pytest.raises(error, match=says):
        run(selection)


def test_the_first_failure_may_end_the_run() -> None:
    with registered("zoo-first", Zoo([kernel("multiply", sign_of_zero)])) as name:
        found = run(Selection((name,), ops=("multiply",), dtypes=("float32",), isolate=False, exit_first=True))
    assert [c.outcome for c in found.cases].index(Outcome.FAIL) == len(found.cases) - 1


def test_a_waived_run_passes(tmp_path: Path) -> None:
    path = _waiver_file(tmp_path, backend="zoo-waived", op="multiply")
    with registered("zoo-waived", Zoo([kernel("multiply", sign_of_zero)])) as name:
        found = run(Selection((name,), ops=("multiply",), cases=(ZERO,), waivers=path, isolate=False))
    assert (found.counts["waived"], found.exit_code) == (1, 0)


def test_worst_errors_are_kept() -> None:
    with registered("twin-worst", Zoo([kernel("hypot", TWINS["hypot"])])) as name:
        (worst,) = run(Selection((name,), ops=("hypot",), dtypes=("float32",), isolate=False)).worst()
    assert worst["unit"] == "ULP"
    assert 0.49 < worst["error"] <= 0.5


def test_the_command_writes_json_and_prints_a_summary(tmp_path: Path, capsys: Any) -> None:
    path = tmp_path / "report.json"
    status = _command("--backend", "numpy", "--op", "negative", "--dtype", "int32", "--json", str(path))
    report = json.loads(path.read_text())
    assert status == 0
    assert set(report["counts"]) == COUNTS
    assert report["counts"]["pass"] == len(report["cases"]) > 5
    assert all(c["kernel"].startswith("numpy/negative") for c in report["cases"] if c["kind"] == "values")
    assert "numpy on cpu:0: " in capsys.readouterr().out


@pytest.mark.parametrize("option", ["--op", "--backend", "--profile", "--dtype"])
def test_wrong_usage_ends_in_status_2(option: str) -> None:
    assert _command(option, "nothing-like-it") == 2


def test_one_case_by_its_id() -> None:
    assert _command("--backend", "numpy", "--op", "exp", "--dtype", "float32", "--case", "exp-float32-values") == 0


def test_a_backend_in_quarantine_keeps_a_run_from_being_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    known = manager.status()
    broken = BackendStatus("acme", "opmux-acme", "1.0", State.QUARANTINED, reason="it cannot be imported")
    monkeypatch.setattr(manager, "status", lambda: [*known, broken])
    found = run(Selection(ops=("exp",), dtypes=("float32",), cases=("exp-float32-values",), isolate=False))
    assert "it cannot be imported" in found.troubles[0]
    assert (found.counts["fail"], found.exit_code) == (0, 3)


def test_failures_of_primitives_are_told_before_those_of_what_is_made_of_them() -> None:
    results = tuple(_result(Outcome.FAIL, f"{op}-float32-values") for op in ("softmax", "device", "exp"))
    told = [line.split()[-1] for line in Report(("acme",), results).summary().splitlines() if line.startswith("FAIL")]
    assert told == ["exp-float32-values", "softmax-float32-values", "device-float32-values"]
