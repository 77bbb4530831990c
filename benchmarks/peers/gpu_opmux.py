"""opmux on a GPU."""

from __future__ import annotations

import contextlib
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

import opmux as ox
from opmux.core.devices.device import Device

from .base import versions_of
from .gpu import Gpu, Timed, cuda_events, state
from .opmux import ready

#: Holds for the life of the process: what the backend lacks is to be reported, not to run elsewhere.
_policy: Final = contextlib.ExitStack()


def _to_numpy(x: Any) -> NDArray[Any]:
    return np.asarray(x.numpy())


def on(device: Device, timed: Timed, cache: int, described: dict[str, str]) -> Gpu:
    """Return opmux on a device."""

    def put(x: NDArray[Any]) -> Any:
        return ox.asarray(x, copy=True, device=device)

    def trim() -> None:
        device.synchronize()  # memory is given back behind the work that used it
        device.driver.runtime.trim()

    return Gpu("opmux-cuda", ready, put, _to_numpy, timed, cache, described, trim)


def peer(backend: str | None) -> Gpu:
    """Return opmux on the first GPU, with what that is."""
    from cupy_backends.cuda.api import runtime

    from opmux.backends.cuda.compiling import nvrtc

    _policy.enter_context(ox.policy(backends=backend))
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
    return on(device, cuda_events(device.default_queue.handle.handle), properties.cache, described)
