"""Reductions over axes. The module's names shadow builtins: what works on shapes lives in :mod:`.rules`."""

from __future__ import annotations

from typing import Any

from ..core.arrays.array import Array
from ..core.arrays.metadata import reshape
from ..core.dtypes import ALL, FLOATS, INTEGERS, NUMERIC, DType, bool_
from . import decompositions, rules, rules_movement
from .accuracy import EXACT, Accumulated
from .declare import primitive
from .public_form import are_arrays, into, public_form

REAL = (*INTEGERS, *FLOATS)
Axis = int | tuple[int, ...] | None


@primitive(
    infer=rules.reduction((bool_, *NUMERIC), rules.accumulator, results=NUMERIC),
    dtypes=(bool_, *NUMERIC),
    accuracy=Accumulated(),
    specials=("sum([]) -> +0", "sum([+inf, -inf]) -> nan", "sum([nan, 1]) -> nan"),
    facts=("identity:0",),
    work=rules.per_input(1),
    core=True,
)
def sum(np: Any, x: Array, /, *, axis: Axis = None, dtype: DType | None = None, keepdims: bool = False) -> Array:
    """Return the sum over axes; of nothing it is +0.

    Integers and bool answer in int64, unsigned integers in uint64, unless ``dtype`` says otherwise; they wrap. Floats
    answer in their own dtype; float16 and bfloat16 accumulate in float32 and are rounded once. The operand is cast to
    the result's dtype first. The canonical order is that of :mod:`opmux.opset.orders` (LANES, BLOCK), over the
    reduced axes in row-major order; it starts from +0, so a sum of negative zeros is +0 in it, and of either sign in
    other orders.

    Raises:
        AxisError: an axis is out of range or given twice.

    >>> import opmux as ox
    >>> ox.sum(ox.asarray([[1, 2], [3, 4]]), axis=0).tolist()
    [4, 6]
    """
    return np.sum(x, axis=axis, keepdims=keepdims, dtype=x.dtype)


@primitive(
    infer=rules.reduction((bool_, *NUMERIC), rules.accumulator, results=NUMERIC),
    dtypes=(bool_, *NUMERIC),
    accuracy=Accumulated(multiplicative=True),
    specials=("prod([]) -> 1", "prod([+inf, 0]) -> nan", "prod([nan, 0]) -> nan"),
    facts=("identity:1",),
    work=rules.per_input(1),
    decomposition=decompositions.prod,
)
def prod(np: Any, x: Array, /, *, axis: Axis = None, dtype: DType | None = None, keepdims: bool = False) -> Array:
    """Return the product over axes; of nothing it is 1. Dtypes, casts and order are those of :func:`sum`.

    Raises:
        AxisError: an axis is out of range or given twice.

    >>> import opmux as ox
    >>> ox.prod(ox.asarray([2.0, 3.0, 7.0])).item()
    42.0
    """
    return np.prod(x, axis=axis, keepdims=keepdims, dtype=x.dtype)


def _with_ordered_zero(np: Any, found: Any, x: Any, wanted: Any, axis: Axis, keepdims: bool, sign: float) -> Any:
    """Give a zero result the sign that ``-0 < +0`` asks for, which NumPy leaves open."""
    if x.dtype.kind in "iub":  # bfloat16 is no np.floating
        return found
    present = np.any((x == 0) & wanted, axis=axis, keepdims=keepdims)
    zero = np.where(present, sign, -sign).astype(x.dtype)
    return np.where(found == 0, zero, found)


@primitive(
    infer=rules.reduction(REAL, empty=False),
    dtypes=REAL,
    accuracy=EXACT,
    specials=("max([nan, 1]) -> nan", "max([-0, +0]) -> +0", "max([+0, -0]) -> +0", "max([-inf, -0]) -> -0"),
    work=rules.per_input(1),
    core=True,
)
def max(np: Any, x: Array, /, *, axis: Axis = None, keepdims: bool = False) -> Array:
    """Return the largest element over axes; NaN wins, and -0 is below +0.

    Raises:
        ShapeError: a reduced axis has no elements.
        AxisError: an axis is out of range or given twice.

    >>> import opmux as ox
    >>> ox.max(ox.asarray([[1, 5], [7, 2]]), axis=1).tolist()
    [5, 7]
    """
    found = np.max(x, axis=axis, keepdims=keepdims)
    return _with_ordered_zero(np, found, x, ~np.signbit(x), axis, keepdims, 0.0)


@primitive(
    infer=rules.reduction(REAL, empty=False),
    dtypes=REAL,
    accuracy=EXACT,
    specials=("min([nan, 1]) -> nan", "min([-0, +0]) -> -0", "min([+0, -0]) -> -0", "min([+inf, +0]) -> +0"),
    work=rules.per_input(1),
    decomposition=decompositions.min,
)
def min(np: Any, x: Array, /, *, axis: Axis = None, keepdims: bool = False) -> Array:
    """Return the smallest element over axes; NaN wins, and -0 is below +0.

    Raises:
        ShapeError: a reduced axis has no elements.
        AxisError: an axis is out of range or given twice.

    >>> import opmux as ox
    >>> ox.min(ox.asarray([[1, 5], [7, 2]]), axis=1).tolist()
    [1, 2]
    """
    found = np.min(x, axis=axis, keepdims=keepdims)
    return _with_ordered_zero(np, found, x, np.signbit(x), axis, keepdims, -0.0)


@primitive(
    infer=rules.reduction(ALL, bool_),
    dtypes=ALL,
    accuracy=EXACT,
    specials=("all([]) -> True", "all([nan]) -> True", "all([1, -0]) -> False"),
    work=rules.per_input(1),
    decomposition=decompositions.all,
)
def all(np: Any, x: Array, /, *, axis: Axis = None, keepdims: bool = False) -> Array:
    """Return whether every element over axes is true; of nothing it is True.

    The operand is cast to bool first: everything but zero is true, NaN included. Kernels see bool only.

    Raises:
        AxisError: an axis is out of range or given twice.

    >>> import opmux as ox
    >>> ox.all(ox.asarray([[True, False], [True, True]]), axis=1).tolist()
    [False, True]
    """
    return np.all(x, axis=axis, keepdims=keepdims)


@primitive(
    infer=rules.reduction(ALL, bool_),
    dtypes=ALL,
    accuracy=EXACT,
    specials=("any([]) -> False", "any([nan]) -> True", "any([0, -0]) -> False"),
    work=rules.per_input(1),
    decomposition=decompositions.any,
)
def any(np: Any, x: Array, /, *, axis: Axis = None, keepdims: bool = False) -> Array:
    """Return whether some element over axes is true; of nothing it is False.

    The operand is cast to bool first: everything but zero is true, NaN included. Kernels see bool only.

    Raises:
        AxisError: an axis is out of range or given twice.

    >>> import opmux as ox
    >>> ox.any(ox.asarray([[False, False], [True, True]]), axis=1).tolist()
    [False, True]
    """
    return np.any(x, axis=axis, keepdims=keepdims)


@primitive(
    infer=rules_movement.positions(REAL),
    dtypes=REAL,
    accuracy=EXACT,
    specials=("argmax([1, nan, nan]) -> 1", "argmax([-0, +0]) -> 0", "argmax([3, 3]) -> 0"),
    work=rules.per_input(1),
    decomposition=decompositions.argmax,
)
def argmax_(np: Any, x: Array, /, *, axis: int, keepdims: bool = False) -> Array:
    """Return the index, as int64, of the first of the largest elements along an axis.

    The first NaN wins; -0 and +0 are equal here. ``axis=None`` counts through the whole array in row-major order;
    kernels always see one axis.

    Raises:
        ShapeError: the axis has no elements.
        AxisError: the axis is out of range.

    >>> import opmux as ox
    >>> ox.argmax(ox.asarray([[1, 5], [7, 2]]), axis=1).tolist()
    [1, 0]
    """
    return np.argmax(x, axis=axis, keepdims=keepdims)


@primitive(
    infer=rules_movement.positions(REAL),
    dtypes=REAL,
    accuracy=EXACT,
    specials=("argmin([1, nan, nan]) -> 1", "argmin([+0, -0]) -> 0", "argmin([3, 3]) -> 0"),
    work=rules.per_input(1),
    decomposition=decompositions.argmin,
)
def argmin_(np: Any, x: Array, /, *, axis: int, keepdims: bool = False) -> Array:
    """Return the index, as int64, of the first of the smallest elements along an axis.

    The first NaN wins; -0 and +0 are equal here. ``axis=None`` counts through the whole array in row-major order;
    kernels always see one axis.

    Raises:
        ShapeError: the axis has no elements.
        AxisError: the axis is out of range.

    >>> import opmux as ox
    >>> ox.argmin(ox.asarray([[1, 5], [7, 2]]), axis=1).tolist()
    [0, 1]
    """
    return np.argmin(x, axis=axis, keepdims=keepdims)


@public_form(argmax_)
def argmax(x: Array, /, *, axis: int | None = None, keepdims: bool = False, out: Array | None = None) -> Array:
    return _position(argmax_, x, axis, keepdims, out)


@public_form(argmin_)
def argmin(x: Array, /, *, axis: int | None = None, keepdims: bool = False, out: Array | None = None) -> Array:
    return _position(argmin_, x, axis, keepdims, out)


def _position(find: Any, x: Array, axis: int | None, keepdims: bool, out: Array | None) -> Array:
    if axis is not None or not are_arrays(x) or not isinstance(keepdims, bool):
        return find(x, axis=axis, keepdims=keepdims, out=out)
    flat: Array = find(reshape(x, (x.size,)), axis=0)
    return into(out, reshape(flat, (1,) * x.ndim) if keepdims else flat)
