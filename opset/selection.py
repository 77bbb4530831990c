"""Choosing elements by index, and data-independent ways of joining: composed of gather, concat and views."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from ..core.arrays.array import Array
from ..core.arrays.metadata import broadcast_to, expand_dims, given_array, reshape
from ..core.arrays.views import broadcast_shapes, normalize_axis, normalize_shape
from ..core.dtypes import ALL, int64
from ..core.errors import ArgumentTypeError, ShapeError, shown
from ..core.kernel import ArraySpec
from ..core.op import Attributes, Inferred, Specs
from ..core.signature import Shape
from .accuracy import EXACT
from .declare import composite
from .decompositions import part
from .movement import concat, copy
from .public_form import are_arrays
from .rules import present
from .rules_movement import index_argument, index_dtype


def _along(name: str, specs: Specs, attributes: Attributes) -> Inferred:
    x, indices = present(specs)
    index_dtype(name, indices.dtype)
    if len(x.shape) != len(indices.shape):
        raise ShapeError(
            f"{name}: the array has {len(x.shape)} axes and the indices {len(indices.shape)}; they must have as many",
            op=name,
            shapes=(x.shape, indices.shape),
        )
    axis = normalize_axis(attributes["axis"], len(x.shape), where=name)
    if x.shape[axis] == 0 and 0 not in indices.shape:
        raise ShapeError(
            f"{name}: axis {axis} of {x.shape} has no elements to choose from", op=name, shape=x.shape, axis=axis
        )
    shape = _lead(name, x.shape, indices.shape, axis, indices.shape[axis])
    return Inferred((ArraySpec(x.dtype, shape),), {"axis": axis}, (None, int64))


def _lead(name: str, x: Shape, indices: Shape, axis: int, length: int) -> Shape:
    """Return the shape that both broadcast to off the axis, with a length for the axis."""
    a, b = list(x), list(indices)
    a[axis] = b[axis] = 1
    found = list(broadcast_shapes(tuple(a), tuple(b), where=name))
    found[axis] = length
    return tuple(found)


@composite(infer=_along, dtypes=ALL, accuracy=EXACT)
def take_along_axis(ox: Any, x: Array, indices: Array, /, *, axis: int = -1) -> Array:
    """Return for each line along an axis the elements that the indices of the same line choose.

    Off the axis both broadcast. Negative indices count from the end; what is then still outside is clipped, as by
    :func:`gather`.

    Raises:
        ShapeError: the ranks differ, or the other axes do not broadcast.
        DTypeError: indices are not integers.

    >>> import opmux as ox
    >>> ox.take_along_axis(ox.asarray([[10, 20], [30, 40]]), ox.asarray([[1], [0]])).tolist()
    [[20], [30]]
    """
    at = normalize_axis(axis, x.ndim, where="take_along_axis")
    n, m = x.shape[at], indices.shape[at]
    lines = _lead("take_along_axis", x.shape, indices.shape, at, n)
    chosen = _lead("take_along_axis", x.shape, indices.shape, at, m)
    outer = tuple(k for i, k in enumerate(lines) if i != at)
    if not math.prod(chosen):
        return ox.full(chosen, False, dtype=x.dtype, device=x.device)
    flat = ox.reshape(ox.moveaxis(ox.broadcast_to(x, lines), at, -1), (-1,))
    places = ox.cast(ox.moveaxis(ox.broadcast_to(indices, chosen), at, -1), int64)
    places = ox.where(ox.less(places, 0), ox.add(places, n), places)
    places = ox.minimum(ox.maximum(places, 0), n - 1)
    count = math.prod(outer)
    first = ox.multiply(ox.iota((count, 1), 0, dtype=int64, device=x.device), n)
    found = ox.gather(flat, ox.add(ox.reshape(places, (count, m)), first), axis=0)
    return ox.moveaxis(ox.reshape(found, (*outer, m)), -1, at)


def stack(arrays: Sequence[Array], /, *, axis: int = 0) -> Array:
    """Return arrays of one shape joined along a new axis.

    Raises:
        ShapeError: the shapes differ.
        ArgumentTypeError: what is given is not a sequence of arrays.

    >>> import opmux as ox
    >>> ox.stack([ox.asarray([1, 2]), ox.asarray([3, 4])]).tolist()
    [[1, 2], [3, 4]]
    """
    if not isinstance(arrays, tuple | list) or not are_arrays(*arrays):
        raise ArgumentTypeError("stack takes a sequence of arrays", op="stack")
    shapes = {x.shape for x in arrays}
    if len(shapes) > 1:
        raise ShapeError(f"stack: shapes {', '.join(map(str, shapes))} differ", op="stack", shapes=tuple(shapes))
    rank = arrays[0].ndim + 1 if arrays else 1
    at = normalize_axis(axis, rank, where="stack")
    return concat([expand_dims(x, axis=at) for x in arrays], axis=at)


def roll(x: Array, /, shift: int | Sequence[int], *, axis: int | Sequence[int] | None = None) -> Array:
    """Return the elements moved along axes, those that leave at one end coming back at the other.

    Without an axis the array is flattened for the move.

    Raises:
        ShapeError: not as many shifts as axes.

    >>> import opmux as ox
    >>> ox.roll(ox.asarray([1, 2, 3]), 1).tolist()
    [3, 1, 2]
    """
    given_array(x, "roll")
    if axis is None:
        return reshape(roll(reshape(x, (x.size,)), shift, axis=0), x.shape)
    axes = tuple(axis) if isinstance(axis, tuple | list) else (axis,)
    listed = shift if isinstance(shift, tuple | list) else (shift,) * len(axes)
    shifts = tuple(index_argument("roll", "shift", s) for s in listed)
    if len(shifts) != len(axes):
        raise ShapeError(f"roll: {len(shifts)} shifts for {len(axes)} axes", op="roll", shift=shift, axis=axis)
    made = x
    for s, a in zip(shifts, axes, strict=True):
        at = normalize_axis(a, x.ndim, where="roll")
        n = x.shape[at]
        cut = -s % n if n else 0
        if cut:
            made = concat([part(made, at, cut, n), part(made, at, 0, cut)], axis=at)
    return copy(made) if made is x else made


def repeat(x: Array, repeats: int, /, *, axis: int | None = None) -> Array:
    """Return the array with each slice of an axis repeated in place; without an axis it is flattened first.

    Raises:
        ArgumentTypeError: ``repeats`` is not an integer, which a shape cannot follow from data.

    >>> import opmux as ox
    >>> ox.repeat(ox.asarray([1, 2]), 2).tolist()
    [1, 1, 2, 2]
    """
    given_array(x, "repeat")
    count = index_argument("repeat", "repeats", repeats)
    if axis is None:
        x, axis = reshape(x, (x.size,)), 0
    at = normalize_axis(axis, x.ndim, where="repeat")
    spread = broadcast_to(expand_dims(x, axis=at + 1), (*x.shape[: at + 1], count, *x.shape[at + 1 :]))
    return copy(reshape(spread, (*x.shape[:at], x.shape[at] * count, *x.shape[at + 1 :])))


def tile(x: Array, repetitions: Sequence[int], /) -> Array:
    """Return the array repeated as a whole along each axis; the shorter of shape and repetitions gets ones in front.

    >>> import opmux as ox
    >>> ox.tile(ox.asarray([1, 2]), (2, 2)).tolist()
    [[1, 2, 1, 2], [1, 2, 1, 2]]
    """
    given_array(x, "tile")
    if not isinstance(repetitions, tuple | list):
        raise ArgumentTypeError(
            f"tile: repetitions={shown(repetitions)} is not a tuple of integers, one per axis", op="tile"
        )
    times = normalize_shape(repetitions, where="tile")
    rank = len(times) if len(times) > x.ndim else x.ndim
    shape = (1,) * (rank - x.ndim) + x.shape
    times = (1,) * (rank - len(times)) + times
    apart = tuple(k for n in shape for k in (1, n))
    spread = tuple(k for t, n in zip(times, shape, strict=True) for k in (t, n))
    made = broadcast_to(reshape(x, apart), spread)
    return copy(reshape(made, tuple(t * n for t, n in zip(times, shape, strict=True))))
