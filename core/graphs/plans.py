"""Plans: graphs with a decision for every node, or for every region."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from ..arrays.views import stand_in
from ..devices.device import Device
from ..dispatch.candidates import cheapest_ready
from ..dispatch.choose import Planner, Signatures, decide
from ..dispatch.cost import sum_costs
from ..dispatch.decision import Candidate, Cost, Decision, Kind, Operands, Run
from ..dispatch.execute import Step, decided_step, graph_runner, metadata_step
from ..dispatch.policy import Settings
from ..dispatch.registry import REGISTRY
from ..dispatch.tables import Tables
from ..dtypes import BY_NAME
from ..errors import DeviceError, PluginError
from ..kernel import FAMILY_PREFIX, Determinism, Kernel
from ..op import COPY, OPS, Inferred, Op, Work, unnamed_op
from ..signature import Signature
from .graph import Graph, Metadata, Node
from .regions import Segment, cut, inlined


class Plan:
    """A graph with a decision for every node."""

    def __init__(self, parts: tuple[Decision, ...], run: Run, outputs: tuple[Signature, ...]) -> None:
        self.parts, self.run, self.outputs = parts, run, outputs

    @functools.cached_property
    def cost(self) -> Cost:
        """The sum over the nodes."""
        return sum_costs([p.cost for p in self.parts])


def plan_graph(graph: Graph, inputs: tuple[Signature, ...], device: Device, tables: Tables[Settings]) -> Plan:
    """Decide a graph for given input signatures; nothing is looked up when it runs.

    Where a backend compiles regions for this device, the graph is also cut into regions, each weighed against its ops
    one by one; the cheaper of the two plans is returned.

    Raises:
        UnsupportedError: naming the node that nothing can do.
        DeviceError: when a constant of the graph is on another device.
    """
    for constant in graph.constants:
        if constant.device is not device:
            raise DeviceError(
                f"an array on {constant.device} is used in a function whose arrays are on {device}; opmux moves "
                f"nothing by itself, use .to_device({device.name!r})",
                devices=(device.name, constant.device.name),
            )
    plan = plan_nodes(graph, inputs, device, tables)
    settings = tables.settings
    compilers = [
        (backend, compiler)
        for backend, compiler in REGISTRY.compilers(device.kind)
        if settings.backends is None or backend in settings.backends
    ]
    if not compilers or len(graph.nodes) < 2:
        return plan
    pinned = dict(settings.pins)
    flat = inlined(graph, device, keep=frozenset(pinned))
    segments = cut(flat, compilers, device, pinned)
    if not any(s.kernels for s in segments):
        return plan
    in_regions = _plan_segments(flat, segments, inputs, device, tables)
    return in_regions if in_regions.cost.total <= plan.cost.total else plan


def plan_nodes(graph: Graph, inputs: tuple[Signature, ...], device: Device, tables: Tables[Settings]) -> Plan:
    signatures: list[Signature] = [*inputs, *(c._sig for c in graph.constants)]
    steps: list[Step] = []
    parts: list[Decision] = []
    for first, node in graph.numbered():
        operands = tuple(None if i is None else signatures[i] for i in node.inputs)
        if isinstance(node.op, Metadata):
            step, made, copy = _plan_metadata(node.op, node, operands, device, tables)
            if copy is not None:
                parts.append(copy)
            signatures.append(made)
        else:
            decision = decide(node.op, operands, node.attributes, device, tables)
            step = decided_step(decision)
            parts.append(decision)
            signatures.extend(decision.outputs)
        steps.append((step, node.inputs, tuple(range(first, first + len(node.outputs)))))
    return Plan(tuple(parts), graph_runner(graph, steps), tuple(signatures[i] for i in graph.outputs))


def _plan_segments(
    graph: Graph, segments: list[Segment], inputs: tuple[Signature, ...], device: Device, tables: Tables[Settings]
) -> Plan:
    known = dict(enumerate((*inputs, *(c._sig for c in graph.constants))))
    steps: list[Step] = []
    parts: list[Decision] = []
    for segment in segments:
        given = tuple(known[i] for i in segment.inputs)
        plan = plan_nodes(segment.graph, given, device, tables)
        if segment.kernels:
            decision = _decide_region(segment, given, plan, device, tables)
            made, step = decision.outputs, decided_step(decision)
            parts.append(decision)
        else:
            made, step = plan.outputs, _alone(plan.run)
            parts.extend(plan.parts)
        known.update(zip(segment.outputs, made, strict=True))
        steps.append((step, segment.inputs, segment.outputs))
    return Plan(tuple(parts), graph_runner(graph, steps), tuple(known[i] for i in graph.outputs))


def _alone(run: Run) -> Callable[[Operands], Operands]:
    return lambda operands: run(operands, None)


def _decide_region(
    segment: Segment, inputs: tuple[Signature, ...], one_by_one: Plan, device: Device, tables: Tables[Settings]
) -> Decision:
    """Weigh the kernels of a region against its ops one by one."""
    graph = segment.graph
    planner = region_planner(graph, inputs, device, tables)
    separate = Candidate(
        "op by op", Kind.DECOMPOSITION, cost=one_by_one.cost, parts=one_by_one.parts, run=one_by_one.run,
        outputs=one_by_one.outputs,
    )  # fmt: skip
    bound = _bound_orders(graph, device, tables)
    most = tables.settings.max_ulp
    # A device that flushes subnormals has no canonical bits, whatever its kernels promise.
    canonical = not device.info.flushes_subnormals
    if most is not None and not (canonical and all(map(_canonical_within_bound, one_by_one.parts))):
        most = None
    kernels = cheapest_ready(planner.kernel(b, _bounded(k, most), bound) for b, k in segment.kernels)
    return planner.decision([*kernels, separate], ())


def _canonical_within_bound(part: Decision) -> bool:
    """Return whether the canonical bits of a call are within what the policy demands: a canonical kernel may do it."""
    kernels = [c.kernel for c in part.candidates if c.rejection is None and c.kernel is not None]
    settled = all(map(part.op.settled, (s.dtype for s in (*part.inputs, *part.outputs) if s is not None)))
    return settled or any(k.promises.determinism is Determinism.CANONICAL for k in kernels)


def _bounded(kernel: Kernel, most: float | None) -> Kernel:
    """Return a region's kernel with the bound within which the canonical bits of all nodes are, if there is one."""
    if kernel.promises.determinism is not Determinism.CANONICAL or most is None:
        return kernel
    return replace(kernel, promises=replace(kernel.promises, max_ulp=dict.fromkeys(BY_NAME, most)))


def region_planner(graph: Graph, inputs: tuple[Signature, ...], device: Device, tables: Tables[Settings]) -> Planner:
    """Return what makes candidates of a region's kernels."""
    specs = tuple(graph.specs[i] for i in graph.outputs)
    op = unnamed_op(f"{FAMILY_PREFIX}{graph.digest[:12]}", lambda given, outputs, attributes: _region_work(graph))
    if all(_gives_every_bit(graph, node) for node in graph.nodes):
        op = replace(op, settled=lambda dtype: True)
    return Planner(op, inputs, Inferred(specs, {}), device, tables)


def _gives_every_bit(graph: Graph, node: Node) -> bool:
    """Return whether the contract of a node leaves no bit of its results open."""
    given = (graph.specs[i].dtype for i in node.inputs if i is not None)
    return isinstance(node.op, Metadata) or all(map(node.op.settled, (*given, *(s.dtype for s in node.outputs))))


def _bound_orders(graph: Graph, device: Device, tables: Tables[Settings]) -> str | None:
    """Return the orders that bind the ops of a graph; a region with ops of several orders has none of them."""
    calls = (
        (node.op, tuple(graph.specs[i].dtype for i in node.inputs if i is not None), device) for node in graph.nodes
    )
    found = {order for call in calls if (order := tables.orders.get(call)) is not None}
    return " and ".join(sorted(found)) or None


def _region_work(graph: Graph) -> Work:
    """Count every node's operations, and only what enters and leaves the region as traffic."""
    flops = 0.0
    for _, node in graph.numbered():
        if isinstance(node.op, Op):
            specs = tuple(None if i is None else graph.specs[i] for i in node.inputs)
            flops += node.op.work(specs, node.outputs, dict(node.attributes)).flops
    moved = [*graph.inputs, *(graph.specs[i] for i in graph.outputs)]
    return Work(flops, float(sum(math.prod(s.shape) * s.dtype.itemsize for s in moved)))


def _plan_metadata(
    op: Metadata, node: Node, operands: Signatures, device: Device, tables: Tables[Settings]
) -> tuple[Any, Signature, Decision | None]:
    sig = operands[0]
    if sig is None:
        raise PluginError(f"metadata op {op.name} has no operand; this is a fault of opmux itself, please report it")
    made = op.apply(stand_in(sig), *node.arguments)
    copy = None
    if made is None:
        copy = decide(OPS[COPY], (sig,), (), device, tables)
        made = op.apply(stand_in(copy.outputs[0]), *node.arguments)
    if made is None:
        raise PluginError(f"metadata op {op.name} has no view of a contiguous array; this is a fault of opmux itself")
    return metadata_step(op, node.arguments, copy), made._sig, copy
