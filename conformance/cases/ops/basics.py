"""The cases that every op has: its samples and sentences, layouts, ``out=``, promotion, bad arguments, refusals."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import numpy as np

from ....core.dtypes import ALL, COMPLEX, STORAGE, DType, dtype
from ....core.op import Op, Role
from ....opset.declare import declaration_of
from ...oracle.expect import expect, infer
from ...oracle.formats import Host
from .. import layouts, values
from ..case import OpCheck, OpContext
from ..samples.sample import Sample, is_exhaustive, operand_dtypes
from ..samples.shared import promotions
from ..samples.specials import specials
from . import checks

Made = Iterator[tuple[str, str, OpCheck]]

#: Ops of which an operand has to be in order.
_ORDERED: Final = frozenset({"searchsorted"})
#: Rounds of two calls: enough for counters and pools of a few entries to come round.
_ROUNDS: Final = 12
#: Bytes of operands, and how many calls are tried in turn.
_SMALL: Final = 4096
_MOST_CALLS: Final = 24
#: Dtypes whose oracle is slow.
_SLOW: Final = frozenset({"float64", "complex128"})
#: The shape on which vectorised loops over strided lines run, by dtypes whose oracle is slow and by all others.
_SLOW_SHAPE: Final = (35, 37)
_LARGE_SHAPE: Final = (67, 45)
#: More axes than loops are written for by hand.
_DEEP_SHAPE: Final = (2, 3, 1, 2, 3, 4)


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
    edges: tuple[int, ...] = values.QUICK_EDGES if context.quick else values.EDGES
    if t.name not in _SLOW and not context.quick:
        edges += values.FAR_EDGES
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
    yield from _more_layouts(op, t, context, base)
    present = [x for x in base.operands if x is not None]
    each = "elementwise" in op.facts
    if len(present) > 1 and all(x.shape == present[-1].shape for x in present):
        shared = Sample("", checks.with_shared(base.operands), base.attributes)
        yield "aliasing", "same-operand", checks.same_operand(base, context.once(shared))
        if each:
            table = _same_and_hard(op, t)
            if table is not None:
                yield "aliasing", "same-operand-hard", checks.same_operand(table, context.once(table))
            yield "aliasing", "overlapping-views", checks.overlapping(base, op)
    yield "out", "fresh", checks.out_fresh(base, once)
    yield "out", "wrong-shape", checks.out_wrong(base, once)
    result = infer(op, base.operands, base.attributes).outputs[0] if len(base.operands) == op.operand_count else None
    table = _hard_of_one_shape(context)
    for i, x in enumerate(base.operands):
        if each and result is not None and x is not None and (x.dtype, x.shape) == (result.dtype.numpy, result.shape):
            yield "out", f"operand{i}", checks.out_operand(base, i, once)
            if table is not None:  # what a kernel sets right afterwards may hang on an operand that is gone
                yield "out", f"operand{i}-hard", checks.out_operand(table, i, context.once(table))


def _hard_of_one_shape(context: OpContext) -> Sample | None:
    """Return the table of hard values where each operand is as large as the result, so that each can give its place."""
    found = next((s for s in context.samples if s.kind == "values" and not s.base), None)
    if context.quick or found is None or len({x.shape for x in found.operands if x is not None}) != 1:
        return None
    return found


def _more_layouts(op: Op, t: DType, context: OpContext, base: Sample) -> Made:
    """Operands in different layouts; more than a tile of them; and axes of length one, whose strides mean nothing."""
    present = [x for x in base.operands if x is not None]
    if len(present) > 1 and any(x.ndim > 1 for x in present):
        for name in layouts.MIXTURES:
            yield "strides", name, checks.mixed(base, name, context.once(base))
    if op.name == "matmul":
        pairs = Sample("batch", _batches(t), base.attributes)
        for name in ("transposed", "permuted", "step", "zero"):
            given = Sample("", tuple(map(layouts.constant_lines, pairs.operands))) if name == "zero" else pairs
            yield "strides", f"batch-{name}", checks.strided(given, name, context.once(given))
        for name in layouts.MIXTURES:
            yield "strides", f"batch-{name}", checks.mixed(pairs, name, context.once(pairs))
        first = Sample("", (layouts.constant_lines(pairs.operands[0]), pairs.operands[1]))
        yield "strides", "batch-repeated", checks.repeated_first(first, context.once(first))
    if context.quick or not ("elementwise" in op.facts or op.name in ("copy", "cast")):
        return
    if any(x is None or x.ndim != 2 for x in base.operands):
        return
    types = [dtype(x.dtype) for x in base.operands if x is not None]
    deep = Sample("", tuple(values.moderate(x, _DEEP_SHAPE, i) for i, x in enumerate(types)), base.attributes)
    for name in ("permuted", "transposed", "mirrored", "offset"):
        yield "strides", f"rank6-{name}", checks.strided(deep, name, context.once(deep))
    shape = _SLOW_SHAPE if t.name in _SLOW else _LARGE_SHAPE
    large = Sample("", tuple(values.moderate(x, shape, op.name, i) for i, x in enumerate(types)), base.attributes)
    for name in ("transposed", "negative", "mirrored", "step"):
        yield "strides", f"large-{name}", checks.strided(large, name, context.once(large))
    thin = Sample("", tuple(x[:, :1].copy() for x in base.operands if x is not None), base.attributes)
    for name in ("transposed", "step"):
        yield "strides", f"ones-{name}", checks.strided(thin, name, context.once(thin))


def _same_and_hard(op: Op, t: DType) -> Sample | None:
    """One array of hard values in every place: what a shortcut takes for x - x or x / x of any number."""
    types = operand_dtypes(op, t)
    if t.kind == COMPLEX or any(x is not t for x in types) or op.operand_count != len(types):
        return None
    return Sample("", (values.hard(t),) * len(types))


def _batches(t: DType) -> tuple[Host, ...]:
    return values.moderate(t, (3, 6, 5), "batches"), values.moderate(t, (3, 5, 7), "batches")


def repeated(op: Op, t: DType, context: OpContext) -> Made:
    """The same call many times with other data in between; calls with other shapes, attributes and strides in turn."""
    if context.quick:
        return
    base = context.base
    small = [s for s in context.samples if sum(x.nbytes for x in s.operands if x is not None) <= _SMALL]
    small = sorted(small, key=lambda s: sum(x.nbytes for x in s.operands if x is not None))[:_MOST_CALLS]
    if op.name not in _ORDERED:
        if base is not None:
            calls = [(s, context.once(s)) for s in (base, _with_other_data(base))]
            yield "values", "again", checks.interleaved(calls, _ROUNDS)
        numbers = [s for s in small if any(x is not None and x.ndim == 0 for x in s.operands)]
        small += [_with_other_data(s) for s in numbers]
    yield "values", "interleaved", checks.interleaved([(s, context.once(s)) for s in small], 2)
    if base is not None and any(x is not None and x.size > 1 for x in base.operands):
        names = [n for n in layouts.LAYOUTS if n != "zero" and layouts.changes(n, base.operands)]
        yield "strides", "interleaved", checks.in_layouts(base, names, context.once(base))


def _with_other_data(s: Sample) -> Sample:
    """Return a call of the same shapes and attributes on other values."""

    def other(x: Host) -> Host:
        if x.size > 1:
            return np.flip(x).copy()
        return ~x if x.dtype.kind == "b" else (x + x.dtype.type(1)).astype(x.dtype)

    with np.errstate(all="ignore"):
        made = tuple(None if x is None else other(x) for x in s.operands)
    return Sample(f"{s.label} with other data", made, s.attributes, s.kind)


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
