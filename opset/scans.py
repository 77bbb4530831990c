"""Scans: running sums and products along one axis."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..core.arrays.array import Array
from ..core.dtypes import NUMERIC, DType, bool_
from ..core.errors import ShapeError
from . import decompositions, rules, rules_movement
from .accuracy import Accumulated
from .creation import full
from .declare import primitive
from .movement import concat
from .public_form import are_arrays, public_form


@primitive(
    infer=rules_movement.scan(NUMERIC, rules.accumulator),
    dtypes=(bool_, *NUMERIC),
    accuracy=Accumulated(),
    specials=("cumulative_sum([1, nan, 1]) -> [1, nan, nan]", "cumulative_sum([-0]) -> [-0]"),
    facts=("identity:0", "decomposition-reorders"),
    decomposition=decompositions.cumulative_sum,
)
def cumulative_sum_(np: Any, x: Array, /, *, axis: int, dtype: DType | None = None) -> Array:
    """Return the running sums along an axis.

    Dtypes and casts are those of :func:`sum`: float16 and bfloat16 accumulate in float32, and each result is rounded
    once. The canonical order is one chain along the axis that starts with the first element. ``axis`` may be left out
    for one-dimensional arrays only. ``include_initial`` puts a zero in front, which makes the axis longer by one.

    Raises:
        ShapeError: no axis is given for an array that has not exactly one.
        AxisError: the axis is out of range.

    >>> import opmux as ox
    >>> ox.cumulative_sum(ox.asarray([1, 2, 3])).tolist()
    [1, 3, 6]
    """
    return np.cumsum(x, axis=axis, dtype=x.dtype)


@primitive(
    infer=rules_movement.scan(NUMERIC, rules.accumulator),
    dtypes=(bool_, *NUMERIC),
    accuracy=Accumulated(multiplicative=True),
    specials=("cumulative_prod([+inf, 0, 1]) -> [+inf, nan, nan]",),
    facts=("identity:1", "decomposition-reorders"),
    decomposition=decompositions.cumulative_prod,
)
def cumulative_prod_(np: Any, x: Array, /, *, axis: int, dtype: DType | None = None) -> Array:
    """Return the running products along an axis; all else is as for :func:`cumulative_sum`, with one in front.

    Raises:
        ShapeError: no axis is given for an array that has not exactly one.
        AxisError: the axis is out of range.

    >>> import opmux as ox
    >>> ox.cumulative_prod(ox.asarray([1, 2, 3]), include_initial=True).tolist()
    [1, 1, 2, 6]
    """
    return np.cumprod(x, axis=axis, dtype=x.dtype)


@public_form(cumulative_sum_)
def cumulative_sum(
    x: Array,
    /,
    *,
    axis: int | None = None,
    dtype: DType | None = None,
    include_initial: bool = False,
    out: Array | None = None,
) -> Array:
    return _scan("cumulative_sum", cumulative_sum_, 0, x, axis, dtype, include_initial, out)


@public_form(cumulative_prod_)
def cumulative_prod(
    x: Array,
    /,
    *,
    axis: int | None = None,
    dtype: DType | None = None,
    include_initial: bool = False,
    out: Array | None = None,
) -> Array:
    return _scan("cumulative_prod", cumulative_prod_, 1, x, axis, dtype, include_initial, out)


def _scan(
    name: str,
    primitive: Callable[..., Array],
    identity: int,
    x: Array,
    axis: int | None,
    dtype: DType | None,
    include_initial: bool,
    out: Array | None,
) -> Array:
    if axis is None:
        if are_arrays(x) and x.ndim != 1:
            raise ShapeError(f"{name}: shape {x.shape} has {x.ndim} axes; name one with axis=", op=name, shape=x.shape)
        axis = 0
    if not include_initial:
        return primitive(x, axis=axis, dtype=dtype, out=out)
    sums = primitive(x, axis=axis, dtype=dtype)
    at = axis % sums.ndim
    first = (*sums.shape[:at], 1, *sums.shape[at + 1 :])
    return concat([full(first, identity, dtype=sums.dtype, device=sums.device), sums], axis=at, out=out)
