"""Samples of reductions, scans and the matrix product."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from ...core.dtypes import (
    DType,
    float32,
    int16,
    int32,
    int64,
)
from ..oracle.formats import Host
from . import values
from .row_values import CUBE, LONG, any_bits, empty, gentle, growing, hard_row, ties
from .samples import Row, Sample, row


def _reduction(make: Any, **more: Any) -> Row:
    def samples(t: DType) -> Iterator[Sample]:
        cube = make(t, CUBE)
        yield Sample("axis1", (cube,), {"axis": 1}, base=True)
        yield Sample("all", (cube,), {"axis": None})
        yield Sample("axes-keepdims", (cube,), {"axis": (-1, 0), "keepdims": True})
        yield Sample("last", (cube,), {"axis": -1})
        yield Sample("first", (cube,), {"axis": 0})
        yield Sample("long", (make(t, LONG, "long"),), {})
        yield Sample("columns", (make(t, (257, 3), "columns"),), {"axis": 0})
        yield Sample("no-axes", (cube,), {"axis": ()}, "shapes")
        yield Sample("0d", (make(t, ()),), {}, "shapes")
        yield Sample("ones", (make(t, (1, 1)),), {"axis": 1}, "shapes")
        yield Sample("empty-result", (empty(t, 0, 3),), {"axis": 1}, "shapes")
        if more.get("empty", True):
            yield Sample("empty", (empty(t, 0),), {}, "shapes")
            yield Sample("empty-axis", (empty(t, 3, 0, 2),), {"axis": 1}, "shapes")
        for n in (15, 17, 63, 65, 1023, 1025):
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


row("prod")(_reduction(gentle, dtype=True))
row("all")(_reduction(ties))
row("any")(
    _reduction(lambda t, shape, *seed: np.where(ties(t, shape, *seed).astype(bool), t.numpy.type(0), ties(t, shape, 1)))
)


def _extreme(t: DType) -> Iterator[Sample]:
    yield from _reduction(any_bits, empty=False)(t)
    yield Sample("hard", (hard_row(t),), {"axis": 1})
    yield Sample("hard-columns", (hard_row(t),), {"axis": 0})
    yield Sample("ties", (ties(t, (9, 33)),), {"axis": 1})


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
        yield from _to_dtype(t, cube)

    return samples


row("cumulative_sum")(_scan(any_bits))
row("cumulative_prod")(_scan(gentle))


@row("matmul")
def _matmul(t: DType) -> Iterator[Sample]:
    def make(*shape: int) -> Host:
        return values.moderate(t, shape, "matmul")

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
    wider = {"int8": int32, "uint8": int32, "float16": float32, "bfloat16": float32, "int16": int64}.get(t.name)
    if wider is not None:
        yield Sample(f"to-{wider}", (make(9, 40), make(40, 7)), {"dtype": wider})
