"""Reductions over any set of axes, in the canonical order of `opset.orders`.

The entry is `int f(void **buffers, const void *params, void *queue)`: `buffers` is the input, then the
output. `params` are int64: `begin` and `end`, the range of the outermost kept dimension that this call
does; the sizes of the other kept dimensions; the kept dimensions' strides in the input, then in the output;
the sizes of the reduced dimensions, then their strides. Strides count elements; everything is outermost first.

Three forms of code: `rows` where the innermost reduced dimension is the only one and contiguous, `packed`
where the terms of a block are first gathered, `columns` where the kept dimension is contiguous and
a vector holds neighbouring results (`wide columns`: several vectors at once).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

import numpy as np
from numpy.typing import NDArray

from ...plugin import Nest, collapse, merge
from .columns import columns
from .fold import Fold
from .ir import Function, module_text
from .lower import memory
from .rows import rows
from .target import Target
from .vectors import Tables

ENTRY: Final = "f"
# Columns from which several vectors at once pay: two vectors of float32 at 512 bits.
WIDE: Final = 32
_COLUMNS: Final = ("columns", "wide columns")


class Form(StrEnum):
    """How the reduced terms lie."""

    ROWS = "rows"
    PACKED = "packed"
    COLUMNS = "columns"
    WIDE_COLUMNS = "wide columns"


@dataclass(frozen=True, slots=True)
class Plan:
    """A reduction's loops: `kept` has the strides of input and output, `reduced` those of the input."""

    kept: Nest
    reduced: Nest

    def form(self) -> Form:
        """The form of code that suits these strides."""
        if len(self.reduced.shape) == 1 and self.reduced.strides[0][-1] == 1:
            return Form.ROWS
        if self.kept.strides[0][-1] == self.kept.strides[1][-1] == 1 and self.reduced.strides[0][-1] != 1:
            return Form.WIDE_COLUMNS if self.kept.shape[-1] >= WIDE else Form.COLUMNS
        return Form.PACKED

    def parameters(self, begin: int = 0, end: int | None = None) -> NDArray[np.int64]:
        """The `params` of a call that does the range [begin, end) of the outermost kept dimension."""
        stop = self.kept.shape[0] if end is None else end
        strides = [s for operand in self.kept.strides for s in operand]
        return np.array(
            [begin, stop, *self.kept.shape[1:], *strides, *self.reduced.shape, *self.reduced.strides[0]], np.int64
        )


def plan(shape: Sequence[int], strides: Sequence[int], axes: Sequence[int], out_strides: Sequence[int]) -> Plan:
    """Split an input's dimensions into kept and reduced ones.

    Args:
        shape: of the input.
        strides: of the input, in elements.
        axes: the reduced ones, not negative.
        out_strides: of the output, whose dimensions are the kept ones.

    >>> plan((4, 6), (6, 1), (1,), (1,)).form()
    <Form.ROWS: 'rows'>
    """
    keep = [d for d in range(len(shape)) if d not in axes]
    gone = [d for d in range(len(shape)) if d in axes]
    kept = collapse([shape[d] for d in keep], [[strides[d] for d in keep], out_strides])
    reduced = merge([shape[d] for d in gone], [[strides[d] for d in gone]])
    return Plan(kept, reduced if reduced.shape else Nest((1,), ((1,),)))


@dataclass(frozen=True, slots=True)
class Variant:
    """Everything that the code of a reduction depends on."""

    fold: Fold
    form: Form
    kept_rank: int
    reduced_rank: int


def variant(fold: Fold, plan: Plan) -> Variant:
    """The variant that does a fold over a plan."""
    return Variant(fold, plan.form(), len(plan.kept.shape), len(plan.reduced.shape))


def generate(variant: Variant, target: Target) -> str:
    """The IR module of a variant; its entry is `f`."""
    tables = Tables()
    if variant.form in _COLUMNS:
        wide = variant.form is Form.WIDE_COLUMNS
        function = columns(variant.fold, variant.reduced_rank, wide, target, tables)
    else:
        function = rows(variant.fold, variant.reduced_rank, variant.form is Form.PACKED, target, tables)
    return module_text([function, _entry(variant)], tables.definitions())


def _entry(variant: Variant) -> Function:
    """Loops over the kept dimensions; `reduce` does one result, or one row of them in the forms `columns`."""
    f = Function(ENTRY, [("ptr", "%buffers"), ("ptr", "%params"), ("ptr", "%queue")], "i32")
    rank, fold = variant.kept_rank, variant.fold
    words = [f.load("i64", f.address("%params", i, "i64"), 8) for i in range(1 + 3 * rank)]
    starts, sizes = [words[0], *["0"] * (rank - 1)], words[1 : 1 + rank]
    steps = [words[1 + rank : 1 + 2 * rank], words[1 + 2 * rank :]]
    kinds = (memory(fold.source), memory(fold.result))
    reduced = f.address("%params", 1 + 3 * rank, "i64")
    along = rank - 1 if variant.form in _COLUMNS else rank

    def nest(depth: int, pointers: Sequence[str]) -> None:
        def moved(index: str) -> list[str]:
            return [
                f.address(p, f.mul(index, s[depth]), kind) for p, s, kind in zip(pointers, steps, kinds, strict=True)
            ]

        if depth < along:
            with f.loop(starts[depth], sizes[depth]) as loop:
                nest(depth + 1, moved(loop.index))
            return
        last = []
        if depth < rank:
            pointers = moved(starts[depth])
            last = [("i64", f.sub(sizes[depth], starts[depth]))]
        f.call("void", "reduce", [*(("ptr", p) for p in pointers), ("ptr", reduced), *last])

    nest(0, [f.load("ptr", f.address("%buffers", b, "ptr"), 8) for b in range(2)])
    f.emit("ret i32 0")
    return f
