"""Collective calls that cannot be made: typed errors that name the rank, and a mesh that can be used afterwards."""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from ....core.arrays.array import Array
from ....core.arrays.ownership import consume
from ....core.collectives.mesh import Mesh
from ....core.dtypes import BY_NAME
from ....core.errors import ConformanceError, KernelError, OpmuxError
from ....core.kernel import Kernel, Launch
from ....core.op import Op, public_of
from ...target import Findings, Target, dense
from ..devices import interception
from ..devices.workload import Workload
from . import calls, checks
from .calls import Call
from .ranks import Ranks

#: The dtype on which what no dtype changes is tried.
ONCE: Final = "float32"


def refused(target: Target, op: Op, ranks: Ranks, findings: Findings) -> None:
    """Calls that are not allowed give typed errors, and the mesh can be used afterwards."""
    reduction = "sum" if calls.is_reduction(op) else ""
    for mesh in ranks.meshes(3):
        given = calls.of(op, BY_NAME[ONCE], 3, reduction, "errors")[0]
        right = checks.upload(given, mesh)
        other = dense(np.zeros((5, 2, 2), given.operands[1].dtype), mesh.local_devices[1])
        narrow = dense(np.zeros(given.operands[1].shape, np.int16), mesh.local_devices[1])
        for arrays, rank in (
            (right[:2], None), ([*right, right[0]], None), ([right[1], right[0], right[2]], 0),
            ([right[0], other, right[2]], 1), ([right[0], narrow, right[2]], 1), ([right[0], None, right[2]], 1),
        ):  # fmt: skip
            _demand_error(op, arrays, mesh, given.attributes, findings, rank)
        for wrong in _WRONG.get(op.name, ()):
            _demand_error(op, right, mesh, {**given.attributes, **wrong}, findings, None)
        with ranks.watched(op.name):
            checks.hold_public(
                op, given, mesh, checks.public(op, given, mesh), findings, "after calls that were refused"
            )


_WRONG: Final[dict[str, tuple[dict[str, Any], ...]]] = {
    "all_reduce": ({"reduction": "mean"}, {"reduction": 3}, {"axis": 7}),
    "reduce_scatter": ({"reduction": "mean"}, {"axis": 7}, {"sizes": (1, 2)}, {"sizes": (9, 0, -2)}),
    "all_gather": ({"axis": 7}, {"axis": -7}),
    "all_to_all": ({"axis": 7}, {"sizes": ((7, 0, 0),)}, {"sizes": ((1, 1, 1), (1, 1, 1), (1, 1, 1))}),
    "broadcast": ({"root": 3}, {"root": -1}, {"root": True}),
    "permute": ({"pairs": ((0, 3),)}, {"pairs": ((0, 1), (2, 1))}, {"pairs": 5}),
}  # fmt: skip


def _demand_error(
    op: Op,
    arrays: Any,
    mesh: Mesh,
    attributes: dict[str, Any],
    findings: Findings,
    rank: int | None,
    late: bool = False,
) -> None:
    findings.held()
    called = False
    try:
        made = public_of(op)(arrays, mesh, **attributes)
        called = True
        for x in made:
            x.numpy()
    except OpmuxError as error:
        # A launch before the call, whose failure nobody knew of then, is named by its op alone.
        if rank is not None and error.culprits.get("rank") != rank and not (late and called):
            raise ConformanceError(f"{op.name}: the error does not say that it is rank {rank}'s: {error}") from error
        return
    raise ConformanceError(f"{op.name}: a call that is not allowed was made: {attributes}", op=op.name)


def lost(target: Target, op: Op, ranks: Ranks, findings: Findings) -> None:
    """An array that ``out=`` consumed, or whose making failed late, is a typed error that names the rank."""
    work = Workload(target)
    reduction = "sum" if calls.is_reduction(op) else ""
    for mesh in ranks.meshes(3):
        rank = next(r for r, d in enumerate(mesh.local_devices) if d in ranks.own)
        given = next(c for c in calls.of(op, work.dtype, 3, reduction, "lost") if all(x.size for x in c.operands))
        if op.name == "broadcast":
            given = Call(given.operands, {"root": rank})
        for lose in (_consumed, _failed_late):
            arrays = checks.upload(given, mesh)
            if not lose(target, work, arrays, rank):
                continue
            _demand_error(op, arrays, mesh, given.attributes, findings, rank, late=lose is _failed_late)
            with ranks.watched(op.name):
                checks.hold_public(op, given, mesh, checks.public(op, given, mesh), findings, "after an array was lost")


def _consumed(target: Target, work: Workload, arrays: list[Array], rank: int) -> bool:
    """Consume an array, as ``out=`` does."""
    gone, arrays[rank] = arrays[rank], dense(np.zeros(1, np.int8), target.device)
    consume(gone)
    arrays[rank] = gone
    return True


def _failed_late(target: Target, work: Workload, arrays: list[Array], rank: int) -> bool:
    """Put what a launch made that failed late in the place of an array; on a host nothing does."""
    device = arrays[rank].device
    if device.is_host:
        return False

    def around(kernel: Kernel, launch: Launch) -> Launch:
        def failing(*given: Any) -> Any:
            return interception.Late(launch(*given), KernelError(f"{kernel.name}: planted by a case", op=kernel.op))

        return failing

    x = arrays[rank]
    with interception.kernels(target, around):
        arrays[rank] = work.add(x, x)
    return True
