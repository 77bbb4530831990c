"""Recipes for rounding to integers and for square roots."""

from __future__ import annotations

from .building import INFINITY, copy_sign, floor_of
from .program import ARITHMETIC_FLOATS, INTEGERS
from .registry import recipe
from .writing import Value, fma, rint, select, sqrt


@recipe("floor", *ARITHMETIC_FLOATS)
def floor(x: Value) -> Value:
    return floor_of(x)


@recipe("ceil", *ARITHMETIC_FLOATS)
def ceil(x: Value) -> Value:
    near = rint(x)
    # -0.7 gives -1 + 1 = +0; its ceiling is -0.
    return copy_sign(select(near < x, near + 1, near), x)


@recipe("trunc", *ARITHMETIC_FLOATS)
def trunc(x: Value) -> Value:
    return copy_sign(floor_of(abs(x)), x)


@recipe("round", *ARITHMETIC_FLOATS)
def round_to_even(x: Value) -> Value:
    return rint(x)


@recipe("floor", *INTEGERS)
@recipe("ceil", *INTEGERS)
@recipe("trunc", *INTEGERS)
@recipe("round", *INTEGERS)
def unchanged(x: Value) -> Value:
    return x


@recipe("sqrt", *ARITHMETIC_FLOATS)
def square_root(x: Value) -> Value:
    return sqrt(x)


@recipe("rsqrt", *ARITHMETIC_FLOATS)
def reciprocal_square_root(x: Value) -> Value:
    y = x.const(1) / sqrt(x)
    # One Newton step on the exact residual 1 - x * y**2 removes the two roundings of the estimate.
    product = x * y
    low = fma(x, y, -product)
    residual = fma(-product, y, 1) - low * y
    return select((x > 0) & (x < INFINITY), fma(y * 0.5, residual, y), y)
