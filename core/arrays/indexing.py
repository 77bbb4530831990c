"""Reading a part of an array: ``x[key]`` with NumPy's meaning.

A key is parsed once into items. Integers, slices, None and Ellipsis make a view; integer arrays, and masks as the
indices of their true elements, then choose from the view's axes with one ``gather``.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final

import numpy as np

from ..devices.device import Device
from ..dispatch.call import invoke_by_name
from ..dtypes import int64, uint64
from ..errors import ShapeError
from ..graphs.trace import Traced
from ..op import CAST
from ..signature import Shape, is_row_major, row_major
from . import metadata
from .array import Array, alias
from .index_keys import At, Chosen, IndexingError, Item, Key, NewAxis, Range, Rest, parse
from .transfer import upload
from .views import broadcast_shapes, view

_LARGEST: Final = 2**63 - 1


def getitem(x: Array, key: Key) -> Array:
    """Return ``x[key]``; see ``Array.__getitem__``."""
    items = parse(x, key)
    shown = _view(x, items)
    return _choose(shown, items) if any(isinstance(i, Chosen) for i in items) else shown


def _view(x: Array, items: Sequence[Item]) -> Array:
    """Return the view that all items but the choices make; an axis to choose from stays whole."""
    if isinstance(x, Traced):
        return _recorded_view(x, items)
    shape: list[int] = []
    strides: list[int] = []
    offset = axis = 0
    for item in items:
        if isinstance(item, Rest):
            continue
        if _adds_axis(item):
            shape.append(1)
            strides.append(0)
            continue
        step = x.strides[axis]
        if isinstance(item, At):
            offset += item.index * step
        elif isinstance(item, Range):
            length = item.length
            offset += item.start * step if length else 0
            shape.append(length)
            strides.append(item.step * step)
        else:
            shape.append(x.shape[axis])
            strides.append(step)
        axis += 1
    made = tuple(shape)
    steps = tuple(strides)
    # One signature for one layout, whatever strides axes of length 1 would have.
    return view(x, made, row_major(made) if is_row_major(made, steps) else steps, offset)


def _adds_axis(item: Item) -> bool:
    return isinstance(item, NewAxis) or (isinstance(item, Chosen) and item.new)


def _recorded_view(x: Traced, items: Sequence[Item]) -> Array:
    """Return the same view as nodes of a graph: a slice, and a reshape for axes that come or go."""
    ranges: list[Range] = []
    kept: list[int] = []
    for item in items:
        if _adds_axis(item):
            kept.append(1)
        elif isinstance(item, At):
            ranges.append(Range(item.index, item.index + 1, 1))
        elif isinstance(item, Range):
            ranges.append(item)
            kept.append(item.length)
        elif isinstance(item, Chosen):
            ranges.append(Range(0, item.length, 1))
            kept.append(item.length)
    shown: Array = x
    if any((r.start, r.stop, r.step) != (0, n, 1) for r, n in zip(ranges, x.shape, strict=True)):
        starts, stops, steps = zip(*((r.start, r.stop, r.step) for r in ranges), strict=True)
        shown = metadata.apply(metadata.SLICE, shown, starts, stops, steps)
    if tuple(kept) != shown.shape:
        shown = metadata.apply(metadata.RESHAPE, shown, tuple(kept))
    return alias(x) if shown is x else shown


def _choose(shown: Array, items: Sequence[Item]) -> Array:
    """Return what the choices select from the view: their shape replaces their axes, as in NumPy."""
    chosen = [i for i in items if isinstance(i, Chosen)]
    axes = _view_axes(items)
    result_axes = _together(chosen)
    merged, axis = _merge(shown, axes)
    found = invoke_by_name("gather", (merged, _flat(chosen, shown.device)), axis=axis, mode="clip")
    target = _first_place(items)
    if target == axis or not result_axes:
        return found
    count = len(result_axes)
    rest = [a for a in range(found.ndim) if not axis <= a < axis + count]
    rest[target:target] = range(axis, axis + count)
    return metadata.apply(metadata.PERMUTE_DIMS, found, tuple(rest))


def _together(chosen: Sequence[Chosen]) -> Shape:
    """Return the shape to which index arrays broadcast."""
    shapes = tuple(c.indices.shape for c in chosen)
    try:
        return broadcast_shapes(*shapes, where="indexing")
    except ShapeError as error:
        raise IndexingError(
            f"index arrays of shapes {', '.join(map(str, shapes))} do not broadcast together", shapes=shapes
        ) from error


def _view_axes(items: Sequence[Item]) -> list[int]:
    """Return the axes of the view from which elements are chosen."""
    in_view = [i for i in items if not isinstance(i, At | Rest)]
    return [place for place, i in enumerate(in_view) if isinstance(i, Chosen)]


def _first_place(items: Sequence[Item]) -> int:
    """Return where the axes of the index arrays go: in place of them if nothing parts them, else to the front."""
    integers = [place for place, i in enumerate(items) if isinstance(i, At | Chosen)]
    first, last = integers[0], integers[-1]
    if last - first + 1 != len(integers):
        return 0
    return sum(not isinstance(i, Rest) for i in items[:first])


def _merge(shown: Array, axes: list[int]) -> tuple[Array, int]:
    """Return an array in which the axes to choose from are one, and which one."""
    first, count = axes[0], len(axes)
    if count == 1:
        return shown, first
    if axes != list(range(first, first + count)):
        others = [a for a in range(shown.ndim) if a not in axes]
        shown, first = metadata.apply(metadata.PERMUTE_DIMS, shown, (*axes, *others)), 0
    lengths = math.prod(shown.shape[first : first + count])
    merged = (*shown.shape[:first], lengths, *shown.shape[first + count :])
    return metadata.apply(metadata.RESHAPE, shown, merged), first


def _flat(chosen: Sequence[Chosen], device: Device) -> Array:
    """Return the row-major index into the merged axes: the sum of index times stride."""
    strides = row_major(tuple(c.length for c in chosen))
    known = [c.indices for c in chosen if isinstance(c.indices, np.ndarray)]
    if len(known) == len(chosen):
        total = sum(indices * stride for indices, stride in zip(known, strides, strict=True))
        return upload(np.asarray(total, np.int64), device, int64)
    if len(chosen) == 1:
        return _on_device(chosen[0], device)  # gather itself counts negative indices from the end
    flat: Array | None = None
    for c, stride in zip(chosen, strides, strict=True):
        term = invoke_by_name("multiply", (_clipped(c, device), stride))
        flat = term if flat is None else invoke_by_name("add", (flat, term))
    if flat is None:
        raise IndexingError("an index without index arrays chooses nothing")
    return flat


def _on_device(c: Chosen, device: Device) -> Array:
    if isinstance(c.indices, np.ndarray):
        return upload(c.indices, device, int64)
    return as_signed(c.indices) if c.indices.dtype is uint64 else c.indices


def as_signed(indices: Array) -> Array:
    """Return uint64 indices as int64; what that does not have becomes its largest, outside of every axis as before."""
    most = invoke_by_name("minimum", (indices, _LARGEST))
    return invoke_by_name(CAST, (most,), dtype=int64)


def _clipped(c: Chosen, device: Device) -> Array:
    """Return indices with the meaning that gather gives them, before they are merged with those of other axes."""
    wide = _on_device(c, device)
    if wide.dtype is not int64:
        wide = invoke_by_name(CAST, (wide,), dtype=int64)
    negative, from_end = invoke_by_name("less", (wide, 0)), invoke_by_name("add", (wide, c.length))
    counted = invoke_by_name("where", (negative, from_end, wide))
    return invoke_by_name("minimum", (invoke_by_name("maximum", (counted, 0)), c.length - 1))


def selected_shape(items: Sequence[Item]) -> Shape:
    """Return the shape of what a key selects."""
    kept = [i.length if isinstance(i, Range) else 1 for i in items if isinstance(i, Range | NewAxis)]
    chosen = [i for i in items if isinstance(i, Chosen)]
    if not chosen:
        return tuple(kept)
    first = _first_place(items)
    return (*kept[:first], *_together(chosen), *kept[first:])
