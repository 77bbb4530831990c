"""Vectors, unrolled loops and blocks: what happens at their edges."""

from __future__ import annotations

from typing import Final

import numpy as np

from ..fault import Family
from ..twin.call import Call

FAMILY: Final = Family("lanes_and_blocks")
_LANES: Final = 8
_BLOCK: Final = 256


@FAMILY.plant("last-lane", "exp", "exp-float32-shapes-lengths")
def last_lane(call: Call) -> None:
    """The last lane of a vector that is not full is not written."""
    flat, found = call.out.reshape(-1), call.result().reshape(-1)
    n = flat.size - (flat.size % _LANES > 0)
    flat[:n] = found[:n]


@FAMILY.plant("block-tail", "exp", "exp-float32-shapes-lengths")
def block_tail(call: Call) -> None:
    """The tail after the last full block is not computed."""
    call.finish()
    flat = call.out.reshape(-1)
    full = flat.size // _BLOCK * _BLOCK
    if full:
        flat[full:] = flat[full - 1]


@FAMILY.plant("short-vector", "sqrt", "sqrt-float32-shapes-lengths")
def short_vector(call: Call) -> None:
    """A line shorter than one vector is loaded whole, and every lane of the result is the first."""
    call.finish()
    flat = call.out.reshape(-1)
    if 1 < flat.size < 4:
        flat[:] = flat[0]


@FAMILY.plant("unaligned-head", "negative", "negative-float32-strides-offset")
def unaligned_head(call: Call) -> None:
    """The elements before the first aligned address are peeled off and forgotten."""
    call.finish()
    given = call.spec.inputs[0]
    if given is not None and not given.aligned:
        call.out.reshape(-1)[0] = 0


@FAMILY.plant("unrolled-by-four", "multiply", "multiply-float32-shapes-lengths")
def unrolled_by_four(call: Call) -> None:
    """Of the remainder of a loop unrolled by four only two elements are done."""
    call.finish()
    flat = call.out.reshape(-1)
    if flat.size % 4 == 3:
        flat[-1] = flat[-2]


@FAMILY.plant("row-tail-from-next-row", "add", "add-float32-values-grid", "add-int32-values-grid")
def row_tail(call: Call) -> None:
    """The tail of each row is computed from the next row, as if rows were padded to whole vectors."""
    call.finish()
    if call.out.ndim > 1 and call.out.shape[-1] % _LANES and call.out.shape[-1] > 1:
        rows = call.out.reshape(-1, call.out.shape[-1])
        rows[:-1, -1] = rows[1:, 0]


@FAMILY.plant("second-block-late", "subtract", "subtract-float32-shapes-lengths")
def second_block_late(call: Call) -> None:
    """The second block of 1,024 starts one element late."""
    call.finish()
    flat = call.out.reshape(-1)
    if flat.size > 1024:
        flat[1024] = flat[1023]


@FAMILY.plant("mask-word", "where", "where-float32-shapes-lengths")
def mask_word(call: Call) -> None:
    """Conditions are packed into words of 32 bits, and those of the last word that is not full count as true."""
    condition, x, y = call.ins
    flat = np.ascontiguousarray(condition).reshape(-1).copy()
    if flat.size > 32:
        flat[flat.size // 32 * 32 :] = True
    call.finish(flat.reshape(condition.shape), x, y)


@FAMILY.plant("copy-by-words", "copy", "copy-bool-shapes-cube", "copy-bool-values-hard")
def copy_by_words(call: Call) -> None:
    """Bytes are copied four at a time, and up to three at the end are left out."""
    raw = np.ascontiguousarray(call.ins[0]).reshape(-1).view(np.uint8)
    n = raw.size // 4 * 4
    call.out.reshape(-1).view(np.uint8)[:n] = raw[:n]


@FAMILY.plant("packed-pairs", "cast", "cast-float32-values-grid-to-float16")
def packed_pairs(call: Call) -> None:
    """16-bit results are stored in pairs, and one that is left over is not stored."""
    flat, found = call.out.reshape(-1), call.result().reshape(-1)
    n = flat.size // 2 * 2 if flat.itemsize == 2 and flat.size > 1 else flat.size
    flat[:n] = found[:n]


@FAMILY.plant("sum-lanes-tail", "sum", "sum-float32-shapes-n17", "sum-int32-shapes-n17")
def sum_lanes_tail(call: Call) -> None:
    """What is left after the last full vector is not added."""
    x = call.ins[0]
    if x.ndim == 1 and x.size > _LANES:
        call.finish(x[: x.size // _LANES * _LANES])
    else:
        call.finish()


@FAMILY.plant("prefetch-past-end", "gather", "gather-float32-values-axis1")
def prefetch(call: Call) -> None:
    """Indices are read one ahead, and the last one is read from behind the end as zero."""
    x, indices = call.ins
    flat = np.ascontiguousarray(indices).reshape(-1).copy()
    if flat.size > 4:
        flat[-1] = 0
    call.finish(x, flat.reshape(indices.shape))


@FAMILY.plant("whole-blocks-only", "add", "add-float32-large-even-line", "add-int32-shapes-lengths")
def whole_blocks(call: Call) -> None:
    """A line of whole blocks of 4,096 loses its last one: the remainder was counted as a block."""
    call.finish()
    flat = call.out.reshape(-1)
    if flat.size and flat.size % 4096 == 0:
        flat[-4096:] = 0


@FAMILY.plant("uniform-condition", "where", "where-float32-values-all-false", "where-int32-values-all-false")
def uniform_condition(call: Call) -> None:
    """A condition that is false everywhere is taken for one that is true everywhere, on a path of its own."""
    condition, x, _ = call.ins
    call.finish(condition, x, x) if condition.size > 8 and not condition.any() else call.finish()


@FAMILY.plant("specials-one-per-vector", "exp", "exp-float32-values")
def specials_one_per_vector(call: Call) -> None:
    """The slow path for special operands handles the first one of each vector of 8."""
    x = np.ascontiguousarray(call.ins[0])
    call.finish()
    if x.dtype == np.float32:
        flat, out = x.reshape(-1), call.out.reshape(-1)
        special = ~np.isfinite(flat)
        at = np.flatnonzero(special)
        second = at[1:][(at[1:] // 8) == (at[:-1] // 8)]
        out[second] = 1
