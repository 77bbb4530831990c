"""Accuracy contracts: how far a result may lie from the true one, as data that conformance reads.

ULP is Muller's (INRIA RR-5504): the distance between the two floating-point numbers nearest to the true value; at a
power of two the smaller spacing counts. The reference is the infinitely precise value.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True, eq=False)
class Exact:
    """Every bit is given: movement, integer, boolean and comparison ops. Sign of zero included; all NaNs are equal."""


@dataclass(frozen=True, slots=True, eq=False)
class Ulp:
    """At most so many units in the last place, by dtype name; 0.5 is correct rounding. Integer results are exact.

    Attributes:
        bounds: largest error by dtype name; complex dtypes are held to it per component relative to the modulus.
    """

    bounds: Mapping[str, float]

    def bound(self, dtype: str) -> float:
        """Return the bound for a real floating dtype."""
        return self.bounds[dtype]


@dataclass(frozen=True, slots=True, eq=False)
class Accumulated:
    """An error that grows with the number of terms: ``k * n * eps(acc) * sum|terms| + half an ulp`` of the result.

    The bound is that of any order of summation (Higham, Accuracy and Stability of Numerical Algorithms, 2nd ed.,
    section 4.2); the accumulator of float16 and bfloat16 is float32.

    Attributes:
        factor: k.
        terms: what n counts: ``"reduced"`` elements along the reduced axes, ``"contracted"`` length of the contraction,
            ``"scattered"`` updates of one element (where they do not accumulate, the result is exact).
        multiplicative: for products, where the error is relative to the result instead of the sum of magnitudes.
    """

    factor: float = 1.0
    terms: str = "reduced"
    multiplicative: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class Composed:
    """A composite: each step meets its own contract on the inputs that it really got.

    An implementation of the whole is held to ``factor * eps(dtype)`` times the magnitude of the values that
    take part: the largest of the reference result and, where cancellation is inherent, of the operands.

    Attributes:
        factor: multiples of the result dtype's epsilon.
        growth: what the factor is multiplied with: ``"none"``, or ``"terms"`` for the length of the reduced or
            contracted axes.
        scale: ``"result"`` or ``"operands"``: what the error is relative to.
    """

    factor: float
    growth: str = "none"
    scale: str = "result"


Accuracy = Exact | Ulp | Accumulated | Composed

EXACT: Final = Exact()
#: One IEEE operation, correctly rounded in every floating dtype.
ROUNDED: Final = Ulp(dict.fromkeys(("float64", "float32", "float16", "bfloat16", "complex64", "complex128"), 0.5))


def ulp(wide: float, narrow: float = 1.0, *, float64: float | None = None) -> Ulp:
    """Return a bound for float64 and float32, and one for float16 and bfloat16.

    A narrow result computed in float32 and rounded once is within half an ulp and a little, hence the default of 1.

    Args:
        wide: for float32, and for float64 where nothing else is given.
        narrow: for float16 and bfloat16.
        float64: for float64, where it is another one.
    """
    double = wide if float64 is None else float64
    return Ulp({"float64": double, "float32": wide, "float16": narrow, "bfloat16": narrow})
