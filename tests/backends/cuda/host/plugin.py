"""The backend as a plugin object, on a pretended GPU."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from opmux.backends.cuda.driver import CudaDriver
from opmux.backends.cuda.kernels import KERNELS
from opmux.plugin import DeviceDriver, Kernel, hookimpl

from .runtime import HostRuntime


class OnHost:
    """What the backend's package is to opmux, with one pretended GPU."""

    def __init__(self, runtime: HostRuntime | None = None) -> None:
        self.driver = CudaDriver(runtime or HostRuntime())

    @hookimpl
    def opmux_devices(self) -> Sequence[DeviceDriver]:
        return [self.driver]

    @hookimpl
    def opmux_kernels(self) -> Iterable[Kernel]:
        return KERNELS
