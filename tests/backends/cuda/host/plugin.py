"""The backend as a plugin object, on a pretended GPU."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Sequence

from opmux.backends.cuda.device.driver import CudaDriver
from opmux.backends.cuda.kernels import KERNELS
from opmux.backends.cuda.regions.compiler import COMPILERS
from opmux.core.plugins import manager
from opmux.plugin import DeviceDriver, Kernel, RegionCompiler, hookimpl

from .runtime import HostRuntime


class OnHost:
    """What the backend's package is to opmux, with pretended GPUs; one where none is given."""

    def __init__(self, *runtimes: HostRuntime) -> None:
        found = runtimes or (HostRuntime(),)
        peers = {runtime.ordinal: runtime for runtime in found}
        for runtime in found:
            runtime.peers = peers
        self.drivers = [CudaDriver(runtime) for runtime in found]

    @hookimpl
    def opmux_devices(self) -> Sequence[DeviceDriver]:
        return self.drivers

    @hookimpl
    def opmux_kernels(self) -> Iterable[Kernel]:
        return KERNELS

    @hookimpl
    def opmux_region_compilers(self) -> Iterable[RegionCompiler]:
        return COMPILERS


@contextlib.contextmanager
def registered(plugin: object) -> Iterator[None]:
    """Let opmux have a plugin as the backend, in place of the installed one, which found no GPU."""
    manager.status()  # loads what is installed
    if any(known.name == "cuda" for known in manager.status()):
        manager.unregister("cuda")
    manager.register("cuda", plugin)
    try:
        yield
    finally:
        manager.unregister("cuda")
