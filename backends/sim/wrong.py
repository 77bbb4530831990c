"""What injected faults do: wrong values, and work whose end never comes."""

from __future__ import annotations

from collections.abc import Mapping

from ...plugin import HostBytes
from .errors import HangError
from .injection import Fault, Kind
from .memory import View
from .queues import Task, Work


def spoil(work: Work, met: Mapping[Kind, Fault], target: HostBytes | None, lanes: int) -> None:
    """Make the wrong values that were drawn, in device memory or in the host memory that the work wrote.

    Args:
        work: what was done.
        met: the faults.
        target: host memory that it wrote, if it did.
        lanes: of the vector unit.
    """
    if Kind.DMA_CORRUPT in met:
        size = met[Kind.DMA_CORRUPT].size
        data = work.writes[0].content() if target is None else target
        data[size // 8 % data.size] ^= 1 << size % 8
    if Kind.LANE in met:
        for view in work.writes:
            _flip_lane(view, met[Kind.LANE].size, lanes)


def _flip_lane(view: View, size: int, lanes: int) -> None:
    """Flip a bit in every element that one lane made; results are contiguous."""
    content = view.content()
    step = min(lanes, max(content.size, 1))
    line = content.reshape(-1).view(f"u{view.dtype.itemsize}")
    bits = 1 if view.dtype.name == "bool" else 8 * view.dtype.itemsize
    line[size % step :: step] ^= line.dtype.type(1 << size // step % bits)


def endless(device: str, task: Task, fault: Fault, limit: float) -> HangError:
    """Return what is told of work whose end never comes, or is never told.

    Args:
        device: its name.
        task: the work.
        fault: what was injected into it.
        limit: virtual seconds that were waited.
    """
    queue = task.queue.number
    where, when = f"{task.op} on queue {queue}", f"within {limit:g} s of virtual time"
    what = {
        Kind.HANG: f"{where} did not end {when}, nor will what was put on the queue after it",
        Kind.LOST_COMPLETION: f"no word of {where} came {when}",
    }
    return HangError(f"{device}: {what[fault.kind]} ({fault})", device=device, queue=queue, op=task.op, limit=limit)
