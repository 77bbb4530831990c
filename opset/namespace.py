"""The opset as a namespace: every public function by its name. Decompositions are written over it."""

# ruff: noqa: F401 - names only

from __future__ import annotations

from .arithmetic import (
    abs,
    add,
    copysign,
    divide,
    floor_divide,
    fma,
    maximum,
    minimum,
    multiply,
    negative,
    nextafter,
    pow,
    remainder,
    sign,
    subtract,
)
