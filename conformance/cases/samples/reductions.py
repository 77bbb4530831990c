"""Samples of reductions, scans and the matrix product."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any, Final

import numpy as np

from ....core.dtypes import REAL, DType, float32, int16, int32, int64
from ...oracle.formats import Host
from .. import values
from .sample import Row, Sample, row
from .shared import CUBE, LONG, any_bits, empty, gentle, growing, hard_row, nan_payloads, ties

#: Shapes of many axes, and which of them are reduced: apart, together, all but one.
_FAR_AXES: Final = (
    ("rank4-outer-inner", (3, 4, 2, 5), (0, 3)),
    ("rank4-middle", (3, 4, 2, 5), (1, 2)),
    ("rank5-alternating", (2, 3, 2, 3, 4), (0, 2, 4)),
    ("rank6-but-one", (2, 3, 1, 2, 3, 2), (0, 1, 2, 3, 5)),
    ("rank8", (2, 1, 2, 3, 1, 2, 1, 2), (1, 3, -1)),
    ("square", (9, 9), 0),
    ("square-last", (9, 9), 1),
    ("cube-first", (4, 4, 4), 0),
    ("cube-middle", (4, 4, 4), 1),
    ("wide-rows", (3, 300), 1),
    ("tall-columns", (300, 5), 0),
)


def _reduction(make: Any, **more: Any) -> Row:
    def samples(t: DType) -> Iterator[Sample]:
        cube = make(t, CUBE)
        yield Sample("axis1", (cube,), {"axis": 1}, base=True)
        yield Sample("all", (cube,), {"axis": None})
        yield Sample("axes-keepdims", (cube,), {"axis": (-1, 0), "keepdims": True})
        yield Sample("last", (cube,), {"axis": -1})
        yield Sample("first", (cube,), {"axis": 0})
        yield Sample("all-keepdims", (cube,), {"keepdims": True})
        yield Sample("first-keepdims", (cube,), {"axis": 0, "keepdims": True})
        yield Sample("long", (make(t, LONG, "long"),), {})
        yield Sample("columns", (make(t, (257, 3), "columns"),), {"axis": 0})
        yield Sample("no-axes", (cube,), {"axis": ()}, "shapes")
        yield Sample("0d", (make(t, ()),), {}, "shapes")
        yield Sample("ones", (make(t, (1, 1)),), {"axis": 1}, "shapes")
        yield Sample("empty-result", (empty(t, 0, 3),), {"axis": 1}, "shapes")
        if more.get("empty", True):
            yield Sample("empty", (empty(t, 0),), {}, "shapes")
            yield Sample("empty-axis", (empty(t, 3, 0, 2),), {"axis": 1}, "shapes")
        for label, shape, axis in _FAR_AXES:
            yield Sample(label, (make(t, shape, label),), {"axis": axis}, "shapes")
        for n in (2, 3, 7, 8, 15, 16, 17, 63, 64, 65, 255, 256, 257, 512, 1023, 1024, 1025, 4096):
            yield Sample(f"n{n}", (make(t, (n,)),), {}, "shapes")
        if "dtype" in more:
            yield from _to_dtype(t, cube)

    return samples


def _to_dtype(t: DType, cube: Host) -> Iterator[Sample]:
    """The result's dtype asked for: the operand is cast to it first."""
    wanted = {"float16": float32, "bfloat16": float32, "int8": int32, "int64": int16, "bool": int32}.get(t.name)
    if wanted is not None:
        yield Sample(f"to-{wanted}", (cube,), {"axis": 1, "dtype": wanted})


@row("sum")
def _sum(t: DType) -> Iterator[Sample]:
    yield from _reduction(any_bits, dtype=True)(t)
    yield Sample("growing", (growing(t, (4100,)),))
    yield from _each_place(t)


def _each_place(t: DType) -> Iterator[Sample]:
    """A one in every place of a line in turn: a sum whose bound forgives the loss of one term does not forgive it."""
    yield Sample("places", (np.eye(67).astype(t.numpy),), {"axis": 1})
    yield Sample("places-columns", (np.eye(67).astype(t.numpy),), {"axis": 0})
    if t.kind == REAL:
        line = np.eye(41)
        line[line == 1] = np.where(np.arange(41) % 2, np.nan, np.inf)
        yield Sample("places-nan", (line.astype(t.numpy),), {"axis": -1})


row("prod")(_reduction(gentle, dtype=True))


def _truth(make: Any, *, rare: bool) -> Row:
    def samples(t: DType) -> Iterator[Sample]:
        yield from _reduction(make)(t)
        each = values.hard(t) if t.kind != REAL else np.append(values.hard(t), nan_payloads(t))
        alone = np.full((each.size, 5), not rare).astype(t.numpy)
        alone[np.arange(each.size), np.arange(each.size) % 5] = each
        yield Sample("each-value", (alone,), {"axis": 1})
        yield Sample("each-value-alone", (each[:, None].copy(),), {"axis": 1})
        line = np.eye(67, dtype=bool) == rare
        yield Sample("places", (line.astype(t.numpy),), {"axis": 1})
        yield Sample("places-columns", (line.astype(t.numpy),), {"axis": 0})

    return samples


row("all")(_truth(ties, rare=False))
row("any")(
    _truth(
        lambda t, shape, *seed: np.where(ties(t, shape, *seed).astype(bool), t.numpy.type(0), ties(t, shape, 1)),
        rare=True,
    )
)


def _extreme(t: DType) -> Iterator[Sample]:
    yield from _reduction(any_bits, empty=False)(t)
    yield Sample("hard", (hard_row(t),), {"axis": 1})
    yield Sample("hard-columns", (hard_row(t),), {"axis": 0})
    yield Sample("ties", (ties(t, (9, 33)),), {"axis": 1})
    yield from _extremes(t)


def _extremes(t: DType) -> Iterator[Sample]:
    """The largest, the smallest and NaN in every place of a line in turn; lines of one sign; lines without numbers."""
    size = 67
    place = np.eye(size, dtype=bool)
    plain = values.small(t, (size, size), "plain")
    for label, value in (("largest", 100), ("smallest", -100 if t.numpy.kind != "u" else 0)):
        yield Sample(
            f"places-{label}", (np.where(place, value, plain.astype(np.float64)).astype(t.numpy),), {"axis": 1}
        )
    wide = values.small(t, (8, 1030), "wide").astype(np.float64)
    wide[np.arange(8), [0, 1, 255, 256, 257, 511, 1023, 1029]] = 100
    yield Sample("places-wide", (wide.astype(t.numpy),), {"axis": 1})
    yield Sample("places-wide-smallest", ((100 - wide).astype(t.numpy),), {"axis": 1})
    ends = values.hard(t)
    yield Sample("constant-lines", (np.repeat(ends[:, None], 19, axis=1),), {"axis": 1})
    if t.kind == REAL:
        yield Sample("places-nan", (np.where(place, np.nan, plain.astype(np.float64)).astype(t.numpy),), {"axis": 1})
        columns = np.where(place, np.nan, plain.astype(np.float64)).astype(t.numpy)
        yield Sample("places-nan-columns", (columns,), {"axis": 0})
        zeros = np.where(place, 0.0, -0.0).astype(t.numpy)
        yield Sample("places-zeros", (np.concatenate([zeros, -zeros]),), {"axis": 1})
        kinds = nan_payloads(t)
        among = values.small(t, (kinds.size, 9), "kinds")
        among[np.arange(kinds.size), np.arange(kinds.size) % 9] = kinds
        yield Sample("nan-kinds", (among,), {"axis": 1})
    for n in (16, 64, 256, 1024, 4096):  # whole blocks, whose first or last element alone decides
        ends = np.full((4, n), 3.0)
        ends[0, -1], ends[1, 0], ends[2, -1], ends[3, 0] = 9, 9, 1, 1
        yield Sample(f"ends{n}", (ends.astype(t.numpy),), {"axis": 1})
    lines = _long_lines(t)
    yield Sample("long-lines", (lines,), {"axis": 1})
    yield Sample("long-columns", (np.ascontiguousarray(lines.T),), {"axis": 0})


#: Elements of lines that are reduced in several blocks.
_SEVERAL: Final = 5003


def _long_lines(t: DType) -> Host:
    """Lines of several blocks: of one sign, of equal elements, with ties in different blocks, infinities and NaN."""
    low = 0 if t.numpy.kind == "u" else -100
    rows = np.full((9, _SEVERAL), 3.0)
    rows[1], rows[1, 4321] = low, low + 1
    rows[2], rows[2, 77] = 100, 99
    rows[3, [100, 2600, 4900]], rows[4, [300, 2100, 4800]] = 9, 1
    rows[5] = np.arange(_SEVERAL) % 50
    if t.kind == REAL:
        rows[6, 4500], rows[7, 60] = np.nan, np.nan
        rows[8] = -np.inf
    made = rows.astype(t.numpy)
    if t.kind != REAL:
        made[6], made[7] = np.iinfo(t.numpy).min, np.iinfo(t.numpy).max
    return made


row("max")(_extreme)
row("min")(_extreme)


def _position(t: DType) -> Iterator[Sample]:
    cube = values.moderate(t, CUBE)
    yield Sample("axis1", (cube,), {"axis": 1}, base=True)
    yield Sample("axis-last-keepdims", (cube,), {"axis": -1, "keepdims": True})
    yield Sample("first", (cube,), {"axis": 0})
    yield Sample("ties", (ties(t, (9, 33)),), {"axis": 1})
    yield Sample("hard", (hard_row(t),), {"axis": 1})
    yield Sample("long", (ties(t, LONG),), {"axis": 0})
    yield Sample("one", (cube[:, :1],), {"axis": 1}, "shapes")
    yield Sample("empty-result", (empty(t, 0, 3),), {"axis": 1}, "shapes")
    yield Sample("rank5", (values.moderate(t, (2, 3, 4, 1, 3)),), {"axis": 2}, "shapes")
    yield Sample("wide", (values.moderate(t, (3, 1030)),), {"axis": 1}, "shapes")
    yield from _extremes(t)


row("argmax")(_position)
row("argmin")(_position)


def _scan(make: Any) -> Row:
    def samples(t: DType) -> Iterator[Sample]:
        cube = make(t, CUBE)
        yield Sample("axis1", (cube,), {"axis": 1}, base=True)
        yield Sample("last", (cube,), {"axis": -1})
        yield Sample("first", (cube,), {"axis": 0})
        yield Sample("long", (make(t, (1030,)),), {"axis": 0})
        yield Sample("empty", (empty(t, 3, 0),), {"axis": 1}, "shapes")
        yield Sample("one", (make(t, (1,)),), {"axis": 0}, "shapes")
        yield Sample("rank5", (make(t, (2, 3, 4, 1, 3)),), {"axis": 2}, "shapes")
        yield Sample("wide", (make(t, (3, 1030)),), {"axis": 1}, "shapes")
        yield from _to_dtype(t, cube)

    return samples


row("cumulative_sum")(_scan(any_bits))
row("cumulative_prod")(_scan(gentle))


#: Sizes around the edges of register and cache tiles, odd and even, lines and columns.
_EDGES: Final = (
    (1, 1, 17), (17, 1, 1), (1, 17, 1), (2, 2, 2), (3, 3, 3), (4, 8, 16), (5, 9, 17), (8, 8, 8), (16, 16, 16),
    (15, 33, 31), (31, 7, 65), (65, 65, 1), (1, 255, 3), (2, 256, 2), (2, 257, 2), (1, 513, 1),
    (33, 34, 35), (96, 3, 97), (128, 5, 129),
)  # fmt: skip


def _each_term(t: DType) -> tuple[Host, Host]:
    """A single product in every place of the contracted axis in turn: no loss of one is within the bound."""
    x = np.eye(131)
    y = np.arange(1, 4)[None, :] * np.where(np.arange(131)[:, None] % 2, 1, 2)
    return x.astype(t.numpy), y.astype(t.numpy)


def _ends(t: DType) -> tuple[Host, Host]:
    """The ends of the range of integers, or factors of one size: sums of products in which every step is large."""
    low, high = (np.iinfo(t.numpy).min, np.iinfo(t.numpy).max) if t.kind.endswith("integer") else (-3, 3)
    x = np.array([[low] * 14, [high] * 14, [low, high] * 7], t.numpy)
    return x, np.stack([x[0], x[1], x[2], x[2][::-1]], axis=1)


def _cancelling(t: DType) -> tuple[Host, Host]:
    """Partial sums beyond the range of float16, whose total is within."""
    x = np.full((3, 41), 100).astype(t.numpy)
    column = np.array([100] * 20 + [-100] * 20 + [3])
    return x, np.stack([column, column[::-1]], axis=1).astype(t.numpy)


def _infinite(t: DType) -> tuple[Host, Host]:
    """NaN and infinities in few places, beside zeros: they reach their own rows and columns and no others."""
    x, y = np.resize([0.0, 1.0, -2.0], (19, 23)), np.resize([1.0, 0.0, 3.0, -1.0], (23, 21))
    x[3, 5], x[11, 22], x[18, 0] = np.nan, np.inf, -np.inf
    y[0, 20], y[22, 7], y[9, 9] = np.inf, -np.inf, np.nan
    return x.astype(t.numpy), y.astype(t.numpy)


@row("matmul")
def _matmul(t: DType) -> Iterator[Sample]:
    def make(*shape: int) -> Host:
        # A square times itself is the same product whichever operand comes first: no two operands are equal.
        return values.moderate(t, shape, "matmul", next(count))

    count = itertools.count()
    yield Sample("square", (make(7, 7), make(7, 7)), base=True)
    yield Sample("tall", (make(33, 5), make(5, 17)))
    yield Sample("blocks", (make(65, 130), make(130, 49)))
    yield Sample("deep", (make(3, 1030), make(1030, 5)))
    yield Sample("growing", (growing(t, (2, 2100)), growing(t, (2100, 3), "y")))
    yield Sample("batch", (make(4, 6, 5), make(4, 5, 3)))
    yield Sample("row", (make(1, 64), make(64, 33)), kind="shapes")
    yield Sample("column", (make(33, 64), make(64, 1)), kind="shapes")
    yield Sample("empty-k", (make(3, 0), make(0, 4)), kind="shapes")
    yield Sample("empty-m", (make(0, 3), make(3, 4)), kind="shapes")
    yield Sample("one", (make(1, 1), make(1, 1)), kind="shapes")
    yield Sample("batch-square", (make(3, 6, 6), make(3, 6, 6)))
    yield Sample("batches", (make(2, 3, 4, 5), make(2, 3, 5, 6)))
    yield Sample("places", _each_term(t))
    yield Sample("ends", _ends(t))
    yield Sample("cancelling", _cancelling(t))
    for m, k, n in _EDGES:
        yield Sample(f"{m}x{k}x{n}", (make(m, k), make(k, n)), kind="shapes")
    if t.kind == REAL:
        yield Sample("hard", _infinite(t))
    wider = {"int8": int32, "uint8": int32, "float16": float32, "bfloat16": float32, "int16": int64}.get(t.name)
    if wider is not None:
        yield Sample(f"to-{wider}", (make(9, 40), make(40, 7)), {"dtype": wider})
        yield Sample(f"ends-to-{wider}", _ends(t), {"dtype": wider})
        yield Sample(f"cancelling-to-{wider}", _cancelling(t), {"dtype": wider})
