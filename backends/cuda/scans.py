"""Running sums and products along one axis, in the canonical order, as CUDA C++ and as kernels.

The canonical order is one chain, which no two threads can share where rounding matters; threads work on different
chains. ``scan_across`` gives each thread a chain wherever it lies; ``scan_along`` reads chains whose terms lie side
by side through shared memory, so that loads stay coalesced.

Few long chains leave most of a GPU without work. Integers may come in any order, and so may floats where the caller
asks for no canonical bits: then chains are cut into tiles, in three launches: the total of each (``scan_totals``),
what comes before each (``scan_starts``), and the tiles after that (``scan_tiles``).
"""

from __future__ import annotations

import functools
import math
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from ...plugin import (
    ARITHMETIC,
    CANONICAL,
    Accepts,
    CallSpec,
    CostTerms,
    Determinism,
    Kernel,
    Nest,
    Prepared,
    Promises,
    Reason,
    Rejection,
    collapse,
    programs,
)
from . import formulas
from .device.driver import KIND, driver_of
from .device.launching import Arguments, Pointer, Step, blocks_for, launcher
from .folds import Fold
from .formulas import COMPLEX
from .nest import packed, parts

#: Parts of the sources that these kernels use.
PARTS: Final = ("elementwise", "reductions", "scans")
# A chain of rounded sums waits for every one of them. What it reaches is not measured: it is dearer than tiles.
_CHAINS: Final = CostTerms(memory=0.25)
_FLOATS: Final = frozenset(programs.FLOATS)
_IN_TILES: Final = Promises(order="tiles", determinism=Determinism.RUN)
_KINDS: Final = {"cumulative_sum": "sum", "cumulative_prod": "prod"}
#: Why products of complex numbers are decomposed.
NO_PRODUCTS: Final = "products of complex numbers are made of other ops: 1 is no neutral start, since 0 * inf is nan"
_WARP: Final = 32
#: Threads of a block: one warp, so that a few thousand chains spread over all multiprocessors.
THREADS: Final = _WARP
#: Threads of a block that shares a tile, and terms of a tile.
TILE_THREADS: Final = 256
TILE: Final = 2048
# Chains that occupy a large GPU without tiles: a warp of 32 on most schedulers where loads of a chain lie side by side;
# fewer where tiles would load single elements. Estimates, not measured.
_MANY: Final = 8192
_MANY_STRIDED: Final = 1024
# Terms that a thread has done before the further launches have begun. An estimate, not measured.
_SHORT: Final = 512
_MOST_BLOCKS: Final = 2**31


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

    @property
    def chains(self) -> int:
        """Number of chains."""
        return math.prod(self.others.shape)

    @property
    def tiles(self) -> int:
        """Tiles of each chain."""
        return -(-self.axis[0] // TILE)

    @property
    def few(self) -> bool:
        """Whether there are too few chains, and long ones."""
        most = _MANY if self.along else _MANY_STRIDED
        return self.axis[0] > _SHORT and self.chains < most and self.chains * self.tiles < _MOST_BLOCKS


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


def _chain(fold: Fold) -> str:
    # Adding to -0, unlike +0, changes no number at all.
    start = "1" if fold.kind == "prod" else "-0.0"
    made = f"Value{{{start}, {start}}}" if fold.result in COMPLEX else f"(Value){start}"
    return f"""\
{fold.source_text()}
struct Chain : Fold {{
    static __device__ __forceinline__ Value start() {{ return {made}; }}
}};
"""


@functools.lru_cache(maxsize=1024)
def source(variant: Variant) -> str:
    """Return the kernel's CUDA C++, without what all kernels share."""
    steps = "" if variant.along else "i64 in_step, i64 out_step, "
    template, given = ("along<Chain>", "") if variant.along else ("across<Chain>", "in_step, out_step, ")
    return f"""\
{_chain(variant.fold)}
extern "C" __global__ void __launch_bounds__({THREADS}) {variant.name}(
    u32 count, u64 n, {steps}Nest<{variant.rank}, 2> others, const Fold::Memory* in, Fold::Result* out
) {{
    scan::{template}(count, n, {given}others, in, out);
}}
OPMUX_ENTRY({variant.name})
"""


@functools.lru_cache(maxsize=1024)
def tiled_source(fold: Fold, rank: int) -> str:
    """Return the CUDA C++ of the three kernels that cut chains into tiles."""
    others = f"Nest<{rank}, 2> others"
    head = f'extern "C" __global__ void __launch_bounds__({TILE_THREADS})'
    return f"""\
{_chain(fold)}
{head} scan_totals(u64 n, u32 tiles, i64 in_step, {others}, const Fold::Memory* in, Fold::Value* sums) {{
    scan::totals<Chain>(n, tiles, in_step, others, in, sums);
}}
OPMUX_ENTRY(scan_totals)

{head} scan_starts(u32 tiles, Fold::Value* sums) {{ scan::starts<Chain>(tiles, sums); }}
OPMUX_ENTRY(scan_starts)

{head} scan_tiles(
    u64 n, u32 tiles, i64 in_step, i64 out_step, {others}, const Fold::Memory* in, Fold::Result* out,
    const Fold::Value* sums
) {{
    scan::tiles<Chain>(n, tiles, in_step, out_step, others, in, out, sums);
}}
OPMUX_ENTRY(scan_tiles)
"""


def _by_chains(spec: CallSpec, fold: Fold, plan: Plan) -> Prepared:
    sizes = [s.dtype.itemsize for s in (spec.arrays[0], spec.outputs[0])]
    variant = Variant(fold, len(plan.others.shape), plan.along)
    shared = (*formulas.parts((fold.source, fold.result)), *PARTS)
    function = driver_of(spec).loader.function(source(variant), shared, variant.name)
    n, *strides = plan.axis
    made = []
    for part, offsets in parts(plan.others):
        count = math.prod(part.shape)
        steps = [] if variant.along else [struct.pack("<q", s) for s in strides]
        ends = [Pointer(i, at * size) for i, (at, size) in enumerate(zip(offsets, sizes, strict=True))]
        arguments: Arguments = [struct.pack("<I", count), struct.pack("<Q", n), *steps, packed(part), *ends]
        made.append(Step(function, blocks_for(count, THREADS), (THREADS, 1, 1), arguments))
    return Prepared(launcher(driver_of(spec).runtime, made))


def _by_tiles(spec: CallSpec, fold: Fold, plan: Plan) -> Prepared:
    body, loader = tiled_source(fold, len(plan.others.shape)), driver_of(spec).loader
    given, result, sums = (Pointer(i) for i in range(3))
    n, *strides = plan.axis
    sizes = [struct.pack("<Q", n), struct.pack("<I", plan.tiles)]
    steps, others = [struct.pack("<q", s) for s in strides], packed(plan.others)
    work: list[tuple[str, int, Arguments]] = [
        ("scan_totals", plan.chains * plan.tiles, [*sizes, steps[0], others, given, sums]),
        ("scan_starts", plan.chains, [sizes[1], sums]),
        ("scan_tiles", plan.chains * plan.tiles, [*sizes, *steps, others, given, result, sums]),
    ]
    made = [
        Step(loader.function(body, PARTS, name), (blocks, 1, 1), (TILE_THREADS, 1, 1), arguments)
        for name, blocks, arguments in (work if plan.tiles > 1 else work[-1:])
    ]
    workspace = plan.chains * plan.tiles * fold.value_bytes
    return Prepared(launcher(driver_of(spec).runtime, made), workspace if plan.tiles > 1 else 0)


def _asked(spec: CallSpec, op: str) -> tuple[Fold, Plan]:
    (x,), (out,) = spec.arrays, spec.outputs
    fold = Fold(_KINDS[op], x.dtype.name, out.dtype.name)
    return fold, plan(x.shape, x.strides, spec.attributes["axis"], out.strides)


def _kernel(op: str) -> Kernel:
    def prepare(spec: CallSpec) -> Prepared | Rejection:
        if op == "cumulative_prod" and spec.outputs[0].dtype.name in COMPLEX:
            return Rejection(Reason.DTYPE, NO_PRODUCTS)
        if not spec.outputs[0].size:
            return Prepared(launcher(driver_of(spec).runtime, []))
        fold, plan = _asked(spec, op)
        return (_by_tiles if plan.few and not fold.ordered else _by_chains)(spec, fold, plan)

    accepted = ARITHMETIC | COMPLEX if op == "cumulative_sum" else ARITHMETIC
    return Kernel(op, op, KIND, prepare, Accepts(dtypes=(accepted,)), CANONICAL, _CHAINS)


def _tiled_sum(spec: CallSpec) -> Prepared | Rejection:
    """Add floats tile by tile. Products are left to chains: a tile's may overflow where the chain's does not."""
    fold, plan = _asked(spec, "cumulative_sum")
    if fold.result in COMPLEX:
        return Rejection(Reason.DTYPE, "tiles are of real numbers")
    if not spec.outputs[0].size or not plan.few:
        return Rejection(Reason.SIZE, "there are chains enough for all threads, or short ones")
    return _by_tiles(spec, fold, plan)


KERNELS: Final = (
    *(_kernel(op) for op in _KINDS),
    Kernel("cumulative_sum.tiles", "cumulative_sum", KIND, _tiled_sum, Accepts(dtypes=(_FLOATS,)), _IN_TILES),
)
