"""The twin's casts, copies and movement."""

from __future__ import annotations

import math
from typing import Final

import numpy as np

from ....plugin import CallSpec
from .call import Compute
from .elementwise import NUMBERS
from .formats import Host, assign, from_integers, is_float, larger, names, smaller, to_integers, wide

_ALL: Final = names("integer", "float", "bool", "complex")
_REAL: Final = names("integer", "float", "bool")


def cast(spec: CallSpec, out: Host, x: Host) -> None:
    """Truncate and clamp, wrap, or round once, by the kinds of both dtypes."""
    to = out.dtype
    if to == x.dtype:
        out[...] = x
    elif to == np.bool_:
        out[...] = x != 0
    elif is_float(out) and is_float(x):
        assign(out, x.astype(np.float64))
    elif is_float(out):
        out[...] = from_integers(x, to) if x.dtype.kind in "iu" else x.astype(to)
    else:
        out[...] = to_integers(x, to) if is_float(x) else x.astype(to)


def copy(spec: CallSpec, out: Host, x: Host) -> None:
    """Copy in any strides."""
    out[...] = x


def bitcast(spec: CallSpec, out: Host, x: Host) -> None:
    """Copy bits."""
    out[...] = np.ascontiguousarray(x).reshape(-1).view(out.dtype).reshape(x.shape)


def concat(spec: CallSpec, out: Host, *parts: Host) -> None:
    """Write one part after the other along the axis."""
    axis, at = spec.attributes["axis"], 0
    for part in parts:
        n = part.shape[axis]
        np.moveaxis(out, axis, 0)[at : at + n] = np.moveaxis(part, axis, 0)
        at += n


def pad(spec: CallSpec, out: Host, x: Host, value: Host) -> None:
    """Fill with the value, then write the operand inside."""
    out[...] = value
    inner = tuple(slice(low, low + n) for (low, _), n in zip(spec.attributes["pad_width"], x.shape, strict=True))
    out[inner] = x


def places(indices: Host, n: int, mode: str) -> tuple[Host, Host]:
    """Return indices into an axis of length n, and which of them lay inside."""
    at = indices.astype(np.int64)
    at = at + n * (at < 0)
    inside = (at >= 0) & (at < n)
    return (np.mod(at, max(n, 1)) if mode == "wrap" else np.clip(at, 0, max(n - 1, 0))), inside


def gather(spec: CallSpec, out: Host, x: Host, indices: Host) -> None:
    """Take slices; with ``fill`` those outside are zeros."""
    axis, n = spec.attributes["axis"], x.shape[spec.attributes["axis"]]
    if not n:
        out[...] = np.zeros((), out.dtype)
        return
    at, inside = places(indices, n, spec.attributes["mode"])
    rows = np.moveaxis(x, axis, 0)[at.reshape(-1)]
    if spec.attributes["mode"] == "fill":
        rows[~inside.reshape(-1)] = np.zeros((), out.dtype)
    lead = math.prod(x.shape[:axis])
    tail = math.prod(x.shape[axis + 1 :])
    out[...] = np.moveaxis(rows, 0, axis).reshape(lead, at.size, tail).reshape(out.shape)


def scatter(spec: CallSpec, out: Host, x: Host, indices: Host, updates: Host) -> None:
    """Apply one update after the other, in row-major order of the indices."""
    axis, mode, reduction = (spec.attributes[name] for name in ("axis", "mode", "reduction"))
    at, inside = places(indices, x.shape[axis], mode)
    rows = np.moveaxis(updates.reshape(*x.shape[:axis], at.size, *x.shape[axis + 1 :]), axis, 0)
    exact = is_float(x) and reduction in ("add", "multiply")
    made = np.moveaxis(wide(x) if exact else x.copy(), axis, 0)
    for place, usable, row in zip(at.reshape(-1), inside.reshape(-1), rows, strict=True):
        if usable or mode != "drop":
            old = made[place]
            match reduction:
                case "set":
                    made[place] = row
                case "add":
                    made[place] = old + row
                case "multiply":
                    made[place] = old * row
                case "min":
                    made[place] = smaller(old, row)
                case _:
                    made[place] = larger(old, row)
    assign(out, np.moveaxis(made, 0, axis))


def order(x: Host, axis: int, *, descending: bool) -> Host:
    """Return the stable order of every line along an axis, NaN last either way."""
    key = wide(x)
    if descending:
        key = np.negative(key) if is_float(x) else np.invert(key)
    return np.argsort(key, axis=axis, kind="stable")


def argsort(spec: CallSpec, out: Host, x: Host) -> None:
    """Write the stable order."""
    out[...] = order(x, spec.attributes["axis"], descending=spec.attributes["descending"])


def sort(spec: CallSpec, out: Host, x: Host) -> None:
    """Take the elements in their stable order."""
    axis = spec.attributes["axis"]
    out[...] = np.take_along_axis(x, order(x, axis, descending=spec.attributes["descending"]), axis)


def searchsorted(spec: CallSpec, out: Host, line: Host, keys: Host) -> None:
    """Search as NumPy does, which puts NaN last too."""
    out[...] = np.searchsorted(wide(line), wide(keys), side=spec.attributes["side"])


def full(spec: CallSpec, out: Host, value: Host) -> None:
    """Write one value everywhere."""
    out[...] = value


def iota(spec: CallSpec, out: Host) -> None:
    """Write each element's index along the axis; integers wrap."""
    axis = spec.attributes["axis"]
    line = np.arange(out.shape[axis]).reshape(-1, *(1,) * (out.ndim - axis - 1))
    out[...] = from_integers(line, out.dtype) if is_float(out) else line.astype(out.dtype)


def random_bits(spec: CallSpec, out: Host, key: Host, counter: Host) -> None:
    """Philox4x32-10 as in Salmon, Moraes, Dror, Shaw: Parallel Random Numbers: As Easy as 1, 2, 3, SC11."""
    blocks = -(-out.size // 4)
    low = np.uint64(int(counter[0]) + (int(counter[1]) << 32)) + np.arange(blocks, dtype=np.uint64)
    mask, half = np.uint64(0xFFFFFFFF), np.uint64(32)
    c = [low & mask, low >> half, *(np.full(blocks, counter[i], np.uint64) for i in (2, 3))]
    k = [int(key[0]), int(key[1])]
    for _ in range(10):
        a, b = c[0] * np.uint64(0xD2511F53), c[2] * np.uint64(0xCD9E8D57)
        c = [(b >> half) ^ c[1] ^ np.uint64(k[0]), b & mask, (a >> half) ^ c[3] ^ np.uint64(k[1]), a & mask]
        k = [(k[0] + 0x9E3779B9) & 0xFFFFFFFF, (k[1] + 0xBB67AE85) & 0xFFFFFFFF]
    out[...] = np.stack(c, axis=1).reshape(-1)[: out.size].astype(np.uint32).reshape(out.shape)


#: Op, its computation, and the dtypes of its operands.
MOVEMENT: Final[dict[str, tuple[Compute, tuple[frozenset[str], ...]]]] = {
    "cast": (cast, (_REAL,)),
    "copy": (copy, (_ALL,)),
    "bitcast": (bitcast, (NUMBERS,)),
    "concat": (concat, (_ALL,)),
    "pad": (pad, (_ALL,)),
    "gather": (gather, (_ALL, names("integer"))),
    "scatter": (scatter, (_REAL, names("integer"), _REAL)),
    "sort": (sort, (NUMBERS,)),
    "argsort": (argsort, (NUMBERS,)),
    "searchsorted": (searchsorted, (NUMBERS,)),
    "full": (full, (_ALL,)),
    "iota": (iota, ()),
    "random_bits": (random_bits, ()),
}
