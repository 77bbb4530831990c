"""Processes of trials: what hangs or crashes costs one, and a GPU that does not answer ends the run."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from tests.backends.cuda.hardware import __main__ as command_line
from tests.backends.cuda.hardware.catalogue import FIRST, TRIALS, in_order
from tests.backends.cuda.hardware.running import Seen, run, seen
from tests.backends.cuda.hardware.trial import Trial

PASSES = 'print(\'{"outcome": "pass", "said": "all is well"}\')'
HANGS = "import time; print('on my way', flush=True); time.sleep(60)"
CRASHES = "import os; print('so far', flush=True); os.abort()"


def python(text: str) -> list[str]:
    return [sys.executable, "-c", text]


def brief(name: str, *, alone: bool = True) -> Trial:
    return replace(TRIALS["scan"], name=name, seconds=0.6, alone=alone)


@pytest.mark.parametrize(
    ("text", "outcome", "said"),
    [(PASSES, "pass", "all is well"), (HANGS, "timeout", "on my way"), (CRASHES, "crash", "so far"),
     (f"{PASSES}; {CRASHES}", "crash", "-6"), ("print('{}')", "crash", "ended with 0")],
)  # fmt: skip
def test_an_outcome_says_what_became_of_the_process(text: str, outcome: str, said: str) -> None:
    limit = 20.0 if outcome != "timeout" else 1.0
    found = seen(brief("t"), python(text), slower=limit)
    assert (found.outcome, said in found.said) == (outcome, True), found


def outcomes(texts: dict[str, str], first: Sequence[str]) -> list[tuple[str, str]]:
    """Run trials of which each is a text; the first one's follow each other."""
    turns = iter(first)
    trials = [replace(TRIALS[FIRST], seconds=20.0), *(replace(brief(n), seconds=20.0) for n in texts)]
    trials = [replace(t, seconds=1.0) if texts.get(t.name) == HANGS else t for t in trials]
    found = run(trials, lambda name: python(next(turns) if name == FIRST else texts[name]))
    return [(s.name, s.outcome) for s in found]


def test_a_run_goes_on_after_a_hang_where_the_gpu_still_answers() -> None:
    found = outcomes({"a": HANGS, "b": PASSES}, [PASSES, PASSES])
    assert found == [(FIRST, "pass"), ("a", "timeout"), (f"{FIRST}, after a", "pass"), ("b", "pass")]


def test_nothing_is_run_on_a_gpu_that_no_longer_answers() -> None:
    found = outcomes({"a": CRASHES, "b": PASSES}, [PASSES, CRASHES])
    assert found[-2:] == [(f"{FIRST}, after a", "crash"), ("b", "not run")]
    assert outcomes({"a": PASSES}, [CRASHES]) == [(FIRST, "crash"), ("a", "not run")]


def test_what_was_seen_is_kept_after_each_trial(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "seen.json"
    kept: list[int] = []

    def few(trials: object, **how: object) -> object:
        for name, outcome in ((FIRST, "pass"), ("scan", "fail")):
            yield Seen(name, outcome, 1.0, "AssertionError: 3 in place of 4\nline")
            kept.append(len(json.loads(file.read_text())["trials"]))

    monkeypatch.setattr(command_line, "run", few)
    assert command_line.main(["scan", "--json", str(file)]) == 1
    assert kept == [1, 2]
    assert "fail" in capsys.readouterr().out


def test_without_a_gpu_the_reason_is_that_of_doctor(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(command_line, "run", lambda trials, **how: iter([Seen(FIRST, "no GPU", 0.1, "no driver")]))
    assert command_line.main([]) == 2
    assert "no driver" in capsys.readouterr().out


def test_a_gpu_that_does_not_answer_has_a_status_of_its_own(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    ends = [Seen(FIRST, "crash", 0.1, "aborted")], [Seen(FIRST, "pass", 0.1, ""), Seen("scan", "not run", 0.0, "")]
    for end in ends:
        monkeypatch.setattr(command_line, "run", lambda trials, end=end, **how: iter(end))
        assert command_line.main([]) == 3
        assert "does not answer" in capsys.readouterr().out


def test_every_trial_is_listed(capsys: pytest.CaptureFixture[str]) -> None:
    assert command_line.main(["--list"]) == 0
    assert len(capsys.readouterr().out.splitlines()) == len(TRIALS) == len(in_order())
