"""Layouts: the same values on a device behind other strides. Views are made from uploads by metadata alone."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Final

import numpy as np

from ...core.arrays.array import Array
from ...core.arrays.metadata import broadcast_to, flip, permute_dims, reshape
from ...core.devices.device import Device
from ..oracle.formats import Host
from ..target import dense

Layout = Callable[[Host, Device], Array]


def transposed(x: Host, device: Device) -> Array:
    """Column-major."""
    return permute_dims(dense(x.T, device), tuple(reversed(range(x.ndim))))


def negative(x: Host, device: Device) -> Array:
    """Every axis backwards."""
    return flip(dense(np.flip(x), device)) if x.ndim else dense(x, device)


def mirrored(x: Host, device: Device) -> Array:
    """The last axis backwards, the others forwards."""
    return flip(dense(np.flip(x, -1), device), axis=-1) if x.ndim else dense(x, device)


def permuted(x: Host, device: Device) -> Array:
    """The last axis outermost in memory: neither row-major nor column-major from three axes on."""
    if x.ndim < 2:
        return dense(x, device)
    return permute_dims(dense(np.moveaxis(x, -1, 0), device), (*range(1, x.ndim), 0))


def swapped(x: Host, device: Device) -> Array:
    """Every matrix column-major."""
    if x.ndim < 2:
        return dense(x, device)
    axes = (*range(x.ndim - 2), x.ndim - 1, x.ndim - 2)
    return permute_dims(dense(x.transpose(axes), device), axes)


def inner(x: Host, device: Device) -> Array:
    """The second and third axis exchanged, as the heads of a sequence are."""
    if x.ndim < 3:
        return dense(x, device)
    axes = (0, 2, 1, *range(3, x.ndim))
    return permute_dims(dense(x.transpose(axes), device), axes)


def far(x: Host, device: Device) -> Array:
    """Rows further apart than 16 bits count."""
    if x.ndim < 2 or x.size == 0:
        return dense(x, device)
    lines = x.reshape(x.shape[0], -1)
    frame = np.zeros((len(lines), _APART), x.dtype)
    frame[:, 1 : 1 + lines.shape[1]] = lines
    part = dense(frame, device)[:, 1 : 1 + lines.shape[1]]
    return reshape(part, x.shape)


def repeated(x: Host, device: Device) -> Array:
    """Stride zero along the first axis, whose elements must be equal."""
    return broadcast_to(dense(x[:1], device), x.shape) if x.ndim and x.shape[0] else dense(x, device)


def offset(x: Host, device: Device) -> Array:
    """Inside a larger array: it starts anywhere, rows have gaps, and around it lie values that must not be read."""
    return _inside(x, device, 1)


def stepped(x: Host, device: Device) -> Array:
    """Every second element of the last axis."""
    return _inside(x, device, 2)


def _inside(x: Host, device: Device, step: int) -> Array:
    if not x.ndim:
        return dense(x, device)
    frame = np.empty(tuple(n * step + 2 for n in x.shape), x.dtype)
    frame.view(f"u{x.dtype.itemsize}" if x.dtype.itemsize <= 8 else np.uint64)[...] = poison(x.dtype)
    inner = tuple(slice(1, 1 + n * step, step) for n in x.shape)
    frame[inner] = x
    return dense(frame, device)[inner]


def poison(t: np.dtype[np.generic]) -> int:
    """A bit pattern that shows in any result: NaN for floats, true for bool."""
    return 1 if t.kind == "b" else (1 << min(t.itemsize * 8, 64)) - 1 if t.kind not in "iu" else 0x55


#: Elements from one row to the next.
_APART: Final = (1 << 16) + 5

LAYOUTS: Final[dict[str, Layout]] = {
    "transposed": transposed,
    "permuted": permuted,
    "negative": negative,
    "mirrored": mirrored,
    "zero": repeated,
    "offset": offset,
    "step": stepped,
}
#: Further ones, for operands that are made for them.
RARE: Final[dict[str, Layout]] = {"swapped": swapped, "inner": inner, "far": far}


#: With fewer axes a layout is the dense one, or another one's.
_LEAST_AXES: Final = {"transposed": 2, "permuted": 3, "mirrored": 2}


#: A layout for each operand in turn.
MIXTURES: Final[dict[str, tuple[Layout, ...]]] = {
    "mixed": (transposed, dense, stepped, mirrored),
    "mixed-dense-first": (dense, transposed, mirrored, stepped),
    "mixed-offset-first": (offset, dense),
    "mixed-offset-last": (dense, offset),
}


def mixed(name: str, operands: tuple[Host | None, ...], device: Device) -> list[Array | None]:
    """Return each operand in another layout than the one before it."""
    present = itertools.cycle(MIXTURES[name])
    return [None if x is None else next(present)(x, device) for x in operands]


def constant_lines(x: Host | None) -> Host | None:
    """Return values that repeat along the first axis, for the layout with stride zero."""
    return x if x is None or not x.ndim or not x.shape[0] else np.broadcast_to(x[:1], x.shape)


def changes(name: str, operands: tuple[Host | None, ...]) -> bool:
    """Return whether a layout differs from the dense one for at least one operand."""
    least = _LEAST_AXES.get(name, 1)
    return any(x is not None and x.ndim >= least and x.size > 1 for x in operands)
