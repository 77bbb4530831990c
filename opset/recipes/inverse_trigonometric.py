"""Recipes of the inverse trigonometric functions.

All rest on one odd polynomial each: atan on [-1, 1], beyond by ``pi/2 - atan(1/x)``; asin on [-1/2, 1/2], beyond
by ``pi/2 - 2 asin(sqrt((1 - x) / 2))``, where ``1 - x`` is exact.
"""

from __future__ import annotations

from .building import bits_of, flip_sign, sign_of
from .coefficients import constant, polynomial
from .registry import recipe
from .writing import Value, convert, eq, fma, horner, select, sqrt


@recipe("atan", "float32", "float64")
def _atan(x: Value) -> Value:
    size = abs(x)
    outside = size > 1.0
    t = select(outside, -1.0 / size, size)
    high, low = constant("half_pi", x.type)
    tail = fma(t * (t * t), horner(t * t, polynomial("atan", x.type)), select(outside, x.const(low), 0.0))
    return flip_sign(select(outside, x.const(high), 0.0) + (t + tail), sign_of(x))


@recipe("atan2", "float32", "float64")
def _atan2(y: Value, x: Value) -> Value:
    up, across = abs(y), abs(x)
    steep = across < up
    small, large = select(steep, across, up), select(steep, up, across)
    # 1 for two infinities, 0 for two zeros: the angles that IEEE 754 gives them.
    alike = convert(large > 0.0, x.type)
    ratio = select(eq(small, large), alike, small / large)
    backward = sign_of(x)
    t = flip_sign(ratio, select(steep, ~backward, backward))
    pi, half_pi = constant("pi", x.type), constant("half_pi", x.type)
    left = ~eq(backward, 0)
    high, low = (select(steep, half_pi[i], select(left, x.const(pi[i]), 0.0)) for i in (0, 1))
    tail = fma(t * (t * t), horner(t * t, polynomial("atan", x.type)), low)
    return flip_sign(high + (t + tail), sign_of(y))


def _reduced(x: Value) -> tuple[Value, Value, Value]:
    """Return whether |x| > 1/2, the argument of the polynomial and its square."""
    size = abs(x)
    outer = size > 0.5
    square = select(outer, 0.5 - 0.5 * size, x * x)
    return outer, select(outer, sqrt(square), size), square


@recipe("asin", "float32", "float64")
def _asin(x: Value) -> Value:
    outer, t, square = _reduced(x)
    tail = t * square * horner(square, polynomial("asin", x.type))
    high, low = constant("half_pi", x.type)
    far = high - fma(t, 2.0, fma(tail, 2.0, -low))
    return flip_sign(select(outer, far, t + tail), sign_of(x))


@recipe("acos", "float32", "float64")
def _acos(x: Value) -> Value:
    outer, t, square = _reduced(x)
    left = x < 0.0
    # acos(x) is pi/2 - asin(x), 2 asin(t), or pi - 2 asin(t): in each case a constant minus u + u * square * p.
    u = select(outer, flip_sign(t + t, ~bits_of(x)), x)
    pi, half_pi = constant("pi", x.type), constant("half_pi", x.type)
    high, low = (select(outer, select(left, x.const(pi[i]), 0.0), half_pi[i]) for i in (0, 1))
    return high - (u + fma(u * square, horner(square, polynomial("asin", x.type)), -low))
