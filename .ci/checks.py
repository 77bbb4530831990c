"""Run every check of the project, all of them even when one fails, and end with one summary line.

Called by `make test`, `make test-all` and `make lint` with the interpreter of `.venv`, from the checkout's root.
Only the standard library is used here, so that a broken dependency shows as a failed check and not as a traceback.
"""

from __future__ import annotations

import argparse
import json
import os
import queue
import subprocess
import sys
import tempfile
import threading
import time
import xml.etree.ElementTree as ET
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from importlib.metadata import entry_points
from pathlib import Path
from typing import IO

ROOT = Path(__file__).resolve().parent.parent
BIN = Path(sys.executable).parent  # not resolved: the tools lie beside the venv's link, not beside what it points to
FAILED_OUTCOMES = ("fail", "crash", "timeout", "not_run")
# The longest of the checks that run beside each other, longest first: one that begins last leaves the other cores idle.
LONGEST = (
    "pytest tests/conformance",
    "pytest tests/conformance/certificates",
    "pytest tests/backends/cuda",
    "pytest tests/backends/cuda/compiling",
    "pytest tests/backends/llvm",
    "pytest tests/examples",
    "pytest tests/cli",
    "pytest tests/bad_input",
    "pytest tests/conformance/planted",
    "mypy",
)
# Tests start hundreds of processes, and each would compile every module of the checkout again, which takes a second.
COMPILED_ONCE = {"PYTHONDONTWRITEBYTECODE": ""}


@dataclass(frozen=True)
class Tally:
    """How many single checks passed, failed, and were left out with a reason."""

    passed: int = 0
    failed: int = 0
    skipped: int = 0

    def __add__(self, other: Tally) -> Tally:
        return Tally(self.passed + other.passed, self.failed + other.failed, self.skipped + other.skipped)

    def __str__(self) -> str:
        text = f"{self.passed} passed, {self.failed} failed"
        return f"{text}, {self.skipped} skipped" if self.skipped else text


@dataclass(frozen=True)
class Check:
    """One command; `count` reads a finer tally than its exit status from the report that it wrote."""

    name: str
    command: list[str]
    environment: dict[str, str] = field(default_factory=dict)
    count: Callable[[], Tally] | None = None

    def run(self, lane: int = 0, output: IO[str] | None = None) -> Tally:
        """Run it, in one of the lanes side by side; what it prints goes to `output`, or where this process prints."""
        environment = os.environ | COMPILED_ONCE | {"TEST_LANE": str(lane)} | self.environment
        status = subprocess.run(
            self.command,
            cwd=ROOT,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=None if output is None else subprocess.STDOUT,
            check=False,
        ).returncode
        if self.count is None:
            return Tally(passed=1) if status == 0 else Tally(failed=1)
        try:
            tally = self.count()
        except (OSError, ValueError, KeyError, ET.ParseError) as error:
            print(f"{self.name}: no readable report (exit status {status}): {error!r}", file=sys.stderr)
            return Tally(failed=1)
        # A run that counts no failure and yet exits with an error (a crash at the end, a session hook) is a failure.
        return tally if status == 0 or tally.failed else tally + Tally(failed=1)


def junit_tally(report: Path) -> Tally:
    suites = list(ET.parse(report).getroot().iter("testsuite"))
    total, bad, skipped = (
        sum(int(suite.get(key, "0")) for suite in suites for key in keys)
        for keys in (("tests",), ("failures", "errors"), ("skipped",))
    )
    return Tally(max(total - bad - skipped, 0), bad, skipped)


def conformance_tally(report: Path) -> Tally:
    counts: dict[str, int] = json.loads(report.read_text(encoding="utf-8"))["counts"]
    failed = sum(counts[outcome] for outcome in FAILED_OUTCOMES)
    return Tally(counts["pass"], failed, counts["unsupported"] + counts["waived"])


def static_checks() -> Iterator[Check]:
    yield Check("ruff", [str(BIN / "ruff"), "check", "."])
    # The symlink gives mypy the package under its import name, whatever the checkout's folder is called.
    yield Check("mypy", [str(BIN / "mypy"), "--strict", "-p", "opmux"], {"MYPYPATH": str(ROOT / ".venv" / "src")})
    yield Check("import-linter", [str(BIN / "lint-imports")])


def parts_of_tests() -> dict[str, list[str]]:
    """Return the test files of every folder that has some: each is run by a process of its own."""
    found: dict[str, list[str]] = {}
    for file in sorted((ROOT / "tests").rglob("test_*.py")):
        found.setdefault(str(file.parent.relative_to(ROOT)), []).append(str(file.relative_to(ROOT)))
    return found


def pytest_checks(reports: Path, slow: bool) -> Iterator[Check]:
    for folder, files in parts_of_tests().items():
        junit = reports / f"{folder.replace('/', '-')}.xml"
        # A cache of its own each: two processes would write one file of what failed last.
        options = ["-q", f"--junitxml={junit}", "-o", f"cache_dir=.pytest_cache/{folder}"]
        # A slow test may be at work for longer than what passes for a hang otherwise.
        options += ["-m", "", "-o", "faulthandler_timeout=3600"] if slow else []
        command = [str(BIN / "pytest"), *options, *files]
        yield Check(f"pytest {folder}", command, count=partial(junit_tally, junit))


#: Backends that bring no kernels have nothing to be tried.
WITHOUT_KERNELS = ("mpi",)
#: What else a backend is tried with, where the whole suite as it stands is not what fits: simulated devices are slow,
#: and one is there only where it is asked for.
SELECTIONS: dict[str, tuple[tuple[str, dict[str, str], list[str]], ...]] = {
    "sim": (
        ("sim edge-npu", {"OPMUX_SIM": "edge-npu"}, ["--profile", "core-int8"]),
        ("sim h100", {"OPMUX_SIM": "h100"}, ["--quick", "--profile", "core-f32"]),
    )
}


def absent_backends() -> dict[str, str]:
    """Return the installed backends whose device is not on this machine, and what opmux says of each."""
    command = [str(BIN / "opmux"), "backends", "--json"]
    listed = subprocess.run(command, cwd=ROOT, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    try:
        rows = json.loads(listed.stdout)
    except ValueError:
        return {}  # the runs of the suite show what is wrong
    return {row["name"]: row["reason"] for row in rows if row["state"] == "absent-hardware"}


def conformance_checks(reports: Path) -> Iterator[tuple[Check, Check | None]]:
    """Return the run of the suite on every installed backend, which keeps all cores busy, and the check of what it
    wrote, which does not; None where nothing is written.
    """
    opmux, absent = str(BIN / "opmux"), absent_backends()
    for name in sorted({entry.name for entry in entry_points(group="opmux.backends")} - {*WITHOUT_KERNELS}):
        if name in absent and name not in SELECTIONS:
            print(f"\n== conformance {name}: not run: {absent[name]}", flush=True)
            continue
        for title, environment, selected in SELECTIONS.get(name, ((name, {}, []),)):
            stem = title.replace(" ", "-")
            report, certificate = reports / f"conformance-{stem}.json", reports / f"certificate-{stem}.json"
            # Without performance: what a shared machine measures while it tests says nothing.
            options = ["--no-performance", "--json", str(report), *selected]
            options += [] if selected else ["--certificate", str(certificate)]
            run = Check(
                f"conformance {title}",
                [opmux, "conformance", "--backend", name, *options],
                environment,
                count=partial(conformance_tally, report),
            )
            verify = [opmux, "certificate", "verify", str(certificate), "--rerun", "10"]
            yield run, None if selected else Check(f"certificate {title}", verify)


def cores() -> int:
    """Return how many cores this process may use."""
    allowed = getattr(os, "sched_getaffinity", None)  # not on macOS
    return len(allowed(0)) if allowed is not None else os.cpu_count() or 1


Finished = tuple[Check, float, Tally]


def one_by_one(checks: Iterable[Check]) -> Iterator[Finished]:
    """Run checks that use every core by themselves."""
    for check in checks:
        print(f"\n== {check.name}: {' '.join(check.command)}", flush=True)
        start = time.monotonic()
        tally = check.run()
        yield check, time.monotonic() - start, tally


def side_by_side(checks: Iterable[Check], lanes: int) -> Iterator[Finished]:
    """Run checks that use one core each, as many at once as there are lanes; what one prints is shown when it ends."""
    free: queue.SimpleQueue[int] = queue.SimpleQueue()
    for lane in range(lanes):
        free.put(lane)
    shown = threading.Lock()

    def run(check: Check) -> Finished:
        lane, start = free.get(), time.monotonic()
        with tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace") as output:
            try:
                tally = check.run(lane, output)
            finally:
                free.put(lane)
            seconds = time.monotonic() - start
            output.seek(0)
            with shown:
                print(f"\n== {check.name}: {' '.join(check.command)}\n{output.read()}", flush=True)
        return check, seconds, tally

    def begins(check: Check) -> int:
        return LONGEST.index(check.name) if check.name in LONGEST else len(LONGEST)

    with ThreadPoolExecutor(lanes) as pool:
        yield from pool.map(run, sorted(checks, key=begins))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--lint", action="store_true", help="only the checks that run no test")
    parser.add_argument("--slow", action="store_true", help="also the tests marked slow")
    options = parser.parse_args()

    rows: list[str] = []
    total = Tally()
    with tempfile.TemporaryDirectory(prefix="opmux-checks-") as folder:
        reports = Path(folder)
        tests = [] if options.lint else list(pytest_checks(reports, options.slow))
        finished = list(side_by_side([*static_checks(), *tests], cores()))
        if not options.lint:
            runs, written = zip(*conformance_checks(reports), strict=True)
            certificates = [check for check in written if check is not None]
            finished += [*one_by_one(runs), *side_by_side(certificates, cores())]
        for check, seconds, tally in finished:
            total += tally
            rows.append(f"{check.name:<36}{seconds:7.1f} s  {tally}")
    print("\n" + "\n".join(rows))
    print(total)
    return 1 if total.failed else 0


if __name__ == "__main__":
    sys.exit(main())
