"""Integers: wrapping, signs, shifts, and floats used in their place."""

from __future__ import annotations

from typing import Final

import numpy as np

from ..fault import Family
from ..twin.call import Call

FAMILY: Final = Family("integers")
_FLOOR: Final = "floor_divide-int32-special-"


@FAMILY.plant("division-truncates", "floor_divide", f"{_FLOOR}floor_divide(-7, 2) -> -4")
def division_truncates(call: Call) -> None:
    """Integer division truncates, as in C."""
    x, y = call.ins
    call.finish()
    wrong = (y != 0) & (np.remainder(x, np.where(y == 0, 1, y)) != 0) & ((x < 0) != (y < 0))
    call.out[wrong] += call.out.dtype.type(1)


@FAMILY.plant("division-by-zero", "floor_divide", "floor_divide-int32-values")
def division_by_zero(call: Call) -> None:
    """An integer divided by zero is -1."""
    call.finish()
    call.out[...] = np.where(call.ins[1] == 0, np.array(-1).astype(call.out.dtype), call.out)


@FAMILY.plant("least-by-minus-one", "floor_divide", "floor_divide-int32-values")
def least_by_minus_one(call: Call) -> None:
    """The smallest integer divided by -1 saturates."""
    call.finish()
    x, y = call.ins
    if x.dtype.kind == "i":
        limits = np.iinfo(x.dtype)
        call.out[...] = np.where((x == limits.min) & (y == -1), limits.max, call.out)


@FAMILY.plant("division-by-double", "floor_divide", "floor_divide-int64-values")
def division_by_double(call: Call) -> None:
    """64-bit integers are divided as doubles, which hold 53 bits."""
    x, y = call.ins
    call.finish()
    if x.dtype == np.int64:
        by = np.where(y == 0, 1, y)
        near = np.clip(np.floor(x.astype(np.float64) / by), -(2.0**62), 2.0**62).astype(np.int64)
        call.out[...] = np.where((y == 0) | (np.abs(call.out) > 2**61), call.out, near)


@FAMILY.plant("unsigned-division", "floor_divide", "floor_divide-uint32-values")
def unsigned_division(call: Call) -> None:
    """Unsigned integers are divided as signed ones."""
    x, y = call.ins
    call.finish()
    if x.dtype.kind == "u":
        s = f"i{x.itemsize}"
        a, b = x.astype(s), y.astype(s)
        call.out[...] = np.where(b == 0, 0, a // np.where(b == 0, 1, b)).astype(x.dtype)


@FAMILY.plant("remainder-sign", "remainder", "remainder-int32-special-remainder(-7, 2) -> 1")
def remainder_sign(call: Call) -> None:
    """The remainder has the sign of the dividend, as in C."""
    x, y = call.ins
    call.finish()
    if x.dtype.kind == "i":
        call.out[...] = np.where(y == 0, 0, np.fmod(x, np.where(y == 0, 1, y)))


@FAMILY.plant("product-through-float", "multiply", "multiply-int32-values")
def product_through_float(call: Call) -> None:
    """Integers are multiplied as floats, which hold 24 bits."""
    x, y = call.ins
    call.finish()
    if x.dtype == np.int32:
        found = np.clip(x.astype(np.float32) * y.astype(np.float32), -(2.0**62), 2.0**62).astype(np.int64)
        call.out[...] = found.astype(np.int32)


@FAMILY.plant("product-low-half", "multiply", "multiply-int64-values")
def product_low_half(call: Call) -> None:
    """Of 64-bit factors only the lower halves are multiplied."""
    x, y = call.ins
    if x.dtype == np.int64:
        call.finish(x & 0xFFFFFFFF, y & 0xFFFFFFFF)
    else:
        call.finish()


@FAMILY.plant("sum-saturates", "add", "add-int8-values", "add-uint8-values")
def sum_saturates(call: Call) -> None:
    """Bytes are added with the saturating instruction."""
    x, y = call.ins
    if x.dtype.kind in "iu" and x.itemsize == 1:
        limits = np.iinfo(x.dtype)
        call.out[...] = np.clip(x.astype(np.int32) + y, limits.min, limits.max)
    else:
        call.finish()


@FAMILY.plant("difference-saturates", "subtract", "subtract-uint8-values", "subtract-uint32-values")
def difference_saturates(call: Call) -> None:
    """An unsigned difference below zero is zero."""
    x, y = call.ins
    call.finish()
    if x.dtype.kind == "u":
        call.out[...] = np.where(x < y, 0, call.out).astype(call.out.dtype)


@FAMILY.plant("shift-count-masked", "bitwise_left_shift",
              "bitwise_left_shift-int32-special-bitwise_left_shift(1, 64) -> 0")  # fmt: skip
def shift_masked(call: Call) -> None:
    """A shift counts modulo the width, as the instruction does."""
    x, y = call.ins
    call.finish(x, y & y.dtype.type(x.itemsize * 8 - 1))


@FAMILY.plant("shift-by-width", "bitwise_left_shift", "bitwise_left_shift-int32-values")
def shift_by_width(call: Call) -> None:
    """A shift by exactly the width leaves the number as it is."""
    x, y = call.ins
    call.finish()
    call.out[...] = np.where(y == x.itemsize * 8, x, call.out)


@FAMILY.plant("logical-right-shift", "bitwise_right_shift",
              "bitwise_right_shift-int32-special-bitwise_right_shift(-5, 1) -> -3")  # fmt: skip
def logical_shift(call: Call) -> None:
    """Zeros move into negative numbers that are shifted down."""
    x, y = call.ins
    call.finish()
    if x.dtype.kind == "i":
        inside = (y > 0) & (y < x.itemsize * 8)
        shifted = np.right_shift(x.view(f"u{x.itemsize}") if x.flags.c_contiguous else x.astype(f"u{x.itemsize}"),
                                 np.where(inside, y, 0).astype(f"u{x.itemsize}"))  # fmt: skip
        call.out[...] = np.where(inside, shifted.astype(x.dtype), call.out)


@FAMILY.plant("right-shift-far", "bitwise_right_shift",
              "bitwise_right_shift-int32-special-bitwise_right_shift(-1, 64) -> -1")  # fmt: skip
def right_shift_far(call: Call) -> None:
    """A negative number shifted down by the width or more is 0, not -1."""
    x, y = call.ins
    call.finish()
    call.out[...] = np.where((y >= x.itemsize * 8) | (y < 0), 0, call.out)


@FAMILY.plant("unsigned-less-as-signed", "less", "less-uint32-values", "less-uint8-values")
def unsigned_less(call: Call) -> None:
    """Unsigned integers are compared as signed ones."""
    x, y = call.ins
    call.finish(*(v.astype(f"i{v.itemsize}") for v in (x, y))) if x.dtype.kind == "u" else call.finish()


@FAMILY.plant("integers-equal-as-floats", "equal", "equal-int32-values-neighbours", "equal-int64-values-neighbours")
def equal_as_floats(call: Call) -> None:
    """Integers are compared as floats, where neighbours of many bits are equal."""
    x, y = call.ins
    if x.dtype.kind == "i" and x.itemsize >= 4:
        wide = np.float32 if x.itemsize == 4 else np.float64
        call.out[...] = x.astype(wide) == y.astype(wide)
    else:
        call.finish()


@FAMILY.plant("abs-of-least", "abs", "abs-int32-values", "abs-int8-exhaustive")
def abs_of_least(call: Call) -> None:
    """The magnitude of the smallest integer saturates."""
    call.finish()
    if call.out.dtype.kind == "i":
        limits = np.iinfo(call.out.dtype)
        call.out[...] = np.where(call.out == limits.min, limits.max, call.out)


@FAMILY.plant("sum-in-narrow-integers", "sum", "sum-int32-values-axis1")
def narrow_sum(call: Call) -> None:
    """The partial sums of 64-bit integers are kept in 32 bits."""
    call.finish()
    if call.out.dtype == np.int64:
        call.out[...] = call.out.astype(np.int32)


@FAMILY.plant("extremes-as-signed", "max", "max-uint32-values-hard", "max-uint8-values-axis1")
def extremes_as_signed(call: Call) -> None:
    """The largest of unsigned integers is found by signed comparison."""
    x = call.ins[0]
    if x.dtype.kind == "u":
        signed = x.astype(f"i{x.itemsize}")
        call.out[...] = np.max(signed, axis=call["axis"], keepdims=call["keepdims"]).astype(x.dtype)
    else:
        call.finish()


@FAMILY.plant("descending-by-negation", "argsort", "argsort-int32-values-hard-descending")
def descending_by_negation(call: Call) -> None:
    """Integers are sorted downwards by their negatives, and the smallest one has none."""
    x = call.ins[0]
    if call["descending"] and x.dtype.kind == "i":
        call.out[...] = np.argsort(-x, axis=call["axis"], kind="stable")
    else:
        call.finish()


@FAMILY.plant("xor-of-truth", "bitwise_xor", "bitwise_xor-bool-values")
def xor_of_truth(call: Call) -> None:
    """Exclusive or of booleans is computed as or."""
    x, y = call.ins
    call.out[...] = (x | y) if x.dtype == np.bool_ else (x ^ y)


@FAMILY.plant("running-sum-narrow", "cumulative_sum", "cumulative_sum-int32-values-axis1")
def running_sum(call: Call) -> None:
    """A running sum of 64-bit integers is kept in 32 bits."""
    call.finish()
    if call.out.dtype == np.int64:
        call.out[...] = call.out.astype(np.int32)
