"""Slices of an axis chosen by indices: read from a table (gather), or combined into it (scatter).

The entry is `int f(void **buffers, const void *params, void *queue)`: `buffers` are the table, the indices and the
rows. The table is what has the chosen axis: gather's operand or scatter's result; the rows are gather's result or
scatter's updates, and each place of the indices has its own there. `params` are int64, see `Plan.parameters`.

Indices are resolved a chunk at a time into offsets within the table; then, for every element of the axes before, the
rows of the chunk are moved. So updates of one element apply in the order of their indices.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

import numpy as np
from numpy.typing import NDArray

from ...plugin import Nest, Program, merge, programs
from .gather import gather
from .ir import Function, module_text
from .jit import CompileOptions
from .lower import Lowering, first_lanes, has_masks, memory
from .target import Target
from .vectors import Tables

ENTRY: Final = "f"
# Indices resolved at once; their offsets stay in the first-level cache.
_CHUNK: Final = 512
# An offset that no index gives: nothing is there.
_NOWHERE: Final = -(1 << 63)
# Runs up to so many vectors are moved by masked vectors; a call of memcpy costs more than that.
_SHORT: Final = 4


class Form(StrEnum):
    """What lies at each index."""

    ELEMENT = "element"
    RUN = "run"  # neighbours in the table and in the rows
    NEST = "nest"


@dataclass(frozen=True, slots=True)
class Plan:
    """The loops: strides of `outer` and `inner` are the table's, then the rows'; those of `indices` their own.

    `length` and `stride` are those of the chosen axis of the table.
    """

    outer: Nest
    inner: Nest
    indices: Nest
    length: int
    stride: int

    def form(self) -> Form:
        """The form of code that suits these strides."""
        if not self.inner.shape:
            return Form.ELEMENT
        return Form.RUN if len(self.inner.shape) == 1 and self.inner.strides == ((1,), (1,)) else Form.NEST

    def parameters(self) -> NDArray[np.int64]:
        """The `params` of a call."""
        words: list[int] = [self.length, self.stride, _product(self.indices.shape), _product(self.inner.shape)]
        for nest in (self.outer, self.inner, self.indices):
            words += [*nest.shape, *(s for strides in nest.strides for s in strides)]
        return np.array(words, np.int64)


def _product(shape: Sequence[int]) -> int:
    return int(np.prod(shape, dtype=np.int64))


def plan(
    shape: Sequence[int],
    strides: Sequence[int],
    axis: int,
    indices_shape: Sequence[int],
    indices_strides: Sequence[int],
    rows_strides: Sequence[int],
) -> Plan:
    """Split the dimensions of the table at the axis; the rows of all indices lie one after the other.

    >>> plan((5, 6), (6, 1), 0, (3,), (1,), (6, 1)).form()
    <Form.RUN: 'run'>
    """
    after = axis + len(indices_shape)
    indices = merge(indices_shape, (indices_strides,))
    return Plan(
        merge(shape[:axis], (strides[:axis], rows_strides[:axis])),
        merge(shape[axis + 1 :], (strides[axis + 1 :], rows_strides[after:])),
        indices if indices.shape else Nest((1,), ((1,),)),
        shape[axis],
        strides[axis],
    )


@dataclass(frozen=True, slots=True)
class Variant:
    """Everything that the code depends on.

    Attributes:
        dtype: of table and rows.
        index: dtype of the indices.
        mode: for an index outside of the axis: `clip`, `wrap`, or nothing there, `fill` (gather) or `drop` (scatter).
        combine: None for a gather; for a scatter the program of old and new, or `set`.
        form, outer_rank, inner_rank, index_rank: of the plan.
    """

    dtype: str
    index: str
    mode: str
    combine: Program | str | None
    form: Form
    outer_rank: int
    inner_rank: int
    index_rank: int

    def options(self) -> CompileOptions:
        """LLVM may vectorise moves; programs stay as they are written."""
        return CompileOptions(speed_level=2, vectorize=not isinstance(self.combine, Program), unroll=False)


def variant(dtype: str, index: str, mode: str, combine: Program | str | None, plan: Plan) -> Variant:
    """The variant that moves by a plan."""
    ranks = (len(nest.shape) for nest in (plan.outer, plan.inner, plan.indices))
    return Variant(dtype, index, mode, combine, plan.form(), *ranks)


def generate(variant: Variant, target: Target) -> str:
    """The IR module of a variant; its entry is `f`."""
    tables = Tables()
    functions = [_rows(variant, target, tables), _entry(variant)]
    return module_text(functions, tables.definitions())


def _entry(variant: Variant) -> Function:
    f = Function(ENTRY, [("ptr", "%buffers"), ("ptr", "%params"), ("ptr", "%queue")], "i32")
    ro, rn = variant.outer_rank, variant.inner_rank
    kind = memory(variant.dtype)
    table, indices, rows = (f.load("ptr", f.address("%buffers", b, "ptr"), 8) for b in range(3))
    length, stride, count, size = (f.load("i64", f.address("%params", i, "i64"), 8) for i in range(4))
    outer = [f.load("i64", f.address("%params", 4 + i, "i64"), 8) for i in range(3 * ro)]
    inner = f.address("%params", 4 + 3 * ro, "i64")
    walk = f.address("%params", 4 + 3 * ro + 3 * rn, "i64")
    given = f.value(f"alloca [{_CHUNK} x {memory(variant.index)}], align 64")
    offsets = f.value(f"alloca [{_CHUNK} x i64], align 64")
    with f.loop(0, count, _CHUNK) as chunk:
        here = f.minimum(f.sub(count, chunk.index), _CHUNK)
        gather(f, variant.index, variant.index_rank, indices, walk, chunk.index, here, given)
        with f.loop(0, here) as loop:
            index = f.load(memory(variant.index), f.address(given, loop.index, memory(variant.index)), 4)
            f.store("i64", _resolved(f, variant, index, length, stride), f.address(offsets, loop.index, "i64"), 8)

        def nest(depth: int, table: str, rows: str) -> None:
            if depth == ro:
                pointers = [("ptr", table), ("ptr", rows), ("ptr", offsets)]
                f.call("void", "rows", [*pointers, ("i64", here), ("i64", size), ("ptr", inner)])
                return
            with f.loop(0, outer[depth]) as loop:
                at_table, at_rows = (f.mul(loop.index, outer[turn * ro + depth]) for turn in (1, 2))
                nest(depth + 1, f.address(table, at_table, kind), f.address(rows, at_rows, kind))

        nest(0, table, f.address(rows, f.mul(chunk.index, size), kind))
    f.emit("ret i32 0")
    return f


def _resolved(f: Function, variant: Variant, index: str, length: str, stride: str) -> str:
    """The offset of an index within the table, or `_NOWHERE`."""
    if variant.index != "int64":
        index = f.value(f"sext {memory(variant.index)} {index} to i64")
    from_end = f.value(f"add i64 {index}, {length}")
    index = f.value(f"select i1 {f.compare(index, '<', 0)}, i64 {from_end}, i64 {index}")
    if variant.mode == "clip":
        low = f.call("i64", "llvm.smax.i64", [("i64", index), ("i64", 0)])
        return f.mul(f.minimum(low, f.sub(length, 1)), stride)
    if variant.mode == "wrap":
        rest = f.value(f"srem i64 {index}, {length}")
        raised = f.value(f"add i64 {rest}, {length}")
        return f.mul(f.value(f"select i1 {f.compare(rest, '<', 0)}, i64 {raised}, i64 {rest}"), stride)
    offset = f.value(f"mul i64 {index}, {stride}")
    return f.value(f"select i1 {f.compare(index, 'u<', length)}, i64 {offset}, i64 {_NOWHERE}")


def _rows(variant: Variant, target: Target, tables: Tables) -> Function:
    """`rows(table, rows, offsets, count, inner size, inner sizes and strides)`: one row after the other."""
    f = Function(
        "rows",
        [
            *(("ptr noalias", "%table"), ("ptr noalias", "%rows"), ("ptr noalias", "%offsets")),
            *(("i64", "%count"), ("i64", "%size"), ("ptr", "%inner")),
        ],
        linkage="internal",
        attributes="noinline nounwind",
    )
    moved = _Mover(f, variant, target, tables)
    with f.loop(0, "%count") as loop:
        offset = f.load("i64", f.address("%offsets", loop.index, "i64"), 8)
        row = f.address("%rows", f.mul(loop.index, "%size"), moved.kind)
        if variant.mode in ("clip", "wrap"):
            moved.move(f.address("%table", offset, moved.kind), row)
        elif variant.mode == "drop":
            with f.when(f.compare(offset, "!=", _NOWHERE)):
                moved.move(f.address("%table", offset, moved.kind), row)
        else:
            with f.either(f.compare(offset, "!=", _NOWHERE)) as otherwise:
                moved.move(f.address("%table", offset, moved.kind), row)
                otherwise()
                moved.clear(row)
    f.emit("ret void")
    return f


class _Mover:
    """Moves what lies at one index."""

    def __init__(self, f: Function, variant: Variant, target: Target, tables: Tables) -> None:
        self.f = f
        self.variant = variant
        self.kind = memory(variant.dtype)
        self.bytes = max(programs.WIDTH[variant.dtype] // 8, 1)
        self.low = Lowering(tables, f, 1, target)
        width = target.lanes(self.bytes)
        self.wide = Lowering(tables, f, width, target) if has_masks(target) else None
        rank = variant.inner_rank
        self.dims = [f.load("i64", f.address("%inner", i, "i64"), 8) for i in range(3 * rank)]

    def move(self, table: str, row: str) -> None:
        """Append the move between the table at an index and its row."""
        form = self.variant.form
        if form is Form.ELEMENT:
            self._element(table, row)
        elif form is Form.RUN:
            self._run(table, row)
        else:
            self._nest(0, table, row)

    def clear(self, row: str) -> None:
        """Append zeros for a row; rows of a gather are contiguous."""
        size = self.f.mul("%size", self.bytes)
        if self.variant.form is Form.ELEMENT:
            self.f.store(self.kind, "0", row, self.bytes)
            return
        self.f.call("void", "llvm.memset.p0.i64", [("ptr", row), ("i8", 0), ("i64", size), ("i1", "false")])

    def _element(self, table: str, row: str) -> None:
        dtype, low, combine = self.variant.dtype, self.low, self.variant.combine
        if combine is None:
            low.store(dtype, low.load(dtype, table), row)
        elif isinstance(combine, Program):
            low.store(dtype, low.run(combine, [low.load(dtype, table), low.load(dtype, row)]), table)
        else:
            low.store(dtype, low.load(dtype, row), table)

    def _run(self, table: str, row: str) -> None:
        if isinstance(self.variant.combine, Program):
            self._loop("%size", [table, row], ["1", "1"], lambda p: self._element(p[0], p[1]))
            return
        source, to = (table, row) if self.variant.combine is None else (row, table)
        if self.wide is None:
            self._copy(source, to)
            return
        with self.f.either(self.f.compare("%size", "<=", _SHORT * self.wide.width)) as otherwise:
            self._short(self.wide, source, to)
            otherwise()
            self._copy(source, to)

    def _copy(self, source: str, to: str) -> None:
        size = self.f.mul("%size", self.bytes)
        self.f.emit(f"call void @llvm.memcpy.p0.p0.i64(ptr {to}, ptr {source}, i64 {size}, i1 false)")

    def _short(self, low: Lowering, source: str, to: str) -> None:
        f, dtype = self.f, self.variant.dtype
        with f.loop(0, "%size", low.width) as loop:
            mask = first_lanes(f, f.sub("%size", loop.index), low.width)
            value = low.load_masked(dtype, f.address(source, loop.index, self.kind), mask)
            low.store_masked(dtype, value, f.address(to, loop.index, self.kind), mask)

    def _nest(self, depth: int, table: str, row: str) -> None:
        rank = self.variant.inner_rank
        if depth == rank:
            self._element(table, row)
            return
        steps = [self.dims[rank + depth], self.dims[2 * rank + depth]]
        self._loop(self.dims[depth], [table, row], steps, lambda p: self._nest(depth + 1, p[0], p[1]))

    def _loop(
        self, count: str, pointers: Sequence[str], steps: Sequence[str], body: Callable[[list[str]], None]
    ) -> None:
        f = self.f
        with f.loop(0, count) as loop:
            body([f.address(p, f.mul(loop.index, s), self.kind) for p, s in zip(pointers, steps, strict=True)])
