"""Roots, exponentials, logarithms and the error function, element by element."""

from __future__ import annotations

from typing import Any

from ..core.arrays.array import Array
from ..core.dtypes import FLOATS
from . import rules
from .accuracy import Composed, ulp
from .declare import composite, elementwise
from .widening import narrow, widen


@elementwise(
    FLOATS,
    facts=("monotone",),
    specials=("sqrt(-0) -> -0", "sqrt(+0) -> +0", "sqrt(+inf) -> +inf", "sqrt(-1) -> nan", "sqrt(nan) -> nan"),
    flops=4,
    core=True,
)
def sqrt(np: Any, x: Array, /) -> Array:
    """Return the square root, correctly rounded.

    >>> import opmux as ox
    >>> ox.sqrt(ox.asarray([4.0, 9.0])).tolist()
    [2.0, 3.0]
    """
    return np.sqrt(x)


@elementwise(
    FLOATS,
    accuracy=ulp(1.5),
    specials=(
        "rsqrt(+0) -> +inf", "rsqrt(-0) -> -inf", "rsqrt(+inf) -> +0", "rsqrt(-1) -> nan", "rsqrt(nan) -> nan",
        "rsqrt(4) -> 0.5",
    ),
    flops=9,
)  # fmt: skip
def rsqrt(np: Any, x: Array, /) -> Array:
    """Return one over the square root.

    >>> import opmux as ox
    >>> ox.rsqrt(ox.asarray([4.0, 16.0])).tolist()
    [0.5, 0.25]
    """
    return np.divide(1, np.sqrt(x))


@elementwise(
    FLOATS,
    accuracy=ulp(2, float64=1),
    facts=("monotone",),
    specials=("cbrt(-0) -> -0", "cbrt(+inf) -> +inf", "cbrt(-inf) -> -inf", "cbrt(nan) -> nan"),
    flops=35,
)
def cbrt(np: Any, x: Array, /) -> Array:
    """Return the real cube root.

    >>> import opmux as ox
    >>> ox.cbrt(ox.asarray([-0.0, ox.inf])).tolist()
    [-0.0, inf]
    """
    return np.cbrt(x)


@elementwise(
    FLOATS,
    accuracy=ulp(1),
    facts=("commutative",),
    specials=("hypot(+inf, nan) -> +inf", "hypot(nan, -inf) -> +inf", "hypot(-0, -0) -> +0", "hypot(nan, 1) -> nan"),
    flops=12,
)
def hypot(np: Any, x1: Array, x2: Array, /) -> Array:
    """Return the square root of ``x1**2 + x2**2`` without overflow on the way.

    >>> import opmux as ox
    >>> ox.hypot(ox.asarray([3.0]), 4.0).tolist()
    [5.0]
    """
    return np.hypot(x1, x2)


@elementwise(
    FLOATS,
    accuracy=ulp(3, float64=1),
    facts=("monotone",),
    specials=("exp(+0) -> 1", "exp(-0) -> 1", "exp(+inf) -> +inf", "exp(-inf) -> +0", "exp(nan) -> nan"),
    flops=15,
)
def exp(np: Any, x: Array, /) -> Array:
    """Return e to the power of the value.

    >>> import opmux as ox
    >>> ox.exp(ox.asarray([0.0, -ox.inf])).tolist()
    [1.0, 0.0]
    """
    return np.exp(x)


@elementwise(
    FLOATS,
    accuracy=ulp(3, float64=1),
    facts=("monotone",),
    specials=(
        "exp2(-0) -> 1", "exp2(3) -> 8", "exp2(-1) -> 0.5", "exp2(+inf) -> +inf", "exp2(-inf) -> +0",
        "exp2(nan) -> nan",
    ),
    flops=15,
)  # fmt: skip
def exp2(np: Any, x: Array, /) -> Array:
    """Return 2 to the power of the value; whole powers are exact.

    >>> import opmux as ox
    >>> ox.exp2(ox.asarray([3.0, -1.0])).tolist()
    [8.0, 0.5]
    """
    return np.exp2(x)


@elementwise(
    FLOATS,
    accuracy=ulp(3, float64=1),
    facts=("monotone",),
    specials=("expm1(+0) -> +0", "expm1(-0) -> -0", "expm1(+inf) -> +inf", "expm1(-inf) -> -1", "expm1(nan) -> nan"),
    flops=25,
)
def expm1(np: Any, x: Array, /) -> Array:
    """Return ``exp(x) - 1``, precise near 0.

    >>> import opmux as ox
    >>> ox.expm1(ox.asarray([0.0, -ox.inf])).tolist()
    [0.0, -1.0]
    """
    return np.expm1(x)


@elementwise(
    FLOATS,
    accuracy=ulp(3, float64=1),
    facts=("monotone",),
    specials=(
        "log(1) -> +0", "log(+0) -> -inf", "log(-0) -> -inf", "log(+inf) -> +inf", "log(-1) -> nan", "log(nan) -> nan",
    ),
    flops=20,
)  # fmt: skip
def log(np: Any, x: Array, /) -> Array:
    """Return the natural logarithm; NaN of negative numbers.

    >>> import opmux as ox
    >>> ox.log(ox.asarray([1.0, 0.0])).tolist()
    [0.0, -inf]
    """
    return np.log(x)


@elementwise(
    FLOATS,
    accuracy=ulp(3, float64=2),
    facts=("monotone",),
    specials=(
        "log2(1) -> +0", "log2(8) -> 3", "log2(0.5) -> -1", "log2(-0) -> -inf", "log2(+inf) -> +inf", "log2(-1) -> nan",
        "log2(nan) -> nan",
    ),
    flops=25,
)  # fmt: skip
def log2(np: Any, x: Array, /) -> Array:
    """Return the logarithm to base 2; powers of two give whole numbers exactly.

    >>> import opmux as ox
    >>> ox.log2(ox.asarray([1.0, 8.0])).tolist()
    [0.0, 3.0]
    """
    return np.log2(x)


@elementwise(
    FLOATS,
    accuracy=ulp(3, float64=1),
    facts=("monotone",),
    specials=(
        "log10(1) -> +0", "log10(-0) -> -inf", "log10(+inf) -> +inf", "log10(-1) -> nan", "log10(nan) -> nan",
    ),
    flops=25,
)  # fmt: skip
def log10(np: Any, x: Array, /) -> Array:
    """Return the logarithm to base 10.

    >>> import opmux as ox
    >>> ox.log10(ox.asarray([1.0, 0.0])).tolist()
    [0.0, -inf]
    """
    return np.log10(x)


@elementwise(
    FLOATS,
    accuracy=ulp(2, float64=1),
    facts=("monotone",),
    specials=(
        "log1p(+0) -> +0", "log1p(-0) -> -0", "log1p(-1) -> -inf", "log1p(+inf) -> +inf", "log1p(-2) -> nan",
        "log1p(nan) -> nan",
    ),
    flops=30,
)  # fmt: skip
def log1p(np: Any, x: Array, /) -> Array:
    """Return ``log(1 + x)``, precise near 0.

    >>> import opmux as ox
    >>> ox.log1p(ox.asarray([0.0, -1.0])).tolist()
    [0.0, -inf]
    """
    return np.log1p(x)


@elementwise(
    FLOATS,
    accuracy=ulp(2),
    facts=("monotone",),
    specials=("erf(+0) -> +0", "erf(-0) -> -0", "erf(+inf) -> 1", "erf(-inf) -> -1", "erf(nan) -> nan"),
    flops=40,
)
def erf(np: Any, x: Array, /) -> Array:
    """Return the error function, the integral of ``2 / sqrt(pi) * exp(-t**2)`` from 0 to the value.

    >>> import opmux as ox
    >>> ox.erf(ox.asarray([0.0, ox.inf])).tolist()
    [0.0, 1.0]
    """
    return np.erf(x)


@elementwise(
    FLOATS,
    accuracy=ulp(2, float64=3),
    specials=("erfc(+0) -> 1", "erfc(-0) -> 1", "erfc(+inf) -> +0", "erfc(-inf) -> 2", "erfc(nan) -> nan"),
    flops=60,
)
def erfc(np: Any, x: Array, /) -> Array:
    """Return ``1 - erf(x)``, precise where that is small.

    >>> import opmux as ox
    >>> ox.erfc(ox.asarray([0.0, ox.inf])).tolist()
    [1.0, 0.0]
    """
    return np.erfc(x)


@composite(
    infer=rules.elementwise(FLOATS),
    dtypes=FLOATS,
    accuracy=Composed(4, scale="operands"),
    facts=("elementwise", "commutative"),
    specials=(
        "logaddexp(-inf, -inf) -> -inf", "logaddexp(+inf, -inf) -> +inf", "logaddexp(-inf, 1) -> 1",
        "logaddexp(nan, 1) -> nan",
    ),
    flops=50,
)  # fmt: skip
def logaddexp(ox: Any, x1: Array, x2: Array, /) -> Array:
    """Return ``log(exp(x1) + exp(x2))`` without overflow on the way; float16 and bfloat16 are computed in float32.

    >>> import opmux as ox
    >>> ox.logaddexp(ox.asarray([-ox.inf]), 1.0).tolist()
    [1.0]
    """
    a, b = widen(ox, x1), widen(ox, x2)
    # Equal infinities differ by nothing; their difference is NaN.
    gap = ox.where(ox.equal(a, b), 0, ox.abs(ox.subtract(a, b)))
    return narrow(ox, ox.add(ox.maximum(a, b), ox.log1p(ox.exp(ox.negative(gap)))), x1)
