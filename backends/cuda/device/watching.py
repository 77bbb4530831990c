"""A runtime whose first error that spoils the process is its last word: what follows is the device's loss, typed."""

from __future__ import annotations

import functools
from collections.abc import Callable
from types import SimpleNamespace
from typing import Final, TypeVar, cast

from ....plugin import DeviceLostError
from .runtime import CudaError, Extent, ForkedError, Function, Put, Runtime, WatchedRuntime

R = TypeVar("R")

_CALLS: Final = tuple(name for name, call in vars(Runtime).items() if callable(call) and not name.startswith("_"))
_FACTS: Final = tuple(name for name, fact in vars(Runtime).items() if isinstance(fact, property))
_ADVICE: Final = (
    "a kernel touched memory that is not its own, or the GPU is gone; start a new process to use it again "
    "(compute-sanitizer finds the kernel)"
)
_FORKED: Final = "use multiprocessing's 'spawn' or 'forkserver', or fork before the first use of the GPU"


def watched(runtime: Runtime) -> WatchedRuntime:
    """Return a runtime that does what another does until that has failed with a sticky error.

    From then on every method, on every thread, raises :class:`DeviceLostError`, and the GPU is not asked again.

    Args:
        runtime: the GPU. Where it has a method ``launching`` that takes a :class:`~.runtime.Watch` beside what it takes
            here, that keeps the watch itself, for one call less per launch.
    """
    watch = _Watch(runtime.properties.name)
    calls = {name: watch.over(getattr(runtime, name)) for name in _CALLS}
    own = getattr(runtime, "launching", None)
    launching = functools.partial(_launching, calls["launch"]) if own is None else functools.partial(own, watch)
    facts = {name: getattr(runtime, name) for name in _FACTS}
    return cast(WatchedRuntime, SimpleNamespace(**calls, **facts, launching=launching))


def _launching(
    launch: Callable[..., None], function: Function, grid: Extent, block: Extent, shared: int, arguments: int
) -> Put:
    return lambda stream: launch(function, grid, block, shared, stream, arguments)


class _Watch:
    """What is known of a GPU.

    Attributes:
        lost: how it was lost, if it was.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self.lost: str | None = None

    def failure(self, error: CudaError) -> Exception:
        """Return what an error of CUDA is reported as; a sticky one loses the GPU."""
        if not error.sticky:
            return error
        advice = _FORKED if isinstance(error, ForkedError) else _ADVICE
        self.lost = f"{self._name} is lost to this process: {error}; {advice}"
        return DeviceLostError(self.lost)

    def over(self, call: Callable[..., R]) -> Callable[..., R]:
        @functools.wraps(call)
        def asked(*args: object) -> R:
            if self.lost is not None:
                raise DeviceLostError(self.lost)
            try:
                return call(*args)
            except CudaError as error:
                told = self.failure(error)
                if told is error:
                    raise
                raise told from error

        return asked
