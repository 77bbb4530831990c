"""Matrix products and the elementwise nodes over their results, as one kernel each.

Operands that are widened for a product are read as they were: its kernels widen them on the way.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from ...plugin import (
    CANONICAL,
    CallSpec,
    CostTerms,
    Graph,
    Kernel,
    Metadata,
    Node,
    Prepared,
    Promises,
    Refusal,
    View,
    fuse,
    relabelled,
    signature,
    whole,
)
from . import matmul_kernels
from .formulas import COMPLEX
from .fusing import crowded, region_kernel, results
from .matmul import ELEMENTS
from .matmul_kernels import Product, Tail
from .tensor_cores import INSTRUCTIONS

#: Casts that change no product: its kernels widen these operands so, and results of that dtype are summed in it.
_WIDENED: Final = frozenset({("float16", "float32"), ("bfloat16", "float32"), ("int8", "int32"), ("uint8", "int32")})


@dataclass(frozen=True, slots=True)
class Way:
    """A way to make products, as a region uses it.

    Attributes:
        kind: how its regions are called.
        dtypes: of the operands that it takes.
        prepare: makes a product ready.
        promises, cost: as of its kernel for the product alone.
    """

    kind: str
    dtypes: frozenset[str]
    prepare: Callable[[Product], Prepared]
    promises: Promises
    cost: CostTerms


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


def region(graph: Graph) -> Kernel | Refusal:
    """Return a kernel for a product in the canonical order and what is done with it, or the node in the way."""
    return _region(graph, _BY_CHAINS)


def on_tensor_cores(graph: Graph) -> Kernel | Refusal:
    """Like :func:`region`, on tensor cores."""
    return _region(graph, _ON_TENSOR_CORES)


def _region(graph: Graph, way: Way) -> Kernel | Refusal:
    found = crowded(graph) or _product(graph, way)
    if isinstance(found, Refusal):
        return found
    at, number, node, operands = found
    domain = node.outputs[0].shape
    made = results(graph, domain)
    if isinstance(made, Refusal):
        return made
    _, wanted = made
    fused = fuse(graph, wanted, {number})
    if isinstance(fused, Refusal):
        return fused
    product = whole(number, domain, domain)
    if [v for v in fused.operands if v.value == number] != [product]:
        return Refusal(at + 1, "the product is used in another place than its own")
    others = [v for v in fused.operands if v.value != number]

    def prepare(spec: CallSpec) -> Prepared:
        arrays, rank = spec.arrays, len(domain)
        device, aligned = spec.outputs[0].device, all(s.aligned for s in spec.outputs)
        sides = [
            signature(device, arrays[v.value].dtype, graph.specs[i].shape, v.strides(arrays[v.value].strides, rank),
                      arrays[v.value].aligned)
            for v, i in zip(operands, node.inputs, strict=True)
            if i is not None
        ]  # fmt: skip
        out = signature(device, node.outputs[0].dtype, domain, None, aligned)
        tail = Tail(
            fused.program,
            [v.value for v in fused.operands].index(number),
            tuple(v.strides(arrays[v.value].strides, rank) for v in others),
            tuple(arrays[v.value].aligned for v in others),
        )
        return way.prepare(
            Product(
                CallSpec(node.op.name, tuple(sides), (out,), dict(node.attributes), spec.contract),
                (operands[0].value, operands[1].value),
                tuple((v.value, arrays[v.value].dtype.itemsize) for v in others),
                tuple((len(arrays) + i, s.dtype.itemsize) for i, s in enumerate(spec.outputs)),
                len(arrays) + len(spec.outputs),
                tail,
            )
        )

    return region_kernel(way.kind, graph, prepare, way.promises, way.cost)


def _product(graph: Graph, way: Way) -> tuple[int, int, Node, tuple[View, View]] | Refusal:
    """Return the place of a region's product, its value's number, it, and how its operands look at inputs."""
    for at, (number, node) in enumerate(graph.numbered()):
        if isinstance(node.op, Metadata) or _widens(graph, node):
            continue
        if node.op.name != "matmul":
            return Refusal(at, f"{node.op.name} before any product")
        x, y = (_input(graph, i) for i in node.inputs)
        if x is None or y is None:
            return Refusal(at, "an operand of the product is no view of an input")
        dtypes = [graph.specs[v.value].dtype.name for v in (x, y)]
        result = node.outputs[0].dtype.name
        if dtypes[0] != dtypes[1] or dtypes[0] not in way.dtypes or result not in ELEMENTS.keys() - COMPLEX:
            return Refusal(at, f"products of {' and '.join(dtypes)} in {result}")
        return at, number, node, (x, y)
    return Refusal(0, "no product")


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
    view: View | None = whole(value, graph.specs[value].shape, graph.specs[value].shape)
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
