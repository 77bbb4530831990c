"""Elementwise nodes of a graph as one scalar program, with the very bits that the ops give one by one.

Every node computes and rounds as its own recipe says, also where its result would have gone to memory in a narrow
dtype. Metadata ops that only relabel axes cost nothing: they change how a value is looked at.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Final

from ...core.arrays.array import Array
from ...core.arrays.metadata import BROADCAST_TO, PERMUTE_DIMS, RESHAPE
from ...core.graphs.graph import Graph, Metadata, Node, Refusal
from ...core.kernel import ArraySpec
from ...core.op import Op
from ...core.signature import Shape
from ..lowered import ARITHMETIC
from .program import Program
from .registry import recipe_for
from .writing import Builder, Value

#: Instructions of one program: the compiler's time grows with them, and registers run out.
MOST_INSTRUCTIONS: Final = 4096


@dataclass(frozen=True, slots=True)
class View:
    """A value of a graph, looked at from an iteration domain.

    Attributes:
        value: its number in the graph.
        axes: for each of its axes the axis of the domain that it follows; None where it has one element there.
    """

    value: int
    axes: tuple[int | None, ...]

    def strides(self, strides: Sequence[int], rank: int) -> tuple[int, ...]:
        """Return an array's strides along the axes of a domain, which has so many.

        >>> View(0, (1, None)).strides((5, 9), 3)
        (0, 5, 0)
        """
        along = [0] * rank
        for axis, stride in zip(self.axes, strides, strict=True):
            if axis is not None:
                along[axis] = stride
        return tuple(along)


@dataclass(frozen=True, slots=True)
class Fused:
    """Several values of a graph as one program.

    Attributes:
        program: its inputs are the operands in order, its results what was wanted in order.
        operands: what is read.
    """

    program: Program
    operands: tuple[View, ...]


def whole(value: int, shape: Shape, domain: Shape) -> View | None:
    """Return a value as the domain's own elements, or None where it has another shape; axes of length 1 do not count.

    >>> whole(7, (2, 1, 3), (2, 3))
    View(value=7, axes=(0, None, 1))
    """
    axes = _matched(shape, domain)
    return None if axes is None else View(value, axes)


def fuse(graph: Graph, wanted: Sequence[View], leaves: Collection[int] = ()) -> Fused | Refusal:
    """Return one program for several values, or the first node found that cannot be part of it.

    Args:
        graph: constants of one element become immediates; larger ones are refused.
        wanted: the results, each as seen from the domain.
        leaves: numbers of values that are read and not computed; the graph's inputs always are.

    >>> import opmux as ox
    >>> graph = ox.compile(lambda x: ox.add(x, 1.0) * x).graph(ox.asarray([2.0]))
    >>> print(fuse(graph, [whole(graph.outputs[0], (1,), (1,))]).program)
    add,multiply:
    %0 = input : float32
    %1 = const 0x3f800000 : float32
    %2 = add %0, %1 : float32
    %3 = mul %2, %0 : float32
    return %3
    """
    return _Fusion(graph, leaves).run(wanted)


def relabelled(node: Node, view: View, shape: Shape) -> View | None:
    """Return how a metadata node's operand is looked at where its result is; None where that is no relabelling of axes.

    Args:
        node: the metadata node.
        view: of its result.
        shape: of its operand.
    """
    (operand,), axes = node.inputs, view.axes
    if operand is None:
        return None
    if node.op is BROADCAST_TO:
        return View(operand, _broadcast(shape, axes))
    if node.op is PERMUTE_DIMS:
        (order,) = node.arguments
        return View(operand, tuple(axes[order.index(i)] for i in range(len(shape))))
    matched = _matched(shape, node.outputs[0].shape) if node.op is RESHAPE else None
    if matched is None:
        return None
    return View(operand, tuple(None if i is None else axes[i] for i in matched))


def _matched(shape: Shape, other: Shape) -> tuple[int | None, ...] | None:
    """Return for each axis of a shape that of another one with the same lengths, those of length 1 left out."""
    places = [i for i, n in enumerate(other) if n != 1]
    if [n for n in shape if n != 1] != [other[i] for i in places]:
        return None
    left = iter(places)
    return tuple(None if n == 1 else next(left) for n in shape)


def _broadcast(shape: Shape, axes: tuple[int | None, ...]) -> tuple[int | None, ...]:
    """Return the axes of an operand that is broadcast to what has these axes."""
    last = axes[len(axes) - len(shape) :]
    return tuple(None if n == 1 else axis for n, axis in zip(shape, last, strict=True))


class _Refused(Exception):
    """Why a node cannot be part of a program."""


class _Fusion:
    def __init__(self, graph: Graph, leaves: Collection[int]) -> None:
        self.graph = graph
        self.constants = range(len(graph.inputs), graph.first_node_value)
        self.nodes = [(i, first, node) for i, (first, node) in enumerate(graph.numbered()) if first not in leaves]
        #: Through which views each value is seen, in the order in which that was found.
        self.seen: dict[int, dict[View, None]] = {}

    def run(self, wanted: Sequence[View]) -> Fused | Refusal:
        refusals = []
        self._see(wanted)
        for i, first, node in reversed(self.nodes):
            try:
                for view in self.seen.get(first, ()):
                    self._see(self._operands(node, view))
            except _Refused as error:
                refusals.append(Refusal(i, str(error)))
        return refusals[-1] if refusals else self._program(wanted)

    def _see(self, views: Sequence[View]) -> None:
        for view in views:
            self.seen.setdefault(view.value, {})[view] = None

    def _operands(self, node: Node, view: View) -> list[View]:
        """Return how a node's operands are looked at where its result is.

        Raises:
            _Refused: it is not elementwise, or has no recipe.
        """
        inputs = [i for i in node.inputs if i is not None]
        shapes = [self.graph.specs[i].shape for i in inputs]
        if isinstance(node.op, Metadata):
            found = relabelled(node, view, shapes[0])
            if found is None:
                raise _Refused(f"{node.op.name} does more than to relabel axes")
            return [found]
        for i in inputs:
            if i in self.constants and self.graph.specs[i].shape.count(1) < len(self.graph.specs[i].shape):
                raise _Refused("a constant of several elements is no immediate")
        self._recipe(node)
        return [View(i, _broadcast(shape, view.axes)) for i, shape in zip(inputs, shapes, strict=True)]

    def _recipe(self, node: Node) -> Program | None:
        """Return what a node computes; None for its operand as it is.

        Raises:
            _Refused: it has no recipe.
        """
        specs: list[ArraySpec] = [self.graph.specs[i] for i in node.inputs if i is not None]
        if any(s.dtype.name not in ARITHMETIC for s in specs):
            raise _Refused(f"{node.op.name} of {', '.join(str(s.dtype) for s in specs)} is not computed by recipes")
        if node.op.name in _AS_THEY_ARE and specs[0].dtype is node.outputs[0].dtype:
            return None
        found = recipe_for(node.op.name, [s.dtype for s in specs], dict(node.attributes))
        if isinstance(found, str):
            raise _Refused(f"{node.op.name}: {found}")
        return found

    def _program(self, wanted: Sequence[View]) -> Fused | Refusal:
        made = {first for _, first, _ in self.nodes}
        operands = [v for i in sorted(self.seen) if i not in made and i not in self.constants for v in self.seen[i]]
        builder = Builder(tuple(self.graph.specs[v.value].dtype.name for v in operands))
        values = {v: Value(builder, i, builder.inputs[i]) for i, v in enumerate(operands)}
        for i in self.constants:
            for view in self.seen.get(i, ()):
                values[view] = _immediate(builder, self.graph.constants[i - self.constants.start])
        for i, first, node in self.nodes:
            for view in self.seen.get(first, ()):
                given = [values[v] for v in self._operands(node, view)]
                program = None if isinstance(node.op, Metadata) else self._recipe(node)
                values[view] = given[0] if program is None else builder.inline(program, *given)
            if len(builder.instructions) > MOST_INSTRUCTIONS:
                return Refusal(i, f"the program has more than {MOST_INSTRUCTIONS} instructions")
        names = ",".join(n.op.name for _, first, n in self.nodes if first in self.seen and isinstance(n.op, Op))
        return Fused(builder.freeze(names, *(values[v] for v in wanted)), tuple(operands))


#: Ops whose result is their operand's value.
_AS_THEY_ARE: Final = ("copy", "full")


def _immediate(builder: Builder, constant: Array) -> Value:
    bits = constant.numpy().reshape(1)
    word = bits.view(f"uint{8 * constant.dtype.itemsize}")
    return Value(builder, 0, constant.dtype.name).bits(int(word[0]))
