"""Movement through NumPy: joining, padding, gathering, scattering, sorting, copying, casting."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, Final

import numpy as np

from ...plugin import CallSpec, CostTerms, Kernel, combine_of, evaluate, recipe, rounded
from . import costs
from .rows import ALL, BOOL, COMPLEXES, FLOATS, INTEGERS, NARROW, Host, kernel

Compute = Callable[..., None]
_NUMBERS: Final = INTEGERS | FLOATS
_STORAGE: Final = frozenset({"float8_e4m3fn", "float8_e5m2"})
#: Dtypes to which NumPy's casts round twice, once on the way through float32.
_ROUNDED: Final = _STORAGE | {"bfloat16"}


def _concat(spec: CallSpec) -> Compute:
    axis = spec.attributes["axis"]

    def compute(out: Host, *arrays: Host) -> None:
        np.concatenate(arrays, axis=axis, out=out)

    return compute


def _pad(spec: CallSpec) -> Compute:
    widths = spec.attributes["pad_width"]
    inner = tuple(slice(low, low + n) for (low, _), n in zip(widths, spec.arrays[0].shape, strict=True))

    def compute(out: Host, x: Host, value: Host) -> None:
        out[...] = value
        out[inner] = x

    return compute


def _positions(indices: Host, length: int, mode: str) -> tuple[Host, Host]:
    """Return usable positions, and a mask of those that were in range after counting negatives from the end."""
    at = np.where(indices < 0, indices.astype(np.int64) + length, indices)
    inside = (at >= 0) & (at < length)
    if mode == "wrap" and length:
        return np.remainder(at, length), inside
    return np.clip(at, 0, max(length - 1, 0)), inside


def _gather(spec: CallSpec) -> Compute:
    axis, mode = spec.attributes["axis"], spec.attributes["mode"]
    length = spec.arrays[0].shape[axis]

    def compute(out: Host, x: Host, indices: Host) -> None:
        if not length:
            out[...] = np.zeros((), out.dtype)
            return
        at, inside = _positions(indices, length, mode)
        if out.size:
            np.take(x, at, axis=axis, out=out, mode="clip")
        if mode == "fill" and not inside.all():
            np.moveaxis(out, tuple(range(axis, axis + indices.ndim)), tuple(range(indices.ndim)))[~inside] = 0

    return compute


_COMBINE: Final[dict[str, np.ufunc]] = {"add": np.add, "multiply": np.multiply}


def _scatter(spec: CallSpec) -> Compute:
    axis, mode, reduction = (spec.attributes[n] for n in ("axis", "mode", "reduction"))
    length = spec.arrays[0].shape[axis]
    wide = np.float32 if spec.outputs[0].dtype.name in NARROW and reduction in _COMBINE else None
    combine = combine_of(reduction, spec.outputs[0].dtype) if reduction in ("min", "max") else None

    def compute(out: Host, x: Host, indices: Host, updates: Host) -> None:
        at, inside = _positions(indices, length, mode)
        flat = updates.reshape(*x.shape[:axis], indices.size, *x.shape[axis + 1 :])
        rows, at = np.moveaxis(flat, axis, 0), at.ravel()
        if mode == "drop":
            rows, at = rows[inside.ravel()], at[inside.ravel()]
        target = x.astype(wide) if wide is not None else x.copy()
        view = np.moveaxis(target, axis, 0)
        if at.size and reduction == "set":
            # The last of equal indices must stay; NumPy promises no order for repeated ones in a vector of rows.
            last = at.size - 1 - np.unique(at[::-1], return_index=True)[1]
            view[at[last]] = rows[last]
        elif combine is not None:
            for i, place in enumerate(at):
                combine(view[place, ...], rows[i, ...], view[place, ...])
        elif at.size:
            # ufunc.at works through the indices in order, one by one.
            _COMBINE[reduction].at(view, at, rows.astype(view.dtype))
        out[...] = target

    return compute


def _order(x: Host, axis: int, *, descending: bool) -> Host:
    """Return the stable order of each line, NaN last in both directions."""
    comparable = x.astype(np.float32) if x.dtype.name in NARROW else x
    if not descending:
        return np.argsort(comparable, axis=axis, kind="stable")
    key = np.invert(comparable) if comparable.dtype.kind in "iu" else np.negative(comparable)
    return np.argsort(key, axis=axis, kind="stable")


def _sort(spec: CallSpec) -> Compute:
    axis, descending = spec.attributes["axis"], spec.attributes["descending"]

    def compute(out: Host, x: Host) -> None:
        out[...] = np.take_along_axis(x, _order(x, axis, descending=descending), axis)

    return compute


def _argsort(spec: CallSpec) -> Compute:
    axis, descending = spec.attributes["axis"], spec.attributes["descending"]

    def compute(out: Host, x: Host) -> None:
        out[...] = _order(x, axis, descending=descending)

    return compute


def _searchsorted(spec: CallSpec) -> Compute:
    side: Any = spec.attributes["side"]

    def compute(out: Host, line: Host, values: Host) -> None:
        if line.dtype.name in NARROW:
            line, values = line.astype(np.float32), values.astype(np.float32)
        out[...] = np.searchsorted(line, values, side=side)

    return compute


def _copy(spec: CallSpec) -> Compute:
    def compute(out: Host, x: Host) -> None:
        bits = f"u{out.dtype.itemsize}" if out.dtype.itemsize <= 8 else out.dtype
        np.copyto(out.view(bits), x.view(bits) if x.ndim else x.reshape(1).view(bits).reshape(()))

    return compute


def _cast(spec: CallSpec) -> Compute:
    source, target = spec.arrays[0].dtype, spec.outputs[0].dtype
    wide = np.float32 if source.name in _STORAGE else None
    program = None
    if target.kind.endswith("integer") and (wide is not None or source.kind == "real floating"):
        # NumPy leaves out-of-range conversions open; the recipe saturates.
        program = recipe("cast", ("float32" if wide is not None else source.name,), target.name)

    def compute(out: Host, x: Host) -> None:
        if wide is not None and target.name != source.name:
            x = x.astype(wide)  # which holds every value, and which NumPy knows how to cast on
        if program is not None:
            out[...] = evaluate(program, x)
        elif target.name == "bool":
            out[...] = x != 0
        elif target.name in _ROUNDED and target.name != source.name:
            out[...] = rounded(x, target)
        else:
            np.copyto(out, x, casting="unsafe")

    return compute


def _bitcast(spec: CallSpec) -> Compute:
    target = spec.outputs[0].dtype.numpy

    def compute(out: Host, x: Host) -> None:
        dense = np.ascontiguousarray(x).reshape(x.shape)
        out[...] = dense.reshape(-1).view(target).reshape(x.shape)

    return compute


_slow = functools.partial(kernel, cost=CostTerms(launch=10e-6, compute=0.05, memory=0.1))

KERNELS: Final[tuple[Kernel, ...]] = (
    kernel("concat", _concat, (ALL,), cost=costs.CONCAT),
    kernel("pad", _pad, (ALL,), cost=costs.PAD),
    kernel("gather", _gather, (ALL, INTEGERS), cost=costs.GATHER),
    _slow("scatter", _scatter, (ALL, INTEGERS, ALL)),
    _slow("sort", _sort, (_NUMBERS,)),
    _slow("argsort", _argsort, (_NUMBERS,)),
    _slow("searchsorted", _searchsorted, (_NUMBERS,)),
    kernel("copy", _copy, (ALL,), cost=costs.COPY),
    kernel("cast", _cast, (_NUMBERS | BOOL | COMPLEXES | _STORAGE,), cost=costs.CAST),
    kernel("bitcast", _bitcast, (_NUMBERS | COMPLEXES | _STORAGE,), cost=costs.COPY),
)
