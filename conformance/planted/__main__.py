"""``python -m opmux.conformance.planted``: plant faults, run the suite on each, and print what caught it."""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

from rich.console import Console
from rich.progress import track

from ...core.errors import ArgumentError
from . import table
from .catalogue import FAMILIES, FAULTS, find
from .fault import Fault
from .judge import Verdict, failures, judge
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
    found = list(
        track(
            _judged(chosen, every=given.all_cases, workers=given.workers),
            "planted faults",
            total=len(chosen),
            console=console,
            transient=True,
            disable=not console.is_terminal,
        )
    )
    wrong = [] if given.only or given.family else failures(run_twin(whole=given.all_cases))
    print(table.to_text(found))
    for r in wrong:
        print(f"the unfaulted twin: {r.outcome.value} {r.id}: {r.message}")
    if given.json is not None:
        made = {**table.to_json(found), "twin": [r.to_dict() for r in wrong]}
        given.json.write_text(json.dumps(made, indent=1) + "\n", encoding="utf-8")
    return int(bool(wrong) or not all(v.killed for v in found))


def _judged(faults: Sequence[Fault], *, every: bool, workers: int) -> Iterator[Verdict]:
    """Judge faults in several processes; those of one op follow each other, so that they share its oracles."""
    if workers == 1:
        yield from (judge(f, every=every) for f in faults)
        return
    size = -(-len(faults) // (4 * workers)) or 1
    batches = [[f.name for f in faults[i : i + size]] for i in range(0, len(faults), size)]
    with ProcessPoolExecutor(workers, mp_context=multiprocessing.get_context("spawn")) as pool:
        for verdicts in pool.map(_batch, batches, [every] * len(batches)):
            yield from verdicts


def _batch(names: Iterable[str], every: bool) -> list[Verdict]:
    return [judge(find(name), every=every) for name in names]


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("python -m opmux.conformance.planted", description=__doc__)
    add = parser.add_argument
    add("--only", nargs="+", metavar="NAME", help="these faults alone")
    add("--family", nargs="+", choices=[f.name for f in FAMILIES], help="the faults of these families alone")
    add("--all-cases", action="store_true", help="every case in a fault's reach, not its named killers alone")
    add("--json", type=Path, metavar="FILE", help="write the kill table there")
    add("--docs", type=Path, metavar="FILE", help="write the page of the docs there, and run nothing")
    add("--workers", type=int, default=min(os.cpu_count() or 1, 4), help="processes")
    return parser


if __name__ == "__main__":
    sys.exit(main())
