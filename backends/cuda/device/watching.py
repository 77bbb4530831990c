"""A runtime whose first error that spoils the process is its last word: what follows is the device's loss, typed."""

from __future__ import annotations

import functools
from collections.abc import Callable
from types import SimpleNamespace
from typing import Final, TypeVar, cast

from ....plugin import DeviceLostError
from .runtime import CudaError, ForkedError, Runtime

R = TypeVar("R")

_CALLS: Final = tuple(name for name, call in vars(Runtime).items() if callable(call) and not name.startswith("_"))
_FACTS: Final = tuple(name for name, fact in vars(Runtime).items() if isinstance(fact, property))
_ADVICE: Final = (
    "a kernel touched memory that is not its own, or the GPU is gone; start a new process to use it again "
    "(compute-sanitizer finds the kernel)"
)
_FORKED: Final = "use multiprocessing's 'spawn' or 'forkserver', or fork before the first use of the GPU"


def watched(runtime: Runtime) -> Runtime:
    """Return a runtime that does what another does until that has failed with a sticky error.

    From then on every method, on every thread, raises :class:`DeviceLostError`, and the GPU is not asked again.
    """
    watch = _Watch(runtime.properties.name)
    calls = {name: watch.over(getattr(runtime, name)) for name in _CALLS}
    return cast(Runtime, SimpleNamespace(**calls, **{name: getattr(runtime, name) for name in _FACTS}))


class _Watch:
    def __init__(self, name: str) -> None:
        self._name = name
        self._lost: str | None = None

    def over(self, call: Callable[..., R]) -> Callable[..., R]:
        @functools.wraps(call)
        def asked(*args: object) -> R:
            if self._lost is not None:
                raise DeviceLostError(self._lost)
            try:
                return call(*args)
            except CudaError as error:
                if not error.sticky:
                    raise
                advice = _FORKED if isinstance(error, ForkedError) else _ADVICE
                self._lost = f"{self._name} is lost to this process: {error}; {advice}"
                raise DeviceLostError(self._lost) from error

        return asked
