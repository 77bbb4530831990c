"""The twin's elementwise ops: floats in float64 and rounded once, integers wrapped."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import numpy as np

from ....plugin import CallSpec
from .call import Compute
from .formats import Host, assign, is_float, larger, names, smaller, wide

Function = Callable[..., Host]


def _rounded(function: Function) -> Compute:
    def compute(spec: CallSpec, out: Host, *operands: Host) -> None:
        assign(out, function(*map(wide, operands)))

    return compute


def _same(function: Function) -> Compute:
    """Computed in the operands' own dtype: exact there."""

    def compute(spec: CallSpec, out: Host, *operands: Host) -> None:
        out[...] = function(*operands)

    return compute


def _fma(x: Host, y: Host, z: Host) -> Host:
    """Return x * y + z in float64, rounded to odd where inexact: a product of two float32 numbers is exact there.

    Boldo and Melquiond, "Emulation of FMA and correctly rounded sums: proved algorithms using rounding to odd", 2008.
    """
    p = x * y
    total = p + z
    rest = total - p
    error = (p - (total - rest)) + (z - rest)
    bits = np.atleast_1d(total).view(np.int64).copy()
    lost = np.atleast_1d(error)
    even = (lost != 0) & np.isfinite(lost) & ((bits & 1) == 0)
    outward = np.signbit(lost) == np.signbit(np.atleast_1d(total))
    bits[even & outward] += 1
    bits[even & ~outward] -= 1
    return bits.view(np.float64).reshape(total.shape)


def _floor_divide(x: Host, y: Host) -> Host:
    quotient = np.floor_divide(x, np.where(y == 0, y.dtype.type(1), y))
    return np.where(y == 0, y.dtype.type(0), quotient)


def _remainder(x: Host, y: Host) -> Host:
    if is_float(x):
        return np.remainder(x, y)
    return np.where(y == 0, y.dtype.type(0), np.remainder(x, np.where(y == 0, y.dtype.type(1), y)))


def _left_shift(x: Host, y: Host) -> Host:
    bits = x.dtype.itemsize * 8
    inside = (y >= 0) & (y < bits)
    shifted: Host = np.left_shift(x, np.where(inside, y, 0).astype(y.dtype))
    return np.where(inside, shifted, x.dtype.type(0))


def _right_shift(x: Host, y: Host) -> Host:
    most = x.dtype.itemsize * 8 - 1
    inside = (y >= 0) & (y <= most)
    shifted: Host = np.right_shift(x, np.where(inside, y, most).astype(y.dtype))
    return shifted if x.dtype.kind == "i" else np.where(inside, shifted, x.dtype.type(0))


def _where(condition: Host, x: Host, y: Host) -> Host:
    return np.where(condition, x, y)


NUMBERS: Final = names("integer", "float")
_BELOW_DOUBLE: Final = names("float") - {"float64"}
_ANY: Final = names("integer", "float", "bool")
_BITS: Final = names("integer", "bool")

#: Op, its computation, and the dtypes of its operands.
ELEMENTWISE: Final[dict[str, tuple[Compute, tuple[frozenset[str], ...]]]] = {
    "add": (_rounded(np.add), (NUMBERS,)),
    "subtract": (_rounded(np.subtract), (NUMBERS,)),
    "multiply": (_rounded(np.multiply), (NUMBERS,)),
    "divide": (_rounded(np.divide), (names("float"),)),
    "sqrt": (_rounded(np.sqrt), (names("float"),)),
    "fma": (_rounded(_fma), (_BELOW_DOUBLE,)),
    "floor_divide": (_same(_floor_divide), (names("integer"),)),
    "remainder": (_same(_remainder), (names("integer"),)),
    "negative": (_same(np.negative), (NUMBERS,)),
    "abs": (_same(np.abs), (NUMBERS,)),
    "maximum": (_same(larger), (NUMBERS,)),
    "minimum": (_same(smaller), (NUMBERS,)),
    "round": (_same(lambda x: np.rint(x) if is_float(x) else x), (NUMBERS,)),
    "equal": (_same(np.equal), (_ANY,)),
    "less": (_same(np.less), (NUMBERS,)),
    "bitwise_and": (_same(np.bitwise_and), (_BITS,)),
    "bitwise_or": (_same(np.bitwise_or), (_BITS,)),
    "bitwise_xor": (_same(np.bitwise_xor), (_BITS,)),
    "bitwise_left_shift": (_same(_left_shift), (names("integer"),)),
    "bitwise_right_shift": (_same(_right_shift), (names("integer"),)),
    "where": (_same(_where), (names("bool"), names("integer", "float", "bool", "complex"))),
    "exp": (_rounded(np.exp), (_BELOW_DOUBLE,)),
    "log": (_rounded(np.log), (_BELOW_DOUBLE,)),
    "tanh": (_rounded(np.tanh), (_BELOW_DOUBLE,)),
    "sin": (_rounded(np.sin), (_BELOW_DOUBLE,)),
    "hypot": (_rounded(np.hypot), (_BELOW_DOUBLE,)),
    "pow": (_rounded(np.power), (_BELOW_DOUBLE,)),
}  # fmt: skip
