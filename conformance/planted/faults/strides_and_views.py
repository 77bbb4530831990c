"""Operands that do not lie densely, and results that share memory with them."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.lib.stride_tricks import as_strided

from ..fault import Family
from ..twin.call import Call
from ..twin.formats import Host

FAMILY: Final = Family("strides_and_views")


def _linear(x: Host) -> Host:
    """Return what lies at an operand's address, read as if it were row-major; only where strides are positive."""
    if not x.size or any(s < 0 or (s == 0 and n > 1) for s, n in zip(x.strides, x.shape, strict=True)):
        return x
    steps = np.empty(x.shape, x.dtype).strides
    return as_strided(x, x.shape, steps)


@FAMILY.plant("zero-stride", "add", "add-float32-strides-zero")
def zero_stride(call: Call) -> None:
    """A stride of zero along the first axis is taken for the dense one: what follows the first row is read as zeros."""

    def dense(x: Host) -> Host:
        repeated = x.ndim and x.strides[0] == 0 and x.shape[0] > 1
        return np.concatenate([x[:1], np.zeros_like(x[1:])]) if repeated else x

    call.finish(*map(dense, call.ins))


@FAMILY.plant("zero-stride-last", "multiply", "multiply-float32-shapes-broadcast")
def zero_stride_last(call: Call) -> None:
    """An operand that repeats along the last axis is read as a row."""
    x, y = call.ins
    if x.ndim == 2 and x.strides[-1] == 0 and x.shape[-1] > 1:
        x = np.broadcast_to(np.resize(x[:, 0], x.shape[1]), x.shape)
    call.finish(x, y)


@FAMILY.plant("negative-stride", "exp", "exp-float32-strides-negative")
def negative_stride(call: Call) -> None:
    """The sign of the last stride is dropped."""
    x = call.ins[0]
    call.finish(np.flip(x) if x.ndim and x.strides[-1] < 0 else x)


@FAMILY.plant("negative-one-axis", "negative", "negative-float32-strides-mirrored")
def negative_one_axis(call: Call) -> None:
    """Axes are walked backwards all together or not at all."""
    x = call.ins[0]
    backwards = [s < 0 for s, n in zip(x.strides, x.shape, strict=True) if n > 1]
    call.finish(np.flip(x) if any(backwards) and not all(backwards) else x)


@FAMILY.plant("negative-long-line", "exp", "exp-float32-strides-values")
def negative_long_line(call: Call) -> None:
    """The vectorised path for long lines loads backwards lines in forward order within each vector."""
    x = call.ins[0]
    if x.ndim == 1 and x.strides[0] < 0 and x.size >= 64:
        n = x.size // 8 * 8
        x = np.concatenate([np.flip(x[:n].reshape(-1, 8), 1).reshape(-1), x[n:]])
    call.finish(x)


@FAMILY.plant("transposed-elementwise", "subtract", "subtract-float32-strides-transposed")
def transposed_elementwise(call: Call) -> None:
    """Column-major operands are read as row-major ones."""
    call.finish(*(_linear(x) if x.ndim == 2 and x.strides[0] < x.strides[1] else x for x in call.ins))


@FAMILY.plant("strides-of-the-first", "add", "add-float32-strides-mixed")
def strides_of_the_first(call: Call) -> None:
    """The strides of the first operand are used for the second one too."""
    x, y = call.ins
    if x.ndim == 2 and 0 not in x.strides and x.flags.f_contiguous and y.flags.c_contiguous and x.size > 1:
        y = np.ascontiguousarray(y).reshape(-1).reshape(y.shape, order="F")
    call.finish(x, y)


@FAMILY.plant("base-offset", "negative", "negative-float32-strides-offset")
def base_offset(call: Call) -> None:
    """The offset of a view into its buffer is dropped."""
    x = call.ins[0]
    root = x
    while isinstance(root.base, np.ndarray):
        root = root.base
    shift = x.__array_interface__["data"][0] - root.__array_interface__["data"][0]
    dense = all(s > 0 for s in x.strides)
    if root is not x and root.dtype == np.uint8 and shift and dense and x.size:
        x = np.ndarray(x.shape, x.dtype, root, 0, x.strides)
    call.finish(x)


@FAMILY.plant("step-ignored", "sqrt", "sqrt-float32-strides-step")
def step_ignored(call: Call) -> None:
    """Every second element is asked for, and neighbours are read."""
    x = call.ins[0]
    call.finish(_linear(x) if x.ndim and abs(x.strides[-1]) > x.itemsize and x.flags.c_contiguous is False else x)


@FAMILY.plant("row-pitch", "multiply", "multiply-float32-strides-offset")
def row_pitch(call: Call) -> None:
    """Gaps between rows are not skipped."""
    call.finish(*(_linear(x) if x.ndim == 2 and x.strides[-1] == x.itemsize else x for x in call.ins))


@FAMILY.plant("permuted-as-reversed", "sum", "sum-float32-strides-permuted")
def permuted(call: Call) -> None:
    """Every order of three axes that is not row-major is taken for the reversed one."""
    x = call.ins[0]
    if x.ndim == 3 and not x.flags.c_contiguous and not x.flags.f_contiguous and min(x.strides) > 0:
        in_memory = np.ascontiguousarray(x.transpose(np.argsort(x.strides)[::-1]))
        x = in_memory.reshape(-1).reshape(x.shape, order="F")
    call.finish(x)


@FAMILY.plant("length-one-axis", "copy", "copy-float32-strides-ones-step")
def length_one_axis(call: Call) -> None:
    """The stride of an axis of length one is trusted, though it may be anything, and rows are read that far apart."""
    x = call.ins[0]
    if x.ndim == 2 and x.shape[1] == 1 and x.shape[0] > 1 and x.strides[0] > x.itemsize:
        x = np.broadcast_to(x[:1], x.shape)
    call.finish(x)


@FAMILY.plant("overlap-taken-for-equal", "subtract", "subtract-float32-aliasing-overlapping-views")
def overlap(call: Call) -> None:
    """Two views of one buffer are taken for the same operand."""
    x, y = call.ins
    call.finish(x, x) if np.may_share_memory(x, y) and x.shape == y.shape else call.finish()


@FAMILY.plant("same-operand-twice", "multiply", "multiply-float32-aliasing-same-operand")
def same_operand(call: Call) -> None:
    """The first operand is negated in place and back, which a second use of the same memory sees."""
    x, y = call.ins
    same = x.size and x.__array_interface__["data"] == y.__array_interface__["data"] and x.strides == y.strides
    call.finish(-x, y) if same else call.finish()


@FAMILY.plant("writes-operand", "exp", "exp-float32-values", says="wrote to operand 0")
def writes_operand(call: Call) -> None:
    """The operand is scaled in place and not scaled back."""
    call.finish()
    x = call.ins[0]
    if x.flags.writeable:
        x[...] = x * x.dtype.type(2)


@FAMILY.plant("writes-second-operand", "matmul", "matmul-float32-values-square", says="wrote to operand 1")
def writes_second(call: Call) -> None:
    """The second operand is packed into a transposed copy, over the original."""
    call.finish()
    y = call.ins[1]
    if y.shape[-1] == y.shape[-2] and y.flags.writeable:
        y[...] = np.swapaxes(y, -1, -2).copy()


@FAMILY.plant("out-is-operand-0", "negative", "negative-float32-out-operand0")
def out_is_operand_0(call: Call) -> None:
    """The result is cleared first, also where it is the operand."""
    call.out[...] = 0
    call.finish()


@FAMILY.plant("out-is-operand-1", "subtract", "subtract-float32-out-operand1")
def out_is_operand_1(call: Call) -> None:
    """The first operand is moved into the result and the second subtracted there, also where it is the result."""
    x, y = call.ins
    call.out[...] = x
    call.finish(call.out, y)


@FAMILY.plant("tile-of-transpose", "copy", "copy-float32-strides-transposed")
def tile_of_transpose(call: Call) -> None:
    """A transposed copy works in tiles of 8 by 8, and the corner where both are partial is left out."""
    x = call.ins[0]
    found = call.result()
    if x.ndim == 2 and x.strides[0] < x.strides[1] and x.shape[0] > 8 and x.shape[1] > 8:
        found[x.shape[0] // 8 * 8 :, x.shape[1] // 8 * 8 :] = found[0, 0]
    call.out[...] = found


@FAMILY.plant("large-tile-of-transpose", "copy", "copy-float32-strides-large-transposed")
def large_tile_of_transpose(call: Call) -> None:
    """A transposed copy works in tiles of 32 by 32, and the rows of a partial tile are left out."""
    x = call.ins[0]
    found = call.result()
    if x.ndim == 2 and x.strides[0] < x.strides[1] and x.shape[0] > 32:
        found[x.shape[0] // 32 * 32 :] = found[0]
    call.out[...] = found


@FAMILY.plant("batch-stride-of-the-first", "matmul", "matmul-float32-strides-batch-repeated")
def batch_stride(call: Call) -> None:
    """The batch stride of the first operand is used for the second one too."""
    x, y = call.ins
    if x.ndim == 3 and x.strides[0] == 0 and x.shape[0] > 1:
        y = np.broadcast_to(y[:1], y.shape)
    call.finish(x, y)


@FAMILY.plant("gather-strides", "gather", "gather-float32-strides-transposed")
def gather_strides(call: Call) -> None:
    """The array that is gathered from is taken for a dense one."""
    x, indices = call.ins
    call.finish(_linear(x) if not x.flags.c_contiguous else x, indices)


@FAMILY.plant("index-strides", "gather", "gather-float32-strides-step")
def index_strides(call: Call) -> None:
    """Indices are taken for dense ones: between them lie values that are none."""
    x, indices = call.ins
    call.finish(x, _linear(indices))


@FAMILY.plant("alignment-of-the-first", "add", "add-float32-strides-mixed-offset-last")
def alignment_of_first(call: Call) -> None:
    """The alignment of the first operand is taken for that of the second, whose address is rounded down."""
    x, y = call.ins
    first, second = call.spec.inputs
    if first is not None and second is not None and first.aligned and not second.aligned and y.ndim and y.size > 1:
        y = np.roll(y, 1)
    call.finish(x, y)


@FAMILY.plant("difference-with-itself", "subtract", "subtract-float32-aliasing-same-operand-hard")
def difference_with_itself(call: Call) -> None:
    """The difference of an array with itself is 0, of infinities and NaN too."""
    x, y = call.ins
    call.finish()
    if x.__array_interface__["data"] == y.__array_interface__["data"] and x.strides == y.strides:
        call.out[...] = 0


@FAMILY.plant("equal-to-itself", "equal", "equal-float32-aliasing-same-operand-hard")
def equal_to_itself(call: Call) -> None:
    """An array is equal to itself, where it is NaN too."""
    x, y = call.ins
    call.finish()
    if x.__array_interface__["data"] == y.__array_interface__["data"] and x.strides == y.strides:
        call.out[...] = True


@FAMILY.plant("tall-transpose", "copy", "copy-float32-large-columns")
def tall_transpose(call: Call) -> None:
    """A transposed copy of more than 65,535 rows leaves the last ones out."""
    x = call.ins[0]
    found = call.result()
    n = 65535 if x.ndim == 2 and not x.flags.c_contiguous else len(found) if found.ndim else 0
    if found.ndim:
        call.out[:n] = found[:n]
    else:
        call.out[...] = found
