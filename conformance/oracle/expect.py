"""The oracle: what a call must give, from the declaration's body in higher precision, and the check of a result.

It never runs through anything under test: values are NumPy arrays on the host, bodies run over
:mod:`.reference` (primitives) or :mod:`.composites`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from ...core.dtypes import COMPLEX, COMPLEXES, REAL, DType, dtype
from ...core.errors import ConformanceError
from ...core.kernel import ArraySpec
from ...core.op import Inferred, Op, Role
from ...opset.accuracy import Accumulated, Accuracy, Composed, Exact, Ulp
from ...opset.conversion import converted
from ...opset.declare import declaration_of
from . import allowance, exact
from .compare import Judge, Where, bits, check_layout, complex_ulp, ulp, within
from .compare import exact as exactly
from .composites import Opset
from .flush import flushed, forgiving, least_normal
from .formats import Host, precise
from .reference import Reference

Operands = tuple["Host | None", ...]

#: Ops that keep every bit of what they move.
_BITS: Final = frozenset({"copy", "bitcast"})
#: Ops whose bodies work on any dtype as it is.
_AS_THEY_ARE: Final = frozenset(
    {
        "copy",
        "bitcast",
        "cast",
        "concat",
        "pad",
        "gather",
        "full",
        "iota",
        "random_bits",
        "real",
        "imag",
        "complex",
        "conj",
    }
)
#: Ops that move values, on every device bit for bit.
_MOVES: Final = _AS_THEY_ARE - {"cast"} | {"where", "take_along_axis", "scatter", "real", "imag"}
#: Long double decides float64's bounds where it has 11 bits more; elsewhere the reference is float64 too, and its own
#: error, at most that of a result, is granted beside the result's.
LONG: Final = np.dtype(np.longdouble if np.finfo(np.longdouble).nmant >= 63 else np.float64)
_GRANTED: Final = 1.0 if LONG.itemsize > 8 else 2.0
#: The reference's own error for a complex128 product or quotient, in ULP.
_COMPLEX_SLACK: Final = 2.0**-8


@dataclass(frozen=True, slots=True)
class Expected:
    """What a call must give.

    Attributes:
        spec: dtype and shape of the result.
        check: raises ConformanceError for a wrong result, returns the worst error seen, in the unit of the contract.
        unit: of that error: ``"exact"``, ``"ULP"`` or ``"of the bound"``.
        flushing: the same for a device that flushes subnormals, by the rule of :mod:`.flush`; None where it makes no
            difference.
    """

    spec: ArraySpec
    check: Callable[[Host], float]
    unit: str
    flushing: Callable[[Host], float] | None = None

    def on(self, *, flushes: bool) -> Callable[[Host], float]:
        """Return the check for a device that does or does not flush subnormals."""
        return self.flushing if flushes and self.flushing is not None else self.check


def completed(op: Op, attributes: Mapping[str, Any]) -> dict[str, Any]:
    """Return all attributes of an op, defaults where none is given; the device is not among them."""
    full = {p.name: p.default for p in op.parameters if p.role is Role.ATTRIBUTE} | dict(attributes)
    full.pop("device", None)
    return full


def with_optional(op: Op, operands: Operands) -> Operands:
    """Return operands with None for every optional one left out at the end."""
    return (*operands, *(None,) * (op.operand_count - len(operands)))


def infer(op: Op, operands: Operands, attributes: Mapping[str, Any]) -> Inferred:
    """Return what the op's rules say of a call on these host arrays."""
    specs = tuple(None if x is None else ArraySpec(dtype(x.dtype), x.shape) for x in operands)
    return op.infer(op.name, specs, completed(op, attributes))


def expect(op: Op, operands: Operands, attributes: Mapping[str, Any]) -> Expected:
    """Return what a call must give.

    Args:
        op: the op.
        operands: host arrays, None for optional ones left out.
        attributes: as given.

    Raises:
        ShapeError, DTypeError, ArgumentError: when the op's rules do not allow the call.
    """
    operands = with_optional(op, operands)
    inferred = infer(op, operands, attributes)
    ready = operands_of(operands, inferred)
    (spec,) = inferred.outputs
    given = dict(inferred.attributes) if op.primitive else completed(op, attributes)
    rule: Accuracy = declaration_of(op).accuracy
    where = Where(op.name, spec.dtype, ready)

    def judge(values: Operands, *, flushes: bool) -> Judge:
        if spec.dtype.kind not in (REAL, COMPLEX) or isinstance(rule, Exact) or _only_moves(rule, given):
            return _exact(op, values, given, where)
        if isinstance(rule, Ulp):
            return _ulp(op, rule, values, given, where)
        if isinstance(rule, Accumulated):
            return _accumulated(op, rule, values, given, where, flushes=flushes)
        return _composed(op, rule, values, given, dict(inferred.attributes), where, flushes=flushes)

    plain = judge(ready, flushes=False)

    def check(got: Host) -> float:
        check_layout(got, spec.shape, where)
        return plain.hold(got, where)

    def flushing(got: Host) -> float:
        check_layout(got, spec.shape, where)
        without = tuple(None if x is None else flushed(x, dtype(x.dtype).name) for x in ready)
        return forgiving(judge(ready, flushes=True), judge(without, flushes=True), spec.dtype).hold(got, where)

    return Expected(spec, check, plain.unit.split(",")[0], None if op.name in _MOVES else flushing)


def operands_of(operands: Operands, inferred: Inferred) -> Operands:
    """Return operands cast and broadcast as the rules say."""
    casts = iter(inferred.casts or (None,) * len(operands))
    every = len(inferred.casts) == len(operands)  # elementwise rules speak of the operands that are there only
    made: list[Host | None] = []
    for x in operands:
        t = next(casts) if every or x is not None else None
        made.append(x if x is None or t is None else converted(x, t))
    if inferred.broadcast is not None:
        made = [None if x is None else np.broadcast_to(x, inferred.broadcast) for x in made]
    return tuple(made)


def _only_moves(rule: Accuracy, attributes: Mapping[str, Any]) -> bool:
    return (
        isinstance(rule, Accumulated)
        and rule.terms == "scattered"
        and attributes["reduction"] not in ("add", "multiply")
    )


def wide_type(t: DType) -> np.dtype[Any]:
    """Return the NumPy type in which the reference of a dtype is computed."""
    return LONG if t.name in ("float64", "complex128") else np.dtype(np.float64)


def _widened(x: Host | None, wide: np.dtype[Any]) -> Host | None:
    if x is None or x.dtype.kind in "iub":
        return x
    if x.dtype.kind == "c":
        return x.astype(np.result_type(wide, np.complex64))
    return x.astype(np.float32).astype(wide) if x.dtype.kind == "V" else x.astype(wide)


def _body(
    op: Op, operands: Sequence[Host | None], attributes: Mapping[str, Any], name: str, wide: np.dtype[Any] | None
) -> Host:
    """Run the declared body on operands widened to a type; None leaves them as they are."""
    with np.errstate(all="ignore"):
        if op.primitive:
            ready = list(operands) if wide is None else [_widened(x, wide) for x in operands]
            listed = op.parameters and op.parameters[0].role is Role.ARRAYS
            return np.asarray(
                declaration_of(op).body(Reference(name), *([tuple(ready)] if listed else ready), **attributes)
            )
        over = Opset(wide or np.dtype(np.float64), name)
        arrays = [None if x is None else over.array(x, dtype(x.dtype)) for x in operands]
        return np.asarray(declaration_of(op).body(over, *arrays, **attributes).values)


def exact_values(op: Op, operands: Operands, attributes: Mapping[str, Any], t: DType, *, widen: bool = True) -> Host:
    """Return the result of a call whose contract gives every bit.

    Args:
        op: the op.
        operands: cast and broadcast as its rules say.
        attributes: normalised.
        t: dtype of the result.
        widen: whether the body may see float64; False where it has its own accumulator.
    """
    name = dtype(operands[0].dtype).name if operands and operands[0] is not None else t.name
    wide = None if op.name in _AS_THEY_ARE or not widen else np.dtype(np.float64)
    want = _body(op, operands, attributes, name, wide)
    with np.errstate(all="ignore"):  # lossless: an exact op's values have the operand's precision
        return want if want.dtype == t.numpy else want.astype(t.numpy)


def _exact(op: Op, operands: Operands, attributes: Mapping[str, Any], where: Where) -> Judge:
    want = exact_values(op, operands, attributes, where.dtype)
    return bits(want) if op.name in _BITS else exactly(want)


def _ulp(op: Op, rule: Ulp, operands: Operands, attributes: Mapping[str, Any], where: Where) -> Judge:
    t = where.dtype
    if t in COMPLEXES:
        wide = wide_type(t)
        want = _body(op, operands, attributes, t.name, wide)
        slack = _COMPLEX_SLACK * _GRANTED if t.name == "complex128" else 2.0**-20
        return complex_ulp(want, rule.bound(t.name), t, slack)
    double = np.dtype(np.float64)
    plain = _body(op, operands, attributes, t.name, double)
    if exact.covers(op.name) and (t.name == "float64" or op.name in exact.ROUNDS_TWICE):
        widened = [_widened(x, double) for x in operands]
        reference = exact.elementwise(op.name, tuple(x for x in widened if x is not None), plain)
    else:
        reference = precise(plain)
    return ulp(reference, rule.bound(t.name), t)


def _accumulated(
    op: Op, rule: Accumulated, operands: Operands, attributes: Mapping[str, Any], where: Where, *, flushes: bool
) -> Judge:
    want, bound = _sum_of_terms(op, rule, operands, attributes, where.dtype, flushes=flushes)
    return within(want, bound, where.dtype)


def _sum_of_terms(
    op: Op, rule: Accumulated, operands: Operands, attributes: Mapping[str, Any], t: DType, *, flushes: bool
) -> tuple[Host, Host]:
    """Return the true values of a call that accumulates, and how far a result may lie from each."""
    wide = wide_type(t)
    widened = [_widened(x, wide) for x in operands]
    want = _body(op, widened, attributes, t.name, None)
    # In magnitudes no infinity meets its opposite, and NaN stays where it is.
    sizes = [x if x is None or x.dtype.kind in "iub" else np.abs(x) for x in widened]
    magnitude = _body(op, sizes, attributes, t.name, None)
    counted = _terms(op, rule, widened, attributes)
    terms = counted if rule.multiplicative else np.minimum(counted, _present(op, rule, widened, attributes))
    bound = allowance.accumulated(rule, t, want, magnitude, terms) * _GRANTED
    if flushes:  # every partial sum may vanish when it is below the accumulator's smallest normal number
        bound = bound + np.asarray(counted) * least_normal("float32" if t.bits == 16 else t.name)
    return want, bound


def spread(op: Op, operands: Operands, attributes: Mapping[str, Any], values: Host) -> Host:
    """Return how far a result of a primitive may lie from the true value by its contract, on these very operands.

    Args:
        op: a primitive.
        operands: cast and broadcast as its rules say.
        attributes: normalised.
        values: what it gives, near enough to tell how far apart numbers are there.
    """
    t, rule = dtype(values.dtype), declaration_of(op).accuracy
    if t.kind != REAL or isinstance(rule, Exact) or _only_moves(rule, attributes):
        return np.zeros(values.shape)
    if isinstance(rule, Ulp):
        return 2 * rule.bound(t.name) * allowance.half_ulp(values, allowance.form_of(t))
    if isinstance(rule, Accumulated):
        return np.asarray(_sum_of_terms(op, rule, operands, attributes, t, flushes=False)[1], np.float64)
    raise ConformanceError(f"{op.name} is no primitive: its steps have contracts, not it", op=op.name)


def _present(op: Op, rule: Accumulated, operands: Sequence[Host | None], attributes: Mapping[str, Any]) -> Host | int:
    """Return how many terms of each result are not zero: adding a zero rounds nothing, in whatever order."""
    if rule.terms == "scattered":
        return _terms(op, rule, operands, attributes)
    there = [x if x is None or x.dtype.kind in "iub" else (x != 0).astype(np.float64) for x in operands]
    return np.maximum(_body(op, there, attributes, "float64", None), 1)


def _terms(op: Op, rule: Accumulated, operands: Sequence[Host | None], attributes: Mapping[str, Any]) -> Host | int:
    """Return how many terms meet in each result."""
    x = np.asarray(operands[0])
    if rule.terms == "contracted":
        return int(x.shape[-1])
    if rule.terms == "scattered":
        ones = [np.ones(x.shape), operands[1], np.ones(np.asarray(operands[2]).shape)]
        return _body(op, ones, {**attributes, "reduction": "add"}, "float64", None)
    axis = attributes["axis"]
    if isinstance(axis, int):  # a scan: term i has met all before it
        counts = np.arange(1, x.shape[axis] + 1).reshape(-1, *(1,) * (x.ndim - axis - 1))
        return np.broadcast_to(counts, x.shape)
    return int(np.prod([x.shape[a] for a in axis], dtype=np.int64))


def _composed(
    op: Op,
    rule: Composed,
    operands: Operands,
    attributes: Mapping[str, Any],
    normal: Mapping[str, Any],
    where: Where,
    *,
    flushes: bool,
) -> Judge:
    t = where.dtype
    wide = wide_type(t)
    want = _body(op, operands, attributes, t.name, wide)
    bound = allowance.composed(op.name, rule, t, want, operands, normal) * _GRANTED
    return within(want, bound + (rule.factor * least_normal(t.name) if flushes else 0.0), t)
