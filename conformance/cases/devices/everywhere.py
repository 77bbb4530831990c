"""Copies between a device and every other one that is installed, in a process that loads them all.

Cases run in processes with the backend under test and the owner of its device alone, so that nothing else can serve
what it should.
"""

from __future__ import annotations

import json
import os
from typing import Any, Final

from ....core.devices.device import DEVICES
from ....core.errors import ConformanceError
from ....core.plugins import manager
from ...running import channel
from ...running.channel import Send
from ...running.isolation import Worker, WorkerLostError, command
from ...target import Findings, Target
from ..case import DeviceContext

#: The documented variable (``docs/environment.md``).
_BACKENDS: Final = "OPMUX_BACKENDS"
#: Seconds that all pairs may take.
_LIMIT: Final = 60.0


def everywhere(target: Target, findings: Findings, context: DeviceContext) -> None:
    """Every dtype and size goes to the first device of every other kind installed, and back.

    A backend that this process registered itself cannot be loaded elsewhere: it is tried with what is here.
    """
    from .interop import between, partners

    owner = target.device.owner
    if owner != "opmux" and manager.package_folder(owner) is None:
        for other in partners(target.device):
            between(target.device, other, findings, context.seed)
        findings.held()
        return
    worker = None
    try:
        worker = Worker(command(__name__))
        worker.send(json.dumps({"device": target.device.name, "seed": context.seed}))
        answer: dict[str, Any] = worker.receive(_LIMIT)
    except WorkerLostError as lost:
        raise ConformanceError(f"copies between {target.device} and other devices: {lost.why}") from lost
    finally:
        if worker is not None:
            worker.kill()
    if "error" in answer:
        raise ConformanceError(f"copies between {target.device} and other devices: {answer['error']}")
    findings.assertions += int(answer["held"]) + 1


def _answer(given: dict[str, Any], send: Send) -> None:
    from .interop import between, partners

    findings = Findings()
    try:
        device = next(d for d in DEVICES if d.name == given["device"])
        for other in partners(device):
            between(device, other, findings, given["seed"])
        send({"held": findings.assertions})
    except Exception as error:
        send({"error": f"{type(error).__name__}: {error}"})


if __name__ == "__main__":
    os.environ.pop(_BACKENDS, None)
    channel.serve(_answer)
