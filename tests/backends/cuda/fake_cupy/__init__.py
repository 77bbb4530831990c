"""CuPy's bindings of CUDA for tests: nothing is computed, every call is recorded, and what CUDA forbids is refused.

:class:`FakeCuda` is the machine. A call that breaks a rule of CUDA's raises :class:`MisuseError`, which no code under
test knows, so that it reaches the test.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from unittest import mock

from opmux.backends.cuda.device import current
from opmux.backends.cuda.device import libcuda as driver_library

from .bindings import CUDADriverError, CUDARuntimeError, modules
from .cublas import FakeCublas
from .libcuda import FakeDriverLibrary
from .machine import FakeCuda, Gpu, MisuseError
from .nccl import NcclError, binding

__all__ = [
    "CUDADriverError", "CUDARuntimeError", "FakeCublas", "FakeCuda", "Gpu", "MisuseError", "NcclError", "installed",
]  # fmt: skip


@contextlib.contextmanager
def installed(cuda: FakeCuda, *, nccl: bool = False, cublas: FakeCublas | None = None) -> Iterator[FakeCuda]:
    """Let CuPy's bindings be those of a fake machine, with the libraries given, in a process without CUDA yet."""
    process = current.process
    # None: a module that cannot be imported
    found = {
        "cupy_backends.cuda.libs.nccl": binding(cuda) if nccl else None,
        "cuda.pathfinder": cublas.pathfinder() if cublas else None,
    }
    unstarted = mock.patch.multiple(process, started=False, forked=False)
    library = mock.patch.object(driver_library, "library", return_value=FakeDriverLibrary(cuda))
    with mock.patch.dict(sys.modules, {**modules(cuda), **found}), unstarted, library:
        yield cuda
