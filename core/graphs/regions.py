"""Cutting a graph into regions that a backend compiles whole."""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache, partial
from types import MappingProxyType

from ..devices.device import Device
from ..dispatch.claims import CLAIMS, ClaimKey
from ..dispatch.decision import Claim
from ..dispatch.registry import REGISTRY
from ..dtypes import DType
from ..errors import PluginWarning
from ..kernel import Kernel
from ..op import Op
from .graph import Graph, Node, Refusal, RegionCompiler
from .trace import capture


@dataclass(frozen=True, slots=True, eq=False)
class Segment:
    """Consecutive nodes of a graph.

    Attributes:
        graph: these nodes as a graph of their own.
        inputs: value numbers, in the whole graph, of its inputs.
        outputs: value numbers, in the whole graph, of its outputs.
        kernels: what compilers made of it, with their backends; empty where it runs op by op.
    """

    graph: Graph
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    kernels: tuple[tuple[str, Kernel], ...]


def inlined(graph: Graph, device: Device, keep: frozenset[str] = frozenset()) -> Graph:
    """Return the graph with every composite replaced by its decomposition, so that regions can cross them.

    Args:
        graph: to open.
        device: where it runs.
        keep: names of ops that stay whole.
    """
    nodes: list[Node] = []
    constants = list(graph.constants)
    count = len(graph.inputs)
    # New value numbers: inputs, then nodes from a base that leaves room for constants found on the way.
    base = 1 << 30
    made = 0

    def emit(node: Node, inputs: tuple[int | None, ...]) -> list[int]:
        nonlocal made
        nodes.append(Node(node.op, inputs, node.attributes, node.outputs))
        numbers = [base + made + k for k in range(len(node.outputs))]
        made += len(node.outputs)
        return numbers

    def expand(part: Graph, values: list[int]) -> list[int]:
        for _, node in part.numbered():
            inputs = tuple(None if i is None else values[i] for i in node.inputs)
            inner = None if node.op.name in keep else _decomposed(node, part, device)
            if inner is None:
                values.extend(emit(node, inputs))
                continue
            first = count + len(constants)
            constants.extend(inner.constants)
            given = [i for i in inputs if i is not None]
            values.extend(expand(inner, [*given, *range(first, first + len(inner.constants))]))
        return [values[i] for i in part.outputs]

    outputs = expand(graph, list(range(graph.first_node_value)))
    shift = count + len(constants) - base

    def settled(i: int | None) -> int | None:
        return i if i is None or i < base else i + shift

    kept = tuple(Node(n.op, tuple(settled(i) for i in n.inputs), n.attributes, n.outputs) for n in nodes)
    return Graph(graph.inputs, tuple(constants), kept, tuple(i if i < base else i + shift for i in outputs))


def _decomposed(node: Node, graph: Graph, device: Device) -> Graph | None:
    """Return a composite's graph, or None for anything else."""
    if not isinstance(node.op, Op) or node.op.primitive or node.op.decomposition is None:
        return None
    specs = [None if i is None else graph.specs[i] for i in node.inputs]
    return capture(node.op.decomposition, device, specs, dict(node.attributes))[0]


def part_of(graph: Graph, start: int, stop: int) -> Segment:
    """Return nodes ``start`` to ``stop`` as a graph of their own.

    Constants of one element travel along, for compilers to write into their code; larger ones become inputs, so that a
    kernel gets them like any operand: their layout is part of the call, and their memory is in order with its queue.
    """
    numbered = list(graph.numbered())
    chosen = numbered[start:stop]
    own = {first + k for first, node in chosen for k in range(len(node.outputs))}
    read = [i for _, node in chosen for i in node.inputs if i is not None and i not in own]
    first_constant, first_node = len(graph.inputs), graph.first_node_value
    single = {i for i in range(first_constant, first_node) if math.prod(graph.specs[i].shape) == 1}
    constants = sorted(single.intersection(read))
    inputs = sorted({*read} - single)
    later = {i for _, node in numbered[stop:] for i in node.inputs if i is not None} | set(graph.outputs)
    outputs = sorted(own & later)
    renumber = {i: k for k, i in enumerate((*inputs, *constants))}
    nodes = []
    for first, node in chosen:
        nodes.append(
            Node(node.op, tuple(None if i is None else renumber[i] for i in node.inputs), node.attributes, node.outputs)
        )
        for k in range(len(node.outputs)):
            renumber[first + k] = len(renumber)
    made = Graph(
        tuple(graph.specs[i] for i in inputs),
        tuple(graph.constants[i - first_constant] for i in constants),
        tuple(nodes),
        tuple(renumber[i] for i in outputs),
    )
    return Segment(made, tuple(inputs), tuple(outputs), ())


def cut(
    graph: Graph,
    compilers: Sequence[tuple[str, RegionCompiler]],
    device: Device,
    pins: Mapping[str, str] = MappingProxyType({}),
) -> list[Segment]:
    """Cut a graph into segments, each as large as a compiler takes it; what none takes stands alone.

    A compiler is offered everything from a node on. On refusal of a later node it is offered what is before that node;
    on refusal of the first node, that node runs on its own and the offer begins after it. An op that is pinned to
    another backend counts as refused, and so does one of which conformance has refuted a kernel of that backend; a
    region of a family that it has refuted is refused at its last node.
    """
    segments: list[Segment] = []
    start, total = 0, len(graph.nodes)
    ends = {backend: _ends(backend, graph, device, pins) for backend in {backend for backend, _ in compilers}}
    while start < total:
        offer = _largest(graph, start, compilers, device, {backend: stops[start] for backend, stops in ends.items()})
        segments.append(offer)
        start += len(offer.graph.nodes)
    return segments


def _ends(backend: str, graph: Graph, device: Device, pins: Mapping[str, str]) -> list[int]:
    """Return for each node the next one, itself included, that no region of a backend may hold."""
    ends = [len(graph.nodes)]
    for i in reversed(range(len(graph.nodes))):
        ends.append(ends[-1] if _may(backend, graph, graph.nodes[i], device, pins) else i)
    return ends[::-1]


def _largest(
    graph: Graph,
    start: int,
    compilers: Sequence[tuple[str, RegionCompiler]],
    device: Device,
    ends: Mapping[str, int],
) -> Segment:
    found: list[tuple[Segment, str, Kernel]] = []
    part = cache(partial(part_of, graph, start))  # compilers are offered much the same
    for backend, compiler in compilers:
        stop = ends[backend]
        while stop - start > 1:  # one node alone is a kernel's business
            segment = part(stop)
            answer = _ask(backend, compiler, segment.graph, device)
            if isinstance(answer, Kernel) and _refuted(backend, answer, _lead(segment.graph), device):
                stop -= 1
                continue
            if isinstance(answer, Kernel):
                found.append((segment, backend, answer))
                break
            stop = start + answer.node
    if not found:
        return part_of(graph, start, start + 1)
    longest = max(len(s.graph.nodes) for s, _, _ in found)
    chosen = next(s for s, _, _ in found if len(s.graph.nodes) == longest)
    kernels = tuple((b, k) for s, b, k in found if len(s.graph.nodes) == longest)
    return Segment(chosen.graph, chosen.inputs, chosen.outputs, kernels)


def _may(backend: str, graph: Graph, node: Node, device: Device, pins: Mapping[str, str]) -> bool:
    """Return whether a region of a backend may hold a node.

    What is wrong in a kernel is likely to be wrong in a region with the same op.
    """
    if pins.get(node.op.name, backend) != backend:
        return False
    lead = next((graph.specs[i].dtype for i in node.inputs if i is not None), node.outputs[0].dtype)
    return not any(
        owner == backend and _refuted(owner, kernel, lead, device)
        for owner, kernel in REGISTRY.kernels(node.op.name, device.kind)
    )


def _lead(graph: Graph) -> DType:
    """Return the dtype on which a region is judged: that of its first operand."""
    specs = graph.inputs or tuple(graph.specs[i] for i in graph.outputs)
    return specs[0].dtype


def _refuted(backend: str, kernel: Kernel, lead: DType, device: Device) -> bool:
    """Return whether conformance has refuted a kernel, or the family of a region, on a dtype of the leading operand."""
    key = ClaimKey(backend, REGISTRY.version(backend), kernel.judged_as, lead.name, device.info.name)
    return CLAIMS.verdict(key).level is Claim.REFUTED


def _ask(backend: str, compiler: RegionCompiler, graph: Graph, device: Device) -> Kernel | Refusal:
    """Return a compiler's answer; one that fails or answers nonsense is taken at its word never: it refuses it all.

    The fault is a warning, once per place, since the ops one by one still do the work.
    """
    try:
        answer: object = compiler.compile(graph, device)
    except Exception as error:  # a vendor's code: its fault costs its region, not the call
        answer = error
    if isinstance(answer, Kernel):
        return answer
    if isinstance(answer, Refusal) and 0 <= answer.node < len(graph.nodes):
        return answer
    warnings.warn(
        f"region compiler of {backend} answered {answer!r}; it must return a Kernel, or a Refusal that names one of "
        f"the {len(graph.nodes)} nodes offered. Its regions run op by op",
        PluginWarning,
        stacklevel=2,
    )
    return Refusal(0, "the compiler failed")
