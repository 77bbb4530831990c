"""From a graph over rows to programs in turn: what each pass over a row computes, and the reductions between passes.

A row is what the reductions go over: some axes of one shape. Pass k computes all that needs k reductions, one after the
other; what a pass leaves for a later one is kept in registers, or computed again from the operands.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from typing import Final

from ....plugin import ARITHMETIC, Graph, Metadata, Nest, Node, Program, Refusal, View, dtypes, fuse, merge, whole
from ..folds import Fold
from ..reduction_kernels import chosen
from .fusing import itself

#: Reductions that rows know.
KINDS: Final = frozenset({"sum", "prod", "max", "min", "all", "any"})


@dataclass(frozen=True, slots=True)
class Frame:
    """The shape that rows lie in.

    Attributes:
        shape: of what is reduced.
        axes: those that a row goes along, ascending; none has length 1.

    >>> frame = Frame((2, 5, 1, 3), (1,))
    >>> frame.rows, frame.length, frame.kept, frame.trailing
    (6, 5, (0, 2, 3), False)
    """

    shape: tuple[int, ...]
    axes: tuple[int, ...]

    @property
    def kept(self) -> tuple[int, ...]:
        """The other axes."""
        return tuple(d for d in range(len(self.shape)) if d not in self.axes)

    @property
    def trailing(self) -> bool:
        """Whether rows go along the last axes, those of length 1 aside."""
        first = min(self.axes, default=len(self.shape))
        return all(self.shape[d] == 1 for d in self.kept if d > first)

    @property
    def rows(self) -> int:
        """How many rows there are."""
        return math.prod(self.shape[d] for d in self.kept)

    @property
    def length(self) -> int:
        """Elements of a row."""
        return math.prod(self.shape[d] for d in self.axes)

    def nest(self, axes: Sequence[int], strides: Sequence[Sequence[int]]) -> Nest:
        """Return some axes with the strides that arrays have along all of them; at least one is left."""
        made = merge([self.shape[d] for d in axes], [[s[d] for d in axes] for s in strides])
        return made if made.shape else Nest((1,), tuple((0,) for _ in strides))

    def wide(self, view: View) -> bool:
        """Return whether a value has elements of its own along a row."""
        return any(axis in self.axes for axis in view.axes)

    def of_row(self, number: int, shape: tuple[int, ...]) -> View | None:
        """Return a value of a shape that has one element per row, as seen from here."""
        kept = self.kept
        view = whole(number, shape, tuple(self.shape[d] for d in kept))
        return view and View(number, tuple(None if axis is None else kept[axis] for axis in view.axes))


@dataclass(frozen=True, slots=True)
class Pass:
    """What is computed for every element of a row, or, over no element, for a row.

    Attributes:
        program: its inputs are `given`, its results `terms`, then `stored`, then `kept`.
        given: operands, results of reductions and kept values, as views of the graph.
        terms: numbers of the reductions whose terms it makes.
        stored: numbers of outputs.
        kept: values for later passes.
    """

    program: Program
    given: tuple[View, ...]
    terms: tuple[int, ...] = ()
    stored: tuple[int, ...] = ()
    kept: tuple[View, ...] = ()


@dataclass(frozen=True, slots=True)
class Rows:
    """A graph over rows.

    Attributes:
        frame: how rows lie.
        operands: views of the graph's inputs.
        operand_types: their dtypes.
        reduced: for each reduction the value that it makes.
        folds: what each does.
        passes: over a row, in turn; after each come the reductions whose terms it made.
        singles: by the number of passes before it, a pass over no element and the reductions of its one term.
        last: outputs that have one element per row.
        output_types: dtypes of the graph's outputs.
    """

    frame: Frame
    operands: tuple[View, ...]
    operand_types: tuple[str, ...]
    reduced: tuple[int, ...]
    folds: tuple[Fold, ...]
    passes: tuple[Pass, ...]
    singles: tuple[tuple[int, Pass], ...]
    last: Pass | None
    output_types: tuple[str, ...]

    def held(self) -> list[tuple[View, int, int]]:
        """Return what registers hold from pass to pass: a value, the pass that has it first, and the last one."""
        first: dict[View, int] = {}
        last: dict[View, int] = {}
        for k, each in enumerate(self.passes):
            for view in (*each.given, *each.kept):
                if self.frame.wide(view):
                    first.setdefault(view, k)
                    last[view] = k
        return [(v, k, last[v]) for v, k in first.items() if last[v] > k]

    def held_bytes(self) -> int:
        """Return the most bytes of registers that an element takes from a pass to the next."""
        types = self.types()
        held = self.held()
        each = (
            sum(max(dtypes.dtype(types[v]).itemsize, 4) for v, first, last in held if first <= k < last)
            for k in range(len(self.passes))
        )
        return max(each, default=0)

    def widest(self) -> int:
        """Return the bytes of the widest element that is loaded or stored along a row."""
        read = [t for v, t in zip(self.operands, self.operand_types, strict=True) if self.frame.wide(v)]
        written = [self.output_types[i] for each in self.passes for i in each.stored]
        return max((dtypes.dtype(t).itemsize for t in (*read, *written)), default=1)

    def moved(self, once: bool) -> int:
        """Return the bytes that a row moves: results, and each operand once, or once in every pass that needs it."""
        read = [v for each in self.passes for v in each.given if v in self.operands and self.frame.wide(v)]
        types = self.types()
        kinds = [types[v] for v in (dict.fromkeys(read) if once else read)]
        kinds += [self.output_types[i] for each in self.passes for i in each.stored]
        return self.frame.length * sum(dtypes.dtype(t).itemsize for t in kinds)

    def holds_eight(self) -> bool:
        """Return whether something of 8 bytes is held from pass to pass."""
        types = self.types()
        return any(dtypes.dtype(types[view]).itemsize == 8 for view, _, _ in self.held())

    def instructions(self) -> int:
        """Return how many base instructions all passes have for one element."""
        return sum(len(each.program.instructions) for each in self.passes)

    def types(self) -> dict[View, str]:
        """Return the dtype of every value that passes are given."""
        found = dict(zip(self.operands, self.operand_types, strict=True))
        for each in self.passes:
            count = len(each.terms) + len(each.stored)
            found.update(zip(each.kept, each.program.result_types[count:], strict=True))
        return found


def rows_of(graph: Graph, keep: bool) -> Rows | Refusal:
    """Return a graph as passes over rows, or a node that is in the way.

    Args:
        graph: elementwise nodes and reductions.
        keep: whether what a later pass needs is kept; otherwise it is computed again.
    """
    try:
        return _Rows(graph, keep).made()
    except _RefusedError as error:
        return error.refusal


class _RefusedError(Exception):
    def __init__(self, node: int, reason: str) -> None:
        super().__init__(reason)
        self.refusal = Refusal(node, reason)


@dataclass(slots=True)
class _Wanted:
    """What a pass is for, each as seen from the frame."""

    terms: dict[int, View] = field(default_factory=dict)
    stored: dict[int, View] = field(default_factory=dict)
    kept: list[View] = field(default_factory=list)

    def views(self) -> list[View]:
        return [*self.terms.values(), *self.stored.values(), *self.kept]


class _Rows:
    def __init__(self, graph: Graph, keep: bool) -> None:
        self.graph = graph
        self.keep = keep
        self.node_of = {first: (i, node) for i, (first, node) in enumerate(graph.numbered())}
        #: Values that reductions make, in order.
        self.reduced = tuple(v for v, (_, node) in self.node_of.items() if node.op.name in KINDS)
        if not self.reduced:
            raise _RefusedError(0, "nothing is reduced")
        self.frame = self._frame(self.node_of[self.reduced[0]][1])
        #: Those of whole rows; the others have a single term.
        self.wide = {v for v in self.reduced if self._over_rows(v)}
        self.folds = tuple(self._fold(v) for v in self.reduced)

    def _operand(self, number: int) -> int:
        return next(i for i in self.node_of[number][1].inputs if i is not None)

    def _frame(self, node: Node) -> Frame:
        shape = self.graph.specs[next(i for i in node.inputs if i is not None)].shape
        return Frame(shape, tuple(d for d in sorted(axes_of(node, len(shape))) if shape[d] != 1))

    def _over_rows(self, number: int) -> bool:
        index, node = self.node_of[number]
        operand = self._operand(number)
        shape = self.graph.specs[operand].shape
        if shape == self.frame.shape and self._frame(node) == self.frame:
            return True
        single = all(shape[d] == 1 for d in axes_of(node, len(shape)))
        if not single or self._of_row(operand) is None:
            raise _RefusedError(index, f"{node.op.name} goes over other rows than the reduction before")
        return False

    def _fold(self, number: int) -> Fold:
        index, node = self.node_of[number]
        source, result = (self.graph.specs[v].dtype.name for v in (self._operand(number), number))
        if source not in ARITHMETIC or result not in ARITHMETIC:
            raise _RefusedError(index, f"{node.op.name} of {source} is not computed by recipes")
        return Fold(node.op.name, source, result)

    def _of_row(self, number: int) -> View | None:
        """Return a value that has one element per row, as seen from the frame."""
        return self.frame.of_row(number, self.graph.specs[number].shape)

    def _seen(self, number: int) -> View | None:
        """Return a value that has rows, or one element for each."""
        shape = self.graph.specs[number].shape
        return itself(self.graph, number) if shape == self.frame.shape else self._of_row(number)

    def made(self) -> Rows:
        wanted, last = self._wanted()
        passes = self._passes(wanted)
        singles = []
        for number in self.reduced:
            if number not in self.wide:
                operand = self._operand(number)
                view = self._of_row(operand)
                single = _Wanted({} if view is None else {self.reduced.index(number): view})
                singles.append((self.levels[operand], self._pass(single, self.reduced)))
        final = self._pass(last, self.reduced) if last.stored else None
        given = (v for p in (*passes, *(p for _, p in singles), *([final] if final else [])) for v in p.given)
        operands = tuple(dict.fromkeys(v for v in given if v.value < len(self.graph.inputs)))
        types = tuple(self.graph.specs[v.value].dtype.name for v in operands)
        results = tuple(self.graph.specs[v].dtype.name for v in self.graph.outputs)
        return Rows(self.frame, operands, types, self.reduced, self.folds, passes, tuple(singles), final, results)

    def _wanted(self) -> tuple[list[_Wanted], _Wanted]:
        """Return what every pass is for, and what is stored once per row."""
        self.levels = dict.fromkeys(range(self.graph.first_node_value), 0)
        for first, (_, node) in self.node_of.items():
            level = max((self.levels[i] for i in node.inputs if i is not None), default=0)
            self.levels.update((first + k, level + (first in self.wide)) for k in range(len(node.outputs)))
        wanted = [_Wanted() for _ in range(max(self.levels.values()) + 1)]
        last = _Wanted()
        for r, number in enumerate(self.reduced):
            if number in self.wide:
                operand = self._operand(number)
                wanted[self.levels[operand]].terms[r] = itself(self.graph, operand)
        for i, number in enumerate(self.graph.outputs):
            view = self._checked_output(number)
            (wanted[self.levels[number]] if self.frame.wide(view) else last).stored[i] = view
        return [w for w in wanted if w.views()], last

    def _checked_output(self, number: int) -> View:
        if number not in self.node_of:
            raise _RefusedError(0, "an input leaves the region as it is")
        index, node = self.node_of[number]
        if isinstance(node.op, Metadata):
            raise _RefusedError(index, "a view leaves the region")
        view = self._seen(number)
        if view is None:
            raise _RefusedError(index, f"a result of shape {self.graph.specs[number].shape} has other rows")
        return view

    def _passes(self, wanted: list[_Wanted]) -> tuple[Pass, ...]:
        """Make the passes from the last to the first, since a later one says what an earlier one keeps."""
        home = self._homes(wanted) if self.keep else {}
        made: list[Pass] = []
        for k in reversed(range(len(wanted))):
            leaves = {*self.reduced, *(v for v, first in home.items() if first < k)}
            each = self._pass(wanted[k], leaves)
            # What is the same all along a row is cheap to compute again, and no reason to hold an array.
            while narrow := {v.value for v in each.given if v.value in home and not self.frame.wide(v)} & leaves:
                leaves -= narrow
                each = self._pass(wanted[k], leaves)
            for view in each.given:
                if view.value in leaves and view.value in home and view not in wanted[home[view.value]].kept:
                    wanted[home[view.value]].kept.append(view)
            made.append(each)
        return tuple(reversed(made))

    def _homes(self, wanted: list[_Wanted]) -> dict[int, int]:
        """Return the pass that first computes a value, for all that passes compute."""
        home: dict[int, int] = {}
        for k, want in enumerate(wanted):
            stack = [v.value for v in want.views()]
            while stack:
                number = stack.pop()
                if number in home or number in self.reduced or number not in self.node_of:
                    continue
                _, node = self.node_of[number]
                if not isinstance(node.op, Metadata):
                    home[number] = k
                stack.extend(i for i in node.inputs if i is not None)
        return home

    def _pass(self, wanted: _Wanted, leaves: Collection[int]) -> Pass:
        fused = fuse(self.graph, wanted.views(), leaves)
        if isinstance(fused, Refusal):
            raise _RefusedError(fused.node, fused.reason)
        for view in fused.operands:
            if view.value in self.reduced and view != self._of_row(view.value):
                raise _RefusedError(self.node_of[view.value][0] + 1, "what is reduced is used for other rows")
        return Pass(fused.program, fused.operands, tuple(wanted.terms), tuple(wanted.stored), tuple(wanted.kept))


def with_values(graph: Graph) -> Graph:
    """Return a graph whose constants are inputs, under the same numbers: code that is given them serves many lengths.

    A mean divides by how many it is of.
    """
    if any(math.prod(c.shape) != 1 or c.dtype.name not in ARITHMETIC for c in graph.constants):
        return graph
    inputs = (*graph.inputs, *graph.specs[len(graph.inputs) : graph.first_node_value])
    return Graph(inputs, (), graph.nodes, graph.outputs)


def constants(graph: Graph, operands: Sequence[View]) -> tuple[bytes, ...]:
    """Return the bytes of those operands that are a graph's constants."""
    own = range(len(graph.inputs), graph.first_node_value)
    arrays = (graph.constants[v.value - own.start] for v in operands if v.value in own)
    return tuple(x.numpy().tobytes() for x in arrays)


def axes_of(node: Node, rank: int) -> tuple[int, ...]:
    """Return the axes that a reduction goes over."""
    return chosen(dict(node.attributes)["axis"], rank)
