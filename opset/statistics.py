"""Composites over reductions: means, spreads, and the stable logarithm of a sum of exponentials."""

from __future__ import annotations

from typing import Any

from ..core.arrays.array import Array
from ..core.dtypes import FLOATS
from . import rules
from .accuracy import Composed
from .declare import composite
from .widening import narrow, widen


def count(shape: tuple[int, ...], axis: Any) -> int:
    """Return how many elements a reduction over these axes combines."""
    n = 1
    for a in range(len(shape)) if axis is None else (axis,) if isinstance(axis, int) else axis:
        n *= shape[a]
    return n


@composite(
    infer=rules.reduction(FLOATS),
    dtypes=FLOATS,
    accuracy=Composed(2, growth="terms", scale="operands"),
    work=rules.per_input(1),
    specials=("mean of nothing -> nan",),
)
def mean(ox: Any, x: Array, /, *, axis: int | tuple[int, ...] | None = None, keepdims: bool = False) -> Array:
    """Return the arithmetic mean; float16 and bfloat16 are summed in float32.

    >>> import opmux as ox
    >>> float(ox.mean(ox.asarray([1.0, 2.0, 6.0])))
    3.0
    """
    wide = widen(ox, x)
    total = ox.sum(wide, axis=axis, keepdims=keepdims)
    return narrow(ox, total / float(count(x.shape, axis)), x)


@composite(
    infer=rules.reduction(FLOATS),
    dtypes=FLOATS,
    accuracy=Composed(8, growth="terms", scale="operands"),
    work=rules.per_input(4),
    specials=("var of nothing -> nan",),
)
def var(
    ox: Any,
    x: Array,
    /,
    *,
    axis: int | tuple[int, ...] | None = None,
    correction: float = 0.0,
    keepdims: bool = False,
) -> Array:
    """Return the variance, by the two-pass method; the divisor is ``n - correction``, not below zero.

    >>> import opmux as ox
    >>> float(ox.var(ox.asarray([1.0, 3.0])))
    1.0
    """
    wide = widen(ox, x)
    n = count(x.shape, axis)
    centred = wide - ox.sum(wide, axis=axis, keepdims=True) / float(n)
    squares = ox.sum(centred * centred, axis=axis, keepdims=keepdims)
    divisor = n - correction
    return narrow(ox, squares / (divisor if divisor > 0 else 0.0), x)


@composite(
    infer=rules.reduction(FLOATS),
    dtypes=FLOATS,
    accuracy=Composed(8, growth="terms", scale="operands"),
    work=rules.per_input(4),
    specials=("std of nothing -> nan",),
)
def std(
    ox: Any,
    x: Array,
    /,
    *,
    axis: int | tuple[int, ...] | None = None,
    correction: float = 0.0,
    keepdims: bool = False,
) -> Array:
    """Return the standard deviation, the square root of :func:`var`.

    >>> import opmux as ox
    >>> float(ox.std(ox.asarray([1.0, 3.0])))
    1.0
    """
    wide = widen(ox, x)
    return narrow(ox, ox.sqrt(ox.var(wide, axis=axis, correction=correction, keepdims=keepdims)), x)


@composite(
    infer=rules.reduction(FLOATS, empty=False),
    dtypes=FLOATS,
    accuracy=Composed(8, growth="terms", scale="operands"),
    work=rules.per_input(25),
    specials=("logsumexp(-inf, -inf) -> -inf", "logsumexp(+inf, 1) -> +inf", "logsumexp(nan, 1) -> nan"),
)
def logsumexp(ox: Any, x: Array, /, *, axis: int | tuple[int, ...] | None = None, keepdims: bool = False) -> Array:
    """Return the logarithm of the sum of exponentials, shifted by the maximum so that nothing overflows.

    >>> import opmux as ox
    >>> float(ox.logsumexp(ox.asarray([1000.0])))
    1000.0
    """
    wide = widen(ox, x)
    top = ox.max(wide, axis=axis, keepdims=True)
    # An infinite maximum must not be subtracted from itself.
    shift = ox.where(ox.isfinite(top), top, 0.0)
    total = ox.log(ox.sum(ox.exp(wide - shift), axis=axis, keepdims=True)) + shift
    return narrow(ox, total if keepdims else ox.sum(total, axis=axis), x)
