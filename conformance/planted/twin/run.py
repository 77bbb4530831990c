"""Running the suite on the unfaulted twin, which must pass it, and on the null backend, which must pass nothing."""

from __future__ import annotations

from collections.abc import Sequence

from ....core.plugins import manager
from ...results.outcome import CaseResult
from ...running.run import run
from ...running.selection import Selection
from .accelerator import Accelerator
from .backend import Twin
from .call import Call
from .collectives import RanksCall


def run_twin(
    *, whole: bool, own_device: bool = False, ops: Sequence[str] = (), dtypes: Sequence[str] = ()
) -> list[CaseResult]:
    """Return the results of the twin.

    Args:
        whole: every case of every op and dtype; otherwise the quick ones of the profile that it claims first.
        own_device: on a device of its own, not on ``cpu``.
        ops, dtypes: only these.
    """
    twin = Twin(driver=Accelerator if own_device else None)
    manager.register("twin", twin.plugin())
    try:
        profile = None if whole or ops else twin.profiles[0]
        chosen = Selection(("twin",), profile, tuple(ops), tuple(dtypes), quick=not whole, isolate=False)
        return list(run(chosen).cases)
    finally:
        manager.unregister("twin")


def null() -> Twin:
    """Return a backend that claims all that the twin does, and whose kernels do nothing."""

    def nothing(call: Call | RanksCall) -> None:
        """Do nothing."""

    made = Twin()
    for op in made.wares:
        made = made.with_ware(op, faulty=nothing)
    for op in made.collectives:
        made = made.with_collective(op, nothing)
    return made
