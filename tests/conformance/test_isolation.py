"""Whatever a case does to its process costs that one case, and the run goes on and reports."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from opmux.conformance.results.outcome import CaseResult, Outcome
from opmux.conformance.running import isolation
from opmux.conformance.running.isolation import Job, Runner, Worker, WorkerLostError
from opmux.core.errors import ConformanceError

WORKER = (sys.executable, "-m", "tests.conformance.faulty_worker")
ROOT = Path(__file__).parents[2]
BEFORE, LOST, AFTER = "exp-float32-values", "exp-float32-shapes-0d", "exp-float32-strides-step"


@pytest.fixture(autouse=True)
def _at_the_root(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)


def _results(
    monkeypatch: pytest.MonkeyPatch, fault: str, limit: float = 60, memory: int | None = None
) -> dict[str, CaseResult]:
    monkeypatch.setenv("ZOO_FAULT", fault)
    runner = Runner(limit, WORKER, memory)
    try:
        job = Job("zoo-down", "cpu:0", "exp", "float32", False, (BEFORE, LOST, AFTER))
        return {r.id: r for r in runner.run(job)}
    finally:
        runner.close()


@pytest.mark.parametrize(
    ("fault", "says"),
    [
        ("segfault", "SIGSEGV"),
        ("abort", "SIGABRT"),
        ("killed", "SIGKILL"),  # as the system does when memory runs out
        ("exits", "exit status 0"),
        ("exits_at_once", "exit status 0"),
        ("interrupts", "SIGINT"),
        ("closes", "exit status"),
        ("nonsense", "where only the worker writes"),
        ("half_a_message", "no result"),
    ],
)
def test_a_crash_costs_one_case(monkeypatch: pytest.MonkeyPatch, fault: str, says: str) -> None:
    found = _results(monkeypatch, fault)
    assert found[LOST].outcome is Outcome.CRASH
    assert says in found[LOST].message
    assert (found[BEFORE].outcome, found[AFTER].outcome) == (Outcome.PASS, Outcome.PASS)


@pytest.mark.parametrize(("fault", "place"), [("hangs_in_c", "_hang_in_c"), ("deadlocks", "_deadlock")])
def test_a_hang_costs_one_case_and_says_where(monkeypatch: pytest.MonkeyPatch, fault: str, place: str) -> None:
    found = _results(monkeypatch, fault, limit=8)
    assert found[LOST].outcome is Outcome.TIMEOUT
    assert "no answer within 8 s" in found[LOST].message
    assert place in found[LOST].message
    assert (found[BEFORE].outcome, found[AFTER].outcome) == (Outcome.PASS, Outcome.PASS)


def test_a_worker_that_closes_its_output_and_stays_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    found = _results(monkeypatch, "closes_and_stays")
    assert found[LOST].outcome is Outcome.CRASH
    assert "closed its output and went on" in found[LOST].message
    assert found[AFTER].outcome is Outcome.PASS


def test_memory_without_end_costs_one_case(monkeypatch: pytest.MonkeyPatch) -> None:
    found = _results(monkeypatch, "eats", memory=1 << 30)
    assert found[LOST].outcome is Outcome.CRASH
    assert "bytes of memory, more than the 1,073,741,824" in found[LOST].message
    assert found[AFTER].outcome is Outcome.PASS


def test_a_death_right_after_a_case_is_that_cases(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing was running by then, or the next case was: either way no case goes without a result."""
    found = _results(monkeypatch, "dies_soon")
    outcomes = [found[case].outcome for case in (BEFORE, LOST, AFTER)]
    assert set(outcomes) <= {Outcome.PASS, Outcome.CRASH}
    assert len(found) == 3


@pytest.mark.parametrize("fault", ["prints", "reads", "prints_much"])
def test_what_a_backend_prints_or_reads_is_no_message(monkeypatch: pytest.MonkeyPatch, fault: str) -> None:
    found = _results(monkeypatch, fault)
    assert [r.outcome for r in found.values()] == [Outcome.PASS] * 3


def test_what_a_case_has_started_ends_with_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("FATAL_CHILD", str(tmp_path / "child"))
    found = _results(monkeypatch, "leaves_a_child", limit=8)
    assert found[LOST].outcome is Outcome.TIMEOUT
    assert _ended(int((tmp_path / "child").read_text()))


def _ended(pid: int, seconds: float = 5) -> bool:
    """Whether a process is gone within a time; a zombie is, though nobody has asked for its status."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        try:
            state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        except OSError:
            return True
        if state == "Z":
            return True
        time.sleep(0.05)
    return False


def test_a_worker_that_dies_outside_of_cases_is_no_verdict() -> None:
    runner = Runner(5, (sys.executable, "-c", "raise SystemExit(7)"))
    with pytest.raises(ConformanceError, match="exit status 7"):
        list(runner.run(Job("numpy", "cpu:0", "exp", "float32", True, (BEFORE,))))


def _speaking(*lines: str) -> Worker:
    """Return a process that says a few lines and waits."""
    code = "import sys, time; [print(line, flush=True) for line in sys.argv[1:]]; time.sleep(600)"
    return Worker((sys.executable, "-c", code, '{"ready": true}', *lines))


@pytest.mark.parametrize("line", ["fan speed", "3", "[]", "{", "\x00"])
def test_a_line_that_is_no_message_ends_the_worker(line: str) -> None:
    worker = _speaking(line.replace("\x00", "nul"))
    with pytest.raises(WorkerLostError, match="where only the worker writes"):
        worker.receive(30)
    worker.kill()


def test_a_death_after_the_last_result_is_not_lost() -> None:
    """The worker says that a case passed, and is gone before it says anything else."""
    result = CaseResult(LOST, "numpy", "exp", "float32", "shapes", "cpu:0", Outcome.PASS)
    said = [{"ready": True}, {"start": LOST, "kind": "shapes"}, {"result": result.to_dict()}]
    first, *rest = map(json.dumps, said)
    say = "import sys; say = lambda *lines: print(*lines, sep='\\n', flush=True); "
    code = f"{say} say({first!r}); input(); say(*{rest!r}); sys.exit(9)"
    runner = Runner(30, (sys.executable, "-c", code))
    results = runner.run(Job("numpy", "cpu:0", "exp", "float32", False, (LOST, AFTER)))
    assert next(results).outcome is Outcome.PASS
    again = next(results)
    assert (again.id, again.outcome) == (LOST, Outcome.CRASH)
    assert "right after this case: the worker ended with exit status 9" in again.message
    with pytest.raises(ConformanceError, match="exit status 9"):  # the next one comes no further
        list(results)


def test_a_runner_that_is_ended_gives_no_more_results(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ZOO_FAULT", "hangs")
    runner = Runner(60, WORKER)
    seen: list[CaseResult] = []
    job = Job("zoo-down", "cpu:0", "exp", "float32", False, (LOST, BEFORE))
    thread = threading.Thread(target=lambda: seen.extend(runner.run(job)))
    thread.start()
    time.sleep(3)
    runner.end()
    thread.join(20)
    assert not thread.is_alive()
    assert LOST not in {r.id for r in seen}
    runner.close()


def test_the_limit_of_memory_is_below_what_the_machine_has() -> None:
    whole = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    assert 0 < isolation.memory_limit() <= whole * 3 / 4


@pytest.fixture
def interrupted(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """A run whose workers hang, in a process of its own."""
    code = (
        # A shell that starts its children in the background has them ignore interrupts.
        "import signal; signal.signal(signal.SIGINT, signal.default_int_handler);"
        "from opmux.conformance.running.run import run; from opmux.conformance.running.selection import Selection;"
        "import sys; from opmux.core.plugins import manager; from tests.conformance import fatal;"
        "from tests.conformance.zoo import Zoo, kernel;"
        "manager.register('zoo-down', Zoo([kernel('exp', fatal.hangs)]));"
        f"run(Selection(('zoo-down',), ops=('exp',), cases=({LOST!r},), command={WORKER!r}))"
    )
    environment = {**os.environ, "ZOO_FAULT": "leaves_a_child", "FATAL_CHILD": str(tmp_path / "child")}
    with subprocess.Popen(
        [sys.executable, "-c", code], env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        yield process
        process.kill()


def test_an_interrupt_ends_the_run_and_its_workers(interrupted: subprocess.Popen[str], tmp_path: Path) -> None:
    child, deadline = tmp_path / "child", time.monotonic() + 60
    while not (child.exists() and child.read_text()) and time.monotonic() < deadline:
        time.sleep(0.1)
    interrupted.send_signal(signal.SIGINT)
    _, errors = interrupted.communicate(timeout=30)
    assert errors.strip().endswith("KeyboardInterrupt")
    assert _ended(int(child.read_text()))
