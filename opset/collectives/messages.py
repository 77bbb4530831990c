"""Messages between two ranks, and the barrier: what programs need beside the collectives, by means of them."""

from __future__ import annotations

from typing import Any

from ...core.arrays.array import Array, empty
from ...core.arrays.transfer import to_device
from ...core.arrays.views import normalize_shape
from ...core.collectives.handle import Handle
from ...core.collectives.layout import Layout
from ...core.collectives.mesh import Mesh
from ...core.dtypes import DType, dtype, uint8
from ...core.errors import ArgumentError, ArgumentTypeError, DeviceError, shown
from ...core.kernel import Rejection
from .call import is_mesh
from .ops import permute
from .problem import Problem
from .rules import rank_number

_PAIR = ((0, 1),)


def send(x: Array, mesh: Mesh, /, *, target: int, wait: bool = True) -> Handle | None:
    """Send an array to one other rank, which calls :func:`recv`; no further rank takes part.

    Args:
        x: the array; its device says which local rank sends.
        mesh: the ranks.
        target: the rank that receives.
        wait: whether to return only when the array has gone out. Two ranks that send to each other, and then
            receive, wait for each other until the time limit: one of them takes False, or both.

    Returns:
        None, or a handle where *wait* is False.

    Raises:
        ArgumentError: the target is no rank of the mesh, or is the sender.
        DeviceError: the array is on no device of a local rank.
        CollectiveError: the target failed, was late, or expects something else.
    """
    is_mesh("send", mesh)
    source = _rank_of("send", x, mesh)
    _other("send", "target", mesh, source, target)
    pair = mesh.pair(source, target)
    if pair.is_local:
        pair.mailbox.append(x)
        return None if wait else Handle.done_with(None)
    handle: Handle = permute([x], pair, pairs=_PAIR, wait=False)
    if not wait:
        return handle
    handle.wait()
    return None


def recv(
    mesh: Mesh, /, *, source: int, shape: int | tuple[int, ...], dtype: DType | str, rank: int | None = None,
    wait: bool = True,
) -> Any:  # fmt: skip
    """Return the array that another rank sends with :func:`send`, on the device of the rank that receives.

    Args:
        mesh: the ranks.
        source: the rank that sends.
        shape: of the array.
        dtype: of the array.
        rank: the local rank that receives; None where there is one.
        wait: whether to return the array, or a handle at once.

    Raises:
        ArgumentError: a rank is not in the mesh, or not in this process; in a mesh of one process nothing was sent.
        CollectiveError: the source failed, was late, or sends another shape or dtype.
    """
    is_mesh("recv", mesh)
    t, size = as_dtype(dtype), normalize_shape(shape, where="recv")
    target = _receiver(mesh, rank)
    _other("recv", "source", mesh, target, source)
    pair = mesh.pair(source, target)
    device = mesh.local_devices[mesh.local_ranks.index(target)]
    if not pair.is_local:
        handle: Handle = permute(empty(device, t, size), pair, pairs=_PAIR, wait=False)
        return handle.wait() if wait else handle
    if not pair.mailbox:
        raise ArgumentError(
            f"recv: rank {source} has sent nothing to rank {target} of {mesh}; both are in this process, so send comes "
            f"first",
            source=source,
            target=target,
        )
    sent = pair.mailbox[0]
    if sent.dtype is not t or sent.shape != size:
        raise ArgumentError(
            f"recv: rank {source} has sent {sent.dtype}{list(sent.shape)} to rank {target}, which expects "
            f"{t}{list(size)}",
            source=source,
            target=target,
        )
    found = to_device(pair.mailbox.popleft(), device)
    return found if wait else Handle.done_with(found)


def barrier(mesh: Mesh, /, *, wait: bool = True) -> Handle | None:
    """Return when every rank has called it. In a mesh of one process that is at once.

    Args:
        mesh: the ranks.
        wait: whether to wait, or to return a handle at once.

    Raises:
        CollectiveError: a rank failed, was late, or called something else.

    >>> import opmux as ox
    >>> ox.barrier(ox.Mesh(["cpu:0"]))
    """
    is_mesh("barrier", mesh)
    mesh.check()
    if mesh.is_local:
        return None if wait else Handle.done_with(None)
    from .algorithms import ALGORITHMS
    from .processes import Prepared

    n = mesh.size
    schedule = ALGORITHMS["barrier"][0].build(n)
    if isinstance(schedule, Rejection):
        raise ArgumentError(f"barrier: {schedule.detail}")
    problem = Problem("barrier", n, uint8, Layout((0,) * n), ((0,),) * n, ((0,),) * n)
    handle = Prepared(schedule, problem, mesh, ()).begin([empty(d, uint8, (0,)) for d in mesh.local_devices])
    if not wait:
        return handle
    handle.wait()
    return None


as_dtype = dtype


def _rank_of(name: str, x: Any, mesh: Mesh) -> int:
    if not isinstance(x, Array):
        raise ArgumentTypeError(f"{name}: {shown(x)} is not an opmux array; wrap it with opmux.asarray", op=name)
    for rank, device in zip(mesh.local_ranks, mesh.local_devices, strict=True):
        if device is x.device:
            return rank
    here = ", ".join(d.name for d in mesh.local_devices)
    raise DeviceError(f"{name}: the array is on {x.device}; the local ranks of {mesh} are {here}", op=name)


def _receiver(mesh: Mesh, rank: int | None) -> int:
    local = mesh.local_ranks
    if rank is None and len(local) == 1:
        return local[0]
    if rank is None or rank not in local:
        raise ArgumentError(f"recv: rank={shown(rank)}; say which of the local ranks {list(local)} receives", rank=rank)
    return rank


def _other(name: str, what: str, mesh: Mesh, own: int, given: Any) -> None:
    if rank_number(name, what, mesh.size, given) == own:
        raise ArgumentError(f"{name}: {what}={given} is the calling rank itself", op=name, given=given)
