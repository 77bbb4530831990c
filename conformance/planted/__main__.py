"""``python -m opmux.conformance.planted``: plant faults, run the suite on each, and print what caught it."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.progress import track

from ...core.devices.host import usable_cpus
from ...core.errors import ArgumentError
from . import table
from .catalogue import FAMILIES, FAULTS, find
from .judge import failures
from .pool import judge_all
from .twin.run import run_twin


def main(arguments: Sequence[str] | None = None) -> int:
    """Run, print the kill table, and return the exit status: 1 if a fault survives or the twin fails."""
    given = _parser().parse_args(arguments)
    try:
        chosen = [find(name) for name in given.only] if given.only else list(FAULTS)
    except ArgumentError as error:
        print(error, file=sys.stderr)
        return 2
    if given.docs is not None:
        given.docs.write_text(table.to_markdown(FAULTS), encoding="utf-8")
        return 0
    if given.family:
        chosen = [f for f in chosen if f.family in given.family]
    console = Console(stderr=True)
    verdicts = judge_all(chosen, every=given.all_cases, workers=given.workers)
    width = max((len(f.name) for f in chosen), default=0)
    found = []
    for verdict in track(
        verdicts, "planted faults", len(chosen), console=console, transient=True, disable=not console.is_terminal
    ):
        print(table.line(verdict, width), flush=True)
        found.append(verdict)
    wrong = [] if given.only or given.family else failures(run_twin(whole=given.all_cases))
    print(table.summary(found))
    for r in wrong:
        print(f"the unfaulted twin: {r.outcome.value} {r.id}: {r.message}")
    if given.json is not None:
        made = {**table.to_json(found), "twin": [r.to_dict() for r in wrong]}
        given.json.write_text(json.dumps(made, indent=1) + "\n", encoding="utf-8")
    return int(bool(wrong) or not all(v.killed for v in found))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("python -m opmux.conformance.planted", description=__doc__)
    add = parser.add_argument
    add("--only", nargs="+", metavar="NAME", help="these faults alone")
    add("--family", nargs="+", choices=[f.name for f in FAMILIES], help="the faults of these families alone")
    add("--all-cases", action="store_true", help="every case in a fault's reach, not its named killers alone")
    add("--json", type=Path, metavar="FILE", help="write the kill table there")
    add("--docs", type=Path, metavar="FILE", help="write the page of the docs there, and run nothing")
    add("--workers", type=int, default=min(usable_cpus(), 4), help="processes")
    return parser


if __name__ == "__main__":
    sys.exit(main())
