"""A report as a section of a page: ``python -m benchmarks page FILE.json [--plot FILE.png]`` prints Markdown."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

from . import plot, schema
from .errors import BenchmarkError
from .peers import PROBE
from .table import seconds

NAME: Final = "page"
#: What is told of the machine, of what peers say of themselves.
_TOLD: Final = (
    "device", "driver_version", "CUDA of the driver", "NVRTC", "clocks.max.sm", "power.limit", "cuBLAS", "cupy-cuda13x",
    "torch", "triton",
)  # fmt: skip
_MARKS: Final = {"wrong": "wrong", "failed": "failed", "unsupported": ""}


def read(path: Path) -> dict[str, Any]:
    """Return a report that was written to a file.

    Raises:
        BenchmarkError: there is none, or it has not the documented form.
    """
    try:
        made: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        schema.check_report(made)
    except OSError as error:
        raise BenchmarkError(f"cannot read {path}: {error.strerror}") from error
    except ValueError as error:  # SchemaError, and what is no JSON or no UTF-8
        raise BenchmarkError(f"cannot read {path} as a report: {error}; a benchmark writes one with --json") from error
    return made


def markdown(made: dict[str, Any]) -> str:
    """Return what was measured, on what, and the targets."""
    return "\n".join([*_machine(made), "", *_cases(made), "", *_targets(made), ""])


def _machine(made: dict[str, Any]) -> Iterator[str]:
    told: dict[str, str] = {}
    for peer in made["peers"]:
        told |= {name: peer["versions"][name] for name in _TOLD if name in peer["versions"]}
    machine = made["machine"]
    facts = [f"{name} {value}" if name != "device" else value for name, value in told.items()]
    yield f"{made['date'][:10]}, commit {machine['commit'] or 'unknown'}: {'; '.join([*facts, machine['cpu']])}."
    if not made["quotable"]:
        yield "A quick run of tiny sizes: not quotable."
    for peer in made["peers"]:
        if peer["status"] != "ran":
            yield f"{peer['name']} {peer['status']}: {peer['note']}."
    if made["left_out"]:
        yield f"Not measured, for want of time: {', '.join(made['left_out'])}."


def _cases(made: dict[str, Any]) -> Iterator[str]:
    """Yield one row per case: the first peer's time, rate, share and kernels, and how many times faster it is."""
    peers = [p["name"] for p in made["peers"] if p["status"] == "ran" and p["name"] != PROBE]
    subject, others = peers[0], peers[1:]
    yield _row("case", subject, made["unit"], "of the limit", *(f"x {o}" for o in others), "what ran")
    yield _row(*["---"] * (len(others) + 5))
    rows = {(r["case"], r["peer"]): r for r in made["summary"]}
    for case in made["cases"]:
        mine = rows[case["name"], subject]
        time = mine["seconds"]
        share = f"{mine['share']['paired']:.0%}" if mine["share"] else ""
        rate = "" if mine["rate"] is None else f"{mine['rate']:.4g}"
        shown = _MARKS.get(mine["status"], "") if time is None else seconds(time["median"])
        over = [_times(rows[case["name"], o], mine) for o in others]
        yield _row(case["name"], shown, rate, share, *over, mine["detail"].replace("|", "/"))


def _times(other: dict[str, Any], mine: dict[str, Any]) -> str:
    found = next((r["paired"] for r in mine["ratios"] if r["over"] == other["peer"]), None)
    return _MARKS.get(other["status"], "") if found is None else f"{found:.2f}"


def _targets(made: dict[str, Any]) -> Iterator[str]:
    yield _row("target", "reached", "wanted")
    yield _row("---", "---", "---")
    for target in made["targets"]:
        if target["value"] is None:
            reached = f"not measured: {target['note']}"
        else:
            reached = f"{target['value']:.2f}{'' if target['met'] else ' (missed)'}"
        yield _row(target["name"], reached, f"{target['target']:.2f}")


def _row(*cells: str) -> str:
    return f"| {' | '.join(cells)} |"


def main(arguments: Sequence[str]) -> int:
    """Print a report as Markdown, and draw it where asked to; return 0, or 2 for a mistake of the caller."""
    parser = argparse.ArgumentParser(prog=f"python -m benchmarks {NAME}", description="Make a page of a report.")
    parser.add_argument("report", metavar="FILE.json", type=Path, help="what a benchmark has written with --json")
    parser.add_argument("--plot", metavar="FILE.png", type=Path, help="draw it too (needs matplotlib)")
    given = parser.parse_args(arguments)
    try:
        made = read(given.report)
        if given.plot is not None:
            plot.check_target_file(given.plot)
        print(markdown(made))
        if given.plot is not None:
            plot.draw(made, given.plot)
    except BenchmarkError as error:
        sys.stdout.flush()
        print(f"error: {type(error).__name__}: {error}", file=sys.stderr)
        return 2
    return 0
