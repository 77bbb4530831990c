"""Comparisons and tests that answer with booleans, and the choice by one."""

from __future__ import annotations

from typing import Any

from ..core.arrays.array import Array
from ..core.dtypes import FLOATS, INTEGERS, NUMERIC, bool_
from .accuracy import EXACT
from .declare import elementwise

REAL = (*INTEGERS, *FLOATS)
ANY = (bool_, *NUMERIC)


@elementwise(
    ANY,
    result=bool_,
    accuracy=EXACT,
    facts=("commutative",),
    specials=(
        "equal(nan, nan) -> False", "equal(+0, -0) -> True", "equal(+inf, +inf) -> True", "equal(+inf, -inf) -> False",
    ),
    core=True,
)  # fmt: skip
def equal(np: Any, x1: Array, x2: Array, /) -> Array:
    """Return whether the operands are equal. NaN equals nothing.

    >>> import opmux as ox
    >>> ox.equal(ox.asarray([1, 2]), 2).tolist()
    [False, True]
    """
    return np.equal(x1, x2)


@elementwise(
    ANY,
    result=bool_,
    accuracy=EXACT,
    facts=("commutative",),
    specials=("not_equal(nan, nan) -> True", "not_equal(+0, -0) -> False", "not_equal(+inf, -inf) -> True"),
)
def not_equal(np: Any, x1: Array, x2: Array, /) -> Array:
    """Return whether the operands differ. NaN differs from everything, itself too.

    >>> import opmux as ox
    >>> ox.not_equal(ox.asarray([1, 2]), 2).tolist()
    [True, False]
    """
    return np.not_equal(x1, x2)


@elementwise(
    REAL,
    result=bool_,
    accuracy=EXACT,
    specials=("less(nan, 1) -> False", "less(1, nan) -> False", "less(-0, +0) -> False", "less(-inf, +inf) -> True"),
    core=True,
)
def less(np: Any, x1: Array, x2: Array, /) -> Array:
    """Return whether ``x1 < x2``. False beside NaN.

    >>> import opmux as ox
    >>> ox.less(ox.asarray([1, 2]), 2).tolist()
    [True, False]
    """
    return np.less(x1, x2)


@elementwise(
    REAL,
    result=bool_,
    accuracy=EXACT,
    specials=("less_equal(nan, nan) -> False", "less_equal(+0, -0) -> True", "less_equal(+inf, +inf) -> True"),
)
def less_equal(np: Any, x1: Array, x2: Array, /) -> Array:
    """Return whether ``x1 <= x2``. False beside NaN.

    >>> import opmux as ox
    >>> ox.less_equal(ox.asarray([1, 2, 3]), 2).tolist()
    [True, True, False]
    """
    return np.less_equal(x1, x2)


@elementwise(
    REAL,
    result=bool_,
    accuracy=EXACT,
    specials=("greater(nan, 1) -> False", "greater(+0, -0) -> False", "greater(+inf, -inf) -> True"),
)
def greater(np: Any, x1: Array, x2: Array, /) -> Array:
    """Return whether ``x1 > x2``. False beside NaN.

    >>> import opmux as ox
    >>> ox.greater(ox.asarray([1, 2, 3]), 2).tolist()
    [False, False, True]
    """
    return np.greater(x1, x2)


@elementwise(
    REAL,
    result=bool_,
    accuracy=EXACT,
    specials=("greater_equal(nan, nan) -> False", "greater_equal(-0, +0) -> True", "greater_equal(-inf, -inf) -> True"),
)
def greater_equal(np: Any, x1: Array, x2: Array, /) -> Array:
    """Return whether ``x1 >= x2``. False beside NaN.

    >>> import opmux as ox
    >>> ox.greater_equal(ox.asarray([1, 2, 3]), 2).tolist()
    [False, True, True]
    """
    return np.greater_equal(x1, x2)


@elementwise(
    NUMERIC,
    result=bool_,
    accuracy=EXACT,
    specials=("isnan(nan) -> True", "isnan(+inf) -> False", "isnan(+0) -> False"),
)
def isnan(np: Any, x: Array, /) -> Array:
    """Return whether the value is NaN; of a complex number, whether a part is.

    >>> import opmux as ox
    >>> ox.isnan(ox.asarray([1.0, ox.nan])).tolist()
    [False, True]
    """
    return np.isnan(x)


@elementwise(
    NUMERIC,
    result=bool_,
    accuracy=EXACT,
    specials=("isinf(nan) -> False", "isinf(+inf) -> True", "isinf(-inf) -> True", "isinf(1) -> False"),
)
def isinf(np: Any, x: Array, /) -> Array:
    """Return whether the value is infinite; of a complex number, whether a part is.

    >>> import opmux as ox
    >>> ox.isinf(ox.asarray([1.0, -ox.inf])).tolist()
    [False, True]
    """
    return np.isinf(x)


@elementwise(
    NUMERIC,
    result=bool_,
    accuracy=EXACT,
    specials=("isfinite(nan) -> False", "isfinite(+inf) -> False", "isfinite(-inf) -> False", "isfinite(-0) -> True"),
)
def isfinite(np: Any, x: Array, /) -> Array:
    """Return whether the value is neither infinite nor NaN; of a complex number, whether both parts are.

    >>> import opmux as ox
    >>> ox.isfinite(ox.asarray([1.0, ox.inf, ox.nan])).tolist()
    [True, False, False]
    """
    return np.isfinite(x)


@elementwise(
    FLOATS,
    result=bool_,
    accuracy=EXACT,
    specials=("signbit(-0) -> True", "signbit(+0) -> False", "signbit(-inf) -> True", "signbit(1) -> False"),
)
def signbit(np: Any, x: Array, /) -> Array:
    """Return whether the sign bit is set: of negative numbers, and of -0.

    >>> import opmux as ox
    >>> ox.signbit(ox.asarray([-1.0, 0.0, -0.0])).tolist()
    [True, False, True]
    """
    return np.signbit(x)


@elementwise(
    ANY,
    accuracy=EXACT,
    specials=("where(True, 1, nan) -> 1", "where(False, 1, -0) -> -0", "where(True, nan, 1) -> nan"),
    core=True,
    promotes=(1, 2),
    leads=bool_,
)
def where(np: Any, condition: Array, x1: Array, x2: Array, /) -> Array:
    """Return ``x1`` where the condition holds, else ``x2``. The condition is bool, ``x1`` and ``x2`` promote.

    >>> import opmux as ox
    >>> ox.where(ox.asarray([True, False]), ox.asarray([1, 2]), 0).tolist()
    [1, 0]
    """
    return np.where(condition, x1, x2)


