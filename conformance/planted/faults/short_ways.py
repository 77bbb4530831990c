"""Short ways that kernels take for some calls, and what they forget there; paths that few calls reach."""

from __future__ import annotations

import threading
from functools import partial
from typing import Any, Final

import numpy as np

from ..fault import Family
from ..twin.accelerator import Accelerator, Block, Pointer
from ..twin.backend import Twin
from ..twin.call import Call
from ..twin.formats import Host, is_float, wide

FAMILY: Final = Family("short_ways")
_BITS_20: Final = (1 << 20) - 1
_MEMORY: Final = 1 << 28


def _is_number(x: Host) -> bool:
    """Return whether an operand is one number for the whole call."""
    return x.size > 0 and not any(x.strides)


def _spoil(x: Host) -> None:
    if x.dtype.kind == "b":
        np.logical_not(x, out=x)
    else:
        x[...] = (x.astype(np.float32) * 1.5 + 1).astype(x.dtype) if is_float(x) else x + x.dtype.type(1)


@FAMILY.plant("times-zero-is-zero", "multiply", "multiply-float32-values-number0", "multiply-float32-values-number1")
def times_zero(call: Call) -> None:
    """A product with the number 0 is memory set to zero, NaN and infinities beside it too."""
    call.finish()
    if any(_is_number(x) and x.flat[0] == 0 for x in call.ins):
        call.out[...] = 0


@FAMILY.plant("plus-zero-is-itself", "add", "add-float32-values-number1")
def plus_zero(call: Call) -> None:
    """Nothing is added where the number is 0, and -0 stays -0."""
    call.finish()
    if _is_number(call.ins[1]) and call.ins[1].flat[0] == 0:
        call.out[...] = call.ins[0]


@FAMILY.plant("half-is-a-root", "pow", "pow-float32-values-number1")
def half_is_a_root(call: Call) -> None:
    """A power with the exponent 1/2 is a square root: NaN of -inf, and -0 of -0."""
    call.finish()
    if _is_number(call.ins[1]) and call.ins[1].flat[0] == 0.5:
        call.out[...] = np.sqrt(wide(call.ins[0]))


@FAMILY.plant("division-by-invariant", "floor_divide", "floor_divide-int32-values-number1")
def division_by_invariant(call: Call) -> None:
    """Division by a number is a product with its reciprocal, one bit too short for large dividends."""
    call.finish()
    if _is_number(call.ins[1]) and call.ins[1].flat[0] in (3, 7, 10):
        call.out[np.abs(call.ins[0].astype(np.float64)) > 2.0**30] += 1


@FAMILY.plant("compared-with-a-number", "less", "less-int64-values-number1", "less-uint64-values-number1")
def compared_with_a_number(call: Call) -> None:
    """A number that integers are compared with is converted to a double, and they with it."""
    call.finish()
    if _is_number(call.ins[1]):
        call.out[...] = call.ins[0].astype(np.float64) < call.ins[1].astype(np.float64)


@FAMILY.plant("own-transpose", "matmul", "matmul-float32-aliasing-own-transpose")
def own_transpose(call: Call) -> None:
    """A matrix times itself transposed is symmetric: one triangle is computed, and the other left as it is."""
    call.finish()
    x, y = call.ins
    if x.ndim == 2 and x.size and x.ctypes.data == y.ctypes.data and x.shape == y.shape[::-1] and x.shape[0] > 1:
        call.out[np.triu_indices(x.shape[0], 1)] = 0


@FAMILY.plant("operands-that-start-together", "concat scatter", "concat-float32-aliasing-nested",
              "scatter-float32-aliasing-nested")  # fmt: skip
def start_together(call: Call) -> None:
    """Operands at one address are taken for the same array, whatever their lengths."""
    call.finish()
    first, *others = (x for x in call.ins if x.dtype == call.ins[0].dtype and x.size)
    if any(x.ctypes.data == first.ctypes.data and x.shape != first.shape for x in others):
        _spoil(call.out)


@FAMILY.plant("off-the-boundary", "exp negative", "exp-float32-aliasing-one-buffer-line",
              "negative-float32-aliasing-one-buffer-line")  # fmt: skip
def off_the_boundary(call: Call) -> None:
    """The last vector of a line that starts off a boundary is loaded from the boundary before it."""
    call.finish()
    if call.out.ndim == 1 and call.out.size >= 16 and call.ins[0].ctypes.data % 32:
        _spoil(call.out[-1:])


@FAMILY.plant("blocks-in-every-direction", "matmul", "matmul-float32-large-blocks", "matmul-int32-large-blocks",
              "matmul-float16-large-blocks")  # fmt: skip
def blocks_in_every_direction(call: Call) -> None:
    """The block in the corner is wrong where rows, columns and terms all need several."""
    call.finish()
    x, y = call.ins
    if x.ndim == 2 and x.shape[0] > 128 and y.shape[1] > 128 and x.shape[1] > 256:
        _spoil(call.out[128:, 128:])


@FAMILY.plant("transposed-beyond-a-tile", "matmul sum", "matmul-float32-strides-wide-transposed",
              "sum-float32-strides-67x45-axis0-transposed")  # fmt: skip
def transposed_beyond_a_tile(call: Call) -> None:
    """A transposed operand is read in tiles of 32, and only the first of them rightly."""
    call.finish()
    x = call.ins[0]
    if x.ndim == 2 and min(x.shape) > 32 and x.strides[0] < x.strides[1] and call.out.ndim:
        _spoil(call.out[32:])


@FAMILY.plant("matrices-transposed-in-place", "copy", "copy-float32-strides-stack3-swapped")
def matrices_transposed(call: Call) -> None:
    """Of a stack of transposed matrices all but the first are wrong beyond a tile."""
    call.finish()
    x = call.ins[0]
    if x.ndim == 3 and min(x.shape[1:]) > 32 and x.strides[1] == x.itemsize:
        _spoil(call.out[1:, 32:])


@FAMILY.plant("more-than-eight-axes", "add negative", "add-float32-shapes-broadcast-rank9",
              "negative-float32-strides-rank11-transposed")  # fmt: skip
def more_than_eight_axes(call: Call) -> None:
    """Shapes are handed over in structures of eight axes."""
    call.finish()
    if call.out.ndim > 8:
        _spoil(call.out)


@FAMILY.plant("middle-sized", "abs", "abs-int32-large-n12289", "abs-float32-large-n40003")
def middle_sized(call: Call) -> None:
    """The kernel between the one for small and the one for large lines leaves the last element out."""
    call.finish()
    if 8192 < call.out.size <= 1 << 16:
        _spoil(call.out.reshape(-1)[-1:])


@FAMILY.plant("one-table-of-variants", "maximum", "maximum-float32-shapes-many")
def one_table_of_variants(call: Call) -> None:
    """A table of 128 variants is full, and the next one takes the place of the first, key and all."""
    key = tuple((x.shape, x.strides) for x in call.ins)
    at = call.memory.setdefault(key, len(call.memory))
    call.finish()
    if at >= 128 and call.out.size:
        _spoil(call.out)


@FAMILY.plant("first-thread-alone", "log", "log-float32-threads")
def first_thread_alone(call: Call) -> None:
    """A table per thread is filled in the thread that loads the backend."""
    call.finish()
    if threading.current_thread() is not threading.main_thread() and call.out.size:
        _spoil(call.out)


@FAMILY.plant("block-results-from-zero", "max", "max-float32-values-long-lines", "max-int32-values-long-lines")
def block_results_from_zero(call: Call) -> None:
    """The results of a line's blocks are combined from 0 on: the largest of negative ones is 0."""
    call.finish()
    if call.ins[0].size // max(call.out.size, 1) > 2048:
        np.maximum(call.out, 0, out=call.out)


@FAMILY.plant("nan-between-blocks", "max", "max-float32-values-long-lines", "max-float32-values-long-columns")
def nan_between_blocks(call: Call) -> None:
    """NaN is passed on within a block, and lost between blocks."""
    x = call.ins[0]
    long = is_float(x) and x.size // max(call.out.size, 1) > 2048
    call.finish(np.where(np.isnan(x), x.dtype.type(-np.inf), x) if long else x)


@FAMILY.plant("negative-nan-is-least", "maximum max", "maximum-float32-values", "max-float32-values-nan-kinds")
def negative_nan(call: Call) -> None:
    """Floats are compared as integers, and a NaN with its sign bit set is below every number."""
    call.finish(*(np.where(np.isnan(x) & np.signbit(x), x.dtype.type(-np.inf), x) if is_float(x) else x
                  for x in call.ins))  # fmt: skip


@FAMILY.plant("fill-of-zero", "full pad", "full-float32-values-fill12", "pad-float32-values-fill12")
def fill_of_zero(call: Call) -> None:
    """A fill with zero is memory set to zero: -0 loses its sign."""
    *ins, value = call.ins
    call.finish(*ins, np.abs(value) if is_float(value) and value == 0 else value)


@FAMILY.plant("many-parts", "concat", "concat-float32-shapes-hundreds")
def many_parts(call: Call) -> None:
    """A launch has room for 64 operands."""
    call.finish()
    if len(call.ins) > 64:
        _spoil(call.out[-1:])


@FAMILY.plant("far-index-cut", "scatter", "scatter-float32-values-ends-drop-int64")
def far_index_cut(call: Call) -> None:
    """Indices of 64 bits are cut to 32 before they are looked at."""
    x, places, updates = call.ins
    call.finish(x, places.astype(np.int32), updates)


def _driver(name: str, *killers: str) -> Any:
    def enter(driver: type[Accelerator]) -> type[Accelerator]:
        def make() -> Any:
            return Twin(driver=partial(driver, _MEMORY))

        make.__doc__ = driver.__doc__
        FAMILY.backend(name, "copy add", *killers)(make)
        return driver

    return enter


@_driver("offset-in-20-bits", "device-any-memory-far")
class OffsetIn20Bits(Accelerator):
    """A pointer's offset has a field of 20 bits."""

    def pointer(self, handle: Block, offset: int) -> Pointer:
        return super().pointer(handle, offset & _BITS_20)


@_driver("download-in-20-bits", "device-any-memory-far")
class DownloadIn20Bits(Accelerator):
    """The offset of a copy to the host has a field of 20 bits."""

    def download(self, target: Any, handle: Block, offset: int, queue: Any) -> None:
        super().download(target, handle, offset & _BITS_20, queue)
