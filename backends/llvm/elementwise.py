"""Elementwise kernels: a recipe's program in a loop nest over any strides and broadcasting.

The entry is `int f(void **buffers, const void *params, void *queue)`. `buffers` holds the address of
element [0, ..., 0] of every input, then of the output. `params` are int64: `begin` and `end`, the range
of the outermost dimension that this call does (so that threads can share one array), then the sizes
of the other dimensions, then the strides of every operand in elements, outermost first, then the address of `rows`.

`rows` does the innermost dimension, and depends on the program; the loops around it do not. They are modules of their
own, so that a program's code, the dear one to compile, serves every rank, and the loops serve every program.

The output either shares no memory with an input or is that very array, of equal strides: each chunk
is read whole before it is written.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from ...plugin import Nest, Program, Walk, programs
from .ir import Function, module_text
from .lower import Lowering, first_lanes, has_masks, memory
from .target import Target
from .vectors import Tables

ENTRY: Final = "f"
ROWS: Final = "rows"
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

    `short` code is for few elements along the innermost dimension, one module without `rows`; the bits are the same.
    """

    program: Program
    rank: int
    layouts: tuple[Walk, ...]
    short: bool = False

    def loops(self) -> Loops:
        """What the loops around its rows depend on."""
        return Loops(self.rank, self.layouts, tuple(_bits(t) for t in _dtypes(self.program)))


@dataclass(frozen=True, slots=True)
class Loops:
    """Everything that the loops around rows depend on; `bits` are those that an element of each operand takes."""

    rank: int
    layouts: tuple[Walk, ...]
    bits: tuple[int, ...]


def variant(program: Program, nest: Nest) -> Variant:
    """The variant that computes a program over a collapsed nest."""
    layouts = nest.walks()
    strided, small = any(_strided(layout) for layout in layouts), len(program.instructions) <= _SHORT_PROGRAM
    short = strided and small and len(nest.shape) > 1 and nest.shape[-1] <= _SHORT_ROW
    return Variant(program, len(nest.shape), layouts, short)


def parameters(nest: Nest, rows: int = 0, begin: int = 0, end: int | None = None) -> NDArray[np.int64]:
    """The `params` of a call that does the range [begin, end) of the outermost dimension by the code at `rows`.

    >>> from opmux.plugin import collapse
    >>> parameters(collapse((5,), ((1,), (1,))), 4096).tolist()
    [0, 5, 1, 1, 4096]
    """
    stop = nest.shape[0] if end is None else end
    return np.array([begin, stop, *nest.shape[1:], *(s for strides in nest.strides for s in strides), rows], np.int64)


def vector_width(program: Program, target: Target) -> int:
    """Elements per vector: as many as one register has of the program's widest dtype."""
    kinds = (*program.inputs, *(i.type for i in program.instructions))
    return target.lanes(max(max(programs.WIDTH[t] for t in kinds) // 8, 1))


def unrolled(program: Program) -> int:
    """Vectors per turn of the main loop: short programs wait for memory, long ones fill the machine by themselves."""
    n = len(program.instructions)
    return 4 if n <= 4 else 2 if n <= 8 else 1


def rows_code(program: Program, layouts: tuple[Walk, ...], target: Target) -> str:
    """The IR module of a program's `rows`."""
    tables = Tables()
    return module_text([_Rows(program, layouts, target, tables).function], tables.definitions())


def loops_code(loops: Loops) -> str:
    """The IR module of the loops around rows; its entry is `f`."""
    f, operands = _entry(), len(loops.layouts)
    nest = _Nest(f, loops)
    rows = f.load("ptr", f.address("%params", 1 + loops.rank * (1 + operands), "ptr"), 8)
    inner = [("i64", s[-1]) for s, layout in zip(nest.strides, loops.layouts, strict=True) if _strided(layout)]

    def call(pointers: list[str], first: str, count: str) -> None:
        moved = nest.move(pointers, first, -1)
        given = [("i64", count), *(("ptr", p) for p in moved), *inner]
        f.emit(f"call void {rows}({', '.join(f'{kind} {value}' for kind, value in given)})")

    sizes = nest.sizes
    if loops.rank > 1 and any(_strided(layout) for layout in loops.layouts):
        # In strips: the cache lines that a transposed operand touches along one are still there for its next row.
        with f.loop("0", sizes[-1], CHUNK) as strip:
            count = f.minimum(f.sub(sizes[-1], strip.index), CHUNK)
            nest.write(lambda pointers: call(pointers, strip.index, count))
    else:
        count = f.sub(sizes[-1], nest.starts[-1])
        nest.write(lambda pointers: call(pointers, nest.starts[-1], count))
    f.emit("ret i32 0")
    return module_text([f])


def short_code(variant: Variant, target: Target) -> str:
    """The IR module of a short variant, which goes element by element; its entry is `f`."""
    tables, f, kinds = Tables(), _entry(), _dtypes(variant.program)
    nest, low = _Nest(f, variant.loops()), Lowering(tables, f, 1, target)

    def one_by_one(pointers: list[str]) -> None:
        with f.loop(0, nest.sizes[-1]) as loop:
            *given, to = nest.move(pointers, loop.index, -1)
            values = [low.load(t, p) for t, p in zip(kinds, given, strict=False)]
            low.store(kinds[-1], low.run(variant.program, values), to)

    nest.write(one_by_one)
    f.emit("ret i32 0")
    return module_text([f], tables.definitions())


def _entry() -> Function:
    return Function(ENTRY, [("ptr", "%buffers"), ("ptr", "%params"), ("ptr", "%queue")], "i32")


class _Nest:
    """The loops over every dimension but the innermost, in an entry."""

    def __init__(self, f: Function, loops: Loops) -> None:
        rank, operands = loops.rank, len(loops.layouts)
        words = [f.load("i64", f.address("%params", i, "i64"), 8) for i in range(1 + rank + operands * rank)]
        self.function, self._rank, self._bits = f, rank, loops.bits
        self.starts, self.sizes = [words[0], *["0"] * (rank - 1)], words[1 : rank + 1]
        self.strides = [words[1 + rank * (o + 1) : 1 + rank * (o + 2)] for o in range(operands)]
        self._bases = [f.load("ptr", f.address("%buffers", o, "ptr"), 8) for o in range(operands)]

    def move(self, pointers: list[str], index: str, depth: int) -> list[str]:
        """Every operand's pointer, so many elements on along a dimension."""
        f = self.function
        return [
            f.address(p, f.mul(index, s[depth]), f"i{bits}")
            for p, s, bits in zip(pointers, self.strides, self._bits, strict=True)
        ]

    def write(self, inside: Callable[[list[str]], None]) -> None:
        """Write the loops, and inside of them what takes the pointers to a row's beginning."""

        def nest(depth: int, pointers: list[str]) -> None:
            if depth == self._rank - 1:
                inside(pointers)
                return
            with self.function.loop(self.starts[depth], self.sizes[depth]) as loop:
                nest(depth + 1, self.move(pointers, loop.index, depth))

        nest(0, self._bases)


def _strided(layout: Walk) -> bool:
    return layout is Walk.STRIDED


def _dtypes(program: Program) -> tuple[str, ...]:
    return (*program.inputs, program.result_type)


def _bits(dtype: str) -> int:
    return max(programs.WIDTH[dtype], 8)


class _Rows:
    """`rows(count, pointers, strides of the strided)`: the innermost dimension."""

    def __init__(self, program: Program, layouts: tuple[Walk, ...], target: Target, tables: Tables) -> None:
        self.program = program
        self.dtypes = _dtypes(program)
        self.layouts = layouts
        self.masked = has_masks(target)
        self.width = vector_width(program, target)
        operands = range(len(self.layouts))
        strides = [("i64", f"%stride{o}") for o in operands if _strided(self.layouts[o])]
        self.function = f = Function(ROWS, [("i64", "%n"), *(("ptr", f"%p{o}") for o in operands), *strides])
        self.single = Lowering(tables, f, 1, target)
        self.lowering = Lowering(tables, f, self.width, target)
        buffered = [o for o in operands if _strided(self.layouts[o])]
        self.staging = {o: self._buffer(o, CHUNK) for o in buffered}
        if not self.masked:
            self.tails = {o: self._buffer(o, self.width) for o in operands if self.layouts[o] is Walk.CONTIGUOUS}
        f.return_if(f.compare("%n", "<=", 0), "ret void")
        self.scalars = {o: self._broadcast(o) for o in operands[:-1] if self.layouts[o] is Walk.SCALAR}
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
                if layout is Walk.CONTIGUOUS:
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
