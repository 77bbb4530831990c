"""What all regions of this backend share: their names, limits, results and how the arrays of a call lie."""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from typing import Final

from ....plugin import (
    ARITHMETIC,
    CANONICAL,
    CallSpec,
    CostTerms,
    Graph,
    Kernel,
    Metadata,
    Node,
    Prepare,
    Promises,
    Reason,
    Refusal,
    Rejection,
    View,
    recipe,
    whole,
)
from ..device.driver import KIND
from ..device.launching import Arguments

Shape = tuple[int, ...]

#: Arrays that one kernel reads and writes: a thread holds a piece of each.
MOST_ARRAYS: Final = 24
#: Bytes of arguments that every kernel may have (CUDA C++ Programming Guide, ``__global__`` functions), and room for
#: those that are neither strides nor addresses. A product by warpgroups has 320 with its maps, and an axis and some
#: strides less than are counted.
MOST_ARGUMENTS: Final = 4096
_OTHER_ARGUMENTS: Final = 256
_POINTER_BYTES: Final = 8
#: Operations, as ops declare them, that may be done anew for every element of a larger shape: while they are few, a
#: kernel waits for memory.
_MOST_REPEATED: Final = 32.0
#: Ops whose result is their operand's value, which to fuse takes without a recipe.
_AS_THEY_ARE: Final = frozenset({"copy", "full"})
#: Ops that a region's name shows.
_SHOWN: Final = 4


def region_kernel(
    kind: str, graph: Graph, prepare: Prepare, promises: Promises = CANONICAL, cost: CostTerms | None = None
) -> Kernel:
    """Return a region's kernel.

    Args:
        kind: its family; ``explain`` shows it before the ops, e.g. ``"chain"``.
        graph: the region.
        prepare: makes it ready for a call whose operands and results are the graph's, in order.
        promises: what it claims.
        cost: how fast it is; like an elementwise op where None.
    """
    names = [node.op.name for node in graph.nodes if not isinstance(node.op, Metadata)]
    more = f",+{len(names) - _SHOWN}" if len(names) > _SHOWN else ""
    name = f"{kind}:{','.join(names[:_SHOWN])}{more}"
    op = f"region:{graph.digest[:12]}"
    return Kernel(name, op, KIND, prepare, promises=promises, cost=cost or CostTerms(), family=kind)


def results(graph: Graph, domain: Shape | None = None) -> tuple[Shape, tuple[View, ...]] | Refusal:
    """Return one iteration domain for all outputs of a graph, and each as seen from it; else the node in the way.

    Views of values leave a region as they are: a kernel would write what costs nothing outside.

    Args:
        graph: the region.
        domain: if it is known; axes of length 1 are left out otherwise.
    """
    made = {first + k: (i, node) for i, (first, node) in enumerate(graph.numbered()) for k in range(len(node.outputs))}
    views = []
    for number in graph.outputs:
        if number not in made:
            return Refusal(0, "an input leaves the region as it is")
        (i, node), shape = made[number], graph.specs[number].shape
        if isinstance(node.op, Metadata):
            return Refusal(i, "a view leaves the region")
        if domain is None:
            domain = tuple(n for n in shape if n != 1)
        view = whole(number, shape, domain)
        if view is None:
            return Refusal(i, f"shape {shape} is not the {domain} of the results before")
        views.append(view)
    return domain or (), tuple(views)


def itself(graph: Graph, number: int) -> View:
    """Return a value of a graph as seen from its own axes."""
    shape = graph.specs[number].shape
    view = whole(number, shape, shape)
    assert view is not None  # a shape matches itself
    return view


def crowded(graph: Graph) -> Refusal | None:
    """Return the node from which on a graph has more arrays than a kernel takes, or that it has but one op."""
    if sum(not isinstance(node.op, Metadata) for node in graph.nodes) < 2:
        return Refusal(0, "one op is a kernel's business")
    arrays = set(graph.outputs)
    for i, node in enumerate(graph.nodes):
        arrays.update(v for v in node.inputs if v is not None and v < len(graph.inputs))
        if len(arrays) > MOST_ARRAYS:
            return Refusal(max(i, 1), f"more than {MOST_ARRAYS} arrays")
    return None


def foreign(graph: Graph, others: Collection[int] = ()) -> Refusal | None:
    """Return the first node that is no view and has no recipe.

    To fuse goes from results to operands and finds the last one, so a graph of many would be offered for each of them.

    Args:
        graph: the region.
        others: places of nodes that a kernel computes in another way.
    """
    for i, node in enumerate(graph.nodes):
        if i not in others and not isinstance(node.op, Metadata) and not _by_recipe(graph, node):
            return Refusal(i, f"{node.op.name} is not computed by recipes")
    return None


def _by_recipe(graph: Graph, node: Node) -> bool:
    types = tuple(graph.specs[i].dtype.name for i in node.inputs if i is not None)
    if not types or not ARITHMETIC.issuperset(types):
        return False
    if node.op.name in _AS_THEY_ARE:
        return True
    target = dict(node.attributes).get("dtype")
    to = None if target is None else target.name
    return (to is None or to in ARITHMETIC) and recipe(node.op.name, types, to) is not None


def repeated(graph: Graph) -> Refusal | None:
    """Return the node from which on something dear would be computed for every element of a larger shape."""
    costs: dict[int, float] = {}
    for i, (number, node) in enumerate(graph.numbered()):
        specs = [None if v is None else graph.specs[v] for v in node.inputs]
        size = math.prod(node.outputs[0].shape)
        given = [(costs.get(v, 0.0), math.prod(graph.specs[v].shape)) for v in node.inputs if v is not None]
        if any(cost > _MOST_REPEATED and count < size for cost, count in given):
            return Refusal(i, "what is repeated here is better computed once")
        flops = (
            0.0
            if isinstance(node.op, Metadata)
            else node.op.work(tuple(specs), node.outputs, dict(node.attributes)).flops
        )
        costs[number] = flops / max(size, 1) + sum(cost for cost, _ in given)
    return None


def beyond(rank: int, arrays: int) -> Rejection | None:
    """Return why a kernel with so many arrays over so many axes has no room for its arguments, if so."""
    nest = rank * (3 * 4 + arrays * 8)
    if nest + arrays * 3 * 8 + _OTHER_ARGUMENTS <= MOST_ARGUMENTS:
        return None
    return Rejection(Reason.RANK, f"sizes and strides of {arrays} arrays over {rank} axes are too much for one kernel")


def too_much(arguments: Arguments) -> bool:
    """Return whether arguments are more than a kernel may have."""
    return sum(len(a) if isinstance(a, bytes) else _POINTER_BYTES for a in arguments) > MOST_ARGUMENTS


def strides_of(spec: CallSpec, view: View, rank: int) -> Shape:
    """Return how an operand moves along the axes of a domain; what is no array of the call stays where it is."""
    return view.strides(spec.arrays[view.value].strides, rank) if view.value < len(spec.arrays) else (0,) * rank


def placed(spec: CallSpec, operands: Sequence[View], wanted: Sequence[View], rank: int) -> list[tuple[int, Shape]]:
    """Return for each array that a kernel reads, then writes, which of the call's it is and its strides.

    Args:
        spec: the call; its operands and results are those of the graph.
        operands: what is read of the graph's inputs.
        wanted: the graph's outputs in order.
        rank: axes of the domain.
    """
    read = [(v.value, v.strides(spec.arrays[v.value].strides, rank)) for v in operands]
    count = len(spec.arrays)
    written = [
        (count + i, v.strides(out.strides, rank)) for i, (v, out) in enumerate(zip(wanted, spec.outputs, strict=True))
    ]
    return read + written
