"""Rounding to whole numbers, element by element. Integers pass through."""

from __future__ import annotations

from typing import Any

from ..core.arrays.array import Array
from ..core.dtypes import FLOATS, INTEGERS
from .accuracy import EXACT
from .declare import elementwise

REAL = (*INTEGERS, *FLOATS)


@elementwise(
    REAL,
    accuracy=EXACT,
    facts=("idempotent", "monotone"),
    specials=(
        "floor(-0) -> -0", "floor(-0.5) -> -1", "floor(+inf) -> +inf", "floor(-inf) -> -inf", "floor(nan) -> nan",
    ),
    flops=2,
)  # fmt: skip
def floor(np: Any, x: Array, /) -> Array:
    """Return the largest whole number that is not above the value.

    >>> import opmux as ox
    >>> ox.floor(ox.asarray([1.5, -1.5])).tolist()
    [1.0, -2.0]
    """
    return np.floor(x)


@elementwise(
    REAL,
    accuracy=EXACT,
    facts=("idempotent", "monotone"),
    specials=("ceil(+0) -> +0", "ceil(-0.5) -> -0", "ceil(+inf) -> +inf", "ceil(-inf) -> -inf", "ceil(nan) -> nan"),
    flops=2,
)
def ceil(np: Any, x: Array, /) -> Array:
    """Return the smallest whole number that is not below the value.

    >>> import opmux as ox
    >>> ox.ceil(ox.asarray([1.5, -1.5])).tolist()
    [2.0, -1.0]
    """
    return np.ceil(x)


@elementwise(
    REAL,
    accuracy=EXACT,
    facts=("idempotent", "monotone"),
    specials=(
        "trunc(-0) -> -0", "trunc(-0.5) -> -0", "trunc(+inf) -> +inf", "trunc(-inf) -> -inf", "trunc(nan) -> nan",
    ),
    flops=2,
)  # fmt: skip
def trunc(np: Any, x: Array, /) -> Array:
    """Return the value without its fraction.

    >>> import opmux as ox
    >>> ox.trunc(ox.asarray([1.5, -1.5])).tolist()
    [1.0, -1.0]
    """
    return np.trunc(x)


@elementwise(
    REAL,
    accuracy=EXACT,
    facts=("idempotent", "monotone"),
    specials=(
        "round(0.5) -> +0", "round(1.5) -> 2", "round(2.5) -> 2", "round(-0.5) -> -0", "round(-0) -> -0",
        "round(+inf) -> +inf", "round(-inf) -> -inf", "round(nan) -> nan",
    ),
    core=True,
)  # fmt: skip
def round(np: Any, x: Array, /) -> Array:
    """Return the nearest whole number; halfway between two, the even one.

    >>> import opmux as ox
    >>> ox.round(ox.asarray([0.5, 1.5, 2.7])).tolist()
    [0.0, 2.0, 3.0]
    """
    return np.round(x)
