"""Calls for the determinism classes: large enough to be split among threads, and rows within batches."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np

from ....core.dtypes import STORAGE, DType
from ....core.op import Op
from ...oracle.formats import Host
from .. import values
from ..samples.sample import Operands, Sample, operand_dtypes
from ..samples.shared import gentle

#: Elements of a vector that backends split among threads, a few beyond a multiple of every vector.
VECTOR: Final = 70_003
#: How many rows a batch has, and where among them the row stands that is compared.
PLACES: Final = ((1, 0), (2, 1), (3, 0), (17, 8), (67, 66), (130, 129))


@dataclass(frozen=True)
class Batch:
    """A call on one row, which may stand anywhere in a batch.

    Attributes:
        label: what the rows are.
        operands: with length 1 along the axis of the batch.
        axes: of each operand, the axis of the batch; None for one that all rows share.
        result: the axis of the batch in the result.
        attributes: of the call.
        places: how many rows, and where the row stands.
    """

    label: str
    operands: Operands
    axes: tuple[int | None, ...]
    result: int
    attributes: Mapping[str, Any] = field(default_factory=dict)
    places: tuple[tuple[int, int], ...] = PLACES

    def placed(self, rows: int, at: int) -> Operands:
        """Return the operands of a batch with the row at one place and something else at every other."""
        return tuple(
            x if x is None or axis is None else _among(x, axis, rows, at)
            for x, axis in zip(self.operands, self.axes, strict=True)
        )

    def picked(self, result: Host, at: int) -> Host:
        """Return the row's part of a result."""
        return np.ascontiguousarray(np.take(result, at, axis=self.result))


def _among(x: Host, axis: int, rows: int, at: int) -> Host:
    others = np.repeat(x, rows, axis=axis)
    rng = values.generator("others", rows, at, x.shape)
    shuffled = rng.permuted(others.view(f"V{x.dtype.itemsize}").reshape(-1)).view(x.dtype).reshape(others.shape)
    made = np.moveaxis(shuffled, axis, 0)
    if x.dtype.kind not in "iub" and rows > 1:
        made[::3] = np.array(np.nan).astype(x.dtype)
        made[1::3] = np.array(np.inf).astype(x.dtype)
    made[at] = np.moveaxis(x, axis, 0)[0]
    return np.ascontiguousarray(shuffled)


def full_range(t: DType, n: int, *seed: object) -> Host:
    """Return n values over every exponent, hard ones among them."""
    drawn = np.concatenate([values.hard(t), values.stratified(t, n, *seed)])
    return np.resize(drawn, (n,))


def vectors(op: Op, t: DType, n: int) -> Operands:
    """Return operands of an elementwise op, of one length."""
    return tuple(full_range(x, n, op.name, i) for i, x in enumerate(operand_dtypes(op, t)))


def _sums(t: DType) -> Iterator[Sample]:
    yield Sample("rows", (values.moderate(t, (7, 20_011), "rows"),), {"axis": 1})
    yield Sample("columns", (values.moderate(t, (5_003, 19), "columns"),), {"axis": 0})
    yield Sample("all", (values.moderate(t, (VECTOR,), "all"),), {"axis": None})


def _products(t: DType) -> Iterator[Sample]:
    yield Sample("rows", (gentle(t, (7, 2_011), "rows"),), {"axis": 1})
    yield Sample("columns", (gentle(t, (1_003, 19), "columns"),), {"axis": 0})


def _scans(t: DType) -> Iterator[Sample]:
    yield Sample("rows", (values.moderate(t, (5, 5_003), "rows", low=0.5, high=1.5),), {"axis": 1})
    yield Sample("columns", (values.moderate(t, (1_003, 67), "columns", low=0.5, high=1.5),), {"axis": 0})


def _matrices(t: DType) -> Iterator[Sample]:
    # More than two blocks of the canonical order along k, and enough work for several threads.
    slow = t.name not in ("float32", "float64", "complex64", "complex128")
    m, n = (40, 45) if slow else (260, 270)
    yield Sample("large", (values.moderate(t, (m, 1029), "a"), values.moderate(t, (1029, n), "b")))
    yield Sample("batches", (values.moderate(t, (9, 17, 70), "a"), values.moderate(t, (9, 70, 23), "b")))
    yield Sample("column", (values.moderate(t, (1000, 130), "a"), values.moderate(t, (130, 1), "b")))


LARGE: Final[dict[str, Callable[[DType], Iterator[Sample]]]] = {
    **dict.fromkeys(("sum", "mean", "var", "std", "logsumexp", "max", "min", "any", "all"), _sums),
    "prod": _products,
    **dict.fromkeys(("cumulative_sum", "cumulative_prod"), _scans),
    **dict.fromkeys(("softmax", "log_softmax", "layer_norm", "rms_norm"), _scans),
    "matmul": _matrices,
}


def large(op: Op, t: DType) -> list[Sample]:
    """Return calls that are large enough to be split among threads; none for ops that have only small samples."""
    if "elementwise" in op.facts and op.name != "clip":
        return [Sample("vector", vectors(op, t, VECTOR))]
    return list(LARGE[op.name](t)) if op.name in LARGE else []


def _reduced(op: Op, t: DType) -> Iterator[Batch]:
    make = gentle if op.name in ("prod", "cumulative_prod") else values.moderate
    scan = op.name.startswith("cumulative") or op.name in ("softmax", "log_softmax", "layer_norm", "rms_norm")
    for n in (5, 1500):
        yield Batch(f"rows of {n}", (make(t, (1, n), "row"), *_none(op)), (0, *_none(op)), 0, {"axis": 1})
        place = 1 if scan else 0
        yield Batch(f"columns of {n}", (make(t, (n, 1), "column"), *_none(op)), (1, *_none(op)), place, {"axis": 0})


def _none(op: Op) -> tuple[None, ...]:
    return (None,) * (op.operand_count - 1)


def _products_of_matrices(op: Op, t: DType) -> Iterator[Batch]:
    def make(*shape: int) -> Host:
        return values.moderate(t, shape, "batch")

    yield Batch("rows", (make(1, 600), make(600, 37)), (0, None), 0)
    yield Batch("columns", (make(19, 600), make(600, 1)), (None, 1), 1)
    yield Batch("rows of one column", (make(1, 70), make(70, 1)), (0, None), 0)
    yield Batch("matrices", (make(1, 9, 40), make(1, 40, 21)), (0, 0), 0, places=PLACES[:4])


def _of_images(op: Op, t: DType) -> Iterator[Batch]:
    places = PLACES[:4]
    image = values.moderate(t, (1, 2, 6, 7), "image", low=-2, high=2)
    if op.name == "conv":
        weight = values.moderate(t, (3, 2, 3, 2), "weight", low=-2, high=2)
        yield Batch("images", (image, weight, None), (0, None, None), 0, places=places)
    else:
        yield Batch("images", (image,), (0,), 0, {"kernel": 2}, places)


def _of_attention(op: Op, t: DType) -> Iterator[Batch]:
    q, k, v = (values.moderate(t, (1, 4, n, 8), s, low=-1, high=1) for n, s in ((5, "q"), (7, "k"), (7, "v")))
    yield Batch("batch", (q, k, v, None), (0, 0, 0, None), 0, places=PLACES[:4])


def _of_linear(op: Op, t: DType) -> Iterator[Batch]:
    x, w = values.moderate(t, (1, 600), "x"), values.moderate(t, (9, 600), "w")
    yield Batch("rows", (x, w, None), (0, None, None), 0)


def _of_scatter(op: Op, t: DType) -> Iterator[Batch]:
    x, updates = values.moderate(t, (5, 1), "x"), values.moderate(t, (40, 1), "updates")
    at = values.generator("places").integers(0, 5, 40)
    reduction = "set" if t.kind == STORAGE else "add"
    yield Batch("columns", (x, at, updates), (1, None, 1), 1, {"axis": 0, "reduction": reduction})


_BATCHES: Final[dict[str, Callable[[Op, DType], Iterator[Batch]]]] = {
    **dict.fromkeys(
        (
            "sum", "prod", "cumulative_sum", "cumulative_prod", "mean", "var", "std", "logsumexp",
            "softmax", "log_softmax", "layer_norm", "rms_norm",
        ),
        _reduced,
    ),
    "matmul": _products_of_matrices,
    "conv": _of_images,
    "avg_pool": _of_images,
    "attention": _of_attention,
    "linear": _of_linear,
    "scatter": _of_scatter,
}  # fmt: skip


def batches(op: Op, t: DType) -> list[Batch]:
    """Return the rows of an op that combines terms."""
    found = _BATCHES.get(op.name)
    return [] if found is None else list(found(op, t))


def shifted(line: Operands, shift: int, size: int) -> Operands:
    """Return vectors of a size in which a line starts at an offset, between other values."""
    made: list[Host | None] = []
    for x in line:
        if x is None:
            made.append(None)
            continue
        y = np.resize(x[::-1], (size,))
        y[shift : shift + x.size] = x
        made.append(y)
    return tuple(made)


def offsets(n: int) -> Iterator[tuple[int, int]]:
    """Return (offset, size) for a line of n elements: every place in a vector register, tails, far into a block."""
    for shift in range(17):
        yield shift, n + shift + (shift * 7) % 19
    for shift in (4096, VECTOR - n):
        yield shift, VECTOR


def thinned(sample: Sample, most: int) -> Sample:
    """Return an elementwise sample with at most so many elements, hard values first."""
    shapes = {x.shape for x in sample.operands if x is not None}
    if len(shapes) != 1 or len(shape := shapes.pop()) != 1 or math.prod(shape) <= most:
        return sample
    n = shape[0]
    at = np.unique(np.append(np.arange(min(n, most // 2)), np.linspace(0, n - 1, most // 2).astype(np.int64)))
    return Sample(sample.label, tuple(None if x is None else x[at] for x in sample.operands), sample.attributes)
