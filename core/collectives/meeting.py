"""The meeting at which the processes of a job agree on a mesh: who they are, and that they speak the same opset."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

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


#: What launchers set to a number of processes, in the order of trust, and of what one must stand beside it: Open MPI;
#: MPICH and Intel MPI (Hydra); MVAPICH2; Slurm, which sets its own for every step, also where none speaks to MPI; and
#: Hydra's count of the processes on this machine, where it hands out no other.
_LAUNCHERS: Final[Mapping[str, tuple[str, ...]]] = {
    "OMPI_COMM_WORLD_SIZE": (),
    "PMI_SIZE": (),
    "MV2_COMM_WORLD_SIZE": (),
    "SLURM_STEP_NUM_TASKS": ("PMIX_RANK", "PMI_RANK"),
    "MPI_LOCALNRANKS": (),
}


def launched() -> Iterator[tuple[str, int]]:
    """Yield each variable by which a launcher of several processes made itself known, with the number in it.

    The environment is all that is looked at. Nothing is yielded where this process was started by itself.
    """
    for variable, besides in _LAUNCHERS.items():
        given = os.environ.get(variable, "")
        if given.isdecimal() and (not besides or any(b in os.environ for b in besides)):
            yield variable, int(given)


def check_not_launched() -> None:
    """Refuse to make a mesh of this process alone where a launcher has started several: each would work by itself.

    Raises:
        CollectiveError: with ``variable``.
    """
    for variable, processes in launched():
        if processes > 1:
            raise CollectiveError(
                f"Mesh: a launcher has started {processes} processes ({variable}), and no backend carries messages "
                f"between them; pip install 'opmux[mpi]', look at `opmux doctor`, or take Mesh(communicator='none') "
                f"for a mesh of each process alone",
                variable=variable,
                processes=processes,
            )


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
