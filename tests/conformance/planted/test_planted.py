"""Every planted fault is caught by the cases named for it, and the twin without a fault passes."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

import pytest

from opmux.conformance.planted import table
from opmux.conformance.planted.__main__ import main
from opmux.conformance.planted.catalogue import FAULTS, find
from opmux.conformance.planted.fault import Fault
from opmux.conformance.planted.judge import execute_all, failures, judge, of_pair, registered
from opmux.conformance.planted.twin.backend import Twin
from opmux.conformance.planted.twin.run import null, run_twin
from opmux.conformance.results.outcome import Outcome
from opmux.core.errors import ArgumentError
from opmux.opset.profiles import PROFILES

ROOT = Path(__file__).parents[3]
#: Cases in which no kernel runs, or none of their results is read: they say nothing about what a kernel does.
NO_RESULT = re.compile(r"-(errors|refusal|claims)-|-out-wrong-shape|-shapes-(\w+-)?empty|-shapes-no-indices")


@pytest.mark.parametrize("fault", FAULTS, ids=lambda f: f.name)
def test_fault_is_caught_by_its_cases(fault: Fault) -> None:
    assert judge(fault).missed == ()


def test_faults_are_many_and_told_apart() -> None:
    assert len(FAULTS) >= 150
    assert [name for name, count in Counter(f.name for f in FAULTS).items() if count > 1] == []
    assert all(1 <= len(f.killers) <= 3 for f in FAULTS)
    assert all(f.story.endswith(".") for f in FAULTS)


def test_a_fault_that_nothing_catches_survives() -> None:
    harmless = Fault("harmless", "none", "Nothing.", Twin, ("negative",), ("negative-float32-values",))
    verdict = judge(harmless)
    assert not verdict.killed
    assert "nothing wrong seen" in verdict.missed[0]


def test_a_kill_for_another_reason_does_not_count() -> None:
    killers = ("negative-float32-values",)
    other = Fault("other", "none", "Nothing.", null, ("negative",), killers, says="wrote to operand")
    assert "elements are wrong" in judge(other).missed[0]


@pytest.mark.parametrize("own_device", [False, True], ids=["cpu", "own device"])
def test_the_twin_passes_a_part(own_device: bool) -> None:
    found = run_twin(whole=False, own_device=own_device)
    assert [(r.id, r.message) for r in failures(found)] == []
    assert sum(r.outcome is Outcome.PASS for r in found) > 0.9 * len(found) > 100


@pytest.mark.slow
@pytest.mark.parametrize("own_device", [False, True], ids=["cpu", "own device"])
def test_the_twin_passes_whole(own_device: bool) -> None:
    found = run_twin(whole=True, own_device=own_device)
    assert [(r.id, r.message) for r in failures(found)] == []


@pytest.mark.slow
@pytest.mark.parametrize("fault", FAULTS, ids=lambda f: f.name)
def test_fault_against_every_case_in_its_reach(fault: Fault) -> None:
    verdict = judge(fault, every=True)
    assert verdict.missed == ()
    assert len(verdict.by) < sum(map(len, map(of_pair, fault.reach)))


def _passed_by_the_null_backend(pairs: Iterable[tuple[str, str]], skipped: frozenset[str]) -> list[str]:
    passed = []
    with registered("null", null()) as name:
        for pair in pairs:
            ids = [c.id for c in of_pair(pair) if c.kind not in skipped and not NO_RESULT.search(c.id)]
            passed += [r.id for r in execute_all(name, ids) if r.outcome is Outcome.PASS]
    return passed


def test_the_null_backend_passes_nothing() -> None:
    pairs = [pair for pair in sorted(PROFILES["core-f32"].pairs) if pair[1] != "int32"]
    assert _passed_by_the_null_backend(pairs, frozenset({"property", "determinism", "large"})) == []


@pytest.mark.slow
def test_the_null_backend_passes_nothing_of_all() -> None:
    assert _passed_by_the_null_backend(sorted(PROFILES["core-f32"].pairs), frozenset()) == []


def test_the_page_of_the_docs_is_up_to_date() -> None:
    page = (ROOT / "docs" / "planted-faults.md").read_text(encoding="utf-8")
    assert page == table.to_markdown(FAULTS), "run: python -m opmux.conformance.planted --docs docs/planted-faults.md"


def test_the_command_writes_the_kill_table(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "kills.json"
    assert main(["--only", "last-lane", "zero-stride", "--workers", "2", "--json", str(path)]) == 0
    found = json.loads(path.read_text())
    assert (found["planted"], found["killed"]) == (2, 2)
    assert found["faults"][0]["by"] == ["exp-float32-shapes-lengths"]
    assert re.search(r"killed +last-lane", capsys.readouterr().out)


def test_a_fault_that_does_not_exist_is_told() -> None:
    with pytest.raises(ArgumentError, match="did you mean 'last-lane'"):
        find("last-line")
    assert main(["--only", "last-line"]) == 2
