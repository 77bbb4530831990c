"""Random bits: Philox4x32-10, four words for each thread and turn."""

from __future__ import annotations

import struct
from typing import Final

from ...plugin import CANONICAL, Accepts, CallSpec, CostTerms, Kernel, Layout, Prepared
from .device.driver import KIND, driver_of
from .device.launching import Arguments, Pointer, Step, blocks_for, launcher

_THREADS: Final = 256
#: Blocks of a thread: each is a chain of 10 dependent rounds, so several hide each other's latency.
_TURNS: Final = 4
PARTS: Final = ("philox",)
ENTRY: Final = "random_bits"
SOURCE: Final = f"""\
extern "C" __global__ void __launch_bounds__({_THREADS}) {ENTRY}(u64 n, const u32* key, const u32* counter, u32* out) {{
    philox_block<{_THREADS}, {_TURNS}>(n, key, counter, out);
}}
OPMUX_ENTRY({ENTRY})
"""


def _random_bits(spec: CallSpec) -> Prepared:
    n = spec.outputs[0].size
    arguments: Arguments = [struct.pack("<Q", n), *map(Pointer, range(3))]
    function = driver_of(spec).loader.function(SOURCE, PARTS, ENTRY)
    step = Step(function, blocks_for(-(-n // 4), _THREADS * _TURNS), (_THREADS, 1, 1), arguments)
    return Prepared(launcher(driver_of(spec).runtime, [step]))


KERNELS: Final = (
    Kernel("random_bits", "random_bits", KIND, _random_bits, Accepts(layout=Layout.CONTIGUOUS), CANONICAL, CostTerms()),
)
