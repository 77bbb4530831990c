"""Running sums and products along one axis, in the canonical order, as CUDA C++ and as kernels.

The canonical order is one chain, which no two threads can share where rounding matters; threads work on different
chains. ``scan_across`` gives each thread a chain wherever it lies; ``scan_along`` reads chains whose terms lie side
by side through shared memory, so that loads stay coalesced.
"""

from __future__ import annotations

import functools
import math
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from ...plugin import Accepts, CallSpec, Kernel, Nest, Prepared, collapse
from .driver import KIND
from .launching import Arguments, Pointer, Step, blocks_for, launcher
from .nest import packed, parts
from .reductions import Fold
from .rules import ARITHMETIC, CANONICAL, driver_of

#: Parts of the sources that these kernels use.
PARTS: Final = ("elementwise", "reductions", "scans")
_KINDS: Final = {"cumulative_sum": "sum", "cumulative_prod": "prod"}
_WARP: Final = 32
#: Threads of a block: one warp, so that a few thousand chains spread over all multiprocessors.
THREADS: Final = _WARP


@dataclass(frozen=True, slots=True)
class Plan:
    """A scan's loops.

    Attributes:
        others: the other dimensions, with the strides of input and output.
        axis: the size of the axis, then its strides in input and output.
    """

    others: Nest
    axis: tuple[int, int, int]

    @property
    def along(self) -> bool:
        """Whether terms lie side by side, and more than one load of a warp holds."""
        return self.axis[1:] == (1, 1) and self.axis[0] >= _WARP


def plan(shape: Sequence[int], strides: Sequence[int], axis: int, out_strides: Sequence[int]) -> Plan:
    """Split the dimensions into the axis (not negative) and the others; strides are in elements.

    >>> plan((4, 60), (60, 1), 1, (60, 1)).along, plan((4, 60), (60, 1), 0, (60, 1)).along
    (True, False)
    """
    rest = [d for d in range(len(shape)) if d != axis]
    others = collapse([shape[d] for d in rest], [[s[d] for d in rest] for s in (strides, out_strides)])
    return Plan(others, (shape[axis], strides[axis], out_strides[axis]))


@dataclass(frozen=True, slots=True)
class Variant:
    """Everything that the code of a scan depends on.

    Attributes:
        fold: what is done to the terms.
        rank: dimensions beside the axis.
        along: whether terms lie side by side.
    """

    fold: Fold
    rank: int
    along: bool

    @property
    def name(self) -> str:
        """The entry's name."""
        return "scan_along" if self.along else "scan_across"


@functools.lru_cache(maxsize=1024)
def source(variant: Variant) -> str:
    """Return the kernel's CUDA C++, without what all kernels share."""
    steps = "" if variant.along else "i64 in_step, i64 out_step, "
    template, given = ("along<Chain>", "") if variant.along else ("across<Chain>", "in_step, out_step, ")
    # Adding to -0, unlike +0, changes no number at all.
    start = "1" if variant.fold.kind == "prod" else "-0.0"
    return f"""\
{variant.fold.source_text()}
struct Chain : Fold {{
    static __device__ __forceinline__ Value start() {{ return (Value){start}; }}
}};

extern "C" __global__ void __launch_bounds__({THREADS}) {variant.name}(
    u32 count, u64 n, {steps}Nest<{variant.rank}, 2> others, const Fold::Memory* in, Fold::Result* out
) {{
    scan::{template}(count, n, {given}others, in, out);
}}
OPMUX_ENTRY({variant.name})
"""


def _steps(spec: CallSpec, fold: Fold, plan: Plan) -> Iterator[Step]:
    sizes = [s.dtype.itemsize for s in (spec.arrays[0], spec.outputs[0])]
    variant = Variant(fold, len(plan.others.shape), plan.along)
    function = driver_of(spec).loader.function(source(variant), PARTS, variant.name)
    n, *strides = plan.axis
    for part, offsets in parts(plan.others):
        count = math.prod(part.shape)
        steps = [] if variant.along else [struct.pack("<q", s) for s in strides]
        ends = [Pointer(i, at * size) for i, (at, size) in enumerate(zip(offsets, sizes, strict=True))]
        arguments: Arguments = [struct.pack("<I", count), struct.pack("<Q", n), *steps, packed(part), *ends]
        yield Step(function, blocks_for(count, THREADS), (THREADS, 1, 1), arguments)


def _kernel(op: str) -> Kernel:
    def prepare(spec: CallSpec) -> Prepared:
        (x,), (out,) = spec.arrays, spec.outputs
        made: list[Step] = []
        if out.size:
            fold = Fold(_KINDS[op], x.dtype.name, out.dtype.name)
            made = list(_steps(spec, fold, plan(x.shape, x.strides, spec.attributes["axis"], out.strides)))
        return Prepared(launcher(driver_of(spec).runtime, made))

    return Kernel(op, op, KIND, prepare, Accepts(dtypes=(ARITHMETIC,)), CANONICAL)


def variants() -> Iterator[tuple[str, str, Sequence[str]]]:
    """Yield the name, the text and the shared parts of kernels that stand for all, for the table of resources."""
    for dtype in ("float32", "float64", "float16", "int64"):
        for along in (True, False):
            variant = Variant(Fold("sum", dtype, dtype), 1, along)
            yield f"{variant.name} sum {dtype}", source(variant), PARTS


KERNELS: Final = tuple(_kernel(op) for op in _KINDS)
