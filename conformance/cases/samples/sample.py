"""Samples: the calls that an op is tried with. Elementwise ops have theirs from the declaration, every other op a row
in the modules beside this one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np

from ....core.dtypes import COMPLEX, REAL, DType, bool_
from ....core.op import Op, Role
from ...oracle.formats import Host
from .. import values

Operands = tuple["Host | None", ...]


@dataclass(frozen=True)
class Sample:
    """One call on host data.

    Attributes:
        label: distinguishes it among an op's samples of one kind; part of the case's id.
        operands: host arrays, None for optional ones left out.
        attributes: as given by a caller.
        kind: ``"values"`` or ``"shapes"``.
        base: whether strides, ``out=`` and aliasing are tried on it.
    """

    label: str
    operands: Operands
    attributes: Mapping[str, Any] = field(default_factory=dict)
    kind: str = "values"
    base: bool = False


#: A row: ``row(dtype of the leading operand)`` returns the op's samples.
Row = Callable[[DType], Iterable[Sample]]
ROWS: Final[dict[str, Row]] = {}

#: Points per operand tuple in the full run and in the quick one, by dtype name where a slow oracle asks for fewer.
FULL: Final = {"float32": 1 << 18, "float64": 1 << 12}
QUICK: Final = {"float32": 1 << 11, "float64": 1 << 7}
#: Every pair of hard values fits in twice as many.
_LEAST_PAIRS: Final = 1 << 11
_FULL_DEFAULT: Final = 1 << 12
_QUICK_DEFAULT: Final = 1 << 9

#: The opset leaves a complex quotient by zero open.
_QUOTIENTS: Final = frozenset({"divide", "reciprocal"})

_GRID: Final = (5, 9)
#: Longer rows, and no more of them than fit in a call that is tried in turn with others.
_WIDE: Final = (3, 70)


def row(name: str) -> Callable[[Row], Row]:
    """Enter a function as the samples of an op."""

    def enter(function: Row) -> Row:
        ROWS[name] = function
        return function

    return enter


def samples(op: Op, t: DType, *, quick: bool = False) -> list[Sample]:
    """Return every sample of an op with a leading operand of a dtype.

    Raises:
        LookupError: the op is not elementwise and has no row.
    """
    from . import composites, movement, reductions  # noqa: F401 - their import fills ROWS

    if op.name in ROWS:
        return list(ROWS[op.name](t))
    if "elementwise" not in op.facts:
        raise LookupError(f"{op.name} has no samples: add a row to opmux.conformance.cases.samples")
    return _elementwise(op, t, quick)


def has_samples(op: Op) -> bool:
    """Return whether an op can be tried at all."""
    from . import composites, movement, reductions  # noqa: F401 - their import fills ROWS

    return op.name in ROWS or "elementwise" in op.facts


def operand_dtypes(op: Op, t: DType) -> tuple[DType, ...]:
    """Return the dtypes of an elementwise op's operands: those that do not promote are conditions."""
    count = sum(p.role is not Role.ATTRIBUTE for p in op.parameters)
    return tuple(t if op.promotes is None or i in op.promotes else bool_ for i in range(count))


def _elementwise(op: Op, t: DType, quick: bool) -> list[Sample]:
    types = operand_dtypes(op, t)
    table, default = (QUICK, _QUICK_DEFAULT) if quick else (FULL, _FULL_DEFAULT)
    count = table.get(t.name, default)
    if len(types) > 1 and not quick:  # their oracles are the slow ones, and the hard pairs come first
        count = min(count, max(count // 8, _LEAST_PAIRS))
    lead = max((x for x in types), key=lambda x: x.bits)
    drawn = list(values.tuples(lead, len(types), count, op.name))
    for i, x in enumerate(types):
        if x is bool_ and lead is not bool_:
            drawn[i] = values.moderate(bool_, drawn[i].shape, i)
    if t.kind == COMPLEX and op.name in _QUOTIENTS:
        drawn = [d[drawn[-1] != 0] for d in drawn]
    grid = [values.moderate(x, _GRID, op.name, i) for i, x in enumerate(types)]
    found = [
        Sample("", tuple(drawn)),
        Sample("grid", tuple(grid), base=True),
        Sample("0d", tuple(g[0, 0].copy() for g in grid), kind="shapes"),
        Sample("empty", tuple(np.empty((0, 3), g.dtype) for g in grid), kind="shapes"),
        Sample("wide", tuple(values.moderate(x, _WIDE, op.name, i) for i, x in enumerate(types)), kind="shapes"),
    ]
    if len(types) > 1:
        found += _broadcasts(op, types)
        if bool_ in types and t is not bool_:
            for label, chosen in (("all-true", True), ("all-false", False)):
                uniform = tuple(np.full(g.shape, chosen) if x is bool_ else g for x, g in zip(types, grid, strict=True))
                found.append(Sample(label, uniform))
        if t.kind.endswith("integer") and all(x is t for x in types):
            found.append(Sample("neighbours", _neighbours(t, len(types), op.name)))
        if t.kind == REAL and all(x is t for x in types):
            found.append(Sample("cancellation", _nearly_equal(t, len(types), op.name)))
    return found


#: Shapes of operands that repeat along axes: a column beside a row beside a number, and what loops get wrong.
_BROADCASTS: Final = {
    "broadcast": ((5, 1), (1, 9), ()),
    "broadcast-square": ((6, 6), (6,), (6, 1)),
    "broadcast-square-column": ((6, 1), (6, 6), (6,)),
    "broadcast-scalar": ((5, 9), (), (1,)),
    "broadcast-scalar-first": ((), (5, 9), (9,)),
    "broadcast-column-first": ((3, 4, 1), (3, 4, 5), (4, 5)),
    "broadcast-column-second": ((3, 4, 5), (3, 4, 1), (3, 1, 5)),
    "broadcast-plane": ((1, 4, 5), (3, 1, 5), (3, 4, 5)),
    "broadcast-middle": ((3, 1, 5), (3, 4, 5), (4, 1)),
    "broadcast-outer": ((2, 3, 1, 5), (4, 1), (3, 1, 1)),
    "broadcast-rank6": ((2, 1, 3, 1, 2, 3), (3, 1, 2, 2, 1), (1, 1, 1, 1, 1, 3)),
    "broadcast-empty": ((0, 1), (1, 3), ()),
}


def _broadcasts(op: Op, types: tuple[DType, ...]) -> Iterator[Sample]:
    """Return operands that repeat, each along other axes."""
    for label, shapes in _BROADCASTS.items():
        drawn = tuple(
            values.moderate(x, shape, op.name, i) for i, (x, shape) in enumerate(zip(types, shapes, strict=False))
        )
        yield Sample(label, drawn, kind="shapes")


def _neighbours(t: DType, operands: int, name: str) -> Operands:
    """Integers of every magnitude beside equal ones and ones that differ by one: all the same in a narrower format."""
    x = values.stratified(t, 512, name, "neighbours")
    step = values.generator(name, "steps").integers(-1, 2, x.size).astype(t.numpy)
    with np.errstate(all="ignore"):
        return (x, x + step, step)[:operands]


def _nearly_equal(t: DType, operands: int, name: str) -> Operands:
    """Operands a few units apart, of which the third cancels the product of the first two."""
    x = values.moderate(t, (512,), name, "near")
    y = values.rounded(x.astype(np.float64) * (1 + 2.0**-6 * values.generator(name).integers(-2, 3, 512)), t)
    z = values.rounded(-(x.astype(np.float64) * y.astype(np.float64)), t)
    return (x, y, z)[:operands]


def is_exhaustive(op: Op, t: DType) -> bool:
    """Return whether every value of a dtype is tried: unary elementwise ops on 16 bits or fewer."""
    one = sum(p.role in (Role.ARRAY, Role.OPTIONAL) for p in op.parameters) == 1
    return one and "elementwise" in op.facts and t.bits <= 16 and t.kind != COMPLEX and t is not bool_
