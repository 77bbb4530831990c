"""The namespace over which a primitive's body runs as the oracle: NumPy in higher precision, with the opset's own rules
where NumPy's differ or are not defined.

Floats arrive as float64 or long double, whatever the dtype under test; integers in their own dtype, computed with
Python's unbounded integers and wrapped.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Final

import numpy as np

from .formats import FORMATS, Host


def _integers(function: Callable[..., int]) -> Callable[..., Host]:
    """Return a scalar function of Python integers as one of integer arrays that wraps."""
    elementwise = np.frompyfunc(function, 2, 1)

    def wrapped(x: Host, y: Host) -> Host:
        t = np.asarray(x).dtype
        bits = t.itemsize * 8
        found = np.asarray(elementwise(np.asarray(x).astype(object), np.asarray(y).astype(object)), object)
        low = np.asarray(np.mod(found, 1 << bits), object).astype(np.uint64)
        return low.astype(np.dtype(f"u{t.itemsize}")).view(t)

    return wrapped


def _power(base: int, exponent: int) -> int:
    if exponent >= 0:
        return pow(base, exponent, 1 << 64)  # wrapped in the widest dtype, hence in every other
    return base if base == -1 and exponent % 2 else 1 if base in (1, -1) else 0


_INTEGER: Final[dict[str, Callable[..., Host]]] = {
    "add": _integers(lambda x, y: x + y),
    "subtract": _integers(lambda x, y: x - y),
    "multiply": _integers(lambda x, y: x * y),
    "power": _integers(_power),
    "floor_divide": _integers(lambda x, y: x // y if y else 0),
    "remainder": _integers(lambda x, y: x % y if y else 0),
    "left_shift": _integers(lambda x, y: x << y if 0 <= y < 64 else 0),
    "right_shift": _integers(lambda x, y: x >> (y if 0 <= y < 64 else 64)),
}


def _floor_divide(x: Host, y: Host) -> Host:
    """The floor of the quotient; an infinite numerator or a zero divisor as in the quotient itself."""
    quotient = np.divide(x, y)
    direct = np.isinf(x) | (y == 0)
    return np.where(direct, quotient, np.floor_divide(x, y))


def _ordered(pick: Callable[[Host, Host], Host], sign: Callable[[Host, Host], Host]) -> Callable[[Host, Host], Host]:
    def chosen(x: Host, y: Host) -> Host:
        found = pick(x, y)
        if not np.issubdtype(np.asarray(found).dtype, np.floating):
            return found
        zero = np.where(sign(np.signbit(x), np.signbit(y)), -0.0, 0.0).astype(found.dtype)
        return np.where((x == 0) & (y == 0), zero, found)

    return chosen


def _sign(x: Host) -> Host:
    return np.where(x == 0, x, np.sign(x)) if np.issubdtype(x.dtype, np.floating) else np.sign(x)


def _through(function: Callable[[float], float]) -> Callable[[Host], Host]:
    elementwise = np.frompyfunc(function, 1, 1)
    return lambda x: np.asarray(elementwise(x)).astype(np.float64)


def _matmul(x: Host, y: Host, dtype: Any = None) -> Host:
    """Products and sums in the operands' wide type; integers wrap in the result's."""
    if dtype is not None:
        x, y = x.astype(dtype), y.astype(dtype)
    return np.asarray(np.matmul(x, y))


def nextafter(x: Host, y: Host, name: str) -> Host:
    """Return the neighbours of float64 values that a format holds, by integer steps on its own grid."""
    form = FORMATS[name]
    with np.errstate(all="ignore"):
        exponent = np.where(x == 0, form.lowest, np.maximum(np.frexp(x)[1] - 1, form.lowest))
        up = np.where(x < y, 1.0, -1.0)
        toward_zero = np.signbit(x) != np.signbit(up)
        at_power = (np.abs(np.frexp(x)[0]) == 0.5) & (exponent > form.lowest)
        unit = exponent - (form.precision - 1) - (at_power & toward_zero)
        stepped = x + up * np.ldexp(1.0, unit)
        stepped = np.where(np.abs(stepped) > form.largest, np.copysign(np.inf, stepped), stepped)
        stepped = np.where(np.isinf(x), np.copysign(form.largest, x), stepped)
        stepped = np.where((stepped == 0) & (x != 0), np.copysign(0.0, x), stepped)
        return np.where(np.isnan(x) | np.isnan(y), np.nan, np.where(x == y, y, stepped))


def _pad(x: Host, pad_width: Any, constant_values: Any) -> Host:
    return np.pad(x, pad_width, constant_values=constant_values) if x.ndim else x


def _fma(x: Host, y: Host, z: Host) -> Host:
    """Round twice: it stands only where the exact rationals have no say. A finite product is below every infinity."""
    return np.where(np.isfinite(x) & np.isfinite(y) & np.isinf(z), z, x * y + z)


_FLOAT: Final[dict[str, Callable[..., Host]]] = {
    "floor_divide": _floor_divide,
    "sign": _sign,
    "maximum": _ordered(np.maximum, np.logical_and),
    "minimum": _ordered(np.minimum, np.logical_or),
    "erf": _through(math.erf),
    "erfc": _through(math.erfc),
    "matmul": _matmul,
    "bitwise_invert": np.invert,
    "round": lambda x: np.rint(x) if np.issubdtype(x.dtype, np.floating) else x,
    "fma": _fma,
    "pad": _pad,
}


class Reference:
    """``np`` for the bodies of primitives; what is not overridden is NumPy's own.

    Args:
        dtype: the dtype under test, for the ops whose meaning depends on the format.
    """

    def __init__(self, dtype: str = "float64") -> None:
        self._dtype = dtype

    def __getattr__(self, name: str) -> Any:
        integer, other = _INTEGER.get(name), _FLOAT.get(name, getattr(np, name, None))
        if integer is None:
            return other

        def by_kind(x: Host, y: Host) -> Host:
            chosen = integer if np.asarray(x).dtype.kind in "iu" else other
            return np.asarray(chosen(x, y))  # type: ignore[misc]

        return by_kind

    def nextafter(self, x: Host, y: Host) -> Host:
        """Step in the format under test, whichever float it is."""
        return nextafter(x, y, self._dtype)
