"""Whether the device that a benchmark is about is there."""

from __future__ import annotations

from opmux.core.devices.device import DEVICES
from opmux.core.plugins import manager

from .errors import DeviceMissingError


def check_device(kind: str) -> None:
    """Raise where there is no device of a kind (``"cpu"`` is always there), with what ``opmux doctor`` says of it.

    Raises:
        DeviceMissingError: what is missing, and what to do.
    """
    if kind == "cpu":
        return
    manager.load_all()
    if any(device.kind == kind for device in DEVICES):
        return
    said = [f"{s.name} is {s.state}: {s.reason}; {s.remedy}" for s in manager.status() if s.name == kind]
    raise DeviceMissingError("; ".join(said) or f"no installed backend has devices of kind {kind!r}")
