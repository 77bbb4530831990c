"""Sliding windows over spatial axes: what convolution and pooling share."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ..core.arrays.array import Array
from ..core.dtypes import int64
from ..core.errors import ArgumentError, ArgumentTypeError, ShapeError, shown

Pairs = tuple[tuple[int, int], ...]


@dataclass(frozen=True, slots=True, eq=False)
class Windows:
    """How windows step over spatial axes; one entry per axis.

    Attributes:
        kernel: window lengths.
        stride: steps between windows.
        padding: (low, high) per axis; negative crops.
        dilation: steps between the taps of a window.
        input_dilation: steps between the elements of the input once zeros are put between them.
    """

    kernel: tuple[int, ...]
    stride: tuple[int, ...]
    padding: Pairs
    dilation: tuple[int, ...]
    input_dilation: tuple[int, ...]

    def results(self, spatial: Sequence[int], name: str) -> tuple[int, ...]:
        """Return how many windows fit along each axis.

        Raises:
            ShapeError: when the padded input is shorter than a window.
        """
        out = []
        for axis, n in enumerate(spatial):
            low, high = self.padding[axis]
            length = max((n - 1) * self.input_dilation[axis] + 1, 0) + low + high
            reach = (self.kernel[axis] - 1) * self.dilation[axis] + 1
            if self.kernel[axis] < 1 or length < reach:
                raise ShapeError(
                    f"{name}: along spatial axis {axis} a window reaches over {reach} elements, the padded input "
                    f"has {length}; "
                    f"pad more, or use a smaller window or dilation",
                    op=name,
                    axis=axis,
                )
            out.append((length - reach) // self.stride[axis] + 1)
        return tuple(out)


def per_axis(value: Any, rank: int, name: str, what: str, *, least: int = 1) -> tuple[int, ...]:
    """Return one integer per spatial axis from an integer or a sequence."""
    given = tuple(value) if isinstance(value, tuple | list) else (value,) * rank
    if len(given) != rank or any(isinstance(v, bool) or not isinstance(v, int) for v in given):
        raise ArgumentTypeError(
            f"{name}: {what}={shown(value)} is neither an integer nor {rank} integers, one per spatial axis", op=name
        )
    if any(v < least for v in given):
        raise ArgumentError(f"{name}: {what}={shown(value)} has an entry below {least}", op=name)
    return given


def padding_pairs(value: Any, rank: int, name: str) -> Pairs:
    """Return (low, high) per spatial axis from an integer, an integer per axis, or a pair per axis."""
    given = value if isinstance(value, tuple | list) else (value,) * rank
    if len(given) != rank:
        raise ArgumentTypeError(
            f"{name}: padding={shown(value)} is neither an integer nor {rank} integers or (low, high) pairs, one per "
            f"spatial axis",
            op=name,
        )
    pairs = tuple(tuple(p) if isinstance(p, tuple | list) else (p, p) for p in given)
    if any(len(p) != 2 or any(isinstance(v, bool) or not isinstance(v, int) for v in p) for p in pairs):
        raise ArgumentTypeError(
            f"{name}: padding={shown(value)} has an entry that is neither an integer nor a pair", op=name
        )
    return tuple((low, high) for low, high in pairs)


def fitted(ox: Any, x: Array, windows: Windows, fill: Any) -> Array:
    """Return x with zeros between its elements and padding around them; spatial axes are the last ones."""
    first = x.ndim - len(windows.kernel)
    for axis, step in enumerate(windows.input_dilation, first):
        if step > 1 and x.shape[axis]:
            n = x.shape[axis]
            stretched = ox.reshape(x, (*x.shape[: axis + 1], 1, *x.shape[axis + 1 :]))
            pad = [(0, 0)] * stretched.ndim
            pad[axis + 1] = (0, step - 1)
            stretched = ox.reshape(ox.pad(stretched, tuple(pad), value=fill), (*x.shape[:axis], n * step,
            *x.shape[axis + 1 :]))
            x = cropped(stretched, axis, 0, (n - 1) * step + 1)
    pads = [(0, 0)] * x.ndim
    for axis, (low, high) in enumerate(windows.padding, first):
        x = cropped(x, axis, max(-low, 0), x.shape[axis] - max(-high, 0))
        pads[axis] = (max(low, 0), max(high, 0))
    return ox.pad(x, tuple(pads), value=fill) if any(p != (0, 0) for p in pads) else x


def cropped(x: Array, axis: int, start: int, stop: int) -> Array:
    """Return a view of a range along one axis."""
    if (start, stop) == (0, x.shape[axis]):
        return x
    return x[(slice(None),) * axis + (slice(start, max(stop, start)),)]


def unfold(ox: Any, x: Array, windows: Windows, results: Sequence[int]) -> Array:
    """Return every window: each spatial axis becomes two, (windows, taps)."""
    rank = len(windows.kernel)
    for k in range(rank):
        axis = x.ndim - rank + k  # the axes before it have become two already
        starts = ox.reshape(ox.iota((results[k],), 0, dtype=int64, device=x.device) * windows.stride[k], (results[k],
        1))
        taps = ox.iota((windows.kernel[k],), 0, dtype=int64, device=x.device) * windows.dilation[k]
        x = ox.gather(x, starts + taps, axis=axis)
    return x
