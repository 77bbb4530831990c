"""Capture: running an opset function on stand-ins to record the ops that it performs."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, Final

from ..arrays.array import Array, alias
from ..devices.device import Device
from ..dispatch.observe import running
from ..errors import ArgumentTypeError, OpmuxError
from ..kernel import ArraySpec
from ..op import Attributes, Inferred, Op
from ..signature import Signature, count_elements, row_major
from .graph import Graph, Metadata, Node


class ConcreteValueNeededError(OpmuxError, TypeError):
    """A captured function asked for a value, which does not exist while it is being captured."""


class Traced(Array):
    """A stand-in for an array during capture: dtype, shape and device, no data."""

    __slots__ = ("number", "tracer")

    number: int
    tracer: Tracer

    def numpy(self) -> Any:
        self._check_concrete()

    def _check_concrete(self) -> None:
        raise self.tracer.refused(
            f"a captured function needs the value of an array of shape {self.shape}; "
            f"outside of capture this runs as it is"
        )

    def _alias(self) -> Array:
        return self.tracer.stand_in(self.number, ArraySpec(self.dtype, self.shape))

    def _become(self, value: Array) -> None:
        if not isinstance(value, Traced):
            raise self.tracer.refused("an array being captured cannot take a value from outside of the capture")
        if self.tracer.is_argument(self):
            raise self.tracer.refused("a captured function gives an array of its caller another value")
        self.number, self.tracer, self._sig = value.number, value.tracer, value._sig

    def __repr__(self) -> str:
        return f"Traced(%{self.number}, {self.dtype}{list(self.shape)})"


def logical(device: Device, spec: ArraySpec) -> Signature:
    """Return a contiguous signature that is not interned, so that no memo ever finds it."""
    made = Signature()
    made.device, made.dtype, made.shape = device, spec.dtype, spec.shape
    made.strides, made.aligned, made.contiguous = row_major(spec.shape), True, True
    made.size = count_elements(spec.shape, spec.dtype)
    made.nbytes = made.size * spec.dtype.itemsize
    return made


class Tracer:
    """Collects one graph."""

    def __init__(self, device: Device, inputs: Sequence[ArraySpec]) -> None:
        self.device = device
        self._inputs = tuple(inputs)
        self._constants: list[Array] = []
        self._arguments: list[Traced] = []
        #: Arrays of the surroundings that were used, each with a handle on the value that it had.
        self.seen: list[tuple[Array, Array]] = []
        #: The first refusal: the function may have caught the error, and must not have captured half of what it does.
        self.refusal: ConcreteValueNeededError | None = None
        # While capturing, constants are numbered -1, -2, ...: how many there will be is not known yet.
        self._nodes: list[tuple[int, Node]] = []
        self._next = itertools.count(len(inputs))

    def stand_in(self, number: int, spec: ArraySpec) -> Traced:
        """Return the stand-in for a value number."""
        made = Traced.__new__(Traced)
        made._sig = logical(self.device, spec)
        made._offset, made._view = 0, None
        made.number, made.tracer = number, self
        return made

    def inputs(self) -> list[Traced]:
        """Return the stand-ins for the inputs."""
        self._arguments = [self.stand_in(i, s) for i, s in enumerate(self._inputs)]
        return list(self._arguments)

    def is_argument(self, x: Traced) -> bool:
        """Return whether this very handle was passed to the function."""
        return any(x is y for y in self._arguments)

    def refused(self, message: str) -> ConcreteValueNeededError:
        """Note that the function cannot be captured, and return the error to raise."""
        error = ConcreteValueNeededError(message)
        if self.refusal is None:
            self.refusal = error
        return error

    def number_of(self, x: Array) -> int:
        """Return the value number of an operand, taking in a concrete array as a constant."""
        if isinstance(x, Traced):
            if x.tracer is not self:
                raise self.refused("an array of one capture was used inside another")
            return x.number
        for i, known in enumerate(self._constants):
            if known._buffer is x._buffer and known._sig is x._sig and known._offset == x._offset:
                return -1 - i
        kept = alias(x)  # the graph keeps the value, whatever the caller's handle becomes
        self._constants.append(kept)
        self.seen.append((x, kept))
        return -len(self._constants)

    def record(
        self, op: Op | Metadata, operands: Sequence[Array | None], attributes: Attributes, outputs: Sequence[ArraySpec]
    ) -> tuple[Traced, ...]:
        """Append a node and return the stand-ins for its results."""
        node = Node(
            op,
            tuple(None if x is None else self.number_of(x) for x in operands),
            tuple(sorted(attributes.items())),
            tuple(outputs),
        )
        numbers = [next(self._next) for _ in outputs]
        self._nodes.append((numbers[0], node))
        return tuple(self.stand_in(n, s) for n, s in zip(numbers, outputs, strict=True))

    def record_call(
        self, op: Op, operands: Sequence[Array | None], inferred: Inferred, cast: Op
    ) -> tuple[Traced, ...]:
        """Append an op after the casts that its dtype rule asks for."""
        ready = list(operands)
        for i, target in enumerate(inferred.casts):
            x = ready[i]
            if target is not None and x is not None and x.dtype is not target:
                (ready[i],) = self.record(cast, (x,), {"dtype": target}, (ArraySpec(target, x.shape),))
        return self.record(op, ready, inferred.attributes, inferred.outputs)

    def freeze(self, outputs: Sequence[Array]) -> Graph:
        """Return the graph that computes these outputs, without nodes that they do not need."""
        wanted = [self.number_of(x) for x in outputs]
        live = set(wanted)
        kept: list[tuple[int, Node]] = []
        for first, node in reversed(self._nodes):
            if any(first + k in live for k in range(len(node.outputs))):
                live.update(i for i in node.inputs if i is not None)
                kept.append((first, node))
        kept.reverse()
        used = [i for i in range(len(self._constants)) if -1 - i in live]
        renumber = {i: i for i in range(len(self._inputs))}
        renumber |= {-1 - i: len(self._inputs) + k for k, i in enumerate(used)}
        number = len(self._inputs) + len(used)
        nodes = []
        for first, node in kept:
            for k in range(len(node.outputs)):
                renumber[first + k] = number + k
            number += len(node.outputs)
            inputs = tuple(None if i is None else renumber[i] for i in node.inputs)
            nodes.append(Node(node.op, inputs, node.attributes, node.outputs))
        return Graph(
            self._inputs, tuple(self._constants[i] for i in used), tuple(nodes), tuple(renumber[i] for i in wanted)
        )


@dataclass(frozen=True, slots=True, eq=False)
class Capture:
    """What running a function on stand-ins found.

    Attributes:
        graph: what it does.
        many: whether it returned a tuple.
        seen: arrays of the surroundings that it used, each with a handle on the value that it had.
    """

    graph: Graph
    many: bool
    seen: tuple[tuple[Array, Array], ...]


_capturing: Final[ContextVar[Tracer | None]] = ContextVar("opmux_capturing", default=None)


def refuse_in_capture(why: str) -> None:
    """Raise, inside of the capture of a user's function, for what would be frozen there: state of the host program.

    Raises:
        ConcreteValueNeededError: inside of a capture, which makes the function run eagerly.
    """
    tracer = _capturing.get()
    if tracer is not None:
        raise tracer.refused(why)


def capture_function(
    function: Callable[..., Any], device: Device, inputs: Sequence[ArraySpec | None], attributes: Attributes
) -> Capture:
    """Run a user's function on stand-ins.

    Args:
        function: takes the inputs by position (None stays None) and the attributes by name.
        device: where the call is.
        inputs: of the call; None for an optional operand left out.
        attributes: passed by name.

    Raises:
        ConcreteValueNeededError: when the function asks for a value, even if it catches the error.
        ArgumentTypeError: when it returns something else than an array or a tuple of them.
    """
    tracer = Tracer(device, [s for s in inputs if s is not None])
    token = _capturing.set(tracer)
    try:
        return _run(function, tracer, inputs, attributes)
    except ConcreteValueNeededError:
        raise
    except Exception:
        if tracer.refusal is not None:
            raise tracer.refusal from None
        raise
    finally:
        _capturing.reset(token)


def capture(
    function: Callable[..., Any], device: Device, inputs: Sequence[ArraySpec | None], attributes: Attributes
) -> tuple[Graph, bool]:
    """Run a decomposition on stand-ins and return its graph, and whether it returned a tuple."""
    token = _capturing.set(None)
    try:
        made = _run(function, Tracer(device, [s for s in inputs if s is not None]), inputs, attributes)
    finally:
        _capturing.reset(token)
    return made.graph, made.many


def _run(
    function: Callable[..., Any], tracer: Tracer, inputs: Sequence[ArraySpec | None], attributes: Attributes
) -> Capture:
    stand_ins = iter(tracer.inputs())
    operands = [None if s is None else next(stand_ins) for s in inputs]
    with running():
        result = function(*operands, **attributes)
    if tracer.refusal is not None:
        raise tracer.refusal
    many = isinstance(result, tuple | list)
    results = tuple(result) if many else (result,)
    wrong = [type(x).__name__ for x in results if not isinstance(x, Array)]
    if wrong:
        name = getattr(function, "__name__", type(function).__name__)
        raise ArgumentTypeError(
            f"{name}: a captured function returns an array or a tuple of arrays; this one returns {', '.join(wrong)}. "
            f"Compute the rest outside of it",
            function=name,
        )
    return Capture(tracer.freeze(results), many, tuple(tracer.seen))
