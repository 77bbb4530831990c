"""What a region of a graph must give: its nodes one by one, on the operands that it got.

A region that promises the canonical class has the canonical bits of every node, each rounded to its dtype. Where it
promises less, each node may lie anywhere within its own contract, and what the others make of that is bounded by a
running error analysis (Higham, Accuracy and Stability of Numerical Algorithms, 2nd ed., section 3.3): beside each value
goes a bound of its distance from the canonical one. A node adds twice its contract's allowance, since the canonical
result may lie on the other side of the true one; errors of its operands reach its result through the derivative, or
through an enclosure of it over the interval of the operand. Second-order terms are kept.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np

from ...core.dtypes import REAL, DType, dtype
from ...core.errors import ConformanceError
from ...core.graphs.graph import Graph, Metadata, Node
from ...core.kernel import ArraySpec
from ...core.op import Op
from ...opset.accuracy import Ulp
from ...opset.declare import declaration_of
from .allowance import accumulator, form_of, half_ulp
from .canonical import canonical
from .compare import Judge, exact, within
from .expect import operands_of, spread
from .flush import least_normal
from .formats import Host

Errors = list[Host]


class NoBoundError(LookupError):
    """Nothing is known of how errors of operands reach an op's result."""


#: Metadata ops on NumPy's arrays.
VIEWS: Final[dict[str, Callable[..., Host]]] = {
    "reshape": np.reshape,
    "permute_dims": np.transpose,
    "broadcast_to": np.broadcast_to,
    "flip": np.flip,
    "slice": lambda x, starts, stops, steps: x[tuple(map(_slice, starts, stops, steps))],
}


def _slice(start: int, stop: int, step: int) -> slice:
    return slice(start, stop if stop >= 0 else None, step)


def one_by_one(graph: Graph, operands: Sequence[Host]) -> list[Host]:
    """Return the canonical results of a graph of primitives.

    Args:
        graph: what is to be done.
        operands: one array for each input.

    Raises:
        NoCanonicalOrderError: a node has no canonical order.
    """
    values = _all_values(graph, operands)
    return [values[i] for i in graph.outputs]


def _all_values(graph: Graph, operands: Sequence[Host]) -> list[Host]:
    values = [*operands, *(c.numpy() for c in graph.constants)]
    with np.errstate(all="ignore"):
        for node in graph.nodes:
            values.append(_value(node, [values[i] for i in node.inputs if i is not None]))
    return values


def _value(node: Node, given: list[Host]) -> Host:
    if isinstance(node.op, Metadata):
        return VIEWS[node.op.name](given[0], *node.arguments)
    return np.asarray(canonical(node.op, tuple(given), dict(node.attributes))).reshape(node.outputs[0].shape)


def judges(graph: Graph, operands: Sequence[Host], *, canonical: bool, flushes: bool = False) -> list[Judge]:
    """Return what each result of a region is held to.

    Args:
        graph: the region.
        operands: what it got.
        canonical: whether it promises the canonical class.
        flushes: whether the device flushes subnormals, so that nothing on it is canonical.

    Raises:
        NoCanonicalOrderError: a node has no canonical order.
        NoBoundError: how far a result may lie from the canonical one is not known.
    """
    values = _all_values(graph, operands)
    if canonical and not flushes:
        return [exact(values[i]) for i in graph.outputs]
    errors = _running_errors(graph, values, flushes=flushes)
    return [_near(values[i], errors[i]) for i in graph.outputs]


def _near(want: Host, error: Host) -> Judge:
    """Demand each element within its bound; where nothing was rounded in more than one way, the very bits.

    An element that the contracts leave open, such as a sum that overflows in one order of its terms only, may be any.
    """
    if not error.any():
        return exact(want)
    t = dtype(want.dtype)
    if t.kind != REAL:
        raise NoBoundError(f"a result of {t} follows from values that are not given to the bit")
    if not np.isfinite(error).any():
        raise NoBoundError("errors may reach the result in any size")
    judge = within(want.astype(np.float64), np.maximum(error, form_of(t).smallest), t)
    unknown = ~np.isfinite(error)

    def measure(got: Host) -> tuple[Host, Host]:
        errors, wrong = judge.measure(got)
        return np.where(unknown, 0.0, errors), wrong & ~unknown

    return replace(judge, measure=measure)


def _running_errors(graph: Graph, values: Sequence[Host], *, flushes: bool) -> Errors:
    first = graph.first_node_value
    errors: Errors = [_lost(x) if flushes else np.zeros(x.shape) for x in values[:first]]
    for i, node in enumerate(graph.nodes, first):
        numbers = [k for k in node.inputs if k is not None]
        xs, es = [values[k] for k in numbers], [errors[k] for k in numbers]
        with np.errstate(all="ignore"):
            if isinstance(node.op, Metadata):
                errors.append(VIEWS[node.op.name](es[0], *node.arguments))
            else:
                errors.append(_error(_Call.of(node.op, node, xs, es), values[i], flushes=flushes))
    return errors


def _lost(x: Host) -> Host:
    """Return what a device that flushes subnormals may take from an operand."""
    least = least_normal(dtype(x.dtype).name)
    if not least:
        return np.zeros(x.shape)
    size = np.abs(x.astype(np.float64))
    return np.where(size < least, size, 0.0)


@dataclass(frozen=True, slots=True)
class _Call:
    """One node, its operands cast and broadcast.

    Attributes:
        op, attributes: which.
        given: operands in their dtypes.
        xs: the same in float64.
        es: how far each may be from what the node really gets.
    """

    op: Op
    attributes: Mapping[str, Any]
    given: tuple[Host | None, ...]
    xs: list[Host]
    es: Errors

    @classmethod
    def of(cls, op: Op, node: Node, values: list[Host], errors: Errors) -> _Call:
        specs = tuple(ArraySpec(dtype(x.dtype), x.shape) for x in values)
        inferred = op.infer(op.name, specs, {k: v for k, v in node.attributes if k != "device"})
        given = operands_of(tuple(values), inferred)
        present = [x for x in given if x is not None]
        es = [np.broadcast_to(e, x.shape) for e, x in zip(errors, present, strict=True)]
        return cls(op, inferred.attributes, given, [x.astype(np.float64) for x in present], es)

    @property
    def axes(self) -> dict[str, Any]:
        """The axes of a reduction, as NumPy takes them."""
        return {"axis": self.attributes["axis"], "keepdims": self.attributes.get("keepdims", False)}


def _error(call: _Call, value: Host, *, flushes: bool) -> Host:
    """Return a bound of the distance of a node's result from the canonical one."""
    t = dtype(value.dtype)
    moved = any(e.any() for e in call.es)
    if not moved and not flushes and _gives_every_bit(call.op, t):
        return np.zeros(value.shape)
    if not moved:
        made = 2 * spread(call.op, call.given, call.attributes, value)
    else:
        made = np.broadcast_to(_reached(call, t), value.shape)
        if call.op.name not in _ROUND_NOTHING:
            far = np.abs(value.astype(np.float64)) + made
            largest = tuple(np.abs(x) + e for x, e in zip(call.xs, call.es, strict=True))
            own = spread(call.op, largest, call.attributes, far.astype(value.dtype))
            made = made + 2 * np.maximum(own, half_ulp(far, form_of(t)))
    made = np.where(np.isfinite(value.astype(np.float64)), made, _beside_infinity(call)) + _overflow(call, t)
    return np.asarray(made + (least_normal(t.name) if flushes and t.kind == REAL else 0.0))


def _beside_infinity(call: _Call) -> Host | float:
    """Return the error of a NaN or an infinity: none where it came in as an operand, any where a rounding made it."""
    if "elementwise" not in call.op.facts or not any(e.any() for e in call.es):
        return 0.0
    given = [~np.isfinite(x) & (e == 0) for x, e in zip(call.xs, call.es, strict=True)]
    return np.where(np.logical_or.reduce(np.broadcast_arrays(*given)), 0.0, np.inf)


def _overflow(call: _Call, t: DType) -> Host | float:
    """Return infinity where finite terms overflow in some order: what else they meet there is left open."""
    rule = _FINITE_TERMS.get(call.op.name)
    if rule is None or t.kind != REAL:
        return 0.0
    finite = [np.where(np.isfinite(x), np.abs(x) + e, 0.0) for x, e in zip(call.xs, call.es, strict=True)]
    return np.where(rule(call, finite) < accumulator(t).largest / 2, 0.0, np.inf)


def _gives_every_bit(op: Op, t: DType) -> bool:
    rule = declaration_of(op).accuracy
    return op.settled(t) or (isinstance(rule, Ulp) and t.kind == REAL and rule.bound(t.name) == 0.5)


def _reached(call: _Call, t: DType) -> Host:
    rule = _REACHES.get(call.op.name)
    if rule is None or t.kind != REAL:
        raise NoBoundError(f"nothing is known of how errors reach the results of {call.op.name} on {t}")
    return rule(call)


def _steepest(slope: Callable[[Host], Host]) -> Callable[[_Call], Host]:
    """Errors times the larger slope at the ends: for functions whose slope's size has no peak between them."""

    def reached(c: _Call) -> Host:
        (x,), (e,) = c.xs, c.es
        return np.asarray(e * np.maximum(np.abs(slope(x - e)), np.abs(slope(x + e))))

    return reached


def _at_most(slope: float) -> Callable[[_Call], Host]:
    """Errors times the steepest slope anywhere."""
    return lambda c: np.asarray(c.es[0] * slope)


def _quotient(c: _Call) -> Host:
    (x, y), (ex, ey) = c.xs, c.es
    room = np.abs(y) - ey
    return np.where(room > 0, (ex + np.abs(x / y) * ey) / room, np.inf)


def _product(c: _Call) -> Host:
    (x, y), (ex, ey) = c.xs, c.es
    return np.asarray(np.abs(x) * ey + np.abs(y) * ex + ex * ey)


def _matmul(c: _Call) -> Host:
    (x, y), (ex, ey) = c.xs, c.es
    return np.asarray(np.abs(x) @ ey + ex @ np.abs(y) + ex @ ey)


def _where(c: _Call) -> Host:
    if c.es[0].any():
        raise NoBoundError("a condition follows from values that are not given to the bit")
    return np.where(c.xs[0] != 0, c.es[1], c.es[2])


#: The largest that any order of an op's finite terms can reach, from their sizes.
_FINITE_TERMS: Final[dict[str, Callable[[_Call, Errors], Host]]] = {
    "sum": lambda c, sizes: np.sum(sizes[0], **c.axes),
    "prod": lambda c, sizes: np.prod(np.maximum(sizes[0], 1.0), **c.axes),
    "matmul": lambda c, sizes: sizes[0] @ sizes[1],
}
#: Ops that pass errors on and add none.
_ROUND_NOTHING: Final = frozenset({"negative", "abs", "maximum", "minimum", "where", "max", "min", "copy"})

#: How errors of an op's operands reach its result. The slopes: |d tanh|, |d sin|, |d cos| <= 1, |d erf| <= 2/sqrt(pi).
_REACHES: Final[dict[str, Callable[[_Call], Host]]] = {
    "add": lambda c: c.es[0] + c.es[1],
    "subtract": lambda c: c.es[0] + c.es[1],
    "multiply": _product,
    "divide": _quotient,
    "fma": lambda c: np.abs(c.xs[0]) * c.es[1] + np.abs(c.xs[1]) * c.es[0] + c.es[0] * c.es[1] + c.es[2],
    "negative": _at_most(1.0),
    "abs": _at_most(1.0),
    "copy": _at_most(1.0),
    "cast": _at_most(1.0),
    "maximum": lambda c: np.maximum(c.es[0], c.es[1]),
    "minimum": lambda c: np.maximum(c.es[0], c.es[1]),
    "where": _where,
    "tanh": _at_most(1.0),
    "sin": _at_most(1.0),
    "cos": _at_most(1.0),
    "erf": _at_most(1.1284),
    "exp": _steepest(np.exp),
    "exp2": _steepest(lambda x: np.log(2.0) * np.exp2(x)),
    "expm1": _steepest(np.exp),
    "sqrt": _steepest(lambda x: np.where(x > 0, 0.5 / np.sqrt(x), np.inf)),
    "rsqrt": _steepest(lambda x: np.where(x > 0, 0.5 / (x * np.sqrt(x)), np.inf)),
    "log": _steepest(lambda x: np.where(x > 0, 1 / x, np.inf)),
    "log1p": _steepest(lambda x: np.where(x > -1, 1 / (1 + x), np.inf)),
    "sum": lambda c: np.sum(c.es[0], **c.axes),
    "max": lambda c: np.max(c.es[0], **c.axes, initial=0.0),
    "min": lambda c: np.max(c.es[0], **c.axes, initial=0.0),
    "matmul": _matmul,
}


def lead(graph: Graph) -> DType:
    """Return the dtype on which a region is judged: that of its first operand, or of its first result.

    Raises:
        ConformanceError: it has neither, which is a fault of opmux.
    """
    specs = [*graph.inputs, *(graph.specs[i] for i in graph.outputs)]
    if not specs:
        raise ConformanceError("a region without operands and results, a fault of opmux")
    return specs[0].dtype
