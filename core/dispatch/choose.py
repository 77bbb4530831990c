"""The dispatcher: from a signature to a decision."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from ..arrays.array import Array
from ..arrays.views import broadcast_strides
from ..devices.device import DEVICES, Device
from ..errors import UnsupportedError
from ..graphs.trace import ConcreteValueNeededError, Tracer, capture
from ..kernel import ArraySpec, CallSpec, Determinism, Kernel, Reason, Rejection
from ..op import CAST, OPS, Inferred, Op
from ..signature import Signature, signature
from .candidates import KernelCall, cheapest_ready, kernel_candidate, rank
from .decision import Candidate, Claim, Decision, Kind
from .eligibility import binding_order, check_repetition
from .execute import fallback_runner
from .fallback import counted
from .policy import Settings
from .registry import REGISTRY
from .tables import Tables, exact, slot_of

Signatures = tuple["Signature | None", ...]
Pairs = tuple[tuple[str, Any], ...]


def spec_of(sig: Signature | None) -> ArraySpec | None:
    """Return the logical part of a signature."""
    return None if sig is None else ArraySpec(sig.dtype, sig.shape)


def decide(op: Op, inputs: Signatures, attributes: Pairs, device: Device, tables: Tables[Settings]) -> Decision:
    """Return the decision for a call; the tables answer what they have answered before.

    Raises:
        UnsupportedError: when nothing that is installed and allowed can do it; ``reasons`` says why.
        ShapeError, DTypeError, ArgumentError: when the op's rules do not allow the call.
    """
    key = (op, inputs, exact(attributes) if attributes else (), device)
    found = tables.memo.get(key)
    if found is None:
        found = _decide(op, inputs, attributes, device, tables)
        tables.remember(key, found)
    return found


def _decide(op: Op, inputs: Signatures, attributes: Pairs, device: Device, tables: Tables[Settings]) -> Decision:
    inferred = op.infer(op.name, tuple(spec_of(s) for s in inputs), dict(attributes))
    if any(t is not None and s is not None and s.dtype is not t for t, s in zip(inferred.casts, inputs, strict=False)):
        return _decide_with_casts(op, inputs, inferred, device, tables)
    planner = Planner(op, inputs, inferred, device, tables)
    return planner.decision(planner.candidates(), tuple(sorted(inferred.attributes.items())))


def _decide_with_casts(
    op: Op, inputs: Signatures, inferred: Inferred, device: Device, tables: Tables[Settings]
) -> Decision:
    """Decide the casts and the op after them; whichever candidate does the op, the casts are paid for."""
    from ..graphs.plans import plan_nodes  # plans are made of decisions, and here a decision of a plan

    specs = [spec_of(s) for s in inputs]
    tracer = Tracer(device, [s for s in specs if s is not None])
    stand_ins = iter(tracer.inputs())
    operands: list[Array | None] = [None if s is None else next(stand_ins) for s in specs]
    graph = tracer.freeze(tracer.record_call(op, operands, inferred, OPS[CAST]))
    plan = plan_nodes(graph, tuple(s for s in inputs if s is not None), device, tables)
    last = plan.parts[-1]
    casts = sum(p.cost.total for p in plan.parts[:-1])
    candidates = tuple(
        replace(c, cost=None if c.cost is None else replace(c.cost, copies=c.cost.copies + casts))
        for c in last.candidates
    )
    chosen = replace(candidates[0], parts=plan.parts, run=plan.run)
    return Decision(
        op, device, inputs, last.attributes, last.outputs, (chosen, *candidates[1:]), chosen, plan.run, many=last.many
    )


def _strangers(op: Op, settings: Settings) -> str:
    """Return what to say of backends that the policy names and that are not there."""
    pin = settings.pin(op.name)
    named = {*(settings.backends or ()), *(() if pin is None else (pin,))}
    missing = sorted(named - set(REGISTRY.contributions))
    if not missing:
        return ""
    there = ", ".join(sorted(name for name, c in REGISTRY.contributions.items() if c.kernels)) or "none"
    return f"the policy names {', '.join(missing)}, which is no usable backend (usable: {there}); "


def unsupported(
    op: Op, inputs: Signatures, device: Device, candidates: Sequence[Candidate], settings: Settings
) -> UnsupportedError:
    """Return the error that says why every candidate was refused, or that there is none."""
    shown = ", ".join("none" if s is None else str(s) for s in inputs)
    if candidates:
        reasons = "; ".join(f"{c.name}: {c.rejection.reason} ({c.rejection.detail})" for c in candidates if c.rejection)
    else:
        kinds = REGISTRY.device_kinds(op.name)
        reasons = f"no backend brings a kernel for device kind {device.kind!r}"
        reasons += f"; kernels exist for {', '.join(kinds)}" if kinds else ""
    return UnsupportedError(
        f"{op.name}({shown}) cannot run on {device}: {_strangers(op, settings)}{reasons}. "
        f"`opmux doctor` shows which backends are usable",
        op=op.name,
        device=device.name,
        reasons={c.name: c.rejection for c in candidates if c.rejection},
    )


def decision_of(
    op: Op, inputs: Signatures, attributes: Pairs, outputs: tuple[Signature, ...], device: Device,
    candidates: Sequence[Candidate], settings: Settings, *, many: bool,
) -> Decision:  # fmt: skip
    """Return the decision among candidates.

    Raises:
        UnsupportedError: when none is eligible.
    """
    ranked = sorted(candidates, key=rank)
    chosen = ranked[0] if ranked and ranked[0].rejection is None else None
    if chosen is None or chosen.run is None:
        raise unsupported(op, inputs, device, candidates, settings)
    made = chosen.outputs or outputs
    return Decision(op, device, inputs, attributes, made, tuple(ranked), chosen, chosen.run, many=many)


class Planner:
    """Collects the candidates of one call."""

    def __init__(
        self, op: Op, inputs: Signatures, inferred: Inferred, device: Device, tables: Tables[Settings]
    ) -> None:
        self.op, self.inputs, self.inferred, self.device, self.tables = op, inputs, inferred, device, tables
        self.settings = tables.settings
        self.outputs = tuple(signature(device, o.dtype, o.shape) for o in inferred.outputs)
        work = op.work(tuple(spec_of(s) for s in inputs), inferred.outputs, inferred.attributes)
        check_repetition(op.name, inputs, work.flops, device)
        ready = tuple(self._ready_signature(s) for s in inputs)
        self.spec = CallSpec(op.name, ready, self.outputs, inferred.attributes, self.settings.contract)
        self._call = KernelCall(op, self.spec, work, device, inputs, inferred.broadcast)

    def candidates(self) -> list[Candidate]:
        """Return every candidate.

        A primitive's decomposition is weighed only where no kernel is eligible: it moves each intermediate through
        memory, so it never beats a kernel that works. Another device is asked only where this one has nothing.
        """
        kernels = REGISTRY.kernels(self.op.name, self.device.kind)
        bound = self._bound_order(kernels)
        found = cheapest_ready(self.kernel(b, k, bound) for b, k in kernels)
        eligible = any(c.rejection is None for c in found)
        if self.op.decomposition is not None and not (self.op.primitive and eligible):
            found.append(self.decomposition())
            eligible = eligible or found[-1].rejection is None
        if not eligible and not self.device.is_host:
            found.append(self.fallback())
        return found

    def decision(self, candidates: list[Candidate], attributes: Pairs) -> Decision:
        """Return the decision among candidates.

        Raises:
            UnsupportedError: when none is eligible.
        """
        return decision_of(
            self.op, self.inputs, attributes, self.outputs, self.device, candidates, self.settings,
            many=len(self.outputs) > 1,
        )  # fmt: skip

    def _ready_signature(self, sig: Signature | None) -> Signature | None:
        """Return an operand's signature after broadcasting."""
        target = self.inferred.broadcast
        if sig is None or target is None or sig.shape == target:
            return sig
        strides = broadcast_strides(sig.shape, sig.strides, target, where=self.op.name)
        return signature(sig.device, sig.dtype, target, strides, sig.aligned)

    def _bound_order(self, kernels: tuple[tuple[str, Kernel], ...]) -> str | None:
        """Return the order that binds this call, chosen once per op, dtype and device; None where none does."""
        demanded = self.settings.determinism
        if demanded not in (Determinism.THREADS, Determinism.BATCH) or self.op.gives_every_bit(self.spec):
            return None
        dtypes = tuple(s.dtype for s in self.spec.arrays)
        key = (self.op, dtypes, self.device)
        if key not in self.tables.orders:
            self.tables.orders[key] = binding_order(self.op, kernels, self.spec, self.device, self.settings)
        return self.tables.orders[key]

    def kernel(self, backend: str, kernel: Kernel, bound: str | None = None) -> Candidate:
        """Return the candidate for one kernel, priced and not yet prepared, or the reason against it."""
        return kernel_candidate(self._call, backend, kernel, self.tables, bound)

    def decomposition(self) -> Candidate:
        """Return the candidate that runs the op's decomposition, every part of it on this device."""
        from ..graphs.plans import plan_graph  # plans are made of decisions, and here a decision of a plan

        def no(reason: Reason, detail: str) -> Candidate:
            return Candidate("decomposition", Kind.DECOMPOSITION, rejection=Rejection(reason, detail))

        if self.settings.max_ulp is not None:
            return no(Reason.ACCURACY, "a decomposition promises no bound of its own")
        if "decomposition-reorders" in self.op.facts and self.settings.determinism is Determinism.CANONICAL:
            return no(Reason.DETERMINISM, "it combines terms in another order than the canonical one")
        pin = self.settings.pin(self.op.name)
        if pin is not None:
            return no(Reason.POLICY_PIN, f"{self.op.name} is pinned to {pin}")
        decomposition = self.op.decomposition
        if decomposition is None:
            return no(Reason.NO_DECOMPOSITION, "the op has none")
        specs = tuple(spec_of(s) for s in self.inputs)
        # A part that fell back would move its operands for every step: the whole call falls back instead.
        at_home = slot_of(replace(self.settings, fallback="forbid")).tables
        try:
            graph, _ = capture(decomposition, self.device, specs, self.inferred.attributes)
            plan = plan_graph(graph, tuple(s for s in self.inputs if s is not None), self.device, at_home)
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
        if self.settings.fallback == "forbid":
            return Candidate(
                name, Kind.FALLBACK, rejection=Rejection(Reason.POLICY_FALLBACK, "the policy forbids fallbacks")
            )
        moved = tuple(None if s is None else signature(host, s.dtype, s.shape) for s in self.inputs)
        try:
            inner = decide(self.op, moved, tuple(sorted(self.inferred.attributes.items())), host, self.tables)
        except UnsupportedError as error:
            return Candidate(name, Kind.FALLBACK, rejection=Rejection(Reason.PART_UNSUPPORTED, str(error)))
        # Every operand and result is one copy between memories, launched and carried by the slower of the two.
        moves = [s for s in (*self.inputs, *self.outputs) if s is not None]
        transfers = sum(
            self.device.rates.launch
            + s.nbytes / min(host.rates.bandwidth_at(s.nbytes), self.device.rates.bandwidth_at(s.nbytes))
            for s in moves
        )
        run = counted(fallback_runner(self.device, host, inner), self.op.name, self.device, host)
        cost = replace(inner.cost, transfers=transfers)
        return Candidate(name, Kind.FALLBACK, inner.chosen.backend, cost=cost, parts=(inner,), run=run)


_CLAIM_ORDER = {Claim.REFUTED: 0, Claim.DECLARED: 1, Claim.SHOWN: 2}
