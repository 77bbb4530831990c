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

from ..running.isolation import Worker, WorkerLostError

#: The documented variable (``docs/environment.md``).
VARIABLE = "OPMUX_NUM_THREADS"
#: Seconds that one op and dtype may take.
_LIMIT = 60.0


class Sibling:
    """One process; lines of JSON to and fro, in the protocol of the suite's workers."""

    def __init__(self, backend: str, threads: int) -> None:
        self._worker: Worker | None = None
        try:
            self._worker = Worker((sys.executable, "-m", __name__, backend, str(threads)))
        except WorkerLostError:
            return  # the backend cannot be loaded a second time: its threads are varied in this process alone
        atexit.register(self._worker.kill)

    def digests(self, device: str, op: str, dtype: str) -> dict[str, str]:
        """Return what the calls of an op and dtype give there, by call and kernel; nothing where it cannot say."""
        if self._worker is None:
            return {}
        try:
            self._worker.send(_Question(device, op, dtype))  # type: ignore[arg-type]
            answer: dict[str, Any] = self._worker.receive(_LIMIT)
        except WorkerLostError:
            self._worker = None
            raise
        return dict(answer["digests"])


class _Question:
    def __init__(self, device: str, op: str, dtype: str) -> None:
        self._given = {"device": device, "op": op, "dtype": dtype}

    def to_json(self) -> str:
        return json.dumps(self._given) + "\n"


@functools.cache
def sibling(backend: str, threads: int) -> Sibling:
    """Return the process of a backend with so many threads, started at the first question."""
    return Sibling(backend, threads)


def _serve(backend: str) -> None:
    from ...core.devices.device import find_device
    from ...core.runtime import ensure_loaded
    from ..target import Target, only
    from .determinism import digests

    replies = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # backends print

    def send(message: dict[str, Any]) -> None:
        replies.write(json.dumps(message) + "\n")
        replies.flush()

    ensure_loaded()
    send({"ready": True})
    for line in sys.stdin:
        given = json.loads(line)
        try:
            target = Target(backend, find_device(given["device"]))
            with only(backend):
                found = digests(target, given["op"], given["dtype"])
        except Exception as error:  # a backend that only the other process has: nothing is known of it here
            print(error, file=sys.stderr)
            found = {}
        send({"digests": found})


if __name__ == "__main__":
    os.environ["OPMUX_BACKENDS"], os.environ[VARIABLE] = sys.argv[1:]
    _serve(sys.argv[1])
