"""NVIDIA GPUs: memory, streams and launches through CuPy; every kernel is CUDA C++ of our own."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from ...plugin import DeviceDriver, Kernel, RegionCompiler, hookimpl


@hookimpl
def opmux_devices() -> Sequence[DeviceDriver]:
    """Return a driver for each GPU that the CUDA driver shows to this process."""
    from .device.discovery import runtimes
    from .device.driver import CudaDriver

    return [CudaDriver(runtime) for runtime in runtimes()]


@hookimpl
def opmux_kernels() -> Iterable[Kernel]:
    """Return every kernel of this backend; one is compiled when the first call needs it."""
    from .kernels import KERNELS

    return KERNELS


@hookimpl
def opmux_region_compilers() -> Iterable[RegionCompiler]:
    """Return what makes one kernel of several ops."""
    from .regions.compiler import COMPILERS

    return COMPILERS
