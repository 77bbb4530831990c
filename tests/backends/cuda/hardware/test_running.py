"""Processes of trials: what hangs or crashes costs one, and a GPU that does not answer ends the run."""

from __future__ import annotations

import json
import select
import signal
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tests.backends.cuda.hardware import __main__ as command_line
from tests.backends.cuda.hardware import running
from tests.backends.cuda.hardware.catalogue import FIRST, TRIALS, in_order
from tests.backends.cuda.hardware.running import Seen, run, seen
from tests.backends.cuda.hardware.trial import Trial

PASSES = 'print(\'{"outcome": "pass", "said": "all is well"}\')'
HANGS = "import time; print('on my way', flush=True); time.sleep(600)"
CRASHES = "import os; print('so far', flush=True); os.abort()"


def python(text: str) -> list[str]:
    return [sys.executable, "-c", text]


def brief(name: str, text: str, *, alone: bool = True) -> Trial:
    """A trial that has time enough on the busiest machine, but where it hangs."""
    return replace(TRIALS["scan"], name=name, seconds=0.3 if text == HANGS else 60.0, alone=alone)


@pytest.fixture(autouse=True)
def started(monkeypatch: pytest.MonkeyPatch) -> list[subprocess.Popen[str]]:
    """Processes whose time begins when they have said something, or ended: Python may start late."""
    found: list[subprocess.Popen[str]] = []

    class Started(subprocess.Popen[str]):
        def __init__(self, *given: Any, **how: Any) -> None:
            super().__init__(*given, **how)
            found.append(self)

        def communicate(self, *given: Any, **how: Any) -> tuple[str, str]:
            select.select([self.stdout], [], [])
            return super().communicate(*given, **how)

    monkeypatch.setattr(running, "subprocess", SimpleNamespace(**{**vars(subprocess), "Popen": Started}))
    return found


@pytest.mark.parametrize(
    ("text", "outcome", "said"),
    [(PASSES, "pass", "all is well"), (HANGS, "timeout", "on my way"), (CRASHES, "crash", "so far"),
     (f"{PASSES}; {CRASHES}", "crash", "-6"), ("print('{}')", "crash", "ended with 0")],
)  # fmt: skip
def test_an_outcome_says_what_became_of_the_process(text: str, outcome: str, said: str) -> None:
    found = seen(brief("t", text), python(text))
    assert (found.outcome, said in found.said) == (outcome, True), found


def test_a_trial_may_be_given_more_time() -> None:
    late = "import time; print('so far', flush=True); time.sleep(1); " + PASSES
    assert seen(replace(brief("t", late), seconds=1e-3), python(late), slower=6e4).outcome == "pass"


def outcomes(texts: dict[str, str], first: Sequence[str], *, alone: bool = True) -> list[tuple[str, str]]:
    """Run trials of which each is a text; the first one's follow each other."""
    turns = iter(first)
    trials = [brief(FIRST, ""), *(brief(name, text, alone=alone) for name, text in texts.items())]
    found = run(trials, lambda name: python(next(turns) if name == FIRST else texts[name]))
    return [(s.name, s.outcome) for s in found]


def test_a_run_goes_on_after_a_hang_where_the_gpu_still_answers() -> None:
    found = outcomes({"a": HANGS, "b": PASSES}, [PASSES, PASSES])
    assert found == [(FIRST, "pass"), ("a", "timeout"), (f"{FIRST}, after a", "pass"), ("b", "pass")]


def test_nothing_is_run_on_a_gpu_that_no_longer_answers() -> None:
    found = outcomes({"a": CRASHES, "b": PASSES}, [PASSES, CRASHES])
    assert found[-2:] == [(f"{FIRST}, after a", "crash"), ("b", "not run")]
    assert outcomes({"a": PASSES}, [CRASHES]) == [(FIRST, "crash"), ("a", "not run")]


def test_after_a_crash_of_those_side_by_side_the_gpu_is_asked_too() -> None:
    found = outcomes({"a": CRASHES, "b": PASSES}, [PASSES, PASSES], alone=False)
    assert set(found[1:3]) == {("a", "crash"), ("b", "pass")}
    assert found[3:] == [(f"{FIRST}, after a", "pass")]


def test_who_reads_no_further_waits_for_none_and_leaves_none(
    monkeypatch: pytest.MonkeyPatch, started: list[subprocess.Popen[str]]
) -> None:
    monkeypatch.setattr(running, "usable_cpus", lambda: 2)
    trials = [brief(FIRST, ""), *(brief(name, "", alone=False) for name in "abcd")]
    texts = {FIRST: PASSES, "a": PASSES}
    found = run(trials, lambda name: python(texts.get(name, HANGS)))
    assert [next(found).name for _ in range(2)] == [FIRST, "a"]
    found.close()  # it would be 60 s for b and c, and again for d
    hung = [p.returncode for p in started if HANGS in p.args]
    assert hung in ([-signal.SIGKILL], [-signal.SIGKILL] * 2)


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
    hung, after = Seen("scan", "timeout", 0.1, ""), Seen(f"{FIRST}, after scan", "crash", 0.1, "aborted")
    ends = [Seen(FIRST, "crash", 0.1, "aborted")], [Seen(FIRST, "pass", 0.1, ""), hung, after]
    for end in ends:
        monkeypatch.setattr(command_line, "run", lambda trials, end=end, **how: iter(end))
        assert command_line.main([]) == 3
        assert "does not answer" in capsys.readouterr().out


def test_every_trial_is_listed(capsys: pytest.CaptureFixture[str]) -> None:
    assert command_line.main(["--list"]) == 0
    assert [line[14:].strip() for line in capsys.readouterr().out.splitlines()] == [t.name for t in in_order()]
    assert len(in_order()) == len(TRIALS)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["nothing"], "there are: "),
        (["--json", "/nonexistent/x.json"], "cannot write /nonexistent/x.json"),
        (["--slower", "0"], "--slower 0: it must be a number above 0"),
        (["--slower", "nan"], "--slower nan"),
        (["--under", "no-such-command -x"], "there is no command 'no-such-command'"),
        (["--under", "'"], "--under ': No closing quotation"),
    ],
)
def test_a_mistake_is_told_before_anything_runs(
    arguments: list[str], said: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(command_line, "run", lambda *given, **how: pytest.fail("it ran"))
    with pytest.raises(SystemExit) as ended:
        command_line.main(arguments)
    assert ended.value.code == 2
    assert said in capsys.readouterr().err
