"""Both sides of a backend's claims: what it declares it must do, what it can do it should declare, what it promises it
must be able to keep.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np

from ....core.arrays.array import Array
from ....core.arrays.metadata import SLICE, apply, reshape
from ....core.devices.device import Device
from ....core.dispatch.candidates import ready
from ....core.dispatch.choose import Planner, spec_of
from ....core.dispatch.eligibility import rejection_by_facts
from ....core.dispatch.policy import current
from ....core.dispatch.registry import REGISTRY
from ....core.dtypes import COMPLEX, REAL, DType
from ....core.errors import ConformanceError, OpmuxError
from ....core.kernel import CANONICAL_ORDER, Determinism, Kernel, Reason
from ....core.op import Op
from ....opset.accuracy import Ulp
from ....opset.declare import declaration_of
from ...oracle.expect import completed, infer, with_optional
from ...oracle.formats import Host
from ...performance.candidates import runnable
from ...target import Findings, RefusedError, Target, UnderClaimError, dense, leaves
from ..case import OpCheck, OpContext
from ..samples.sample import Sample

#: A kernel that takes a dtype for another one of up to 16 bytes stays within this many times its operands and results.
_MARGIN = 17
#: How many samples an undeclared kernel must get right before it counts as working.
_ENOUGH = 3
#: Elements of such a sample.
_MOST = 1 << 14


def family(op: Op, t: DType, context: OpContext) -> Iterator[tuple[str, str, OpCheck]]:
    """Yield the claims of an op and dtype."""
    yield "claims", "declared", _declared(t, context)
    yield "claims", "undeclared", _undeclared(t, context)
    yield "claims", "promises", kept_promises(t)
    if isinstance(declaration_of(op).accuracy, Ulp) and t.kind in (REAL, COMPLEX):
        yield "claims", "max-ulp", _max_ulp(t, context)


def kernels_of(target: Target, op: Op) -> list[Kernel]:
    """Return the backend's kernels for an op on the device."""
    return [k for b, k in REGISTRY.kernels(op.name, target.device.kind) if b == target.backend]


def declares(kernel: Kernel, t: DType) -> bool:
    """Return whether a kernel declares a dtype of the leading operand."""
    return kernel.accepts.leads_with(t.name)


def _declared(t: DType, context: OpContext) -> OpCheck:
    """A declared dtype is served: some sample runs on a kernel that declares it."""

    def check(target: Target, op: Op, findings: Findings) -> None:
        mine = [k.name for k in kernels_of(target, op) if k.accepts.dtypes and declares(k, t)]
        if not mine:
            raise RefusedError(f"no kernel declares {op.name} on {t}")
        why = ""
        for sample in _tried(context):
            try:
                decision = target.decide(op, target.upload(sample.operands), sample.attributes)
            except RefusedError as error:
                why = why or str(error)
                continue
            ran = [leaf for c in runnable(decision) if c.rejection is None for leaf in leaves(c)]
            if any(leaf.kernel is not None and leaf.kernel.op == op.name for leaf in ran):
                findings.held()
                return
            why = why or next((f"{c.name}: {c.rejection.detail}" for c in decision.candidates if c.rejection), "")
        raise ConformanceError(
            f"{target.backend}/{mine[0]}: it declares {t} for {op.name} and declines it: {why}; declare what is served",
            op=op.name,
            kernel=f"{target.backend}/{mine[0]}",
        )

    return check


def _tried(context: OpContext) -> list[Sample]:
    """Return samples from which a kernel may choose: the base one first, then every other."""
    return sorted(context.samples, key=lambda s: (not s.base, _size(s)))


def _undeclared(t: DType, context: OpContext) -> OpCheck:
    """A dtype that no kernel takes is asked for all the same; a kernel that then works should declare it."""

    def check(target: Target, op: Op, findings: Findings) -> None:
        chosen = _distinct(context)
        for kernel in kernels_of(target, op):
            if declares(kernel, t):
                continue
            worked = 0
            for sample in chosen:
                if _served(target, op, sample) or not _works(target, op, kernel, sample, context):
                    break
                worked += 1
            if worked and worked == len(chosen):
                raise UnderClaimError(
                    f"{target.backend}/{kernel.name} does not declare {t} for {op.name}, and {worked} samples of it "
                    f"come out right: declare it, and it will be used"
                )
        findings.held()

    return check


def _distinct(context: OpContext) -> list[Sample]:
    """Return a few samples with values, large ones but none that takes long."""
    full = [s for s in context.samples if all(x is None or x.size for x in s.operands)]
    return [s for s in sorted(full, key=_size) if _size(s) < _MOST][-_ENOUGH:]


def _size(sample: Sample) -> int:
    return sum(x.size for x in sample.operands if x is not None)


def _served(target: Target, op: Op, sample: Sample) -> bool:
    """Return whether a kernel for the op takes the sample as declared, casts put before it or not."""
    planner = _planner(target, op, target.upload(sample.operands), sample)
    return planner is None or any(
        rejection_by_facts(k, planner.spec, target.device) is None for k in kernels_of(target, op)
    )


def _planner(target: Target, op: Op, arrays: Sequence[Array | None], sample: Sample) -> Planner | None:
    """Return what prepares kernels for a call; None where the operands are cast first, or there is no device."""
    operands = with_optional(op, sample.operands)
    try:
        inferred = infer(op, operands, sample.attributes)
    except OpmuxError:
        return None
    given = [*arrays, *(None,) * (len(operands) - len(arrays))]
    signatures = tuple(None if x is None else x._sig for x in given)
    specs = tuple(spec_of(s) for s in signatures)
    inferred = op.infer(op.name, specs, completed(op, sample.attributes))
    casts = zip(inferred.casts, signatures, strict=False)
    if op.creates or any(c is not None and s is not None and s.dtype is not c for c, s in casts):
        return None
    return Planner(op, signatures, inferred, target.device, current().slot.tables)


def _works(target: Target, op: Op, kernel: Kernel, sample: Sample, context: OpContext) -> bool:
    """Return whether a kernel gets a sample right whose dtype it does not declare.

    It is asked by its ``prepare`` first, and any exception is a refusal. What it then computes lies within memory of
    its own with room on both sides, since it may take the elements for wider ones.
    """
    arrays = [None if x is None else _roomy(x, target.device) for x in sample.operands]
    planner = _planner(target, op, arrays, sample)
    if planner is None:
        return False
    found = rejection_by_facts(kernel, planner.spec, target.device)
    if found is None or found.reason is not Reason.DTYPE:
        return False
    lifted = replace(kernel, accepts=replace(kernel.accepts, dtypes=()))
    candidate = ready(planner.kernel(target.backend, lifted))
    if candidate.rejection is not None or candidate.run is None or len(planner.outputs) != 1:
        return False
    (out,) = planner.outputs
    into = dense(np.full(max(out.nbytes, 64) * _MARGIN, 0xA5, np.uint8), target.device)
    try:
        (made,) = candidate.run(arrays, into._buffer)
        context.once(sample)().on(flushes=target.device.info.flushes_subnormals)(np.asarray(made.numpy()))
    except Exception:  # it does not declare this, so it may fail in any way
        return False
    return True


def _roomy(x: Host, device: Device) -> Array:
    """Upload with room behind for elements of any width."""
    line = np.resize(x.reshape(-1), (x.size * _MARGIN,)) if x.size else x.reshape(-1)
    whole = dense(line, device)
    return reshape(apply(SLICE, whole, (0,), (x.size,), (1,)), x.shape)


def kept_promises(t: DType) -> OpCheck:
    """What a kernel promises can be kept at all: on this device, in this order, within the op's own bound."""

    def check(target: Target, op: Op, findings: Findings) -> None:
        mine = [k for k in kernels_of(target, op) if declares(k, t)]
        if not mine:
            raise RefusedError(f"no kernel declares {op.name} on {t}")
        for kernel in mine:
            for fault in _impossible(kernel, op, t, flushes=target.device.info.flushes_subnormals):
                raise ConformanceError(
                    f"{target.backend}/{kernel.name}: {fault}", op=op.name, kernel=f"{target.backend}/{kernel.name}"
                )
            findings.held()

    return check


def _impossible(kernel: Kernel, op: Op, t: DType, *, flushes: bool) -> Iterator[str]:
    promises, rule = kernel.promises, declaration_of(op).accuracy
    if promises.determinism is Determinism.CANONICAL and not op.settled(t):
        if promises.order != CANONICAL_ORDER:
            yield f"it promises the canonical class in the order {promises.order!r}, which is not the canonical one"
        if flushes and t.kind in (REAL, COMPLEX):
            yield "it promises the canonical class on a device that flushes subnormals: promise batch at most"
    elif promises.determinism.value >= Determinism.THREADS.value and promises.order is None and not op.settled(t):
        yield (
            f"it promises {promises.determinism.name.lower()} and names no order, so that calls cannot be bound to it: "
            f"give Promises an order of the backend's own"
        )
    bound = promises.max_ulp.get(t.name)
    if bound is None:
        return
    if not bound >= 0:
        yield f"it promises an error of {bound} ULP on {t}, which nothing keeps"
    elif isinstance(rule, Ulp) and t.name in rule.bounds and bound > rule.bound(t.name):
        yield f"it promises {bound:g} ULP on {t}, and the op demands {rule.bound(t.name):g}"


def _max_ulp(t: DType, context: OpContext) -> OpCheck:
    """A promised largest error holds over every sample."""

    def check(target: Target, op: Op, findings: Findings) -> None:
        bounds = {f"{target.backend}/{k.name}": k.promises.max_ulp.get(t.name) for k in kernels_of(target, op)}
        promised = {name: bound for name, bound in bounds.items() if bound is not None}
        if not promised:
            raise RefusedError(f"no kernel promises a largest error for {op.name} on {t}")
        for sample in context.samples:
            with_samples = Findings()
            target.run(op, target.upload(sample.operands), sample.attributes, context.once(sample)(), with_samples)
            for name, worst in with_samples.errors.items():
                if worst > promised.get(name, np.inf):
                    raise ConformanceError(
                        f"{name}: {op.name} is {worst:.6g} ULP off on {t}, and it promises {promised[name]:g} at most",
                        op=op.name,
                        kernel=name,
                        error=worst,
                        bound=promised[name],
                    )
                findings.errors[name] = max(findings.errors.get(name, 0.0), worst)
            findings.unit, findings.assertions = with_samples.unit, findings.assertions + with_samples.assertions

    return check
