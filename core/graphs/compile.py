"""``compile``: a function captured once per signature and replayed as a planned graph."""

from __future__ import annotations

import functools
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from .. import runtime
from ..arrays.array import Array
from ..arrays.ownership import check_usable
from ..devices.device import Device
from ..devices.driver import ReplayingDriver
from ..dispatch.call import run_decision
from ..dispatch.decision import Candidate, Decision, Kind, Run
from ..dispatch.execute import kernel_runner
from ..dispatch.policy import Settings, current
from ..dispatch.replay import replayed
from ..dispatch.tables import LIMIT, Tables, exact
from ..errors import ArgumentTypeError, DeviceError
from ..kernel import ArraySpec, Launch, Prepared
from ..op import Work, unnamed_op
from ..signature import Signature
from .graph import Graph
from .trace import ConcreteValueNeededError, Traced, capture_function

if TYPE_CHECKING:
    from .plans import Plan

Key = tuple[object, ...]


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Captured:
    """One capture of a compiled function.

    Attributes:
        graph: what the function does, or None where it needs a concrete value and runs eagerly.
        decision: the plan of the graph.
        many: whether the function returned a tuple.
        seen: arrays of the surroundings that the function used, each with the value that it had.
    """

    graph: Graph | None
    decision: Decision | None
    many: bool
    seen: tuple[tuple[Array, Array], ...]

    def is_stale(self) -> bool:
        """Return whether an array of the surroundings has got another value since."""
        return any(handle._buffer is not kept._buffer or handle._sig is not kept._sig for handle, kept in self.seen)


class Compiled:
    """A function that is captured into a graph, once per signature of its array arguments.

    Positional arguments are arrays; keyword arguments are constants of the capture and must be hashable. A function
    that
    needs a concrete value (``if x.sum() > 0``) runs eagerly instead; :meth:`notes` says so.
    """

    def __init__(self, function: Callable[..., Any]) -> None:
        self._function = function
        self._name = getattr(function, "__name__", type(function).__name__)
        self._notes: list[str] = []
        functools.update_wrapper(self, function)

    def __call__(self, *arrays: Array, **constants: Any) -> Any:
        if any(isinstance(x, Traced) for x in arrays):
            return self._function(*arrays, **constants)
        captured = self._capture(arrays, constants)
        if captured.decision is None:
            return self._function(*arrays, **constants)
        results = run_decision(captured.decision, list(arrays), None)
        # A plan with one result gives it bare; a function that returned a tuple of one gave a tuple.
        return (results,) if captured.many and not captured.decision.many else results

    def graph(self, *arrays: Array, **constants: Any) -> Graph | None:
        """Return the graph for these arguments; None where the function runs eagerly."""
        return self._capture(arrays, constants).graph

    def notes(self) -> tuple[str, ...]:
        """Return why captures, if any, run eagerly."""
        return tuple(self._notes)

    def _capture(self, arrays: tuple[Array, ...], constants: dict[str, Any]) -> Captured:
        signatures = tuple(_signature(self._name, x) for x in arrays)
        runtime.ensure_loaded()
        tables = current().slot.tables
        kept = tables.captured.setdefault(self, {})
        try:
            key: Key = (signatures, exact(tuple(sorted(constants.items()))) if constants else ())
            found = kept.get(key)
        except TypeError:
            raise _unhashable(self._name, constants) from None
        if found is None or found.is_stale():
            if len(kept) >= LIMIT:
                kept.clear()
            found = kept[key] = self._make(signatures, constants, tables)
        return found

    def _make(
        self, signatures: tuple[Signature, ...], constants: dict[str, Any], tables: Tables[Settings]
    ) -> Captured:
        from .plans import plan_graph  # here, so that importing opmux does not load it

        device = _device(self._name, signatures)
        specs = [ArraySpec(s.dtype, s.shape) for s in signatures]
        try:
            captured = capture_function(self._function, device, specs, constants)
        except ConcreteValueNeededError as error:
            note = f"{self._name} runs eagerly: {error}"
            if note not in self._notes:
                self._notes.append(note)
            return Captured(None, None, False, ())
        graph = captured.graph
        plan = plan_graph(graph, signatures, device, tables)
        return Captured(graph, self._decision(plan, graph, signatures, device), captured.many, captured.seen)

    def _decision(self, plan: Plan, graph: Graph, signatures: tuple[Signature, ...], device: Device) -> Decision:
        """Return the plan as a decision, so that a compiled call is observed like any other."""
        name = f"compiled:{self._name}"
        op = unnamed_op(name, lambda specs, outputs, attributes: Work(0.0, 0.0))
        run = plan.run
        if isinstance(device.driver, ReplayingDriver):

            def as_one(launch: Launch, outputs: tuple[Signature, ...], workspace: int) -> Run:
                prepared = Prepared(launch, workspace)
                return kernel_runner(device, device.owner, "graph", name, prepared, outputs, None, signatures, ())

            run = replayed(run, device, device.driver, as_one)
        chosen = Candidate("graph", Kind.DECOMPOSITION, cost=plan.cost, parts=plan.parts, run=run, graph=graph)
        return Decision(op, device, signatures, (), plan.outputs, (chosen,), chosen, run, many=len(plan.outputs) != 1)


def _unhashable(name: str, constants: dict[str, Any]) -> ArgumentTypeError:
    wrong = [k for k, v in constants.items() if not isinstance(v, Hashable)]
    return ArgumentTypeError(
        f"{name}: constants of a compiled function are numbers, strings or tuples of them; {', '.join(wrong)} "
        "cannot be hashed. "
        f"Pass arrays by position",
        function=name,
        constants=wrong,
    )


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
        raise DeviceError(
            f"{name}: a compiled function's arrays are on one device; these are on {shown}", function=name
        )
    return devices.pop()


def compile(function: Callable[..., Any], /) -> Compiled:  # noqa: A001 - the public name
    """Return a function that records what it does once per signature and replays it without Python's overhead.

    Raises:
        ArgumentTypeError: when it is called with something else than arrays by position.

    >>> import opmux as ox
    >>> f = ox.compile(lambda x: ox.add(x, 1.0))
    >>> f(ox.asarray([1.0])).tolist()
    [2.0]
    """
    return Compiled(function)
