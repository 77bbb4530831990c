"""Dtype and shape rules: small functions that ops name in their declarations.

A rule takes the op's name, the operands' specs and the attributes as given, and returns an
:class:`~opmux.core.op.Inferred`: results, normalised attributes, casts, and the shape to broadcast to.
It raises ``DTypeError`` and ``ShapeError`` for calls that are not allowed.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from typing import Any

from ..core.arrays.views import broadcast_shapes, normalize_axes
from ..core.dtypes import DType, bool_, dtype, promote
from ..core.errors import ArgumentError, ArgumentTypeError, DTypeError, ShapeError, shown
from ..core.kernel import ArraySpec
from ..core.op import Attributes, CountWork, Infer, Inferred, Specs, Work
from ..core.signature import Shape

Result = DType | str | Callable[[DType], DType]


def present(specs: Specs) -> tuple[ArraySpec, ...]:
    """Return the operands that are there."""
    return tuple(s for s in specs if s is not None)


def flag(name: str, what: str, given: Any) -> bool:
    """Return an attribute that is True or False; anything else that Python takes for true is a mistake.

    Raises:
        ArgumentTypeError: for anything else.
    """
    if not isinstance(given, bool):
        raise ArgumentTypeError(f"{name}: {what}={shown(given)} is neither True nor False", op=name)
    return given


def number(name: str, what: str, given: Any) -> float:
    """Return an attribute that is a finite real number, as a float.

    Raises:
        ArgumentTypeError: for anything but an int or a float.
        ArgumentError: for NaN, an infinity, or an integer beyond the range of float64.
    """
    if isinstance(given, bool) or not isinstance(given, int | float):
        raise ArgumentTypeError(f"{name}: {what}={shown(given)} is not a real number", op=name)
    if not -sys.float_info.max <= given <= sys.float_info.max:
        raise ArgumentError(f"{name}: {what}={shown(given)} is not a finite number of float64", op=name)
    return float(given)


def check_dtype(name: str, found: DType, allowed: Sequence[DType], what: str = "operands") -> DType:
    """Return the dtype if the op takes it.

    Raises:
        DTypeError: naming what is allowed.
    """
    if found not in allowed:
        shown = ", ".join(t.name for t in allowed)
        raise DTypeError(
            f"{name}: {what} of dtype {found} are not taken; allowed: {shown}. Convert with astype",
            op=name,
            dtype=found,
        )
    return found


def weighted(name: str, specs: Specs, allowed: Sequence[DType]) -> tuple[ArraySpec, ArraySpec, ArraySpec | None]:
    """Return an operand, its weight, and a bias where there is one, all of one dtype.

    Raises:
        ShapeError: an operand or weight is missing.
        DTypeError: naming what is allowed.
    """
    x, weight, bias = specs
    if x is None or weight is None:
        raise ShapeError(f"{name}: x and weight are needed", op=name)
    check_dtype(name, x.dtype, allowed)
    for spec in (weight, bias):
        if spec is not None:
            check_dtype(name, spec.dtype, (x.dtype,), "weight and bias beside x of another dtype")
    return x, weight, bias


def result_dtype(result: Result, common: DType) -> DType:
    """Return the dtype of a result: ``"same"``, a dtype, or a function of the operands' common dtype."""
    if isinstance(result, DType):
        return result
    if callable(result):
        return result(common)
    return common


def elementwise(
    allowed: Sequence[DType],
    result: Result = "same",
    *,
    promotes: tuple[int, ...] | None = None,
    leads: DType | None = None,
) -> Infer:
    """Operands promote to one dtype and broadcast; the result has the broadcast shape.

    Args:
        allowed: dtypes that the op takes.
        result: of the result, from the common dtype.
        promotes: operands (by index) that promote; the others must have the dtype ``leads``.
        leads: see above.
    """

    def infer(name: str, specs: Specs, attributes: Attributes) -> Inferred:
        group = range(len(specs)) if promotes is None else promotes
        common = promote([s.dtype for i, s in enumerate(specs) if s is not None and i in group], where=name)
        check_dtype(name, common, allowed)
        for i, s in enumerate(specs):
            if s is not None and i not in group and leads is not None:
                check_dtype(name, s.dtype, (leads,), f"operand {i}")
        shape = broadcast_shapes(*(s.shape for s in present(specs)), where=name)
        casts = tuple(common if i in group else None for i in range(len(specs)))
        return Inferred((ArraySpec(result_dtype(result, common), shape),), attributes, casts, shape)

    return infer


def same_shape(allowed: Sequence[DType], result: Result = "same") -> Infer:
    """One operand, a result of the same shape, attributes as given."""

    def infer(name: str, specs: Specs, attributes: Attributes) -> Inferred:
        (x,) = present(specs)
        check_dtype(name, x.dtype, allowed)
        return Inferred((ArraySpec(result_dtype(result, x.dtype), x.shape),), attributes)

    return infer


def reduced_shape(shape: Shape, axes: tuple[int, ...], keepdims: bool) -> Shape:
    """Return the shape after a reduction over these axes."""
    if keepdims:
        return tuple(1 if i in axes else n for i, n in enumerate(shape))
    return tuple(n for i, n in enumerate(shape) if i not in axes)


def reduction(
    allowed: Sequence[DType],
    result: Result = "same",
    *,
    empty: bool = True,
    cast: bool = True,
    results: Sequence[DType] | None = None,
) -> Infer:
    """Reduce over ``axis`` (None: all axes), with ``keepdims`` and, where the op has it, ``dtype``.

    Args:
        allowed: dtypes that the op takes.
        result: the result's dtype where the attribute ``dtype`` does not say.
        empty: whether a reduction over no elements has a value.
        cast: whether the operand is cast to the result's dtype first.
        results: dtypes that the attribute ``dtype`` may ask for; None for those allowed as operands.
    """

    def infer(name: str, specs: Specs, attributes: Attributes) -> Inferred:
        (x,) = present(specs)
        check_dtype(name, x.dtype, allowed)
        axes = normalize_axes(attributes["axis"], len(x.shape), where=name)
        keepdims = flag(name, "keepdims", attributes["keepdims"])
        if not empty and any(x.shape[a] == 0 for a in axes):
            raise ShapeError(
                f"{name}: axes {axes} of shape {x.shape} hold no elements, and {name} of nothing has no value",
                op=name,
                shape=x.shape,
            )
        chosen = result_dtype(result, x.dtype)
        normal: dict[str, Any] = {**attributes, "axis": axes, "keepdims": keepdims}
        if "correction" in attributes:
            normal["correction"] = number(name, "correction", attributes["correction"])
        if "dtype" in attributes:
            if attributes["dtype"] is not None:
                chosen = check_dtype(name, dtype(attributes["dtype"]), results or allowed, "results")
            normal["dtype"] = chosen
        casts = (chosen if cast else None,)
        return Inferred((ArraySpec(chosen, reduced_shape(x.shape, axes, keepdims)),), normal, casts)

    return infer


def accumulator(t: DType) -> DType:
    """Return the dtype in which ``sum`` and ``prod`` answer by default: the Array API's, with 64 bits for integers."""
    if t is bool_ or t.kind == "signed integer":
        return dtype("int64")
    return dtype("uint64") if t.kind == "unsigned integer" else t


def elements(flops: float) -> CountWork:
    """Count so many operations per result element, and every operand and result moved once."""

    def work(specs: Specs, outputs: Sequence[ArraySpec], attributes: Attributes) -> Work:
        return Work(flops * _size(outputs[0]), moved_bytes(specs, outputs))

    return work


def per_operands(flops: float) -> CountWork:
    """Count so many operations per element of all operands together, and every operand and result moved once."""

    def work(specs: Specs, outputs: Sequence[ArraySpec], attributes: Attributes) -> Work:
        return Work(flops * sum(_size(s) for s in present(specs)), moved_bytes(specs, outputs))

    return work


def per_input(flops: float) -> CountWork:
    """Count so many operations per element of the first operand."""

    def work(specs: Specs, outputs: Sequence[ArraySpec], attributes: Attributes) -> Work:
        return Work(flops * _size(present(specs)[0]), moved_bytes(specs, outputs))

    return work


def _size(spec: ArraySpec) -> int:
    total = 1
    for n in spec.shape:
        total *= n
    return total


def moved_bytes(specs: Specs, outputs: Sequence[ArraySpec]) -> float:
    """Return the bytes of all operands and results together."""
    return float(sum(_size(s) * s.dtype.itemsize for s in (*present(specs), *outputs)))
