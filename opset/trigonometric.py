"""Circular and hyperbolic functions and their inverses, element by element."""

from __future__ import annotations

from typing import Any

from ..core.arrays.array import Array
from ..core.dtypes import FLOATS
from .accuracy import ulp
from .declare import elementwise


@elementwise(
    FLOATS,
    accuracy=ulp(2, float64=1),
    specials=("sin(+0) -> +0", "sin(-0) -> -0", "sin(+inf) -> nan", "sin(-inf) -> nan", "sin(nan) -> nan"),
    flops=25,
)
def sin(np: Any, x: Array, /) -> Array:
    """Return the sine of an angle in radians, reduced exactly however large it is.

    >>> import opmux as ox
    >>> ox.sin(ox.asarray([0.0, -0.0])).tolist()
    [0.0, -0.0]
    """
    return np.sin(x)


@elementwise(
    FLOATS,
    accuracy=ulp(2, float64=1),
    specials=("cos(+0) -> 1", "cos(-0) -> 1", "cos(+inf) -> nan", "cos(-inf) -> nan", "cos(nan) -> nan"),
    flops=25,
)
def cos(np: Any, x: Array, /) -> Array:
    """Return the cosine of an angle in radians, reduced exactly however large it is.

    >>> import opmux as ox
    >>> ox.cos(ox.asarray([0.0])).tolist()
    [1.0]
    """
    return np.cos(x)


@elementwise(
    FLOATS,
    accuracy=ulp(4, float64=1),
    specials=("tan(+0) -> +0", "tan(-0) -> -0", "tan(+inf) -> nan", "tan(-inf) -> nan", "tan(nan) -> nan"),
    flops=30,
)
def tan(np: Any, x: Array, /) -> Array:
    """Return the tangent of an angle in radians, reduced exactly however large it is.

    >>> import opmux as ox
    >>> ox.tan(ox.asarray([0.0])).tolist()
    [0.0]
    """
    return np.tan(x)


@elementwise(
    FLOATS,
    accuracy=ulp(4, float64=2),
    facts=("monotone",),
    specials=(
        "asin(+0) -> +0", "asin(-0) -> -0", "asin(1) -> +pi/2", "asin(-1) -> -pi/2", "asin(2) -> nan",
        "asin(nan) -> nan",
    ),
    flops=25,
)  # fmt: skip
def asin(np: Any, x: Array, /) -> Array:
    """Return the angle in [-pi/2, pi/2] whose sine is the value; NaN outside of [-1, 1].

    >>> import opmux as ox
    >>> ox.asin(ox.asarray([0.0, 2.0])).tolist()
    [0.0, nan]
    """
    return np.arcsin(x)


@elementwise(
    FLOATS,
    accuracy=ulp(3, float64=2),
    specials=("acos(1) -> +0", "acos(-1) -> +pi", "acos(+0) -> +pi/2", "acos(2) -> nan", "acos(nan) -> nan"),
    flops=25,
)
def acos(np: Any, x: Array, /) -> Array:
    """Return the angle in [0, pi] whose cosine is the value; NaN outside of [-1, 1].

    >>> import opmux as ox
    >>> ox.acos(ox.asarray([1.0, 2.0])).tolist()
    [0.0, nan]
    """
    return np.arccos(x)


@elementwise(
    FLOATS,
    accuracy=ulp(3, float64=2),
    facts=("monotone",),
    specials=("atan(+0) -> +0", "atan(-0) -> -0", "atan(+inf) -> +pi/2", "atan(-inf) -> -pi/2", "atan(nan) -> nan"),
    flops=25,
)
def atan(np: Any, x: Array, /) -> Array:
    """Return the angle in [-pi/2, pi/2] whose tangent is the value.

    >>> import opmux as ox
    >>> ox.atan(ox.asarray([0.0])).tolist()
    [0.0]
    """
    return np.arctan(x)


@elementwise(
    FLOATS,
    accuracy=ulp(4, float64=2),
    specials=(
        "atan2(+0, +0) -> +0", "atan2(-0, +0) -> -0", "atan2(+0, -0) -> +pi", "atan2(-0, -0) -> -pi",
        "atan2(1, -0) -> +pi/2", "atan2(-1, +0) -> -pi/2", "atan2(+inf, +inf) -> +pi/4",
        "atan2(-inf, -inf) -> -3pi/4", "atan2(1, +inf) -> +0", "atan2(-1, -inf) -> -pi", "atan2(nan, 1) -> nan",
    ),
    flops=40,
)  # fmt: skip
def atan2(np: Any, x1: Array, x2: Array, /) -> Array:
    """Return the angle of the point ``(x2, x1)`` from the positive x axis, in [-pi, pi].

    >>> import opmux as ox
    >>> ox.atan2(ox.asarray([0.0, -0.0]), 1.0).tolist()
    [0.0, -0.0]
    """
    return np.arctan2(x1, x2)


@elementwise(
    FLOATS,
    accuracy=ulp(2),
    facts=("monotone",),
    specials=("sinh(+0) -> +0", "sinh(-0) -> -0", "sinh(+inf) -> +inf", "sinh(-inf) -> -inf", "sinh(nan) -> nan"),
    flops=30,
)
def sinh(np: Any, x: Array, /) -> Array:
    """Return the hyperbolic sine.

    >>> import opmux as ox
    >>> ox.sinh(ox.asarray([0.0])).tolist()
    [0.0]
    """
    return np.sinh(x)


@elementwise(
    FLOATS,
    accuracy=ulp(3, float64=2),
    specials=("cosh(+0) -> 1", "cosh(-0) -> 1", "cosh(+inf) -> +inf", "cosh(-inf) -> +inf", "cosh(nan) -> nan"),
    flops=30,
)
def cosh(np: Any, x: Array, /) -> Array:
    """Return the hyperbolic cosine.

    >>> import opmux as ox
    >>> ox.cosh(ox.asarray([0.0])).tolist()
    [1.0]
    """
    return np.cosh(x)


@elementwise(
    FLOATS,
    accuracy=ulp(2),
    facts=("monotone",),
    specials=("tanh(+0) -> +0", "tanh(-0) -> -0", "tanh(+inf) -> 1", "tanh(-inf) -> -1", "tanh(nan) -> nan"),
    flops=30,
)
def tanh(np: Any, x: Array, /) -> Array:
    """Return the hyperbolic tangent.

    >>> import opmux as ox
    >>> ox.tanh(ox.asarray([0.0, ox.inf])).tolist()
    [0.0, 1.0]
    """
    return np.tanh(x)


@elementwise(
    FLOATS,
    accuracy=ulp(2),
    facts=("monotone",),
    specials=("asinh(+0) -> +0", "asinh(-0) -> -0", "asinh(+inf) -> +inf", "asinh(-inf) -> -inf", "asinh(nan) -> nan"),
    flops=50,
)
def asinh(np: Any, x: Array, /) -> Array:
    """Return the value whose hyperbolic sine is the operand.

    >>> import opmux as ox
    >>> ox.asinh(ox.asarray([0.0])).tolist()
    [0.0]
    """
    return np.arcsinh(x)


@elementwise(
    FLOATS,
    accuracy=ulp(2),
    facts=("monotone",),
    specials=("acosh(1) -> +0", "acosh(+inf) -> +inf", "acosh(0.5) -> nan", "acosh(-inf) -> nan", "acosh(nan) -> nan"),
    flops=50,
)
def acosh(np: Any, x: Array, /) -> Array:
    """Return the value, not negative, whose hyperbolic cosine is the operand; NaN below 1.

    >>> import opmux as ox
    >>> ox.acosh(ox.asarray([1.0, 0.5])).tolist()
    [0.0, nan]
    """
    return np.arccosh(x)


@elementwise(
    FLOATS,
    accuracy=ulp(2),
    facts=("monotone",),
    specials=(
        "atanh(+0) -> +0", "atanh(-0) -> -0", "atanh(1) -> +inf", "atanh(-1) -> -inf", "atanh(2) -> nan",
        "atanh(nan) -> nan",
    ),
    flops=35,
)  # fmt: skip
def atanh(np: Any, x: Array, /) -> Array:
    """Return the value whose hyperbolic tangent is the operand; NaN outside of [-1, 1].

    >>> import opmux as ox
    >>> ox.atanh(ox.asarray([0.0, 1.0])).tolist()
    [0.0, inf]
    """
    return np.arctanh(x)
