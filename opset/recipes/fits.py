"""The table of everything that ``derive`` computes: which function, on which interval, to which degree."""

from __future__ import annotations

from typing import Final

from mpmath import mp, mpf

from .derive import Fit, Real, Split
from .fits_trigonometric import FITS as _TRIGONOMETRIC_FITS
from .fits_trigonometric import SPLITS as _TRIGONOMETRIC_SPLITS

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
        for dtype, degree in (("float32", 4), ("float64", 10))
    ),
    # 2**r = 1 + r * p(r)
    Fit("exp2", "float32", lambda t: (2**t - 1) / t, (mpf(-0.5), mpf(0.5)), 5, lambda t: t / 2**t),
)


FITS: Final[tuple[Fit, ...]] = (*_EXPONENTIAL, *_TRIGONOMETRIC_FITS)

SPLITS: Final[tuple[Split, ...]] = (
    *(Split("ln2", dtype, lambda: mp.log(2), bits) for dtype, bits in (("float32", (15, 24)), ("float64", (42, 53)))),
    *(
        Split("log2e", dtype, lambda: 1 / mp.log(2), bits)
        for dtype, bits in (("float32", (24, 24)), ("float64", (53, 53)))
    ),
    *_TRIGONOMETRIC_SPLITS,
)
