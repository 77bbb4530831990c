"""Work of several threads: barriers that are missing, shares that do not add up, memory that is shared."""

from __future__ import annotations

from typing import Final

import numpy as np

from ..fault import Family
from ..twin.accelerator import Accelerator
from ..twin.call import Call
from .meeting import Meeting

FAMILY: Final = Family("races")
_THREADS: Final = 4
_LARGE: Final = 1 << 15


@FAMILY.plant("no-join", "add", "add-float32-values", driver=Accelerator)
def no_join(call: Call) -> None:
    """A helper writes the second half of a result, and nobody waits for it."""
    found, flat = call.result().reshape(-1), call.out.reshape(-1)
    half = flat.size // 2
    flat[:half] = found[:half]

    def rest() -> None:
        flat[half:] = found[half:]

    call.memory.pop("rest", _nothing)()  # the helper gets there when the kernel is called the next time
    call.memory["rest"] = rest


@FAMILY.plant("shares-do-not-add-up", "multiply", "multiply-float32-large-line", "multiply-int32-large-line")
def shares(call: Call) -> None:
    """Large arrays are shared out among threads, and what is left over by the division is done by none."""
    found, flat = call.result().reshape(-1), call.out.reshape(-1)
    n = flat.size // _THREADS * _THREADS if flat.size > _LARGE else flat.size
    flat[:n] = found[:n]


@FAMILY.plant("overlapping-shares", "cumulative_sum", "cumulative_sum-float32-large-line")
def overlapping_shares(call: Call) -> None:
    """Threads scan their shares of a long line, and each adds the total of the share before it alone."""
    x, axis = call.ins[0], call["axis"]
    call.finish()
    n = x.shape[axis]
    if n > _LARGE:
        out, line = np.moveaxis(call.out, axis, 0), np.moveaxis(x, axis, 0)
        share = -(-n // _THREADS)
        for i in range(1, _THREADS):
            before = np.sum(line[(i - 1) * share : i * share], axis=0, dtype=call.out.dtype)
            part = np.cumsum(line[i * share : (i + 1) * share], axis=0, dtype=call.out.dtype)
            out[i * share : (i + 1) * share] = part + before


@FAMILY.plant("reduction-without-barrier", "sum", "sum-float32-large-line", "sum-int32-large-line")
def no_barrier(call: Call) -> None:
    """The partial sums of a large reduction are combined before the last thread has written its own."""
    x = call.ins[0]
    if x.ndim == 1 and x.size > _LARGE:
        share = -(-x.size // _THREADS)
        call.finish(x[: share * (_THREADS - 1)])
    else:
        call.finish()


@FAMILY.plant("product-of-few-threads", "matmul", "matmul-float32-large-rows", "matmul-float32-large-columns")
def product_of_few(call: Call) -> None:
    """Large products are split in rows by one thread count and in columns by another, so that one corner is left."""
    call.finish()
    rows, columns = call.out.shape[-2:]
    if rows * columns > _LARGE:
        r, c = min(rows - 1, rows // 4 * 4 - 1), min(columns - 1, columns // 3 * 3)
        call.out[..., max(r, 0) :, max(c - 1, 0) :] = 0


@FAMILY.plant("additions-not-atomic", "scatter", "scatter-float32-large-add", "scatter-int32-large-add")
def not_atomic(call: Call) -> None:
    """Thousands of sums into a few places are made by threads that overwrite each other's."""
    x, indices, updates = call.ins
    if call["reduction"] == "add" and indices.size > 4096 and indices.ndim == 1:
        keep = np.arange(indices.size) % 1021 != 7
        call.finish(x, indices[keep], np.compress(keep, updates, axis=call["axis"]))
    else:
        call.finish()


@FAMILY.plant("scratch-shared", "add", "device-any-threads-one-call")
def scratch_shared(call: Call) -> None:
    """Every thread puts its partial results into the same scratch memory."""
    scratch = call.memory.setdefault((call.out.shape, call.out.dtype.name), call.out.copy())
    scratch[...] = call.result()
    call.memory.setdefault("meeting", Meeting()).wait()
    call.out[...] = scratch


@FAMILY.plant("table-made-on-first-use", "add", "device-any-threads-first-call")
def table_first(call: Call) -> None:
    """A table is made by the first call, and a second thread uses it while it is half made."""
    key = (call.out.shape, call.out.dtype.name)
    meeting = call.memory.setdefault("meeting", Meeting())
    half_made = call.memory.get(key) is False
    if half_made:
        meeting.wait()
    elif key not in call.memory:
        call.memory[key] = False
        meeting.wait()
        call.memory[key] = True
    call.finish()
    if half_made and call.out.size:
        call.out.reshape(-1)[-1] = 0


@FAMILY.plant("one-scratch-for-all-queues", "add", "device-any-threads-queues", driver=Accelerator)
def one_scratch(call: Call) -> None:
    """Kernels on all queues of a device put their partial results into the same memory."""
    n = call.out.size
    scratch = call.memory.setdefault(call.out.dtype.name, np.zeros(1 << 20, call.out.dtype))
    if n > scratch.size:
        call.finish()
        return
    scratch[:n] = call.result().reshape(-1)
    call.memory.setdefault("meeting", Meeting()).wait()
    call.out[...] = scratch[:n].reshape(call.out.shape)


def _nothing() -> None:
    """Have nothing left to do."""
