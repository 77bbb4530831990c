"""The canonical orders of sums, products and matrix products, with a NumPy reference for their bits.

**Sum and product.** The n terms stand in logical (row-major) order over the reduced axes, whatever the
strides. They are cut into blocks of :data:`BLOCK`. Within a block, term i goes to lane ``i % LANES``;
each lane starts from the identity (+0, or 1) and takes its terms in ascending order. The lanes of a block
are folded in halves: lane l with lane l + LANES/2, then l with l + LANES/4, down to one. The blocks'
values are combined by a binary tree over the block number: neighbours (0, 1), (2, 3), ... first, then
those pairs' values likewise; a value without a partner goes up unchanged. float16 and bfloat16
are widened to float32 before and rounded once at the end; every other dtype accumulates in the result's dtype.

Missing terms may be replaced by the identity without changing a bit: in a sum no lane is ever -0. Of complex numbers
this holds for sums alone, since ``(1 + 0i) * inf`` has a NaN. A product of them has no identity: a lane starts with its
first term, a lane or a block without a term is not there, and what has no partner goes up unchanged. Each product of
two is that of :func:`multiplied`: four products, a subtraction and an addition, rounded one by one, none of them fused.

**Matrix product.** k is cut into blocks of :data:`MATMUL_BLOCK`, the last as short as it comes. Each block is
one chain of fused multiply-adds from +0, in ascending k. The result is the first block's value, to which the
later ones are added in ascending order; +0 where k is 0. Of complex matrices no order is fixed.

**Cumulative sum and product.** One chain along the axis, starting with the first term.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import numpy as np
from numpy.typing import DTypeLike, NDArray

from .complex_product import multiplied
from .recipes.fused import fma
from .recipes.program import NUMPY_TYPES

Array = NDArray[Any]
Axis = int | tuple[int, ...] | None

#: Accumulators within a block: eight 512-bit registers of float64, four of float32.
LANES: Final = 64
#: Terms per block; a lane's chain is BLOCK / LANES long, which bounds the error.
BLOCK: Final = 1024
#: Length of a matrix product's chains.
MATMUL_BLOCK: Final = 512


def accumulator(dtype: np.dtype[Any]) -> np.dtype[Any]:
    """The dtype in which a sum, product or matrix product of this result dtype is carried out."""
    narrow = (NUMPY_TYPES["float16"], NUMPY_TYPES["bfloat16"])
    return np.dtype(np.float32) if dtype in narrow else dtype


def _fold(terms: Array, combine: Callable[[Array, Array], Array], identity: int) -> Array:
    """Fold the last axis in the canonical order."""
    *outer, n = terms.shape
    blocks = 1
    while blocks * BLOCK < n:
        blocks *= 2
    full = np.full((*outer, blocks * BLOCK), identity, terms.dtype)
    full[..., :n] = terms
    chains = full.reshape(*outer, blocks, BLOCK // LANES, LANES)
    lanes = np.full((*outer, blocks, LANES), identity, terms.dtype)
    for j in range(BLOCK // LANES):
        lanes = combine(lanes, chains[..., j, :])
    width = LANES
    while width > 1:
        width //= 2
        lanes = combine(lanes[..., :width], lanes[..., width : 2 * width])
    values = lanes[..., 0]
    while values.shape[-1] > 1:
        values = combine(values[..., 0::2], values[..., 1::2])
    return values[..., 0]


def _fold_there(terms: Array) -> Array:
    """Multiply the last axis in the canonical order without an identity, in terms that are there or not; 1 of none."""
    kind = np.dtype([("value", terms.dtype), ("there", np.bool_)])
    given = np.empty(terms.shape, kind)
    given["value"], given["there"] = terms, True

    def joined(x: Array, y: Array) -> Array:
        both = x["there"] & y["there"]
        made = np.where(y["there"], y, x)
        made["value"] = np.where(both, multiplied(x["value"], y["value"]), made["value"])
        return made

    made = _fold(given, joined, 0)
    return np.where(made["there"], made["value"], terms.dtype.type(1))


def _over(x: Array, axis: Axis) -> Array:
    """Move the reduced axes to the end and flatten them, in row-major order."""
    axes = tuple(range(x.ndim)) if axis is None else axis if isinstance(axis, tuple) else (axis,)
    reduced = tuple(sorted(a % x.ndim for a in axes))
    kept = tuple(a for a in range(x.ndim) if a not in reduced)
    moved = x.transpose(kept + reduced)
    n = int(np.prod([x.shape[a] for a in reduced], dtype=np.int64))
    return moved.reshape(*(x.shape[a] for a in kept), n)


def _reduce(x: Array, axis: Axis, dtype: DTypeLike | None, ufunc: np.ufunc, identity: int) -> Array:
    result = np.dtype(x.dtype if dtype is None else dtype)
    with np.errstate(all="ignore"):
        terms = _over(x.astype(accumulator(result)), axis)
        if ufunc is np.multiply and terms.dtype.kind == "c":
            return np.asarray(_fold_there(terms))
        return np.asarray(_fold(terms, ufunc, identity)).astype(result)


def canonical_sum(x: Array, axis: Axis = None, *, dtype: DTypeLike | None = None) -> Array:
    """Sum over axes in the canonical order.

    Args:
        x: any array of a numeric dtype.
        axis: an axis, several, or None for all.
        dtype: the result's dtype, by default that of `x`; integers wrap in it.

    >>> float(canonical_sum(np.arange(5000, dtype=np.float32)))
    12497500.0
    """
    return _reduce(x, axis, dtype, np.add, 0)


def canonical_prod(x: Array, axis: Axis = None, *, dtype: DTypeLike | None = None) -> Array:
    """Multiply over axes in the canonical order; arguments as for :func:`canonical_sum`.

    >>> int(canonical_prod(np.array([2, 3, 7])))
    42
    """
    return _reduce(x, axis, dtype, np.multiply, 1)


def _cumulate(x: Array, axis: int, dtype: DTypeLike | None, ufunc: np.ufunc) -> Array:
    result = np.dtype(x.dtype if dtype is None else dtype)
    with np.errstate(all="ignore"):
        terms = x.astype(accumulator(result))
        if ufunc is np.multiply and terms.dtype.kind == "c":
            return _chained(terms, axis)
        chain: Array = ufunc.accumulate(terms, axis=axis)
        return chain.astype(result)


def _chained(terms: Array, axis: int) -> Array:
    """Running products of complex numbers, each the one before times its own term."""
    made = terms.copy()
    rows = np.moveaxis(made, axis, 0)
    for i in range(1, len(rows)):
        rows[i] = multiplied(rows[i - 1], rows[i])
    return made


def canonical_cumulative_sum(x: Array, axis: int = -1, *, dtype: DTypeLike | None = None) -> Array:
    """Running sums along one axis; `dtype` as for :func:`canonical_sum`.

    >>> canonical_cumulative_sum(np.array([1, 2, 3])).tolist()
    [1, 3, 6]
    """
    return _cumulate(x, axis, dtype, np.add)


def canonical_cumulative_prod(x: Array, axis: int = -1, *, dtype: DTypeLike | None = None) -> Array:
    """Running products along one axis; `dtype` as for :func:`canonical_sum`.

    >>> canonical_cumulative_prod(np.array([1, 2, 3])).tolist()
    [1, 2, 6]
    """
    return _cumulate(x, axis, dtype, np.multiply)


def canonical_matmul(a: Array, b: Array, *, dtype: DTypeLike | None = None) -> Array:
    """Multiply matrices in the canonical order.

    Args:
        a: shape (..., m, k).
        b: shape (..., k, n), of the same dtype; leading axes broadcast.
        dtype: the result's dtype, by default that of the operands; integers wrap in it, float16 and
            bfloat16 operands are widened to float32.

    Raises:
        ValueError: of complex matrices, of which no order is fixed.

    >>> canonical_matmul(np.eye(2), np.array([[1.0, 2.0], [3.0, 4.0]])).tolist()
    [[1.0, 2.0], [3.0, 4.0]]
    """
    result = np.dtype(np.result_type(a, b) if dtype is None else dtype)
    inner = accumulator(result)
    with np.errstate(all="ignore"):
        a, b = a.astype(inner), b.astype(inner)
        if inner.kind == "c":
            raise ValueError(f"no canonical order is fixed for products of {result} matrices")
        if inner.kind != "f":
            return np.asarray(np.matmul(a, b))
        shape = (*np.broadcast_shapes(a.shape[:-2], b.shape[:-2]), a.shape[-2], b.shape[-1])
        total = np.zeros(shape, inner)
        for start in range(0, a.shape[-1], MATMUL_BLOCK):
            chain = np.zeros(shape, inner)
            for k in range(start, min(start + MATMUL_BLOCK, a.shape[-1])):
                chain = fma(a[..., :, k, None], b[..., None, k, :], chain)
            total = chain if start == 0 else total + chain
        return total.astype(result)
