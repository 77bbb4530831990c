"""Elementwise operations from cache sizes to memory sizes."""

from __future__ import annotations

from typing import Final

from ..case import Case, Style
from ..kinds import make_case
from .base import Suite, Target

#: Elements; the largest arrays are well beyond most caches.
_SIZES: Final = {"float32": (10**3, 10**5, 10**6, 10**7), "float64": (10**3, 10**5, 10**6, 4 * 10**6)}
#: Operands of each kind.
_KINDS: Final = {"exp": 1, "tanh": 1, "sin": 1, "log": 1, "add": 2, "multiply": 2, "muladd": 3, "gelu": 1, "where": 3}
_OTHER: Final = {"float32": "float64", "float64": "float32"}
#: Written as one expression, which a compiler can fuse.
_COMPILED: Final = ("muladd", "gelu")


def _case(kind: str, dtype: str, n: int, style: Style = "eager") -> Case:
    return make_case(kind, dtype, *[(n,)] * _KINDS[kind], limit="copy", style=style)


def cases(quick: bool) -> list[Case]:
    """Return the cases."""
    made = []
    for dtype, sizes in _SIZES.items():
        for n in (1000,) if quick else sizes:
            made += [_case(kind, dtype, n) for kind in _KINDS]
            made += [_case(kind, dtype, n, "compiled") for kind in _COMPILED]
            made.append(make_case("cast", dtype, (n,), limit="copy", to=_OTHER[dtype]))
    return made


SUITE: Final = Suite(
    "elementwise",
    "Elementwise operations",
    "GB/s",
    cases,
    (Target("exp of 1e6 float32: llvm over NumPy", "exp f32 1000000", "opmux-llvm", "numpy", 1.0),),
)
