"""How random programs are drawn: a row for each op that is not elementwise, views, operands exchanged."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Final

import numpy as np

from ....core.arrays.views import broadcast_shapes
from ....core.dtypes import DType, bool_, int32
from ....core.errors import ShapeError
from ....core.kernel import ArraySpec
from ....core.op import OPS, Op
from ....opset.declare import declaration_of
from ..samples.sample import operand_dtypes
from .falsify import Choices
from .nodes import BACK, VIEWS, Draft, Node, Program
from .strategies import Operand, broadcast_from, operand, shape

#: One node in so many is a view.
_VIEW: Final = 6
#: One in so many, but for the views, may have operands of other dtypes than the program's own.
_OTHER: Final = 3
#: One in so many is an earlier call with its operands exchanged.
_EXCHANGED: Final = 11
#: One value in so many comes out of a compiled program without need.
_SHOWN: Final = 6
#: Bytes of choices for the inputs, and for each node. Nodes do not share bytes, so that leaving one out moves nothing.
INPUTS: Final = 48
NODE: Final = 8
#: ``row(draft, op, dtype of the leading operand)`` returns a node, or None where no value fits.
NodeRow = Callable[[Draft, Op, DType], "Node | None"]
ROWS: Final[dict[str, NodeRow]] = {}


def row(*names: str) -> Callable[[NodeRow], NodeRow]:
    """Enter a function as the way in which ops get into programs."""

    def enter(function: NodeRow) -> NodeRow:
        ROWS.update(dict.fromkeys(names, function))
        return function

    return enter


def elementwise(d: Draft, op: Op, t: DType) -> Node | None:
    """Operands that broadcast with each other."""
    chosen: list[int] = []
    for x in operand_dtypes(op, t):
        found = d.one(x, lambda s: _broadcasts(s, [d.specs[i] for i in chosen]))
        if found is None:
            return None
        chosen.append(found)
    return d.node(op, chosen, {})


def _broadcasts(s: ArraySpec, others: Sequence[ArraySpec]) -> bool:
    try:
        broadcast_shapes(s.shape, *(o.shape for o in others))
    except ShapeError:
        return False
    return True


def _has_axes(s: ArraySpec) -> bool:
    return bool(s.shape)


@row("sum", "max", "min", "mean", "all", "any")
def _reduction(d: Draft, op: Op, t: DType) -> Node | None:
    x = d.one(t, lambda s: op.name in ("sum", "all", "any") or 0 not in s.shape)
    if x is None:
        return None
    rank = len(d.specs[x].shape)
    axis = d.c.between(-rank, rank - 1) if rank and not d.c.flag(4) else None
    return d.node(op, (x,), {"axis": axis, **({"keepdims": True} if d.c.flag() else {})})


@row("argmax", "cumulative_sum", "sort", "argsort")
def _along_axis(d: Draft, op: Op, t: DType) -> Node | None:
    x = d.one(t, lambda s: _has_axes(s) and 0 not in s.shape)
    return None if x is None else d.node(op, (x,), {"axis": d.c.below(len(d.specs[x].shape))})


@row("matmul")
def _matmul(d: Draft, op: Op, t: DType) -> Node | None:
    x = d.one(t, lambda s: len(s.shape) == 2)
    if x is None:
        return None
    y = d.one(t, lambda s: len(s.shape) == 2 and s.shape[0] == d.specs[x].shape[1])
    return None if y is None else d.node(op, (x, y), {})


@row("concat")
def _concat(d: Draft, op: Op, t: DType) -> Node | None:
    x = d.one(t, _has_axes)
    if x is None:
        return None
    axis = d.c.below(len(d.specs[x].shape))
    y = d.one(t, lambda s: _without(s, axis) == _without(d.specs[x], axis))
    return None if y is None else d.node(op, (x, y), {"axis": axis})


def _without(s: ArraySpec, axis: int) -> tuple[int, ...] | None:
    return (*s.shape[:axis], *s.shape[axis + 1 :], len(s.shape)) if axis < len(s.shape) else None


@row("pad")
def _pad(d: Draft, op: Op, t: DType) -> Node | None:
    x, value = d.one(t), d.one(t, lambda s: not s.shape)
    if x is None or value is None:
        return None
    widths = tuple((d.c.below(3), 1) if i < 2 else (0, 0) for i in range(len(d.specs[x].shape)))
    return d.node(op, (x, value), {"pad_width": widths})


@row("gather")
def _gather(d: Draft, op: Op, t: DType) -> Node | None:
    x = d.one(t, lambda s: _has_axes(s) and 0 not in s.shape)
    places = d.one(int32, lambda s: len(s.shape) <= 2)
    if x is None or places is None:
        return None
    return d.node(op, (x, places), {"axis": d.c.below(len(d.specs[x].shape)), "mode": d.c.pick(("clip", "wrap"))})


@row("copy")
def _copy(d: Draft, op: Op, t: DType) -> Node | None:
    x = d.one(t)
    return None if x is None else d.node(op, (x,), {})


@row("cast")
def _cast(d: Draft, op: Op, t: DType) -> Node | None:
    x = d.one(t)
    targets = [s.dtype for s in d.specs if s.dtype is not t]
    return None if x is None or not targets else d.node(op, (x,), {"dtype": d.c.pick(targets)})


def view(d: Draft, t: DType) -> Node | None:
    """A view of some value of a dtype."""
    x = d.one(t)
    if x is None:
        return None
    given = d.specs[x].shape
    how = d.c.pick(tuple(VIEWS))
    if how == "slice":
        key = tuple(
            slice(*d.c.pick(((None, None, 2), (None, None, -1), (1, None, None), (None, -1, None)))) for _ in given
        )
        return d.view(how, x, key[:3])
    if how == "flip":
        return d.view(how, x, tuple(i for i in range(len(given)) if d.c.flag()))
    if how == "permute_dims":
        turn = d.c.below(max(len(given), 1))
        return d.view(
            how, x, tuple(reversed(range(len(given)))) if not turn else tuple(np.roll(range(len(given)), turn))
        )
    if how == "broadcast_to":
        wider = (d.c.between(1, 3), *given)
        return d.view(how, x, wider) if math.prod(wider) <= d.most and len(given) < 4 else None
    return d.view(how, x, (math.prod(given),) if d.c.flag() else (*given, 1))


def exchanged(d: Draft, made: Sequence[Node]) -> Node | None:
    """A call of two operands once more, the other way round: a compiler must not take ``y - x`` for ``x - y``."""
    found = [n for n in made if isinstance(n.op, Op) and "elementwise" in n.op.facts and _turns(d, n.inputs)]
    if not found:
        return None
    node = found[-1 - min(d.c.pick(BACK), len(found) - 1)]
    return d.node(node.op, node.inputs[::-1], node.attributes) if isinstance(node.op, Op) else None


def _turns(d: Draft, operands: Sequence[int]) -> bool:
    return len(operands) == 2 and operands[0] != operands[1] and len({d.specs[i].dtype for i in operands}) == 1


def call(d: Draft, op: Op, t: DType) -> Node | None:
    """Return a node with an op whose leading operand has a dtype, or None where no value fits."""
    return ROWS.get(op.name, elementwise)(d, op, t)


def inputs(c: Choices, t: DType, most: int) -> tuple[Operand, ...]:
    """Return what a program is given: arrays that broadcast with each other, a number, conditions, indices."""
    whole = shape(c, most, most_rank=3)
    kinds = ("small", "moderate", "moderate", "wide", "hard")
    return (
        operand(c, t, whole, kinds),
        operand(c, t, broadcast_from(c, whole), kinds),
        operand(c, t, (), kinds),
        operand(c, bool_, broadcast_from(c, whole), ("small",)),
        operand(c, int32, (3,), ("integers",), low=-4, high=4),
    )


def drawn(tape: Choices, t: DType, most: int, pool: Sequence[tuple[Op, DType]], nodes: tuple[int, int]) -> Program:
    """Return a random program.

    Args:
        tape: what is chosen.
        t: the dtype that it is about.
        most: elements that its inputs may have.
        pool: ops, each with a dtype of its leading operand.
        nodes: the fewest and the most nodes; what does not fit is left out.
    """
    given = inputs(tape.part(INPUTS), t, most)
    specs = [x.spec for x in given]
    made: list[Node] = []
    shown: list[bool] = []
    own = [entry for entry in pool if entry[1] is t]
    for _ in range(tape.between(*nodes)):
        c = tape.part(NODE)
        kind = c.byte()
        if not kind:  # what shrinks to nothing
            continue
        draft = Draft(c, specs, most)
        again = exchanged(draft, made) if kind % _EXCHANGED == 0 else None
        if again is not None:
            node: Node | None = again
        elif kind % _VIEW == 0:
            node = view(draft, c.pick((t, t, bool_, int32)))
        else:
            node = call(draft, *c.pick(own if own and kind % _OTHER else pool))
        if node is not None:
            made.append(node)
            specs.append(node.spec)
            shown.append(c.flag(_SHOWN))
    return Program(given, tuple(made), tuple(shown))


def sees_bits(op: Op) -> bool:
    """Return whether an op tells NaNs apart, or the signs that they have."""
    return op.name in ("copy", "bitcast", "signbit", "copysign")


def candidates(t: DType) -> list[tuple[Op, DType]]:
    """Return every op that programs about a dtype may hold, with the dtypes of its leading operand."""
    types = dict.fromkeys((t, bool_, int32))
    return [
        (op, x)
        for op in OPS
        for x in types
        if x in declaration_of(op).dtypes
        and (
            op.name in ROWS or ("elementwise" in op.facts and op.name not in _LEFT_OUT and len(op.attribute_names) == 0)
        )
    ]


#: Elementwise ops whose results are of dtypes that programs have no use for, or whose contract asks for more than an
#: operand of moderate size.
_LEFT_OUT: Final = frozenset({"complex", "real", "imag", "conj", "clip", "silu", "logaddexp"})
