"""Zeros with signs, infinities, NaN, and what else is special."""

from __future__ import annotations

from typing import Final

import numpy as np

from ..fault import Family
from ..twin.call import Call
from ..twin.formats import is_float

FAMILY: Final = Family("special_values")


@FAMILY.plant("product-zero-sign", "multiply", "multiply-float32-special-multiply(-1, +0) -> -0")
def product_zero(call: Call) -> None:
    """Adding to an accumulator of +0 loses the sign of a product that is -0."""
    call.finish()
    if is_float(call.out):
        call.out[...] = call.out + call.out.dtype.type(0)


@FAMILY.plant("sum-of-negative-zeros", "add", "add-float32-special-add(-0, -0) -> -0")
def negative_zeros(call: Call) -> None:
    """-0 + -0 is +0."""
    call.finish()
    if is_float(call.out):
        call.out[call.out == 0] = 0


@FAMILY.plant("negate-by-subtraction", "negative", "negative-float32-special-negative(+0) -> -0")
def negate_by_subtraction(call: Call) -> None:
    """A number is negated as 0 - x, which makes +0 of +0."""
    call.out[...] = call.out.dtype.type(0) - call.ins[0]


@FAMILY.plant("abs-by-comparison", "abs", "abs-float32-special-abs(-0) -> +0")
def abs_by_comparison(call: Call) -> None:
    """The magnitude is x where x is not below zero: -0 is not."""
    x = call.ins[0]
    call.out[...] = np.where(x < 0, -x, x)


@FAMILY.plant("sqrt-negative-zero", "sqrt", "sqrt-float32-values")
def sqrt_zero(call: Call) -> None:
    """The square root of -0 is +0: the sign was cut off first."""
    x = call.ins[0]
    call.finish(np.where(x == 0, np.abs(x), x))


@FAMILY.plant("zeros-set-right-too-late", "maximum", "maximum-float32-out-operand0-hard")
def zeros_too_late(call: Call) -> None:
    """The sign of a zero is set right after the result is written, by operands whose place it may have taken."""
    x, y = call.ins
    call.out[...] = np.where((x > y) | (x != x), x, y)
    zeros = np.broadcast_to((x == 0) & (y == 0), call.out.shape)
    np.add(x, y, out=call.out, where=zeros)


@FAMILY.plant("maximum-drops-nan", "maximum", "maximum-float32-special-maximum(nan, 1) -> nan")
def maximum_drops_nan(call: Call) -> None:
    """The maximum ignores NaN, as the instruction of IEEE 754-2008 does."""
    call.finish()
    x, y = call.ins
    if is_float(x):
        call.out[...] = np.where(np.isnan(x), y, np.where(np.isnan(y), x, call.out))


@FAMILY.plant("maximum-second-nan", "maximum", "maximum-float32-values")
def maximum_second(call: Call) -> None:
    """The maximum is x > y ? x : y, which forgets a NaN in the first operand."""
    x, y = call.ins
    call.out[...] = np.where(x > y, x, y)


@FAMILY.plant("minimum-of-zeros", "minimum", "minimum-float32-special-minimum(-0, +0) -> -0")
def minimum_of_zeros(call: Call) -> None:
    """Of -0 and +0 the second one is taken for the smaller."""
    x, y = call.ins
    call.finish()
    call.out[...] = np.where((x == 0) & (y == 0), y, call.out)


@FAMILY.plant("max-drops-nan", "max", "max-float32-special-max([nan, 1]) -> nan")
def max_drops_nan(call: Call) -> None:
    """NaN is never larger than the largest so far, so a reduction drops it."""
    x = call.ins[0]
    call.finish(np.where(np.isnan(x), -np.inf, x).astype(x.dtype) if is_float(x) else x)


@FAMILY.plant("max-nan-behind-first", "max", "max-float32-values-places-nan")
def max_nan_behind_first(call: Call) -> None:
    """NaN wins only as the first element: later ones lose every comparison."""
    x = call.ins[0]
    if is_float(x) and x.ndim and x.size and call["axis"] == (x.ndim - 1,):
        x = x.copy()
        rest = x[..., 1:]
        rest[np.isnan(rest)] = -np.inf
    call.finish(x)


@FAMILY.plant("max-of-zeros", "max", "max-float32-special-max([-0, +0]) -> +0")
def max_of_zeros(call: Call) -> None:
    """The first of equal zeros stays, whatever its sign."""
    x = call.ins[0]
    call.finish()
    if is_float(x) and x.ndim:
        first = np.min(x, axis=call["axis"], keepdims=call["keepdims"], initial=np.inf)
        call.out[...] = np.where(call.out == 0, np.where(first == 0, first, call.out), call.out)
        call.out[call.out == 0] = -0.0


@FAMILY.plant("max-starts-finite", "max", "max-float32-values-constant-lines")
def max_starts_finite(call: Call) -> None:
    """A maximum starts from the most negative finite number, which -inf alone never beats."""
    call.finish()
    if call.out.dtype == np.float32:
        call.out[...] = np.maximum(call.out, np.float32(-3.4028235e38))


@FAMILY.plant("max-starts-tiny", "max", "max-float32-values-constant-lines")
def max_starts_tiny(call: Call) -> None:
    """A maximum starts from the smallest positive number, taken for the most negative one."""
    call.finish()
    if is_float(call.out):
        call.out[...] = np.where(call.out < 0, np.float32(1.1754944e-38), call.out)


@FAMILY.plant("equal-by-bits", "equal", "equal-float32-values")
def equal_by_bits(call: Call) -> None:
    """Floats are compared as bits: NaN equals itself, and -0 is not +0."""
    x, y = (np.ascontiguousarray(v) for v in call.ins)
    bits = f"u{x.itemsize}"
    call.out[...] = (x.view(bits) == y.view(bits)).reshape(call.out.shape)


@FAMILY.plant("less-by-bits", "less", "less-float32-values")
def less_by_bits(call: Call) -> None:
    """Floats are ordered as integers, which turns the order of negative ones around."""
    x, y = (np.ascontiguousarray(v) for v in call.ins)
    if x.dtype == np.float32:
        nan = np.isnan(x) | np.isnan(y)
        less = (x.view(np.int32) < y.view(np.int32)) & ~nan & ((x != 0) | (y != 0))
        call.out[...] = less.reshape(call.out.shape)
    else:
        call.finish()


@FAMILY.plant("less-by-negation", "less", "less-float32-values")
def less_by_negation(call: Call) -> None:
    """A comparison x < y is computed as not x >= y, which holds for NaN."""
    x, y = call.ins
    call.out[...] = ~(x >= y)


@FAMILY.plant("true-is-255", "less", "less-float32-values-grid", says="bytes")
def true_is_255(call: Call) -> None:
    """True is stored as a byte of ones, as a comparison leaves it in a register, and not as 1."""
    call.finish()
    raw = call.out.reshape(-1).view(np.uint8)
    raw[...] = raw * np.uint8(255)


@FAMILY.plant("round-half-away", "round", "round-float32-values")
def round_half_away(call: Call) -> None:
    """A half is rounded away from zero."""
    x = call.ins[0]
    wide = x.astype(np.float64)
    call.out[...] = np.where(np.isfinite(wide), np.copysign(np.floor(np.abs(wide) + 0.5), wide), wide)


@FAMILY.plant("round-through-int", "round", "round-float32-values")
def round_through_int(call: Call) -> None:
    """A number is rounded by a conversion to int32 and back, which large numbers do not survive."""
    call.finish()
    if is_float(call.out):
        call.out[...] = np.where(np.abs(call.out) > 2.0**31, np.copysign(np.float32(2.0**31), call.out), call.out)


@FAMILY.plant("round-to-positive-zero", "round", "round-float32-values")
def round_to_zero(call: Call) -> None:
    """What rounds to zero from below becomes +0."""
    call.finish()
    if is_float(call.out):
        call.out[...] = call.out + call.out.dtype.type(0)


@FAMILY.plant("exp-of-negative-infinity", "exp", "exp-float32-special-exp(-inf) -> +0")
def exp_infinity(call: Call) -> None:
    """The exponential reduces -inf to infinity minus infinity, which is NaN."""
    x = call.ins[0]
    call.finish(np.where(np.isneginf(x), np.nan, x).astype(x.dtype))


@FAMILY.plant("exp-saturates", "exp", "exp-float32-values")
def exp_saturates(call: Call) -> None:
    """The exponential clamps its operand, so what overflows is a large finite number."""
    x = call.ins[0]
    call.finish(np.where((x > 88.72) & np.isfinite(x), np.float32(88.72), x).astype(x.dtype))


@FAMILY.plant("log-of-zero", "log", "log-float32-values")
def log_of_zero(call: Call) -> None:
    """The logarithm of zero is that of the smallest number."""
    x = call.ins[0]
    call.finish(np.where(x == 0, np.finfo(np.float32).tiny, x).astype(x.dtype))


@FAMILY.plant("tanh-overflows", "tanh", "tanh-float32-values")
def tanh_overflows(call: Call) -> None:
    """The hyperbolic tangent is a quotient of two exponentials, which is NaN where both are infinite."""
    call.finish()
    x = call.ins[0]
    call.out[...] = np.where(x > 88.8, np.float32(np.nan), call.out)


@FAMILY.plant("pow-of-nan", "pow", "pow-float32-special-pow(nan, 0) -> 1")
def pow_of_nan(call: Call) -> None:
    """NaN to the power of zero is NaN, as exp(0 * log(NaN)) is."""
    call.finish()
    call.out[...] = np.where(np.isnan(call.ins[0]), call.ins[0], call.out)


@FAMILY.plant("hypot-infinity-and-nan", "hypot", "hypot-float32-values")
def hypot_infinity(call: Call) -> None:
    """The hypotenuse of an infinity and NaN is NaN, and should be an infinity."""
    call.finish()
    x, y = call.ins
    call.out[...] = np.where(np.isnan(x) | np.isnan(y), np.float32(np.nan), call.out)


@FAMILY.plant("where-by-arithmetic", "where", "where-float32-values")
def where_by_arithmetic(call: Call) -> None:
    """A choice is a sum of products with 0 and 1, so NaN of the side not chosen gets through."""
    condition, x, y = call.ins
    if is_float(x):
        c = condition.astype(x.dtype)
        call.out[...] = c * x + (1 - c) * y
    else:
        call.finish()


@FAMILY.plant("fma-infinite-product", "fma", "fma-float32-values")
def fma_product(call: Call) -> None:
    """The product inside of an fma overflows before the addend brings it back."""
    x, y, z = call.ins
    call.finish()
    with np.errstate(all="ignore"):
        product = (x * y).astype(x.dtype)
    call.out[...] = np.where(np.isinf(product) & np.isfinite(x) & np.isfinite(y), product + z, call.out)


@FAMILY.plant("divide-by-zero-large", "divide", "divide-float32-special-divide(1, +0) -> +inf")
def divide_by_zero(call: Call) -> None:
    """Division by zero gives the largest number."""
    call.finish()
    x, y = call.ins
    over = (y == 0) & np.isfinite(x) & (x != 0)
    call.out[...] = np.where(over, np.copysign(np.finfo(np.float32).max, call.out), call.out)


@FAMILY.plant("divide-zero-sign", "divide", "divide-float32-special-divide(1, -0) -> -inf")
def divide_zero_sign(call: Call) -> None:
    """The sign of a zero divisor is lost."""
    x, y = call.ins
    call.finish(x, np.where(y == 0, np.abs(y), y))


@FAMILY.plant("round-of-far-halves", "round", "round-float32-values")
def round_of_far_halves(call: Call) -> None:
    """Halves above 1,000 are rounded up, on a path that adds a half and truncates."""
    call.finish()
    x = call.ins[0]
    if x.dtype == np.float32:
        up = (np.abs(x) > 1000) & (np.abs(x) < 2.0**22) & (np.abs(x - np.trunc(x)) == 0.5)
        call.out[...] = np.where(up, np.trunc(x) + np.copysign(np.float32(1), x), call.out)
