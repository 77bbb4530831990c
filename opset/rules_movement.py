"""Dtype and shape rules of contraction, movement, creation and casts."""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from typing import Any, Final

from ..core.arrays.views import normalize_axis, normalize_shape
from ..core.dtypes import (
    ALL,
    INTEGERS,
    DType,
    bfloat16,
    bool_,
    dtype,
    float16,
    float32,
    int8,
    int32,
    int64,
    promote,
    uint8,
    uint32,
    uint64,
)
from ..core.errors import ArgumentError, ArgumentTypeError, DTypeError, ShapeError, shown
from ..core.kernel import ArraySpec
from ..core.op import Attributes, Infer, Inferred, Specs, Work
from ..core.signature import Shape
from .rules import check_dtype, flag, moved_bytes, present

#: Products that a matmul kernel takes with a result wider than its operands; every other widening casts first.
WIDENING: Final = frozenset({(int8, int32), (uint8, int32), (float16, float32), (bfloat16, float32)})


def common_dtype(name: str, types: Sequence[DType]) -> DType:
    """Return the dtype that operands promote to; equal ones need no promotion, so storage dtypes pass."""
    return types[0] if all(t is types[0] for t in types) else promote(types, where=name)


def one_of(name: str, what: str, given: Any, allowed: Sequence[str]) -> str:
    """Return an attribute that is one of some words.

    Raises:
        ArgumentError: naming what is allowed.
    """
    if not isinstance(given, str) or given not in allowed:
        raise ArgumentError(
            f"{name}: {what}={shown(given)} is not known; use one of {', '.join(map(repr, allowed))}", op=name
        )
    return str(given)


def contraction(allowed: Sequence[DType]) -> Infer:
    """Matrices of rank two or more with equal batch axes; ``dtype`` is the result's and the accumulator's."""

    def infer(name: str, specs: Specs, attributes: Attributes) -> Inferred:
        x, y = present(specs)
        if len(x.shape) < 2 or len(x.shape) != len(y.shape) or x.shape[:-2] != y.shape[:-2]:
            raise ShapeError(
                f"{name}: shapes {x.shape} and {y.shape} are not matrices with equal batch axes; the function "
                f"opmux.{name} takes vectors and broadcasts batch axes",
                op=name,
                shapes=(x.shape, y.shape),
            )
        if x.shape[-1] != y.shape[-2]:
            raise ShapeError(
                f"{name}: the last axis of {x.shape} and the second last of {y.shape} must have one length; "
                f"they have {x.shape[-1]} and {y.shape[-2]}",
                op=name,
                shapes=(x.shape, y.shape),
            )
        common = check_dtype(name, promote([x.dtype, y.dtype], where=name), allowed)
        result = _wider(name, common, attributes["dtype"], allowed)
        operand = common if result is common or (common, result) in WIDENING else result
        shape = (*x.shape[:-1], y.shape[-1])
        return Inferred((ArraySpec(result, shape),), {"dtype": result}, (operand, operand))

    return infer


def _wider(name: str, common: DType, given: Any, allowed: Sequence[DType]) -> DType:
    if given is None:
        return common
    result = check_dtype(name, dtype(given), allowed, "results")
    signed_accumulator = (common, result) in WIDENING
    if not signed_accumulator and promote([common, result], where=name) is not result:
        raise DTypeError(
            f"{name}: dtype={result} does not hold products of {common}; it must be the same or wider",
            op=name,
            dtype=result,
        )
    return result


def contraction_work(specs: Specs, outputs: Sequence[ArraySpec], attributes: Attributes) -> Work:
    """Count a multiplication and an addition for every term."""
    x, _ = present(specs)
    terms = 2.0 * x.shape[-1]
    for n in outputs[0].shape:
        terms *= n
    return Work(terms, moved_bytes(specs, outputs))


def concat(name: str, specs: Specs, attributes: Attributes) -> Inferred:
    """Operands promote; all axes but one have equal lengths."""
    given = present(specs)
    if not given:
        raise ArgumentError(f"{name}: there is no array to join", op=name)
    first = given[0]
    if not first.shape:
        raise ShapeError(f"{name}: arrays without axes cannot be joined; use stack", op=name, shape=())
    axis = normalize_axis(attributes["axis"], len(first.shape), where=name)
    for i, s in enumerate(given):
        if len(s.shape) != len(first.shape) or any(
            n != m for k, (n, m) in enumerate(zip(s.shape, first.shape, strict=True)) if k != axis
        ):
            raise ShapeError(
                f"{name}: operand {i} has shape {s.shape}, which differs from {first.shape} off axis {axis}",
                op=name,
                operand=i,
                shapes=tuple(s.shape for s in given),
                axis=axis,
            )
    total = sum(s.shape[axis] for s in given)
    common = common_dtype(name, [s.dtype for s in given])
    shape = (*first.shape[:axis], total, *first.shape[axis + 1 :])
    return Inferred((ArraySpec(common, shape),), {"axis": axis}, (common,) * len(given))


def normalize_pairs(pad_width: Any, rank: int, *, where: str) -> tuple[tuple[int, int], ...]:
    """Return one (before, after) pair per axis from an int, one pair, or a pair per axis.

    Raises:
        ArgumentError: for another form, or a negative width.

    >>> normalize_pairs(1, 2, where="pad")
    ((1, 1), (1, 1))
    """
    given: Any = pad_width
    if isinstance(given, int) and not isinstance(given, bool):
        given = ((given, given),) * rank
    elif isinstance(given, tuple | list) and len(given) == 2 and all(isinstance(n, int) for n in given):
        given = (tuple(given),) * rank
    try:
        pairs = tuple(normalize_shape((low, high), where=where) for low, high in given)
    except (TypeError, ValueError) as error:
        raise ArgumentError(
            f"{where}: pad_width={shown(pad_width)} is not a width >= 0, a pair of them, or a pair per axis", op=where
        ) from error
    if len(pairs) != rank:
        raise ArgumentError(f"{where}: pad_width has {len(pairs)} pairs; the array has {rank} axes", op=where)
    return tuple((pair[0], pair[1]) for pair in pairs)


def pad(name: str, specs: Specs, attributes: Attributes) -> Inferred:
    """Each axis grows by its pair of widths; the value has no axes and the array's dtype."""
    x, value = present(specs)
    _same_dtype(name, value, x, "the value")
    _no_axes(name, value, "the value")
    pairs = normalize_pairs(attributes["pad_width"], len(x.shape), where=name)
    shape = tuple(n + low + high for n, (low, high) in zip(x.shape, pairs, strict=True))
    return Inferred((ArraySpec(x.dtype, shape),), {"pad_width": pairs})


def _same_dtype(name: str, found: ArraySpec, x: ArraySpec, what: str) -> None:
    if found.dtype is not x.dtype:
        raise DTypeError(
            f"{name}: {what} has dtype {found.dtype}, the array has {x.dtype}; convert one with astype",
            op=name,
            dtypes=(x.dtype, found.dtype),
        )


def _no_axes(name: str, found: ArraySpec, what: str) -> None:
    if found.shape:
        raise ShapeError(f"{name}: {what} has shape {found.shape}; it must have no axes", op=name, shape=found.shape)


def index_dtype(name: str, t: DType) -> DType:
    """Return the dtype in which kernels get indices: int32 for narrow integers, int64 for wide ones.

    Raises:
        DTypeError: for no integers, and for uint64, whose large values would come out of a cast negative.
    """
    check_dtype(name, t, INTEGERS, "indices")
    if t is uint64:
        raise DTypeError(f"{name}: indices are uint64; the function opmux.{name} makes them signed", op=name, dtype=t)
    return int64 if t in (int64, uint32) else int32


def gathered_shape(x: Shape, indices: Shape, axis: int) -> Shape:
    """Return the shape in which an axis is replaced by the axes of the indices.

    >>> gathered_shape((5, 6, 7), (2, 3), 1)
    (5, 2, 3, 7)
    """
    return (*x[:axis], *indices, *x[axis + 1 :])


GATHER_MODES: Final = ("clip", "wrap", "fill")
SCATTER_MODES: Final = ("drop", "clip", "wrap")
REDUCTIONS: Final = ("set", "add", "multiply", "min", "max")


def gather(name: str, specs: Specs, attributes: Attributes) -> Inferred:
    """One axis is replaced by the axes of integer indices."""
    x, indices = present(specs)
    axis = normalize_axis(attributes["axis"], len(x.shape), where=name)
    mode = one_of(name, "mode", attributes["mode"], GATHER_MODES)
    shape = gathered_shape(x.shape, indices.shape, axis)
    if mode != "fill" and x.shape[axis] == 0 and 0 not in indices.shape:
        raise ShapeError(
            f"{name}: axis {axis} of {x.shape} has no elements to choose from", op=name, shape=x.shape, axis=axis
        )
    casts = (None, index_dtype(name, indices.dtype))
    return Inferred((ArraySpec(x.dtype, shape),), {"axis": axis, "mode": mode}, casts)


def scatter(name: str, specs: Specs, attributes: Attributes) -> Inferred:
    """Updates have the shape that gathering with the same indices would give, and the array's dtype."""
    x, indices, updates = present(specs)
    axis = normalize_axis(attributes["axis"], len(x.shape), where=name)
    normal = {
        "axis": axis,
        "mode": one_of(name, "mode", attributes["mode"], SCATTER_MODES),
        "reduction": one_of(name, "reduction", attributes["reduction"], REDUCTIONS),
    }
    _same_dtype(name, updates, x, "updates")
    unordered = x.dtype is bool_ or x.dtype.kind == "storage"
    if (unordered and normal["reduction"] != "set") or (
        "complex" in x.dtype.kind and normal["reduction"] in ("min", "max")
    ):
        raise DTypeError(
            f"{name}: reduction={normal['reduction']!r} is not defined for {x.dtype}", op=name, dtype=x.dtype
        )
    shape = gathered_shape(x.shape, indices.shape, axis)
    if updates.shape != shape:
        raise ShapeError(
            f"{name}: updates have shape {updates.shape}; for indices {indices.shape} on axis {axis} of {x.shape} they "
            f"must have {shape}",
            op=name,
            shapes=(x.shape, indices.shape, updates.shape),
        )
    if normal["mode"] != "drop" and x.shape[axis] == 0 and 0 not in indices.shape:
        raise ShapeError(
            f"{name}: axis {axis} of {x.shape} has no elements to write to", op=name, shape=x.shape, axis=axis
        )
    casts = (None, index_dtype(name, indices.dtype), None)
    return Inferred((ArraySpec(x.dtype, x.shape),), normal, casts)


def along_axis(allowed: Sequence[DType], result: DType | None = None) -> Infer:
    """One operand with at least one axis, a result of the same shape."""

    def infer(name: str, specs: Specs, attributes: Attributes) -> Inferred:
        (x,) = present(specs)
        check_dtype(name, x.dtype, allowed)
        normal = {**attributes, "axis": normalize_axis(attributes["axis"], len(x.shape), where=name)}
        if "descending" in normal:
            normal["descending"] = flag(name, "descending", normal["descending"])
        return Inferred((ArraySpec(result or x.dtype, x.shape),), normal)

    return infer


def scan(allowed: Sequence[DType], default: Callable[[DType], DType]) -> Infer:
    """One axis, a result of the same shape in ``dtype``, to which the operand is cast first."""

    def infer(name: str, specs: Specs, attributes: Attributes) -> Inferred:
        (x,) = present(specs)
        check_dtype(name, x.dtype, (bool_, *allowed))
        axis = normalize_axis(attributes["axis"], len(x.shape), where=name)
        given = attributes["dtype"]
        chosen = default(x.dtype) if given is None else check_dtype(name, dtype(given), allowed, "results")
        return Inferred((ArraySpec(chosen, x.shape),), {"axis": axis, "dtype": chosen}, (chosen,))

    return infer


def positions(allowed: Sequence[DType]) -> Infer:
    """The place of an element along one axis, as int64."""

    def infer(name: str, specs: Specs, attributes: Attributes) -> Inferred:
        (x,) = present(specs)
        check_dtype(name, x.dtype, allowed)
        axis = normalize_axis(attributes["axis"], len(x.shape), where=name)
        if x.shape[axis] == 0:
            raise ShapeError(f"{name}: axis {axis} of {x.shape} has no elements", op=name, shape=x.shape, axis=axis)
        keepdims = flag(name, "keepdims", attributes["keepdims"])
        shape = (*x.shape[:axis], *((1,) if keepdims else ()), *x.shape[axis + 1 :])
        return Inferred((ArraySpec(int64, shape),), {"axis": axis, "keepdims": keepdims})

    return infer


def search(allowed: Sequence[DType]) -> Infer:
    """Sorted values with one axis, and any number of values to place among them."""

    def infer(name: str, specs: Specs, attributes: Attributes) -> Inferred:
        x1, x2 = present(specs)
        common = check_dtype(name, promote([x1.dtype, x2.dtype], where=name), allowed)
        if len(x1.shape) != 1:
            raise ShapeError(
                f"{name}: the sorted values have shape {x1.shape}; they must have one axis", op=name, shape=x1.shape
            )
        side = one_of(name, "side", attributes["side"], ("left", "right"))
        return Inferred((ArraySpec(int64, x2.shape),), {"side": side}, (common, common))

    return infer


def full(name: str, specs: Specs, attributes: Attributes) -> Inferred:
    """A value without axes, cast to the dtype and repeated to the shape."""
    (value,) = present(specs)
    _no_axes(name, value, "fill_value")
    given = attributes["dtype"]
    chosen = value.dtype if given is None else dtype(given)
    shape = normalize_shape(attributes["shape"], where=name)
    return Inferred((ArraySpec(chosen, shape),), {"shape": shape, "dtype": chosen}, (chosen,))


def iota(allowed: Sequence[DType]) -> Infer:
    """No operands; the shape and one of its axes."""

    def infer(name: str, specs: Specs, attributes: Attributes) -> Inferred:
        shape = normalize_shape(attributes["shape"], where=name)
        axis = normalize_axis(attributes["axis"], len(shape), where=name)
        chosen = check_dtype(name, dtype(attributes["dtype"] or int64), allowed, "results")
        return Inferred((ArraySpec(chosen, shape),), {"shape": shape, "axis": axis, "dtype": chosen})

    return infer


def random_bits(name: str, specs: Specs, attributes: Attributes) -> Inferred:
    """A key of two words and a counter of four."""
    key, counter = present(specs)
    for operand, words, what in ((key, 2, "the key"), (counter, 4, "the counter")):
        check_dtype(name, operand.dtype, (uint32,), what)
        if operand.shape != (words,):
            raise ShapeError(
                f"{name}: {what} has shape {operand.shape}; it must be ({words},)", op=name, shape=operand.shape
            )
    shape = normalize_shape(attributes["shape"], where=name)
    return Inferred((ArraySpec(uint32, shape),), {"shape": shape})


def cast(name: str, specs: Specs, attributes: Attributes) -> Inferred:
    """Any dtype to any other but complex to real."""
    (x,) = present(specs)
    target = check_dtype(name, dtype(attributes["dtype"]), ALL, "results")
    if "complex" in x.dtype.kind and "complex" not in target.kind and target is not bool_:
        raise DTypeError(
            f"{name}: {x.dtype} to {target} would drop the imaginary part; take real() first", op=name, dtype=target
        )
    return Inferred((ArraySpec(target, x.shape),), {"dtype": target})


def bitcast(name: str, specs: Specs, attributes: Attributes) -> Inferred:
    """A dtype of the same width; bool has too few values to take part."""
    (x,) = present(specs)
    target = dtype(attributes["dtype"])
    if bool_ in (x.dtype, target):
        raise DTypeError(f"{name}: bool has no bit pattern of its own; use cast", op=name, dtype=target)
    if x.dtype.bits != target.bits:
        raise DTypeError(
            f"{name}: {x.dtype} has {x.dtype.bits} bits and {target} has {target.bits}; the widths must be equal",
            op=name,
            dtypes=(x.dtype, target),
        )
    return Inferred((ArraySpec(target, x.shape),), {"dtype": target})


def index_argument(where: str, what: str, given: Any) -> int:
    """Return an integer argument.

    Raises:
        ArgumentTypeError: for anything else.
    """
    if isinstance(given, bool) or not hasattr(given, "__index__"):
        raise ArgumentTypeError(f"{where}: {what}={shown(given)} is not an integer", op=where)
    try:
        return operator.index(given)
    except TypeError:  # a NumPy array has __index__, and refuses unless it has one element
        raise ArgumentTypeError(f"{where}: {what}={shown(given)} is not an integer", op=where) from None
