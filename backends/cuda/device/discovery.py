"""The GPUs of this process, through CuPy; or what keeps CUDA from starting, and what to do about it.

Only ``cupy_backends`` is imported, which takes a tenth of the time of ``cupy``.
"""

from __future__ import annotations

import logging
from typing import Any, Final

from ....plugin import DeviceError
from ..compiling import nvrtc
from .cupy_runtime import CupyRuntime
from .current import FORKED, process
from .errors import INSUFFICIENT_DRIVER, NO_DEVICE

_log: Final = logging.getLogger("opmux")


def runtimes() -> list[CupyRuntime]:
    """Return the GPUs that the CUDA driver shows to this process and that kernels run on; none where there is none.

    Raises:
        DeviceError: the driver or an installation is wrong, or no GPU is new enough; what it is and what to do.
    """
    from cupy_backends.cuda.api import driver, runtime

    if process.forked:
        raise DeviceError(FORKED)
    if runtime.driverGetVersion() == 0:  # no driver: nothing to complain of
        return []
    try:
        count = runtime.getDeviceCount()
        process.started = True
        found = [CupyRuntime(runtime, driver, i, alone=count == 1) for i in range(count)]
    except runtime.CUDARuntimeError as error:
        if error.status == NO_DEVICE:
            return []
        raise DeviceError(_why(runtime, error)) from error
    fit = [r for r in found if r.refusal is None]
    refused = [r.refusal for r in found if r.refusal is not None]
    if refused and not fit:
        raise DeviceError("; ".join(refused))
    for why in refused:
        _log.warning("a GPU is left out: %s", why)
    if fit:
        nvrtc.library_path()
    return fit


def _why(runtime: Any, error: Exception) -> str:
    if getattr(error, "status", None) == INSUFFICIENT_DRIVER:
        has, needs = (_version(v()) for v in (runtime.driverGetVersion, runtime.runtimeGetVersion))
        return (
            f"the NVIDIA driver serves CUDA {has} and CuPy is made for CUDA {needs}: install a newer driver, or a CuPy "
            f"for CUDA {has.partition('.')[0]}.x"
        )
    return f"CUDA cannot be started: {error}; nvidia-smi says what the driver sees"


def _version(number: int) -> str:
    return f"{number // 1000}.{number % 1000 // 10}"
