"""opmux on a GPU."""

from __future__ import annotations

import contextlib
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

import opmux as ox
from opmux.core.devices.device import Device

from ..case import Case
from ..errors import UnsupportedCaseError
from .base import Function, versions_of
from .gpu import Gpu, Timed, cuda_events, state
from .opmux import ready

#: Holds for the life of the process: what the backend lacks is to be reported, not to run elsewhere.
_policy: Final = contextlib.ExitStack()


def _to_numpy(x: Any) -> NDArray[Any]:
    return np.asarray(x.numpy())


def _own(case: Case, operands: tuple[Any, ...]) -> tuple[Function, str]:
    """Make a matrix product ready, which opmux's own kernels do."""
    if case.kind != "matmul":
        raise UnsupportedCaseError("without cuBLAS, matrix products alone are done otherwise")
    return ready(case, operands)


def on(device: Device, timed: Timed, cache: int, described: dict[str, str], *, own: bool = False) -> Gpu:
    """Return opmux on a device, or its own kernels alone, without cuBLAS."""
    if own:
        device.driver.runtime.lacks_blas = lambda: "cuBLAS is left out: opmux's own kernels are measured"

    def put(x: NDArray[Any]) -> Any:
        return ox.asarray(x, copy=True, device=device)

    def trim() -> None:
        device.synchronize()  # memory is given back behind the work that used it
        device.driver.runtime.trim()

    name, make = ("opmux-own-cuda", _own) if own else ("opmux-cuda", ready)
    return Gpu(name, make, put, _to_numpy, timed, cache, described, trim, loaded=True)


def peer(way: str | None) -> Gpu:
    """Return opmux on the first GPU, with what that is; ``"own"`` for its own kernels alone."""
    from cupy_backends.cuda.api import runtime

    from opmux.backends.cuda.compiling import nvrtc

    _policy.enter_context(ox.policy(backends="cuda"))
    device = ox.device("cuda:0")
    properties = device.driver.runtime.properties
    described = {
        **versions_of("opmux", "numpy", "cupy-cuda13x", "nvidia-cuda-nvrtc"),
        "device": properties.name,
        "compute capability": ".".join(map(str, properties.capability)),
        "CUDA of the driver": str(runtime.driverGetVersion()),
        "CUDA runtime": str(runtime.runtimeGetVersion()),
        "NVRTC": ".".join(map(str, nvrtc.version())),
        **state(),
    }
    timed = cuda_events(device.default_queue.handle.handle)
    return on(device, timed, properties.cache, described, own=way == "own")
