"""The state of a history: handles on arrays, and what a model in NumPy says of them."""

from __future__ import annotations

import contextlib
import gc
import weakref
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from ....core.arrays.array import Array
from ....core.devices.device import find_device
from ....core.dispatch.policy import current
from ....core.errors import ConformanceError, ConsumedError, UnsupportedError
from ....core.plugins import manager
from ...oracle.formats import Host
from ...target import Findings, Target
from .falsify import Choices
from .model_plugins import Visitor

#: More handles than this make a history slow and prove no more.
MOST_HANDLES: Final = 10
#: The ops of histories, each with what it means.
MEANINGS: Final[dict[str, Callable[..., Host]]] = {"add": np.add, "multiply": np.multiply, "negative": np.negative}


@dataclass
class Handle:
    """A handle on an array, and the value that it must have.

    Attributes:
        name: in the log.
        array: the handle.
        value: the model's.
        consumed: whether ``out=`` has taken it.
    """

    name: str
    array: Array
    value: Host
    consumed: bool = False


class Machine:
    """The state of a history: what opmux has, and what the model says of it.

    Attributes:
        log: the steps so far, as Python.
    """

    def __init__(self, target: Target, served: frozenset[str]) -> None:
        self.target, self.served = target, served
        self.cpu = find_device("cpu")
        self.log: list[str] = []
        self.handles: list[Handle] = []
        self.exports: list[tuple[str, Host, Host]] = []
        self.policies: list[tuple[contextlib.ExitStack, object]] = []
        self.plugins: dict[str, object] = {}
        self._buffers: list[weakref.ref[Any]] = []
        self._count = 0

    # What rules are made of.

    @property
    def next_name(self) -> str:
        """What the next handle will be called."""
        return f"a{self._count + 1}"

    def pick(self, c: Choices, fits: Callable[[Handle], bool] = lambda h: True) -> Handle | None:
        """Return a usable handle, counted from the latest, so that a history may lose its first steps; or None."""
        found = [h for h in reversed(self.handles) if not h.consumed and fits(h)]
        return found[min(c.below(MOST_HANDLES), len(found) - 1)] if found else None

    def served_handle(self, c: Choices) -> Handle | None:
        """Return a handle on the device under test, of a dtype on which ops are served."""
        return self.pick(c, lambda h: h.array.device is self.target.device and h.value.dtype == np.float32)

    def add(self, made: Array, value: Host, how: str) -> None:
        """Take in a new handle."""
        name = self.next_name
        self._count += 1
        self.log.append(f"{name} = {how}")
        self.watch(made)
        self.handles.append(Handle(name, made, np.array(value)))
        if len(self.handles) > MOST_HANDLES:
            self.log.append(f"del {self.handles[0].name}")
            del self.handles[0]

    def watch(self, made: Array) -> None:
        """Remember a buffer, to see whether it is given back."""
        self._buffers.append(weakref.ref(made._buffer))

    def call(self, function: Callable[[], Array]) -> Array | None:
        """Return the result of a call that a policy, or the backend, may refuse; None where it was refused."""
        try:
            return function()
        except UnsupportedError:
            self.log.append("# refused")
            return None

    # What must hold.

    def hold(self, findings: Findings) -> None:
        """Compare every handle and every export with the model, and the policy with the innermost block's."""
        for h in self.handles:
            if h.consumed:
                _demand_consumed(h)
                continue
            got = np.asarray(h.array.numpy())
            if got.shape != h.value.shape or got.dtype != h.value.dtype or not _equal(got, h.value):
                raise ConformanceError(f"{h.name} must be {h.value.tolist()} and is {got.tolist()}")
        for name, seen, value in self.exports:
            if not _equal(seen, value):
                raise ConformanceError(f"{name} was written under the hands of who looks at it: {seen.tolist()}")
        if self.policies and current() is not self.policies[-1][1]:
            raise ConformanceError("the policy in force is not the one of the innermost block")
        findings.held()

    def close(self) -> None:
        """Leave every block and let go of everything."""
        while self.policies:
            self.policies.pop()[0].close()
        self.handles.clear()
        self.exports.clear()
        for name in tuple(self.plugins):
            manager.unregister(name)

    def hold_nothing_left(self) -> None:
        """Demand that every buffer was given back.

        Raises:
            ConformanceError: one was not.
        """
        if any(b() is not None for b in self._buffers):
            gc.collect()
        left = sum(b() is not None for b in self._buffers)
        if left:
            raise ConformanceError(f"{left} buffers are still held after their last handle is gone")
        for plugin in self.plugins.values():
            if isinstance(plugin, Visitor) and plugin.memory.live:
                raise ConformanceError(f"{plugin.memory.live} blocks of a device were not given back to its driver")


def _equal(a: Host, b: Host) -> bool:
    return bool(np.array_equal(a, b, equal_nan=a.dtype.kind == "f"))


def _demand_consumed(h: Handle) -> None:
    for what in (h.array.numpy, lambda: h.array.shape, lambda: h.array.to_device("cpu"), lambda: h.array[...]):
        try:
            what()
        except ConsumedError:
            continue
        raise ConformanceError(f"{h.name} was consumed by out= and can still be used")
