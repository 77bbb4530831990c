"""Selections, reports, waivers, exit statuses, the command and its JSON."""

from __future__ import annotations

import datetime
import json
from pathlib import Path
from typing import Any

import pytest

from opmux.cli.main import main
from opmux.conformance.results import waivers
from opmux.conformance.results.outcome import CaseResult, Outcome
from opmux.conformance.results.report import Report
from opmux.conformance.running.run import Selection, chosen_pairs, run
from opmux.core.errors import ArgumentError, DTypeError, PluginError
from tests.conformance.zoo import TWINS, Zoo, kernel, registered, sign_of_zero

ZERO = "multiply-float32-special-multiply(-1, +0) -> -0"
COUNTS = {"pass", "unsupported", "waived", "fail", "crash", "timeout", "not_run"}


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


def test_verdict_of_a_profile_names_what_is_next() -> None:
    results = (_result(Outcome.PASS, "add-float32-values"), _result(Outcome.FAIL, "sum-float32-values"))
    verdict = next(v for v in Report(("acme",), results).profiles() if v.profile == "core-f32")
    assert (verdict.passed, verdict.whole) == (1, False)
    assert "sum float32" in verdict.missing
    assert "add float32" not in verdict.missing


def test_refusals_outside_of_a_profile_do_not_count_against_it() -> None:
    results = (
        _result(Outcome.PASS, "cast-float32-values-to-int32"),
        _result(Outcome.UNSUPPORTED, "cast-float32-values-to-float8_e5m2"),
    )
    inside = (*results, _result(Outcome.UNSUPPORTED, "cast-float32-values-to-bool"))
    assert next(v for v in Report(("acme",), results).profiles() if v.profile == "core-f32").passed == 1
    assert next(v for v in Report(("acme",), inside).profiles() if v.profile == "core-f32").passed == 0


def _waiver_file(folder: Path, **changes: Any) -> Path:
    entry = {"backend": "acme", "op": "exp", "reason": "old libm", "issue": "acme#1", **changes}
    lines = [f'{k} = "{v}"' for k, v in entry.items() if k != "expiry"]
    expiry = changes.get("expiry", datetime.date(2999, 1, 1))
    path = folder / "waivers.toml"
    path.write_text("\n".join(["[[waiver]]", *lines, f"expiry = {expiry}"]))
    return path


def test_a_waiver_turns_a_failure(tmp_path: Path) -> None:
    known = waivers.read(_waiver_file(tmp_path))
    failed, other = _result(Outcome.FAIL), _result(Outcome.FAIL, "log-float32-values")
    turned = waivers.apply(known, [failed, other], datetime.date(2026, 1, 1))
    assert [r.outcome for r in turned] == [Outcome.WAIVED, Outcome.FAIL]
    assert "old libm" in turned[0].message


def test_an_expired_waiver_fails(tmp_path: Path) -> None:
    known = waivers.read(_waiver_file(tmp_path, expiry=datetime.date(2020, 1, 1)))
    (result,) = waivers.apply(known, [_result(Outcome.FAIL)], datetime.date(2026, 1, 1))
    assert result.outcome is Outcome.FAIL
    assert "expired" in result.message


def test_a_waiver_by_exact_id_may_hold_brackets(tmp_path: Path) -> None:
    case = "sum-float32-special-sum([]) -> +0"
    known = waivers.read(_waiver_file(tmp_path, op="sum", case=case))
    assert waivers.apply(known, [_result(Outcome.FAIL, case)], datetime.date(2026, 1, 1))[0].outcome is Outcome.WAIVED


@pytest.mark.parametrize("text", ["[[waiver]]\nbackend = 'acme'", "[[waiver", "[[waiver]]\nwho = 'acme'"])
def test_a_bad_waiver_file_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "waivers.toml"
    path.write_text(text)
    with pytest.raises(ArgumentError, match=r"waivers\.toml"):
        waivers.read(path)


def test_selection_by_op_and_dtype() -> None:
    chosen = chosen_pairs(Selection(ops=("exp",), dtypes=("float32", "float64")))
    assert [(op.name, t.name) for op, t in chosen] == [("exp", "float32"), ("exp", "float64")]


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
    assert "numpy: " in capsys.readouterr().out


@pytest.mark.parametrize("option", ["--op", "--backend", "--profile", "--dtype"])
def test_wrong_usage_ends_in_status_2(option: str) -> None:
    assert _command(option, "nothing-like-it") == 2


def test_one_case_by_its_id() -> None:
    assert _command("--backend", "numpy", "--op", "exp", "--dtype", "float32", "--case", "exp-float32-values") == 0
