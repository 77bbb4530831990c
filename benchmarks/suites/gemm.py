"""Matrix products: square, tall and skinny, batched, transposed."""

from __future__ import annotations

from typing import Final

from ..case import Case
from ..kinds import make_case
from .base import Suite, Target

_DTYPES: Final = ("float32", "float64")
_SQUARE: Final = (64, 128, 256, 512, 1024, 2048)
#: (m, k, n): a tall operand, a flat one, a long inner axis, a matrix times a vector.
_SKINNY: Final = ((4096, 64, 64), (64, 64, 4096), (64, 16384, 64), (2048, 2048, 1))
#: (batch, m, k, n).
_BATCHED: Final = ((1024, 16, 16, 16), (256, 32, 32, 32), (64, 64, 64, 64))


def _product(dtype: str, m: int, k: int, n: int, transposed: str | None = None, batch: tuple[int, ...] = ()) -> Case:
    shapes = (*batch, m, k), (*batch, k, n)
    if transposed is None:
        return make_case("matmul", dtype, *shapes, limit="flops")
    return make_case("matmul", dtype, *shapes, limit="flops", transposed=transposed)


def cases(quick: bool) -> list[Case]:
    """Return the cases."""
    if quick:
        return [_product(t, 32, 48, 40, layout) for t in _DTYPES for layout in (None, "b")]
    made = [_product(t, n, n, n) for t in _DTYPES for n in _SQUARE]
    made += [_product(t, 512, 512, 512, layout) for t in _DTYPES for layout in ("a", "b", "ab")]
    made += [_product(t, m, k, n) for t in _DTYPES for m, k, n in _SKINNY]
    made += [_product(t, m, k, n, batch=(b,)) for t in _DTYPES for b, m, k, n in _BATCHED]
    return made


SUITE: Final = Suite(
    "gemm",
    "Matrix products",
    "GFLOP/s",
    cases,
    (
        Target("float32 1024x1024: opmux over NumPy", "matmul f32 1024x1024", "opmux", "numpy", 1.0),
        Target("float64 1024x1024: opmux over NumPy", "matmul f64 1024x1024", "opmux", "numpy", 1.0),
    ),
)
