"""Movement: joining, padding, gathering, scattering, sorting, copying. Values are only moved, so results are exact."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..core.arrays.array import Array
from ..core.arrays.indexing import as_signed
from ..core.arrays.metadata import reshape
from ..core.dtypes import ALL, FLOATS, INTEGERS, int64, uint64
from ..core.errors import ArgumentTypeError
from . import decompositions, rules, rules_movement
from .accuracy import EXACT, Accumulated
from .declare import primitive
from .movement_reference import ordered_positions, scattered, searched, taken
from .public_form import are_arrays, public_form
from .scalars import beside

REAL = (*INTEGERS, *FLOATS)
Widths = int | Sequence[int] | Sequence[Sequence[int]]


@primitive(infer=rules_movement.concat, dtypes=ALL, accuracy=EXACT, facts=("associative",), core=True)
def concat_(np: Any, arrays: Sequence[Array], /, *, axis: int = 0) -> Array:
    """Return the arrays joined along an axis; they promote to one dtype. ``axis=None`` flattens each of them first.

    Raises:
        ShapeError: ranks, or lengths off the axis, differ.
        ArgumentError: there is no array.

    >>> import opmux as ox
    >>> ox.concat([ox.asarray([1, 2]), ox.asarray([3])]).tolist()
    [1, 2, 3]
    """
    return np.concatenate(arrays, axis=axis)


@public_form(concat_)
def concat(arrays: Sequence[Array], /, *, axis: int | None = 0, out: Array | None = None) -> Array:
    if axis is None:
        if not isinstance(arrays, tuple | list) or not are_arrays(*arrays):
            raise ArgumentTypeError("concat takes a sequence of arrays", op="concat")
        arrays, axis = [reshape(x, (x.size,)) for x in arrays], 0
    return concat_(arrays, axis=axis, out=out)


@primitive(infer=rules_movement.pad, dtypes=ALL, accuracy=EXACT, core=True)
def pad_(np: Any, x: Array, value: Array, /, *, pad_width: Widths) -> Array:
    """Return the array with a value put before and after it along each axis.

    ``pad_width`` is a width, a pair (before, after) for every axis, or a pair per axis; widths are not negative (slice
    for that). ``value`` is a Python scalar or an array without axes and of the same dtype; it is data, so one
    decision serves all values. Kernels get it as their second operand, and ``pad_width`` as one pair per axis.

    Raises:
        ArgumentError: the widths are negative or do not fit the rank.
        DTypeError: the value has another dtype.

    >>> import opmux as ox
    >>> ox.pad(ox.asarray([1, 2]), (1, 2), value=9).tolist()
    [9, 1, 2, 9, 9]
    """
    return np.pad(x, pad_width, constant_values=value)


@public_form(pad_)
def pad(x: Array, /, pad_width: Widths, value: Array | complex = 0, *, out: Array | None = None) -> Array:
    return pad_(x, beside(x, value, where="pad"), pad_width=pad_width, out=out)


@primitive(infer=rules_movement.gather, dtypes=ALL, accuracy=EXACT, core=True)
def gather(np: Any, x: Array, indices: Array, /, *, axis: int = 0, mode: str = "clip") -> Array:
    """Return slices of an axis chosen by integer indices: shape ``x.shape[:axis] + indices.shape + x.shape[axis+1:]``.

    Negative indices count from the end. What is then still outside is, by ``mode``, the nearest index (``"clip"``),
    the index modulo the length (``"wrap"``), or gives zeros (``"fill"``), on every backend alike. Kernels get int32
    or int64 indices.

    Raises:
        ShapeError: the axis has no elements to choose from, unless ``mode`` is ``"fill"``.
        DTypeError: indices are not integers.

    >>> import opmux as ox
    >>> ox.gather(ox.asarray([10, 20, 30]), ox.asarray([2, 0, -2])).tolist()
    [30, 10, 20]
    """
    return taken(x, indices, axis, mode)


@primitive(
    infer=rules_movement.scatter,
    dtypes=ALL,
    accuracy=Accumulated(terms="scattered"),
    promotes=(0, 2),
    core=True,
)
def scatter_(
    np: Any, x: Array, indices: Array, updates: Array, /, *, axis: int = 0, mode: str = "drop", reduction: str = "set"
) -> Array:
    """Return the array with updates combined into the slices of an axis that integer indices choose.

    ``updates`` broadcasts to ``x.shape[:axis] + indices.shape + x.shape[axis+1:]`` and has the array's dtype.
    Negative indices count from the end. What is then still outside is, by ``mode``, left out (``"drop"``), the nearest
    index (``"clip"``) or the index modulo the length (``"wrap"``).

    ``reduction`` says how an update meets the element: ``"set"`` replaces it, ``"add"``, ``"multiply"``, ``"min"``
    and ``"max"`` combine as the ops of like meaning do. Where indices repeat, updates apply in the row-major order of
    their positions in ``indices``, so with ``"set"`` the last one stays. Sums and products accumulate in that order,
    from the element on, in float32 for float16 and bfloat16, rounded once; the contract allows other orders, the
    canonical class does not.

    Raises:
        ShapeError: updates do not broadcast to that shape.
        DTypeError: indices are not integers, or the reduction is not defined for the dtype.

    >>> import opmux as ox
    >>> ox.scatter(ox.asarray([0, 0, 0]), ox.asarray([1, 1, 2]), ox.asarray([5, 6, 7]), reduction="add").tolist()
    [0, 11, 7]
    """
    return scattered(x, indices, updates, axis, mode, reduction)


@primitive(
    infer=rules_movement.along_axis(REAL), dtypes=REAL, accuracy=EXACT, flops=20, decomposition=decompositions.sort
)
def sort_(np: Any, x: Array, /, *, axis: int = -1, descending: bool = False) -> Array:
    """Return the elements of each line along an axis in order.

    NaN is last, in ascending and in descending order. -0 and +0 are equal. The sort is always stable, equal elements
    keep their order, whatever ``stable`` says.

    Raises:
        AxisError: the axis is out of range.

    >>> import opmux as ox
    >>> ox.sort(ox.asarray([3, 1, 2]), descending=True).tolist()
    [3, 2, 1]
    """
    return np.take_along_axis(x, ordered_positions(x, axis, descending), axis=axis)


@primitive(infer=rules_movement.along_axis(REAL, int64), dtypes=REAL, accuracy=EXACT, flops=20, core=True)
def argsort_(np: Any, x: Array, /, *, axis: int = -1, descending: bool = False) -> Array:
    """Return the indices, as int64, that sort each line along an axis; the order is that of :func:`sort`.

    Raises:
        AxisError: the axis is out of range.

    >>> import opmux as ox
    >>> ox.argsort(ox.asarray([3, 1, 2])).tolist()
    [1, 2, 0]
    """
    return ordered_positions(x, axis, descending)


@public_form(sort_)
def sort(
    x: Array, /, *, axis: int = -1, descending: bool = False, stable: bool = True, out: Array | None = None
) -> Array:
    return sort_(x, axis=axis, descending=descending, out=out)


@public_form(argsort_)
def argsort(
    x: Array, /, *, axis: int = -1, descending: bool = False, stable: bool = True, out: Array | None = None
) -> Array:
    return argsort_(x, axis=axis, descending=descending, out=out)


@primitive(
    infer=rules_movement.search(REAL), dtypes=REAL, accuracy=EXACT, flops=20, decomposition=decompositions.searchsorted
)
def searchsorted_(np: Any, x1: Array, x2: Array, /, *, side: str = "left") -> Array:
    """Return, as int64, where each element of ``x2`` would go into the sorted ``x1`` so that it stays sorted.

    ``side="left"`` is before elements equal to it, ``"right"`` after them. The order is that of :func:`sort`: NaN last,
    -0 and +0 equal. ``sorter`` holds indices that sort ``x1``. Where ``x1`` is not sorted, the result is some index.

    Raises:
        ShapeError: ``x1`` has not exactly one axis.

    >>> import opmux as ox
    >>> ox.searchsorted(ox.asarray([1, 3, 3, 5]), ox.asarray([3, 4])).tolist()
    [1, 3]
    """
    return searched(x1, x2, side)


@public_form(searchsorted_)
def searchsorted(
    x1: Array, x2: Array, /, *, side: str = "left", sorter: Array | None = None, out: Array | None = None
) -> Array:
    if sorter is None:
        return searchsorted_(x1, x2, side=side, out=out)
    signed = as_signed(sorter) if are_arrays(sorter) and sorter.dtype is uint64 else sorter
    given = gather(x1, signed)
    return searchsorted_(given, x2, side=side, out=out)


@primitive(infer=rules.same_shape(ALL), dtypes=ALL, accuracy=EXACT, facts=("idempotent",), flops=0, core=True)
def copy(np: Any, x: Array, /) -> Array:
    """Return the same values in fresh contiguous memory, from any strides. Every bit is kept, NaN payloads too.

    The dispatcher puts this op before kernels that take only contiguous operands.

    >>> import opmux as ox
    >>> ox.copy(ox.asarray([1, 2])).tolist()
    [1, 2]
    """
    return np.array(x, order="C", copy=True)
