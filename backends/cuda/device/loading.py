"""Device code of one GPU: compiled once, loaded once, and kept while the process lives."""

from __future__ import annotations

import os
import threading
from collections.abc import Sequence
from typing import Final
from weakref import WeakSet

from .runtime import Function, Module, Runtime


class Loader:
    """Entries of compiled kernels.

    Args:
        runtime: the GPU.
    """

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._modules: dict[tuple[str, tuple[str, ...]], Module] = {}
        self.renew_lock()
        _loaders.add(self)

    def function(self, body: str, parts: Sequence[str], name: str, dynamic_shared: int = 0) -> Function:
        """Return an entry of a kernel.

        Args:
            body: the kernel's text.
            parts: the shared files that it uses.
            name: the entry.
            dynamic_shared: bytes of dynamic shared memory that a block may ask for.

        Raises:
            CudaError: the compiler refuses the text, or the GPU the code.
        """
        key = body, tuple(parts)
        with self._lock:
            module = self._modules.get(key)
            if module is None:
                module = self._runtime.load(self._runtime.compiler.image(body, parts))
                self._modules[key] = module
            return self._runtime.function(module, name, dynamic_shared)

    def renew_lock(self) -> None:
        """Forget who is loading: in the child of a fork it may be a thread that the child does not have."""
        self._lock = threading.RLock()


_loaders: Final[WeakSet[Loader]] = WeakSet()


def _after_fork_in_child() -> None:
    for loader in _loaders:
        loader.renew_lock()


os.register_at_fork(after_in_child=_after_fork_in_child)
