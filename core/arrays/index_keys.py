"""Keys of ``x[key]``: what may stand in one, parsed into items that fit the array."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from dataclasses import dataclass
from types import EllipsisType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..devices.device import Device
from ..dtypes import INTEGERS, bool_
from ..errors import DeviceError, OpmuxError, OutOfMemoryError, shown
from ..graphs.trace import Traced
from ..signature import Shape
from .array import Array
from .creation import sequence_values
from .ownership import check_usable

Index = int | slice | EllipsisType | Array | NDArray[Any] | Sequence[Any] | None
Key = Index | tuple[Index, ...]
Value = Array | bool | int | float | complex | NDArray[Any] | Sequence[Any]

Host = NDArray[Any]


class IndexingError(OpmuxError, IndexError):
    """An index that does not fit the array."""


@dataclass(frozen=True, slots=True)
class At:
    """An integer index, in range and not negative."""

    index: int


@dataclass(frozen=True, slots=True)
class Range:
    """A slice of an axis with Python's meaning, already in range."""

    start: int
    stop: int
    step: int

    @property
    def length(self) -> int:
        """How many elements it selects."""
        return len(range(self.start, self.stop, self.step))


@dataclass(frozen=True, slots=True)
class NewAxis:
    """None: a new axis of length 1."""


@dataclass(frozen=True, slots=True)
class Rest:
    """Ellipsis, before the slices that it stands for; it parts the integer arrays on either side."""


@dataclass(frozen=True, slots=True, eq=False)
class Chosen:
    """Integer indices along an axis: known to the host (in range, not negative), or an array that is not.

    Attributes:
        indices: as many as elements are chosen, in any shape.
        length: of the axis.
        new: whether the axis is a new one of length 1, as for a mask without axes.
    """

    indices: Host | Array
    length: int
    new: bool = False


Item = At | Range | NewAxis | Rest | Chosen


def parse(x: Array, key: Key) -> list[Item]:
    """Return the items of a key, checked against the array, with every axis covered.

    Raises:
        IndexingError: naming the entry that does not fit.
    """
    check_usable(x)
    entries = [_known(e, x.device) for e in (key if isinstance(key, tuple) else (key,))]
    taken = sum(_axes_taken(e) for e in entries)
    if taken > x.ndim:
        raise IndexingError(
            f"too many indices: {taken} axes are indexed, the array of shape {x.shape} has {x.ndim}",
            key=key,
            shape=x.shape,
        )
    if sum(e is Ellipsis for e in entries) > 1:
        raise IndexingError("an index can have one Ellipsis (...) only", key=key, shape=x.shape)
    if not any(e is Ellipsis for e in entries):
        entries.append(Ellipsis)
    items: list[Item] = []
    axis = 0
    for e in entries:
        if e is Ellipsis:
            items.append(Rest())
            items.extend(Range(0, n, 1) for n in x.shape[axis : axis + x.ndim - taken])
            axis += x.ndim - taken
        else:
            items.extend(_items(e, x.shape, axis))
            axis += _axes_taken(e)
    return items


def _known(entry: Any, device: Device) -> Any:
    """Return an entry as an int, slice, None, Ellipsis, a NumPy array, or an array whose value is not on the host."""
    if entry is None or entry is Ellipsis or isinstance(entry, slice):
        return entry
    if isinstance(entry, bool | np.bool_):
        return np.asarray(entry)
    if isinstance(entry, Array):
        return _known_array(entry, device)
    if isinstance(entry, list | tuple | range):
        values, _ = sequence_values(entry)
        return _integers_or_mask(values if values.size else values.astype(np.int64))
    if isinstance(entry, np.ndarray) and entry.ndim:
        return _integers_or_mask(entry)
    try:
        return operator.index(entry)
    except TypeError:
        pass
    if isinstance(entry, np.ndarray):
        return _integers_or_mask(entry)
    raise IndexingError(
        f"{shown(entry, 60)} is not an index; indices are integers, slices, Ellipsis, None, integer arrays and boolean "
        f"masks",
        index=entry,
    )


def _known_array(entry: Array, device: Device) -> Any:
    check_usable(entry)
    if entry.dtype is not bool_ and entry.dtype not in INTEGERS:
        raise _wrong_dtype(entry.dtype)
    if entry.device is not device:
        raise DeviceError(
            f"the array is on {device} and its index on {entry.device}; opmux moves nothing by itself, use "
            f".to_device({device.name!r})",
            devices=(device.name, entry.device.name),
        )
    if entry.dtype is not bool_ and (isinstance(entry, Traced) or not device.is_host):
        return entry
    if entry.nbytes > device.info.memory:  # a repeated view: finding its true elements would read every one
        raise OutOfMemoryError(
            f"an index array of shape {entry.shape} has {entry.nbytes:,} bytes, more than the "
            f"{device.info.memory:,} of {device}; index before broadcasting",
            shape=entry.shape,
            nbytes=entry.nbytes,
        )
    return _integers_or_mask(entry.numpy())  # how many elements a mask selects is a value: this waits for it


def _integers_or_mask(values: Host) -> Any:
    if values.dtype == np.bool_:
        return values
    if values.dtype.kind not in "iu":
        raise _wrong_dtype(values.dtype)
    return int(values) if values.ndim == 0 else values


def _wrong_dtype(given: object) -> IndexingError:
    return IndexingError(
        f"an index array has dtype {given}; index arrays are integers or a boolean mask, convert it with astype",
        dtype=given,
    )


def _axes_taken(entry: Any) -> int:
    if entry is None or entry is Ellipsis:
        return 0
    return entry.ndim if isinstance(entry, np.ndarray) and entry.dtype == np.bool_ else 1


def _items(entry: Any, shape: Shape, axis: int) -> list[Item]:
    """Return the items of one entry that begins at an axis."""
    if entry is None:
        return [NewAxis()]
    if isinstance(entry, slice):
        return [_range(entry, shape[axis], axis)]
    if isinstance(entry, int):
        return [At(_in_range(entry, shape[axis], axis))]
    if isinstance(entry, Array):
        return [Chosen(entry, shape[axis])]
    if entry.dtype == np.bool_:
        return _mask_items(entry, shape, axis)
    return [Chosen(_all_in_range(entry, shape[axis], axis), shape[axis])]


def _range(given: slice, length: int, axis: int) -> Range:
    try:
        return Range(*given.indices(length))
    except (TypeError, ValueError) as error:
        raise IndexingError(
            f"{shown(given)} is not a slice of axis {axis}: start, stop and step are integers, and the step is not 0",
            index=given,
            axis=axis,
        ) from error


def _in_range(index: int, length: int, axis: int) -> int:
    if not -length <= index < length:
        allowed = f"{-length} to {length - 1}" if length else "none, the axis is empty"
        raise IndexingError(
            f"index {shown(index)} is out of range for axis {axis} of length {length}; allowed: {allowed}",
            index=index,
            axis=axis,
            length=length,
        )
    return index + length if index < 0 else index


def _all_in_range(indices: Host, length: int, axis: int) -> Host:
    """Return indices as int64, none negative."""
    if not indices.size:
        return indices.astype(np.int64)
    lowest = int(indices.min())
    for extreme in (lowest, int(indices.max())):
        _in_range(extreme, length, axis)
    wide = indices.astype(np.int64)
    return np.where(wide < 0, wide + length, wide) if lowest < 0 else wide


def _mask_items(mask: Host, shape: Shape, axis: int) -> list[Item]:
    if mask.ndim == 0:  # chooses all or nothing, along a new axis
        return [Chosen(np.zeros(int(mask), np.int64), 1, new=True)]
    covered = shape[axis : axis + mask.ndim]
    if mask.shape != covered:
        raise IndexingError(
            f"a mask of shape {mask.shape} does not fit the axes from {axis} on, which have shape {covered}; the "
            f"shapes must be equal",
            shape=mask.shape,
            axis=axis,
        )
    return [Chosen(where, n) for where, n in zip(np.nonzero(mask), covered, strict=True)]
