"""The public forms of what chooses by index: indices of every integer dtype, where kernels get signed ones."""

from __future__ import annotations

from ..core.arrays.array import Array
from ..core.arrays.indexing import as_signed
from ..core.arrays.metadata import broadcast_to
from ..core.arrays.views import normalize_axis
from ..core.dtypes import int64, uint64
from ..core.errors import ShapeError
from . import movement, selection
from .arithmetic import remainder
from .casting import cast
from .public_form import are_arrays, public_form
from .rules_movement import gathered_shape
from .scalars import beside


@public_form(movement.gather)
def gather(x: Array, indices: Array, /, *, axis: int = 0, mode: str = "clip", out: Array | None = None) -> Array:
    given = _signed("gather", x, indices, axis, mode)
    return movement.gather(x, given, axis=axis, mode=mode, out=out)


@public_form(movement.scatter_)
def scatter(
    x: Array,
    indices: Array,
    updates: Array | complex,
    /,
    *,
    axis: int = 0,
    mode: str = "drop",
    reduction: str = "set",
    out: Array | None = None,
) -> Array:
    given = beside(x, updates, where="scatter")
    if are_arrays(x, indices, given):
        at = normalize_axis(axis, x.ndim, where="scatter")
        given = broadcast_to(given, gathered_shape(x.shape, indices.shape, at))
    places = _signed("scatter", x, indices, axis, mode)
    return movement.scatter_(x, places, given, axis=axis, mode=mode, reduction=reduction, out=out)


@public_form(selection.take_along_axis)
def take_along_axis(x: Array, indices: Array, /, *, axis: int = -1, out: Array | None = None) -> Array:
    return selection.take_along_axis(x, _signed("take_along_axis", x, indices, axis, "clip"), axis=axis, out=out)


def take(x: Array, indices: Array, /, *, axis: int | None = None) -> Array:
    """Return slices of an axis chosen by indices with one axis: :func:`gather` as the Array API standard writes it.

    Raises:
        ShapeError: the indices have not exactly one axis, or no axis is given for an array that has not exactly one.

    >>> import opmux as ox
    >>> ox.take(ox.asarray([10, 20, 30]), ox.asarray([2, 0])).tolist()
    [30, 10]
    """
    if are_arrays(indices) and indices.ndim != 1:
        raise ShapeError(
            f"take: indices have shape {indices.shape}; they must have one axis", op="take", shape=indices.shape
        )
    if axis is None and are_arrays(x) and x.ndim != 1:
        raise ShapeError(f"take: shape {x.shape} has {x.ndim} axes; name one with axis=", op="take", shape=x.shape)
    return gather(x, indices, axis=0 if axis is None else axis)


def _signed(name: str, x: Array, indices: Array, axis: int, mode: str) -> Array:
    """Return indices that int64 holds and that choose the same; what is no call stays for the op to refuse."""
    if not are_arrays(x, indices) or indices.dtype is not uint64:
        return indices
    length = x.shape[normalize_axis(axis, x.ndim, where=name)]
    if mode == "wrap" and length:
        made: Array = cast(remainder(indices, length), int64)
        return made
    return as_signed(indices)
