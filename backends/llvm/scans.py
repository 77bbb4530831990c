"""Running sums and products along one axis, in the canonical order: one chain, from the first term.

The entry is `int f(void **buffers, const void *params, void *queue)`: `buffers` is the input, then the
output, of equal shape. `params` are int64: `begin` and `end`, the range of the outermost other dimension
that this call does; the sizes of the other ones after it; their strides in the input, then in the output; then
the axis: its size, its stride in the input, its stride in the output. Strides count elements.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from ...plugin import Nest, collapse, programs
from .ir import Function, module_text
from .lower import Lowering, first_lanes, has_masks, memory
from .target import Target
from .vectors import Tables

ENTRY: Final = "f"
# Chains of one tile: enough to cover the latency of an addition.
_VECTORS: Final = 4


@dataclass(frozen=True, slots=True)
class Plan:
    """A scan's loops: `others` has the strides of input and output, and so has `axis`, after its size."""

    others: Nest
    axis: tuple[int, int, int]

    def across(self) -> bool:
        """Whether neighbouring chains lie side by side, so that a vector holds one term of each."""
        return self.others.strides[0][-1] == self.others.strides[1][-1] == 1 < self.others.shape[-1]

    def parameters(self, begin: int = 0, end: int | None = None) -> NDArray[np.int64]:
        """The `params` of a call that does the range [begin, end) of the outermost other dimension."""
        stop = self.others.shape[0] if end is None else end
        strides = [s for operand in self.others.strides for s in operand]
        return np.array([begin, stop, *self.others.shape[1:], *strides, *self.axis], np.int64)


def plan(shape: Sequence[int], strides: Sequence[int], axis: int, out_strides: Sequence[int]) -> Plan:
    """Split the dimensions into the axis (not negative) and the others; strides are in elements.

    >>> plan((4, 6), (6, 1), 0, (6, 1)).across()
    True
    """
    rest = [d for d in range(len(shape)) if d != axis]
    others = collapse([shape[d] for d in rest], [[s[d] for d in rest] for s in (strides, out_strides)])
    return Plan(others, (shape[axis], strides[axis], out_strides[axis]))


@dataclass(frozen=True, slots=True)
class Variant:
    """Everything that the code of a scan depends on; `kind` is sum or prod."""

    kind: str
    source: str
    result: str
    rank: int
    across: bool


def variant(kind: str, source: str, result: str, plan: Plan) -> Variant:
    """The variant that scans by a plan."""
    return Variant(kind, source, result, len(plan.others.shape), plan.across())


def generate(variant: Variant, target: Target) -> str:
    """The IR module of a variant; its entry is `f`."""
    tables = Tables()
    f = Function(ENTRY, [("ptr", "%buffers"), ("ptr", "%params"), ("ptr", "%queue")], "i32")
    rank = variant.rank
    words = [f.load("i64", f.address("%params", i, "i64"), 8) for i in range(4 + 3 * rank)]
    starts, sizes = [words[0], *["0"] * (rank - 1)], words[1 : 1 + rank]
    steps = [words[1 + rank : 1 + 2 * rank], words[1 + 2 * rank : 1 + 3 * rank]]
    chains = _Chains(variant, f, tables, target, words[1 + 3 * rank :])

    def nest(depth: int, pointers: list[str]) -> None:
        if depth == rank - 1 and variant.across:
            first = chains.move(pointers, starts[depth], ["1", "1"])
            chains.side_by_side(first, f.sub(sizes[depth], starts[depth]))
            return
        if depth == rank:
            chains.one(pointers)
            return
        with f.loop(starts[depth], sizes[depth]) as loop:
            nest(depth + 1, chains.move(pointers, loop.index, [s[depth] for s in steps]))

    nest(0, [f.load("ptr", f.address("%buffers", b, "ptr"), 8) for b in range(2)])
    f.emit("ret i32 0")
    return module_text([f], tables.definitions())


class _Chains:
    def __init__(self, variant: Variant, f: Function, tables: Tables, target: Target, axis: Sequence[str]) -> None:
        self.variant = variant
        self.f = f
        self.tables = tables
        self.masked = has_masks(target)
        self.target = target
        self.carrier = "float32" if variant.result in programs.STORAGE_FLOATS else variant.result
        self.width = target.lanes(programs.WIDTH[self.carrier] // 8)
        self.size, *self.axis_strides = axis

    def move(self, pointers: Sequence[str], index: str, strides: Sequence[str]) -> list[str]:
        """Pointers into input and output, advanced by an index."""
        kinds = (memory(self.variant.source), memory(self.variant.result))
        return [
            self.f.address(p, self.f.mul(index, s), kind) for p, s, kind in zip(pointers, strides, kinds, strict=True)
        ]

    def one(self, pointers: list[str]) -> None:
        """Append a single chain."""
        self._tile(pointers, Lowering(self.tables, self.f, 1, self.target), 1, [])

    def side_by_side(self, pointers: list[str], count: str) -> None:
        """Append `count` chains whose terms lie side by side."""
        f = self.f
        shapes = [(_VECTORS, self.width)]
        if not self.masked:
            shapes += [(1, self.width), (1, 1)]
        done = "0"
        for vectors, width in dict.fromkeys(shapes):
            low, step = Lowering(self.tables, f, width, self.target), vectors * width
            until = count if self.masked else f.value(f"and i64 {count}, {-step}")
            with f.loop(done, until, step) as loop:
                masks = []
                if self.masked:
                    left = f.sub(count, loop.index)
                    masks = [first_lanes(f, f.sub(left, part * width), width) for part in range(vectors)]
                self._tile(self.move(pointers, loop.index, ["1", "1"]), low, vectors, masks)
            done = until

    def _tile(self, pointers: list[str], low: Lowering, vectors: int, masks: list[str]) -> None:
        f, source, result = self.f, self.variant.source, self.variant.result
        # Adding to -0, unlike +0, changes no number at all: the chain starts with its first term.
        neutral = 1 if self.variant.kind == "prod" else -0.0 if self.carrier in programs.ARITHMETIC_FLOATS else 0
        start = low.constant(self.carrier, programs.pattern(neutral, self.carrier))
        with f.loop(0, self.size, carried=[(low.type(self.carrier), start)] * vectors) as loop:
            here, there = self.move(pointers, loop.index, self.axis_strides)
            sums = []
            for part, total in enumerate(loop.carried):
                address = f.address(here, part * low.width, memory(source))
                term = low.load_masked(source, address, masks[part]) if masks else low.load(source, address)
                sums.append(self._combine(low, total, low.convert(term, source, self.carrier)))
            for part, total in enumerate(sums):
                address = f.address(there, part * low.width, memory(result))
                value = low.convert(total, self.carrier, result)
                if masks:
                    low.store_masked(result, value, address, masks[part])
                else:
                    low.store(result, value, address)
            loop.hand_on(*sums)

    def _combine(self, low: Lowering, a: str, b: str) -> str:
        which = {"sum": "add", "prod": "mul"}[self.variant.kind]
        if self.carrier in programs.ARITHMETIC_FLOATS:
            which = f"f{which}"
        return low.function.value(f"{which} {low.type(self.carrier)} {a}, {b}")
