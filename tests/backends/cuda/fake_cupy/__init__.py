"""CuPy's bindings of CUDA for tests: nothing is computed, every call is recorded, and what CUDA forbids is refused.

:class:`FakeCuda` is the machine. A call that breaks a rule of CUDA's raises :class:`MisuseError`, which no code under
test knows, so that it reaches the test.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from unittest import mock

from opmux.backends.cuda import cupy_runtime

from .bindings import CUDADriverError, CUDARuntimeError, modules
from .machine import FakeCuda, Gpu, MisuseError
from .nccl import NcclError, binding

__all__ = ["NcclError", "CUDADriverError", "CUDARuntimeError", "FakeCuda", "Gpu", "MisuseError", "installed"]


@contextlib.contextmanager
def installed(cuda: FakeCuda, *, nccl: bool = False) -> Iterator[FakeCuda]:
    """Let CuPy's bindings be those of a fake machine, with NCCL or without, in a process that has not started CUDA."""
    process = cupy_runtime._process
    # None: a module that cannot be imported
    found = {"cupy_backends.cuda.libs.nccl": binding(cuda) if nccl else None, "cuda.pathfinder": None}
    unstarted = mock.patch.multiple(process, started=False, forked=False)
    with mock.patch.dict(sys.modules, {**modules(cuda), **found}), unstarted:
        yield cuda
