"""Processes beside this one that make the same calls with another number of threads, set before the backend loads.

A backend may read ``OPMUX_NUM_THREADS`` once, when it starts its pool: setting it later would then show nothing.
"""

from __future__ import annotations

import atexit
import functools
import json
import os
import sys
from typing import Any

from ....core.errors import ConformanceError
from ....core.plugins import manager
from ...running import channel
from ...running.channel import Send
from ...running.isolation import Worker, WorkerLostError, command

#: The documented variables (``docs/environment.md``).
VARIABLE = "OPMUX_NUM_THREADS"
_BACKENDS = "OPMUX_BACKENDS"
#: Seconds that one op and dtype may take.
_LIMIT = 60.0


class Sibling:
    """One process; lines of JSON to and fro, in the protocol of the suite's workers."""

    def __init__(self, backend: str, threads: int) -> None:
        self._command = command(__name__, backend, str(threads))
        self._worker: Worker | None = None
        self._absent = manager.package_folder(backend) is None

    def digests(self, device: str, op: str, dtype: str) -> dict[str, str]:
        """Return what the calls of an op and dtype give there, by call and kernel.

        Nothing where this process registered the backend itself: its threads are then varied here only.

        Raises:
            ConformanceError: the calls end the process, or raise.
        """
        if self._absent:
            return {}
        try:
            if self._worker is None:
                self._worker = Worker(self._command)
                atexit.register(self._worker.kill)
            self._worker.send(json.dumps({"device": device, "op": op, "dtype": dtype}))
            answer: dict[str, Any] = self._worker.receive(_LIMIT)
        except WorkerLostError as lost:
            self.close()
            raise ConformanceError(f"{op} in a process with other threads: {lost.why}", op=op, dtype=dtype) from lost
        if "error" in answer:
            raise ConformanceError(f"{op} in a process with other threads: {answer['error']}", op=op, dtype=dtype)
        return dict(answer["digests"])

    def close(self) -> None:
        """End the process."""
        if self._worker is not None:
            self._worker.kill()
            self._worker = None


@functools.cache
def sibling(backend: str, threads: int) -> Sibling:
    """Return the process of a backend with so many threads, started at the first question."""
    return Sibling(backend, threads)


def _answer(given: dict[str, Any], send: Send) -> None:
    from ....core.devices.device import find_device
    from ...target import Target, only
    from .determinism import digests

    backend = os.environ[_BACKENDS]
    try:
        target = Target(backend, find_device(given["device"]))
        with only(backend):
            send({"digests": digests(target, given["op"], given["dtype"])})
    except Exception as error:
        send({"error": f"{type(error).__name__}: {error}"})


if __name__ == "__main__":
    os.environ[_BACKENDS], os.environ[VARIABLE] = sys.argv[1:]
    channel.serve(_answer)
