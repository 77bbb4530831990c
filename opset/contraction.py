"""Contraction: the matrix product."""

from __future__ import annotations

from typing import Any

from ..core.arrays.array import Array
from ..core.arrays.metadata import broadcast_to, expand_dims, reshape
from ..core.arrays.views import broadcast_shapes
from ..core.dtypes import NUMERIC, DType
from ..core.errors import ShapeError
from . import rules_movement
from .accuracy import Accumulated
from .declare import primitive
from .public_form import are_arrays, into, public_form


@primitive(
    infer=rules_movement.contraction(NUMERIC),
    dtypes=NUMERIC,
    accuracy=Accumulated(terms="contracted"),
    specials=("matmul([[+inf]], [[0]]) -> [[nan]]", "matmul([[-0]], [[1]]) -> [[+0]]"),
    work=rules_movement.contraction_work,
    core=True,
)
def matmul_(np: Any, x1: Array, x2: Array, /, *, dtype: DType | None = None) -> Array:
    """Return the matrix product ``(..., m, k) @ (..., k, n) -> (..., m, n)``.

    A one-dimensional ``x1`` is a row and ``x2`` a column, and their axis is dropped again; leading axes broadcast.
    ``dtype`` is the dtype of the result and of the accumulation, by default that of the operands, which may only be
    widened (int8 by int8 in int32). Integers wrap. float16 and bfloat16 always accumulate in float32 and are rounded
    once. The canonical order is that of :mod:`opmux.opset.orders` (MATMUL_BLOCK): chains of fused multiply-adds from
    +0.

    A kernel sees two operands of one dtype and one rank, two or more, with equal batch axes, in any strides: repeated
    batch axes have stride 0, transposed operands have theirs swapped. Only int8 and uint8 to int32, and float16 and
    bfloat16 to float32, reach it with a result wider than the operands; for every other widening the operands are
    cast first.

    Raises:
        ShapeError: the contracted lengths differ, the batch axes do not broadcast, or an operand has no axes.
        DTypeError: the dtypes do not promote, or ``dtype`` is narrower than the operands.

    >>> import opmux as ox
    >>> ox.matmul(ox.asarray([[1, 2], [3, 4]]), ox.asarray([1, 1])).tolist()
    [3, 7]
    """
    if dtype is not None and dtype.kind.endswith("integer"):
        return np.matmul(x1, x2, dtype=dtype.numpy)
    return np.matmul(x1, x2)


@public_form(matmul_)
def matmul(x1: Array, x2: Array, /, *, dtype: DType | None = None, out: Array | None = None) -> Array:
    if not are_arrays(x1, x2):
        return matmul_(x1, x2, dtype=dtype, out=out)  # which says what is wrong
    if not x1.ndim or not x2.ndim:
        raise ShapeError(
            f"matmul: shapes {x1.shape} and {x2.shape}: an operand without axes has no matrix product; use multiply",
            op="matmul",
            shapes=(x1.shape, x2.shape),
        )
    row, column = x1.ndim == 1, x2.ndim == 1
    a = expand_dims(x1, axis=0) if row else x1
    b = expand_dims(x2, axis=1) if column else x2
    if a.shape[-1] != b.shape[-2]:
        raise ShapeError(
            f"matmul: shapes {x1.shape} and {x2.shape}: the contracted lengths are {a.shape[-1]} and {b.shape[-2]}; "
            f"they must be equal",
            op="matmul",
            shapes=(x1.shape, x2.shape),
        )
    if a.shape[:-2] != b.shape[:-2]:
        batch = broadcast_shapes(a.shape[:-2], b.shape[:-2], where="matmul")
        a = broadcast_to(a, (*batch, *a.shape[-2:]))
        b = broadcast_to(b, (*batch, *b.shape[-2:]))
    if not (row or column):
        return matmul_(a, b, dtype=dtype, out=out)
    made = matmul_(a, b, dtype=dtype)
    kept = (*made.shape[:-2], *(() if row else made.shape[-2:-1]), *(() if column else made.shape[-1:]))
    return into(out, reshape(made, kept))
