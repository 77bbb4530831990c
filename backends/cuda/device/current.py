"""Calls of CUDA with one GPU current: made so before each, and left as the caller had it."""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Callable
from typing import Any, Final, TypeVar

from . import libcuda
from .errors import translated
from .runtime import ForkedError

R = TypeVar("R")


class _Process:
    """Whether CUDA was started in a process that this one was forked from."""

    started = False
    forked = False

    def after_fork(self) -> None:
        self.forked = self.forked or self.started


process: Final = _Process()
os.register_at_fork(after_in_child=process.after_fork)
FORKED: Final = "this process was forked from one that had started CUDA, and CUDA does not follow a fork"


class _Thread(threading.local):
    """Whether a thread has ever made the GPU current."""

    ready = False


class CurrentGpu:
    """One GPU, made current for each call.

    Where it is the only one, it is made current once per thread, and stays so. Else the thread gets back the context
    that it had, or none: ``cudaSetDevice`` would make one on the GPU that the thread had by default, and take memory of
    it (CUDA runtime API, ``cudaSetDevice``, since CUDA 12).

    Args:
        runtime: CuPy's module of the CUDA runtime.
        driver: CuPy's module of the CUDA driver.
        ordinal: the number of the GPU.
        alone: whether it is the only one; if so no other can become current between two calls.
    """

    def __init__(self, runtime: Any, driver: Any, ordinal: int, *, alone: bool) -> None:
        self.runtime = runtime
        self.driver = driver
        self.ordinal = ordinal
        self._alone = alone
        self._errors = (runtime.CUDARuntimeError, driver.CUDADriverError)
        self._thread = _Thread()
        self._context = 0

    def call(self, function: Callable[..., R], *args: object) -> R:
        """Call CUDA with this GPU current, and leave current what the caller had.

        Raises:
            CudaError: what CUDA reports.
            MemoryError: the GPU has not enough.
        """
        if process.forked:
            raise ForkedError(FORKED)
        try:
            if self._alone:
                if not self._thread.ready:
                    self.runtime.setDevice(self.ordinal)
                    self._thread.ready = True
                return function(*args)
            context = self._context
            if not context:  # threads that come here at once get the same one
                context = self._context = libcuda.primary_context(self.ordinal)
            before = self.driver.ctxGetCurrent()
            if before == context:
                return function(*args)
            self.driver.ctxSetCurrent(context)
            try:
                return function(*args)
            finally:
                with contextlib.suppress(*self._errors):  # of a GPU that is lost, which is no loss of this one
                    self.driver.ctxSetCurrent(before)
        except self._errors as error:
            raise translated(error) from error

    def call_during_captures(self, function: Callable[..., R], *args: object) -> R:
        """Call CUDA for what it forbids while another library of the process captures launches."""
        return self.call(lambda: libcuda.during_captures(function, *args))
