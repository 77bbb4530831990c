"""Cases: every check of every op and dtype, each with an exact id, enumerated from the opset alone."""

from __future__ import annotations

import functools
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np

from ...core.dtypes import ALL, COMPLEX, STORAGE, DType
from ...core.op import OPS, Op, Role
from ...opset import namespace  # noqa: F401 - every op has to be declared before cases are enumerated
from ...opset.declare import declaration_of
from ..oracle.expect import Expected, expect, infer
from . import checks, layouts, values
from .checks import Check
from .row_values import promotions
from .samples import Sample, is_exhaustive, operand_dtypes, samples
from .specials import specials

#: The quick run takes the first case of an op and dtype, and one in so many of the others, the same ones every time.
_QUICK_SHARE: Final = 8


@dataclass(frozen=True)
class Case:
    """One check of one op with a leading operand of one dtype.

    Attributes:
        op, dtype, kind: what it is about.
        label: which of its kind; may be empty.
        check: what it does with a target.
    """

    op: Op
    dtype: DType
    kind: str
    label: str
    check: Check

    @property
    def id(self) -> str:
        """The exact id: ``exp-float32-special-exp(-inf) -> +0``."""
        return "-".join(part for part in (self.op.name, self.dtype.name, self.kind, self.label) if part)


def dtypes_of(op: Op) -> tuple[DType, ...]:
    """Return the dtypes of the leading operand that an op is tried with."""
    return declaration_of(op).dtypes


def all_pairs() -> list[tuple[Op, DType]]:
    """Return every (op, dtype) of the opset."""
    return [(op, t) for op in OPS for t in dtypes_of(op)]


@functools.lru_cache(maxsize=4)
def cases(op: Op, t: DType, quick: bool = False) -> tuple[Case, ...]:
    """Return every case of an op and dtype.

    Args:
        op: the op.
        t: dtype of the leading operand.
        quick: fewer values, no exhaustive ones; not sufficient for a claim.
    """
    given = samples(op, t, quick=quick)
    onces = {id(s): _once(op, s) for s in given}
    base = next((s for s in given if s.base), None)
    found: list[Case] = []

    def add(kind: str, label: str, check: Check) -> None:
        found.append(Case(op, t, kind, label, check))

    for s in given:
        add(s.kind, s.label, checks.sample(s, onces[id(s)]))
    for special in specials(op, t):
        add("special", special.sentence, checks.special(special))
    if "elementwise" in op.facts:
        for kind, label, check in _elementwise(op, t, quick):
            add(kind, label, check)
        table = next((s for s in given if s.kind == "values" and not s.base), None)
        if table is not None and not quick:
            add("strides", "values", checks.strided(table, "negative", onces[id(table)]))
    if base is not None:
        for kind, label, check in _on_base(op, base, onces[id(base)]):
            add(kind, label, check)
        add("refusal", "", checks.refusal(base))
    if base is not None and t is dtypes_of(op)[0]:
        for label, check in _errors(op, base):
            add("errors", label, check)
    if quick:
        found = [c for i, c in enumerate(found) if i == 0 or zlib.crc32(c.id.encode()) % _QUICK_SHARE == 0]
    found.sort(key=lambda c: checks.KINDS.index(c.kind))
    return tuple(found)


def _once(op: Op, s: Sample) -> Callable[[], Expected]:
    """Return the oracle of a sample, computed at most once."""
    return functools.lru_cache(maxsize=1)(lambda: expect(op, s.operands, s.attributes))


def _elementwise(op: Op, t: DType, quick: bool) -> Iterator[tuple[str, str, Check]]:
    types = operand_dtypes(op, t)
    if is_exhaustive(op, t) and (not quick or t.bits <= 8):
        s = Sample("", (values.exhaustive(t),))
        yield "exhaustive", "", checks.sample(s, _once(op, s))
    edges = values.QUICK_EDGES if quick else values.EDGES
    if op.operand_count == len(types) and all(p.role is Role.ARRAY for p in op.parameters if p.required):
        full = tuple(values.moderate(x, (edges[-1],), op.name, i) for i, x in enumerate(types))
        yield "shapes", "lengths", checks.lengths(op, full, edges)
    if len(types) > 1 and t.kind not in (COMPLEX, STORAGE):
        for a, b in promotions(t):
            pair = iter((a, b, a))
            mixed = tuple(values.moderate(next(pair) if x is t else x, (5, 9), i) for i, x in enumerate(types))
            yield "promotion", f"{a},{b}", checks.promoted((a, b), mixed)


def _on_base(op: Op, base: Sample, once: Callable[[], Expected]) -> Iterator[tuple[str, str, Check]]:
    for name in layouts.LAYOUTS:
        if not layouts.changes(name, base.operands):
            continue
        if name == "zero":
            flat = Sample("", tuple(map(layouts.constant_lines, base.operands)), base.attributes)
            yield "strides", name, checks.strided(flat, name, _once(op, flat))
        else:
            yield "strides", name, checks.strided(base, name, once)
    present = [x for x in base.operands if x is not None]
    elementwise = "elementwise" in op.facts
    if len(present) > 1 and all(x.shape == present[-1].shape for x in present):
        shared = Sample("", checks.with_shared(base.operands), base.attributes)
        yield "aliasing", "same-operand", checks.same_operand(base, _once(op, shared))
        if elementwise:
            yield "aliasing", "overlapping-views", checks.overlapping(base, op)
    yield "out", "fresh", checks.out_fresh(base, once)
    yield "out", "wrong-shape", checks.out_wrong(base, once)
    result = infer(op, base.operands, base.attributes).outputs[0] if len(base.operands) == op.operand_count else None
    for i, x in enumerate(base.operands):
        if (
            elementwise
            and result is not None
            and x is not None
            and (x.dtype, x.shape) == (result.dtype.numpy, result.shape)
        ):
            yield "out", f"operand{i}", checks.out_operand(base, i, once)


def _errors(op: Op, base: Sample) -> Iterator[tuple[str, Check]]:
    yield "not-arrays", checks.not_arrays(base)
    if any(p.name == "axis" for p in op.parameters):
        yield "axis", checks.wrong_axis(base)
    if "elementwise" in op.facts and op.operand_count > 1 and all(x is not None and x.ndim for x in base.operands):
        yield "shapes", checks.wrong_shapes(base)
    first = base.operands[0]
    refused = [t for t in ALL if t not in dtypes_of(op)]
    if refused and isinstance(first, np.ndarray):
        yield "dtype", checks.wrong_dtype(base, refused[0])
