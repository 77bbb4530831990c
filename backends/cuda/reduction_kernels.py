"""Reductions and scans as kernels, all in the canonical order."""

from __future__ import annotations

import functools
import math
import struct
from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from ...plugin import (
    ARITHMETIC,
    CANONICAL,
    Accepts,
    CallSpec,
    Kernel,
    Nest,
    Prepared,
    Reason,
    Rejection,
    orders,
)
from . import formulas, reductions, scans
from .device.driver import KIND, driver_of
from .device.launching import Arguments, Pointer, Step, launcher
from .folds import KINDS, Fold
from .formulas import COMPLEX
from .nest import packed, parts
from .reductions import THREADS, WARP, Form, Plan, Variant

#: Parts of the sources that these kernels use.
PARTS: Final = ("elementwise", "reductions")
_VECTOR_BYTES: Final = 16
# Elements side by side that a thread of the kernel for columns takes: its accumulators must stay in registers.
_MOST_WIDTH: Final = 4
_FEWEST_ACROSS: Final = 4


_Ends = tuple[Sequence[Pointer], Pointer]


class Reduction:
    """The launches of one call, and how much workspace they share.

    Args:
        spec: the call; its only result is the reduction's.
        fold: what is done to terms.
        plan: how they lie, the same for all operands, or with strides of each.
        operands: numbers of the inputs that terms are made of.
        values: what else results are made of, as bytes.
    """

    def __init__(
        self, spec: CallSpec, fold: Fold, plan: Plan, operands: Sequence[int] = (0,), values: Sequence[bytes] = ()
    ) -> None:
        self.workspace = 0
        self.steps: list[Step] = []
        self._loader = driver_of(spec).loader
        self._fold = fold
        self._aligned = all(s.aligned for s in spec.arrays)
        self._operands = [(i, spec.arrays[i].dtype.itemsize) for i in operands]
        self._output = len(spec.arrays)
        self._values = values
        self._size = spec.outputs[0].dtype.itemsize
        done = 0
        for kept, offsets in parts(plan.kept):
            self._part(Plan(kept, plan.reduced), offsets, done)
            done += math.prod(kept.shape)

    def _part(self, plan: Plan, offsets: Sequence[int], done: int) -> None:
        """Reduce a part of the rows, whose inputs are so far, and before which so many rows are done."""
        each = offsets if len(offsets) > 1 else tuple(offsets) * len(self._operands)
        given = [Pointer(i, at * size) for (i, size), at in zip(self._operands, each, strict=True)]
        result = Pointer(self._output, done * self._size)
        form = plan.form(self._fold.most_few, self._fold.width)
        if form is Form.FEW:
            few = reductions.power_of_two(max(plan.terms, 1))
            variant = self._variant(form, plan, few=few)
            arguments = [struct.pack("<I", plan.rows), struct.pack("<I", plan.terms), packed(plan.kept)]
            self._add(variant, -(-plan.rows // THREADS), [*arguments, walk(plan.reduced), *given, result])
        elif form is Form.COLUMNS:
            self._columns(plan, offsets, given, result)
        else:
            team = orders.LANES // self._fold.width if form is Form.ROWS else WARP
            variant = self._variant(form, plan)
            self._rows(variant, plan, orders.BLOCK, WARP // team, (given, result))

    def _rows(self, variant: Variant, plan: Plan, span: int, teams: int, ends: _Ends) -> None:
        """Reduce rows, and what several blocks make of one row after them."""
        given, result = ends
        how = reductions.spread(plan.rows, plan.terms, span, teams)
        variant = replace(variant, partial=how.tiles > 1)
        target = self._partials(plan.rows * how.tiles) if how.tiles > 1 else result
        numbers = [struct.pack("<I", plan.rows), struct.pack("<4I", *how.words()), struct.pack("<Q", plan.terms)]
        walks = [walk(plan.reduced)] if variant.form is Form.STRIDED else []
        arguments: Arguments = [*numbers, packed(plan.kept), *walks, *given, target]
        self._add(variant, -(-plan.rows // how.rows) * how.tiles, arguments)
        if how.tiles > 1:
            self._tree(plan.rows, how.tiles, [target], result)

    def _columns(self, plan: Plan, offsets: Sequence[int], given: Sequence[Pointer], result: Pointer) -> None:
        width = plan.kept.shape[-1]
        outer = Nest(plan.kept.shape[:-1] or (1,), tuple(s[:-1] or (1,) for s in plan.kept.strides))
        most = 1 if self._fold.kind in ("argmax", "argmin") else _MOST_WIDTH
        wide = min(max(_VECTOR_BYTES // self._fold.bytes_of_term, 1), most)
        steps = [width]
        for at, kept, reduced in zip(offsets, plan.kept.strides, plan.reduced.strides, strict=True):
            steps += (at, *reduced, *kept[:-1]) if kept[-1] else ()
        blocks = reductions.blocks_of(plan.terms)
        rows = math.prod(outer.shape)
        busy = rows * -(-width // (WARP * wide)) * blocks >= reductions.ENOUGH
        if not (busy and self._aligned) or any(s % wide for s in steps):
            wide = 1
        across = min(max(reductions.power_of_two(-(-width // wide)), _FEWEST_ACROSS), WARP)
        stripes = -(-width // (across * wide)) * rows
        turns, tiles = reductions.columns_spread(stripes, blocks)
        variant = self._variant(Form.COLUMNS, plan, across=across, width=wide, partial=tiles > 1)
        variant = replace(variant, kept_rank=len(outer.shape))
        target = self._partials(plan.rows * tiles) if tiles > 1 else result
        numbers = [struct.pack("<I", width), struct.pack("<Q", plan.terms), struct.pack("<I", turns)]
        arguments: Arguments = [*numbers, struct.pack("<I", tiles), packed(outer), walk(plan.reduced), *given, target]
        self._add(variant, stripes * tiles, arguments)
        if tiles > 1:
            self._tree(plan.rows, tiles, [target], result)

    def _tree(self, rows: int, values: int, given: Sequence[Pointer], result: Pointer) -> None:
        plan = Plan(Nest((rows,), ((values,),)), Nest((values,), ((1,),)))
        self._rows(Variant(self._fold, Form.TREE), plan, reductions.TREE_SPAN, 1, (given, result))

    def _partials(self, count: int) -> Pointer:
        """Return where in the workspace so many values go."""
        begin = self.workspace
        self.workspace += -(-count * self._fold.value_bytes // 256) * 256
        return Pointer(self._output + 1, begin)

    def _variant(
        self, form: Form, plan: Plan, *, few: int = 0, across: int = 0, width: int = 0, partial: bool = False
    ) -> Variant:
        ranks, walks = (len(plan.kept.shape), len(plan.reduced.shape)), len(plan.kept.strides)
        far = ranks[1] > 1 and reductions.far(plan.reduced)
        fold = self._fold.lying(plan.moving(form)) if walks > 1 else self._fold
        return Variant(fold, form, *ranks, far, partial, few, across, width, walks)

    def _add(self, variant: Variant, blocks: int, arguments: Arguments) -> None:
        parts = (*formulas.parts((self._fold.source, self._fold.result)), *PARTS)
        function = self._loader.function(_source(variant), parts, variant.form.value)
        self.steps.append(Step(function, (blocks, 1, 1), (THREADS, 1, 1), [*arguments, *self._values]))


def walk(reduced: Nest) -> bytes:
    """Return the bytes of what finds terms: ``Line``, ``Near``, ``Nears`` or ``Far`` of reductions.cuh."""
    strides, *more = reduced.strides
    if more:
        return packed(reduced)
    if len(strides) == 1:
        return struct.pack("<q", strides[0])
    if not reductions.far(reduced):
        return packed(reduced)
    return struct.pack(f"<{len(strides)}Q{len(strides)}q", *reduced.shape[::-1], *strides[::-1])


@functools.lru_cache(maxsize=4096)
def _source(variant: Variant) -> str:
    return reductions.source(variant)


def chosen(axis: int | Sequence[int] | None, rank: int) -> tuple[int, ...]:
    """Return the reduced axes as an op's attribute says them."""
    if axis is None:
        return tuple(range(rank))
    return (axis,) if isinstance(axis, int) else tuple(axis)


def _kernel(op: str) -> Kernel:
    def prepare(spec: CallSpec) -> Prepared | Rejection:
        (x,), (out,) = spec.arrays, spec.outputs
        if op != "sum" and out.dtype.name in COMPLEX:
            return Rejection(Reason.DTYPE, scans.NO_PRODUCTS)
        if not out.size:
            return Prepared(launcher(driver_of(spec).runtime, []))
        fold = Fold(op, x.dtype.name, out.dtype.name)
        axes = chosen(spec.attributes["axis"], len(x.shape))
        made = Reduction(spec, fold, reductions.plan(x.shape, x.strides, axes, fold.ordered))
        return Prepared(launcher(driver_of(spec).runtime, made.steps), made.workspace)

    accepted = ARITHMETIC | COMPLEX if op == "sum" else ARITHMETIC
    return Kernel(op, op, KIND, prepare, Accepts(dtypes=(accepted,)), CANONICAL)


KERNELS: Final = (*(_kernel(op) for op in KINDS), *scans.KERNELS)
