"""A device in the tests with an address space of its own, a queue thread, and errors that come late.

Nothing here is host memory to opmux: handles are opaque objects, pointers are (block, offset) pairs that no
NumPy call accepts, and work happens on a thread after the call has returned. It reaches opmux through
``opmux.plugin`` alone.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from opmux.plugin import DeviceDriver, Kernel, hookimpl

from .driver import RemoteDriver
from .kernels import kernels


class RemotePlugin:
    """The plugin object; tests make one with the faults that they want.

    Args:
        devices: how many devices it brings.
        only: the ops that it has kernels for; None for all that it can.
    """

    def __init__(self, devices: int = 1, only: frozenset[str] | None = None) -> None:
        self.drivers = [RemoteDriver() for _ in range(devices)]
        self._only = only

    @hookimpl
    def opmux_devices(self) -> Iterable[DeviceDriver]:
        return self.drivers

    @hookimpl
    def opmux_kernels(self) -> Iterable[Kernel]:
        return [k for k in kernels() if self._only is None or k.op in self._only]


__all__: list[Any] = ["RemoteDriver", "RemotePlugin"]
