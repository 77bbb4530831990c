"""The command line of the benchmarks."""

from __future__ import annotations

import argparse
import contextlib
import functools
import math
import sys
import threading
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn
from rich.progress import Progress as Bar

from opmux.conformance.performance.timing import Settings

from . import collectives, page, plot, report, sim, table
from .devices import check_device
from .errors import BenchmarkError
from .peers import parse_peers
from .run import QUICK, Progress, Request, run
from .suites import SUITES, suite

#: Benchmarks that measure no calls of arrays, and so have a command line and a report of their own.
_APART: Final = {collectives.NAME: collectives.main, sim.NAME: sim.main, page.NAME: page.main}
_NAMES: Final = (*SUITES, collectives.NAME, sim.NAME)

_messages = Console(stderr=True, highlight=False)


def _parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(prog="python -m benchmarks", description="Measure opmux beside its peers.")
    names = f"{', '.join(_NAMES)}; or {page.NAME}, which prints a report as Markdown"
    made.add_argument("name", metavar="NAME", help=f"the benchmark: {names}")
    made.add_argument("--json", metavar="FILE", type=Path, help="write the report to FILE")
    made.add_argument("--plot", metavar="FILE.png", type=Path, help="draw it (needs matplotlib)")
    made.add_argument("--peers", metavar="A,B", help="only these; opmux-BACKEND allows opmux that backend alone")
    made.add_argument("--cases", metavar="TEXT", default="", help="only cases whose name contains TEXT")
    made.add_argument("--rounds", metavar="N", type=int, help="samples per peer and case")
    made.add_argument("--timeout", metavar="SECONDS", type=float, default=120.0, help="for one answer of a worker")
    made.add_argument(
        "--within", metavar="SECONDS", type=float, default=math.inf, help="begin no case after so long; name those left"
    )
    made.add_argument("--quick", action="store_true", help="tiny sizes, for tests; not quotable")
    return made


def _request(options: argparse.Namespace) -> Request:
    settings = QUICK if options.quick else Settings()
    if options.rounds is not None:
        if options.rounds < 1:
            raise BenchmarkError(f"--rounds {options.rounds}: at least one round is needed")
        settings = replace(settings, rounds=options.rounds)
    if not 0 < options.timeout <= (most := threading.TIMEOUT_MAX):
        raise BenchmarkError(f"--timeout {options.timeout:g}: it must be between 0 and {most:.0g} seconds")
    if not options.within > 0:
        raise BenchmarkError(f"--within {options.within:g}: it must be more than 0 seconds")
    wanted = suite(options.name)
    peers = parse_peers(options.peers, wanted.device)
    made = Request(wanted, peers, settings, options.quick, options.cases, options.timeout, options.within)
    made.cases()
    check_device(wanted.device)
    if options.json is not None:
        report.check_target_file(options.json)
    if options.plot is not None:
        plot.check_target_file(options.plot)
    return made


@contextlib.contextmanager
def _progress() -> Iterator[Progress]:
    """Show where a run is: a bar on a terminal, else one line per case; on standard error."""
    if not _messages.is_terminal:
        yield lambda number, total, name: _messages.print(f"[{number}/{total}] {name}", markup=False)
        return
    columns = (BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TextColumn("{task.description}", markup=False))
    with Bar(*columns, console=_messages, transient=True) as bar:
        task = bar.add_task("", total=None)
        yield lambda number, total, name: bar.update(task, completed=number, total=total, description=name)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a benchmark; return 0, 1 where a peer gave a wrong result or failed, 2 for a mistake of the caller."""
    given = sys.argv[1:] if arguments is None else list(arguments)
    if given and given[0] in _APART:
        return _APART[given[0]](given[1:])
    options = _parser().parse_args(given)
    try:
        request = _request(options)
        with _progress() as progress:
            keep = (lambda made: None) if options.json is None else functools.partial(report.write, path=options.json)
            made = run(request, progress, keep)
        table.show(made)
        if options.json is not None:
            report.write(made, options.json)
            _messages.print(f"wrote {options.json}", markup=False)
        if options.plot is not None:
            plot.draw(made, options.plot)
            _messages.print(f"wrote {options.plot}", markup=False)
    except BenchmarkError as error:
        sys.stdout.flush()
        _messages.print(f"error: {type(error).__name__}: {error}", markup=False, soft_wrap=True)
        return 2
    except KeyboardInterrupt:
        _messages.print("interrupted")
        return 130
    bad = any(row["status"] in ("wrong", "failed") for row in made["summary"])
    return 1 if bad else 0
