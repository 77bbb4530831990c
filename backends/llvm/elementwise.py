"""Elementwise kernels: a recipe's program in a loop nest over any strides and broadcasting.

The entry is `int f(void **buffers, const void *params, void *queue)`. `buffers` holds the address of
element [0, ..., 0] of every input, then of the output. `params` are int64: `begin` and `end`, the range
of the outermost dimension that this call does (so that threads can share one array), then the sizes
of the other dimensions, then the strides of every operand in elements, outermost first.

The output either shares no memory with an input or is that very array, of equal strides: each chunk
is read whole before it is written.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from ...plugin import Program, programs
from .ir import Function, module_text
from .layout import Layout, Nest
from .lower import Lowering, first_lanes, has_masks, memory
from .target import Target
from .vectors import Tables

ENTRY: Final = "f"
# Strided operands are gathered into a buffer of so many elements, on the stack, and computed from there.
CHUNK: Final = 256
# Elements copied per turn of the loop that gathers them: enough to hide its counting.
_COPIES: Final = 4
# Rows of strided operands up to this length are done one element at a time: staging them would cost more. Programs of
# more than so many instructions gain from vectors even so.
_SHORT_ROW: Final = 16
_SHORT_PROGRAM: Final = 2


@dataclass(frozen=True, slots=True)
class Variant:
    """Everything that the code of an elementwise kernel depends on; layouts are the inputs', then the output's.

    `short` code is for few elements along the innermost dimension; the bits are the same.
    """

    program: Program
    rank: int
    layouts: tuple[Layout, ...]
    short: bool = False


def variant(program: Program, nest: Nest) -> Variant:
    """The variant that computes a program over a collapsed nest."""
    layouts = nest.layouts()
    strided, small = any(_strided(layout) for layout in layouts), len(program.instructions) <= _SHORT_PROGRAM
    short = strided and small and len(nest.shape) > 1 and nest.shape[-1] <= _SHORT_ROW
    return Variant(program, len(nest.shape), layouts, short)


def parameters(nest: Nest, begin: int = 0, end: int | None = None) -> NDArray[np.int64]:
    """The `params` of a call that does the range [begin, end) of the outermost dimension.

    >>> from .layout import collapse
    >>> parameters(collapse((5,), ((1,), (1,)))).tolist()
    [0, 5, 1, 1]
    """
    stop = nest.shape[0] if end is None else end
    return np.array([begin, stop, *nest.shape[1:], *(s for strides in nest.strides for s in strides)], np.int64)


def vector_width(program: Program, target: Target) -> int:
    """Elements per vector: as many as one register has of the program's widest dtype."""
    kinds = (*program.inputs, *(i.type for i in program.instructions))
    return target.lanes(max(max(programs.WIDTH[t] for t in kinds) // 8, 1))


def unrolled(program: Program) -> int:
    """Vectors per turn of the main loop: short programs wait for memory, long ones fill the machine by themselves."""
    n = len(program.instructions)
    return 4 if n <= 4 else 2 if n <= 8 else 1


def generate(variant: Variant, target: Target) -> str:
    """The IR module of a variant; its entry is `f`."""
    tables = Tables()
    if variant.short:
        functions = [_entry(variant, target, tables)]
    else:
        functions = [_Run(variant, target, tables).function, _entry(variant, target, tables)]
    return module_text(functions, tables.definitions())


def _entry(variant: Variant, target: Target, tables: Tables) -> Function:
    f = Function(ENTRY, [("ptr", "%buffers"), ("ptr", "%params"), ("ptr", "%queue")], "i32")
    rank, operands = variant.rank, len(variant.layouts)
    words = [f.load("i64", f.address("%params", i, "i64"), 8) for i in range(1 + rank + operands * rank)]
    starts, sizes = [words[0], *["0"] * (rank - 1)], words[1 : rank + 1]
    strides = [words[1 + rank * (o + 1) : 1 + rank * (o + 2)] for o in range(operands)]
    bases = [f.load("ptr", f.address("%buffers", o, "ptr"), 8) for o in range(operands)]

    def one_by_one(pointers: list[str]) -> None:
        low, kinds = Lowering(tables, f, 1, target), _dtypes(variant.program)
        with f.loop(0, sizes[-1]) as loop:
            *given, to = _move(f, variant, pointers, loop.index, [s[-1] for s in strides])
            values = [low.load(t, p) for t, p in zip(kinds, given, strict=False)]
            low.store(kinds[-1], low.run(variant.program, values), to)

    def nest(depth: int, pointers: list[str], first: str, count: str) -> None:
        if depth == rank - 1 and variant.short:
            one_by_one(pointers)
            return
        if depth == rank - 1:
            moved = _move(f, variant, pointers, first, [s[depth] for s in strides])
            inner = [("i64", s[depth]) for s, layout in zip(strides, variant.layouts, strict=True) if _strided(layout)]
            f.call("void", "run", [("i64", count), *(("ptr", p) for p in moved), *inner])
            return
        with f.loop(starts[depth], sizes[depth]) as loop:
            nest(depth + 1, _move(f, variant, pointers, loop.index, [s[depth] for s in strides]), first, count)

    if rank > 1 and not variant.short and any(_strided(layout) for layout in variant.layouts):
        # In strips: the cache lines that a transposed operand touches along one are still there for its next row.
        with f.loop("0", sizes[-1], CHUNK) as strip:
            nest(0, bases, strip.index, f.minimum(f.sub(sizes[-1], strip.index), CHUNK))
    else:
        nest(0, bases, starts[-1], f.sub(sizes[-1], starts[-1]))
    f.emit("ret i32 0")
    return f


def _strided(layout: Layout) -> bool:
    return layout is Layout.STRIDED


def _dtypes(program: Program) -> tuple[str, ...]:
    return (*program.inputs, program.result_type)


def _move(f: Function, variant: Variant, pointers: list[str], index: str, strides: Sequence[str]) -> list[str]:
    return [
        f.address(p, f.mul(index, s), memory(t))
        for p, s, t in zip(pointers, strides, _dtypes(variant.program), strict=True)
    ]


class _Run:
    """`run(count, pointers, strides of the strided)`: the innermost dimension."""

    def __init__(self, variant: Variant, target: Target, tables: Tables) -> None:
        self.program = variant.program
        self.dtypes = _dtypes(variant.program)
        self.layouts = variant.layouts
        self.masked = has_masks(target)
        self.width = vector_width(variant.program, target)
        operands = range(len(self.layouts))
        strides = [("i64", f"%stride{o}") for o in operands if _strided(self.layouts[o])]
        self.function = f = Function(
            "run",
            [("i64", "%n"), *(("ptr", f"%p{o}") for o in operands), *strides],
            linkage="internal",
            attributes="noinline nounwind",
        )
        self.single = Lowering(tables, f, 1, target)
        self.lowering = Lowering(tables, f, self.width, target)
        buffered = [o for o in operands if _strided(self.layouts[o])]
        self.staging = {o: self._buffer(o, CHUNK) for o in buffered}
        if not self.masked:
            self.tails = {o: self._buffer(o, self.width) for o in operands if self.layouts[o] is Layout.CONTIGUOUS}
        f.return_if(f.compare("%n", "<=", 0), "ret void")
        self.scalars = {o: self._broadcast(o) for o in operands[:-1] if self.layouts[o] is Layout.SCALAR}
        pointers = [f"%p{o}" for o in operands]
        if buffered:
            self._chunks(pointers)
        else:
            self._contiguous("%n", pointers)
        f.emit("ret void")

    def _buffer(self, operand: int, elements: int) -> str:
        return self.function.value(f"alloca [{elements} x {memory(self.dtypes[operand])}], align 64")

    def _broadcast(self, operand: int) -> str:
        dtype = self.dtypes[operand]
        return self.lowering.broadcast(dtype, self.single.load(dtype, f"%p{operand}"))

    def _chunks(self, pointers: list[str]) -> None:
        f, out = self.function, len(pointers) - 1
        with f.loop(0, "%n", CHUNK) as loop:
            count = f.minimum(f.sub("%n", loop.index), CHUNK)
            direct = list(pointers)
            for o, layout in enumerate(self.layouts):
                if layout is Layout.CONTIGUOUS:
                    direct[o] = f.address(pointers[o], loop.index, memory(self.dtypes[o]))
                elif o in self.staging:
                    direct[o] = self.staging[o]
                    if o != out:
                        self._copy(o, count, self._along(o, loop.index), f"%stride{o}", direct[o], 1)
            self._contiguous(count, direct)
            if out in self.staging:
                self._copy(out, count, direct[out], 1, self._along(out, loop.index), f"%stride{out}")

    def _along(self, operand: int, index: str) -> str:
        f = self.function
        return f.address(f"%p{operand}", f.mul(index, f"%stride{operand}"), memory(self.dtypes[operand]))

    def _copy(self, operand: int, count: str, source: str, step: str | int, to: str, to_step: str | int) -> None:
        f, kind = self.function, memory(self.dtypes[operand])
        align = max(programs.WIDTH[self.dtypes[operand]] // 8, 1)
        done = "0"
        for turn in (_COPIES, 1):
            until = f.value(f"and i64 {count}, {-turn}")
            with f.loop(done, until, turn) as loop:
                for part in range(turn):
                    i = f.add(loop.index, part)
                    value = f.load(kind, f.address(source, f.mul(i, step), kind), align)
                    f.store(kind, value, f.address(to, f.mul(i, to_step), kind), align)
            done = until

    def _contiguous(self, count: str, pointers: list[str]) -> None:
        f, turn = self.function, self.width * unrolled(self.program)
        done: str | int = 0
        if turn > self.width:
            done = f.value(f"and i64 {count}, {-turn}")
            with f.loop(0, done, turn) as loop:
                for part in range(0, turn, self.width):
                    at = f.add(loop.index, part)
                    self._vector([f.address(p, at, memory(t)) for p, t in zip(pointers, self.dtypes, strict=True)])
        with f.loop(done, count, self.width) as loop:
            here = [f.address(p, loop.index, memory(t)) for p, t in zip(pointers, self.dtypes, strict=True)]
            left = f.sub(count, loop.index)
            if self.masked:
                self._masked_vector(here, left)
            else:
                with self._staged(here, left) as padded:
                    self._vector(padded)

    def _compute(self, loaded: dict[int, str]) -> str:
        values = [self.scalars.get(o) or loaded[o] for o in range(len(self.dtypes) - 1)]
        return self.lowering.run(self.program, values)

    def _inputs(self) -> list[int]:
        return [o for o in range(len(self.dtypes) - 1) if o not in self.scalars]

    def _vector(self, pointers: list[str]) -> None:
        low = self.lowering
        result = self._compute({o: low.load(self.dtypes[o], pointers[o]) for o in self._inputs()})
        low.store(self.dtypes[-1], result, pointers[-1])

    def _masked_vector(self, pointers: list[str], left: str) -> None:
        low, mask = self.lowering, first_lanes(self.function, left, self.width)
        result = self._compute({o: low.load_masked(self.dtypes[o], pointers[o], mask) for o in self._inputs()})
        low.store_masked(self.dtypes[-1], result, pointers[-1], mask)

    @contextmanager
    def _staged(self, pointers: list[str], left: str) -> Iterator[list[str]]:
        """Pointers to whole vectors: the arrays' own, or copies where fewer elements than a vector are left."""
        f, out = self.function, len(pointers) - 1
        short = f.compare(left, "<", self.width)
        with f.when(short):
            for o in self._inputs():
                if o in self.tails:
                    self._copy(o, left, pointers[o], 1, self.tails[o], 1)
        padded = [
            f.value(f"select i1 {short}, ptr {self.tails[o]}, ptr {p}") if o in self.tails else p
            for o, p in enumerate(pointers)
        ]
        yield padded
        if out in self.tails:
            with f.when(short):
                self._copy(out, left, padded[out], 1, pointers[out], 1)
