"""Reductions and scans: accumulators, axes, blocks, positions."""

from __future__ import annotations

from typing import Final

import numpy as np

from ..fault import Family
from ..twin.call import Call
from ..twin.formats import is_float

FAMILY: Final = Family("reductions")
_BLOCK: Final = 256


@FAMILY.plant("half-accumulator", "sum", "sum-float16-values-growing")
def half_accumulator(call: Call) -> None:
    """float16 is summed in float16, where growing sums stop growing."""
    x = call.ins[0]
    if x.dtype == np.float16 and x.ndim == 1 and x.size:
        call.out[...] = np.add.accumulate(x, dtype=np.float16)[-1]
    else:
        call.finish()


@FAMILY.plant("bfloat16-accumulator", "sum", "sum-bfloat16-values-growing")
def bfloat16_accumulator(call: Call) -> None:
    """bfloat16 is summed in bfloat16."""
    x = call.ins[0]
    if x.dtype.name == "bfloat16" and x.ndim == 1 and x.size:
        total = x[0]
        for v in x[1:]:
            total = (np.float32(total) + np.float32(v)).astype(x.dtype)
        call.out[...] = total
    else:
        call.finish()


@FAMILY.plant("empty-sum", "sum", "sum-float32-special-sum([]) -> +0")
def empty_sum(call: Call) -> None:
    """The sum of nothing is what the result held before."""
    if call.ins[0].size:
        call.finish()


@FAMILY.plant("empty-product", "prod", "prod-float32-special-prod([]) -> 1")
def empty_product(call: Call) -> None:
    """The product of nothing is 0."""
    call.finish()
    if not call.ins[0].size:
        call.out[...] = 0


@FAMILY.plant("empty-axis-of-many", "sum", "sum-float32-shapes-empty-axis")
def empty_axis(call: Call) -> None:
    """Lines without elements are skipped, where other axes have some."""
    x = call.ins[0]
    if x.size or x.ndim < 2:
        call.finish()


@FAMILY.plant("all-of-nothing", "all", "all-bool-special-all([]) -> True")
def all_of_nothing(call: Call) -> None:
    """Of nothing, all is false."""
    call.finish()
    if not call.ins[0].size:
        call.out[...] = False


@FAMILY.plant("keepdims-order", "sum", "sum-float32-values-axes-keepdims")
def keepdims_order(call: Call) -> None:
    """With kept axes the results are written in the order of the reversed axes."""
    call.finish()
    if call["keepdims"] and call.out.ndim == 3:
        call.out[...] = np.flip(call.out)


@FAMILY.plant("outer-axes-as-inner", "sum", "sum-float32-shapes-rank4-outer-inner")
def outer_axes(call: Call) -> None:
    """Reduced axes that are apart are taken for the last ones."""
    x, axes = call.ins[0], call["axis"]
    if x.ndim == 4 and axes == (0, 3):
        x = np.ascontiguousarray(x).reshape(x.shape[1], x.shape[2], -1)
        call.out[...] = x.sum(axis=2).reshape(call.out.shape)
    else:
        call.finish()


@FAMILY.plant("square-wrong-axis", "max", "max-float32-shapes-square")
def square_axis(call: Call) -> None:
    """A square is reduced along its rows, whichever axis was asked for."""
    x = call.ins[0]
    square = x.ndim == 2 and x.shape[0] == x.shape[1] and call["axis"] == (0,) and not call["keepdims"]
    call.finish(x.T) if square else call.finish()


@FAMILY.plant("no-axes-means-all", "sum", "sum-float32-shapes-no-axes")
def no_axes(call: Call) -> None:
    """An empty list of axes is taken for all of them."""
    x = call.ins[0]
    if call["axis"] == () and x.ndim:
        call.out[...] = np.sum(x, dtype=call.out.dtype)
    else:
        call.finish()


@FAMILY.plant("length-one-skipped", "max", "max-float32-shapes-ones")
def length_one(call: Call) -> None:
    """A reduced axis of length one is not worth a launch, and nothing is copied either."""
    x = call.ins[0]
    if not (call["axis"] and x.ndim and all(x.shape[a] == 1 for a in call["axis"])):
        call.finish()


@FAMILY.plant("second-pass-missing", "max", "max-float32-values-places-wide")
def second_pass(call: Call) -> None:
    """Each block of 256 has its maximum, and the maxima of the blocks are never combined."""
    x = call.ins[0]
    if x.ndim and x.shape[-1] > _BLOCK and call["axis"] == (x.ndim - 1,):
        call.finish(x[..., :_BLOCK])
    else:
        call.finish()


@FAMILY.plant("partial-block-dropped", "sum", "sum-float32-large-wide", "sum-int32-shapes-n1025")
def partial_block(call: Call) -> None:
    """The last block of a long line is dropped when it is not full."""
    x = call.ins[0]
    if x.ndim and x.shape[-1] > 1024 and call["axis"] == (x.ndim - 1,):
        call.finish(x[..., : x.shape[-1] // 1024 * 1024])
    else:
        call.finish()


@FAMILY.plant("column-tile", "sum", "sum-float32-shapes-tall-columns")
def column_tile(call: Call) -> None:
    """Columns are summed four at a time, and those left over see the first rows only."""
    x = call.ins[0]
    found = call.result()
    if x.ndim == 2 and call["axis"] == (0,) and x.shape[1] % 4 and x.shape[0] > 64:
        rest = x.shape[1] // 4 * 4
        found.reshape(-1)[rest:] = np.sum(x[:64, rest:], axis=0)
    call.out[...] = found


@FAMILY.plant("last-of-ties", "argmax", "argmax-float32-special-argmax([3, 3]) -> 0")
def last_of_ties(call: Call) -> None:
    """Of equal elements the last one is found."""
    x, axis = call.ins[0], call["axis"]
    n = x.shape[axis]
    with np.errstate(all="ignore"):
        wide = np.where(np.isnan(x), np.inf, x.astype(np.float64)) if is_float(x) else x
    call.out[...] = n - 1 - np.argmax(np.flip(wide, axis), axis=axis, keepdims=call["keepdims"])


@FAMILY.plant("tie-across-lanes", "argmax", "argmax-float32-values-ties", "argmax-int32-values-ties")
def tie_across_lanes(call: Call) -> None:
    """Lanes keep their own firsts, and between lanes the lowest lane wins instead of the lowest index."""
    x, axis = call.ins[0], call["axis"]
    line = np.moveaxis(x, axis, -1)
    order = np.argsort(np.arange(line.shape[-1]) % 8, kind="stable")
    found = order[np.argmax(line[..., order], axis=-1)]
    call.out[...] = np.expand_dims(found, axis) if call["keepdims"] else found


@FAMILY.plant("position-within-block", "argmax", "argmax-float32-shapes-wide", "argmax-float32-large-last")
def position_within_block(call: Call) -> None:
    """The position is that within a block of 256."""
    call.finish()
    call.out[...] = call.out % _BLOCK


@FAMILY.plant("position-skips-nan", "argmax", "argmax-float32-special-argmax([1, nan, nan]) -> 1")
def position_skips_nan(call: Call) -> None:
    """The position of the largest number is found, and NaN is none."""
    x = call.ins[0]
    call.finish(np.where(np.isnan(x), -np.inf, x).astype(x.dtype) if is_float(x) else x)


@FAMILY.plant("argmin-of-zeros", "argmin", "argmin-float32-special-argmin([+0, -0]) -> 0")
def argmin_of_zeros(call: Call) -> None:
    """-0 is taken for smaller than +0 where positions are asked for."""
    x = call.ins[0]
    if is_float(x):
        x = np.where((x == 0) & np.signbit(x), -np.float32(1e-45), x).astype(x.dtype)
    call.finish(x)


@FAMILY.plant("any-first-word", "any", "any-bool-values-places")
def any_first_word(call: Call) -> None:
    """Truth values are read in words of eight, and of a line only whole words are."""
    x = call.ins[0]
    if x.ndim and call["axis"] == (x.ndim - 1,) and x.shape[-1] > 8:
        call.finish(x[..., : x.shape[-1] // 8 * 8])
    else:
        call.finish()


@FAMILY.plant("scan-carry", "cumulative_sum", "cumulative_sum-float32-shapes-wide", "cumulative_sum-int32-shapes-wide")
def scan_carry(call: Call) -> None:
    """What a block of a running sum hands on to the next one is the last term, not the last sum."""
    x, axis = call.ins[0], call["axis"]
    n = x.shape[axis]
    call.finish()
    if n > _BLOCK:
        line, out = np.moveaxis(x, axis, -1), np.moveaxis(call.out, axis, -1)
        for start in range(_BLOCK, n, _BLOCK):
            block = np.cumsum(line[..., start : start + _BLOCK], axis=-1, dtype=call.out.dtype)
            out[..., start : start + _BLOCK] = block + line[..., start - 1 : start]


@FAMILY.plant("scan-exclusive", "cumulative_sum", "cumulative_sum-float32-values-first")
def scan_exclusive(call: Call) -> None:
    """Along any axis but the last the running sum leaves out the element itself."""
    call.finish()
    x, axis = call.ins[0], call["axis"]
    if axis != x.ndim - 1:
        call.out[...] = call.out - x


@FAMILY.plant("infinities-cancel", "sum", "sum-float32-special-sum([+inf, -inf]) -> nan")
def infinities_cancel(call: Call) -> None:
    """A compensated sum makes 0 of infinity minus infinity."""
    call.finish()
    x = call.ins[0]
    if is_float(x):
        call.out[...] = np.where(np.isnan(call.out) & ~np.any(np.isnan(x)), 0, call.out)


@FAMILY.plant("compensation-of-infinity", "sum", "sum-float32-values-places-nan")
def compensation(call: Call) -> None:
    """A compensated sum takes infinity from itself, so an infinite sum is NaN."""
    call.finish()
    if is_float(call.out):
        call.out[...] = np.where(np.isinf(call.out), call.out - call.out, call.out)
