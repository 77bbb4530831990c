"""A process that runs cases for the suite, so that a crash or a hang in one costs that one.

A request is a job; each of its cases is announced before it runs and reported after it, and so are the families of
regions that run in it: of one that takes the process down nothing else would be known.
"""

from __future__ import annotations

from typing import Any

from . import channel
from .channel import Send
from .isolation import Job


def run_job(given: dict[str, Any], send: Send) -> None:
    """Run the cases of one job: one backend on one device, one op, one dtype.

    Args:
        given: the job, as :meth:`.isolation.Job.to_json` wrote it.
        send: takes what happens.
    """
    from ...core.devices.device import find_device
    from ..cases.enumerate import cases
    from ..target import Target
    from .execute import execute

    job = Job.from_dict(given)
    target, todo = Target(job.backend, find_device(job.device)), set(job.only) - set(job.skip)
    for case in cases(job.op, job.dtype, job.quick, job.seed):
        if case.id in todo:
            send({"start": case.id, "kind": case.kind})
            send({"result": execute(case, target, job, lambda name: send({"runs": name})).to_dict()})
    send({"end": True})


def main() -> None:
    """Serve the process that started this one."""
    channel.serve(run_job)


if __name__ == "__main__":
    main()
