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
from .casting import bitcast, cast
from .contraction import matmul
from .creation import full, iota, random_bits
from .movement import argsort, concat, copy, gather, pad, scatter, searchsorted, sort
from .reductions import all, any, argmax, argmin, max, min, prod, sum
from .scans import cumulative_prod, cumulative_sum
from .selection import repeat, roll, stack, take, take_along_axis, tile
