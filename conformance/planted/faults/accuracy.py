"""Results near the right ones: approximations, contractions, flushed subnormals, roundings in the wrong place."""

from __future__ import annotations

from typing import Final

import numpy as np

from ..fault import Family
from ..twin.call import Call
from ..twin.formats import Host, is_float

FAMILY: Final = Family("accuracy")


def _nudged(x: Host, where: Host, steps: int) -> Host:
    """Return float32 numbers moved by so many units in the last place, where a condition holds."""
    bits = x.copy().reshape(-1).view(np.int32)
    bits[np.asarray(where).reshape(-1) & np.isfinite(x).reshape(-1)] += steps
    return bits.view(np.float32).reshape(x.shape)


@FAMILY.plant("exp-in-one-interval", "exp", "exp-float32-values")
def exp_interval(call: Call) -> None:
    """The polynomial of exp is fitted on an interval that is a little too short: between 20 and 21 it is 3 ULP off."""
    call.finish()
    x = call.ins[0]
    if x.dtype == np.float32:
        call.out[...] = _nudged(call.out, (x > 20) & (x < 21), 3)


@FAMILY.plant("hypot-rounds-twice", "hypot", "hypot-float32-values", says="bound 1")
def hypot_twice(call: Call) -> None:
    """A square root of rounded squares: results above 2 are 2 ULP low."""
    call.finish()
    call.out[...] = _nudged(call.out, call.out > 2, -2) if call.out.dtype == np.float32 else call.out


@FAMILY.plant("hypot-overflows", "hypot", "hypot-float32-values")
def hypot_overflows(call: Call) -> None:
    """The squares of large operands overflow."""
    x, y = call.ins
    call.out[...] = np.sqrt(x * x + y * y)


@FAMILY.plant("log-near-one", "log", "log-float32-values")
def log_near_one(call: Call) -> None:
    """The logarithm is split into exponent and fraction, which cancel just above 1."""
    x = call.ins[0]
    call.finish()
    if x.dtype == np.float32:
        fraction, exponent = np.frexp(x)
        rough = exponent.astype(np.float32) * np.float32(0.6931472) + np.log(fraction)
        call.out[...] = np.where((x > 1) & (x < 1.1), rough, call.out)


@FAMILY.plant("sin-reduces-in-float32", "sin", "sin-float32-values")
def sin_reduction(call: Call) -> None:
    """Large angles are reduced by a multiple of pi that has 24 bits."""
    x = call.ins[0]
    call.finish()
    if x.dtype == np.float32:
        turn = np.float32(6.2831855)
        rough = np.sin(np.where(np.isfinite(x), x, 0) - np.rint(x / turn) * turn)
        call.out[...] = np.where((np.abs(x) > 100) & np.isfinite(x), rough, call.out)


@FAMILY.plant("tanh-cancels", "tanh", "tanh-float32-values")
def tanh_cancels(call: Call) -> None:
    """The hyperbolic tangent of small numbers is 1 - 2 / (exp(2x) + 1), where nearly all bits cancel."""
    x = call.ins[0]
    call.finish()
    if x.dtype == np.float32:
        one = np.float32(1)
        rough = one - np.float32(2) / (np.exp(np.float32(2) * x) + one)
        call.out[...] = np.where((np.abs(x) < 0.1) & (x != 0), rough, call.out)


@FAMILY.plant("pow-through-log", "pow", "pow-float32-values")
def pow_through_log(call: Call) -> None:
    """A power is exp(y * log(x)) in float32, which loses the bits of a large product."""
    x, y = call.ins
    call.finish()
    if x.dtype == np.float32:
        rough = np.exp(y * np.log(np.where(x > 0, x, 1)))
        call.out[...] = np.where((x > 0) & np.isfinite(x) & np.isfinite(y) & np.isfinite(rough), rough, call.out)


@FAMILY.plant("divide-by-reciprocal", "divide", "divide-float32-values")
def divide_by_reciprocal(call: Call) -> None:
    """X / y is x times the rounded reciprocal of y."""
    x, y = call.ins
    call.out[...] = x * (x.dtype.type(1) / y) if x.dtype == np.float32 else call.result()


@FAMILY.plant("sqrt-by-reciprocal", "sqrt", "sqrt-float32-values")
def sqrt_by_reciprocal(call: Call) -> None:
    """A square root is x times an approximate reciprocal one, which is not correctly rounded."""
    x = call.ins[0]
    call.finish()
    if x.dtype == np.float32:
        rough = x * (np.float32(1) / np.sqrt(x))
        call.out[...] = np.where((x > 0) & np.isfinite(rough), rough, call.out)


@FAMILY.plant("fma-in-two-steps", "fma", "fma-float32-values", "fma-float32-values-cancellation")
def fma_two_steps(call: Call) -> None:
    """A fused multiply-add is a product and a sum, rounded twice."""
    x, y, z = call.ins
    call.out[...] = x * y + z


@FAMILY.plant("fma-in-double", "fma", "fma-float32-values")
def fma_in_double(call: Call) -> None:
    """A fused multiply-add in double is rounded once to double and again to float."""
    x, y, z = call.ins
    if x.dtype == np.float32:
        call.out[...] = (x.astype(np.float64) * y.astype(np.float64) + z.astype(np.float64)).astype(np.float32)
    else:
        call.finish()


@FAMILY.plant("subnormal-results-flushed", "multiply", "multiply-float32-values")
def results_flushed(call: Call) -> None:
    """Results below the smallest normal number are zero, and the device does not say so."""
    call.finish()
    if call.out.dtype == np.float32:
        tiny = np.finfo(np.float32).tiny
        call.out[...] = np.where(np.abs(call.out) < tiny, np.copysign(np.float32(0), call.out), call.out)


@FAMILY.plant("subnormal-operands-flushed", "add", "add-float32-values")
def operands_flushed(call: Call) -> None:
    """Operands below the smallest normal number are read as zero, and the device does not say so."""
    tiny = np.finfo(np.float32).tiny

    def flushed(x: Host) -> Host:
        return np.where(np.abs(x) < tiny, np.copysign(np.float32(0), x), x).astype(x.dtype)

    call.finish(*map(flushed, call.ins)) if call.ins[0].dtype == np.float32 else call.finish()


@FAMILY.plant("exp-vanishes-early", "exp", "exp-float32-values")
def exp_vanishes(call: Call) -> None:
    """The exponential is zero below -87.3, where results are subnormal and not yet zero."""
    call.finish()
    x = call.ins[0]
    if x.dtype == np.float32:
        call.out[...] = np.where(x < np.float32(-87.34), np.float32(0), call.out)


@FAMILY.plant("rounds-to-zero", "add", "add-float32-values")
def rounds_to_zero(call: Call) -> None:
    """Sums are rounded towards zero: the rounding mode was left changed."""
    x, y = call.ins
    call.finish()
    if x.dtype == np.float32:
        exact = x.astype(np.float64) + y
        over = np.abs(call.out.astype(np.float64)) > np.abs(exact)
        call.out[...] = _nudged(call.out, over & np.isfinite(exact), -1)


@FAMILY.plant("half-ties-up", "multiply", "multiply-float16-values", "multiply-bfloat16-values")
def half_ties(call: Call) -> None:
    """A 16-bit product that lies halfway between two numbers is rounded up."""
    x, y = call.ins
    call.finish()
    if x.dtype.itemsize == 2 and is_float(x):
        exact = x.astype(np.float64) * y.astype(np.float64)
        found = call.out.astype(np.float64)
        above = (call.out.view(np.int16) + np.where(found < 0, -1, 1).astype(np.int16)).view(call.out.dtype)
        middle = exact - found == above.astype(np.float64) - exact
        call.out[...] = np.where(middle & (found > 0) & np.isfinite(exact), above, call.out)


@FAMILY.plant("bfloat16-product-truncated", "multiply", "multiply-bfloat16-values")
def bfloat16_product(call: Call) -> None:
    """A bfloat16 product is the upper half of the float32 one."""
    x, y = call.ins
    if x.dtype.name == "bfloat16":
        wide = x.astype(np.float32) * y.astype(np.float32)
        cut = (wide.view(np.uint32) & np.uint32(0xFFFF0000)).view(np.float32)
        call.out[...] = np.where(np.isnan(wide), wide, cut).astype(x.dtype)
    else:
        call.finish()


@FAMILY.plant("integer-division-by-reciprocal", "floor_divide", "floor_divide-int32-values")
def division_by_reciprocal(call: Call) -> None:
    """Integers are divided through a float32 reciprocal, which is off by one for large quotients."""
    x, y = call.ins
    call.finish()
    if x.dtype == np.int32:
        by = np.where(y == 0, 1, y).astype(np.float32)
        rough = np.floor(x.astype(np.float32) * (np.float32(1) / by)).astype(np.float64)
        small = (np.abs(rough) < 2.0**31) & (y != 0)
        call.out[...] = np.where(small, np.where(small, rough, 0).astype(np.int64), call.out).astype(np.int32)


@FAMILY.plant("exp-of-half-by-table", "exp", "exp-float16-exhaustive")
def exp_table(call: Call) -> None:
    """One entry of a table of float16 exponentials is wrong by three units in the last place."""
    call.finish()
    x = call.ins[0]
    if x.dtype == np.float16:
        bits = call.out.view(np.int16).copy()
        bits[x == np.float16(1.375)] += 3
        call.out[...] = bits.view(np.float16)
