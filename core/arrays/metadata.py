"""Metadata ops: functions that return views of the same memory. They are done here and never dispatched.

During capture each becomes a node of the graph, which makes the view again when the graph runs.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

from ..errors import ArgumentError, ArgumentTypeError, AxisError, ShapeError
from ..graphs.graph import Metadata
from ..graphs.trace import Traced
from ..kernel import ArraySpec
from ..signature import Shape
from . import views
from .array import Array
from .ownership import check_usable
from .transfer import contiguous, dense_copy
from .views import stand_in

#: Every metadata op by the name that it has in a graph.
METADATA: Final[dict[str, Metadata]] = {}


def _register(name: str, apply: Callable[..., Array | None]) -> Metadata:
    made = METADATA[name] = Metadata(name, apply)
    return made


RESHAPE: Final = _register("reshape", views.reshape_view)
PERMUTE_DIMS: Final = _register("permute_dims", views.permute_dims)
BROADCAST_TO: Final = _register("broadcast_to", views.broadcast_to)
FLIP: Final = _register("flip", views.flip)
SLICE: Final = _register("slice", views.sliced)


def apply(op: Metadata, x: Array, *arguments: Any) -> Array:
    """Return the view that a metadata op makes, after a dense copy where only that can be viewed so.

    Args:
        op: one of :data:`METADATA`.
        x: the array, or a stand-in for one during capture.
        arguments: normalised and hashable, since a graph's identity hangs on them.
    """
    if isinstance(x, Traced):
        shown = op.apply(stand_in(x._sig), *arguments)
        if shown is None:  # a stand-in is contiguous, and of a contiguous array every metadata op has a view
            raise ArgumentError(f"metadata op {op.name} has no view of a contiguous array", op=op.name)
        numbered = {str(i): a for i, a in enumerate(arguments)}
        return x.tracer.record(op, (x,), numbered, (ArraySpec(x.dtype, shown.shape),))[0]
    made = op.apply(x, *arguments)
    if made is None:
        made = op.apply(contiguous(x), *arguments)
    if made is None:
        raise ArgumentError(f"metadata op {op.name} has no view of a contiguous array", op=op.name)
    return made


def given_array(x: Array, where: str) -> Array:
    """Return an operand of a plain function, checked.

    Raises:
        ArgumentTypeError: for anything but an array.
        ConsumedError: for a handle that ``out=`` has consumed.
    """
    if not isinstance(x, Array):
        raise ArgumentTypeError(
            f"{where}: {type(x).__module__}.{type(x).__qualname__} is not an opmux array; wrap it with opmux.asarray",
            op=where,
            given=type(x),
        )
    check_usable(x)
    return x


def reshape(x: Array, /, shape: int | Sequence[int], *, copy: bool | None = None) -> Array:
    """Return the same elements, in row-major order, in another shape.

    Args:
        x: any array.
        shape: the new shape; one entry may be -1, which is worked out.
        copy: None makes a view where strides allow it and a copy elsewhere; False forbids the copy; True forces it.

    Raises:
        ShapeError: when the sizes differ.
        ArgumentError: when ``copy=False`` and only a copy can do it.

    >>> import opmux as ox
    >>> ox.reshape(ox.asarray([1, 2, 3, 4, 5, 6]), (2, -1)).tolist()
    [[1, 2, 3], [4, 5, 6]]
    """
    x = given_array(x, "reshape")
    target = views.reshape_shape(shape, x.size, x.shape)
    if copy:
        return apply(RESHAPE, dense_copy(x), target)
    if copy is False and views.reshape_strides(x.shape, x.strides, target) is None:
        raise ArgumentError(
            f"reshape: an array of shape {x.shape} with strides {x.strides} has no view of shape {target}; leave out "
            f"copy=False",
            op="reshape",
            shape=target,
        )
    return apply(RESHAPE, x, target)


def permute_dims(x: Array, /, axes: Sequence[int]) -> Array:
    """Return a view with the axes in another order.

    Args:
        x: any array.
        axes: a permutation of all axes; axis ``i`` of the result is axis ``axes[i]`` of *x*.

    Raises:
        AxisError: unless *axes* names every axis once.

    >>> import opmux as ox
    >>> ox.permute_dims(ox.asarray([[1, 2, 3]]), (1, 0)).shape
    (3, 1)
    """
    x = given_array(x, "permute_dims")
    return apply(PERMUTE_DIMS, x, views.permutation(axes, x.ndim))


def matrix_transpose(x: Array, /) -> Array:
    """Return a view with the last two axes exchanged.

    Raises:
        ShapeError: for fewer than two axes.

    >>> import opmux as ox
    >>> ox.matrix_transpose(ox.asarray([[1, 2], [3, 4]])).tolist()
    [[1, 3], [2, 4]]
    """
    x = given_array(x, "matrix_transpose")
    if x.ndim < 2:
        raise ShapeError(
            f"matrix_transpose: an array of shape {x.shape} is not a matrix; it takes at least two axes",
            op="matrix_transpose",
            shape=x.shape,
        )
    return apply(PERMUTE_DIMS, x, (*range(x.ndim - 2), x.ndim - 1, x.ndim - 2))


def moveaxis(x: Array, source: int | Sequence[int], destination: int | Sequence[int], /) -> Array:
    """Return a view with some axes moved to other places; the others keep their order.

    Args:
        x: any array.
        source: the axes to move.
        destination: where each of them goes.

    Raises:
        AxisError: for axes out of range, given twice, or not as many on either side.

    >>> import opmux as ox
    >>> ox.moveaxis(ox.asarray([[[1, 2, 3]]]), 2, 0).shape
    (3, 1, 1)
    """
    x = given_array(x, "moveaxis")
    taken, placed = _axes(source, x.ndim, "moveaxis"), _axes(destination, x.ndim, "moveaxis")
    if len(taken) != len(placed):
        raise AxisError(
            f"moveaxis: {len(taken)} source axes and {len(placed)} destinations; there must be as many of either",
            op="moveaxis",
            axis=source,
            ndim=x.ndim,
        )
    order = [a for a in range(x.ndim) if a not in taken]
    for place, axis in sorted(zip(placed, taken, strict=True)):
        order.insert(place, axis)
    return apply(PERMUTE_DIMS, x, tuple(order))


def _axes(axes: int | Sequence[int], ndim: int, where: str) -> tuple[int, ...]:
    given = tuple(axes) if isinstance(axes, tuple | list) else (axes,)
    found = tuple(views.normalize_axis(a, ndim, where=where) for a in given)
    if len(set(found)) != len(found):
        raise AxisError(f"{where}: axis given twice in {given}", op=where, axis=given, ndim=ndim)
    return found


def broadcast_to(x: Array, /, shape: Sequence[int]) -> Array:
    """Return a view repeated along axes of length 1 and along new leading axes.

    Raises:
        ShapeError: when *x* does not broadcast to the shape.

    >>> import opmux as ox
    >>> ox.broadcast_to(ox.asarray([1, 2]), (2, 2)).tolist()
    [[1, 2], [1, 2]]
    """
    x = given_array(x, "broadcast_to")
    return apply(BROADCAST_TO, x, views.normalize_shape(shape, where="broadcast_to"))


def broadcast_arrays(*arrays: Array) -> tuple[Array, ...]:
    """Return views of all arrays in the one shape that they broadcast to.

    Raises:
        ShapeError: when they do not broadcast to one shape.

    >>> import opmux as ox
    >>> [x.shape for x in ox.broadcast_arrays(ox.asarray([1, 2]), ox.asarray([[3]]))]
    [(1, 2), (1, 2)]
    """
    given = [given_array(x, "broadcast_arrays") for x in arrays]
    shape = views.broadcast_shapes(*(x.shape for x in given), where="broadcast_arrays")
    return tuple(apply(BROADCAST_TO, x, shape) for x in given)


def flip(x: Array, /, *, axis: int | Sequence[int] | None = None) -> Array:
    """Return a view that runs backwards along the axes given; None means all of them.

    Raises:
        AxisError: for axes out of range or given twice.

    >>> import opmux as ox
    >>> ox.flip(ox.asarray([1, 2, 3])).tolist()
    [3, 2, 1]
    """
    x = given_array(x, "flip")
    return apply(FLIP, x, views.normalize_axes(axis, x.ndim, where="flip"))


def expand_dims(x: Array, /, *, axis: int | Sequence[int] = 0) -> Array:
    """Return a view with new axes of length 1.

    Args:
        x: any array.
        axis: where the new axes are in the result.

    Raises:
        AxisError: for axes out of range of the result, or given twice.

    >>> import opmux as ox
    >>> ox.expand_dims(ox.asarray([1, 2]), axis=-1).shape
    (2, 1)
    """
    x = given_array(x, "expand_dims")
    count = len(axis) if isinstance(axis, tuple | list) else 1
    placed = _axes(axis, x.ndim + count, "expand_dims")
    lengths = iter(x.shape)
    return apply(RESHAPE, x, tuple(1 if i in placed else next(lengths) for i in range(x.ndim + count)))


def squeeze(x: Array, /, axis: int | Sequence[int]) -> Array:
    """Return a view without the axes given, which must have length 1.

    Raises:
        AxisError: for axes out of range or given twice.
        ShapeError: for an axis of another length.

    >>> import opmux as ox
    >>> ox.squeeze(ox.asarray([[1, 2]]), 0).shape
    (2,)
    """
    x = given_array(x, "squeeze")
    dropped = _axes(axis, x.ndim, "squeeze")
    for a in dropped:
        if x.shape[a] != 1:
            raise ShapeError(
                f"squeeze: axis {a} of shape {x.shape} has length {x.shape[a]}; only axes of length 1 can be dropped",
                op="squeeze",
                shape=x.shape,
                axis=a,
            )
    return apply(RESHAPE, x, _without(x.shape, dropped))


def _without(shape: Shape, dropped: tuple[int, ...]) -> Shape:
    return tuple(n for i, n in enumerate(shape) if i not in dropped)
