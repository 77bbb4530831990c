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
