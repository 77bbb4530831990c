"""Shapes, axes and strides: the rules behind views of the same memory. Nothing here reads or copies data.

The functions users call, which also work during capture, are in :mod:`opmux.core.arrays.metadata`.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Sequence
from typing import Any, Final

from ..errors import ArgumentTypeError, AxisError, ShapeError, SizeError, shown
from ..signature import ALIGNMENT, MOST_AXES, Shape, Signature, is_row_major, row_major, signature
from .array import Array

_LONGEST: Final = 2**63 - 1


def stand_in(sig: Signature) -> Array:
    """Return an array of this signature without memory, to learn the signature of a view of it."""
    return Array(None, sig)  # type: ignore[arg-type]


def view(x: Array, shape: Shape, strides: Shape, offset: int = 0) -> Array:
    """Return another view of the same buffer.

    Args:
        x: the array to look at.
        shape, strides: of the view, strides in elements.
        offset: of its first element from the first of *x*, in elements.
    """
    start = x._offset + offset * x._sig.dtype.itemsize
    return Array(x._buffer, view_signature(x._sig, shape, strides, aligned_after(x._sig, offset)), start)


def aligned_after(sig: Signature, offset: int) -> bool:
    """Return whether a view that starts *offset* elements on is at a multiple of 64 bytes."""
    return sig.aligned and offset * sig.dtype.itemsize % ALIGNMENT == 0


def view_signature(sig: Signature, shape: Shape, strides: Shape, aligned: bool) -> Signature:
    """Return the signature of a view."""
    return signature(sig.device, sig.dtype, shape, strides, aligned)


def normalize_axis(axis: Any, ndim: int, *, where: str) -> int:
    """Return a non-negative axis.

    Raises:
        AxisError: outside ``[-ndim, ndim)``.
        ArgumentTypeError: not an integer.
    """
    try:
        if isinstance(axis, bool):
            raise TypeError
        given = operator.index(axis)
    except TypeError:
        raise ArgumentTypeError(f"{where}: axis {shown(axis)} is not an integer", op=where, axis=axis) from None
    if not -ndim <= given < ndim:
        allowed = f"[{-ndim}, {ndim - 1}]" if ndim else "none: the array has no axes"
        raise AxisError(
            f"{where}: axis {shown(given)} is out of range for {ndim} dimensions; allowed: {allowed}",
            op=where,
            axis=given,
            ndim=ndim,
        )
    return given % ndim


def normalize_axes(axes: Any, ndim: int, *, where: str) -> tuple[int, ...]:
    """Return distinct non-negative axes in ascending order; None means all of them."""
    if axes is None:
        return tuple(range(ndim))
    given = axes if isinstance(axes, tuple | list) else (axes,)
    found = tuple(normalize_axis(a, ndim, where=where) for a in given)
    if len(set(found)) != len(found):
        raise AxisError(f"{where}: axis given twice in {tuple(given)}", op=where, axis=axes, ndim=ndim)
    return tuple(sorted(found))


def normalize_shape(shape: Any, *, where: str) -> Shape:
    """Return a shape as a tuple of non-negative integers."""
    given = shape if isinstance(shape, tuple | list) else (shape,)
    try:
        found = tuple(operator.index(n) for n in given)
    except TypeError:
        raise ArgumentTypeError(
            f"{where}: shape {shown(shape)} is not a tuple of integers", op=where, shape=shape
        ) from None
    for n in found:
        if n < 0:
            raise ShapeError(f"{where}: shape {shown(found)} has a negative length", op=where, shape=found)
        if n > _LONGEST:
            raise SizeError(
                f"{where}: an axis of length {shown(n)} is more than the 2**63 - 1 elements that can be counted",
                op=where,
                shape=found,
            )
    if len(found) > MOST_AXES:
        raise ShapeError(
            f"{where}: a shape of {len(found)} axes; an array has at most {MOST_AXES}", op=where, shape=found
        )
    return found


def broadcast_shapes(*shapes: Shape, where: str = "broadcast_shapes") -> Shape:
    """Return the shape that these broadcast to.

    Raises:
        ShapeError: naming the first axis that does not fit.

    >>> broadcast_shapes((8, 1, 3), (7, 1))
    (8, 7, 3)
    """
    rank = max((len(s) for s in shapes), default=0)
    result = [1] * rank
    for shape in shapes:
        for i, n in enumerate(shape, rank - len(shape)):
            if n != 1 and n != result[i]:
                if result[i] != 1:
                    raise ShapeError(
                        f"{where}: shapes {', '.join(map(str, shapes))} do not broadcast: axis {i - rank} has lengths "
                        f"{result[i]} and {n}; lengths must be equal or 1",
                        op=where,
                        shapes=shapes,
                        axis=i - rank,
                    )
                result[i] = n
    return tuple(result)


def broadcast_strides(shape: Shape, strides: Shape, target: Shape, *, where: str = "broadcast_to") -> Shape:
    """Return the strides of a view of the target shape: 0 along every axis that repeats."""
    lead = len(target) - len(shape)
    if lead < 0 or any(n not in (1, t) for n, t in zip(shape, target[lead:], strict=True)):
        raise ShapeError(
            f"{where}: shape {shape} does not broadcast to {target}; from the last axis on, lengths must be equal or 1",
            op=where,
            shape=shape,
            target=target,
        )
    kept = tuple(0 if n == 1 and t != 1 else s for n, s, t in zip(shape, strides, target[lead:], strict=True))
    return (0,) * lead + kept


def broadcast_to(x: Array, shape: Sequence[int]) -> Array:
    """Return a view repeated along axes of length 1 and along new leading axes."""
    target = normalize_shape(shape, where="broadcast_to")
    return view(x, target, broadcast_strides(x.shape, x.strides, target))


def permutation(axes: Any, ndim: int) -> tuple[int, ...]:
    """Return a permutation of all axes, checked."""
    if not isinstance(axes, tuple | list):
        raise ArgumentTypeError(
            f"permute_dims: axes {shown(axes)} is not a tuple of integers", op="permute_dims", axis=axes
        )
    found = tuple(normalize_axis(a, ndim, where="permute_dims") for a in axes)
    if sorted(found) != list(range(ndim)):
        raise AxisError(
            f"permute_dims: {tuple(axes)} is not a permutation of the {ndim} axes",
            op="permute_dims",
            axis=axes,
            ndim=ndim,
        )
    return found


def permute_dims(x: Array, axes: Sequence[int]) -> Array:
    """Return a view with the axes in another order."""
    order = permutation(axes, x.ndim)
    return view(x, tuple(x.shape[a] for a in order), tuple(x.strides[a] for a in order))


def _is_minus_one(n: Any) -> bool:
    try:
        return operator.index(n) == -1
    except TypeError:
        return False


def reshape_shape(shape: Any, size: int, old: Shape) -> Shape:
    """Return the new shape, with one -1 resolved.

    Raises:
        ShapeError: when the sizes differ or -1 cannot be resolved.
    """
    given = tuple(shape) if isinstance(shape, tuple | list) else (shape,)
    unknown = [i for i, n in enumerate(given) if _is_minus_one(n)]
    if len(unknown) > 1:
        raise ShapeError(f"reshape: {given} has more than one -1", op="reshape", shape=given)
    known = normalize_shape(tuple(n for i, n in enumerate(given) if i not in unknown), where="reshape")
    rest = math.prod(known)
    if unknown:
        if rest == 0 or size % rest:
            raise ShapeError(
                f"reshape: -1 in {given} cannot be resolved for {size} elements of shape {old}",
                op="reshape",
                shape=given,
                size=size,
            )
        i = unknown[0]
        known = (*known[:i], size // rest, *known[i:])
    if math.prod(known) != size:
        raise ShapeError(
            f"reshape: shape {old} has {size} elements, {known} has {math.prod(known)}",
            op="reshape",
            shape=known,
            size=size,
        )
    return known


def reshape_strides(shape: Shape, strides: Shape, target: Shape) -> Shape | None:
    """Return strides that show the same elements in another shape, or None where only a copy can."""
    if is_row_major(shape, strides):
        return row_major(target)
    old = [(n, s) for n, s in zip(shape, strides, strict=True) if n != 1]
    new: list[int] = []
    i = 0
    wanted = list(target)
    j = 0
    while j < len(wanted):
        if wanted[j] == 1:
            new.append(0)
            j += 1
            continue
        if i >= len(old):
            return None
        # Merge old axes that lie densely behind each other until they cover a run of new axes.
        length, step = old[i]
        i += 1
        k, covered = j + 1, wanted[j]
        while covered != length:
            if covered < length:
                if k >= len(wanted):
                    return None
                covered *= wanted[k]
                k += 1
            else:
                if i >= len(old) or step != old[i][0] * old[i][1]:
                    return None
                length *= old[i][0]
                step = old[i][1]
                i += 1
        run = wanted[j:k]
        inner = row_major(tuple(run))
        new.extend(s * step for s in inner)
        j = k
    return tuple(new)


def reshape_view(x: Array, target: Shape) -> Array | None:
    """Return a reshaped view, or None where the elements must be copied first."""
    strides = reshape_strides(x.shape, x.strides, target)
    return None if strides is None else view(x, target, strides)


def flip(x: Array, axes: Any = None) -> Array:
    """Return a view that runs backwards along the axes; None means all."""
    chosen = normalize_axes(axes, x.ndim, where="flip")
    strides = list(x.strides)
    offset = 0
    for a in chosen:
        offset += (x.shape[a] - 1) * strides[a] if x.shape[a] else 0
        strides[a] = -strides[a]
    return view(x, x.shape, tuple(strides), offset)


def sliced(x: Array, starts: Sequence[int], stops: Sequence[int], steps: Sequence[int]) -> Array:
    """Return the view ``x[start:stop:step, ...]`` with Python's meaning, one triple per axis, already in range."""
    shape, strides, offset = [], [], 0
    for s, start, stop, step in zip(x.strides, starts, stops, steps, strict=True):
        length = len(range(start, stop, step))
        if length:
            offset += start * s
        shape.append(length)
        strides.append(s * step)
    return view(x, tuple(shape), tuple(strides), offset)
