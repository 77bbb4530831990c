"""The CUDA driver's own library, for what CuPy does not bind. Prototypes: CUDA driver API."""

from __future__ import annotations

import ctypes
import functools
from collections.abc import Callable
from typing import Any, Final, TypeVar

from .errors import check

R = TypeVar("R")

_LIBRARY: Final = "libcuda.so.1"
_RELAXED: Final = 2


@functools.cache
def library() -> Any:
    """Return the driver's library, which is loaded already where a GPU was found."""
    return ctypes.CDLL(_LIBRARY)


def primary_context(ordinal: int) -> int:
    """Return the context that a GPU's users share, made if it is the first time; it stays while the process lives."""
    context = ctypes.c_void_p()
    status = library().cuDevicePrimaryCtxRetain(ctypes.byref(context), ctypes.c_int(ordinal))
    check(status, f"the context of GPU {ordinal}")
    return int(context.value or 0)


def during_captures(function: Callable[..., R], *args: object) -> R:
    """Do what CUDA forbids while somebody captures launches, as PyTorch does: nothing of it is captured.

    Without this, to load code or to make a pool fails in every thread while one captures in CUDA's default mode, and
    spoils that capture (CUDA driver API, ``cuThreadExchangeStreamCaptureMode``). Where nobody captures it changes
    nothing.
    """
    mode = ctypes.c_int(_RELAXED)
    exchange = library().cuThreadExchangeStreamCaptureMode
    check(exchange(ctypes.byref(mode)), "the thread's mode of captures")
    try:
        return function(*args)
    finally:
        check(exchange(ctypes.byref(mode)), "the thread's mode of captures")
