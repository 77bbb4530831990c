"""Device code of one GPU: compiled and loaded once, when it is first launched, and kept while the process lives."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Sequence
from typing import Final
from weakref import WeakSet

from .runtime import CudaError, Function, Module, Runtime

#: A kernel's text and the shared files that it uses.
Text = tuple[str, tuple[str, ...]]


class Entry:
    """An entry of a kernel, which nobody has compiled while nobody has launched it.

    Args:
        loader: compiles and loads it.
        text: the kernel's.
        name: the entry.
        dynamic_shared: bytes of dynamic shared memory that a block may ask for.
    """

    __slots__ = ("_dynamic_shared", "_loader", "_made", "_name", "_text")

    def __init__(self, loader: Loader, text: Text, name: str, dynamic_shared: int) -> None:
        self._loader = loader
        self._text = text
        self._name = name
        self._dynamic_shared = dynamic_shared
        self._made: Function | None = None

    def loaded(self) -> Function:
        """Return what a runtime launches; the first time it is compiled, or found in the cache, and loaded.

        Raises:
            CudaError: the compiler refuses the text, or the GPU the code; the next call tries again.
            MemoryError: the GPU has no memory for the code.
        """
        if self._made is None:
            self._made = self._loader.load(self._text, self._name, self._dynamic_shared)
        return self._made


class Loader:
    """Entries of kernels.

    Args:
        runtime: the GPU.
        target: what code is compiled for, by name.
        with_room: calls for what takes memory of the GPU, and once more where there was none.
    """

    def __init__(self, runtime: Runtime, target: str, with_room: Callable[..., Module]) -> None:
        self._runtime = runtime
        self._target = target
        self._with_room = with_room
        self._modules: dict[Text, Module] = {}
        self.renew_lock()
        _loaders.add(self)

    def function(self, body: str, parts: Sequence[str], name: str, dynamic_shared: int = 0) -> Entry:
        """Return an entry of a kernel, for a :class:`~.launching.Step`; nothing is compiled yet.

        Args:
            body: the kernel's text.
            parts: the shared files that it uses.
            name: the entry.
            dynamic_shared: bytes of dynamic shared memory that a block may ask for.
        """
        return Entry(self, (body, tuple(parts)), name, dynamic_shared)

    def load(self, text: Text, name: str, dynamic_shared: int) -> Function:
        """Return an entry that is compiled and loaded, each text once for all threads.

        Raises:
            CudaError: the compiler refuses the text, or the GPU the code.
            MemoryError: the GPU has no memory for the code.
        """
        with self._lock:
            try:
                module = self._modules.get(text)
                if module is None:
                    image = self._runtime.compiler.image(*text)
                    module = self._modules[text] = self._with_room(self._runtime.load, image)
                return self._runtime.function(module, name, dynamic_shared)
            except CudaError as error:
                where = f"entry {name} for {self._target}"
                raise CudaError(error.code, f"{where}: {error.message}", sticky=error.sticky) from error

    def renew_lock(self) -> None:
        """Forget who is loading: in the child of a fork it may be a thread that the child does not have."""
        self._lock = threading.RLock()


_loaders: Final[WeakSet[Loader]] = WeakSet()


def _after_fork_in_child() -> None:
    for loader in _loaders:
        loader.renew_lock()


os.register_at_fork(after_in_child=_after_fork_in_child)
