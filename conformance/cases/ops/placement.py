"""Where operands lie: in one buffer with each other, off every boundary, far apart, in many axes."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Final

import numpy as np

from ....core.arrays.array import Array
from ....core.arrays.metadata import SLICE, apply, permute_dims, reshape
from ....core.devices.device import Device
from ....core.dtypes import DType
from ....core.op import Op, Role
from ...oracle.expect import Expected
from ...oracle.formats import Host
from ...target import Findings, Target, dense
from .. import layouts, values
from ..case import OpCheck, OpContext
from ..samples.sample import Sample, operand_dtypes
from ..samples.shared import gentle
from . import checks

#: Elements before the first operand: further than 16 bits count, and off every boundary.
_FAR: Final = (1 << 16) + 3
#: Elements of a vector that starts off a boundary.
_LINE: Final = 131
#: Axes of what no code for six, eight or ten of them takes; and operands that repeat along them.
_MANY_AXES: Final[tuple[int, ...]] = (2, 1, 2, 1, 3, 1, 2, 1, 1, 2, 3)
_OF_SEVEN: Final[tuple[int, ...]] = (2, 3, 1, 2, 2, 1, 3)
_REPEATING: Final = ((2, 1, 2, 1, 1, 3, 1, 1, 2), (1, 2, 1, 2, 1, 1, 1, 3, 1), (2, 1, 1, 1, 1))
#: Matrices whose lines and columns are longer than a tile; and lines that are longer than a block.
_MATRICES: Final = ((67, 45), (700, 5))
_LAYOUTS: Final = ("transposed", "step", "offset", "mirrored")
#: Stacks of matrices, and heads of a sequence, beyond a tile in two axes.
_STACKS: Final[tuple[tuple[str, tuple[int, ...]], ...]] = (
    ("swapped", (3, 67, 45)),
    ("inner", (2, 33, 5, 40)),
    ("swapped", (2, 2, 35, 37)),
)
#: Operands of products with layouts of their own.
_PRODUCTS: Final = {"": ((40, 70), (70, 50)), "batch-": ((3, 40, 37), (3, 37, 45))}
#: Ops of which an operand has to be in order.
_ORDERED: Final = frozenset({"searchsorted"})
_SLOW: Final = frozenset({"float64", "complex128"})


def family(op: Op, t: DType, context: OpContext) -> Iterator[tuple[str, str, OpCheck]]:
    """Operands in places that the other layouts do not have."""
    if context.quick:
        return
    base = context.base
    if base is not None and any(x is not None and x.size for x in base.operands):
        yield "aliasing", "one-buffer", _in_one_buffer(base, context.once(base))
        if _several(base) and op.name not in _ORDERED:
            nested = replace(base, label="nested", operands=_prefixes(base.operands))
            yield "aliasing", "nested", _nested(nested, context.once(nested))
        if any(x is not None and x.ndim > 1 for x in base.operands):
            yield "strides", "far", checks.strided(base, "far", context.once(base))
    if op.name == "matmul":
        yield from _products(t, context)
        yield "aliasing", "own-transpose", _with_own_transpose(t, context)
    types = operand_dtypes(op, t)
    if "elementwise" in op.facts and op.operand_count == len(types) and not _asks(op):
        yield from _elements(op, types, context)
    elif base is not None and op.name in ("copy", "cast"):
        yield from _stacked(op, (t,), base, context)
    elif base is not None and _over_an_axis(op, base):
        yield from _wide(op, t, base, context)


def _asks(op: Op) -> bool:
    return any(p.required and p.role is not Role.ARRAY for p in op.parameters)


def _over_an_axis(op: Op, base: Sample) -> bool:
    return any(p.name == "axis" for p in op.parameters) and len([x for x in base.operands if x is not None]) == 1


def _elements(op: Op, types: tuple[DType, ...], context: OpContext) -> Iterator[tuple[str, str, OpCheck]]:
    line = Sample("line", tuple(values.moderate(x, (_LINE,), op.name, i) for i, x in enumerate(types)))
    yield "aliasing", "one-buffer-line", _in_one_buffer(line, context.once(line))
    if len(types) > 1:
        shapes = itertools.cycle(_REPEATING)
        deep = Sample("rank9", tuple(values.moderate(x, next(shapes), op.name, i) for i, x in enumerate(types)))
        yield "shapes", "broadcast-rank9", checks.sample(deep, context.once(deep))
    yield from _stacked(op, types, Sample("", ()), context)


def _stacked(op: Op, types: tuple[DType, ...], like: Sample, context: OpContext) -> Iterator[tuple[str, str, OpCheck]]:
    """Many axes, and the last two or the middle two of them exchanged."""

    def made(shape: tuple[int, ...]) -> Sample:
        return Sample("", tuple(values.moderate(x, shape, op.name, i) for i, x in enumerate(types)), like.attributes)

    for axes in (_OF_SEVEN, _MANY_AXES):
        deep = made(axes)
        for name in ("transposed", "permuted", "offset"):
            yield "strides", f"rank{len(axes)}-{name}", checks.strided(deep, name, context.once(deep))
    for name, shape in _STACKS:
        if not _SLOW.intersection(x.name for x in types):
            stack = made(shape)
            yield "strides", f"stack{len(shape)}-{name}", checks.strided(stack, name, context.once(stack))


def _wide(op: Op, t: DType, base: Sample, context: OpContext) -> Iterator[tuple[str, str, OpCheck]]:
    """Lines and columns of matrices that are no rows of their own."""
    for shape, axis in itertools.product(_MATRICES, (0, 1)):
        made = gentle(t, shape, "wide") if "prod" in op.name else values.moderate(t, shape, "wide")
        attributes = {**base.attributes, "axis": axis}
        wide = replace(base, label="", operands=(made, *base.operands[1:]), attributes=attributes)
        rows = f"{shape[0]}x{shape[1]}"
        for name in _LAYOUTS:
            yield "strides", f"{rows}-axis{axis}-{name}", checks.strided(wide, name, context.once(wide))


def _products(t: DType, context: OpContext) -> Iterator[tuple[str, str, OpCheck]]:
    for label, shapes in _PRODUCTS.items():
        pair = Sample("", tuple(values.moderate(t, shape, "products", i) for i, shape in enumerate(shapes)))
        once = context.once(pair)
        last, lay = ("swapped", layouts.swapped) if label else ("transposed", layouts.transposed)
        for name in (last, "offset", "step", "mirrored"):
            yield "strides", f"{label}wide-{name}", checks.strided(pair, name, once)
        for i in range(2):
            yield "strides", f"{label}wide-{last}{i}", _only(pair, i, lay, once)


def _only(given: Sample, position: int, lay: layouts.Layout, expected: Callable[[], Expected]) -> OpCheck:
    """One operand behind other strides, the others dense."""

    def check(target: Target, op: Op, findings: Findings) -> None:
        arrays = [
            None if x is None else lay(x, target.device) if i == position else dense(x, target.device)
            for i, x in enumerate(given.operands)
        ]
        target.run(op, arrays, given.attributes, expected(), findings)

    return check


def _in_one_buffer(given: Sample, expected: Callable[[], Expected]) -> OpCheck:
    """Operands of one dtype one after the other in one buffer, none of which starts at a boundary."""

    def check(target: Target, op: Op, findings: Findings) -> None:
        arrays = one_after_the_other(given.operands, target.device)
        target.run(op, arrays, given.attributes, expected(), findings)

    return check


def one_after_the_other(operands: tuple[Host | None, ...], device: Device) -> list[Array | None]:
    """Upload operands so that those of one dtype lie in one buffer, contiguous, with an element between them."""
    made: list[Array | None] = [None] * len(operands)
    for t in {x.dtype: None for x in operands if x is not None}:
        parts, starts, at = [np.zeros(_FAR, t)], {}, _FAR
        for i, x in enumerate(operands):
            if x is not None and x.dtype == t:
                starts[i] = at
                parts += [x.reshape(-1), np.zeros(1, t)]
                at += x.size + 1
        whole = dense(np.concatenate(parts), device)
        for i, start in starts.items():
            x = operands[i]
            if x is not None:
                made[i] = reshape(apply(SLICE, whole, (start,), (start + x.size,), (1,)), x.shape)
    return made


def _several(given: Sample) -> bool:
    """Return whether two operands of one dtype have different shapes."""
    present = [(x.dtype, x.shape) for x in given.operands if x is not None]
    return len(set(present)) > len({t for t, _ in present})


def _prefixes(operands: tuple[Host | None, ...]) -> tuple[Host | None, ...]:
    """Return operands of which those of one dtype are the first elements of the largest of them."""
    whole: dict[object, Host] = {}
    for x in operands:
        if x is not None and x.size > whole.get(x.dtype, x[..., :0] if x.ndim else x.reshape(1)[:0]).size:
            whole[x.dtype] = x.reshape(-1)
    return tuple(x if x is None or not x.size else whole[x.dtype][: x.size].reshape(x.shape) for x in operands)


def _nested(given: Sample, expected: Callable[[], Expected]) -> OpCheck:
    """Operands that begin at the same element of one buffer, and end at different ones."""

    def check(target: Target, op: Op, findings: Findings) -> None:
        largest: dict[object, Array] = {}
        for x in sorted((x for x in given.operands if x is not None), key=lambda x: x.size):
            largest[x.dtype] = dense(x.reshape(-1), target.device)
        arrays = [
            None if x is None else reshape(apply(SLICE, largest[x.dtype], (0,), (x.size,), (1,)), x.shape)
            for x in given.operands
        ]
        target.run(op, arrays, given.attributes, expected(), findings)

    return check


def _with_own_transpose(t: DType, context: OpContext) -> OpCheck:
    """A matrix times itself transposed, which is symmetric, and of which some compute one triangle alone."""
    x = values.moderate(t, (37, 21), "own")
    given = Sample("", (x, x.T))
    once = context.once(given)

    def check(target: Target, op: Op, findings: Findings) -> None:
        one = dense(x, target.device)
        target.run(op, [one, permute_dims(one, (1, 0))], {}, once(), findings)

    return check
