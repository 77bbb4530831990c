"""Reductions over all axes and along either, and softmax."""

from __future__ import annotations

from typing import Final

from ..case import Case
from ..kinds import make_case
from .base import Suite, Target

_DTYPES: Final = ("float32", "float64")
_KINDS: Final = ("sum", "mean", "max", "argmax")
#: Rows of a softmax: as of a classifier, and as of attention scores.
_SOFTMAX: Final = ((1000, 1000), (16384, 64))


def cases(quick: bool) -> list[Case]:
    """Return the cases."""
    flat, matrix = ((4096,), (64, 64)) if quick else ((10**6,), (1000, 1000))
    made = []
    for dtype in _DTYPES:
        for kind in _KINDS:
            made.append(make_case(kind, dtype, flat, limit="read", axis=None))
            made += [make_case(kind, dtype, matrix, limit="read", axis=axis) for axis in (0, 1)]
        made += [make_case("softmax", dtype, shape, limit="copy") for shape in ([matrix] if quick else _SOFTMAX)]
    return made


SUITE: Final = Suite(
    "reductions",
    "Reductions",
    "GB/s",
    cases,
    (Target("sum of 1e6 float32: opmux over NumPy", "sum f32 1000000 axis=None", "opmux", "numpy", 1.0),),
)
