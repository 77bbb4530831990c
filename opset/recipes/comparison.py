"""Recipes that give a bool, and the choice by one."""

from __future__ import annotations

from .building import INFINITY, is_nan
from .program import ARITHMETIC_FLOATS, INTEGERS
from .registry import recipe
from .writing import Value, eq, select

_ORDERED = (*INTEGERS, *ARITHMETIC_FLOATS)


@recipe("equal", "bool", *_ORDERED)
def equal(a: Value, b: Value) -> Value:
    return eq(a, b)


@recipe("not_equal", "bool", *_ORDERED)
def not_equal(a: Value, b: Value) -> Value:
    return ~eq(a, b)


@recipe("less", *_ORDERED)
def less(a: Value, b: Value) -> Value:
    return a < b


@recipe("less_equal", *_ORDERED)
def less_equal(a: Value, b: Value) -> Value:
    return a <= b


@recipe("greater", *_ORDERED)
def greater(a: Value, b: Value) -> Value:
    return a > b


@recipe("greater_equal", *_ORDERED)
def greater_equal(a: Value, b: Value) -> Value:
    return a >= b


@recipe("isnan", *ARITHMETIC_FLOATS)
def isnan(a: Value) -> Value:
    return is_nan(a)


@recipe("isinf", *ARITHMETIC_FLOATS)
def isinf(a: Value) -> Value:
    return eq(abs(a), INFINITY)


@recipe("isfinite", *ARITHMETIC_FLOATS)
def isfinite(a: Value) -> Value:
    return abs(a) < INFINITY


@recipe("isnan", *INTEGERS)
@recipe("isinf", *INTEGERS)
def never(a: Value) -> Value:
    return a.const(False, "bool")


@recipe("isfinite", *INTEGERS)
def always(a: Value) -> Value:
    return a.const(True, "bool")


@recipe("where")
def where(condition: Value, a: Value, b: Value) -> Value:
    return select(condition, a, b)
