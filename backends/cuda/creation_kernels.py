"""Index ramps."""

from __future__ import annotations

import functools
import math
import struct
from typing import Final

from ...plugin import CANONICAL, Accepts, CallSpec, Kernel, Prepared
from . import emit
from .device.driver import KIND, driver_of
from .device.launching import Pointer, Step, blocks_for, launcher
from .nest import MOST_INDEXED, divisor

THREADS: Final = 256
#: Vectors of 16 bytes that a thread stores.
TURNS: Final = 4
PARTS: Final = ("elementwise",)
ENTRY: Final = "iota"


@functools.lru_cache(maxsize=64)
def source(dtype: str, size: int, wide: bool) -> str:
    """Return the kernel of a dtype.

    Args:
        dtype: of the ramp.
        size: its bytes.
        wide: whether elements are too many for indices of 32 bits; those are divided by 64-bit instructions.
    """
    kind, vector = emit.MEMORY[dtype], 16 // size
    index = "i64" if wide else "u32"
    if wide:
        value = "(i64)((i / after) % length)"
    else:
        value = "(i32)(part - quotient(part, line_multiplier, line_shift) * length)"
    divided = "" if wide else "u32 part = quotient(i, after_multiplier, after_shift);"
    divisors = "" if wide else "u32 after_multiplier, u32 after_shift, u32 line_multiplier, u32 line_shift, "
    made = emit.converted(value, "int64" if wide else "int32", dtype)
    return f"""\
extern "C" __global__ void __launch_bounds__({THREADS}) {ENTRY}(
    {index} n, {index} after, {index} length, {divisors}{kind}* out
) {{
    constexpr int THREADS = {THREADS}, VECTOR = {vector};
    {index} begin = (({index})blockIdx.x * {TURNS} * THREADS + threadIdx.x) * VECTOR;
#pragma unroll
    for (int turn = 0; turn < {TURNS}; ++turn) {{
        {index} first = begin + turn * THREADS * VECTOR;
        if (first >= n) return;
        {kind} y[VECTOR];
#pragma unroll
        for (int k = 0; k < VECTOR; ++k) {{
            {index} i = first + k;
            {divided}
            y[k] = {made};
        }}
        if (first + VECTOR <= n) {{
            store<VECTOR>(out, (u64)first, y);
            continue;
        }}
#pragma unroll
        for (int k = 0; k < VECTOR; ++k)
            if (first + k < n) out[first + k] = y[k];
    }}
}}
OPMUX_ENTRY({ENTRY})
"""


def _iota(spec: CallSpec) -> Prepared:
    (out,), axis = spec.outputs, spec.attributes["axis"]
    after, length, size = math.prod(out.shape[axis + 1 :]), out.shape[axis], out.dtype.itemsize
    wide = out.size >= MOST_INDEXED
    head = struct.pack("<q" if wide else "<I", out.size)
    arguments = [head, struct.pack("<q" if wide else "<I", after), struct.pack("<q" if wide else "<I", length)]
    if not wide:
        arguments += [struct.pack("<I", n) for d in (after, length) for n in divisor(max(d, 1))]
    function = driver_of(spec).loader.function(source(out.dtype.name, size, wide), PARTS, ENTRY)
    blocks = blocks_for(out.size, THREADS * TURNS * 16 // size)
    return Prepared(
        launcher(driver_of(spec).runtime, [Step(function, blocks, (THREADS, 1, 1), [*arguments, Pointer(0)])])
    )


KERNELS: Final = (Kernel("iota", "iota", KIND, _iota, Accepts(), CANONICAL),)
