"""Samples of composites that are not elementwise, and of elementwise ones whose operands are special."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from ....core.dtypes import REAL, DType, int8
from ...oracle.formats import Host
from .. import values
from .sample import Sample, row
from .shared import CUBE, LONG, empty


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
    yield Sample("empty", (empty(t, 0), low, high), kind="shapes")
    if t.kind == REAL:
        nan, line = np.array(np.nan).astype(t.numpy), values.moderate(t, (37,), "nan")
        yield Sample("nan-min", (line, nan, high))
        yield Sample("nan-max", (line, low, nan))
        some = tuple(np.where(np.arange(37) % n, line, nan) for n in (3, 4))
        yield Sample("nan-bounds", (line, *some))
    ends = values.hardest(t)
    yield Sample("hard-bounds", (table[:, None, None], ends[::3][:, None], ends[1::3]))


@row("gelu")
def _gelu(t: DType) -> Iterator[Sample]:
    x = np.concatenate(
        [values.rounded(np.array([0.0, -0.0, np.inf, np.nan, 1e-3]), t), values.moderate(t, (700,), low=-12, high=12)]
    )
    yield Sample("", (x,))
    yield Sample("approximate", (x,), {"approximate": True})
    yield Sample("grid", (values.moderate(t, (5, 9)),), base=True)
    yield Sample("0d", (values.moderate(t, ()),), kind="shapes")
    yield Sample("empty", (empty(t, 0, 3),), kind="shapes")


@row("silu")
def _silu(t: DType) -> Iterator[Sample]:
    x = np.concatenate(
        [values.rounded(np.array([0.0, -0.0, np.inf, np.nan]), t), values.moderate(t, (700,), low=-80, high=80)]
    )
    yield Sample("", (x,))
    yield Sample("grid", (values.moderate(t, (5, 9)),), base=True)
    yield Sample("0d", (values.moderate(t, ()),), kind="shapes")
    yield Sample("empty", (empty(t, 0, 3),), kind="shapes")


def _over_axis(t: DType) -> Iterator[Sample]:
    yield Sample("last", (values.moderate(t, (5, 9)),), base=True)
    yield Sample("axis0", (values.moderate(t, (33, 4), low=-10, high=10),), {"axis": 0})
    yield Sample("axes", (values.moderate(t, CUBE),), {"axis": (0, 2)})
    yield Sample("long", (values.moderate(t, (2, 1030)),))
    yield Sample("one", (values.moderate(t, (4, 1)),), {}, "shapes")
    yield Sample("empty", (empty(t, 0, 3),), {}, "shapes")
    yield Sample("empty-axis", (empty(t, 3, 0),), {}, "shapes")


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
    cube = values.moderate(t, CUBE)
    yield Sample("axis1", (cube,), {"axis": 1}, base=True)
    yield Sample("all", (cube,), {"axis": None})
    yield Sample("axes-keepdims", (cube,), {"axis": (-1, 0), "keepdims": True})
    yield Sample("long", (values.moderate(t, LONG),), {})
    yield Sample("0d", (values.moderate(t, ()),), {}, "shapes")
    yield Sample("empty-result", (empty(t, 0, 3),), {"axis": 1}, "shapes")


@row("mean")
def _mean(t: DType) -> Iterator[Sample]:
    yield from _statistic(t)
    yield Sample("empty", (empty(t, 0),), {}, "shapes")


def _spread(t: DType) -> Iterator[Sample]:
    yield from _statistic(t)
    yield Sample("correction", (values.moderate(t, CUBE),), {"axis": 1, "correction": 1.0})
    yield Sample("empty", (empty(t, 0),), {}, "shapes")


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
    yield Sample("empty", (empty(t, 0, 9), w, None), kind="shapes")


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
    yield Sample("empty-batch", (empty(t, 0, 2, 5), make(3, 2, 2), None), {}, "shapes")


@row("max_pool")
def _max_pool(t: DType) -> Iterator[Sample]:
    yield Sample("2d", (values.moderate(t, (2, 2, 6, 7)),), {"kernel": 2}, base=True)
    yield Sample(
        "overlapping", (values.moderate(t, (1, 2, 11)),), {"kernel": 3, "stride": 1, "padding": 1, "dilation": 2}
    )
    yield Sample("hard", (np.resize(values.hard(t), (1, 3, 40)),), {"kernel": 2, "stride": 1})
    yield Sample("3d", (values.moderate(t, (1, 1, 4, 4, 5)),), {"kernel": (2, 1, 2)})
    yield Sample("empty-batch", (empty(t, 0, 2, 4),), {"kernel": 2}, "shapes")


@row("avg_pool")
def _avg_pool(t: DType) -> Iterator[Sample]:
    yield Sample("2d", (values.moderate(t, (2, 2, 6, 7)),), {"kernel": 2}, base=True)
    yield Sample("padded", (values.moderate(t, (1, 2, 11)),), {"kernel": 3, "stride": 2, "padding": 1})
    yield Sample("not-counted", (values.moderate(t, (1, 2, 11)),), {"kernel": 3, "padding": 1, "count_padding": False})
    yield Sample("empty-batch", (empty(t, 0, 2, 4),), {"kernel": 2}, "shapes")


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
