"""The dispatcher: from a signature to a decision."""

from __future__ import annotations

import functools
import math
from typing import Any

from .array import Array
from .cost import kernel_cost, sum_costs
from .decision import Candidate, Claim, Cost, Decision, Kind, Operands, Run
from .device import DEVICES, Device
from .eligibility import (
    claim_of,
    needs_copy,
    rejection_by_contract,
    rejection_by_facts,
    rejection_by_policy,
)
from .errors import OpmuxError, PluginError, UnsupportedError
from .execute import Step, decided_step, fallback_runner, graph_runner, kernel_runner, metadata_step
from .fallback import counted
from .graph import Graph, Metadata, Node
from .kernel import ArraySpec, CallSpec, Determinism, Kernel, Prepared, Reason, Rejection
from .op import CAST, COPY, OPS, Inferred, Op, Work
from .policy import Policy
from .regions import Segment, cut, inlined
from .registry import REGISTRY
from .signature import Signature, signature
from .trace import ConcreteValueNeededError, Tracer, capture
from .views import broadcast_strides

Signatures = tuple["Signature | None", ...]
Pairs = tuple[tuple[str, Any], ...]


def spec_of(sig: Signature | None) -> ArraySpec | None:
    """Return the logical part of a signature."""
    return None if sig is None else ArraySpec(sig.dtype, sig.shape)


def decide(op: Op, inputs: Signatures, attributes: Pairs, device: Device, policy: Policy) -> Decision:
    """Return the decision for a call; a memo of the policy answers what it has answered before.

    Raises:
        UnsupportedError: when nothing that is installed and allowed can do it; ``candidates`` says why.
        ShapeError, DTypeError, ArgumentError: when the op's rules do not allow the call.
    """
    key = (op, inputs, attributes, device)
    found = policy.memo.get(key)
    if found is None:
        found = _decide(op, inputs, attributes, device, policy)
        policy.memo[key] = found
    return found


def _decide(op: Op, inputs: Signatures, attributes: Pairs, device: Device, policy: Policy) -> Decision:
    inferred = op.infer(op.name, tuple(spec_of(s) for s in inputs), dict(attributes))
    if any(t is not None and s is not None and s.dtype is not t for t, s in zip(inferred.casts, inputs, strict=False)):
        return _decide_with_casts(op, inputs, inferred, device, policy)
    planner = _Planner(op, inputs, inferred, device, policy)
    candidates = planner.candidates()
    ranked = sorted(candidates, key=_rank)
    chosen = ranked[0] if ranked and ranked[0].rejection is None else None
    if chosen is None or chosen.run is None:
        raise _unsupported(op, inputs, device, tuple(candidates))
    return Decision(
        op, device, inputs, tuple(sorted(inferred.attributes.items())), chosen.outputs or planner.outputs, tuple(ranked),
        chosen, chosen.run, many=len(planner.outputs) > 1,
    )  # fmt: skip


def _rank(candidate: Candidate) -> tuple[bool, float, int, str]:
    """Order candidates: eligible, cheapest, highest priority, first name. Stable for equal inputs and records."""
    cost = candidate.cost.total if candidate.cost is not None else float("inf")
    priority = candidate.kernel.priority if candidate.kernel is not None else 0
    return candidate.rejection is not None, cost, -priority, candidate.name


def _decide_with_casts(op: Op, inputs: Signatures, inferred: Inferred, device: Device, policy: Policy) -> Decision:
    specs = [spec_of(s) for s in inputs]
    tracer = Tracer(device, [s for s in specs if s is not None])
    stand_ins = iter(tracer.inputs())
    operands: list[Array | None] = [None if s is None else next(stand_ins) for s in specs]
    graph = tracer.freeze(tracer.record_call(op, operands, inferred, OPS[CAST]))
    plan = _plan_nodes(graph, tuple(s for s in inputs if s is not None), device, policy)
    last = plan.parts[-1]
    casts = sum_costs([p.cost for p in plan.parts[:-1]])
    own = last.cost
    cost = Cost(own.launch, own.compute, own.memory, own.copies + casts.total, own.transfers, own.source)
    chosen = Candidate(
        last.chosen.name, last.chosen.kind, last.chosen.backend, last.chosen.kernel, last.chosen.prepared,
        last.chosen.spec, None, cost, last.chosen.claim, last.chosen.copies, plan.parts, plan.run,
    )  # fmt: skip
    others = tuple(c for c in last.candidates if c is not last.chosen)
    return Decision(
        op, device, inputs, last.attributes, last.outputs, (chosen, *others), chosen, plan.run, many=last.many
    )


def _unsupported(op: Op, inputs: Signatures, device: Device, candidates: tuple[Candidate, ...]) -> UnsupportedError:
    shown = ", ".join("none" if s is None else str(s) for s in inputs)
    if candidates:
        reasons = "; ".join(f"{c.name}: {c.rejection.reason} ({c.rejection.detail})" for c in candidates if c.rejection)
    else:
        kinds = REGISTRY.device_kinds(op.name)
        reasons = f"no backend brings a kernel for device kind {device.kind!r}"
        reasons += f"; kernels exist for {', '.join(kinds)}" if kinds else ""
    return UnsupportedError(
        f"{op.name}({shown}) cannot run on {device}: {reasons}. `opmux doctor` shows which backends are usable",
        op=op.name,
        device=device.name,
        reasons={c.name: c.rejection for c in candidates if c.rejection},
    )


class _Planner:
    """Collects the candidates of one call."""

    def __init__(self, op: Op, inputs: Signatures, inferred: Inferred, device: Device, policy: Policy) -> None:
        self.op, self.inputs, self.inferred, self.device, self.policy = op, inputs, inferred, device, policy
        self.outputs = tuple(signature(device, o.dtype, o.shape) for o in inferred.outputs)
        self.work = op.work(tuple(spec_of(s) for s in inputs), inferred.outputs, inferred.attributes)

    def candidates(self) -> list[Candidate]:
        """Return every candidate. A primitive's decomposition is weighed only where no kernel is eligible: it
        moves each intermediate through memory, so it never beats a kernel that works.
        """
        found = [self.kernel(b, k) for b, k in REGISTRY.kernels(self.op.name, self.device.kind)]
        eligible = any(c.rejection is None for c in found)
        if self.op.decomposition is not None and not (self.op.primitive and eligible):
            found.append(self.decomposition())
            eligible = eligible or found[-1].rejection is None
        if not eligible and not self.device.is_host:
            found.append(self.fallback())
        return found

    def ready_signature(self, sig: Signature | None) -> Signature | None:
        """Return an operand's signature after broadcasting."""
        target = self.inferred.broadcast
        if sig is None or target is None or sig.shape == target:
            return sig
        strides = broadcast_strides(sig.shape, sig.strides, target, where=self.op.name)
        return signature(sig.device, sig.dtype, target, strides, sig.aligned)

    def kernel(self, backend: str, kernel: Kernel) -> Candidate:
        """Return the candidate for one kernel, eligible or not."""
        name = f"{backend}/{kernel.name}"
        version = REGISTRY.contributions[backend].version
        ready = tuple(self.ready_signature(s) for s in self.inputs)
        spec = CallSpec(self.op.name, ready, self.outputs, self.inferred.attributes, self.policy.contract)
        claim, worst = claim_of(backend, version, kernel, spec, self.device)

        def no(rejection: Rejection) -> Candidate:
            return Candidate(name, Kind.KERNEL, backend, kernel, None, spec, rejection, claim=claim)

        rejection = (
            rejection_by_policy(self.op.name, backend, self.policy)
            or rejection_by_facts(kernel, spec, self.device)
            or rejection_by_contract(kernel, spec, claim, worst, self.policy)
        )
        if rejection is not None:
            return no(rejection)
        copies: list[tuple[int, Decision]] = []
        for i, sig in enumerate(ready):
            if sig is not None and needs_copy(kernel, sig):
                if self.op.name == COPY:
                    return no(Rejection(Reason.LAYOUT, "it takes only contiguous operands, and it is the copy itself"))
                try:
                    copies.append((i, decide(OPS[COPY], (sig,), (), self.device, self.policy)))
                except UnsupportedError as error:
                    return no(Rejection(Reason.LAYOUT, f"operand {i} needs a dense copy: {error}"))
        dense = tuple(
            signature(s.device, s.dtype, s.shape) if s is not None and any(i == k for k, _ in copies) else s
            for i, s in enumerate(ready)
        )
        spec = CallSpec(self.op.name, dense, self.outputs, self.inferred.attributes, self.policy.contract)
        try:
            prepared: object = kernel.prepare(spec)
        except OpmuxError as error:
            return no(Rejection(Reason.PREPARE_FAILED, str(error)))
        except Exception as error:  # a vendor's code: its fault costs its kernel, not the call
            return no(Rejection(Reason.PREPARE_FAILED, f"prepare raised {error!r}"))
        if isinstance(prepared, Rejection):
            return no(prepared)
        if not isinstance(prepared, Prepared):
            return no(Rejection(Reason.PREPARE_FAILED, f"prepare returned {prepared!r}, not Prepared or Rejection"))
        own = kernel_cost(kernel, spec, self.work, self.device)
        cost = Cost(own.launch, own.compute, own.memory, sum(d.cost.total for _, d in copies), 0.0, own.source)
        run = kernel_runner(
            self.device, backend, kernel.name, self.op.name, prepared, self.outputs, self.inferred.broadcast,
            self.inputs, tuple(copies),
        )  # fmt: skip
        return Candidate(
            name, Kind.KERNEL, backend, kernel, prepared, spec, None, cost, claim, copies=tuple(copies), run=run
        )

    def decomposition(self) -> Candidate:
        """Return the candidate that runs the op's decomposition op by op."""

        def no(reason: Reason, detail: str) -> Candidate:
            return Candidate("decomposition", Kind.DECOMPOSITION, rejection=Rejection(reason, detail))

        if self.policy.max_ulp is not None:
            return no(Reason.ACCURACY, "a decomposition promises no bound of its own")
        if "decomposition-reorders" in self.op.facts and self.policy.determinism is Determinism.CANONICAL:
            return no(Reason.DETERMINISM, "it combines terms in another order than the canonical one")
        decomposition = self.op.decomposition
        if decomposition is None:
            return no(Reason.NO_DECOMPOSITION, "the op has none")
        specs = tuple(spec_of(s) for s in self.inputs)
        try:
            graph, _ = capture(decomposition, self.device, specs, self.inferred.attributes)
            given = tuple(s for s in self.inputs if s is not None)
            plan = plan_graph(graph, given, self.device, self.policy)
        except ConcreteValueNeededError as error:
            return no(Reason.NO_DECOMPOSITION, str(error))
        except UnsupportedError as error:
            return no(Reason.PART_UNSUPPORTED, str(error))
        return Candidate(
            "decomposition", Kind.DECOMPOSITION, cost=plan.cost, parts=plan.parts, run=plan.run, outputs=plan.outputs,
            claim=min((p.chosen.claim for p in plan.parts), key=_CLAIM_ORDER.__getitem__, default=Claim.SHOWN),
        )  # fmt: skip

    def fallback(self) -> Candidate:
        """Return the candidate that runs on the host instead."""
        host = DEVICES.find("cpu:0")
        name = f"fallback to {host}"
        if self.policy.fallback == "forbid":
            return Candidate(
                name, Kind.FALLBACK, rejection=Rejection(Reason.POLICY_FALLBACK, "the policy forbids fallbacks")
            )
        moved = tuple(None if s is None else signature(host, s.dtype, s.shape) for s in self.inputs)
        try:
            inner = decide(self.op, moved, tuple(sorted(self.inferred.attributes.items())), host, self.policy)
        except UnsupportedError as error:
            return Candidate(name, Kind.FALLBACK, rejection=Rejection(Reason.PART_UNSUPPORTED, str(error)))
        nbytes = sum(s.nbytes for s in (*self.inputs, *self.outputs) if s is not None)
        transfers = nbytes / host.rates.bandwidth_at(nbytes)
        cost = Cost(inner.cost.launch, inner.cost.compute, inner.cost.memory, inner.cost.copies, transfers)
        run = counted(fallback_runner(self.device, host, inner.chosen), self.op.name, self.device, host)
        return Candidate(name, Kind.FALLBACK, inner.chosen.backend, cost=cost, parts=(inner,), run=run)


_CLAIM_ORDER = {Claim.REFUTED: 0, Claim.DECLARED: 1, Claim.SHOWN: 2}


class Plan:
    """A graph with a decision for every node."""

    def __init__(self, parts: tuple[Decision, ...], run: Run, outputs: tuple[Signature, ...]) -> None:
        self.parts, self.run, self.outputs = parts, run, outputs

    @functools.cached_property
    def cost(self) -> Cost:
        """The sum over the nodes."""
        return sum_costs([p.cost for p in self.parts])


def plan_graph(graph: Graph, inputs: tuple[Signature, ...], device: Device, policy: Policy) -> Plan:
    """Decide a graph for given input signatures; nothing is looked up when it runs.

    Where a backend compiles regions for this device, the graph is cut into regions, and each is weighed against its
    ops one by one.

    Raises:
        UnsupportedError: naming the node that nothing can do.
    """
    compilers = REGISTRY.compilers(device.kind)
    if compilers and len(graph.nodes) > 1:
        flat = inlined(graph, device)
        segments = cut(flat, compilers, device)
        if any(s.kernels for s in segments):
            return _plan_segments(flat, segments, inputs, device, policy)
    return _plan_nodes(graph, inputs, device, policy)


def _plan_nodes(graph: Graph, inputs: tuple[Signature, ...], device: Device, policy: Policy) -> Plan:
    signatures: list[Signature] = [*inputs, *(c._sig for c in graph.constants)]
    steps: list[Step] = []
    parts: list[Decision] = []
    for first, node in graph.numbered():
        operands = tuple(None if i is None else signatures[i] for i in node.inputs)
        if isinstance(node.op, Metadata):
            step, made, copy = _plan_metadata(node.op, node, operands, device, policy)
            if copy is not None:
                parts.append(copy)
            signatures.append(made)
        else:
            decision = decide(node.op, operands, node.attributes, device, policy)
            step = decided_step(decision)
            parts.append(decision)
            signatures.extend(decision.outputs)
        steps.append((step, node.inputs, tuple(range(first, first + len(node.outputs)))))
    return Plan(tuple(parts), graph_runner(graph, steps), tuple(signatures[i] for i in graph.outputs))


def _plan_segments(
    graph: Graph, segments: list[Segment], inputs: tuple[Signature, ...], device: Device, policy: Policy
) -> Plan:
    known = dict(enumerate((*inputs, *(c._sig for c in graph.constants))))
    steps: list[Step] = []
    parts: list[Decision] = []
    for segment in segments:
        given = tuple(known[i] for i in segment.inputs)
        plan = _plan_nodes(segment.graph, given, device, policy)
        if segment.kernels:
            decision = _decide_region(segment, given, plan, device, policy)
            made, run = decision.outputs, decision.run
            parts.append(decision)
        else:
            made, run = plan.outputs, plan.run
            parts.extend(plan.parts)
        known.update(zip(segment.outputs, made, strict=True))
        steps.append((functools.partial(_run_alone, run), segment.inputs, segment.outputs))
    return Plan(tuple(parts), graph_runner(graph, steps), tuple(known[i] for i in graph.outputs))


def _run_alone(run: Run, operands: Operands) -> Operands:
    return run(operands, None)


def _decide_region(
    segment: Segment, inputs: tuple[Signature, ...], one_by_one: Plan, device: Device, policy: Policy
) -> Decision:
    """Weigh the kernels of a region against its ops one by one."""
    graph = segment.graph
    specs = tuple(graph.specs[i] for i in graph.outputs)
    op = Op(f"region:{graph.digest[:12]}", (), _no_rule, lambda given, outputs, attributes: _region_work(graph))
    planner = _Planner(op, inputs, Inferred(specs, {}), device, policy)
    separate = Candidate(
        "op by op", Kind.DECOMPOSITION, cost=one_by_one.cost, parts=one_by_one.parts, run=one_by_one.run,
        outputs=one_by_one.outputs,
    )  # fmt: skip
    ranked = sorted([*(planner.kernel(b, k) for b, k in segment.kernels), separate], key=_rank)
    chosen = ranked[0]
    if chosen.run is None:
        raise _unsupported(op, inputs, device, tuple(ranked))
    return Decision(
        op, device, inputs, (), chosen.outputs or planner.outputs, tuple(ranked), chosen, chosen.run,
        many=len(specs) > 1,
    )  # fmt: skip


def _no_rule(name: str, specs: Any, attributes: Any) -> Inferred:
    raise PluginError(f"{name} is a compiled region and has no rule of its own; this is a fault of opmux itself")


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
    op: Metadata, node: Node, operands: Signatures, device: Device, policy: Policy
) -> tuple[Any, Signature, Decision | None]:
    sig = operands[0]
    if sig is None:
        raise PluginError(f"metadata op {op.name} has no operand; this is a fault of opmux itself, please report it")
    made = op.apply(stand_in(sig), *node.arguments)
    copy = None
    if made is None:
        copy = decide(OPS[COPY], (sig,), (), device, policy)
        made = op.apply(stand_in(copy.outputs[0]), *node.arguments)
    if made is None:
        raise PluginError(f"metadata op {op.name} has no view of a contiguous array; this is a fault of opmux itself")
    return metadata_step(op, node.arguments, copy), made._sig, copy


def stand_in(sig: Signature) -> Array:
    """Return an array of this signature without memory, to learn the signature of a view of it."""
    return Array(None, sig)  # type: ignore[arg-type]
