"""What random programs are made of: inputs, calls of ops, views between them; how they run and how they print."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

import numpy as np

from ....core.arrays import metadata
from ....core.arrays.array import Array
from ....core.devices.device import Device
from ....core.dtypes import DType
from ....core.kernel import ArraySpec
from ....core.op import OPS, Op
from ...oracle.expect import completed
from ...oracle.formats import Host
from .falsify import Choices
from .strategies import Operand, bound, call_text, operand_text

#: Elements that a value of a program may have, as a multiple of what its inputs may have.
_GROWTH: Final = 4
#: How many values back a node reaches: mostly to the latest, so that there are chains to be fused.
BACK: Final = (0, 0, 0, 0, 0, 0, 1, 1, 1, 2, 2, 3, 4, 6, 8, 12)


@dataclass(frozen=True)
class View:
    """A metadata op: ``device(x, argument)`` on an array, ``host(x, argument)`` on NumPy's, and how it prints."""

    name: str
    device: Callable[[Array, Any], Array]
    host: Callable[[Host, Any], Host]
    text: Callable[[str, Any], str]


def _slice_text(x: str, key: tuple[slice, ...]) -> str:
    parts = [":".join("" if v is None else str(v) for v in (k.start, k.stop, k.step)) for k in key]
    return f"{x}[{', '.join(parts)}]"


VIEWS: Final = {
    v.name: v
    for v in (
        View("slice", lambda x, key: x[key], lambda x, key: x[key], _slice_text),
        View(
            "flip", lambda x, axes: metadata.flip(x, axis=axes), np.flip, lambda x, axes: f"ox.flip({x}, axis={axes})"
        ),
        View("permute_dims", metadata.permute_dims, np.transpose, lambda x, axes: f"ox.permute_dims({x}, {axes})"),
        View("broadcast_to", metadata.broadcast_to, np.broadcast_to, lambda x, to: f"ox.broadcast_to({x}, {to})"),
        View("reshape", metadata.reshape, np.reshape, lambda x, to: f"ox.reshape({x}, {to})"),
    )
}


@dataclass(frozen=True)
class Node:
    """One step of a program.

    Attributes:
        op: an op, or a view.
        inputs: numbers of the values that it reads.
        attributes: of an op.
        argument: of a view.
        spec: dtype and shape of the result.
    """

    op: Op | View
    inputs: tuple[int, ...]
    spec: ArraySpec
    attributes: Mapping[str, Any] = field(default_factory=dict)
    argument: Any = None

    def run(self, operands: Sequence[Array]) -> Array:
        """Do it, as a user would write it."""
        if isinstance(self.op, View):
            return self.op.device(operands[0], self.argument)
        by_position, by_name = bound(self.op, operands, self.attributes)
        made: Array = OPS.public[self.op.name](*by_position, **by_name)
        return made

    def text(self, names: Sequence[str], device: Device) -> str:
        """Return it as Python."""
        if isinstance(self.op, View):
            return self.op.text(names[0], self.argument)
        return call_text(self.op, names, self.attributes, device)


@dataclass(frozen=True)
class Program:
    """A program: values are numbered, inputs first.

    Attributes:
        inputs: what it is given.
        nodes: what it does, in order.
        shown: of each node, whether a compiled program is asked for its value.
    """

    inputs: tuple[Operand, ...]
    nodes: tuple[Node, ...]
    shown: tuple[bool, ...]

    def needed_by(self, wanted: set[int]) -> list[int]:
        """Return the numbers of all values that some need, themselves among them, in order."""
        needed = set(wanted)
        for i in reversed(range(len(self.nodes))):
            if len(self.inputs) + i in needed:
                needed.update(self.nodes[i].inputs)
        return sorted(needed)

    def names(self) -> list[str]:
        """Return what values are called in print."""
        return [f"x{i}" for i in range(len(self.inputs))] + [f"v{i}" for i in range(len(self.nodes))]

    def text(self, wanted: set[int], device: Device) -> tuple[list[str], list[str], str]:
        """Return the lines of the arrays, the lines of a function, and a call's arguments.

        Args:
            wanted: the values that it returns; others are there only if those need them.
            device: where it runs.
        """
        names, first = self.names(), len(self.inputs)
        needed = self.needed_by(wanted)
        given = [i for i in needed if i < first]
        arrays = [f"{names[i]} = {operand_text(self.inputs[i], device)}" for i in given]
        arguments = ", ".join(names[i] for i in given)
        lines = [f"def f({arguments}):"]
        for i in needed:
            if i >= first:
                node = self.nodes[i - first]
                lines.append(f"    {names[i]} = {node.text([names[k] for k in node.inputs], device)}")
        lines.append(f"    return {', '.join(names[i] for i in sorted(wanted))}")
        return arrays, lines, arguments


def simpler(program: Program) -> Iterator[Program]:
    """Return programs with one node less, the last ones first: one that is unused, or that its input can stand for."""
    first = len(program.inputs)
    used = {i for node in program.nodes for i in node.inputs}
    specs = [*(x.spec for x in program.inputs), *(n.spec for n in program.nodes)]
    for k in reversed(range(len(program.nodes))):
        i = first + k
        if i not in used:
            yield _with_one_less(program, i, i)
        else:
            for stand_in in program.nodes[k].inputs:
                if specs[stand_in] == specs[i]:
                    yield _with_one_less(program, i, stand_in)


def _with_one_less(program: Program, i: int, by: int) -> Program:
    """Return a program without a value; others read another one in its place."""

    def renumbered(j: int) -> int:
        j = by if j == i else j
        return j - (j > i)

    k = i - len(program.inputs)
    nodes = (*program.nodes[:k], *program.nodes[k + 1 :])
    return Program(
        program.inputs,
        tuple(replace(n, inputs=tuple(map(renumbered, n.inputs))) for n in nodes),
        (*program.shown[:k], *program.shown[k + 1 :]),
    )


@dataclass
class Draft:
    """A program in the making.

    Attributes:
        c: choices for the node that is made now.
        specs: of every value so far.
        most: elements that a value may have.
    """

    c: Choices
    specs: list[ArraySpec]
    most: int

    def one(self, t: DType, fits: Callable[[ArraySpec], bool] = lambda s: True) -> int | None:
        """Return a value of a dtype, the latest ones more often; None where there is none that fits."""
        found = [i for i, s in enumerate(self.specs) if s.dtype is t and fits(s)]
        if not found:
            return None
        # Counted from the latest, however many there are: leaving out an early node changes no choice of a later one.
        return found[-1 - min(self.c.pick(BACK), len(found) - 1)]

    def node(self, op: Op, inputs: Sequence[int], attributes: Mapping[str, Any]) -> Node | None:
        """Return a call, or None where it makes too much."""
        specs = tuple(self.specs[i] for i in inputs)
        (spec,) = op.infer(op.name, specs, completed(op, attributes)).outputs
        if math.prod(spec.shape) > _GROWTH * self.most:
            return None
        return Node(op, tuple(inputs), spec, attributes)

    def view(self, name: str, x: int, argument: Any) -> Node:
        """Return a view of a value."""
        s = self.specs[x]
        shown = VIEWS[name].host(np.broadcast_to(np.zeros((), np.bool_), s.shape), argument)
        return Node(VIEWS[name], (x,), ArraySpec(s.dtype, shown.shape), argument=argument)
