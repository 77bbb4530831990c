"""Attention, and the dense layer beside it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from ..core.arrays.array import Array
from ..core.arrays.views import broadcast_shapes
from ..core.dtypes import FLOATS, INTEGERS, DType, bool_, dtype, float32, int64
from ..core.errors import ArgumentError, ShapeError, shown
from ..core.kernel import ArraySpec
from ..core.op import Attributes, Inferred, Specs, Work
from . import rules
from .accuracy import EXACT, Composed
from .declare import composite
from .widening import narrow, widen


def _attention(name: str, specs: Specs, attributes: Attributes) -> Inferred:
    q, k, v, mask = specs
    if q is None or k is None or v is None:
        raise ShapeError(f"{name}: query, key and value are needed", op=name)
    for spec in (q, k, v):
        rules.check_dtype(name, spec.dtype, FLOATS)
        rules.check_dtype(name, spec.dtype, (q.dtype,), "key and value beside a query of another dtype")
    shapes = (q.shape, k.shape, v.shape)
    fits = (
        all(len(s) == 4 for s in shapes)
        and q.shape[0] == k.shape[0] == v.shape[0]
        and k.shape[1] == v.shape[1]
        and k.shape[1] > 0
        and q.shape[1] % k.shape[1] == 0
        and q.shape[3] == k.shape[3]
        and k.shape[2] == v.shape[2]
    )
    if not fits:
        raise ShapeError(
            f"{name}: query is (batch, heads, queries, depth), key (batch, key heads, keys, depth), value (batch, "
            f"key heads, keys, value depth), with heads a multiple of key heads; given {q}, {k}, {v}",
            op=name,
            shapes=shapes,
        )
    scores = (*q.shape[:3], k.shape[2])
    if mask is not None:
        rules.check_dtype(name, mask.dtype, (bool_, q.dtype), "masks")
        if broadcast_shapes(mask.shape, scores, where=name) != scores:
            raise ShapeError(
                f"{name}: mask {mask} does not broadcast to the scores {scores}", op=name, shape=mask.shape
            )
    scale = None if attributes["scale"] is None else rules.number(name, "scale", attributes["scale"])
    normal = {"causal": rules.flag(name, "causal", attributes["causal"]), "scale": scale}
    return Inferred((ArraySpec(q.dtype, (*q.shape[:3], v.shape[3])),), normal)


def _attention_work(specs: Specs, outputs: Sequence[ArraySpec], attributes: Attributes) -> Work:
    q, k = specs[0], specs[1]
    pairs = math.prod(q.shape[:3]) * k.shape[2] if q is not None and k is not None else 0
    depth = (q.shape[3] if q is not None else 0) + outputs[0].shape[3]
    return Work(2.0 * pairs * depth + 25.0 * pairs, rules.moved_bytes(specs, outputs))


@composite(
    infer=_attention, dtypes=FLOATS, accuracy=Composed(32, growth="terms", scale="operands"), work=_attention_work
)
def attention(
    ox: Any,
    query: Array,
    key: Array,
    value: Array,
    mask: Array | None = None,
    /,
    *,
    causal: bool = False,
    scale: float | None = None,
) -> Array:
    """Return scaled dot-product attention (Vaswani et al., arXiv:1706.03762), with grouped heads (arXiv:2305.13245).

    A query that may look at no key gets zeros.

    Args:
        query: ``(batch, heads, queries, depth)``.
        key: ``(batch, key heads, keys, depth)``; heads is a multiple of key heads.
        value: ``(batch, key heads, keys, value depth)``.
        mask: broadcasts to ``(batch, heads, queries, keys)``; bool (True may be looked at) or a bias of query's dtype.
        causal: query i looks at keys up to ``i + keys - queries``.
        scale: what scores are multiplied with; None for ``1 / sqrt(depth)``.

    >>> import opmux as ox
    >>> q = ox.ones((1, 1, 2, 4))
    >>> ox.attention(q, q, q).shape
    (1, 1, 2, 4)
    """
    batch, heads, queries, depth = query.shape
    key_heads, keys = key.shape[1], key.shape[2]
    factor = (1.0 / math.sqrt(depth) if depth else 1.0) if scale is None else scale
    grouped = ox.reshape(widen(ox, query) * factor, (batch, key_heads, heads // key_heads, queries, depth))
    k = ox.reshape(widen(ox, key), (batch, key_heads, 1, keys, depth))
    v = ox.reshape(widen(ox, value), (batch, key_heads, 1, keys, value.shape[3]))
    scores = ox.reshape(ox.matmul(grouped, ox.permute_dims(k, (0, 1, 2, 4, 3))), (batch, heads, queries, keys))
    if causal:
        last = ox.reshape(ox.iota((queries,), 0, dtype=int64, device=query.device) + (keys - queries), (queries, 1))
        scores = ox.where(ox.less_equal(ox.iota((keys,), 0, dtype=int64, device=query.device), last), scores, -math.inf)
    if mask is not None:
        masked = ox.where(mask, scores, -math.inf) if mask.dtype == bool_ else scores + widen(ox, mask)
        scores = masked
    if keys == 0:
        return ox.full((batch, heads, queries, value.shape[3]), 0.0, dtype=query.dtype, device=query.device)
    top = ox.max(scores, axis=-1, keepdims=True)
    terms = ox.exp(scores - ox.where(ox.equal(top, -math.inf), 0.0, top))
    total = ox.sum(terms, axis=-1, keepdims=True)
    weights = ox.reshape(
        terms / ox.where(ox.equal(total, 0.0), 1.0, total), (batch, key_heads, heads // key_heads, queries, keys)
    )
    result = ox.reshape(ox.matmul(weights, v), (batch, heads, queries, value.shape[3]))
    return narrow(ox, result, query)


def _linear(name: str, specs: Specs, attributes: Attributes) -> Inferred:
    x, weight, bias = rules.weighted(name, specs, FLOATS)
    if not x.shape or len(weight.shape) != 2 or x.shape[-1] != weight.shape[1]:
        raise ShapeError(
            f"{name}: x is (..., inputs) and weight (outputs, inputs); given {x} and {weight}",
            op=name,
            shapes=(x.shape, weight.shape),
        )
    if bias is not None and bias.shape != weight.shape[:1]:
        raise ShapeError(f"{name}: bias is (outputs,); given {bias} beside weight {weight}", op=name, shape=bias.shape)
    return Inferred((ArraySpec(x.dtype, (*x.shape[:-1], weight.shape[0])),), {})


def _linear_work(specs: Specs, outputs: Sequence[ArraySpec], attributes: Attributes) -> Work:
    weight = specs[1]
    return Work(
        2.0 * math.prod(outputs[0].shape) * (weight.shape[1] if weight is not None else 0),
        rules.moved_bytes(specs, outputs),
    )


@composite(infer=_linear, dtypes=FLOATS, accuracy=Composed(4, growth="terms", scale="operands"), work=_linear_work)
def linear(ox: Any, x: Array, weight: Array, bias: Array | None = None, /) -> Array:
    """Return ``x @ weight.T + bias``.

    Args:
        x: ``(..., inputs)``.
        weight: ``(outputs, inputs)``.
        bias: ``(outputs,)`` or None.

    >>> import opmux as ox
    >>> ox.linear(ox.ones((1, 3)), ox.ones((2, 3))).tolist()
    [[3.0, 3.0]]
    """
    rows = ox.reshape(widen(ox, x), (math.prod(x.shape[:-1]), x.shape[-1]))
    product = ox.matmul(rows, ox.permute_dims(widen(ox, weight), (1, 0)))
    result = ox.reshape(product, (*x.shape[:-1], weight.shape[0]))
    if bias is not None:
        result = result + widen(ox, bias)
    return narrow(ox, result, x)


def _one_hot(name: str, specs: Specs, attributes: Attributes) -> Inferred:
    (x,) = rules.present(specs)
    rules.check_dtype(name, x.dtype, INTEGERS)
    classes = attributes["classes"]
    if isinstance(classes, bool) or not isinstance(classes, int) or classes < 0:
        raise ArgumentError(f"{name}: classes={shown(classes)} is not a number of classes", op=name)
    chosen = float32 if attributes["dtype"] is None else dtype(attributes["dtype"])
    return Inferred((ArraySpec(chosen, (*x.shape, classes)),), {"classes": classes, "dtype": chosen})


@composite(infer=_one_hot, dtypes=INTEGERS, accuracy=EXACT)
def one_hot(ox: Any, x: Array, /, classes: int, *, dtype: DType | str | None = None) -> Array:
    """Return 1 at the class that each element names and 0 elsewhere, along a new last axis.

    An element outside of ``[0, classes)`` gives zeros only.

    Args:
        x: integer array.
        classes: length of the new axis.
        dtype: of the result; None for float32.

    >>> import opmux as ox
    >>> ox.one_hot(ox.asarray([1]), 3).tolist()
    [[0.0, 1.0, 0.0]]
    """
    numbers = ox.iota((classes,), 0, dtype=x.dtype, device=x.device)
    return ox.cast(ox.equal(ox.reshape(x, (*x.shape, 1)), numbers), float32 if dtype is None else dtype)
