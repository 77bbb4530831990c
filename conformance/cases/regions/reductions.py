"""Reductions with what comes before and after them, and the composites that frameworks normalise with."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from ....core import dtypes as t
from .chains import ALL, FLOATS, INTEGERS, NUMBERS
from .row import OPSET as ox
from .row import Function, Row, row

#: Around the edges of a warp, of what a thread holds, of a block, and more than a block takes at once.
_LENGTHS: Final = (1, 2, 31, 33, 255, 1025, 4099)
#: Axes of a rank 3 operand over which is reduced.
_AXES: Final[dict[str, int | tuple[int, ...] | None]] = {
    "last": -1, "first": 0, "middle": 1, "outer": (0, 2), "inner": (1, 2), "all": None,
}  # fmt: skip


def _plain_softmax(x: Any) -> Any:
    e = ox.exp(x - ox.max(x, axis=-1, keepdims=True))
    return e / ox.sum(e, axis=-1, keepdims=True)


def _plain_norm(x: Any, weight: Any) -> Any:
    centred = x - ox.mean(x, axis=-1, keepdims=True)
    return centred * ox.rsqrt(ox.mean(centred * centred, axis=-1, keepdims=True) + 1e-5) * weight


_ROWS: Final = (
    # The order of a sum is the opset's, whatever is fused into it.
    row("values", "sum-of-products", NUMBERS, "37x300, 37x300", lambda x, y: ox.sum(x * y, axis=-1)),
    row("values", "sum-of-exponentials", FLOATS, "37x300", lambda x: ox.sum(ox.exp(x * 0.5), axis=-1)),
    row("values", "sum-then-more", FLOATS, "37x300, 37", lambda x, y: ox.sqrt(ox.abs(ox.sum(x * x, axis=-1) - y))),
    row("values", "centred", FLOATS, "37x300", lambda x: x - ox.mean(x, axis=-1, keepdims=True)),
    row("values", "scaled-by-the-largest", FLOATS, "37x300",
        lambda x: x / ox.max(ox.abs(x), axis=-1, keepdims=True) * 0.5),
    row("values", "largest-and-smallest", NUMBERS, "37x300, 37x300",
        lambda x, y: (ox.max(x - y, axis=-1), ox.min(x - y, axis=-1))),
    row("values", "sum-and-largest", FLOATS, "37x300", lambda x: (ox.sum(x * 2.0, axis=-1), ox.max(x * 2.0, axis=-1))),
    row("values", "product", FLOATS, "37x30 positive", lambda x: ox.prod(x * 0.9, axis=-1) + 1.0),
    row("values", "integer-product", INTEGERS, "37x30", lambda x: ox.prod(x + 1, axis=-1) * 3),
    row("values", "position-of-the-largest", NUMBERS, "37x300 small, 37x300 small",
        lambda x, y: ox.argmax(x * y, axis=-1)),
    row("values", "position-of-the-smallest", FLOATS, "37x300, 37x300", lambda x, y: ox.argmin(x - y, axis=-1)),
    row("values", "all-and-any", NUMBERS, "37x300 small, 37x300 small",
        lambda x, y: (ox.all(ox.less_equal(x, y), axis=-1), ox.any(ox.less(x, y), axis=-1))),
    row("values", "truth", "bool", "37x300, 37x300", lambda x, y: ox.any(ox.logical_xor(x, y), axis=-1)),
    row("values", "truth-of-all", "bool", "37x300, 37x300", lambda x, y: ox.all(ox.logical_or(x, y), axis=-1)),
    row("values", "count", ALL, "37x300 small", lambda x: ox.sum(ox.cast(ox.cast(x, t.bool_), t.int32), axis=-1) * 2),
    row("values", "mean-of-mask", "bool", "37x300, 37x300 float32",
        lambda m, x: ox.sum(ox.where(m, x, 0.0), axis=-1) * 0.1),
    row("values", "wide-sum-of-narrow", "float16 bfloat16 int8", "37x300",
        lambda x: ox.sum(ox.cast(x, t.float32) * 2.0, axis=-1)),
    row("values", "narrow-result", FLOATS, "37x300", lambda x: ox.cast(ox.sum(x * x, axis=-1), t.float16) * 2.0),
    row("values", "softmax", FLOATS, "37x300", ox.softmax),
    row("values", "softmax-in-steps", FLOATS, "37x300", _plain_softmax),
    row("values", "softmax-of-scores", FLOATS, "4x9x65, 65", lambda x, y: ox.softmax(x * 0.125 + y)),
    row("values", "log-softmax", FLOATS, "37x300", lambda x: ox.log_softmax(x) * -1.0),
    row("values", "logsumexp", FLOATS, "37x300", lambda x: ox.logsumexp(x, axis=-1)),
    row("values", "variance", FLOATS, "37x300", lambda x: ox.var(x, axis=-1)),
    row("values", "deviation", FLOATS, "37x300", lambda x: ox.std(x, axis=-1, correction=1.0)),
    row("values", "layer-norm", FLOATS, "37x300, 300, 300", ox.layer_norm),
    row("values", "layer-norm-in-steps", FLOATS, "37x300, 300", _plain_norm),
    row("values", "layer-norm-of-a-sum", FLOATS, "37x300, 37x300, 300",
        lambda x, y, w: (x + y, ox.layer_norm(x + y, w) * 2.0)),
    row("values", "two-epsilons", FLOATS, "37x65", lambda x: ox.rms_norm(x, epsilon=1e-5),
        lambda x: ox.rms_norm(x, epsilon=1e-1)),
    row("values", "rms-norm", FLOATS, "37x300, 300", ox.rms_norm),
    row("values", "rms-norm-and-gate", FLOATS, "37x300, 300, 37x300", lambda x, w, y: ox.rms_norm(x, w) * ox.silu(y)),
    row("values", "wide-norm-of-narrow", "float16 bfloat16", "37x300, 300",
        lambda x, w: ox.cast(ox.rms_norm(ox.cast(x, t.float32)), x.dtype) * w),
    row("special", "softmax-of-hard-values", FLOATS, "60x33 hard", ox.softmax),
    row("special", "softmax-far-from-zero", FLOATS, "60x33 far", ox.softmax),
    row("special", "softmax-of-a-masked-row", FLOATS, "6x33 small",
        lambda x: ox.softmax(ox.where(ox.less(x, 5.0), float("-inf"), x))),
    row("special", "sum-of-hard-values", FLOATS, "60x33 hard, 60x33", lambda x, y: ox.sum(x * y, axis=-1)),
    row("special", "extremes-of-hard-values", FLOATS, "60x5 hard, 60x5 hard",
        lambda x, y: (ox.max(x * y, axis=-1), ox.min(x * y, axis=-1))),
    row("special", "zeros-of-both-signs", FLOATS, "60x3 small", lambda x: (ox.max(x * 0.0, axis=-1),
        ox.sum(x * 0.0, axis=-1))),
    row("special", "positions-beside-nan", FLOATS, "60x5 hard, 60x5 hard", lambda x, y: ox.argmax(x * y, axis=-1)),
    row("special", "hard-integers", INTEGERS, "60x33 hard", lambda x: (ox.max(x * 3, axis=-1), ox.sum(x * 3, axis=-1))),
    row("shapes", "no-terms", NUMBERS, "5x0, 5x1", lambda x, y: ox.sum(x * y, axis=-1)),
    row("shapes", "no-rows", FLOATS, "0x5", ox.softmax),
    row("shapes", "one-element", FLOATS, "1x1", ox.layer_norm),
    row("shapes", "line-to-a-number", NUMBERS, "700, 700", lambda x, y: ox.sum(x * y)),
    row("shapes", "one-row", FLOATS, "1x1000", lambda x: ox.softmax(x * 0.5)),
    row("shapes", "many-short-rows", FLOATS, "300x3", lambda x: ox.softmax(x * 0.5)),
    row("shapes", "first-axis-of-softmax", FLOATS, "65x33", lambda x: ox.softmax(x, axis=0)),
    row("shapes", "two-axes-of-softmax", FLOATS, "7x9x33", lambda x: ox.softmax(x, axis=(1, 2))),
    row("shapes", "repeated-beside-rows", FLOATS, "37x1, 1x300", lambda x, y: ox.sum(x + y, axis=-1)),
    row("shapes", "turned-before", NUMBERS, "65x33", lambda x: ox.sum(ox.permute_dims(x * 2, (1, 0)), axis=-1)),
    row("shapes", "reshaped-before", NUMBERS, "12x7x5", lambda x: ox.sum(ox.reshape(x * 2, (12, 35)), axis=-1)),
    row("shapes", "one-after-the-other", FLOATS, "9x10x33", lambda x: ox.max(ox.sum(x * 2.0, axis=-1), axis=-1)),
    row("strides", "transposed-rows", FLOATS, "65x33 transposed, 33 step", lambda x, y: ox.softmax(x * y)),
    row("strides", "rows-backwards", FLOATS, "65x33 negative, 33 mirrored", ox.layer_norm),
    row("strides", "rows-with-gaps", FLOATS, "65x33 offset, 65x33 step", lambda x, y: ox.rms_norm(x * y)),
    row("strides", "one-row-repeated", NUMBERS, "65x33 zero, 65x33", lambda x, y: ox.sum(x * y, axis=-1)),
    row("strides", "first-axis-of-transposed", NUMBERS, "65x33 transposed", lambda x: ox.sum(x * 2, axis=0)),
    row("large", "line-to-a-number", "float32 bfloat16", "100003", lambda x: ox.sum(x * x)),
    row("large", "long-rows", "float32 float16", "3x20011", ox.softmax),
    row("large", "many-rows", "float32", "2003x17", ox.layer_norm),
)  # fmt: skip


def _over(axis: int | tuple[int, ...] | None, *, keepdims: bool) -> Function:
    return lambda x, y: ox.sum(x * y, axis=axis, keepdims=keepdims) * 2


def rows() -> Iterator[Row]:
    """Return every graph of the suite with a reduction and without a product of matrices."""
    yield from _ROWS
    for name, axis in _AXES.items():
        kept, dropped = (_over(axis, keepdims=k) for k in (True, False))
        yield row("shapes", f"{name}-axes", NUMBERS, "9x10x33, 9x10x33", dropped)
        yield row("shapes", f"{name}-axes-kept", "float32 int32", "9x10x33, 9x10x33", kept)
    for n in _LENGTHS:
        yield row("shapes", f"rows-of-{n}", "float32 float16 bfloat16", f"5x{n}", ox.softmax)
        yield row("shapes", f"sum-of-{n}", "float32 int32", f"5x{n}", lambda x: ox.sum(x * x, axis=-1))
