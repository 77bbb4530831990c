"""Samples of movement, casts and creation."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import numpy as np

from ....core.dtypes import ALL, COMPLEX, FLOATS, INTEGERS, REAL, STORAGE, DType, bool_, dtype, float32, int32, uint64
from ...oracle.formats import FORMATS, Host
from .. import values
from .sample import Sample, row
from .shared import CUBE, LONG, empty, gentle, nan_payloads, ties

#: Dtypes of the indices of gather and scatter themselves; the public functions make uint64 signed before.
_INDICES: Final = tuple(t for t in INTEGERS if t is not uint64)


@row("cast")
def _cast(t: DType) -> Iterator[Sample]:
    data = (
        values.exhaustive(t)
        if t.bits <= 16 and t is not bool_
        else np.concatenate([values.hard(t), values.stratified(t, 4096)])
    )
    grid = values.moderate(t, (5, 9))
    # A dtype of every core profile; as bool a wrong place shows only where zeros and ones mix.
    common = bool_ if t is int32 else int32
    for to in ALL:
        if t.kind == COMPLEX and to.kind != COMPLEX and to is not bool_:
            continue
        yield Sample(f"to-{to}", (data,), {"dtype": to})
        given = grid % 2 if to is common is bool_ else grid
        yield Sample(f"grid-to-{to}", (given,), {"dtype": to}, base=to is common or t.kind == COMPLEX)
    if t.kind in (REAL, STORAGE):
        yield Sample("midpoints-to-float16", (_midpoints(t),), {"dtype": dtype("float16")})
        yield Sample("midpoints-to-bfloat16", (_midpoints(t),), {"dtype": dtype("bfloat16")})
        for to in FLOATS:
            yield Sample(f"nan-payloads-to-{to}", (nan_payloads(t),), {"dtype": to})
    if t.kind.endswith("integer") and t.bits > 8:
        for to in FLOATS:
            yield Sample(f"ties-to-{to}", (_ties(t, to),), {"dtype": to})
    if t.kind == REAL:
        for to in INTEGERS:
            yield Sample(f"limits-to-{to}", (_limits(t, to),), {"dtype": to})
    yield Sample("empty", (empty(t, 0, 3),), {"dtype": common if t.kind != COMPLEX else t}, "shapes")
    yield Sample("0d", (grid[0, 0].copy(),), {"dtype": bool_}, "shapes")


def _limits(t: DType, to: DType) -> Host:
    """Return floats around the ends of an integer's range, a fraction and a unit in the last place beside them."""
    info = np.iinfo(to.numpy)
    ends = np.array([info.min, info.max, info.max + 1, -1, 0, 1], np.float64)
    near = values.rounded((ends[:, None] + np.array([-1.5, -1, -0.75, -0.5, 0, 0.25, 0.5, 0.75, 1, 1.5])).ravel(), t)
    whole = near.view(f"i{t.itemsize}")
    with np.errstate(all="ignore"):
        return np.concatenate([near, (whole + 1).view(near.dtype), (whole - 1).view(near.dtype)])


def _ties(t: DType, to: DType) -> Host:
    """Return integers halfway between floats of every magnitude, and just beside, where a second rounding shows."""
    halves = [
        (1 << k) + odd * (1 << (k - FORMATS[to.name].precision)) + beside
        for k in range(FORMATS[to.name].precision, t.bits)
        for odd in (1, 3)
        for beside in (-1, 0, 1)
    ]
    info = np.iinfo(t.numpy)
    made = [s * n for n in halves for s in (1, -1) if info.min <= s * n <= info.max]
    return np.array(made or [0], dtype=t.numpy)


def _midpoints(t: DType) -> Host:
    """Values halfway between narrow floats, and just beside: where a second rounding shows."""
    ends = (
        [1 + 2.0**-k for k in range(3, 13)] + [2.0**-24 * f for f in (0.5, 1, 1.5, 2.5)] + [65519.0, 65520.0, 65535.0]
    )
    beside = [v * (1 + s * 2.0**-k) for v in ends for k in (20, 23, 40, 52) for s in (-1, 0, 1)]
    made = np.array(beside + [-v for v in beside])
    return values.rounded(made, t) if t.kind == REAL else made.astype(np.float32).astype(t.numpy)


@row("bitcast")
def _bitcast(t: DType) -> Iterator[Sample]:
    data = np.resize(_hard_bits(t), (9, 31)) if t.kind != STORAGE else values.exhaustive(t).reshape(16, 16)
    for to in ALL:
        if to.bits == t.bits and to is not bool_:
            yield Sample(f"to-{to}", (data,), {"dtype": to}, base=to.kind.endswith("integer"))
    yield Sample("0d", (data[0, 0].copy(),), {"dtype": t}, "shapes")
    yield Sample("empty", (empty(t, 0, 2),), {"dtype": t}, "shapes")


def _hard_bits(t: DType) -> Host:
    """Return hard values and, of floats, NaNs of every kind: what only moves keeps their bits."""
    return np.append(values.hard(t), nan_payloads(t)) if t.kind == REAL else values.hard(t)


@row("copy")
def _copy(t: DType) -> Iterator[Sample]:
    yield Sample("hard", (np.resize(_hard_bits(t) if t.kind != STORAGE else values.exhaustive(t), (9, 31)),), base=True)
    yield Sample("0d", (values.moderate(t, ()),), kind="shapes")
    yield Sample("empty", (empty(t, 2, 0),), kind="shapes")
    yield Sample("cube", (values.moderate(t, CUBE),), kind="shapes")


@row("concat")
def _concat(t: DType) -> Iterator[Sample]:
    x, y, z = (values.moderate(t, (3, n), n) for n in (5, 1, 17))
    yield Sample("axis1", (x, y, z), {"axis": 1}, base=True)
    yield Sample("axis0", (x, x[:1]), {"axis": 0})
    yield Sample("last", (values.moderate(t, CUBE), values.moderate(t, CUBE, 1)), {"axis": -1})
    many = tuple(values.moderate(t, (2, 1 + i % 2), "many", i) for i in range(21))
    yield Sample("many", many, {"axis": 1}, "shapes")
    hundreds = tuple(values.moderate(t, (1 + i % 2, 3), "many", i) for i in range(301))
    yield Sample("hundreds", hundreds, {"axis": 0}, "shapes")
    yield Sample("empty-first", (empty(t, 0, 5), x, empty(t, 0, 5)), {"axis": 0}, "shapes")
    yield Sample("rank5", tuple(values.moderate(t, (2, 1, n, 3, 2), n) for n in (1, 4, 2)), {"axis": 2}, "shapes")
    yield Sample("one", (x,), {"axis": 0}, "shapes")
    yield Sample("empty-part", (x, empty(t, 3, 0), y), {"axis": 1}, "shapes")
    yield Sample("empty", (empty(t, 0, 2), empty(t, 0, 2)), {"axis": 0}, "shapes")


def _fills(t: DType) -> list[Host]:
    """Return numbers to fill with: zeros of both signs, what a double does not hold, and what is flushed."""
    if t.kind == STORAGE:
        return [x.reshape(()) for x in np.array([0.0, -0.0, 1.0]).astype(t.numpy)]
    table = values.hardest(t)
    return [np.array(v, t.numpy) for v in table[:: -(-table.size // 12)]] + [np.array(table[table.size // 2], t.numpy)]


@row("pad")
def _pad(t: DType) -> Iterator[Sample]:
    value = values.moderate(t, (), "pad")
    x = values.moderate(t, (3, 5))
    yield Sample("pairs", (x, value), {"pad_width": ((1, 2), (0, 3))}, base=True)
    yield Sample("all", (values.moderate(t, CUBE), value), {"pad_width": 1})
    yield Sample("none", (x, value), {"pad_width": 0}, "shapes")
    yield Sample("one-side", (x, value), {"pad_width": ((0, 4), (7, 0))})
    yield Sample("wide", (x, value), {"pad_width": ((40, 1), (0, 70))}, "shapes")
    yield Sample("rank5", (values.moderate(t, (2, 1, 3, 2, 2)), value),
                 {"pad_width": ((0, 1), (2, 0), (1, 1), (0, 0), (0, 3))}, "shapes")  # fmt: skip
    yield Sample("empty", (empty(t, 0, 2), value), {"pad_width": ((1, 0), (0, 1))}, "shapes")
    for i, each in enumerate(_fills(t)):
        yield Sample(f"fill{i}", (x, each), {"pad_width": ((1, 0), (0, 2))})
    yield Sample("0d", (values.moderate(t, ()), value), {"pad_width": ()}, "shapes")


def _places(index: DType, n: int) -> Host:
    """Return places within an axis, those among them that a signed index of the same width does not have."""
    most = min(n - 1, np.iinfo(index.numpy).max)
    least = max(-n, np.iinfo(index.numpy).min)
    return np.array([0, most, most // 2 + 1, 5, least, most - 1, least // 2, 3], index.numpy)


def _ends(index: DType) -> Host:
    """Return places outside of every axis: the ends of a dtype's range and what a narrower one wraps."""
    info = np.iinfo(index.numpy)
    far = [info.max, info.min, info.max - 1, info.max // 2 + 2, info.max // 3, info.min // 2]
    far += [s * v for v in (1 << 8, 1 << 16, 1 << 31, 1 << 32, (1 << 40) + 1) for s in (1, -1)]
    return np.array([2, *(v for v in far if info.min <= v <= info.max), 1], index.numpy)


@row("gather")
def _gather(t: DType) -> Iterator[Sample]:
    x = values.moderate(t, (4, 6, 3))
    inside = np.array([[0, 5, -1], [2, -6, 2]], np.int32)
    outside = np.array([0, 6, -7, 100, -100, 5, 2**31 - 1], np.int32)
    yield Sample("axis1", (x, inside), {"axis": 1}, base=True)
    yield Sample("axis0", (x, np.array([3, 0, 1], np.int32)), {"axis": 0})
    yield Sample("far-int64", (x, np.array([0, 2**40, -(2**40)], np.int64)), {"axis": 0})
    yield Sample("last-uint8", (x, np.array([2, 0], np.uint8)), {"axis": -1})
    for mode in ("clip", "wrap", "fill"):
        yield Sample(f"outside-{mode}", (x, outside), {"axis": 1, "mode": mode})
    rows = values.moderate(t, (300, 2), "rows")
    for index in _INDICES:
        yield Sample(f"by-{index}", (rows, _places(index, 300)), {"axis": 0})
        for mode in ("clip", "wrap", "fill"):
            yield Sample(f"ends-{mode}-{index}", (rows[:7], _ends(index)), {"axis": 0, "mode": mode})
    square = values.moderate(t, (5, 5), "square")
    for axis in (0, 1):
        yield Sample(f"square-axis{axis}", (square, np.array([3, 0, -1, 1, 2], np.int32)), {"axis": axis}, "shapes")
    places = np.array([[[1, -1], [0, 2]], [[-3, 1], [2, 2]]], np.int32)
    yield Sample("rank5", (values.moderate(t, (2, 3, 3, 1, 2)), places), {"axis": 2}, "shapes")
    yield Sample("again", (x, np.resize([3, 3, 3, 0, -1], 37)), {"axis": 0}, "shapes")
    yield Sample("0d-index", (x, np.array(2, np.int32)), {"axis": 2}, "shapes")
    yield Sample("no-indices", (x, np.empty((0,), np.int32)), {"axis": 1}, "shapes")
    yield Sample("empty-fill", (empty(t, 0, 2), np.array([0, 1], np.int32)), {"axis": 0, "mode": "fill"}, "shapes")


@row("scatter")
def _scatter(t: DType) -> Iterator[Sample]:
    x = values.moderate(t, (4, 6))
    repeated = np.array([1, 1, 5, 0, 1, -1, 5], np.int32)
    outside = np.array([0, 6, -7, 9, 3], np.int32)
    yield Sample("set", (x, repeated, values.moderate(t, (4, 7), "u")), {"axis": 1}, base=True)
    yield Sample("rows", (x, np.array([2, 0, 2], np.int32), values.moderate(t, (3, 6), "u")), {"axis": 0})
    for mode in ("drop", "clip", "wrap"):
        yield Sample(f"outside-{mode}", (x, outside, values.moderate(t, (4, 5), mode)), {"axis": 1, "mode": mode})
    below = np.array([-1, 0, -6, 3, -2], np.int32)
    for mode in ("drop", "clip", "wrap"):
        yield Sample(f"negative-{mode}", (x, below, values.moderate(t, (4, 5), "n")), {"axis": 1, "mode": mode})
    places = np.array([[[1, -1]], [[2, 0]]], np.int32)
    far = (values.moderate(t, (2, 3, 3, 2)), places, values.moderate(t, (2, 3, 2, 1, 2, 2), "u"))
    yield Sample("rank6", far, {"axis": 2}, "shapes")
    square = (values.moderate(t, (5, 5), "square"), below[:2], values.moderate(t, (5, 2), "u"))
    yield Sample("square", square, {"axis": 1}, "shapes")
    yield Sample("int64", (x, repeated.astype(np.int64), values.moderate(t, (4, 7), "u")), {"axis": 1})
    rows = values.moderate(t, (300, 2), "rows")
    for index in _INDICES:
        at = _places(index, 300)
        yield Sample(f"by-{index}", (rows, at, values.moderate(t, (at.size, 2), "u")), {"axis": 0})
        at = _ends(index)
        for mode in ("drop", "clip", "wrap"):
            far = (rows[:7], at, values.moderate(t, (at.size, 2), "u"))
            yield Sample(f"ends-{mode}-{index}", far, {"axis": 0, "mode": mode})
    yield Sample("no-indices", (x, np.empty((0,), np.int32), empty(t, 4, 0)), {"axis": 1}, "shapes")
    if t is bool_ or t.kind == STORAGE:
        return
    for reduction in ("add", "multiply", "min", "max"):
        if t.kind == COMPLEX and reduction in ("min", "max"):
            continue
        make = gentle if reduction == "multiply" else ties if reduction in ("min", "max") else values.moderate
        given = (make(t, (4, 6)), repeated, make(t, (4, 7), "u"))
        yield Sample(reduction, given, {"axis": 1, "reduction": reduction})
        for mode in ("clip", "wrap"):
            far = (make(t, (4, 6), mode), outside, make(t, (4, 5), "u", mode))
            yield Sample(f"{reduction}-{mode}", far, {"axis": 1, "reduction": reduction, "mode": mode})
    if t.kind != COMPLEX:
        table = values.hard(t)
        old, new = (
            np.resize(values.generator(k).permutation(table), s) for k, s in (("old", (9, 11)), ("new", (9, 29)))
        )
        at = values.generator("at").integers(-11, 11, 29).astype(np.int32)
        for reduction in ("min", "max"):
            yield Sample(f"{reduction}-hard", (old, at, new), {"axis": 1, "reduction": reduction})


def _sorting(t: DType) -> Iterator[Sample]:
    yield Sample("axis0", (values.moderate(t, (9, 5)),), {"axis": 0}, base=True)
    yield Sample("hard", (np.stack([values.generator(i).permutation(values.hard(t)) for i in range(4)]),), {})
    yield Sample("hard-descending", (values.generator(9).permutation(values.hard(t)),), {"descending": True})
    if t.kind == REAL:
        kinds = np.append(nan_payloads(t), values.small(t, (40,), "kinds"))
        for down in (False, True):
            mixed = np.stack([values.generator(i, "kinds").permutation(kinds) for i in range(3)])
            yield Sample(f"nan-kinds{'-descending' * down}", (mixed,), {"descending": down})
    yield Sample("ties", (ties(t, (7, 40)),), {"axis": -1})
    yield Sample("ties-descending", (ties(t, (7, 40)),), {"axis": 1, "descending": True})
    yield Sample("long", (values.moderate(t, LONG),), {})
    for n in (2, 3, 4, 15, 16, 17, 31, 32, 33, 64, 100, 128, 257):
        yield Sample(f"n{n}", (ties(t, (2, n), n),), {"descending": n % 2 == 0}, "shapes")
    yield Sample("square", (values.moderate(t, (6, 6), "square"),), {"axis": 0}, "shapes")
    yield Sample("rank5", (values.moderate(t, (2, 3, 4, 1, 2)),), {"axis": 2}, "shapes")
    yield Sample("sorted", (np.sort(values.moderate(bool_, (70,)).astype(np.int8)).astype(t.numpy),), {}, "shapes")
    yield Sample("one", (values.moderate(t, (3, 1)),), {}, "shapes")
    yield Sample("empty", (empty(t, 3, 0),), {}, "shapes")


row("sort")(_sorting)
row("argsort")(_sorting)


@row("searchsorted")
def _searchsorted(t: DType) -> Iterator[Sample]:
    table = values.hard(t)
    ordered = np.sort(table.astype(np.float32) if table.dtype.kind == "V" else table, kind="stable").astype(t.numpy)
    keys = np.resize(values.generator("keys").permutation(table), (4, 21))
    for side in ("left", "right"):
        yield Sample(side, (ordered, keys), {"side": side}, base=side == "left")
    yield Sample("0d", (ordered, keys[0, 0].copy()), {}, "shapes")
    yield Sample("empty-table", (empty(t, 0), keys), {}, "shapes")
    yield Sample("no-keys", (ordered, empty(t, 0)), {}, "shapes")


@row("take_along_axis")
def _take_along_axis(t: DType) -> Iterator[Sample]:
    x = values.moderate(t, (4, 6))
    yield Sample("axis1", (x, values.generator(1).integers(-6, 6, (4, 3))), {"axis": 1}, base=True)
    yield Sample("outside", (x, np.array([[9, -9]])), {"axis": 1})
    yield Sample("axis0", (x, np.array([[3, 0, 1, 2, -1, 0]], np.int32)), {"axis": 0})
    yield Sample("no-indices", (x, np.empty((4, 0), np.int64)), {"axis": 1}, "shapes")


@row("full")
def _full(t: DType) -> Iterator[Sample]:
    value = values.moderate(t, ())
    yield Sample("grid", (value,), {"shape": (3, 17)})
    yield Sample("another", (values.moderate(t, (), "another"),), {"shape": (3, 17)})
    yield Sample("hard", (values.hard(t)[-1].reshape(()) if t.kind != STORAGE else value,), {"shape": (70,)})
    if t.kind != COMPLEX:
        yield Sample("to-float32", (value,), {"shape": (4,), "dtype": float32})
    yield Sample("0d", (value,), {"shape": ()}, "shapes")
    yield Sample("empty", (value,), {"shape": (0, 2)}, "shapes")
    for i, each in enumerate(_fills(t)):
        yield Sample(f"fill{i}", (each,), {"shape": (3, 7)})


@row("iota")
def _iota(t: DType) -> Iterator[Sample]:
    yield Sample("axis1", (), {"shape": (3, 17), "axis": 1, "dtype": t})
    yield Sample("axis0", (), {"shape": (9, 2), "axis": 0, "dtype": t})
    yield Sample("square", (), {"shape": (6, 6), "axis": 0, "dtype": t}, "shapes")
    yield Sample("middle", (), {"shape": (3, 5, 4), "axis": 1, "dtype": t}, "shapes")
    yield Sample("rank6", (), {"shape": (2, 1, 3, 4, 1, 2), "axis": 3, "dtype": t}, "shapes")
    yield Sample("wraps", (), {"shape": (5003,), "axis": -1, "dtype": t})
    yield Sample("empty", (), {"shape": (0, 2), "axis": 0, "dtype": t}, "shapes")


@row("random_bits")
def _random_bits(t: DType) -> Iterator[Sample]:
    key = np.array([0xDEADBEEF, 7], np.uint32)
    carry = np.array([0xFFFFFFFE, 0xFFFFFFFF, 3, 0xFFFFFFFF], np.uint32)
    yield Sample("zero", (np.zeros(2, np.uint32), np.zeros(4, np.uint32)), {"shape": (8,)})
    yield Sample("carry", (key, carry), {"shape": (5, 7)}, base=True)
    yield Sample("long", (key, np.arange(4, dtype=np.uint32)), {"shape": (1027,)})
    for i in range(4):  # a carry that starts at each word, and ends at each
        ends = np.array([0xFFFFFFFD] + [0xFFFFFFFF if k <= i else 5 for k in range(1, 4)], np.uint32)
        yield Sample(f"carry{i}", (key[::-1].copy(), ends), {"shape": (33,)})
    yield Sample("empty", (key, carry), {"shape": (0,)}, "shapes")
    yield Sample("0d", (key, carry), {"shape": ()}, "shapes")
