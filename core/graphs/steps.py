"""Calls taken apart without running them: the casts before a call, and the calls that a graph or an op consists of.

Metadata ops are not calls: they become views of the values that they look at.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from ..arrays.array import Array
from ..arrays.views import stand_in
from ..errors import OpmuxError, PluginError
from ..kernel import ArraySpec
from ..op import CAST, COPY, OPS, Op
from ..signature import Shape, Signature, signature
from .graph import Graph, Metadata
from .trace import capture

Signatures = Sequence["Signature | None"]


@dataclass(frozen=True, slots=True)
class Value:
    """A view of a value.

    Attributes:
        number: of the value: those that are given come first, then the results of each step.
        sig: how it is looked at.
        offset: bytes from the value's first element to the view's.
    """

    number: int
    sig: Signature
    offset: int = 0


@dataclass(frozen=True, slots=True)
class CallStep:
    """One call of several.

    Attributes:
        op: what it does.
        inputs: its operands; None for an optional one left out.
        attributes: normalised.
        outputs: its results, each a value of its own.
        repeated: the shape in which a kernel gets every operand, where the op broadcasts them.
    """

    op: Op
    inputs: tuple[Value | None, ...]
    attributes: tuple[tuple[str, Any], ...]
    outputs: tuple[Value, ...]
    repeated: Shape | None = None


@dataclass(frozen=True, slots=True)
class Steps:
    """Calls in an order that respects their dependences.

    Attributes:
        given: how many values come from outside.
        calls: the calls.
        outputs: the results of all of it.
        constants: arrays that the calls carry; they are the last of the given values.
    """

    given: int
    calls: tuple[CallStep, ...]
    outputs: tuple[Value, ...]
    constants: tuple[Array, ...] = ()


class _Builder:
    """Numbers values and collects calls."""

    def __init__(self, given: int) -> None:
        self.given = given
        self.calls: list[CallStep] = []
        self._next = given

    def call(
        self,
        op: Op,
        inputs: Sequence[Value | None],
        attributes: tuple[tuple[str, Any], ...],
        outputs: Sequence[ArraySpec],
        repeated: Shape | None = None,
    ) -> list[Value]:
        """Add a call with results of these dtypes and shapes."""
        device = next((v.sig.device for v in inputs if v is not None), None) or _host()
        made = []
        for spec in outputs:
            made.append(Value(self._next, signature(device, spec.dtype, spec.shape)))
            self._next += 1
        self.calls.append(CallStep(op, tuple(inputs), attributes, tuple(made), repeated))
        return made

    def look(self, op: Metadata, x: Value, arguments: tuple[Any, ...]) -> Value:
        """Return a view of a value, of a dense copy of it where no view of the value itself is possible."""
        made = op.apply(stand_in(x.sig), *arguments)
        if made is None:
            (x,) = self.call(OPS[COPY], [x], (), [ArraySpec(x.sig.dtype, x.sig.shape)])
            made = op.apply(stand_in(x.sig), *arguments)
        if made is None:
            raise PluginError(f"metadata op {op.name} has no view of a contiguous array; this is a fault of opmux")
        return Value(x.number, made._sig, x.offset + made._offset)


def _host() -> Any:
    from ..devices.device import find_device

    return find_device("cpu")


def steps_of(graph: Graph, inputs: Sequence[Signature]) -> Steps:
    """Return the calls that a graph consists of, for operands of these signatures."""
    values = [Value(i, sig) for i, sig in enumerate((*inputs, *(c._sig for c in graph.constants)))]
    build = _Builder(len(values))
    for node in graph.nodes:
        operands = [None if i is None else values[i] for i in node.inputs]
        if isinstance(node.op, Metadata):
            (x,) = operands
            assert x is not None  # a metadata op looks at one array
            values.append(build.look(node.op, x, node.arguments))
        else:
            values.extend(build.call(node.op, operands, node.attributes, node.outputs))
    return Steps(build.given, tuple(build.calls), tuple(values[i] for i in graph.outputs), graph.constants)


def with_casts(op: Op, inputs: Signatures, attributes: tuple[tuple[str, Any], ...]) -> Steps:
    """Return a call behind the casts of its operands.

    Raises:
        OpmuxError: for a call that the op's rules do not allow.
    """
    inferred = op.infer(
        op.name, tuple(None if s is None else ArraySpec(s.dtype, s.shape) for s in inputs), dict(attributes)
    )
    build = _Builder(len(inputs))
    ready: list[Value | None] = [None if s is None else Value(i, s) for i, s in enumerate(inputs)]
    for i, target in enumerate(inferred.casts):
        x = ready[i]
        if target is not None and x is not None and x.sig.dtype is not target:
            (ready[i],) = build.call(OPS[CAST], [x], (("dtype", target),), [ArraySpec(target, x.sig.shape)])
    pairs = tuple(sorted(inferred.attributes.items()))
    outputs = build.call(op, ready, pairs, inferred.outputs, inferred.broadcast)
    return Steps(build.given, tuple(build.calls), tuple(outputs))


def decomposed(op: Op, inputs: Signatures, attributes: tuple[tuple[str, Any], ...]) -> Steps | None:
    """Return the calls that an op decomposes into; None where there is no decomposition for these arguments.

    Values are numbered by operand; those of operands left out are never used.

    >>> from opmux.core.devices.device import find_device
    >>> from opmux.core.dtypes import float32
    >>> import opmux
    >>> x = signature(find_device("cpu"), float32, (4, 8))
    >>> [step.op.name for step in decomposed(OPS["softmax"], [x], (("axis", (1,)),)).calls]
    ['max', 'subtract', 'exp', 'sum', 'divide']
    """
    if op.decomposition is None:
        return None
    specs = tuple(None if s is None else ArraySpec(s.dtype, s.shape) for s in inputs)
    try:
        graph, _ = capture(op.decomposition, _host(), specs, dict(attributes))
    except OpmuxError:  # it needs a value, or a dtype that it has not
        return None
    present = [i for i, s in enumerate(inputs) if s is not None]
    made = steps_of(graph, [s for s in inputs if s is not None])
    return _renumbered(made, present, len(inputs))


def _renumbered(steps: Steps, present: list[int], count: int) -> Steps:
    """Number the given values by operand, also where some are left out."""
    if len(present) == count:
        return steps
    shift = count - len(present)

    def at(v: Value) -> Value:
        number = present[v.number] if v.number < len(present) else v.number + shift
        return Value(number, v.sig, v.offset)

    calls = tuple(
        replace(
            c, inputs=tuple(None if v is None else at(v) for v in c.inputs), outputs=tuple(at(v) for v in c.outputs)
        )
        for c in steps.calls
    )
    return Steps(steps.given + shift, calls, tuple(at(v) for v in steps.outputs), steps.constants)
