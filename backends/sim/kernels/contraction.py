"""Matrix products: on the matrix unit in the order in which its cells accumulate, on the vector unit canonically.

A cell multiplies and adds with one rounding into its accumulator. Where outputs stay in the cells, the whole of k is
one chain; where weights or inputs stay, a column of the array adds as many terms as it has rows, and the accumulators
add those sums in their order. float16 and bfloat16 operands are widened to float32 and the result is rounded once.
Chains of :data:`MATMUL_BLOCK` are the canonical order.

float64 is the exception: a cell rounds its products before it adds them. NumPy has no fused multiply-add; of
float64 it would take many passes over the data, and for rare operands integers of any length.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any, Final

import numpy as np

from ....plugin import CallSpec, CostTerms, Determinism, Promises, evaluate, orders, recipe
from ..hardware import Description, MatrixUnit
from ..memory import Host
from .rows import CANONICAL, FLOATS, INTEGERS, NARROW, NUMBERS, Bind, Compute, Row, Unit

DOUBLE: Final = frozenset({"float64"})
SINGLE: Final = FLOATS - DOUBLE
#: Elements of the result that are worked on at a time, so that they stay in a cache.
_TILE: Final = 1 << 15
#: float64 holds integers up to here, so that sums of products below it are exact in any order.
_EXACT: Final = 1 << 53
#: The smallest normal number of float32: a product of two 16-bit floats that is not below it is exact.
_NORMAL: Final = 2.0**-126


def rows(description: Description) -> tuple[Row, ...]:
    """Return the kernels of the matrix unit, and that of the vector unit for all else and where the order counts."""
    matrix, made = description.matrix, []
    multiplied = frozenset() if matrix is None else frozenset(matrix.precisions)
    if matrix is not None:
        length = chain_length(matrix)
        for name, taken in (("integers", INTEGERS), ("floats", SINGLE), ("doubles", DOUBLE)):
            promises = _kept(length, taken)
            made.append(Row("matmul", _product(length), (taken & multiplied,), Unit.MATRIX, promises, f"matmul.{name}"))
    block, cost = orders.MATMUL_BLOCK, _vector_cost(description)
    for name, taken in (
        ("vector", NUMBERS - DOUBLE - (multiplied & INTEGERS)),
        ("vector.doubles", DOUBLE - multiplied),
    ):
        made.append(
            Row("matmul", _product(block), (taken,), promises=_kept(block, taken), name=f"matmul.{name}", cost=cost)
        )
    return tuple(made)


def _kept(length: int | None, taken: frozenset[str]) -> Promises:
    """Return the order that chains of a length keep, on these dtypes: integers are exact in any."""
    if taken <= INTEGERS or (length == orders.MATMUL_BLOCK and taken.isdisjoint(DOUBLE)):
        return CANONICAL
    unfused = "" if taken.isdisjoint(DOUBLE) else "-unfused"
    return Promises(order=f"chains-{length or 'k'}{unfused}", determinism=Determinism.BATCH)


def chain_length(matrix: MatrixUnit) -> int | None:
    """Return how many terms one chain of a matrix unit adds; None for all of them."""
    return None if matrix.dataflow == "os" else matrix.rows


def _vector_cost(description: Description) -> CostTerms:
    """Return the shares that the vector unit has of the best rates, where the matrix unit is faster."""
    shares = {t: replace(description, matrix=None).peak_operations(t) for t in NUMBERS}
    best = {t: description.peak_operations(t) for t in NUMBERS}
    return CostTerms(compute_for={t: share / best[t] for t, share in shares.items() if 0 < share < best[t]})


def _product(length: int | None) -> Bind:
    def bind(spec: CallSpec) -> Compute:
        def compute(out: Host, x: Host, y: Host) -> None:
            if out.dtype.kind in "iu":
                out[...] = _integers(x, y, out.dtype)
            else:
                out[...] = chains(x, y, length).astype(out.dtype)

        return compute

    return bind


def _integers(x: Host, y: Host, result: np.dtype[Any]) -> Host:
    """Multiply integers, which wrap; narrow ones by way of the host's fast product of doubles, exact there."""
    if (1 << 16 * x.dtype.itemsize) * x.shape[-1] < _EXACT:
        whole: Host = np.matmul(x.astype(np.float64), y.astype(np.float64)).astype(np.int64)
        return whole.astype(result)
    return np.asarray(np.matmul(x.astype(result), y.astype(result)))


def chains(x: Host, y: Host, length: int | None) -> Host:
    """Multiply matrices of floats in chains of multiply-adds, fused but for float64, in the accumulator's dtype.

    Args:
        x, y: shapes (..., m, k) and (..., k, n), of one dtype.
        length: terms per chain; the chains' values are added in ascending order. None for one chain.

    >>> chains(np.eye(2, dtype=np.float32), np.ones((2, 2), np.float32), None).tolist()
    [[1.0, 1.0], [1.0, 1.0]]
    """
    inner = np.dtype(np.float32) if x.dtype.name in NARROW else x.dtype
    k, n = x.shape[-1], y.shape[-1]
    a, b = x.astype(inner), y.astype(inner)
    fused = _fused(a, b, narrow=x.dtype.name in NARROW)
    total = np.zeros((*x.shape[:-1], n), inner)
    batch = math.prod(x.shape[:-2])
    high = max(1, _TILE // max(1, batch * n))
    with np.errstate(all="ignore"):
        for row in range(0, x.shape[-2], high):
            part = slice(row, row + high)
            for start in range(0, k, length or max(k, 1)):
                chain = np.zeros_like(total[..., part, :])
                for i in range(start, min(start + (length or k), k)):
                    chain = fused(a[..., part, i, None], b[..., None, i, :], chain)
                total[..., part, :] = chain if start == 0 else total[..., part, :] + chain
    return total


def _fused(a: Host, b: Host, *, narrow: bool) -> Callable[[Host, Host, Host], Host]:
    """Return the cheapest way to a fused multiply-add of some operands.

    Products of 16-bit floats are exact in float32 unless they are subnormal, so that a product and a sum are one.
    """
    program = recipe("fma", ("float32",) * 3)
    if program is None or a.dtype != np.float32 or (narrow and _smallest(a) * _smallest(b) >= _NORMAL):
        return _unfused
    chosen = program
    return lambda left, right, chain: evaluate(chosen, left, right, chain)


def _unfused(a: Host, b: Host, chain: Host) -> Host:
    return np.asarray(a * b + chain)


def _smallest(x: Host) -> float:
    """Return the smallest magnitude but zero."""
    found = np.abs(x[x != 0])
    return float(found.min()) if found.size else math.inf
