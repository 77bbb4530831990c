"""Elementwise values beyond float64: exact rationals where the result is one, mpmath where it is not.

float64 has no wider hardware type that decides half an ULP, and ``fma`` and ``floor_divide`` are not safe in float64
for narrower dtypes either: their results round twice. Everything else on 24 bits or fewer is decided by
float64, whose 53 bits are at least 2 * 24 + 2 (Figueroa, "When is double rounding innocuous?", 1995).
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from fractions import Fraction
from typing import Any, Final

import numpy as np

from ...core.errors import ConformanceError
from .formats import Host, Precise, from_fractions, from_rows

Scalar = Callable[..., "Fraction | float"]
Real = Any  # mpmath ships no types

#: Bits that mpmath computes with: two float64 significands and a margin.
_PRECISION: Final = 140
#: Bits kept of an irrational square root, so that no rounding to 53 bits is in doubt.
_ROOT_BITS: Final = 240


def _sqrt(x: Fraction) -> Fraction | float:
    """The square root, cut off far below the last place, with a sticky bit where it is not exact."""
    if x < 0:
        return math.nan
    shift = max(_ROOT_BITS - x.numerator.bit_length() + x.denominator.bit_length(), 0) // 2
    scaled = (x.numerator << (2 * shift)) // x.denominator
    root = math.isqrt(scaled)
    exact = root * root * x.denominator == x.numerator << (2 * shift)
    return Fraction(2 * root + (0 if exact else 1), 2 << shift)


def _remainder(x: Fraction, y: Fraction) -> Fraction | float:
    if not y:
        return math.nan
    return x - (x // y) * y


#: Finite operands as rationals; NaN where the operands are outside of the domain, where float64 says it all.
RATIONAL: Final[dict[str, Scalar]] = {
    "add": lambda x, y: x + y,
    "subtract": lambda x, y: x - y,
    "multiply": lambda x, y: x * y,
    "square": lambda x: x * x,
    "divide": lambda x, y: x / y if y else math.nan,
    "reciprocal": lambda x: 1 / x if x else math.nan,
    "fma": lambda x, y, z: x * y + z,
    "floor_divide": lambda x, y: Fraction(x // y) if y else math.nan,
    "remainder": _remainder,
    "sqrt": _sqrt,
}

#: Ops that need the rationals on every floating dtype.
ROUNDS_TWICE: Final = frozenset({"fma", "floor_divide"})


@functools.cache
def mpmath_context() -> Any:
    try:
        import mpmath
    except ImportError:
        raise ConformanceError(
            "the oracle of float64's elementary functions needs mpmath: pip install mpmath", missing="mpmath"
        ) from None
    return mpmath.mp


def _power(mp: Any, x: Real, y: Real) -> Real:
    if x < 0:
        if not mp.isint(y):
            return mp.nan
        return -((-x) ** y) if int(y) % 2 else (-x) ** y
    return x**y


#: ``function(mp, *operands)`` on finite operands; a complex or failed result means that float64 says it all.
MPMATH: Final[dict[str, Callable[..., Real]]] = {
    "exp": lambda mp, x: mp.exp(x),
    "exp2": lambda mp, x: mp.mpf(2) ** x,
    "expm1": lambda mp, x: mp.expm1(x),
    "log": lambda mp, x: mp.log(x),
    "log2": lambda mp, x: mp.log(x, 2),
    "log10": lambda mp, x: mp.log10(x),
    "log1p": lambda mp, x: mp.log1p(x),
    "sin": lambda mp, x: mp.sin(x),
    "cos": lambda mp, x: mp.cos(x),
    "tan": lambda mp, x: mp.tan(x),
    "asin": lambda mp, x: mp.asin(x),
    "acos": lambda mp, x: mp.acos(x),
    "atan": lambda mp, x: mp.atan(x),
    "atan2": lambda mp, x, y: mp.atan2(x, y),
    "sinh": lambda mp, x: mp.sinh(x),
    "cosh": lambda mp, x: mp.cosh(x),
    "tanh": lambda mp, x: mp.tanh(x),
    "asinh": lambda mp, x: mp.asinh(x),
    "acosh": lambda mp, x: mp.acosh(x),
    "atanh": lambda mp, x: mp.atanh(x),
    "rsqrt": lambda mp, x: 1 / mp.sqrt(x),
    "cbrt": lambda mp, x: mp.sign(x) * mp.cbrt(abs(x)),
    "hypot": lambda mp, x, y: mp.hypot(x, y),
    "pow": _power,
    "erf": lambda mp, x: mp.erf(x),
    "erfc": lambda mp, x: mp.erfc(x),
}


def _power_far(x: float, y: float) -> int:
    size = y * math.log2(abs(x)) if x else 0.0
    return 0 if abs(size) < _FAR else 1 if size > 0 else -1


#: Where mpmath would compute at length what only overflows (1) or vanishes (-1); 0 elsewhere.
_FAR_OUT: Final[dict[str, Callable[..., int]]] = {
    "pow": _power_far,
    "erfc": lambda x: -1 if x > _ERFC_VANISHES else 0,
}
#: No exponent of float64 is as large.
_FAR: Final = 2000.0
#: exp(-28**2) is below half of float64's smallest number.
_ERFC_VANISHES: Final = 28.0


def covers(op: str) -> bool:
    """Return whether an op has an oracle here."""
    return op in RATIONAL or op in MPMATH


def elementwise(op: str, operands: tuple[Host, ...], float64: Host) -> Precise:
    """Return precise values of an elementwise op.

    Args:
        op: its name.
        operands: float64 arrays of one shape.
        float64: the same computed in float64, which stands where an operand is not finite, at poles and outside of the
            domain, and gives the sign of zero.
    """
    columns = [np.asarray(x, np.float64).ravel().tolist() for x in operands]
    plain = np.asarray(float64, np.float64).ravel().tolist()
    if op in RATIONAL:
        found = [_rational(RATIONAL[op], row, plain[i]) for i, row in enumerate(zip(*columns, strict=True))]
        return from_fractions(found, float64.shape)
    mp = mpmath_context()
    with mp.workprec(_PRECISION):
        far = _FAR_OUT.get(op, lambda *row: 0)
        rows = [_real(mp, MPMATH[op], far, row, plain[i]) for i, row in enumerate(zip(*columns, strict=True))]
    return from_rows(rows, float64.shape)


def _rational(function: Scalar, row: tuple[float, ...], plain: float) -> Fraction | float:
    if not all(map(math.isfinite, row)):
        return plain
    found = function(*map(Fraction, row))
    if isinstance(found, float) or not found:
        return plain  # outside of the domain, or a zero, whose sign float64 knows
    return found


def _real(
    mp: Any, function: Callable[..., Real], far: Callable[..., int], row: tuple[float, ...], plain: float
) -> tuple[float, float, int]:
    if not all(map(math.isfinite, row)):
        return _plain(plain)
    beyond = far(*row)
    if beyond and not math.isnan(plain):
        return math.copysign(0.5, plain), 0.0, beyond * int(_FAR)
    try:
        value = function(mp, *map(mp.mpf, row))
    except (ValueError, ZeroDivisionError, OverflowError):
        return _plain(plain)
    if not isinstance(value, mp.mpf) or not mp.isfinite(value) or not value:
        return _plain(plain)
    if plain and (value < 0) != (plain < 0):  # mpmath has no signed zero, by whose sign atan2 tells the branches
        value = -value
    fraction, exponent = mp.frexp(value)
    high = float(fraction)
    return high, float(fraction - high), int(max(min(exponent, 1 << 20), -(1 << 20)))


def _plain(value: float) -> tuple[float, float, int]:
    fraction, exponent = math.frexp(value) if math.isfinite(value) else (value, 0)
    return fraction, 0.0, exponent
