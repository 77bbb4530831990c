"""The cases that every op has: its samples and sentences, layouts, ``out=``, promotion, bad arguments, refusals."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from ...core.dtypes import ALL, COMPLEX, STORAGE, DType
from ...core.op import Op, Role
from ...opset.declare import declaration_of
from ..oracle.expect import expect, infer
from . import checks, layouts, values
from .case import OpCheck, OpContext
from .row_values import promotions
from .samples import Sample, is_exhaustive, operand_dtypes
from .specials import specials

Made = Iterator[tuple[str, str, OpCheck]]


def sampled(op: Op, t: DType, context: OpContext) -> Made:
    """Every sample on dense operands, every sentence of the declaration."""
    for s in context.samples:
        yield s.kind, s.label, checks.sample(s, context.once(s))
    for special in specials(op, t):
        yield "special", special.sentence, checks.special(special)


def elementwise(op: Op, t: DType, context: OpContext) -> Made:
    """What one element at a time makes cheap: every value, every length, strides over hard values, mixed dtypes."""
    if "elementwise" not in op.facts:
        return
    types = operand_dtypes(op, t)
    if is_exhaustive(op, t) and (not context.quick or t.bits <= 8):
        s = Sample("", (values.exhaustive(t),))
        yield "exhaustive", "", checks.sample(s, context.once(s))
    edges = values.QUICK_EDGES if context.quick else values.EDGES
    if op.operand_count == len(types) and all(p.role is Role.ARRAY for p in op.parameters if p.required):
        full = tuple(values.moderate(x, (edges[-1],), op.name, i) for i, x in enumerate(types))
        yield "shapes", "lengths", checks.lengths(op, full, edges)
    if len(types) > 1 and t.kind not in (COMPLEX, STORAGE):
        for a, b in promotions(t):
            pair = iter((a, b, a))
            mixed = tuple(values.moderate(next(pair) if x is t else x, (5, 9), i) for i, x in enumerate(types))
            yield "promotion", f"{a},{b}", checks.promoted((a, b), mixed)
    table = next((s for s in context.samples if s.kind == "values" and not s.base), None)
    if table is not None and not context.quick:
        yield "strides", "values", checks.strided(table, "negative", context.once(table))


def laid_out(op: Op, t: DType, context: OpContext) -> Made:
    """The base sample behind every layout, with shared operands, and with ``out=``."""
    base = context.base
    if base is None:
        return
    once = context.once(base)
    for name in layouts.LAYOUTS:
        if not layouts.changes(name, base.operands):
            continue
        if name == "zero":
            flat = Sample("", tuple(map(layouts.constant_lines, base.operands)), base.attributes)
            yield "strides", name, checks.strided(flat, name, context.once(flat))
        else:
            yield "strides", name, checks.strided(base, name, once)
    present = [x for x in base.operands if x is not None]
    each = "elementwise" in op.facts
    if len(present) > 1 and all(x.shape == present[-1].shape for x in present):
        shared = Sample("", checks.with_shared(base.operands), base.attributes)
        yield "aliasing", "same-operand", checks.same_operand(base, context.once(shared))
        if each:
            yield "aliasing", "overlapping-views", checks.overlapping(base, op)
    yield "out", "fresh", checks.out_fresh(base, once)
    yield "out", "wrong-shape", checks.out_wrong(base, once)
    result = infer(op, base.operands, base.attributes).outputs[0] if len(base.operands) == op.operand_count else None
    for i, x in enumerate(base.operands):
        if each and result is not None and x is not None and (x.dtype, x.shape) == (result.dtype.numpy, result.shape):
            yield "out", f"operand{i}", checks.out_operand(base, i, once)


def refused(op: Op, t: DType, context: OpContext) -> Made:
    """What must be refused, and how."""
    base = context.base
    if base is None:
        return
    yield "refusal", "", checks.refusal(base, lambda: expect(op, base.operands, base.attributes))
    dtypes = declaration_of(op).dtypes
    if t is not dtypes[0]:
        return
    yield "errors", "not-arrays", checks.not_arrays(base)
    if any(p.name == "axis" for p in op.parameters):
        yield "errors", "axis", checks.wrong_axis(base)
    if "elementwise" in op.facts and op.operand_count > 1 and all(x is not None and x.ndim for x in base.operands):
        yield "errors", "shapes", checks.wrong_shapes(base)
    others = [other for other in ALL if other not in dtypes]
    if others and isinstance(base.operands[0], np.ndarray):
        yield "errors", "dtype", checks.wrong_dtype(base, others[0])
