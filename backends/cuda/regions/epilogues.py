"""Matrix products and the elementwise nodes over their results, as one kernel each.

Operands that are widened for a product are read as they were: its kernels widen them on the way.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final

from ....plugin import (
    CANONICAL,
    Accepts,
    CallSpec,
    CostTerms,
    Graph,
    Kernel,
    Metadata,
    Node,
    Prepared,
    Promises,
    Refusal,
    Rejection,
    Signature,
    View,
    fuse,
    relabelled,
    signature,
)
from ..formulas import COMPLEX
from ..products import matmul_kernels, wgmma_kernels
from ..products.matmul import ELEMENTS
from ..products.matmul_kernels import Product, Tail
from ..products.tensor_cores import INSTRUCTIONS
from ..products.wgmma import PRODUCTS
from .fusing import beyond, crowded, foreign, itself, region_kernel, repeated, results

#: Casts that change no product: its kernels widen these operands so, and results of that dtype are summed in it.
_WIDENED: Final = frozenset({("float16", "float32"), ("bfloat16", "float32"), ("int8", "int32"), ("uint8", "int32")})


@dataclass(frozen=True, slots=True)
class Way:
    """A way to make products, as a region uses it.

    Attributes:
        kind: how its regions are called.
        dtypes: of the operands that it takes.
        prepare: makes a product ready.
        promises, cost, features: as of its kernel for the product alone.
    """

    kind: str
    dtypes: frozenset[str]
    prepare: Callable[[Product], Prepared | Rejection]
    promises: Promises
    cost: CostTerms
    features: frozenset[str] = frozenset()


_BY_CHAINS: Final = Way(
    "epilogue", frozenset(ELEMENTS) - COMPLEX, matmul_kernels.by_chains, CANONICAL, matmul_kernels.COST
)
_ON_TENSOR_CORES: Final = Way(
    "epilogue.mma",
    frozenset(INSTRUCTIONS),
    matmul_kernels.on_tensor_cores,
    matmul_kernels.MMA,
    matmul_kernels.MMA_COST,
)
_BY_WARPGROUPS: Final = Way(
    "epilogue.wgmma",
    frozenset(PRODUCTS),
    wgmma_kernels.by_warpgroups,
    wgmma_kernels.PROMISES,
    wgmma_kernels.COST,
    frozenset({wgmma_kernels.TARGET}),
)


def region(graph: Graph) -> Kernel | Refusal:
    """Return a kernel for a product in the canonical order and what is done with it, or the node in the way."""
    return _region(graph, _BY_CHAINS)


def on_tensor_cores(graph: Graph) -> Kernel | Refusal:
    """Like :func:`region`, on tensor cores."""
    return _region(graph, _ON_TENSOR_CORES)


def by_warpgroups(graph: Graph) -> Kernel | Refusal:
    """Like :func:`region`, by warpgroups and the copy engine."""
    return _region(graph, _BY_WARPGROUPS)


@dataclass(frozen=True, slots=True)
class _Found:
    """The product of a region.

    Attributes:
        at: its place among the nodes.
        node: it.
        value: the number of its result, in the shape in which the nodes after it see it.
        shape: that shape: rows may be spread over several axes.
        x, y: its operands as views of inputs, seen from axes of their own.
        x_rank: the number of these axes of x; those of y are as many as before rows were spread.
    """

    at: int
    node: Node
    value: int
    shape: tuple[int, ...]
    x: View
    y: View
    x_rank: int

    def sides(self, spec: CallSpec, depth: int) -> tuple[Signature, Signature]:
        """Return the operands of the product of this shape.

        Args:
            spec: a call of the region.
            depth: the product's terms.
        """
        *lead, columns = self.shape
        rank, y_rank, batch = len(self.shape), len(self.node.outputs[0].shape), lead[:-1]
        x, y = spec.arrays[self.x.value], spec.arrays[self.y.value]
        of_x, of_y = self.x.strides(x.strides, self.x_rank), self.y.strides(y.strides, y_rank)
        if len(of_x) < rank:  # every row of the operand is a row of the product, over however many axes those are
            of_x = (*(of_x[0] * math.prod(lead[i + 1 :]) for i in range(len(lead))), of_x[1])
        of_y = (*(0,) * (rank - len(of_y)), *of_y)
        return (
            signature(x.device, x.dtype, (*lead, depth), of_x, x.aligned),
            signature(y.device, y.dtype, (*batch, depth, columns), of_y, y.aligned),
        )


def _region(graph: Graph, way: Way) -> Kernel | Refusal:
    found = crowded(graph) or _product(graph, way)
    if isinstance(found, Refusal):
        return found
    refused = foreign(graph, {found.at}) or repeated(graph)
    if refused is not None:
        return refused
    domain, node = found.shape, found.node
    made = results(graph, domain)
    if isinstance(made, Refusal):
        return made
    _, wanted = made
    fused = fuse(graph, wanted, {found.value})
    if isinstance(fused, Refusal):
        return fused
    if [v for v in fused.operands if v.value == found.value] != [itself(graph, found.value)]:
        return Refusal(found.at + 1, "the product is used in another place than its own")
    others = [v for v in fused.operands if v.value != found.value]
    depth = next(graph.specs[i].shape[-1] for i in node.inputs if i is not None)

    def prepare(spec: CallSpec) -> Prepared | Rejection:
        arrays, rank = spec.arrays, len(domain)
        rejection = beyond(rank, len(arrays) + len(spec.outputs))
        if rejection is not None:
            return rejection
        device, aligned = spec.outputs[0].device, all(s.aligned for s in spec.outputs)
        out = signature(device, node.outputs[0].dtype, domain, None, aligned)
        tail = Tail(
            fused.program,
            [v.value for v in fused.operands].index(found.value),
            tuple(v.strides(arrays[v.value].strides, rank) for v in others),
            tuple(arrays[v.value].aligned for v in others),
        )
        return way.prepare(
            Product(
                CallSpec(node.op.name, found.sides(spec, depth), (out,), dict(node.attributes), spec.contract),
                (found.x.value, found.y.value),
                tuple((v.value, arrays[v.value].dtype.itemsize) for v in others),
                tuple((len(arrays) + i, s.dtype.itemsize) for i, s in enumerate(spec.outputs)),
                len(arrays) + len(spec.outputs),
                tail,
            )
        )

    kernel = region_kernel(way.kind, graph, prepare, way.promises, way.cost)
    return replace(kernel, accepts=Accepts(features=way.features))


def _product(graph: Graph, way: Way) -> _Found | Refusal:
    """Return the product of a region, or the node in the way."""
    for at, (number, node) in enumerate(graph.numbered()):
        if isinstance(node.op, Metadata) or _widens(graph, node):
            continue
        if node.op.name != "matmul":
            return Refusal(at, f"{node.op.name} before any product")
        value, shape = _spread(graph, number)
        of_x, of_y = node.inputs
        of_x = _rows(graph, of_x, shape)
        x, y = _input(graph, of_x), _input(graph, of_y)
        if x is None or y is None or of_x is None:
            return Refusal(at, "an operand of the product is no view of an input")
        dtypes = [graph.specs[v.value].dtype.name for v in (x, y)]
        result = node.outputs[0].dtype.name
        if dtypes[0] != dtypes[1] or dtypes[0] not in way.dtypes or result not in ELEMENTS.keys() - COMPLEX:
            return Refusal(at, f"products of {' and '.join(dtypes)} in {result}")
        return _Found(at, node, value, shape, x, y, len(graph.specs[of_x].shape))
    return Refusal(0, "no product")


def _spread(graph: Graph, product: int) -> tuple[int, tuple[int, ...]]:
    """Return the value as which the result of a product is used, and its shape.

    Rows that come from several axes go back to those right after the product, as in ``linear``.
    """
    shape = graph.specs[product].shape
    readers = [(number, node) for number, node in graph.numbered() if product in node.inputs]
    if len(readers) == 1 and len(shape) == 2 and product not in graph.outputs:
        ((number, node),) = readers
        target = node.outputs[0].shape
        if isinstance(node.op, Metadata) and node.op.name == "reshape" and target[-1:] == shape[1:] and len(target) > 2:
            return number, target
    return product, shape


def _rows(graph: Graph, operand: int | None, shape: tuple[int, ...]) -> int | None:
    """Return the value whose rows an operand is made of, where those lie over the axes of the result's shape."""
    nodes, value = dict(graph.numbered()), operand
    while value in nodes and _widens(graph, nodes[value]):
        (value,) = nodes[value].inputs
    node = nodes.get(-1 if value is None else value)
    if node is None or node.op.name != "reshape" or node.inputs[0] is None:
        return operand
    before = graph.specs[node.inputs[0]].shape
    return node.inputs[0] if len(before) > 2 and before[:-1] == shape[:-1] else operand


def _widens(graph: Graph, node: Node) -> bool:
    """Return whether a node is a cast that a product's kernels carry out on their way."""
    (operand, *_) = node.inputs or (None,)
    if node.op.name != "cast" or operand is None:
        return False
    return (graph.specs[operand].dtype.name, node.outputs[0].dtype.name) in _WIDENED


def _input(graph: Graph, value: int | None) -> View | None:
    """Return a value as a view of an input of the graph, seen from its own axes; None where it is none.

    It may have been widened, once.
    """
    if value is None:
        return None
    view: View | None = itself(graph, value)
    nodes = dict(graph.numbered())
    while view is not None and view.value in nodes:
        node = nodes[view.value]
        operand = node.inputs[0]
        if operand is not None and _widens(graph, node):
            view = View(operand, view.axes)
        elif operand is not None and isinstance(node.op, Metadata):
            view = relabelled(node, view, graph.specs[operand].shape)
        else:
            view = None
    return view if view is not None and view.value < len(graph.inputs) else None
