"""The command that runs a program and writes its call log: record."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Annotated, Final

import typer

from ..core.dispatch.record import VARIABLE, make_room
from ..core.errors import ArgumentError
from .output import messages

_DEFAULT: Final = "calls.jsonl"


def add_to(app: typer.Typer) -> None:
    """Add the command of this module."""
    # What follows the program's name is the program's, options too.
    app.command(context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False})(record)


def record(
    command: Annotated[list[str], typer.Argument(metavar="PROGRAM", help="What to run, and its arguments, after --.")],
    output: Annotated[Path, typer.Option("-o", "--output", metavar="LOG", help="Where the log goes.")] = Path(_DEFAULT),
) -> None:
    """Run a program and write the log of its opmux calls: signatures and dependences, no data.

    What it is for: opmux plan, which says what the program would come to on a
    device that need not exist. An earlier log is overwritten. Each further
    process that the program starts and that calls opmux writes LOG.PID.

    Exit status: the program's; 128 + N where signal N ended it, 2 on wrong usage.

    Example: opmux record -- python train.py --epochs 1

    Example: opmux record -o bert.jsonl -- python -m bert
    """
    program = shutil.which(command[0])
    if program is None:
        raise ArgumentError(f"no program {command[0]!r} that can be run; give it as you would without opmux record")
    log = output.absolute()
    make_room(log, "-o")
    before = set(_others(log))
    status = _run([program, *command[1:]], {**os.environ, VARIABLE: str(log)})
    _report(log, output, sorted(set(_others(log)) - before))
    raise typer.Exit(status)


def _run(command: list[str], environment: dict[str, str]) -> int:
    """Run a program to its end and return its exit status as a shell gives it."""
    sys.stdout.flush()
    process = subprocess.Popen(command, env=environment)
    # Who ends this command means the program; an interrupt from the terminal reaches both, and the program decides.
    before = signal.signal(signal.SIGTERM, lambda number, frame: process.send_signal(number))
    try:
        while True:
            try:
                status = process.wait()
            except KeyboardInterrupt:
                continue
            return status if status >= 0 else 128 - status
    finally:
        signal.signal(signal.SIGTERM, before)


def _others(log: Path) -> list[Path]:
    """Return the logs of further processes."""
    return [p for p in log.parent.glob(f"{log.name}.*") if p.name.removeprefix(f"{log.name}.").isdigit()]


def _report(log: Path, shown: Path, others: list[Path]) -> None:
    if not log.exists():
        messages.print("the program made no opmux calls, so there is no log", markup=False)
        return
    for path, name in ((log, str(shown)), *((p, str(shown.with_name(p.name))) for p in others)):
        lines = path.read_bytes().splitlines()
        calls = sum(line.startswith(b'{"call"') for line in lines)
        ended = bool(lines) and lines[-1].startswith(b'{"end"')
        note = "" if ended else "; the program did not come to its end"
        messages.print(f"recorded {calls:,} calls in {name}{note}", markup=False)
