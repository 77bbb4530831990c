"""Which queue a call goes on: the device's default one, unless the caller says otherwise."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from contextvars import ContextVar

from .device import Device, Queue

_chosen: ContextVar[Mapping[Device, Queue] | None] = ContextVar("opmux_queues", default=None)


def queue_of(device: Device) -> Queue:
    """Return the queue that calls on a device go on now."""
    chosen = _chosen.get()
    if chosen is not None and device in chosen:
        return chosen[device]
    return device.default_queue


@contextlib.contextmanager
def use_queue(queue: Queue) -> Iterator[Queue]:
    """Put calls inside the block on this queue; work on other queues that they depend on is waited for.

    >>> import opmux as ox
    >>> with ox.use_queue(ox.device("cpu").queue()):
    ...     y = ox.asarray([1.0]) + 1.0
    """
    token = _chosen.set({**(_chosen.get() or {}), queue.device: queue})
    try:
        yield queue
    finally:
        _chosen.reset(token)
