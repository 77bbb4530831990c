"""From outcomes to the report: times, rates, shares of the limit, ratios, targets."""

from __future__ import annotations

import contextlib
import json
import os
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from opmux.conformance.performance.stats import Ratio, ratio, spread

from .case import Case
from .errors import BenchmarkError
from .measure import Outcome
from .peers import PROBE
from .schema import check_report
from .suites import Suite

Outcomes = Mapping[str, Outcome]
Row = dict[str, Any]


def case_work(case: Case) -> float:
    """Return what a rate counts: operations where arithmetic bounds the case, else bytes."""
    return case.flops if case.limit in ("flops", "device flops") else case.bytes


def measurements(case: Case, outcomes: Outcomes) -> list[Row]:
    """Return every sample of a case."""
    return [{"case": case.name, **asdict(s)} for o in outcomes.values() for s in o.samples]


def summary(case: Case, outcomes: Outcomes) -> list[Row]:
    """Return one row per peer."""
    return [_summary_row(case, outcome, outcomes) for outcome in outcomes.values()]


def _summary_row(case: Case, outcome: Outcome, outcomes: Outcomes) -> Row:
    row: Row = {
        "case": case.name,
        "peer": outcome.peer,
        "status": outcome.status,
        "note": outcome.note,
        "detail": outcome.detail,
        "error": outcome.error,
        "seconds": None,
        "rate": None,
        "share": None,
        "ratios": [],
    }
    times = outcome.by_round()
    if not times:
        return row
    s = spread(list(times.values()))
    row["seconds"] = {"median": s.median, "q1": s.q1, "q3": s.q3, "best": s.best, "samples": s.count}
    work = outcome.work if outcome.work is not None else case_work(case)
    row["rate"] = work / s.median / 1e9 if case.limit is not None else None
    if outcome.peer == PROBE:
        return row
    row["share"] = _share(case, times, outcomes.get(PROBE))
    for other in outcomes.values():
        found = ratio(other.by_round(), times) if other.peer not in (PROBE, outcome.peer) else None
        if found is not None:
            row["ratios"].append({"over": other.peer, **asdict(found)})
    return row


def _share(case: Case, times: Mapping[int, float], probe: Outcome | None) -> Row | None:
    if probe is None or probe.work is None:
        return None
    mine = {r: case_work(case) / t for r, t in times.items()}
    limit = {r: probe.work / t for r, t in probe.by_round().items()}
    found: Ratio | None = ratio(mine, limit)
    return None if found is None else asdict(found)


def targets(suite: Suite, rows: Sequence[Row]) -> list[Row]:
    """Return every target of a suite with what was reached."""
    made = []
    for target in suite.targets:
        found = {r["case"]: _paired(r, target.over) for r in rows if r["peer"] == target.peer}
        ratios = [found.get(case) for case in target.cases]
        known = [r for r in ratios if r is not None]
        value, note = None, ""
        if len(known) == len(ratios):
            value = min(known) if target.of == "least" else statistics.geometric_mean(known)
        else:
            lacking = target.cases[ratios.index(None)]
            note = f"{target.peer} and {target.over} were not both measured on {lacking}"
        met = value is not None and value >= target.at_least
        made.append({"name": target.name, "value": value, "target": target.at_least, "met": met, "note": note})
    return made


def _paired(row: Row, over: str) -> float | None:
    """Return how many times faster a row's peer is than another, or its share of the limit."""
    if over == PROBE:
        return row["share"]["paired"] if row["share"] else None
    return next((r["paired"] for r in row["ratios"] if r["over"] == over), None)


def check_target_file(path: Path) -> None:
    """Raise before a long run where its result could not be written.

    Raises:
        BenchmarkError: for a directory that does not exist or cannot be written to.
    """
    folder = path.parent
    if path.is_dir() or not folder.is_dir() or not os.access(folder, os.W_OK):
        raise BenchmarkError(f"cannot write {path}: it must be a file in a directory that exists and can be written to")


def write(report: Row, path: Path) -> None:
    """Check a report and write it.

    Raises:
        SchemaError: for a report that does not have the documented form.
    """
    check_report(report)
    write_json(report, path)


def write_json(report: Row, path: Path) -> None:
    """Write a report; the file appears whole or not at all.

    Raises:
        BenchmarkError: where it cannot be written.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        temporary.write_text(json.dumps(report, indent=1, allow_nan=False) + "\n", encoding="utf-8")
        temporary.replace(path)
    except OSError as error:
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise BenchmarkError(f"cannot write {path}: {error.strerror}") from error
