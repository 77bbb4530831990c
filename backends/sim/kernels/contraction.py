"""Matrix products: on the matrix unit in the order in which its cells accumulate, on the vector unit canonically.

A cell multiplies and adds with one rounding into its accumulator. Where outputs stay in the cells, the whole of k is
one chain; where weights or inputs stay, a column of the array adds as many terms as it has rows, and the accumulators
add those sums in their order. float16 and bfloat16 operands are widened to float32 and the result is rounded once.
Chains of :data:`MATMUL_BLOCK` are the canonical order.
"""

from __future__ import annotations

import math
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from ....plugin import CallSpec, CostTerms, Determinism, Promises, evaluate, orders, recipe
from ..description import Description, MatrixUnit
from ..memory import Host
from .rows import CANONICAL, FLOATS, INTEGERS, NARROW, NUMBERS, Bind, Compute, Row, Unit

#: Elements of the result that are worked on at a time, so that they stay in a cache.
_TILE: Final = 1 << 15
#: float64 holds integers up to here, so that sums of products below it are exact in any order.
_EXACT: Final = 1 << 53
#: The smallest normal number of float32: at and above it, a float64 sum and its rounding have a common grid.
_NORMAL: Final = 2.0**-126
#: The bits of a float64 that float32 has no room for, and what they are halfway between two float32 numbers.
_REST: Final = np.int64((1 << 29) - 1)
_HALFWAY: Final = np.int64(1 << 28)


def rows(description: Description) -> tuple[Row, ...]:
    """Return the kernels of the matrix unit, and that of the vector unit for all else and where the order counts."""
    matrix = description.matrix
    multiplied = frozenset() if matrix is None else frozenset(matrix.precisions)
    made: list[Row] = []
    if matrix is not None:
        made.append(_on_matrix_unit(matrix, multiplied & INTEGERS, CANONICAL, "matmul.integers"))
        length = chain_length(matrix)
        order = "canonical" if length == orders.MATMUL_BLOCK else f"chains-{length or 'k'}"
        kept = CANONICAL if order == "canonical" else Promises(order=order, determinism=Determinism.BATCH)
        made.append(_on_matrix_unit(matrix, multiplied & FLOATS, kept, "matmul.floats"))
    shares = {t: _share(description, t) for t in NUMBERS}
    made.append(
        Row(
            "matmul",
            _product(orders.MATMUL_BLOCK),
            (NUMBERS - (multiplied & INTEGERS),),
            name="matmul.vector",
            cost=CostTerms(compute_for={t: share for t, share in shares.items() if 0 < share < 1}),
        )
    )
    return tuple(made)


def _on_matrix_unit(matrix: MatrixUnit, taken: frozenset[str], promises: Promises, name: str) -> Row:
    return Row("matmul", _product(chain_length(matrix)), (taken,), Unit.MATRIX, promises, name)


def chain_length(matrix: MatrixUnit) -> int | None:
    """Return how many terms one chain of a matrix unit adds; None for all of them."""
    return None if matrix.dataflow == "os" else matrix.rows


def _share(description: Description, dtype: str) -> float:
    """Return the share of a dtype's best rate that the vector unit has."""
    vector, best = description.vector, description.peak_operations(dtype)
    if vector is None or dtype not in vector.precisions or not best:
        return 1.0
    return 2.0 * vector.lanes * vector.precisions[dtype] * description.clock / vector.costs["multiply_add"] / best


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
    """Multiply matrices of floats in chains of fused multiply-adds, in the accumulator's dtype.

    Args:
        x, y: shapes (..., m, k) and (..., k, n), of one dtype.
        length: terms per chain; the chains' values are added in ascending order. None for one chain.

    >>> chains(np.eye(2, dtype=np.float32), np.ones((2, 2), np.float32), None).tolist()
    [[1.0, 1.0], [1.0, 1.0]]
    """
    inner = np.dtype(np.float32) if x.dtype.name in NARROW else x.dtype
    k, n = x.shape[-1], y.shape[-1]
    a, b = x.astype(inner), y.astype(inner)
    steps = Steps(a, b, exact_products=x.dtype.name in NARROW)
    total = np.zeros((*x.shape[:-1], n), inner)
    batch = math.prod(x.shape[:-2])
    high = max(1, _TILE // max(1, batch * n))
    with np.errstate(all="ignore"):
        for row in range(0, x.shape[-2], high):
            part = slice(row, row + high)
            for start in range(0, k, length or max(k, 1)):
                chain = np.zeros_like(total[..., part, :])
                for i in range(start, min(start + (length or k), k)):
                    chain = steps.step(steps.left[..., part, i, None], steps.right[..., None, i, :], chain)
                total[..., part, :] = chain if start == 0 else total[..., part, :] + chain
    return total


class Steps:
    """Fused multiply-adds of columns and rows, by the cheapest way that gives their bits.

    Products of 16-bit floats are exact in float32, so that a product and a sum are a fused multiply-add. Those of
    float32 are exact in float64, and the sum there, rounded to float32, is right but where it lies halfway or is
    subnormal: those few elements are done by the recipe, as is all of float64.

    Attributes:
        left, right: the operands in the dtype in which they are multiplied.
    """

    def __init__(self, a: Host, b: Host, *, exact_products: bool) -> None:
        self._program = recipe("fma", (a.dtype.name,) * 3)
        self.left, self.right = a, b
        if exact_products and _smallest(a) * _smallest(b) >= _NORMAL:
            self.step = _plain
        elif a.dtype == np.float32:
            self.left, self.right = a.astype(np.float64), b.astype(np.float64)
            self.step = self._single
        else:
            self.step = self._fused

    def _single(self, a: Host, b: Host, chain: Host) -> Host:
        exact: NDArray[np.float64] = a * b
        wide = exact + chain
        near = wide.astype(np.float32)
        doubtful = (wide.view(np.int64) & _REST) == _HALFWAY
        doubtful |= (np.abs(wide) < _NORMAL) & (wide != 0)
        if doubtful.any():
            at = np.nonzero(doubtful)
            left, right = (np.broadcast_to(v, chain.shape)[at].astype(np.float32) for v in (a, b))
            near[at] = self._exactly(left, right, chain[at])
        return near

    def _fused(self, a: Host, b: Host, chain: Host) -> Host:
        return self._exactly(a, b, chain)

    def _exactly(self, a: Host, b: Host, c: Host) -> Host:
        if self._program is None:
            raise TypeError(f"there is no fma of {c.dtype}")
        return evaluate(self._program, a, b, c)


def _plain(a: Host, b: Host, chain: Host) -> Host:
    return np.asarray(a * b + chain)


def _smallest(x: Host) -> float:
    """Return the smallest magnitude but zero."""
    found = np.abs(x[x != 0])
    return float(found.min()) if found.size else math.inf
