"""Ops over NumPy views, for backends whose memory is the host's or looks like it: what many of them would write alike.

Each function binds the attributes of a call and returns ``compute(out, *operands)`` over views in any strides. Results
have the bits that the opset asks for; NumPy's warnings of special values are the caller's to turn off.

>>> import numpy as np
>>> inside(np.array([2, -1, 9]), 3, "clip")
(array([2, 2, 2]), array([ True,  True, False]))
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from ..core.kernel import CallSpec

Host = NDArray[Any]
Compute = Callable[..., None]
Bind = Callable[[CallSpec], Compute]

#: Dtypes that are compared as float32, which holds their values.
_NARROW: Final = frozenset({"float16", "bfloat16"})


def _comparable(x: Host) -> Host:
    return x.astype(np.float32) if x.dtype.name in _NARROW else x


def copy(spec: CallSpec) -> Compute:
    """Copy bits, so that no NaN is changed on the way."""

    def compute(out: Host, x: Host) -> None:
        bits = f"u{out.dtype.itemsize}" if out.dtype.itemsize <= 8 else out.dtype
        np.copyto(out.view(bits), x.view(bits) if x.ndim else x.reshape(1).view(bits).reshape(()))

    return compute


def concat(spec: CallSpec) -> Compute:
    """Join arrays."""
    axis = spec.attributes["axis"]

    def compute(out: Host, *arrays: Host) -> None:
        np.concatenate(arrays, axis=axis, out=out)

    return compute


def pad(spec: CallSpec) -> Compute:
    """Fill with the value, and write the operand inside."""
    widths = spec.attributes["pad_width"]
    inner = tuple(slice(low, low + n) for (low, _), n in zip(widths, spec.arrays[0].shape, strict=True))

    def compute(out: Host, x: Host, value: Host) -> None:
        out[...] = value
        out[inner] = x

    return compute


def inside(indices: Host, length: int, mode: str) -> tuple[Host, Host]:
    """Return usable positions in an axis, and which of them lay inside of it once negative ones count from the end."""
    at = np.where(indices < 0, indices.astype(np.int64) + length, indices)
    found = (at >= 0) & (at < length)
    if mode == "wrap" and length:
        return np.remainder(at, length), found
    return np.clip(at, 0, max(length - 1, 0)), found


def gather(spec: CallSpec) -> Compute:
    """Take slices; with ``fill`` those outside of the axis are zeros."""
    axis, mode = spec.attributes["axis"], spec.attributes["mode"]
    length = spec.arrays[0].shape[axis]

    def compute(out: Host, x: Host, indices: Host) -> None:
        if not length:
            out[...] = np.zeros((), out.dtype)
            return
        at, found = inside(indices, length, mode)
        if out.size:
            np.take(x, at, axis=axis, out=out, mode="clip")
        if mode == "fill" and not found.all():
            np.moveaxis(out, tuple(range(axis, axis + indices.ndim)), tuple(range(indices.ndim)))[~found] = 0

    return compute


def _order(x: Host, axis: int, *, descending: bool) -> Host:
    """Return the stable order of every line, NaN last in both directions."""
    key = _comparable(x)
    if descending:
        key = np.invert(key) if key.dtype.kind in "iu" else np.negative(key)
    return np.argsort(key, axis=axis, kind="stable")


def sort(spec: CallSpec) -> Compute:
    """Sort every line, NaN last."""
    axis, descending = spec.attributes["axis"], spec.attributes["descending"]

    def compute(out: Host, x: Host) -> None:
        out[...] = np.take_along_axis(x, _order(x, axis, descending=descending), axis)

    return compute


def argsort(spec: CallSpec) -> Compute:
    """Return the stable order of every line, NaN last."""
    axis, descending = spec.attributes["axis"], spec.attributes["descending"]

    def compute(out: Host, x: Host) -> None:
        out[...] = _order(x, axis, descending=descending)

    return compute


def searchsorted(spec: CallSpec) -> Compute:
    """Search a sorted line."""
    side: Any = spec.attributes["side"]

    def compute(out: Host, line: Host, values: Host) -> None:
        out[...] = np.searchsorted(_comparable(line), _comparable(values), side=side)

    return compute


def boolean(reduce: Callable[..., Any]) -> Bind:
    """Return the binding of ``all`` or ``any`` from NumPy's function; NaN is true."""

    def bind(spec: CallSpec) -> Compute:
        axes, keepdims = spec.attributes["axis"], spec.attributes["keepdims"]

        def compute(out: Host, x: Host) -> None:
            out[...] = reduce(x != 0, axis=axes, keepdims=keepdims)

        return compute

    return bind


def position(find: Callable[..., Any]) -> Bind:
    """Return the binding of ``argmax`` or ``argmin`` from NumPy's function."""

    def bind(spec: CallSpec) -> Compute:
        axis, keepdims = spec.attributes["axis"], spec.attributes["keepdims"]

        def compute(out: Host, x: Host) -> None:
            out[...] = find(_comparable(x), axis=axis, keepdims=keepdims)

        return compute

    return bind


def extreme(ufunc: np.ufunc, *, largest: bool) -> Bind:
    """Return the binding of ``max`` or ``min``; NaN wins, and -0 is below +0, which NumPy leaves open."""

    def bind(spec: CallSpec) -> Compute:
        axes, keepdims = spec.attributes["axis"], spec.attributes["keepdims"]

        def compute(out: Host, x: Host) -> None:
            if not axes:
                out[...] = x
                return
            ufunc.reduce(x, axis=axes, out=out, keepdims=keepdims)
            if out.dtype.kind not in "iub" and (out == 0).any():
                zero = x == 0
                wanted = zero & ~np.signbit(x) if largest else zero & np.signbit(x)
                found = np.any(wanted, axis=axes, keepdims=keepdims)
                signed = np.where(found, 0.0 if largest else -0.0, -0.0 if largest else 0.0).astype(out.dtype)
                np.copyto(out, signed, where=out == 0)

        return compute

    return bind
