"""``out=`` of a collective: memory of the caller's for the results of the ranks of this process."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from ...core.arrays.array import Array
from ...core.arrays.ownership import OutError, check_usable, consume, is_sole_owner
from ...core.collectives.mesh import Mesh
from ...core.dispatch.decision import Decision
from ...core.errors import ArgumentTypeError, ConsumedError, shown

#: Collectives whose kernels may find a rank's result in the memory of its own operand: each element is read, on every
#: rank, before it is written on any, or it is written where it stands.
_IN_PLACE: Final = frozenset({"all_reduce", "broadcast"})


def taken(
    decision: Decision, operands: Sequence[Array], mesh: Mesh, out: Any
) -> tuple[Sequence[Array], tuple[Array, ...] | None]:
    """Consume *out*; return the operands, and the results to be written in its memory.

    The results are None where fresh ones are needed: the chosen way is no single launch on the host, or would overwrite
    what it has yet to read. So *out* is a permission, as it is for ops.

    Args:
        decision: of the call.
        operands: of the local ranks.
        mesh: the ranks.
        out: an exclusively owned array per local rank, which may be that rank's operand.

    Raises:
        ArgumentTypeError, OutError, ConsumedError: naming the rank; nothing is consumed then.
    """
    given = (out,) if isinstance(out, Array) else out
    fits = (given.__class__ is list or given.__class__ is tuple) and len(given) == len(operands)
    if fits:
        for y, wanted in zip(given, decision.outputs, strict=True):
            if y.__class__ is not Array or y._sig is not wanted or y._offset or not is_sole_owner(y):
                fits = False
                break
    if not fits:
        _check(decision, given, mesh)
    ins, outs, own = list(operands), [], False
    for i, (y, wanted) in enumerate(zip(given, decision.outputs, strict=True)):
        sig, offset = y._sig, y._offset
        buffer = consume(y)
        outs.append(Array(buffer, wanted))
        if operands[i] is y:  # the call still reads the old value; only the caller's handle is consumed
            own, ins[i] = True, Array(buffer, sig, offset)
    if not fits or not _launches(decision) or (own and decision.op.name not in _IN_PLACE):
        return ins, None
    return ins, tuple(outs)


def _launches(decision: Decision) -> bool:
    """Return whether a call is one launch of a kernel on its operands as they are, complete when it returns."""
    chosen = decision.chosen
    # Where one rank is the host all are: kernels over all ranks' memory are for ranks of one kind.
    if chosen.prepared is None or chosen.copies or not decision.device.is_host:
        return False
    return any(s.size for s in decision.outputs)


def _check(decision: Decision, given: Any, mesh: Mesh) -> None:
    name, ranks = decision.op.name, len(decision.outputs)
    if not isinstance(given, list | tuple):
        raise ArgumentTypeError(f"{name}: out={shown(given)} is no list of arrays; give one per local rank", op=name)
    if len(given) != ranks:
        raise OutError(f"{name}: out= has {len(given)} arrays for {ranks} local ranks of {mesh}", op=name)
    for rank, y, wanted in zip(mesh.local_ranks, given, decision.outputs, strict=True):
        if not isinstance(y, Array):
            raise ArgumentTypeError(f"{name}: out= of rank {rank} is a {type(y).__name__}, not an opmux array", op=name)
        try:
            check_usable(y)
        except ConsumedError as error:
            raise ConsumedError(f"{name}: out= of rank {rank}: {error}", op=name, rank=rank) from None
        if y.device is not wanted.device or y.dtype is not wanted.dtype or y.shape != wanted.shape:
            raise OutError(
                f"{name}: the result of rank {rank} is {wanted.dtype} of shape {wanted.shape} on {wanted.device}; out= "
                f"is {y._sig}. Pass an array of that dtype and shape there",
                op=name,
                rank=rank,
                shape=y.shape,
            )
        if not is_sole_owner(y):
            raise OutError(
                f"{name}: out= of rank {rank} shares its memory with a view, another name for the same value, an "
                f"export, or the program that it was imported from; pass an array that nothing else sees",
                op=name,
                rank=rank,
            )
