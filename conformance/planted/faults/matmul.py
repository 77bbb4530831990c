"""Matrix products: tiles, batches, accumulators."""

from __future__ import annotations

from typing import Final

import numpy as np

from ..fault import Family
from ..twin.call import Call
from ..twin.formats import Host, is_float

FAMILY: Final = Family("matmul")


@FAMILY.plant("transposed-second", "matmul", "matmul-float32-strides-transposed")
def transposed_second(call: Call) -> None:
    """A transposed second operand is read as if it were not."""
    x, y = call.ins
    if y.ndim == 2 and y.strides[0] < y.strides[1]:
        y = np.ascontiguousarray(y.T).reshape(y.shape)
    call.finish(x, y)


@FAMILY.plant("square-swapped", "matmul", "matmul-float32-values-square", "matmul-float32-values-batch-square")
def square_swapped(call: Call) -> None:
    """Column-major is asked of the library, so operands are swapped: right for all shapes, but for a square pair."""
    x, y = call.ins
    call.finish(y, x) if x.shape == y.shape else call.finish()


@FAMILY.plant("term-tail", "matmul", "matmul-float32-values-places", "matmul-int32-values-tall")
def term_tail(call: Call) -> None:
    """Terms are taken four at a time, and what is left over is dropped."""
    x, y = call.ins
    n = x.shape[-1] // 4 * 4 if x.shape[-1] > 4 else x.shape[-1]
    call.finish(x[..., :n], y[..., :n, :])


@FAMILY.plant("second-block-overwrites", "matmul", "matmul-float32-shapes-2x257x2", "matmul-float32-values-deep")
def second_block(call: Call) -> None:
    """Every block of terms but the last is overwritten by the next: beta is 0 where it should be 1."""
    x, y = call.ins
    first = (x.shape[-1] - 1) // 256 * 256 if x.shape[-1] else 0
    call.finish(x[..., first:], y[..., first:, :])


@FAMILY.plant("row-edge", "matmul", "matmul-float32-shapes-33x34x35", "matmul-float32-values-tall")
def row_edge(call: Call) -> None:
    """The rows below the last full tile of 8 are copies of the row above them."""
    call.finish()
    m = call.out.shape[-2]
    if m > 8 and m % 8:
        call.out[..., m // 8 * 8 :, :] = call.out[..., m // 8 * 8 - 1 : m // 8 * 8, :]


@FAMILY.plant("column-edge", "matmul", "matmul-float32-shapes-33x34x35", "matmul-float32-values-tall")
def column_edge(call: Call) -> None:
    """The columns right of the last full tile of 16 are not written."""
    n = call.out.shape[-1]
    if n > 16 and n % 16:
        call.out[..., : n // 16 * 16] = call.result()[..., : n // 16 * 16]
    else:
        call.finish()


@FAMILY.plant("one-row", "matmul", "matmul-float32-shapes-row", "matmul-float32-shapes-1x513x1")
def one_row(call: Call) -> None:
    """The path for a single row takes the second operand for a transposed one."""
    x, y = call.ins
    if x.ndim == 2 and x.shape[0] == 1 and y.size > 1 and x.shape[1] > 1:
        call.finish(x, np.ascontiguousarray(np.flip(y, 0)))
    else:
        call.finish()


@FAMILY.plant("first-batch-again", "matmul", "matmul-float32-values-batch")
def first_batch(call: Call) -> None:
    """The second operand's batch index is never advanced."""
    x, y = call.ins
    call.finish(x, np.broadcast_to(y[:1], y.shape)) if y.ndim > 2 else call.finish()


@FAMILY.plant("two-batch-axes", "matmul", "matmul-float32-values-batches")
def two_batch_axes(call: Call) -> None:
    """Of several batch axes only the last one is walked."""
    x, y = call.ins
    if x.ndim == 4:
        call.finish(np.broadcast_to(x[:1], x.shape), y)
    else:
        call.finish()


@FAMILY.plant("half-product", "matmul", "matmul-float16-values-growing", "matmul-bfloat16-values-growing")
def half_product(call: Call) -> None:
    """16-bit floats are accumulated in 16 bits."""
    x, y = call.ins
    if x.dtype.itemsize == 2 and is_float(x):
        total = np.zeros(call.out.shape, x.dtype)
        for i in range(x.shape[-1]):
            term = x[..., :, i : i + 1].astype(np.float32) * y[..., i : i + 1, :].astype(np.float32)
            total = (total.astype(np.float32) + term).astype(x.dtype)
        call.out[...] = total
    else:
        call.finish()


@FAMILY.plant("half-overflows-inside", "matmul", "matmul-float16-values-cancelling")
def half_overflows(call: Call) -> None:
    """A partial sum of float16 overflows, though the result would fit."""
    x, y = call.ins
    call.finish()
    if x.dtype == np.float16 and x.shape[-1] > 1:
        n = x.shape[-1] // 2
        part = np.matmul(x[..., :n].astype(np.float64), y[..., :n, :].astype(np.float64))
        call.out[...] = np.where(np.abs(part) > 65504, np.copysign(np.inf, part), call.out)


@FAMILY.plant("ten-bit-factors", "matmul", "matmul-float32-values-square", "matmul-float32-shapes-1x1x17")
def ten_bit_factors(call: Call) -> None:
    """float32 factors are cut to the 10 bits of a tensor unit's format."""
    call.finish(*map(_cut, call.ins)) if call.ins[0].dtype == np.float32 else call.finish()


def _cut(x: Host, kept: int = 0xFFFFE000) -> Host:
    bits = np.ascontiguousarray(x).view(np.uint32) & np.uint32(kept)
    return bits.view(np.float32).reshape(x.shape)


@FAMILY.plant("factors-as-bfloat16", "matmul", "matmul-float32-values-blocks")
def factors_as_bfloat16(call: Call) -> None:
    """Large float32 products run in bfloat16, as a fast-math switch allows."""
    x, y = call.ins
    if x.dtype == np.float32 and x.shape[-1] >= 128:
        call.finish(
            *((np.ascontiguousarray(v).view(np.uint32) & np.uint32(0xFFFF0000)).view(np.float32) for v in (x, y))
        )
    else:
        call.finish()


@FAMILY.plant("bytes-saturate", "matmul", "matmul-int8-values-ends-to-int32")
def bytes_saturate(call: Call) -> None:
    """Pairs of byte products are added in 16 bits with saturation, as an old dot product instruction does."""
    x, y = call.ins
    if x.dtype == np.int8 and call.out.dtype == np.int32:
        total = np.zeros(call.out.shape, np.int64)
        for i in range(0, x.shape[-1], 2):
            pair = np.matmul(x[..., i : i + 2].astype(np.int64), y[..., i : i + 2, :].astype(np.int64))
            total += np.clip(pair, -32767, 32766)
        call.out[...] = total
    else:
        call.finish()


@FAMILY.plant("integers-by-float", "matmul", "matmul-int32-values-square")
def integers_by_float(call: Call) -> None:
    """Integers are multiplied by the float unit."""
    x, y = call.ins
    if x.dtype == np.int32:
        call.out[...] = np.clip(np.matmul(x.astype(np.float64), y.astype(np.float64)), -(2.0**62), 2.0**62).astype(
            np.int64
        )
    else:
        call.finish()


@FAMILY.plant(
    "zeros-skipped", "matmul", "matmul-float32-values-hard", "matmul-float32-special-matmul([[+inf]], [[0]]) -> [[nan]]"
)
def zeros_skipped(call: Call) -> None:
    """Factors that are zero are skipped, so infinity times zero is not NaN."""
    x, y = call.ins
    if is_float(x):
        y = np.where(np.isfinite(y) | (np.all(x != 0, axis=-2)[..., :, None]), y, 0).astype(y.dtype)
        x = np.where(np.isfinite(x) | (np.all(y != 0, axis=-1)[..., None, :]), x, 0).astype(x.dtype)
    call.finish(x, y)


@FAMILY.plant("padding-holds-nan", "matmul", "matmul-float32-values-hard")
def padding(call: Call) -> None:
    """NaN in one row reaches the other rows of its tile through lanes that are masked too late."""
    call.finish()
    out = call.out
    if is_float(out) and out.shape[-2] > 4:
        rows = np.isnan(out).all(axis=-1)
        for i in np.flatnonzero(rows.reshape(-1, rows.shape[-1]).any(axis=0)):
            out[..., i // 4 * 4 : i // 4 * 4 + 4, :] = np.nan


@FAMILY.plant("no-terms-no-write", "matmul", "matmul-float32-shapes-empty-k")
def no_terms(call: Call) -> None:
    """Without terms nothing is computed, so the result keeps what its memory held."""
    if call.ins[0].shape[-1]:
        call.finish()


@FAMILY.plant("adds-to-the-result", "matmul", "matmul-float32-values-tall", "matmul-int32-values-tall")
def adds_to_result(call: Call) -> None:
    """The product is added to what the memory of the result held: beta is 1 where it should be 0."""
    with np.errstate(all="ignore"):
        call.out[...] = call.out + call.result()


@FAMILY.plant("unit-stride-lines", "matmul", "matmul-float32-strides-step")
def unit_stride(call: Call) -> None:
    """A leading dimension is given to the library and the step within rows is not."""
    x, y = call.ins
    if (
        x.ndim == 2
        and x.strides[-1] != x.itemsize
        and x.shape[-1] > 1
        and x.strides[-1] > 0
        and x.strides[0] > x.strides[1]
    ):
        steps = (x.strides[0], x.itemsize)
        x = np.lib.stride_tricks.as_strided(x, x.shape, steps)
    call.finish(x, y)


@FAMILY.plant("only-second-transposed", "matmul", "matmul-float32-strides-mixed-dense-first")
def only_second_transposed(call: Call) -> None:
    """Of the four combinations of transposed operands one is wrong: a dense one times a transposed one."""
    x, y = call.ins
    if y.ndim == 2 and x.flags.c_contiguous and y.flags.f_contiguous and not y.flags.c_contiguous:
        y = np.ascontiguousarray(y.T).reshape(y.shape)
    call.finish(x, y)


@FAMILY.plant("exact-multiple-of-block", "matmul", "matmul-float32-shapes-2x256x2")
def exact_multiple(call: Call) -> None:
    """Where the terms fill whole blocks of 256, a block is missing at the end."""
    x, y = call.ins
    n = x.shape[-1]
    call.finish(x[..., : n - 128], y[..., : n - 128, :]) if n and n % 256 == 0 else call.finish()
