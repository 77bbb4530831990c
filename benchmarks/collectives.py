"""Collectives: latency and bus bandwidth, in process and over MPI, beside mpi4py on the same MPI and gloo."""

from __future__ import annotations

import argparse
import datetime
import os
import shutil
import statistics
import subprocess
import sys
import sysconfig
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final

from opmux.conformance.performance.stats import ratio, spread
from opmux.conformance.performance.timing import Settings, calibrate, sample, turns

from . import machine, report
from .collectives_cases import COLLECTIVES, Case, cases, size_name
from .collectives_job import CONTESTANTS, Jobs
from .errors import BenchmarkError, UnknownNameError
from .measure import Sample
from .pool import clean_environment

NAME: Final = "collectives"
SCHEMA: Final = 1
#: The environment variable that names an interpreter with torch.
INTERPRETER: Final = "TORCH_PYTHON"
SETTINGS: Final = Settings(rounds=9, sample_seconds=4e-3, budget_seconds=0.25, fewest=3, most_repetitions=20_000)
_QUICK: Final = Settings(rounds=2, sample_seconds=2e-4, budget_seconds=0.05, fewest=1, most_repetitions=100)
#: Contestants by what a case is for. The limit and the exchange of headers take part in every round as well.
_SECTIONS: Final[Mapping[str, tuple[str, ...]]] = {
    "peers": ("opmux", "opmux-out", "opmux-mpi", "mpi4py", "gloo", "agreement", "copy"),
    "canonical": ("opmux", "opmux-canonical", "opmux-mpi", "opmux-mpi-canonical"),
}
_PEERS: Final = ("mpi4py", "gloo")
_LARGE: Final = 1 << 20
_SMALL: Final = 1 << 10
_TIMEOUT: Final = 120.0


@dataclass(slots=True)
class Outcome:
    """How a contestant fared with a case.

    Attributes:
        status: ``measured``, ``wrong``, ``failed`` or ``missing``; only a measured one has samples.
        note: why there is no number.
        detail: what ran.
        samples: the timed loops.
    """

    status: str = "measured"
    note: str = ""
    detail: str = ""
    samples: list[Sample] = field(default_factory=list)

    def by_round(self) -> dict[int, float]:
        """Return seconds per call by round."""
        return {s.round: s.each for s in self.samples}

    @property
    def median(self) -> float | None:
        """Median seconds of a call."""
        return statistics.median(self.by_round().values()) if self.samples else None


def measure_case(case: Case, names: Sequence[str], jobs: Jobs, settings: Settings) -> dict[str, Outcome]:
    """Return how every contestant fared with a case: checked, measured round by round, checked again."""
    outcomes = {name: Outcome() for name in names}
    planned: dict[str, tuple[int, int]] = {}
    each: dict[str, float] = {}

    def attempt(name: str, do: Callable[[Any, str], None]) -> None:
        outcome, contestant = outcomes[name], CONTESTANTS[name]
        if outcome.status != "measured":
            return
        try:
            do(jobs.job(contestant, case.ranks), contestant.variant)
        except BenchmarkError as error:
            outcome.status = "missing" if not outcome.detail else "failed"
            outcome.note = str(error)
            outcome.samples.clear()

    def check(name: str, job: Any, variant: str) -> None:
        wrong = job.wrong(variant) if CONTESTANTS[name].checked else ""
        if wrong:
            outcomes[name].status, outcomes[name].note = "wrong", wrong
            outcomes[name].samples.clear()

    for name in names:

        def begin(job: Any, variant: str, name: str = name) -> None:
            outcomes[name].detail = job.prepare(case, variant)
            check(name, job, variant)
            repetitions, each[name] = calibrate(
                job.seconds(variant), settings.sample_seconds, settings.most_repetitions
            )
            planned[name] = settings.rounds_for(each[name], repetitions), repetitions

        attempt(name, begin)
    for turn in turns(planned):

        def take(job: Any, variant: str, turn: Any = turn) -> None:
            seconds = sample(job.seconds(variant), turn.repetitions, each[turn.name])
            made = Sample(turn.name, turn.round, turn.position, turn.repetitions, seconds)
            outcomes[turn.name].samples.append(made)

        attempt(turn.name, take)
    for name in names:
        attempt(name, lambda job, variant, name=name: check(name, job, variant))
    jobs.drop()
    return outcomes


def _row(case: Case, name: str, outcome: Outcome, outcomes: Mapping[str, Outcome]) -> dict[str, Any]:
    row: dict[str, Any] = {
        "case": case.name, "contestant": name, "status": outcome.status, "note": outcome.note,
        "detail": outcome.detail, "seconds": None, "bus_bandwidth": None, "share": None, "ratios": [],
    }  # fmt: skip
    if outcome.status != "measured" or not outcome.samples:
        return row
    found = spread(list(outcome.by_round().values()))
    row["seconds"] = asdict(found)
    if CONTESTANTS[name].checked or name == "copy":
        row["bus_bandwidth"] = case.bus_bytes / found.median / 1e9
    for other, theirs in outcomes.items():
        paired = ratio(theirs.by_round(), outcome.by_round()) if other != name else None
        if paired is not None:
            row["ratios"].append({"over": other, **asdict(paired)})
            if other == "copy" and name.startswith("opmux"):
                row["share"] = paired.paired * (case.in_place_share if name == "opmux-out" else 1.0)
    return row


def _ratio(outcomes: Mapping[str, Outcome], slow: str, fast: str) -> float | None:
    """Return how many times faster one contestant is than another, within rounds."""
    if slow not in outcomes or fast not in outcomes:
        return None
    found = ratio(outcomes[slow].by_round(), outcomes[fast].by_round())
    return None if found is None else found.paired


def _best_peer(outcomes: Mapping[str, Outcome]) -> str | None:
    known = {p: m for p in _PEERS if p in outcomes and (m := outcomes[p].median) is not None}
    return min(known, key=lambda p: known[p]) if known else None


def _faster(outcomes: Mapping[str, Outcome], name: str = "opmux") -> float | None:
    best = _best_peer(outcomes)
    return None if best is None else _ratio(outcomes, best, name)


def _slower(outcomes: Mapping[str, Outcome]) -> float | None:
    found = _faster(outcomes)
    return None if found is None else 1 / found


def _above(outcomes: Mapping[str, Outcome], apart: bool) -> float | None:
    """Return what opmux over MPI takes beyond raw mpi4py, over what is allowed: 5 % or 2 us, whichever is more.

    Args:
        outcomes: of a case.
        apart: whether the exchange of headers, measured by itself, is taken off.
    """
    mine, raw, headers = (o.median if (o := outcomes.get(n)) else None for n in ("opmux-mpi", "mpi4py", "agreement"))
    if mine is None or raw is None or (apart and headers is None):
        return None
    return (mine - raw - (headers or 0.0) * apart) / max(0.05 * raw, 2e-6)


@dataclass(frozen=True, slots=True)
class Target:
    """What is to be reached in every case of a kind.

    Attributes:
        name: in words.
        target: the figure.
        least: whether it is the least that will do; otherwise the most.
        applies: to which cases.
        value: of a case; None where it was not measured.
    """

    name: str
    target: float
    least: bool
    applies: Callable[[Case], bool]
    value: Callable[[Mapping[str, Outcome]], float | None]


def _peers(ranks: int, fits: Callable[[int], bool]) -> Callable[[Case], bool]:
    return lambda c: c.section == "peers" and c.ranks == ranks and fits(c.nbytes)


def _canonical(power_of_two: bool) -> Callable[[Case], bool]:
    return lambda c: c.section == "canonical" and (c.ranks & (c.ranks - 1) == 0) == power_of_two


TARGETS: Final = (
    *(
        target
        for n in (2, 4)
        for target in (
            # Peers write into memory that is made once, and broadcast in place.
            Target(f"in process, {n} ranks, 1 MiB and more: times as fast as the best peer", 1.2, True,
                   _peers(n, lambda s: s >= _LARGE), lambda o: _faster(o, "opmux-out")),
            Target(f"the same with fresh results in every call, {n} ranks", 1.2, True,
                   _peers(n, lambda s: s >= _LARGE), _faster),
            # The smallest size has one element per rank at least, so that of four ranks is larger than 4 bytes.
            Target(f"in process, {n} ranks, 1 KiB and less: time over the best peer's", 0.7, False,
                   _peers(n, lambda s: s <= _SMALL), _slower),
            Target(f"over MPI, {n} ranks: time above mpi4py's, over the larger of 5 % and 2 us", 1.0, False,
                   _peers(n, lambda s: True), lambda o: _above(o, apart=False)),
            Target(f"the same without the exchange of headers, measured apart, {n} ranks", 1.0, False,
                   _peers(n, lambda s: True), lambda o: _above(o, apart=True)),
        )
    ),
    *(
        Target(f"{where}, canonical over fast speed, {kind}", wanted, True, _canonical(power),
               lambda o, fast=fast: _ratio(o, fast, f"{fast}-canonical"))
        for where, fast in (("in process", "opmux"), ("over MPI", "opmux-mpi"))
        for kind, power, wanted in (("2 and 4 ranks", True, 0.8), ("3 ranks", False, 0.4))
    ),
)  # fmt: skip


def targets(measured: Sequence[tuple[Case, Mapping[str, Outcome]]]) -> list[dict[str, Any]]:
    """Return every target with the worst case, the median of the cases, and how many reach it."""
    made = []
    for t in TARGETS:
        found = {c.name: v for c, o in measured if t.applies(c) and (v := t.value(o)) is not None}
        worst = (min if t.least else max)(found, key=lambda n: found[n], default="")
        reached = sum((v >= t.target) if t.least else (v <= t.target) for v in found.values())
        made.append({
            "name": t.name,
            "value": found.get(worst),
            "median": statistics.median(found.values()) if found else None,
            "target": t.target,
            "at_least": t.least,
            "worst": worst,
            "cases": len(found),
            "reached": reached,
            "met": bool(found) and reached == len(found),
            "note": "" if found else "not measured",
        })  # fmt: skip
    return made


def measure(
    quick: bool, names: Sequence[str], torch: str, only: str = "", settings: Settings | None = None
) -> dict[str, Any]:
    """Return the report as plain data.

    Args:
        quick: small sizes, for tests.
        names: contestants to measure.
        torch: an interpreter that has torch.
        only: cases whose name contains this.
        settings: how to measure.

    Raises:
        UnknownNameError: where no case is left.
    """
    before = machine.describe()
    chosen = [c for c in cases(quick) if only in c.name]
    if not chosen:
        raise UnknownNameError(f"no case contains {only!r}; the first one is {cases(quick)[0].name!r}")
    how = settings or (_QUICK if quick else SETTINGS)
    canonical = any(c.section == "canonical" for c in chosen) and "opmux-canonical" in names
    claims = show_claims() if canonical and not quick else ""
    measured: list[tuple[Case, dict[str, Outcome]]] = []
    jobs = Jobs(torch, _TIMEOUT)
    try:
        for number, case in enumerate(chosen):
            print(f"[{number}/{len(chosen)}] {case.name}", file=sys.stderr)
            takes = [n for n in _SECTIONS[case.section] if n in names]
            measured.append((case, measure_case(case, takes, jobs, how)))
        versions = jobs.versions()
    finally:
        jobs.close()
    return {
        "schema": SCHEMA,
        "benchmark": NAME,
        "date": datetime.datetime.now(tz=datetime.UTC).isoformat(timespec="seconds"),
        "quotable": not quick,
        "settings": {k: float(v) for k, v in asdict(how).items()},
        "machine": {**before, "load_after": machine.load_average()},
        "versions": versions,
        "claims": claims,
        "cases": [case.to_data() for case, _ in measured],
        "measurements": [{"case": c.name, **asdict(s)} for c, o in measured for x in o.values() for s in x.samples],
        "summary": [_row(c, name, o[name], o) for c, o in measured for name in o],
        "targets": targets(measured),
    }


def show_claims() -> str:
    """Run the conformance of what the canonical mode is measured with, and return what it says at the end.

    A determinism class is served only by kernels whose claims were shown on this machine; else another one is measured.
    """
    opmux = shutil.which("opmux", path=sysconfig.get_path("scripts"))
    if opmux is None:
        return "not run: there is no opmux beside the interpreter"
    command = [opmux, "conformance", "--op", "all_reduce", "--dtype", "float32"]
    print(f"[claims] {' '.join(command[1:])}", file=sys.stderr)
    try:
        done = subprocess.run(
            command, env=clean_environment(), stdin=subprocess.DEVNULL, capture_output=True, text=True,
            timeout=_TIMEOUT, check=False,
        )  # fmt: skip
    except (OSError, subprocess.TimeoutExpired) as error:
        return f"not run: {error}"
    said = [line for line in (done.stdout + done.stderr).splitlines() if line.strip()]
    return f"exit status {done.returncode}: {said[-1] if said else 'nothing said'}"


def _show(made: Mapping[str, Any]) -> None:
    """Print times in microseconds, and the bus bandwidth of the first contestant."""
    found = {(r["case"], r["contestant"]): r for r in made["summary"]}
    for section, names in _SECTIONS.items():
        listed = [n for n in names if any(r["contestant"] == n for r in made["summary"])]
        if not listed:
            continue
        print(f"{'us of a call':<28}" + "".join(f"{n:>20}" for n in listed) + f"{'GB/s of ' + listed[0]:>16}")
        for case in made["cases"]:
            if case["section"] != section:
                continue
            rows = [found[case["name"], n] for n in listed]
            cells = [f"{r['seconds']['median'] * 1e6:,.1f}" if r["seconds"] else r["status"] for r in rows]
            bus = f"{rows[0]['bus_bandwidth']:.2f}" if rows[0]["bus_bandwidth"] else ""
            label = f"{case['collective']} {size_name(case['nbytes'])} {case['ranks']}"
            print(f"{label:<28}" + "".join(f"{c:>20}" for c in cells) + f"{bus:>16}")
        if "opmux-out" in listed:
            print("opmux-out: results in memory that is made once, as those of mpi4py and gloo; broadcasts in place")
    for t in made["targets"]:
        if t["value"] is None:
            print(f"{t['name']}: {t['note']}")
            continue
        sign = ">=" if t["at_least"] else "<="
        print(
            f"{t['name']}: worst {t['value']:.2f} ({t['worst']}), median {t['median']:.2f}; "
            f"{t['reached']} of {t['cases']} reach {sign} {t['target']:g}"
        )
    for note in dict.fromkeys(
        f"{r['contestant']}: {r['status']}: {r['note'][:200]}" for r in made["summary"] if r["note"]
    ):
        print(note)


def _names(text: str | None) -> list[str]:
    asked = [n.strip() for n in text.split(",") if n.strip()] if text is not None else list(CONTESTANTS)
    unknown = [n for n in asked if n not in CONTESTANTS]
    if unknown or not asked:
        raise UnknownNameError(f"no contestant {', '.join(unknown) or text!r}; there are {', '.join(CONTESTANTS)}")
    return asked


def main(arguments: Sequence[str]) -> int:
    """Run it; return 0, 1 where a result was wrong or a contestant failed, 2 for a mistake of the caller."""
    parser = argparse.ArgumentParser(prog=f"python -m benchmarks {NAME}", description=__doc__)
    parser.add_argument("--json", metavar="FILE", type=Path, help="write the report to FILE")
    parser.add_argument("--peers", metavar="A,B", help=f"only these: {', '.join(CONTESTANTS)}")
    parser.add_argument(
        "--cases", metavar="TEXT", default="",
        help=f"only cases whose name contains TEXT, e.g. {next(iter(COLLECTIVES))!r} or '1 MiB 2 ranks'",
    )  # fmt: skip
    parser.add_argument("--torch", metavar="PYTHON", help=f"an interpreter that has torch (or {INTERPRETER})")
    parser.add_argument("--quick", action="store_true", help="small sizes, for tests; not quotable")
    options = parser.parse_args(arguments)
    try:
        names = _names(options.peers)
        if options.json is not None:
            report.check_target_file(options.json)
        torch = options.torch or os.environ.get(INTERPRETER) or sys.executable
        made = measure(options.quick, names, torch, options.cases)
        _show(made)
        if options.json is not None:
            report.write_json(made, options.json)
    except BenchmarkError as error:
        print(f"error: {type(error).__name__}: {error}", file=sys.stderr)
        return 2
    return 1 if any(row["status"] in ("wrong", "failed") for row in made["summary"]) else 0
