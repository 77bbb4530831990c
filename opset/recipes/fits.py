"""The table of everything that ``derive`` computes: which function, on which interval, to which degree."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from mpmath import mp, mpf

from .derive import Fit, Function, Real, Split
from .fits_trigonometric import FITS as _TRIGONOMETRIC_FITS
from .fits_trigonometric import SPLITS as _TRIGONOMETRIC_SPLITS
from .power import QUARTER_SCALES

_HALF_LN2: Final = 0.34658  # a little more than log(2) / 2


def _exp_tail(t: Real) -> Real:
    return (mp.exp(t) - 1 - t) / t**2


_EXPONENTIAL: Final = (
    # exp(r) = 1 + r + r**2 * p(r)
    *(
        Fit("exp", dtype, _exp_tail, (-_HALF_LN2, _HALF_LN2), degree, lambda t: t**2 / mp.exp(t))
        for dtype, degree in (("float32", 4), ("float64", 9))
    ),
    # expm1(r) = r + r**2 * p(r)
    *(
        Fit("expm1", dtype, _exp_tail, (-_HALF_LN2, _HALF_LN2), degree, lambda t: t**2 / mp.expm1(t))
        for dtype, degree in (("float32", 5), ("float64", 10))
    ),
    # 2**r = 1 + r * p(r)
    Fit("exp2", "float32", lambda t: (2**t - 1) / t, (mpf(-0.5), mpf(0.5)), 5, lambda t: t / 2**t),
)


# Ends of the reduced logarithm's interval: f = m - 1 for m in [sqrt(1/2), sqrt(2)), a little widened.
_LOG_ENDS: Final = (-0.29295, 0.41425)


def _log_tail(t: Real) -> Real:
    return (mp.log1p(t) - t) / t**2


def _odd_tail(function: Function) -> tuple[Function, Function]:
    """Return p and its weight for ``function(x) = x + x**3 * p(x**2)``."""

    def tail(t: Real) -> Real:
        x = mp.sqrt(t)
        return (function(x) - x) / (x * t)

    def weight(t: Real) -> Real:
        x = mp.sqrt(t)
        return x * t / function(x)

    return tail, weight


def _odd(name: str, dtype: str, function: Function, end: float, degree: int) -> Fit:
    tail, weight = _odd_tail(function)
    return Fit(name, dtype, tail, (0, mpf(end) ** 2), degree, weight)


_LOGARITHM: Final = (
    # log(1 + f) = f + f**2 * p(f)
    Fit("log", "float32", _log_tail, _LOG_ENDS, 9, lambda t: t**2 / mp.log1p(t)),
    # log(1 + f) = 2 * atanh(s) with s = f / (2 + f) and atanh(s) = s + s**3 * p(s**2)
    _odd("log", "float64", mp.atanh, 0.17158, 6),
    # atanh(s) = s + s**3 * (1/3 + s**2 * p(s**2)) for powers of float64, where 1/3 is held in two parts
    Fit(
        "atanh_long",
        "float64",
        lambda t: ((mp.atanh(mp.sqrt(t)) / mp.sqrt(t) - 1) / t - mpf(1) / 3) / t,
        (0, mpf(0.17158) ** 2),
        7,
        lambda t: t**2 * mp.sqrt(t) / mp.atanh(mp.sqrt(t)),
    ),
    # log2((1 + s) / (1 - s)) = s * (2 / log(2) + s**2 * p(s**2)) for powers of float32
    Fit(
        "log2_quarter",
        "float32",
        lambda t: 2 / mp.log(2) * (mp.atanh(mp.sqrt(t)) / mp.sqrt(t) - 1) / t,
        (0, mpf(0.05301) ** 2),
        2,
        lambda t: mp.log(2) / 2 * t * mp.sqrt(t) / mp.atanh(mp.sqrt(t)),
    ),
)

_HYPERBOLIC: Final = (
    _odd("sinh", "float32", mp.sinh, 1.0001, 3),
    _odd("sinh", "float64", mp.sinh, 1.0001, 7),
    _odd("tanh", "float32", mp.tanh, 1.0001, 6),
    _odd("tanh", "float64", mp.tanh, 1.0001, 15),
    _odd("atanh", "float32", mp.atanh, 0.334, 3),
    _odd("atanh", "float64", mp.atanh, 0.334, 9),
)

FITS: Final[tuple[Fit, ...]] = (*_EXPONENTIAL, *_LOGARITHM, *_HYPERBOLIC, *_TRIGONOMETRIC_FITS)


def _both(name: str, value: Callable[[], Real], short: tuple[int, ...], long: tuple[int, ...]) -> tuple[Split, Split]:
    return Split(name, "float32", value, short), Split(name, "float64", value, long)


def _less_log2(scale: float) -> Callable[[], Real]:
    return lambda: -mp.log(scale, 2)


SPLITS: Final[tuple[Split, ...]] = (
    # The first parts leave room for an exact product with any exponent.
    *_both("ln2", lambda: mp.log(2), (15, 24), (42, 53)),
    *_both("log10_2", lambda: mp.log10(2), (15, 24), (42, 53)),
    *_both("log2e", lambda: 1 / mp.log(2), (24, 24), (53, 53)),
    *_both("log10e", lambda: 1 / mp.log(10), (24, 24), (53, 53)),
    # Full first parts, for two-part products
    Split("ln2_full", "float64", lambda: mp.log(2), (53, 53)),
    *_both("2_log2e", lambda: 2 / mp.log(2), (24, 24), (53, 53)),
    Split("third", "float64", lambda: mpf(1) / 3, (53, 53)),
    # The first parts leave room for the exponent.
    *(Split(f"log2_quarter_{i}", "float32", _less_log2(scale), (14, 24)) for i, scale in enumerate(QUARTER_SCALES)),
    *_TRIGONOMETRIC_SPLITS,
)
