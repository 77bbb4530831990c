"""A process that runs cases for the suite, so that a crash or a hang in one costs that one.

Jobs come as JSON lines on standard input; each case is announced before it runs and reported after it, as JSON lines on
what was standard output. Backends print, so their standard output goes to standard error.
"""

from __future__ import annotations

import faulthandler
import json
import os
import signal
from collections.abc import Callable
from typing import Any, TextIO

from .isolation import Job, folders

Send = Callable[[dict[str, Any]], None]


def run_job(job: Job, send: Send) -> None:
    """Run the cases of one job: one backend on one device, one op, one dtype.

    Args:
        job: what to run.
        send: takes what happens.
    """
    from ...core.devices.device import find_device
    from ..cases.enumerate import cases
    from ..target import Target
    from .execute import execute

    target, todo = Target(job.backend, find_device(job.device)), set(job.only) - set(job.skip)
    for case in cases(job.op, job.dtype, job.quick, job.seed):
        if case.id in todo:
            send({"start": case.id, "kind": case.kind})
            send({"result": execute(case, target, job).to_dict()})
    send({"end": True})


def serve(jobs: TextIO, replies: TextIO) -> None:
    """Run jobs until there are no more."""
    from ...core.dispatch.claims import CLAIMS
    from ...core.runtime import ensure_loaded

    def send(message: dict[str, Any]) -> None:
        replies.write(json.dumps(message) + "\n")
        replies.flush()

    ensure_loaded()
    # What earlier runs found keeps a refuted kernel out of decisions: a second run would call its ops unsupported, or
    # pass their decompositions, and a wrong backend would be conformant.
    CLAIMS.clear()
    send({"ready": True, "folders": folders()})
    for line in jobs:
        run_job(Job.from_json(line), send)


def main() -> None:
    """Serve the process that started this one."""
    faulthandler.enable()
    # A shell that starts the run in the background has it ignore interrupts; one that a backend sends itself ends it.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    # What backends read and print goes elsewhere, also where they do it in C.
    jobs, replies = os.fdopen(os.dup(0), encoding="utf-8"), os.fdopen(os.dup(1), "w", encoding="utf-8")
    with open(os.devnull, "rb") as nothing:
        os.dup2(nothing.fileno(), 0)
    os.dup2(2, 1)
    serve(jobs, replies)


if __name__ == "__main__":
    main()
