"""What ``derive`` computes for the trigonometric, inverse trigonometric and error functions."""

from __future__ import annotations

from typing import Final

from mpmath import mp, mpf

from .derive import Fit, Function, Real, Split
from .error_function import ERF_CENTRE, ERF_SATURATION, ERFC_POLE, ERFC_SATURATION, ERFC_START


def _tail(function: Function) -> Function:
    """Return p with ``f(t) = t + t**3 * p(t**2)``, as a function of t**2."""

    def tail(z: Real) -> Real:
        t = mp.sqrt(z)
        return (function(t) / t - 1) / z

    return tail


def _share(function: Function) -> Function:
    """Return the weight of that p in the relative error of f."""

    def share(z: Real) -> Real:
        t = mp.sqrt(z)
        return z * t / function(t)

    return share


def _odd(name: str, dtype: str, function: Function, end: float, degree: int) -> Fit:
    return Fit(name, dtype, _tail(function), (mpf(0), mpf(end)), degree, _share(function))


def _mapped_erfc(t: Real) -> Real:
    """Return ``exp(x**2) * erfc(x) * (x + ERFC_POLE)`` at ``t = (x - ERFC_POLE) / (x + ERFC_POLE)``."""
    x = ERFC_POLE * (1 + t) / (1 - t)
    return mp.exp(x * x) * mp.erfc(x) * (x + ERFC_POLE)


def _gradient_of_mapped_erfc() -> Real:
    """Return its derivative at 0, where x is the pole k and dx/dt is 2 k."""
    k = mpf(ERFC_POLE)
    scaled = mp.exp(k * k) * mp.erfc(k)
    return 2 * k * (scaled + 2 * k * (2 * k * scaled - 2 / mp.sqrt(mp.pi)))


def _erfc_map(x: float) -> Real:
    return mpf(x - ERFC_POLE) / mpf(x + ERFC_POLE)


def _upper_erf(dtype: str, degree: int) -> Fit:
    # erf(x) = 1 - p(x - centre) for 1 <= x <= saturation
    centre = mpf(ERF_CENTRE[dtype])
    ends = (1 - centre, ERF_SATURATION[dtype] - centre)

    def weight(u: Real) -> Real:
        return 1 / mp.erf(u + centre)

    return Fit("erf_upper", dtype, lambda u: mp.erfc(u + centre), ends, degree, weight, refits=0)


FITS: Final[tuple[Fit, ...]] = (
    # On an eighth of a turn to either side, in float32 up to 1: sin(r) = r + r**3 * p(r**2), ...
    _odd("sin", "float32", mp.sin, 1.0, 3),
    _odd("sin", "float64", mp.sin, 0.61686, 5),
    # ... cos(r) = 1 - r**2 / 2 + r**4 * p(r**2)
    _odd("tan", "float32", mp.tan, 1.0, 8),
    *(
        Fit(
            "cos",
            dtype,
            lambda z: (mp.cos(mp.sqrt(z)) - 1 + z / 2) / z**2,
            (mpf(0), mpf(end)),
            degree,
            lambda z: z**2 / mp.cos(mp.sqrt(z)),
        )
        for dtype, end, degree in (("float32", 1.0, 2), ("float64", 0.61686, 5))
    ),
    _odd("atan", "float32", mp.atan, 1.0, 7),
    _odd("atan", "float64", mp.atan, 1.0, 19),
    _odd("asin", "float32", mp.asin, 0.25, 4),
    _odd("asin", "float64", mp.asin, 0.25, 11),
    # erf(x) = x + x * p(x**2) for |x| <= 1
    *(
        Fit(
            "erf_lower",
            dtype,
            lambda z: mp.erf(mp.sqrt(z)) / mp.sqrt(z) - 1,
            (mpf(0), mpf(1)),
            degree,
            lambda z: mp.sqrt(z) / mp.erf(mp.sqrt(z)),
        )
        for dtype, degree in (("float32", 6), ("float64", 12))
    ),
    _upper_erf("float32", 15),
    _upper_erf("float64", 37),
    # erfc(x) = exp(-x**2) / (x + pole) * q(t), t = (x - pole) / (x + pole), where q is q(0) + t * (q'(0) + t * p(t))
    # with q(0) and q'(0) in two parts
    *(
        Fit(
            "erfc",
            dtype,
            lambda t: (_mapped_erfc(t) - _mapped_erfc(mpf(0)) - t * _gradient_of_mapped_erfc()) / t**2,
            (_erfc_map(ERFC_START[dtype]), _erfc_map(ERFC_SATURATION[dtype])),
            degree,
            lambda t: t**2 / _mapped_erfc(t),
            refits=0,
        )
        for dtype, degree in (("float32", 7), ("float64", 18))
    ),
)

SPLITS: Final[tuple[Split, ...]] = (
    *(
        Split(name, dtype, value, (bits, bits))
        for name, value in (("pi", lambda: +mp.pi), ("half_pi", lambda: mp.pi / 2))
        for dtype, bits in (("float32", 24), ("float64", 53))
    ),
    *(
        Split(name, dtype, value, (bits, bits))
        for name, value in (("erfc_centre", lambda: _mapped_erfc(mpf(0))), ("erfc_gradient", _gradient_of_mapped_erfc))
        for dtype, bits in (("float32", 24), ("float64", 53))
    ),
)
