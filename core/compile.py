"""``compile``: a function captured once per signature and replayed as a planned graph."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from . import runtime
from .array import Array, check_usable
from .device import Device
from .dispatch import Plan, plan_graph
from .errors import ArgumentTypeError, DeviceError
from .graph import Graph
from .kernel import ArraySpec
from .policy import current, generation
from .signature import Signature
from .trace import ConcreteValueNeededError, Traced, capture

Key = tuple[object, ...]


@dataclass(frozen=True, slots=True)
class Captured:
    """One capture of a compiled function.

    Attributes:
        graph: what the function does, or None where it needs a concrete value and runs eagerly.
        plan: a decision for every node.
        many: whether the function returned a tuple.
        note: why there is no graph.
    """

    graph: Graph | None
    plan: Plan | None
    many: bool
    note: str = ""


class Compiled:
    """A function that is captured into a graph, once per signature of its array arguments.

    Positional arguments are arrays; keyword arguments are constants of the capture and must be hashable. A function that
    needs a concrete value (``if x.sum() > 0``) runs eagerly instead; :meth:`notes` says so.
    """

    def __init__(self, function: Callable[..., Any]) -> None:
        self._function = function
        self._captured: dict[Key, Captured] = {}
        self._name = getattr(function, "__name__", type(function).__name__)
        functools.update_wrapper(self, function)

    def __call__(self, *arrays: Array, **constants: Any) -> Any:
        if any(isinstance(x, Traced) for x in arrays):
            return self._function(*arrays, **constants)
        captured = self._capture(arrays, constants)
        if captured.plan is None:
            return self._function(*arrays, **constants)
        results = captured.plan.run(arrays, None)
        return results if captured.many else results[0]

    def graph(self, *arrays: Array, **constants: Any) -> Graph | None:
        """Return the graph for these arguments; None where the function runs eagerly."""
        return self._capture(arrays, constants).graph

    def notes(self) -> tuple[str, ...]:
        """Return why captures, if any, run eagerly."""
        return tuple(c.note for c in self._captured.values() if c.note)

    def _capture(self, arrays: tuple[Array, ...], constants: dict[str, Any]) -> Captured:
        policy = current()
        signatures = tuple(_signature(self._name, x) for x in arrays)
        key: Key = (policy, generation(), signatures, tuple(sorted(constants.items())))
        found = self._captured.get(key)
        if found is None:
            runtime.ensure_loaded()
            found = self._captured[key] = self._make(signatures, constants)
        return found

    def _make(self, signatures: tuple[Signature, ...], constants: dict[str, Any]) -> Captured:
        device = _device(self._name, signatures)
        specs = [ArraySpec(s.dtype, s.shape) for s in signatures]
        try:
            graph, many = capture(self._function, device, specs, constants)
        except ConcreteValueNeededError as error:
            return Captured(None, None, False, f"{self._name} runs eagerly: {error}")
        return Captured(graph, plan_graph(graph, signatures, device, current()), many)


def _signature(name: str, x: object) -> Signature:
    if not isinstance(x, Array):
        raise ArgumentTypeError(
            f"{name}: a compiled function takes opmux arrays by position, not {type(x).__name__}; "
            f"pass constants by keyword",
            function=name,
        )
    check_usable(x)
    return x._sig


def _device(name: str, signatures: tuple[Signature, ...]) -> Device:
    devices = {s.device for s in signatures}
    if len(devices) != 1:
        shown = ", ".join(sorted(d.name for d in devices)) or "none"
        raise DeviceError(f"{name}: a compiled function's arrays are on one device; these are on {shown}", function=name)
    return devices.pop()


def compile(function: Callable[..., Any], /) -> Compiled:
    """Return a function that records what it does once per signature and replays it without Python's overhead.

    Raises:
        ArgumentTypeError: when it is called with something else than arrays by position.

    >>> import opmux as ox
    >>> f = ox.compile(lambda x: ox.add(x, 1.0))
    >>> f(ox.asarray([1.0])).tolist()
    [2.0]
    """
    return Compiled(function)
