"""Sizes that a counter, a grid or an index cannot hold."""

from __future__ import annotations

from typing import Final

import numpy as np

from ..fault import Family
from ..twin.call import Call
from ..twin.formats import is_float

FAMILY: Final = Family("sizes")
_WORD: Final = 1 << 16
_GRID: Final = 65535


@FAMILY.plant("elements-in-16-bits", "add", "add-float32-large-line", "add-int32-large-line")
def elements_16(call: Call) -> None:
    """Elements are counted in 16 bits: beyond 65,536 they repeat."""
    call.finish()
    flat = call.out.reshape(-1)
    flat[_WORD:] = np.resize(flat[:_WORD], max(flat.size - _WORD, 0))


@FAMILY.plant("grid-of-rows", "multiply", "multiply-float32-large-rows")
def grid_of_rows(call: Call) -> None:
    """One block runs per row, and a grid has 65,535 of them."""
    if call.out.ndim == 2 and call.out.shape[0] > _GRID:
        call.out[:_GRID] = call.result()[:_GRID]
    else:
        call.finish()


@FAMILY.plant("grid-of-batches", "matmul", "matmul-float32-large-batches")
def grid_of_batches(call: Call) -> None:
    """Batches are the third axis of the grid, which holds 65,535."""
    if call.out.ndim == 3 and call.out.shape[0] > _GRID:
        call.out[:_GRID] = call.result()[:_GRID]
    else:
        call.finish()


@FAMILY.plant("rows-of-a-product", "matmul", "matmul-float32-large-rows", "matmul-int32-large-rows")
def rows_of_product(call: Call) -> None:
    """The row index of a product wraps at 65,536."""
    call.finish()
    call.out[..., _WORD:, :] = call.out[..., : max(call.out.shape[-2] - _WORD, 0), :]


@FAMILY.plant("reduced-rows", "sum", "sum-float32-large-rows", "sum-int32-large-rows")
def reduced_rows(call: Call) -> None:
    """Rows beyond the 65,535th are not reduced."""
    found = call.result().reshape(-1)
    call.out.reshape(-1)[:_GRID] = found[:_GRID]


@FAMILY.plant("line-beyond-a-grid", "max", "max-float32-large-line", "max-int32-large-line")
def line_beyond_grid(call: Call) -> None:
    """A line is reduced by at most 1,024 blocks of 1,024 elements."""
    x = call.ins[0]
    call.finish(x[: 1 << 20]) if x.ndim == 1 and x.size > 1 << 20 else call.finish()


@FAMILY.plant("terms-in-16-bits", "matmul", "matmul-float32-large-terms")
def terms_16(call: Call) -> None:
    """The contracted length is kept in 16 bits."""
    x, y = call.ins
    n = x.shape[-1] % _WORD if x.shape[-1] > _WORD else x.shape[-1]
    call.finish(x[..., :n], y[..., :n, :])


@FAMILY.plant("gather-index-16", "gather", "gather-float32-large-line", "gather-float32-large-rows")
def gather_16(call: Call) -> None:
    """Indices are packed into 16 bits."""
    x, indices = call.ins
    call.finish(x, np.where(np.abs(indices.astype(np.int64)) >= _WORD, indices % _WORD, indices))


@FAMILY.plant("scatter-index-16", "scatter", "scatter-float32-large-line", "scatter-int32-large-line")
def scatter_16(call: Call) -> None:
    """Places beyond 65,535 are not written."""
    x, indices, updates = call.ins
    call.finish(x, np.where(indices >= _WORD, 2**30, indices) if call["mode"] == "drop" else indices, updates)


@FAMILY.plant("position-in-16-bits", "argmax", "argmax-float32-large-last", "argmax-int32-large-last")
def position_16(call: Call) -> None:
    """Positions are kept in 16 bits."""
    call.finish()
    call.out[...] = call.out % _WORD


@FAMILY.plant("sorted-in-parts", "argsort", "argsort-float32-large-line", "argsort-int32-large-line")
def sorted_in_parts(call: Call) -> None:
    """Lines of more than 32,768 are sorted in parts that are never merged."""
    x = call.ins[0]
    if x.ndim == 1 and x.size > 1 << 15:
        for start in range(0, x.size, 1 << 15):
            part = x[start : start + (1 << 15)]
            call.out[start : start + part.size] = start + np.argsort(part, kind="stable")
    else:
        call.finish()


@FAMILY.plant("ramp-in-floats", "iota", "iota-float32-large-beyond-2**24")
def ramp_in_floats(call: Call) -> None:
    """A ramp counts in float32, which leaves out odd numbers beyond 2**24 instead of rounding them."""
    call.finish()
    if is_float(call.out) and call.out.size > 1 << 24:
        flat = call.out.reshape(-1)
        flat[1 << 24 :] = np.float32(1 << 24)


@FAMILY.plant("ramp-in-16-bits", "iota", "iota-int32-large-rows", "iota-int32-large-columns")
def ramp_16(call: Call) -> None:
    """A ramp counts in 16 bits."""
    call.finish()
    if not is_float(call.out) and call.out.itemsize > 2:
        call.out[...] = call.out % _WORD


@FAMILY.plant("copy-in-one-launch", "copy", "copy-float32-large-line", "copy-bool-large-line")
def copy_once(call: Call) -> None:
    """One launch copies at most 2**20 elements."""
    found = call.result().reshape(-1)
    call.out.reshape(-1)[: 1 << 20] = found[: 1 << 20]


@FAMILY.plant("cast-last-chunk", "cast", "cast-float32-large-line", "cast-int32-large-line")
def cast_last_chunk(call: Call) -> None:
    """Large arrays are cast in chunks of 65,536, and a last one that is not full is not cast."""
    call.finish()
    flat = call.out.reshape(-1)
    if flat.size > _WORD:
        flat[flat.size // _WORD * _WORD :] = 0


@FAMILY.plant("random-block-16", "random_bits", "random_bits-uint32-large-line")
def random_16(call: Call) -> None:
    """Blocks of random words are numbered in 16 bits."""
    call.finish()
    flat = call.out.reshape(-1)
    if flat.size > 4 * _WORD:
        flat[4 * _WORD :] = flat[: flat.size - 4 * _WORD]


@FAMILY.plant("pad-offset-16", "pad", "pad-float32-large-widths")
def pad_16(call: Call) -> None:
    """The width before an axis is kept in 16 bits."""
    x, value = call.ins
    call.out[...] = value
    inner = tuple(slice(low % _WORD, low % _WORD + n) for (low, _), n in zip(call["pad_width"], x.shape, strict=True))
    call.out[inner] = x


@FAMILY.plant("concat-offset-16", "concat", "concat-float32-large-line", "concat-int32-large-line")
def concat_16(call: Call) -> None:
    """The place of a part is kept in 16 bits."""
    at, axis = 0, call["axis"]
    out = np.moveaxis(call.out, axis, 0)
    for part in call.ins:
        n = part.shape[axis]
        out[at % _WORD : at % _WORD + n] = np.moveaxis(part, axis, 0)
        at += n


@FAMILY.plant(
    "scan-in-16-bits", "cumulative_sum", "cumulative_sum-float32-large-line", "cumulative_sum-int32-large-line"
)
def scan_16(call: Call) -> None:
    """Beyond 65,536 elements a running sum starts again."""
    x, axis = call.ins[0], call["axis"]
    call.finish()
    if x.shape[axis] > _WORD:
        out, line = np.moveaxis(call.out, axis, 0), np.moveaxis(x, axis, 0)
        out[_WORD:] = np.cumsum(line[_WORD:], axis=0, dtype=call.out.dtype)


@FAMILY.plant("rank-of-five", "copy", "copy-float32-strides-rank6-permuted")
def rank_of_five(call: Call) -> None:
    """A strided copy walks at most five axes."""
    x = call.ins[0]
    call.finish()
    if x.ndim > 5 and not x.flags.c_contiguous:
        call.out[1:] = call.out[:1]


@FAMILY.plant("axes-collapsed-wrongly", "negative", "negative-float32-strides-rank6-permuted")
def collapsed(call: Call) -> None:
    """Neighbouring axes are collapsed into one although the outer stride is no multiple of the inner one."""
    x = call.ins[0]
    if x.ndim > 4 and not x.flags.c_contiguous and min(x.strides) > 0:
        in_memory = np.ascontiguousarray(x.transpose(np.argsort(x.strides)[::-1]))
        x = in_memory.reshape(x.shape)
    call.finish(x)


@FAMILY.plant("broadcast-rows-16", "multiply", "multiply-float32-large-broadcast")
def broadcast_rows(call: Call) -> None:
    """The row of an operand that repeats along it is counted in 16 bits."""
    x, y = call.ins
    if x.ndim == 2 and x.strides[1] == 0 and x.shape[0] > _WORD:
        x = np.concatenate([x[:_WORD], x[: x.shape[0] - _WORD]])
    call.finish(x, y)
