"""What makes the suite pleasant to work with: shards, resuming, the last failures, second tries, lost devices."""

from __future__ import annotations

import json
import os
import shlex
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from opmux.cli.main import main
from opmux.conformance.cases.enumerate import cases
from opmux.conformance.results.outcome import CaseResult, Outcome
from opmux.conformance.results.report import Report
from opmux.conformance.running import work
from opmux.conformance.running.isolation import Job
from opmux.conformance.running.journal import Journal, keep_last_failed, last_failed
from opmux.conformance.running.run import run
from opmux.conformance.running.selection import Selection, Shard, chosen_cases
from opmux.conformance.target import targets
from opmux.core.errors import ArgumentError
from tests.conformance.zoo import TWINS, Zoo, kernel, registered, sign_of_zero

EXP = {"ops": ("exp",), "dtypes": ("float32",)}
ODD = (sys.executable, "-m", "tests.conformance.odd_worker")


def _command(*arguments: str) -> int:
    with pytest.raises(SystemExit) as caught:
        main(["conformance", *arguments])
    return int(caught.value.code or 0)


def test_shards_share_out_every_case_once() -> None:
    parts = [chosen_cases(Selection(**EXP, shard=Shard(i, 3))).get(("exp", "float32"), ()) for i in (1, 2, 3)]
    ids = [case for part in parts for case in part]
    assert sorted(ids) == sorted(c.id for c in cases("exp", "float32"))
    assert all(parts)


@pytest.mark.parametrize("text", ["0/2", "3/2", "1", "a/b", "1/0", "-1/2", ""])
def test_a_shard_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(ArgumentError, match="I/N"):
        Shard.parse(text)


def test_an_interrupted_run_goes_on_where_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    selection = Selection(("numpy",), **EXP, workers=1)
    first = run(selection)
    monkeypatch.setattr(work, "Runner", _NoRunner)
    again = run(Selection(("numpy",), **EXP, workers=1, resume=True))
    assert [(c.id, c.outcome) for c in again.cases] == [(c.id, c.outcome) for c in first.cases]
    assert len(first.cases) == len(cases("exp", "float32"))


class _NoRunner:
    """In the place of what starts workers: nothing is left to be run."""

    def __init__(self, *anything: object) -> None:
        pass

    def run(self, *anything: object) -> Any:
        raise AssertionError("it runs what was run before")

    def close(self) -> None:
        pass


def test_a_run_without_resume_begins_anew() -> None:
    selection = Selection(("numpy",), **EXP, cases=("exp-float32-values",), workers=1)
    run(selection)
    ready = targets("numpy")
    job = Job("numpy", "cpu:0", "exp", "float32", False, ("exp-float32-values",))
    with Journal.of(replace(selection, resume=True), ready) as journal:
        assert set(journal.known(job)) == {"exp-float32-values"}
    with Journal.of(selection, ready) as journal:
        assert journal.known(job) == {}


def test_what_lost_its_device_is_tried_again_where_a_run_goes_on(tmp_path: Path) -> None:
    job = Job("acme", "cpu:0", "exp", "float32", False, ("exp-float32-a", "exp-float32-b"))
    ended = {"exp-float32-a": Outcome.PASS, "exp-float32-b": Outcome.NOT_RUN}
    found = [CaseResult(i, *("acme", "exp", "float32", "values", "cpu:0"), o) for i, o in ended.items()]
    with Journal(tmp_path / "run-0.jsonl", found) as journal:
        assert set(journal.known(job)) == {"exp-float32-a"}


def test_the_last_failures_are_remembered_until_they_pass() -> None:
    with registered("zoo-last", Zoo([kernel("multiply", sign_of_zero)])) as name:
        found = run(Selection((name,), ops=("multiply",), dtypes=("float32",), isolate=False))
        keep_last_failed(found.cases, found.failures)
        failed = last_failed([name])
        assert set(failed) == {c.id for c in found.failures} != set()
        keep_last_failed([c.turned(Outcome.PASS, "") for c in found.failures[1:]], [])
        assert last_failed([name]) == (found.failures[0].id,)


def test_lf_runs_what_failed_and_everything_where_nothing_did(capsys: pytest.CaptureFixture[str]) -> None:
    assert _command("--backend", "numpy", "--op", "exp", "--dtype", "float32", "--lf") == 0
    captured = capsys.readouterr()
    assert "nothing failed last time" in captured.err
    assert f"{len(cases('exp', 'float32'))} cases" in captured.out


def test_passing_when_run_again_is_a_flaky_failure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ODD_MARK", str(tmp_path / "mark"))
    with registered("zoo-flaky", Zoo([kernel("exp", TWINS["exp"])])) as name:
        found = run(Selection((name,), **EXP, cases=("exp-float32-values",), command=ODD, workers=1))
    (result,) = found.cases
    assert (result.outcome, result.flaky) == (Outcome.FAIL, True)
    assert "passed when it was run again" in result.message
    assert found.exit_code == 1


def test_after_a_lost_device_the_rest_is_not_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ODD_MARK", str(tmp_path / "mark"))
    selection = Selection((), ops=("exp", "multiply"), dtypes=("float32",), command=ODD, workers=1)
    with registered("zoo-lost", Zoo([kernel("exp", TWINS["exp"]), kernel("multiply", TWINS["multiply"])])) as name:
        found = run(replace(selection, backends=(name,)))
    assert {c.outcome for c in found.cases if c.op == "exp"} == {Outcome.NOT_RUN}
    assert {c.outcome for c in found.cases if c.op == "multiply"} == {Outcome.PASS, Outcome.UNSUPPORTED}
    assert [c.lost for c in found.cases].count(True) == 1
    assert found.cases[-1].message.startswith("cpu:0 was lost in exp-float32")
    assert found.exit_code == 3


def test_a_device_lost_to_one_process_costs_a_case(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ODD_MARK", str(tmp_path / "mark"))
    selection = Selection((), ops=("exp", "multiply"), dtypes=("float32",), command=ODD, workers=1)
    with registered("zoo-stray", Zoo([kernel("exp", TWINS["exp"]), kernel("multiply", TWINS["multiply"])])) as name:
        ids = [c.id for op in ("multiply", "exp") for c in cases(op, "float32")[:6]]
        found = run(replace(selection, backends=(name,), cases=tuple(ids)))
    of_exp = [c for c in found.cases if c.op == "exp"]
    crashed = [c for c in of_exp if c.outcome is Outcome.CRASH]
    assert len(crashed) == 3
    assert "in a fresh process cpu:0 works" in crashed[0].message
    assert {c.outcome for c in found.cases if c.op == "multiply"} <= {Outcome.PASS, Outcome.UNSUPPORTED}
    rest = [c for c in of_exp if c.outcome is Outcome.NOT_RUN]
    assert "exp on float32 has lost cpu:0 3 times" in rest[0].message
    assert found.exit_code == 1


def test_a_run_ends_within_its_time_and_goes_on() -> None:
    selection = Selection(("numpy",), **EXP, workers=1)
    part = run(replace(selection, within=1e-3))
    whole = len(cases("exp", "float32"))
    assert 0 < len(part.cases) < whole
    assert part.stopped
    assert f"{whole - len(part.cases)} cases were left when the time was over" in part.summary()
    assert part.exit_code == 3
    found = run(replace(selection, resume=True))
    times = {c.id: c.seconds for c in found.cases}
    assert all(times[c.id] == c.seconds for c in part.cases), "what was found before was run again"
    assert (len(found.cases), found.stopped, found.exit_code) == (whole, False, 0)
    with pytest.raises(ArgumentError, match="more than 0"):
        replace(selection, within=0.0)


def test_under_claims_warn_and_fail_when_asked_to() -> None:
    with registered("zoo-under", Zoo([kernel("exp", TWINS["exp"])])) as name:
        found = run(Selection((name,), **EXP, cases=("exp-float32-values",), isolate=False))
    under = (found.cases[0].turned(Outcome.UNDER_CLAIM, "it also takes int8"),)
    assert Report((name,), (*found.cases, *under)).exit_code == 0
    assert Report((name,), (*found.cases, *under), strict_claims=True).exit_code == 1
    assert "it also takes int8" in Report((name,), under).summary()


def test_a_baseline_leaves_regressions_only() -> None:
    with registered("zoo-base", Zoo([kernel("multiply", sign_of_zero)])) as name:
        found = run(Selection((name,), ops=("multiply",), dtypes=("float32",), isolate=False))
    known = frozenset((c.backend, c.device, c.id) for c in found.failures)
    assert replace(found, baseline=known).exit_code == 0
    assert replace(found, baseline=known - {min(known)}).exit_code == 1
    assert "known failures" in replace(found, baseline=known).summary()


def test_exact_ids_name_their_neighbours() -> None:
    with pytest.raises(ArgumentError, match="did you mean 'exp-float32-values'"):
        chosen_cases(Selection(**EXP, cases=("exp-float32-value",)))
    with pytest.raises(ArgumentError, match="did you mean 'log-float64-values'"):
        chosen_cases(Selection(ops=("log",), cases=("log-float64-value",)))


def test_json_holds_reproducers_that_run_the_case(capsys: pytest.CaptureFixture[str]) -> None:
    case = "exp-float32-special-exp(-inf) -> +0"
    assert _command("--backend", "numpy", "--op", "exp", "--dtype", "float32", "--case", case, "--json") == 0
    (found,) = json.loads(capsys.readouterr().out)["cases"]
    assert shlex.split(found["reproducer"])[1:] == [
        "conformance", "--backend", "numpy", "--op", "exp", "--dtype", "float32", "--case", case,
    ]  # fmt: skip


def test_a_profile_that_was_asked_for_and_is_not_passed_fails() -> None:
    with registered("zoo-begun", Zoo([kernel("exp", TWINS["exp"])])) as name:
        selection = Selection((name,), profile="complex", dtypes=(), isolate=False)
        refused = run(selection)
    passing = replace(refused.cases[0], outcome=Outcome.PASS, message="")
    report = replace(refused, cases=(passing, *refused.cases[1:]))
    assert report.exit_code == 1
    assert "zoo-begun does not pass complex, which was asked for" in report.summary()


def test_an_empty_selection_says_why_and_what_there_is() -> None:
    with pytest.raises(ArgumentError, match="core-f32 does not demand exp on float32"):
        chosen_cases(Selection(**EXP, profile="core-f32"))
    with pytest.raises(ArgumentError, match="dtypes taken are bfloat16"):
        chosen_cases(Selection(ops=("exp",), dtypes=("int32",)))


def test_what_nothing_serves_is_told() -> None:
    with registered("zoo-lacks", Zoo([kernel("exp", TWINS["exp"])])) as name:
        report = run(Selection((name,), ops=("sum",), dtypes=("float32",), isolate=False))
    assert "not served: zoo-lacks sum float32: " in report.summary()


def test_a_file_that_cannot_be_written_is_told_before_the_run(tmp_path: Path) -> None:
    for option in ("--certificate", "--html", "--junit", "--markdown"):
        assert _command("--backend", "numpy", option, str(tmp_path / "nowhere" / "file")) == 2
        assert _command("--backend", "numpy", option, str(tmp_path)) == 2


def test_only_the_newest_journals_stay(tmp_path: Path) -> None:
    old = [tmp_path / f"run-{i:03}.jsonl" for i in range(30)]
    for age, path in enumerate(old):
        path.write_text("")
        os.utime(path, (age, age))
    Journal(tmp_path / "run-new.jsonl").__exit__()
    kept = sorted(p.name for p in tmp_path.iterdir())
    assert kept == [*(f"run-{i:03}.jsonl" for i in range(15, 30)), "run-new.jsonl"]
