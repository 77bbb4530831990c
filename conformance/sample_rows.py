"""One row of samples per op that is not elementwise, and for elementwise ones whose operands are special."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from ..core.dtypes import (
    ALL,
    COMPLEX,
    FLOATS,
    PROMOTION,
    REAL,
    STORAGE,
    DType,
    bool_,
    dtype,
    float32,
    int8,
    int16,
    int32,
    int64,
    uint8,
    uint32,
)
from . import values
from .formats import Host
from .samples import Row, Sample, row

_CUBE = (3, 5, 7)
_LONG = (2050,)


def _empty(t: DType, *shape: int) -> Host:
    return np.empty(shape, t.numpy)


def _gentle(t: DType, shape: tuple[int, ...], *seed: object) -> Host:
    """Factors whose product stays in range: near 1 for floats, any bits for integers, which wrap."""
    x = values.moderate(t, shape, "gentle", *seed, low=0.8, high=1.25)
    if t.kind == COMPLEX:
        x = (x / np.abs(x)).astype(t.numpy)
    return x


def _hard_row(t: DType) -> Host:
    table = values.hard(t)
    return np.resize(table, (8, table.size))


def _reduction(make: Any, **more: Any) -> Row:
    def samples(t: DType) -> Iterator[Sample]:
        cube = make(t, _CUBE)
        yield Sample("axis1", (cube,), {"axis": 1}, base=True)
        yield Sample("all", (cube,), {"axis": None})
        yield Sample("axes-keepdims", (cube,), {"axis": (-1, 0), "keepdims": True})
        yield Sample("last", (cube,), {"axis": -1})
        yield Sample("first", (cube,), {"axis": 0})
        yield Sample("long", (make(t, _LONG, "long"),), {})
        yield Sample("columns", (make(t, (257, 3), "columns"),), {"axis": 0})
        yield Sample("no-axes", (cube,), {"axis": ()}, "shapes")
        yield Sample("0d", (make(t, ()),), {}, "shapes")
        yield Sample("ones", (make(t, (1, 1)),), {"axis": 1}, "shapes")
        yield Sample("empty-result", (_empty(t, 0, 3),), {"axis": 1}, "shapes")
        if more.get("empty", True):
            yield Sample("empty", (_empty(t, 0),), {}, "shapes")
            yield Sample("empty-axis", (_empty(t, 3, 0, 2),), {"axis": 1}, "shapes")
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


def _any_bits(t: DType, shape: tuple[int, ...], *seed: object) -> Host:
    return values.moderate(t, shape, *seed)


def _ties(t: DType, shape: tuple[int, ...], *seed: object) -> Host:
    return values.small(t, shape, *seed)


@row("sum")
def _sum(t: DType) -> Iterator[Sample]:
    yield from _reduction(_any_bits, dtype=True)(t)
    yield Sample("growing", (_growing(t, (4100,)),))


def _growing(t: DType, shape: tuple[int, ...], *seed: object) -> Host:
    """Terms of one sign: a sum kept in too narrow a dtype stops growing."""
    return values.moderate(t, shape, "growing", *seed, low=0.5, high=1.5)


row("prod")(_reduction(_gentle, dtype=True))
row("all")(_reduction(_ties))
row("any")(
    _reduction(
        lambda t, shape, *seed: np.where(_ties(t, shape, *seed).astype(bool), t.numpy.type(0), _ties(t, shape, 1))
    )
)


def _extreme(t: DType) -> Iterator[Sample]:
    yield from _reduction(_any_bits, empty=False)(t)
    yield Sample("hard", (_hard_row(t),), {"axis": 1})
    yield Sample("hard-columns", (_hard_row(t),), {"axis": 0})
    yield Sample("ties", (_ties(t, (9, 33)),), {"axis": 1})


row("max")(_extreme)
row("min")(_extreme)


def _position(t: DType) -> Iterator[Sample]:
    cube = values.moderate(t, _CUBE)
    yield Sample("axis1", (cube,), {"axis": 1}, base=True)
    yield Sample("axis-last-keepdims", (cube,), {"axis": -1, "keepdims": True})
    yield Sample("first", (cube,), {"axis": 0})
    yield Sample("ties", (_ties(t, (9, 33)),), {"axis": 1})
    yield Sample("hard", (_hard_row(t),), {"axis": 1})
    yield Sample("long", (_ties(t, _LONG),), {"axis": 0})
    yield Sample("one", (cube[:, :1],), {"axis": 1}, "shapes")
    yield Sample("empty-result", (_empty(t, 0, 3),), {"axis": 1}, "shapes")


row("argmax")(_position)
row("argmin")(_position)


def _scan(make: Any) -> Row:
    def samples(t: DType) -> Iterator[Sample]:
        cube = make(t, _CUBE)
        yield Sample("axis1", (cube,), {"axis": 1}, base=True)
        yield Sample("last", (cube,), {"axis": -1})
        yield Sample("first", (cube,), {"axis": 0})
        yield Sample("long", (make(t, (1030,)),), {"axis": 0})
        yield Sample("empty", (_empty(t, 3, 0),), {"axis": 1}, "shapes")
        yield Sample("one", (make(t, (1,)),), {"axis": 0}, "shapes")
        yield from _to_dtype(t, cube)

    return samples


row("cumulative_sum")(_scan(_any_bits))
row("cumulative_prod")(_scan(_gentle))


@row("matmul")
def _matmul(t: DType) -> Iterator[Sample]:
    def make(*shape: int) -> Host:
        return values.moderate(t, shape, "matmul")

    yield Sample("square", (make(7, 7), make(7, 7)), base=True)
    yield Sample("tall", (make(33, 5), make(5, 17)))
    yield Sample("blocks", (make(65, 130), make(130, 49)))
    yield Sample("deep", (make(3, 1030), make(1030, 5)))
    yield Sample("growing", (_growing(t, (2, 2100)), _growing(t, (2100, 3), "y")))
    yield Sample("batch", (make(4, 6, 5), make(4, 5, 3)))
    yield Sample("row", (make(1, 64), make(64, 33)), kind="shapes")
    yield Sample("column", (make(33, 64), make(64, 1)), kind="shapes")
    yield Sample("empty-k", (make(3, 0), make(0, 4)), kind="shapes")
    yield Sample("empty-m", (make(0, 3), make(3, 4)), kind="shapes")
    yield Sample("one", (make(1, 1), make(1, 1)), kind="shapes")
    wider = {"int8": int32, "uint8": int32, "float16": float32, "bfloat16": float32, "int16": int64}.get(t.name)
    if wider is not None:
        yield Sample(f"to-{wider}", (make(9, 40), make(40, 7)), {"dtype": wider})


@row("cast")
def _cast(t: DType) -> Iterator[Sample]:
    data = (
        values.exhaustive(t)
        if t.bits <= 16 and t is not bool_
        else np.concatenate([values.hard(t), values.stratified(t, 4096)])
    )
    grid = values.moderate(t, (5, 9))
    for to in ALL:
        if t.kind == COMPLEX and to.kind != COMPLEX and to is not bool_:
            continue
        yield Sample(f"to-{to}", (data,), {"dtype": to})
        yield Sample(
            f"grid-to-{to}",
            (grid,),
            {"dtype": to},
            base=to is (int32 if t is not int32 else float32) or t.kind == COMPLEX,
        )
    if t.kind in (REAL, STORAGE):
        yield Sample("midpoints-to-float16", (_midpoints(t),), {"dtype": dtype("float16")})
        yield Sample("midpoints-to-bfloat16", (_midpoints(t),), {"dtype": dtype("bfloat16")})
    yield Sample("empty", (_empty(t, 0, 3),), {"dtype": float32 if t.kind != COMPLEX else t}, "shapes")
    yield Sample("0d", (grid[0, 0].copy(),), {"dtype": bool_}, "shapes")


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
    data = np.resize(values.hard(t), (3, 17)) if t.kind != STORAGE else values.exhaustive(t).reshape(16, 16)
    for to in ALL:
        if to.bits == t.bits and to is not bool_:
            yield Sample(f"to-{to}", (data,), {"dtype": to}, base=to.kind.endswith("integer"))
    yield Sample("0d", (data[0, 0].copy(),), {"dtype": t}, "shapes")
    yield Sample("empty", (_empty(t, 0, 2),), {"dtype": t}, "shapes")


@row("copy")
def _copy(t: DType) -> Iterator[Sample]:
    yield Sample(
        "hard", (np.resize(values.hard(t) if t.kind != STORAGE else values.exhaustive(t), (9, 31)),), base=True
    )
    yield Sample("0d", (values.moderate(t, ()),), kind="shapes")
    yield Sample("empty", (_empty(t, 2, 0),), kind="shapes")
    yield Sample("cube", (values.moderate(t, _CUBE),), kind="shapes")


@row("concat")
def _concat(t: DType) -> Iterator[Sample]:
    x, y, z = (values.moderate(t, (3, n), n) for n in (5, 1, 17))
    yield Sample("axis1", (x, y, z), {"axis": 1}, base=True)
    yield Sample("axis0", (x, x[:1]), {"axis": 0})
    yield Sample("last", (values.moderate(t, _CUBE), values.moderate(t, _CUBE, 1)), {"axis": -1})
    yield Sample("one", (x,), {"axis": 0}, "shapes")
    yield Sample("empty-part", (x, _empty(t, 3, 0), y), {"axis": 1}, "shapes")
    yield Sample("empty", (_empty(t, 0, 2), _empty(t, 0, 2)), {"axis": 0}, "shapes")


@row("pad")
def _pad(t: DType) -> Iterator[Sample]:
    value = values.moderate(t, (), "pad")
    x = values.moderate(t, (3, 5))
    yield Sample("pairs", (x, value), {"pad_width": ((1, 2), (0, 3))}, base=True)
    yield Sample("all", (values.moderate(t, _CUBE), value), {"pad_width": 1})
    yield Sample("none", (x, value), {"pad_width": 0}, "shapes")
    yield Sample("empty", (_empty(t, 0, 2), value), {"pad_width": ((1, 0), (0, 1))}, "shapes")
    yield Sample("0d", (values.moderate(t, ()), value), {"pad_width": ()}, "shapes")


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
    yield Sample("0d-index", (x, np.array(2, np.int32)), {"axis": 2}, "shapes")
    yield Sample("no-indices", (x, np.empty((0,), np.int32)), {"axis": 1}, "shapes")
    yield Sample("empty-fill", (_empty(t, 0, 2), np.array([0, 1], np.int32)), {"axis": 0, "mode": "fill"}, "shapes")


@row("scatter")
def _scatter(t: DType) -> Iterator[Sample]:
    x = values.moderate(t, (4, 6))
    repeated = np.array([1, 1, 5, 0, 1, -1, 5], np.int32)
    outside = np.array([0, 6, -7, 9, 3], np.int32)
    yield Sample("set", (x, repeated, values.moderate(t, (4, 7), "u")), {"axis": 1}, base=True)
    yield Sample("rows", (x, np.array([2, 0, 2], np.int32), values.moderate(t, (3, 6), "u")), {"axis": 0})
    for mode in ("drop", "clip", "wrap"):
        yield Sample(f"outside-{mode}", (x, outside, values.moderate(t, (4, 5), mode)), {"axis": 1, "mode": mode})
    yield Sample("int64", (x, repeated.astype(np.int64), values.moderate(t, (4, 7), "u")), {"axis": 1})
    yield Sample("no-indices", (x, np.empty((0,), np.int32), _empty(t, 4, 0)), {"axis": 1}, "shapes")
    if t is bool_ or t.kind == STORAGE:
        return
    for reduction in ("add", "multiply", "min", "max"):
        if t.kind == COMPLEX and reduction in ("min", "max"):
            continue
        make = _gentle if reduction == "multiply" else _ties if reduction in ("min", "max") else values.moderate
        given = (make(t, (4, 6)), repeated, make(t, (4, 7), "u"))
        yield Sample(reduction, given, {"axis": 1, "reduction": reduction})


def _sorting(t: DType) -> Iterator[Sample]:
    yield Sample("axis0", (values.moderate(t, (9, 5)),), {"axis": 0}, base=True)
    yield Sample("hard", (np.stack([values.generator(i).permutation(values.hard(t)) for i in range(4)]),), {})
    yield Sample("hard-descending", (values.generator(9).permutation(values.hard(t)),), {"descending": True})
    yield Sample("ties", (_ties(t, (7, 40)),), {"axis": -1})
    yield Sample("ties-descending", (_ties(t, (7, 40)),), {"axis": 1, "descending": True})
    yield Sample("long", (values.moderate(t, _LONG),), {})
    yield Sample("one", (values.moderate(t, (3, 1)),), {}, "shapes")
    yield Sample("empty", (_empty(t, 3, 0),), {}, "shapes")


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
    yield Sample("empty-table", (_empty(t, 0), keys), {}, "shapes")
    yield Sample("no-keys", (ordered, _empty(t, 0)), {}, "shapes")


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
    yield Sample("hard", (values.hard(t)[-1].reshape(()) if t.kind != STORAGE else value,), {"shape": (70,)})
    if t.kind != COMPLEX:
        yield Sample("to-float32", (value,), {"shape": (4,), "dtype": float32})
    yield Sample("0d", (value,), {"shape": ()}, "shapes")
    yield Sample("empty", (value,), {"shape": (0, 2)}, "shapes")


@row("iota")
def _iota(t: DType) -> Iterator[Sample]:
    yield Sample("axis1", (), {"shape": (3, 17), "axis": 1, "dtype": t})
    yield Sample("axis0", (), {"shape": (9, 2), "axis": 0, "dtype": t})
    yield Sample("wraps", (), {"shape": (3000,), "axis": -1, "dtype": t})
    yield Sample("empty", (), {"shape": (0, 2), "axis": 0, "dtype": t}, "shapes")


@row("random_bits")
def _random_bits(t: DType) -> Iterator[Sample]:
    key = np.array([0xDEADBEEF, 7], np.uint32)
    carry = np.array([0xFFFFFFFE, 0xFFFFFFFF, 3, 0xFFFFFFFF], np.uint32)
    yield Sample("zero", (np.zeros(2, np.uint32), np.zeros(4, np.uint32)), {"shape": (8,)})
    yield Sample("carry", (key, carry), {"shape": (5, 7)}, base=True)
    yield Sample("long", (key, np.arange(4, dtype=np.uint32)), {"shape": (1027,)})
    yield Sample("empty", (key, carry), {"shape": (0,)}, "shapes")
    yield Sample("0d", (key, carry), {"shape": ()}, "shapes")


@row("one_hot")
def _one_hot(t: DType) -> Iterator[Sample]:
    x = values.generator("classes").integers(0, 7, (4, 5)).astype(t.numpy)
    yield Sample("grid", (x,), {"classes": 5}, base=True)
    yield Sample("to-int8", (x,), {"classes": 3, "dtype": int8})
    yield Sample("0d", (x[0, 0].copy(),), {"classes": 5}, "shapes")
    yield Sample("no-classes", (x,), {"classes": 0}, "shapes")


@row("clip")
def _clip(t: DType) -> Iterator[Sample]:
    low, high = np.array(1).astype(t.numpy), np.array(3).astype(t.numpy)
    table = values.hard(t)
    yield Sample("", (np.concatenate([table, values.stratified(t, 2048)]), low, high))
    yield Sample("grid", (values.moderate(t, (5, 9)), low, high), base=True)
    yield Sample("no-min", (table, None, high))
    yield Sample("no-max", (table, low, None))
    yield Sample("arrays", (values.moderate(t, (5, 9)), values.small(t, (5, 1)), values.small(t, (9,), 1)))
    yield Sample("empty", (_empty(t, 0), low, high), kind="shapes")


@row("gelu")
def _gelu(t: DType) -> Iterator[Sample]:
    x = np.concatenate(
        [values.rounded(np.array([0.0, -0.0, np.inf, np.nan, 1e-3]), t), values.moderate(t, (700,), low=-12, high=12)]
    )
    yield Sample("", (x,))
    yield Sample("approximate", (x,), {"approximate": True})
    yield Sample("grid", (values.moderate(t, (5, 9)),), base=True)
    yield Sample("0d", (values.moderate(t, ()),), kind="shapes")
    yield Sample("empty", (_empty(t, 0, 3),), kind="shapes")


@row("silu")
def _silu(t: DType) -> Iterator[Sample]:
    x = np.concatenate(
        [values.rounded(np.array([0.0, -0.0, np.inf, np.nan]), t), values.moderate(t, (700,), low=-80, high=80)]
    )
    yield Sample("", (x,))
    yield Sample("grid", (values.moderate(t, (5, 9)),), base=True)
    yield Sample("0d", (values.moderate(t, ()),), kind="shapes")
    yield Sample("empty", (_empty(t, 0, 3),), kind="shapes")


def _over_axis(t: DType) -> Iterator[Sample]:
    yield Sample("last", (values.moderate(t, (5, 9)),), base=True)
    yield Sample("axis0", (values.moderate(t, (33, 4), low=-10, high=10),), {"axis": 0})
    yield Sample("axes", (values.moderate(t, _CUBE),), {"axis": (0, 2)})
    yield Sample("long", (values.moderate(t, (2, 1030)),))
    yield Sample("one", (values.moderate(t, (4, 1)),), {}, "shapes")
    yield Sample("empty", (_empty(t, 0, 3),), {}, "shapes")
    yield Sample("empty-axis", (_empty(t, 3, 0),), {}, "shapes")


@row("softmax")
def _softmax(t: DType) -> Iterator[Sample]:
    yield from _over_axis(t)
    yield Sample("masked", (values.rounded(np.array([[0.0, -np.inf, 2.0], [-np.inf, -np.inf, 1.0]]), t),))


@row("log_softmax")
def _log_softmax(t: DType) -> Iterator[Sample]:
    yield from _over_axis(t)


@row("layer_norm")
def _layer_norm(t: DType) -> Iterator[Sample]:
    yield from _over_axis(t)
    x, w, b = values.moderate(t, (5, 9)), values.moderate(t, (9,), "w"), values.moderate(t, (9,), "b")
    yield Sample("affine", (x, w, b))
    yield Sample("weight", (x, w, None), {"epsilon": 1e-3})


@row("rms_norm")
def _rms_norm(t: DType) -> Iterator[Sample]:
    yield from _over_axis(t)
    yield Sample("weight", (values.moderate(t, (5, 9)), values.moderate(t, (9,), "w")))


def _statistic(t: DType) -> Iterator[Sample]:
    cube = values.moderate(t, _CUBE)
    yield Sample("axis1", (cube,), {"axis": 1}, base=True)
    yield Sample("all", (cube,), {"axis": None})
    yield Sample("axes-keepdims", (cube,), {"axis": (-1, 0), "keepdims": True})
    yield Sample("long", (values.moderate(t, _LONG),), {})
    yield Sample("0d", (values.moderate(t, ()),), {}, "shapes")
    yield Sample("empty-result", (_empty(t, 0, 3),), {"axis": 1}, "shapes")


@row("mean")
def _mean(t: DType) -> Iterator[Sample]:
    yield from _statistic(t)
    yield Sample("empty", (_empty(t, 0),), {}, "shapes")


def _spread(t: DType) -> Iterator[Sample]:
    yield from _statistic(t)
    yield Sample("correction", (values.moderate(t, _CUBE),), {"axis": 1, "correction": 1.0})
    yield Sample("empty", (_empty(t, 0),), {}, "shapes")


row("var")(_spread)
row("std")(_spread)


@row("logsumexp")
def _logsumexp(t: DType) -> Iterator[Sample]:
    yield from _statistic(t)
    yield Sample("large", (values.rounded(np.array([[1000.0, 1001.0], [-1000.0, -1001.0]]), t),), {"axis": 1})


@row("linear")
def _linear(t: DType) -> Iterator[Sample]:
    x, w = values.moderate(t, (4, 9)), values.moderate(t, (5, 9), "w")
    yield Sample("bias", (x, w, values.moderate(t, (5,), "b")), base=True)
    yield Sample("plain", (x, w, None))
    yield Sample("batch", (values.moderate(t, (2, 3, 9)), w, None))
    yield Sample("vector", (x[0].copy(), w, None), kind="shapes")
    yield Sample("empty", (_empty(t, 0, 9), w, None), kind="shapes")


@row("conv")
def _conv(t: DType) -> Iterator[Sample]:
    def make(*shape: int) -> Host:
        return values.moderate(t, shape, "conv", low=-2, high=2)

    yield Sample("2d", (make(2, 3, 7, 6), make(4, 3, 3, 2), make(4)), {"stride": (2, 1), "padding": 1}, base=True)
    yield Sample("1d", (make(1, 2, 11), make(3, 2, 4), None), {"dilation": 2})
    yield Sample("3d", (make(1, 2, 4, 5, 3), make(2, 2, 2, 2, 2), None))
    yield Sample("groups", (make(1, 4, 6, 6), make(6, 2, 3, 3), None), {"groups": 2})
    yield Sample(
        "transposed", (make(1, 2, 5, 4), make(3, 2, 3, 3), None), {"input_dilation": 2, "padding": ((2, 1), (1, 2))}
    )
    yield Sample("cropped", (make(1, 1, 9), make(1, 1, 3), None), {"padding": ((-2, 1),)})
    yield Sample("empty-batch", (_empty(t, 0, 2, 5), make(3, 2, 2), None), {}, "shapes")


@row("max_pool")
def _max_pool(t: DType) -> Iterator[Sample]:
    yield Sample("2d", (values.moderate(t, (2, 2, 6, 7)),), {"kernel": 2}, base=True)
    yield Sample(
        "overlapping", (values.moderate(t, (1, 2, 11)),), {"kernel": 3, "stride": 1, "padding": 1, "dilation": 2}
    )
    yield Sample("hard", (np.resize(values.hard(t), (1, 3, 40)),), {"kernel": 2, "stride": 1})
    yield Sample("3d", (values.moderate(t, (1, 1, 4, 4, 5)),), {"kernel": (2, 1, 2)})
    yield Sample("empty-batch", (_empty(t, 0, 2, 4),), {"kernel": 2}, "shapes")


@row("avg_pool")
def _avg_pool(t: DType) -> Iterator[Sample]:
    yield Sample("2d", (values.moderate(t, (2, 2, 6, 7)),), {"kernel": 2}, base=True)
    yield Sample("padded", (values.moderate(t, (1, 2, 11)),), {"kernel": 3, "stride": 2, "padding": 1})
    yield Sample("not-counted", (values.moderate(t, (1, 2, 11)),), {"kernel": 3, "padding": 1, "count_padding": False})
    yield Sample("empty-batch", (_empty(t, 0, 2, 4),), {"kernel": 2}, "shapes")


@row("attention")
def _attention(t: DType) -> Iterator[Sample]:
    q, k, v = (values.moderate(t, (2, 4, n, 8), name, low=-1, high=1) for n, name in ((5, "q"), (7, "k"), (7, "v")))
    allowed = values.generator("mask").integers(0, 4, (2, 1, 5, 7)) > 0
    yield Sample("plain", (q, k, v, None), base=True)
    yield Sample("causal", (q, k, v, None), {"causal": True})
    yield Sample("mask", (q, k, v, allowed), {"scale": 0.5})
    yield Sample("nothing-allowed", (q, k, v, np.zeros((5, 7), bool)))
    yield Sample("bias", (q, k, v, values.moderate(t, (5, 7), "bias", low=-1, high=1)))
    yield Sample("grouped", (q, k[:, :2], v[:, :2], None))
    yield Sample("no-keys", (q, k[:, :, :0], v[:, :, :0], None), {}, "shapes")
    yield Sample("no-queries", (q[:, :, :0], k, v, None), {}, "shapes")


def promotions(t: DType) -> list[tuple[DType, DType]]:
    """Return pairs of different dtypes that promote to a dtype, at most three."""
    pairs = [(a, b) for (a, b), result in PROMOTION.items() if result is t and a is not b]
    keep = {uint8, int8, int32, uint32, *FLOATS}
    chosen = [p for p in pairs if p[0] in keep or p[1] in keep]
    return chosen[:1] + chosen[len(chosen) // 2 : len(chosen) // 2 + 1] + chosen[-1:] if len(chosen) > 3 else chosen
