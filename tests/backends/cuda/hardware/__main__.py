"""``python -m tests.backends.cuda.hardware [TEXT ...]``: all trials, or those whose names contain one of the texts."""

from __future__ import annotations

import argparse
import shlex
from dataclasses import asdict
from pathlib import Path
from time import monotonic
from typing import Any

from opmux.benchmarks.report import write_json

from .catalogue import TRIALS, in_order
from .running import BAD, Seen, run

_LINES = 12


def _shown(made: Seen) -> str:
    """Return an outcome as one line, or as the last lines of what was wrong."""
    lines = made.said.strip().splitlines()
    more = lines if made.outcome not in BAD else [lines[0][:500], *lines[1:][-_LINES:]] if lines else []
    head = f"{made.outcome:8} {made.seconds:6.1f} s  {made.name}"
    return "\n                   ".join([f"{head}: {more[0]}" if more else head, *more[1:]])


def main(arguments: list[str] | None = None) -> int:
    """Run trials; return 0, 1 where one failed, 2 without a GPU or such a trial, 3 where it does not answer."""
    parser = argparse.ArgumentParser(prog="python -m tests.backends.cuda.hardware", description=__doc__)
    parser.add_argument("texts", nargs="*", metavar="TEXT", help="only trials whose names contain one of these")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write what was seen to FILE after each trial")
    parser.add_argument("--under", default="", metavar="COMMAND", help="start processes so: 'compute-sanitizer'")
    parser.add_argument("--slower", type=float, default=1.0, metavar="N", help="give each trial N times its time")
    parser.add_argument("--list", action="store_true", help="list the trials, and run none")
    given = parser.parse_args(arguments)
    try:
        trials = in_order(tuple(given.texts))
    except ValueError as error:
        parser.error(str(error))
    if given.list:
        for trial in TRIALS.values():
            print(f"{trial.seconds:4.0f} s  {'alone' if trial.alone else '     '}  {trial.name}")
        return 0
    begun, found = monotonic(), []
    for made in run(trials, under=shlex.split(given.under), slower=given.slower):
        found.append(made)
        print(_shown(made), flush=True)
        if given.json is not None:
            kept: dict[str, Any] = {"trials": [asdict(m) for m in found], "seconds": monotonic() - begun}
            write_json(kept, given.json)
        if made.outcome == "no GPU":
            return 2
    counts = {outcome: sum(m.outcome == outcome for m in found) for outcome in dict.fromkeys(m.outcome for m in found)}
    print(", ".join(f"{n} {outcome}" for outcome, n in counts.items()) + f" in {monotonic() - begun:.0f} s")
    if found[0].outcome != "pass" or found[-1].outcome == "not run":
        print("The GPU does not answer: nothing else would tell anything.")
        return 3
    return 1 if any(m.outcome in BAD for m in found) else 0


if __name__ == "__main__":
    raise SystemExit(main())
