"""The runner behind `make test` never counts a check that failed as passed."""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path
from types import ModuleType

import pytest

SCRIPT = Path(__file__).resolve().parents[2] / ".ci" / "checks.py"


@pytest.fixture(scope="module")
def checks() -> ModuleType:
    spec = importlib.util.spec_from_file_location("project_checks", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up there
    spec.loader.exec_module(module)
    return module


def test_exit_status_decides_without_a_report(checks: ModuleType) -> None:
    assert checks.Check("good", [sys.executable, "-c", ""]).run() == checks.Tally(passed=1)
    assert checks.Check("bad", [sys.executable, "-c", "raise SystemExit(3)"]).run() == checks.Tally(failed=1)


def test_clean_report_with_failing_exit_status_is_a_failure(checks: ModuleType) -> None:
    check = checks.Check("crash at the end", [sys.executable, "-c", "raise SystemExit(3)"])
    counted = checks.Check(check.name, check.command, count=lambda: checks.Tally(passed=5))
    assert counted.run() == checks.Tally(passed=5, failed=1)


def test_missing_report_is_a_failure(checks: ModuleType, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    check = checks.Check("silent", [sys.executable, "-c", ""], count=lambda: checks.junit_tally(tmp_path / "none.xml"))
    assert check.run() == checks.Tally(failed=1)
    assert "no readable report" in capfd.readouterr().err


def test_junit_counts(checks: ModuleType, tmp_path: Path) -> None:
    report = tmp_path / "report.xml"
    report.write_text('<testsuites><testsuite tests="9" failures="2" errors="1" skipped="3"/></testsuites>')
    assert checks.junit_tally(report) == checks.Tally(passed=3, failed=3, skipped=3)


def test_conformance_counts_crash_timeout_and_not_run_as_failed(checks: ModuleType, tmp_path: Path) -> None:
    report = tmp_path / "report.json"
    names = ("pass", "unsupported", "waived", "fail", "crash", "timeout", "not_run")
    report.write_text(json.dumps({"counts": {name: 10**place for place, name in enumerate(names)}}))
    assert checks.conformance_tally(report) == checks.Tally(passed=1, failed=1111000, skipped=110)


def test_every_test_file_is_in_one_part(checks: ModuleType) -> None:
    parts = [file for files in checks.parts_of_tests().values() for file in files]
    every = {str(f.relative_to(SCRIPT.parents[1])) for f in (SCRIPT.parents[1] / "tests").rglob("*test*.py")}
    strangers = {f for f in every if not Path(f).name.startswith("test_")}
    assert set(parts) == every - strangers
    assert len(parts) == len(set(parts))
    assert not [f for f in strangers if f.endswith("_test.py")]  # pytest would collect these too


def test_checks_side_by_side_are_all_counted_and_each_has_a_lane(
    checks: ModuleType, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    code = "import os, pathlib, time; p = pathlib.Path(os.environ['TEST_LANE']); p.touch(exist_ok=False); time.sleep(0)"
    command = [sys.executable, "-c", f"import os; os.chdir({str(tmp_path)!r}); {code}; p.unlink(); print('said')"]
    good = [checks.Check(f"good {i}", command) for i in range(4)]
    bad = checks.Check("bad", [sys.executable, "-c", "raise SystemExit(3)"])
    finished = list(checks.side_by_side([*good, bad], 2))
    assert sum((tally for _, _, tally in finished), checks.Tally()) == checks.Tally(passed=4, failed=1)
    assert capfd.readouterr().out.count("said\n") == 4


def test_the_longest_checks_exist(checks: ModuleType, tmp_path: Path) -> None:
    known = {check.name for check in (*checks.static_checks(), *checks.pytest_checks(tmp_path, slow=False))}
    assert set(checks.LONGEST) <= known


def test_a_backend_without_its_device_is_left_out_and_said_so(
    checks: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(checks, "absent_backends", lambda: {"llvm": "no lanes", "sim": "no device"})
    names = [run.name for run, _ in checks.conformance_checks(tmp_path)]
    assert "conformance numpy" in names
    assert "conformance sim h100" in names  # which is there where it is asked for
    assert "conformance llvm" not in names
    assert "conformance llvm: not run: no lanes" in capsys.readouterr().out


def test_every_run_of_the_suite_has_its_certificate_checked(checks: ModuleType, tmp_path: Path) -> None:
    for run, certificate in checks.conformance_checks(tmp_path):
        if certificate is None:  # a part of the suite has no certificate
            assert "--profile" in run.command
            continue
        written = run.command[run.command.index("--certificate") + 1]
        assert certificate.command[1:4] == ["certificate", "verify", written]
