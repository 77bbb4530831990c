"""Movement: joining, padding, gathering, scattering, sorting, copying."""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from ....plugin import CallSpec, evaluate, recipe
from ..memory import Host
from .rows import ALL, INTEGERS, NARROW, NUMBERS, Compute, Row, Unit


def _copy(spec: CallSpec) -> Compute:
    def compute(out: Host, x: Host) -> None:
        bits = f"u{out.dtype.itemsize}"  # so that no NaN is changed on the way
        np.copyto(out.view(bits), x.view(bits) if x.ndim else x.reshape(1).view(bits).reshape(()))

    return compute


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
    """Return usable positions in an axis, and which of them lay inside of it once negative ones count from the end."""
    at = np.where(indices < 0, indices.astype(np.int64) + length, indices).astype(np.int64)
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
            rows = np.moveaxis(out, tuple(range(axis, axis + indices.ndim)), tuple(range(indices.ndim)))
            rows[~inside] = 0

    return compute


#: Reduction of scatter to the op by whose recipe old and new values meet.
_COMBINE: Final = {"add": "add", "multiply": "multiply", "min": "minimum", "max": "maximum"}


def _scatter(spec: CallSpec) -> Compute:
    axis, mode, reduction = (spec.attributes[name] for name in ("axis", "mode", "reduction"))
    length, dtype = spec.arrays[0].shape[axis], spec.outputs[0].dtype.name
    wide = "float32" if dtype in NARROW and reduction in ("add", "multiply") else dtype

    def compute(out: Host, x: Host, indices: Host, updates: Host) -> None:
        at, inside = _positions(indices, length, mode)
        at = at.ravel()
        rows = np.moveaxis(updates.reshape(*x.shape[:axis], at.size, *x.shape[axis + 1 :]), axis, 0)
        if mode == "drop":
            rows, at = rows[inside.ravel()], at[inside.ravel()]
        made = x.astype(np.float32) if wide != dtype else x.copy()
        target = np.moveaxis(made, axis, 0)
        for places, chosen in _rounds(at):
            new = rows[chosen].astype(made.dtype)
            target[places] = new if reduction == "set" else _combined(_COMBINE[reduction], wide, target[places], new)
        out[...] = made

    return compute


def _combined(op: str, dtype: str, old: Host, new: Host) -> Host:
    program = recipe(op, (dtype, dtype))
    if program is None:  # bool, on which min and max are and and or
        return np.minimum(old, new) if op == "minimum" else np.maximum(old, new)
    return evaluate(program, old, new)


def _rounds(at: Host) -> Any:
    """Yield places with the updates for them such that no place comes twice in a round, and repeated ones in order."""
    order = np.argsort(at, kind="stable")
    ranked = at[order]
    starts = np.flatnonzero(np.r_[True, ranked[1:] != ranked[:-1]]) if at.size else np.zeros(0, np.int64)
    rank = np.arange(at.size) - np.repeat(starts, np.diff(np.r_[starts, at.size]))
    for turn in range(int(rank.max()) + 1 if at.size else 0):
        chosen = order[rank == turn]
        yield at[chosen], chosen


def _order(x: Host, axis: int, *, descending: bool) -> Host:
    """Return the stable order of every line, NaN last in both directions."""
    key = x.astype(np.float32) if x.dtype.name in NARROW else x
    if descending:
        key = np.invert(key) if key.dtype.kind in "iu" else np.negative(key)
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


ROWS: Final = (
    Row("copy", _copy, (ALL,), Unit.DMA),
    Row("concat", _concat, (ALL,), Unit.DMA),
    Row("pad", _pad, (ALL,), Unit.DMA),
    Row("gather", _gather, (ALL, INTEGERS), Unit.DMA),
    Row("scatter", _scatter, (ALL, INTEGERS, ALL)),
    Row("sort", _sort, (NUMBERS,)),
    Row("argsort", _argsort, (NUMBERS,)),
    Row("searchsorted", _searchsorted, (NUMBERS,)),
)
