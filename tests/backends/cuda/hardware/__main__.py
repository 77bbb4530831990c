"""``python -m tests.backends.cuda.hardware [TEXT ...]``: all trials, or those whose names contain one of the texts."""

from __future__ import annotations

import argparse
import math
import shlex
import shutil
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from time import monotonic
from typing import Any

from opmux.benchmarks.errors import BenchmarkError
from opmux.benchmarks.report import check_target_file, write_json

from .catalogue import FIRST, in_order
from .running import BAD, Seen, run
from .trial import Trial

_LINES = 12


def _shown(made: Seen) -> str:
    """Return an outcome as one line, or as the last lines of what was wrong."""
    lines = made.said.strip().splitlines()
    more = lines if made.outcome not in BAD else [lines[0][:500], *lines[1:][-_LINES:]] if lines else []
    head = f"{made.outcome:8} {made.seconds:6.1f} s  {made.name}"
    return "\n                   ".join([f"{head}: {more[0]}" if more else head, *more[1:]])


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.backends.cuda.hardware", description=__doc__)
    parser.add_argument("texts", nargs="*", metavar="TEXT", help="only trials whose names contain one of these")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write what was seen to FILE after each trial")
    parser.add_argument("--under", default="", metavar="COMMAND", help="start processes so: 'compute-sanitizer'")
    parser.add_argument("--slower", type=float, default=1.0, metavar="N", help="give each trial N times its time")
    parser.add_argument(
        "--list", action="store_true", help="list the trials in the order in which they run, and run none"
    )
    return parser


def _trials(given: argparse.Namespace) -> tuple[list[Trial], list[str]]:
    """Return the trials that are asked for, and the command that they are started under.

    Raises:
        ValueError: for an option that cannot be followed, before anything is run.
    """
    try:
        under = shlex.split(given.under)
    except ValueError as error:
        raise ValueError(f"--under {given.under}: {error}") from error
    if under and shutil.which(under[0]) is None:
        raise ValueError(f"--under {given.under}: there is no command {under[0]!r}")
    if not 0 < given.slower < math.inf:
        raise ValueError(f"--slower {given.slower:g}: it must be a number above 0")
    if given.json is not None:
        check_target_file(given.json)
    return in_order(tuple(given.texts)), under


def main(arguments: list[str] | None = None) -> int:
    """Run trials; return 0, 1 where one failed, 2 without a GPU or for a mistake, 3 where the GPU does not answer."""
    parser = _parser()
    given = parser.parse_args(arguments)
    try:
        trials, under = _trials(given)
    except (BenchmarkError, ValueError) as error:
        parser.error(str(error))
    if given.list:
        for trial in trials:
            print(f"{trial.seconds:4.0f} s  {'alone' if trial.alone else '     '}  {trial.name}")
        return 0
    try:
        return _run(trials, under, given.slower, given.json)
    except BenchmarkError as error:
        parser.error(str(error))
    except KeyboardInterrupt:
        print("interrupted")
        return 130


def _run(trials: Sequence[Trial], under: Sequence[str], slower: float, file: Path | None) -> int:
    begun, found = monotonic(), []
    for made in run(trials, under=under, slower=slower):
        found.append(made)
        print(_shown(made), flush=True)
        if file is not None:
            kept: dict[str, Any] = {"trials": [asdict(m) for m in found], "seconds": monotonic() - begun}
            write_json(kept, file)
        if made.outcome == "no GPU":
            return 2
    counts = {outcome: sum(m.outcome == outcome for m in found) for outcome in dict.fromkeys(m.outcome for m in found)}
    print(", ".join(f"{n} {outcome}" for outcome, n in counts.items()) + f" in {monotonic() - begun:.0f} s")
    asked = [m.outcome for m in found if m.name.startswith(FIRST)]
    if asked[-1] != "pass":
        print("The GPU does not answer: nothing else would tell anything.")
        return 3
    return 1 if any(m.outcome in BAD for m in found) else 0


if __name__ == "__main__":
    raise SystemExit(main())
