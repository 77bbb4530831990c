"""A whole run: probes, cases one after the other, probes again, the report."""

from __future__ import annotations

import datetime
import json
import math
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

from opmux.conformance.performance.timing import Settings

from . import machine, report, schema
from .case import Case
from .errors import BenchmarkError, UnknownNameError, WorkerError
from .measure import Outcome, measure_case
from .peers import PROBE, missing
from .pool import ROOT, Pool, clean_environment, pool
from .suites import Suite

#: Settings of a quick run: enough to go through everything once.
QUICK: Final = Settings(rounds=2, sample_seconds=2e-4, budget_seconds=0.05, fewest=1, most_repetitions=1000)
#: Told before each case: its number, how many there are, its name; and after the last one.
Progress = Callable[[int, int, str], None]
#: Given the report after every case, as far as it is made.
Keep = Callable[[dict[str, Any]], None]


@dataclass(frozen=True, slots=True)
class Request:
    """What to run.

    Attributes:
        suite: the benchmark.
        peers: whom to measure; those that are not installed are left out with a note.
        settings: how.
        quick: tiny cases, for tests.
        only: cases whose name contains this.
        timeout: seconds that any one answer of a worker may take.
        within: seconds after which no case is begun any more.
    """

    suite: Suite
    peers: Sequence[str]
    settings: Settings
    quick: bool = False
    only: str = ""
    timeout: float = 120.0
    within: float = math.inf

    def cases(self) -> list[Case]:
        """Return the cases.

        Raises:
            UnknownNameError: where none is left.
        """
        found = self.suite.cases(self.quick)
        chosen = [c for c in found if self.only in c.name]
        if not chosen:
            names = f"the first of {len(found)} is {found[0].name!r}"
            raise UnknownNameError(f"no case of {self.suite.name} contains {self.only!r}; {names}")
        return chosen


def run(request: Request, progress: Progress, keep: Keep = lambda made: None) -> dict[str, Any]:
    """Run a benchmark and return its report, checked against the schema."""
    begun, cases = time.monotonic(), request.cases()
    made: dict[str, Any] = {
        "schema": schema.VERSION,
        "benchmark": request.suite.name,
        "unit": request.suite.unit,
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "quotable": not request.quick,
        "settings": {k: float(v) for k, v in asdict(request.settings).items()},
        "machine": machine.describe(),
        "peers": [],
        "probes": [],
        "cases": [],
        "left_out": [],
        "measurements": [],
        "summary": [],
        "targets": [],
    }
    total = len(cases)
    with pool(request.peers, request.timeout) as workers:
        made["peers"], usable = _start(workers)
        progress(0, total, "probes")
        made["probes"] += _limits(request, "before")
        for number, case in enumerate(cases):
            if time.monotonic() - begun > request.within:
                made["left_out"].append(case.name)
                continue
            progress(number, total, case.name)
            outcomes = measure_case(case, [*usable, PROBE], workers.worker, request.settings)
            _add(made, case, outcomes)
            _judge(request, made)
            keep({**made, "left_out": [c.name for c in cases[number + 1 :]]})
        progress(total, total, "probes")
        made["probes"] += _limits(request, "after")
    _judge(request, made)
    schema.check_report(made)
    return made


def _judge(request: Request, made: dict[str, Any]) -> None:
    """Complete a report with what depends on all that was measured so far."""
    made["targets"] = report.targets(request.suite, made["summary"])
    made["machine"]["load_after"] = machine.load_average()


def _add(made: dict[str, Any], case: Case, outcomes: dict[str, Outcome]) -> None:
    made["cases"].append(case.to_data())
    made["measurements"] += report.measurements(case, outcomes)
    made["summary"] += report.summary(case, outcomes)


def _start(workers: Pool) -> tuple[list[dict[str, Any]], list[str]]:
    """Start the workers; return what became of each peer, and those that can run."""
    described: list[dict[str, Any]] = []
    for peer in workers.peers:
        note, status, versions = missing(peer) or "", "ran", {}
        if note:
            status = "missing"
        else:
            try:
                versions = workers.worker(peer).hello()
            except BenchmarkError as error:
                status, note = "failed", str(error)
        described.append({"name": peer, "status": status, "note": note, "versions": versions})
    usable = [d["name"] for d in described if d["status"] == "ran"]
    if not usable:
        raise WorkerError("no peer can run: " + "; ".join(f"{d['name']}: {d['note']}" for d in described))
    return described, usable


def _limits(request: Request, when: str) -> list[dict[str, Any]]:
    """Return the limits of the machine; those of another device are measured beside each case alone."""
    return probes(when, request.quick) if request.suite.device == "cpu" else []


def probes(when: str, quick: bool) -> list[dict[str, Any]]:
    """Return the machine's limits, measured now, in a process of their own.

    Raises:
        WorkerError: when that process fails.
    """
    command = [sys.executable, "-m", "benchmarks.probe_table", *(["--quick"] if quick else [])]
    try:
        done = subprocess.run(
            command, cwd=ROOT, env=clean_environment(), capture_output=True, text=True, timeout=300, check=True
        )
    except subprocess.CalledProcessError as error:
        last = (error.stderr or "").strip().splitlines()[-1:]
        raise WorkerError(f"the probes failed: {' '.join(last)}") from error
    except subprocess.TimeoutExpired as error:
        raise WorkerError("the probes took more than 300 s") from error
    return [{"when": when, **row} for row in json.loads(done.stdout)]
