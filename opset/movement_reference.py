"""What the movement ops mean, in plain NumPy: written to be read, not to be fast."""

from __future__ import annotations

from typing import Any

import numpy as np

from .complex_product import multiplied

Host = Any  # a NumPy array; the bodies of declarations call it Array


def resolved(indices: Host, length: int, mode: str) -> tuple[Host, Host]:
    """Return indices inside an axis, and where the index given was inside already.

    >>> resolved(np.array([-1, 7]), 5, "clip")
    (array([4, 4]), array([ True, False]))
    """
    wide = indices.astype(np.int64)
    wide = np.where(wide < 0, wide + length, wide)
    inside = (wide >= 0) & (wide < length)
    if length == 0:
        return np.zeros_like(wide), inside
    return (wide % length if mode == "wrap" else np.clip(wide, 0, length - 1)), inside


def taken(x: Host, indices: Host, axis: int, mode: str) -> Host:
    """Gather: see :func:`opmux.opset.movement.gather`."""
    at, inside = resolved(indices, x.shape[axis], mode)
    shape = (*x.shape[:axis], *indices.shape, *x.shape[axis + 1 :])
    if x.shape[axis] == 0:
        return np.zeros(shape, x.dtype)
    found = np.take(x, at, axis=axis)
    if mode == "fill":
        keep = inside.reshape((*(1,) * axis, *indices.shape, *(1,) * (x.ndim - axis - 1)))
        found = np.where(keep, found, np.zeros((), x.dtype))
    return np.asarray(found)


def _combine(reduction: str, old: Host, new: Host) -> Host:
    match reduction:
        case "set":
            return new
        case "add":
            return np.asarray(old + new)
        case "multiply":
            return multiplied(old, new)
    first_wins = old < new if reduction == "min" else old > new
    if old.dtype.kind in "iub":  # bfloat16 is no np.floating
        return np.where(first_wins, old, new)
    negative = np.signbit(old) if reduction == "min" else ~np.signbit(old)
    first_wins |= (old == new) & negative  # -0 is below +0
    return np.where(np.isnan(old) | (first_wins & ~np.isnan(new)), old, new)


def scattered(x: Host, indices: Host, updates: Host, axis: int, mode: str, reduction: str) -> Host:
    """Scatter, one update after the other: see :func:`opmux.opset.movement.scatter`."""
    at, inside = resolved(indices, x.shape[axis], mode)
    narrow = x.dtype.itemsize == 2 and x.dtype.kind not in "iu" and reduction in ("add", "multiply")
    made = np.moveaxis(x, axis, 0).astype(np.float32 if narrow else x.dtype, copy=True)
    kept_last = updates.reshape((*x.shape[:axis], indices.size, *x.shape[axis + 1 :]))
    rows = np.moveaxis(kept_last, axis, 0).astype(made.dtype)
    with np.errstate(all="ignore"):
        for place, usable, row in zip(at.ravel(), inside.ravel(), rows, strict=True):
            if usable or mode != "drop":
                made[place] = _combine(reduction, made[place], row)
        return np.ascontiguousarray(np.moveaxis(made, 0, axis)).astype(x.dtype)


def ordered_positions(x: Host, axis: int, descending: bool) -> Host:
    """Stable argsort with NaN last: see :func:`opmux.opset.movement.argsort`."""
    if x.dtype.kind in "iub":
        key = ~x if descending else x
    else:
        key = -x if descending else x
    return np.argsort(key, axis=axis, kind="stable").astype(np.int64)


def searched(x1: Host, x2: Host, side: str) -> Host:
    """Places in a sorted array, by counting what goes before: see :func:`opmux.opset.movement.searchsorted`."""
    a, v = x1, x2[..., None]
    before = a < v if side == "left" else a <= v
    a_number, v_nan = ~(a != a), v != v
    before |= v_nan & (a_number if side == "left" else np.True_)
    return np.asarray(np.count_nonzero(before, axis=-1)).astype(np.int64)
