"""The same in a process of its own: a kernel that crashes or hangs while it is timed costs the times, not the run."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, Final

from ...core.errors import ConformanceError, OpmuxError
from ..running import channel
from ..running.channel import Send
from ..running.isolation import Worker, WorkerLostError
from ..running.isolation import command as module_command
from .measure import Progress
from .phase import BUDGET, Performance, performance

COMMAND: Final = module_command("opmux.conformance.performance.isolated")
#: Seconds without a word, in which one call is timed.
_LIMIT: Final = 120.0


def performance_isolated(
    backend: str,
    device: str,
    *,
    dtypes: Sequence[str] | None = None,
    pairs: Sequence[tuple[str, str]] | None = None,
    budget: float = BUDGET,
    progress: Progress | None = None,
    command: tuple[str, ...] = COMMAND,
    limit: float = _LIMIT,
) -> Performance:
    """Measure a backend on a device, as :func:`.phase.performance` does, in another process.

    Args:
        backend, device: names.
        dtypes, pairs, budget, progress: as there.
        command: starts the process.
        limit: seconds that a single call may take.

    Raises:
        ConformanceError: when that process died or hung; the message says during which call.
    """
    what = "its start"
    try:
        worker = Worker(command)
    except WorkerLostError as lost:
        raise _lost(backend, what, lost) from lost
    try:
        request = {"backend": backend, "device": device, "dtypes": dtypes, "pairs": pairs, "budget": budget}
        worker.send(json.dumps(request))
        while True:
            message = worker.receive(limit)
            if "performance" in message:
                return Performance.from_dict(message["performance"])
            if "error" in message:
                raise ConformanceError(f"{backend} was not timed: {message['error']}", backend=backend)
            done, of, what = message["progress"]
            if progress is not None:
                progress(done, of, what)
    except WorkerLostError as lost:
        raise _lost(backend, what, lost) from lost
    finally:
        worker.kill()


def _lost(backend: str, what: str, lost: WorkerLostError) -> ConformanceError:
    return ConformanceError(f"{backend} has no times; during {what}: {lost.why}", backend=backend, during=what)


def answer(asked: dict[str, Any], send: Send) -> None:
    """Measure what is asked for."""
    from ...core.devices.device import find_device

    pairs = None if asked["pairs"] is None else [(op, dtype) for op, dtype in asked["pairs"]]
    try:
        made = performance(
            asked["backend"], find_device(asked["device"]), dtypes=asked["dtypes"], pairs=pairs,
            budget=asked["budget"], progress=lambda done, of, what: send({"progress": [done, of, what]}),
        )  # fmt: skip
    except OpmuxError as error:
        send({"error": f"{type(error).__name__}: {error}"})
        return
    send({"performance": made.to_dict()})


if __name__ == "__main__":
    channel.serve(answer)
