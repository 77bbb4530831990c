"""Recipes for bits, and for conversions between dtypes."""

from __future__ import annotations

from .building import FRACTION_BITS, saturated_shift, to_float32
from .program import FLOATS, INTEGERS, SIGNED, STORAGE_FLOATS, UNSIGNED, WIDTH
from .registry import recipe
from .writing import Value, bitcast, convert, eq, select

_BITS = ("bool", *INTEGERS)


@recipe("bitwise_and", *_BITS)
def bitwise_and(a: Value, b: Value) -> Value:
    return a & b


@recipe("bitwise_or", *_BITS)
def bitwise_or(a: Value, b: Value) -> Value:
    return a | b


@recipe("bitwise_xor", *_BITS)
def bitwise_xor(a: Value, b: Value) -> Value:
    return a ^ b


@recipe("bitwise_invert", *_BITS)
def bitwise_invert(a: Value) -> Value:
    return ~a


@recipe("bitwise_left_shift", *INTEGERS)
def bitwise_left_shift(a: Value, amount: Value) -> Value:
    inside, beyond = saturated_shift(a, amount, amount.const(0))
    return select(beyond, a.const(0), a << inside)


@recipe("bitwise_right_shift", *UNSIGNED)
def bitwise_right_shift_logical(a: Value, amount: Value) -> Value:
    inside, beyond = saturated_shift(a, amount, amount.const(0))
    return select(beyond, a.const(0), a >> inside)


@recipe("bitwise_right_shift", *SIGNED)
def bitwise_right_shift_arithmetic(a: Value, amount: Value) -> Value:
    inside, _ = saturated_shift(a, amount, amount.const(WIDTH[a.type] - 1))
    return a >> inside


def _integer_to_float(a: Value, to: str) -> Value:
    """Convert an integer of the float's width so that a rounding of the result to 16 bits or fewer is the only one."""
    width, precision = WIDTH[a.type], FRACTION_BITS[to] + 1
    negative = a < 0 if a.type in SIGNED else a.const(False, "bool")
    size = bitcast(select(negative, -a, a), f"uint{width}")
    unit = 1 << width - precision
    low = size & (unit - 1)
    sticky = select(eq(low, 0), size, (size ^ low) | unit)
    wide = convert(select(size < 1 << precision, size, sticky), to)
    return select(negative, -wide, wide)


@recipe("cast")
def cast(a: Value, to: str) -> Value:
    """Convert; the only instructions that touch float16 and bfloat16 are conversions from and to float32.

    Others would round twice on devices that go through float32, or call functions that they lack.
    """
    if a.type == to or "bool" in (a.type, to):
        return convert(convert(a, "float32"), to) if to in STORAGE_FLOATS else convert(a, to)
    wide = convert(a, "float32") if a.type in STORAGE_FLOATS else a
    if to not in STORAGE_FLOATS or wide.type == "float32":
        return convert(wide, to)
    if to == "float16" and a.type not in FLOATS:
        return convert(convert(wide, "float32"), to)  # what float32 cannot hold exactly is infinite in float16
    if WIDTH[wide.type] < 32:
        return convert(convert(wide, "float32"), to)
    if WIDTH[wide.type] == 32:
        return convert(_integer_to_float(wide, "float32"), to)
    return convert(to_float32(wide if wide.type == "float64" else _integer_to_float(wide, "float64")), to)


@recipe("bitcast")
def bitcast_op(a: Value, to: str) -> Value:
    return bitcast(a, to)
