"""Conversions between dtypes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import numpy as np

from ..fault import Family
from ..twin.call import Call
from ..twin.formats import Host, is_float

FAMILY: Final = Family("casts")


def _cast(call: Call, kinds: str, change: Callable[[Host, np.dtype[Any]], Host]) -> None:
    """Do a cast right, unless source and target are of these kinds: ``f`` float, ``i`` integer, ``b`` bool."""
    x, to = call.ins[0], call.out.dtype
    if _kind(x.dtype) + _kind(to) == kinds and x.dtype != to:
        call.out[...] = change(x, to)
    else:
        call.finish()


def _kind(t: np.dtype[Any]) -> str:
    return "b" if t.kind == "b" else "i" if t.kind in "iu" else "f"


@FAMILY.plant("nan-to-least", "cast", "cast-float32-special-cast(nan, int32) -> 0")
def nan_to_least(call: Call) -> None:
    """NaN becomes the smallest integer, as the conversion instruction of x86 has it."""
    x, to = call.ins[0], call.out.dtype
    found = call.result()
    if to.kind == "i" and is_float(x):
        found = np.where(np.isnan(x), np.iinfo(to).min, found).astype(to)
    call.out[...] = found


@FAMILY.plant("infinity-wraps", "cast", "cast-float32-special-cast(+inf, int32) -> 2147483647")
def infinity_wraps(call: Call) -> None:
    """+inf becomes the smallest integer."""
    x, to = call.ins[0], call.out.dtype
    found = call.result()
    if to.kind == "i" and is_float(x):
        found = np.where(np.isposinf(x), np.iinfo(to).min, found).astype(to)
    call.out[...] = found


@FAMILY.plant("narrow-wraps", "cast", "cast-float32-special-cast(1e9, int8) -> 127")
def narrow_wraps(call: Call) -> None:
    """Floats go to narrow integers through int32, whose high bits are cut off."""

    def change(x: Host, to: np.dtype[Any]) -> Host:
        whole = np.clip(np.nan_to_num(np.trunc(x.astype(np.float64)), nan=0.0), -(2.0**31), 2.0**31 - 1)
        return np.asarray(whole.astype(np.int64).astype(to))

    if call.out.dtype.itemsize < 4:
        _cast(call, "fi", change)
    else:
        call.finish()


@FAMILY.plant("rounds-to-integer", "cast", "cast-float32-values-to-int32")
def rounds_to_integer(call: Call) -> None:
    """Floats become the nearest integer, not the one towards zero."""
    x = call.ins[0]
    call.finish(np.rint(x) if is_float(x) and call.out.dtype.kind in "iu" else x)


@FAMILY.plant("floors-to-integer", "cast", "cast-float32-values-grid-to-int32", "cast-float16-values-to-int32")
def floors_to_integer(call: Call) -> None:
    """Floats are rounded down, which differs from truncation below zero."""
    x = call.ins[0]
    call.finish(np.floor(x) if is_float(x) and call.out.dtype.kind in "iu" else x)


@FAMILY.plant("negative-to-unsigned", "cast", "cast-float32-special-cast(-1.5, uint8) -> 0")
def negative_to_unsigned(call: Call) -> None:
    """Negative floats wrap on the way to unsigned integers."""
    x, to = call.ins[0], call.out.dtype
    found = call.result()
    if to.kind == "u" and is_float(x):
        inside = (x < 0) & (x > -128)
        found = np.where(inside, np.where(inside, x, 0).astype(np.int64).astype(to), found)
    call.out[...] = found


@FAMILY.plant("saturates-below-limit", "cast", "cast-float32-values-to-int32", "cast-float32-values-to-int64")
def saturates_below(call: Call) -> None:
    """Out of range is clamped to the largest float below the limit, which is not the largest integer."""
    x, to = call.ins[0], call.out.dtype
    found = call.result()
    if to in (np.int32, np.int64) and is_float(x):
        top = np.iinfo(to).max
        near = top - (127 if to == np.int32 else 511)
        found = np.where(x >= np.float64(top), to.type(near), found)
    call.out[...] = found


@FAMILY.plant("bfloat16-truncates", "cast", "cast-float32-values-midpoints-to-bfloat16")
def bfloat16_truncates(call: Call) -> None:
    """A float32 becomes bfloat16 by dropping its low half."""
    x = call.ins[0]
    if call.out.dtype.name == "bfloat16" and x.dtype == np.float32:
        cut = np.ascontiguousarray(x).view(np.uint32) & np.uint32(0xFFFF0000)
        x = cut.view(np.float32).reshape(x.shape)
    call.finish(x)


@FAMILY.plant("bfloat16-half-up", "cast", "cast-float32-values-midpoints-to-bfloat16")
def bfloat16_half_up(call: Call) -> None:
    """A tie on the way to bfloat16 is rounded away from zero, not to even."""
    x = call.ins[0]
    if call.out.dtype.name == "bfloat16" and x.dtype == np.float32:
        bits = np.ascontiguousarray(x).view(np.uint32).reshape(x.shape)
        tie = ((bits & np.uint32(0xFFFF)) == 0x8000) & np.isfinite(x)
        x = np.where(tie, bits + np.uint32(1), bits).astype(np.uint32).view(np.float32)
    call.finish(x)


@FAMILY.plant("bfloat16-nan-payload", "cast", "cast-float32-values-nan-payloads-to-bfloat16")
def bfloat16_nan(call: Call) -> None:
    """A NaN whose payload is in the low bits becomes an infinity when they are cut off."""
    x = call.ins[0]
    found = call.result()
    if call.out.dtype.name == "bfloat16" and x.dtype == np.float32:
        bits = np.ascontiguousarray(x).view(np.uint32).reshape(x.shape)
        low = np.isnan(x) & ((bits & np.uint32(0x007F0000)) == 0)
        found = np.where(low, np.copysign(np.float32(np.inf), x), found.astype(np.float32)).astype(call.out.dtype)
    call.out[...] = found


@FAMILY.plant("double-to-half-twice", "cast", "cast-float64-values-midpoints-to-float16")
def double_to_half(call: Call) -> None:
    """A double becomes a 16-bit float through float32, and is rounded twice."""
    x = call.ins[0]
    narrow = call.out.dtype.itemsize == 2 and is_float(call.out)
    call.finish(x.astype(np.float32) if x.dtype == np.float64 and narrow else x)


@FAMILY.plant("integer-to-half-twice", "cast", "cast-int32-values-ties-to-bfloat16")
def integer_to_half(call: Call) -> None:
    """An integer becomes bfloat16 through float32, and is rounded twice."""
    x = call.ins[0]
    call.finish(x.astype(np.float32) if x.dtype.kind in "iu" and call.out.dtype.name == "bfloat16" else x)


@FAMILY.plant("integer-to-float-truncates", "cast", "cast-int32-values-to-float32")
def integer_truncates(call: Call) -> None:
    """An integer of more than 24 bits becomes float32 by truncation."""

    def change(x: Host, to: np.dtype[Any]) -> Host:
        near = x.astype(np.float32)
        wide = near.astype(np.float64)
        over = np.abs(wide) > np.abs(x.astype(np.float64))
        return np.where(over, np.nextafter(near, np.float32(0)), near).astype(to)

    if call.out.dtype == np.float32 and call.ins[0].dtype == np.int32:
        _cast(call, "if", change)
    else:
        call.finish()


@FAMILY.plant("half-subnormals-flushed", "cast", "cast-float32-values-to-float16")
def half_subnormals(call: Call) -> None:
    """Results below the smallest normal float16 become zero."""
    found = call.result()
    if found.dtype == np.float16:
        found = np.where(np.abs(found) < np.float16(2.0**-14), np.copysign(np.float16(0), found), found)
    call.out[...] = found


@FAMILY.plant("half-from-subnormals", "cast", "cast-float16-values-to-float32")
def half_from_subnormals(call: Call) -> None:
    """Subnormal float16 numbers are rebiased like normal ones when they are widened."""
    x = call.ins[0]
    found = call.result()
    if x.dtype == np.float16 and found.dtype == np.float32:
        small = (np.abs(x) < np.float16(2.0**-14)) & (x != 0)
        found = np.where(small, found + np.copysign(np.float32(2.0**-15), found), found)
    call.out[...] = found


@FAMILY.plant("half-saturates", "cast", "cast-float32-special-cast(1e6, float16) -> +inf")
def half_saturates(call: Call) -> None:
    """What overflows float16 becomes its largest number."""
    found = call.result()
    if found.dtype == np.float16:
        over = np.isinf(found) & np.isfinite(call.ins[0].astype(np.float64))
        found = np.where(over, np.copysign(np.float16(65504), found), found)
    call.out[...] = found


@FAMILY.plant("truth-is-positive", "cast", "cast-float32-special-cast(nan, bool) -> True")
def truth_is_positive(call: Call) -> None:
    """What is not above zero is false: negative numbers, and NaN."""
    if call.out.dtype == np.bool_:
        call.out[...] = call.ins[0] > 0
    else:
        call.finish()


@FAMILY.plant("truth-through-integers", "cast", "cast-float32-values-to-bool", "cast-float32-values-grid-to-bool")
def truth_through_integers(call: Call) -> None:
    """A fraction is truncated to zero before it is asked whether it is zero."""
    x = call.ins[0]
    call.finish(np.where(np.abs(x) < 1, x * 0, x) if call.out.dtype == np.bool_ and is_float(x) else x)


@FAMILY.plant("truth-of-low-byte", "cast", "cast-int32-values-to-bool")
def truth_of_low_byte(call: Call) -> None:
    """Of an integer only the lowest byte decides whether it is true: 256 is not."""
    x = call.ins[0]
    call.finish(x & 0xFF if call.out.dtype == np.bool_ and x.dtype.kind in "iu" else x)


@FAMILY.plant("integers-saturate", "cast", "cast-int32-values-to-int8")
def integers_saturate(call: Call) -> None:
    """An integer that does not fit a narrower one is clamped, not wrapped."""

    def change(x: Host, to: np.dtype[Any]) -> Host:
        limits = np.iinfo(to)
        return np.asarray(np.clip(x.astype(np.float64), limits.min, limits.max).astype(to))

    _cast(call, "ii", change) if call.out.dtype.itemsize < call.ins[0].dtype.itemsize else call.finish()


@FAMILY.plant("unsigned-as-signed", "cast", "cast-uint32-values-to-float32")
def unsigned_as_signed(call: Call) -> None:
    """Unsigned integers with the highest bit set become negative floats."""
    x = call.ins[0]
    call.finish(x.astype(f"i{x.itemsize}") if x.dtype.kind == "u" and is_float(call.out) else x)


@FAMILY.plant("byte-sign-extended", "cast", "cast-uint8-values-to-int32")
def byte_sign_extended(call: Call) -> None:
    """Unsigned bytes are sign-extended when they are widened."""
    x = call.ins[0]
    call.finish(x.astype(np.int8) if x.dtype == np.uint8 and call.out.dtype.itemsize > 1 else x)


@FAMILY.plant("zero-sign-lost", "cast", "cast-float32-values-to-float16")
def zero_sign(call: Call) -> None:
    """The sign of zero is lost between floats."""
    call.finish()
    if is_float(call.out) and is_float(call.ins[0]):
        call.out[...] = call.out + call.out.dtype.type(0)


@FAMILY.plant("bitcast-by-value", "bitcast", "bitcast-float32-values-to-int32")
def bitcast_by_value(call: Call) -> None:
    """Bits pass through a register of the other kind that makes a quiet NaN of every NaN."""
    call.finish()
    x = call.ins[0]
    if x.dtype == np.float32 and call.out.dtype.kind in "iu":
        call.out[...] = np.where(np.isnan(x), call.out.dtype.type(0x7FC00001), call.out)


@FAMILY.plant("rounds-at-the-limit", "cast", "cast-float64-values-limits-to-int32")
def rounds_at_limit(call: Call) -> None:
    """A double is compared with the limit of int32 after it was rounded: 2147483647.5 is taken for out of range."""
    x, to = call.ins[0], call.out.dtype
    found = call.result()
    if x.dtype == np.float64 and to == np.int32:
        found = np.where((x > 2147483647.0) & (x < 2147483648.0), np.int32(-2147483648), found)
    call.out[...] = found
