"""How far a result may lie from the true value where the contract grows with the call: sums, products, composites."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import numpy as np

from ...core.dtypes import DType
from ...opset.accuracy import Accumulated, Composed
from .formats import FORMATS, Format, Host

Attributes = Mapping[str, Any]
Operands = Sequence["Host | None"]

_PARTS: Final = {"complex64": "float32", "complex128": "float64"}
#: A complex product is within sqrt(5) roundings of its modulus (Brent, Percival and Zimmermann, 2007), a real one
#: within 1: so many terms more than a real sum of products has.
_COMPLEX_TERMS: Final = 2


def form_of(t: DType) -> Format:
    """Return the format of a real dtype, or of a complex one's parts."""
    return FORMATS[_PARTS.get(t.name, t.name)]


def accumulator(t: DType) -> Format:
    """Return the format in which results of this dtype accumulate: float32 for the 16-bit ones."""
    return FORMATS["float32"] if t.name in ("float16", "bfloat16") else form_of(t)


def half_ulp(want: Host, form: Format) -> Host:
    """Return half the spacing of a format at each value."""
    with np.errstate(all="ignore"):
        exponent = np.frexp(np.abs(want).astype(np.float64))[1] - 1
        clipped = np.clip(np.where(np.isfinite(want), exponent, form.lowest), form.lowest, form.highest)
        return np.asarray(np.ldexp(0.5, clipped - form.precision + 1))


def accumulated(rule: Accumulated, t: DType, want: Host, magnitude: Host, terms: Host | int) -> Host:
    """Return ``k * n * eps(accumulator) * sum|terms| + half an ulp``; relative to the result for products.

    Terms that underflow in the accumulator lose up to half of its smallest number each. The bound keeps the precision
    of the magnitudes: near the largest float64 it must not become infinite, which would allow everything.
    """
    form = accumulator(t)
    count = np.asarray(terms, np.float64) + (_COMPLEX_TERMS if t.name in _PARTS else 0)
    scale = np.abs(want) if rule.multiplicative else magnitude
    with np.errstate(all="ignore"):
        bound = rule.factor * count * form.epsilon * scale + count * form.smallest
        return np.asarray(bound + half_ulp(want, form_of(t)))


def _axis_length(x: Host, axis: Any) -> int:
    axes = range(x.ndim) if axis is None else (axis,) if isinstance(axis, int) else axis
    return math.prod(x.shape[a] for a in axes)


#: How many terms the longest sum of a composite has, where its attribute ``axis`` does not say.
_TERMS: Final[dict[str, Callable[[Operands, Attributes], int]]] = {
    "linear": lambda xs, a: _shape(xs, 0)[-1],
    "conv": lambda xs, a: math.prod(_shape(xs, 1)[1:]),
    "avg_pool": lambda xs, a: math.prod(a["kernel"]),
    "attention": lambda xs, a: max(_shape(xs, 0)[-1], _shape(xs, 1)[-2]),
}


def _shape(operands: Operands, i: int) -> tuple[int, ...]:
    x = operands[i]
    return () if x is None else x.shape


def _largest(x: Host | None) -> float:
    if x is None or x.dtype.kind in "b" or not x.size:
        return 0.0
    with np.errstate(invalid="ignore"):
        sizes = np.abs(x.astype(np.float64))
    return float(np.max(sizes, initial=0.0, where=np.isfinite(sizes)))


def _product(operands: Operands) -> float:
    return _largest(operands[0]) * _largest(operands[1]) + sum(_largest(x) for x in operands[2:])


#: What "the magnitude of the operands" is where the result is not of the first power in them.
_MAGNITUDES: Final[dict[str, Callable[[Operands], float]]] = {
    "linear": _product,
    "conv": _product,
    "var": lambda xs: _largest(xs[0]) ** 2,
}


def composed(op: str, rule: Composed, t: DType, want: Host, operands: Operands, attributes: Attributes) -> Host:
    """Return ``factor * eps * magnitude``, with the number of terms as a further factor where the rule grows."""
    form = form_of(t)
    growth = 1
    if rule.growth == "terms":
        first = operands[0]
        counted = _TERMS.get(op)
        growth = counted(operands, attributes) if counted else _axis_length(np.asarray(first), attributes.get("axis"))
    scale = np.abs(want).astype(np.float64)
    scale = np.where(np.isfinite(scale), scale, 0.0)
    if rule.scale == "operands":
        measured = _MAGNITUDES.get(op)
        magnitude = measured(operands) if measured else max((_largest(x) for x in operands), default=0.0)
        scale = np.maximum(scale, magnitude)
    return np.asarray(rule.factor * max(growth, 1) * form.epsilon * scale + form.smallest)
