"""The meeting at which the processes of a job agree on a mesh: who they are, and that they speak the same opset."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ..devices.device import Device
from ..errors import CollectiveError
from .communicator import Communicator


@dataclass(frozen=True, slots=True)
class Member:
    """One rank.

    Attributes:
        process: the process that it belongs to.
        device: its device's name there.
        product: what the device is, for people.
    """

    process: int
    device: str
    product: str


def meet(communicator: Communicator | None, own: Sequence[Device], timeout: float) -> tuple[Member, ...]:
    """Return the members of a mesh: every process's devices, in the order of the processes.

    Raises:
        CollectiveError: a process does not come, or has another version, opset or set of plugins.
    """
    if communicator is None:
        return tuple(Member(0, d.name, d.info.name) for d in own)
    record = {**identity(), "devices": [[d.name, d.info.name] for d in own]}
    records = [json.loads(r) for r in communicator.gather(json.dumps(record).encode(), timeout)]
    for process, other in enumerate(records):
        _compare(process, records[0], other)
    return tuple(Member(p, name, product) for p, r in enumerate(records) for name, product in r["devices"])


def identity() -> dict[str, Any]:
    """Return what must be the same in every process for their results, and their choices, to be."""
    from importlib.metadata import version

    from ..dispatch.registry import REGISTRY

    plugins = {name: c.version for name, c in sorted(REGISTRY.contributions.items())}
    return {"opmux": version("opmux"), "opset": REGISTRY.opset_version, "plugins": plugins}


def _compare(process: int, first: dict[str, Any], other: dict[str, Any]) -> None:
    for what in ("opmux", "opset", "plugins"):
        if first[what] != other[what]:
            raise CollectiveError(
                f"Mesh: process {process} has {what} {other[what]}, process 0 has {first[what]}; install the same "
                f"versions of opmux and its plugins everywhere",
                process=process,
                what=what,
                cause="mismatch",
            )
