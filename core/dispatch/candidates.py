"""Candidates on their way to a choice: kernels refused or priced, ranked, and only the cheapest one made ready to run.

Ops and collectives are decided through the same functions.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import partial

from ..devices.device import Device
from ..errors import OpmuxError, UnsupportedError
from ..kernel import CallSpec, Kernel, Prepared, Reason, Rejection
from ..op import COPY, OPS, Op, Work
from ..signature import Shape, Signature, signature
from .cost import kernel_cost
from .decision import Candidate, Decision, Kind
from .eligibility import (
    claim_of,
    needs_copy,
    rejection_by_contract,
    rejection_by_facts,
    rejection_by_order,
    rejection_by_policy,
)
from .execute import kernel_runner
from .policy import Settings
from .registry import REGISTRY
from .tables import Tables


@dataclass(frozen=True, slots=True, eq=False)
class KernelCall:
    """A call as every kernel for it is weighed.

    Attributes:
        op: the op.
        spec: what kernels are asked.
        work: of the call.
        device: where its launches go; a collective's is that of the first rank.
        inputs: signatures of the operands as given.
        broadcast: the shape that operands are repeated to, where the op has one.
    """

    op: Op
    spec: CallSpec
    work: Work
    device: Device
    inputs: tuple[Signature | None, ...]
    broadcast: Shape | None = None


def rank(candidate: Candidate) -> tuple[bool, float, int, str]:
    """Order candidates: eligible, cheapest, highest priority, first name. Stable for equal inputs and records."""
    cost = candidate.cost.total if candidate.cost is not None else float("inf")
    priority = candidate.kernel.priority if candidate.kernel is not None else 0
    return candidate.rejection is not None, cost, -priority, candidate.name


def kernel_candidate(
    call: KernelCall, backend: str, kernel: Kernel, tables: Tables[Settings], bound: str | None = None
) -> Candidate:
    """Return the candidate for one kernel, priced and not yet prepared, or the reason against it.

    Args:
        call: what is asked.
        backend: whose kernel it is.
        kernel: the kernel.
        tables: of the policy in force.
        bound: the order that binds the call, where one does.
    """
    op, spec, device = call.op, call.spec, call.device
    claim, worst = claim_of(backend, REGISTRY.version(backend), kernel, spec, device)
    made = Candidate(f"{backend}/{kernel.name}", Kind.KERNEL, backend, kernel, None, spec, claim=claim)
    rejection = (
        rejection_by_policy(op.name, backend, tables.settings)
        or rejection_by_facts(kernel, spec, device)
        or rejection_by_contract(op, kernel, spec, device, claim, worst, tables.settings)
        or rejection_by_order(kernel, bound)
    )
    if rejection is not None:
        return replace(made, rejection=rejection)
    copies: list[tuple[int, Decision]] = []
    dense = list(spec.inputs)
    for i, sig in enumerate(spec.inputs):
        if sig is not None and needs_copy(kernel, sig):
            copy = _copy(op, i, sig, tables)
            if isinstance(copy, Rejection):
                return replace(made, rejection=copy)
            copies.append((i, copy))
            dense[i] = signature(sig.device, sig.dtype, sig.shape)
    spec = replace(spec, inputs=tuple(dense))
    own = kernel_cost(kernel, spec, call.work, device)
    cost = replace(own, copies=sum(d.cost.total for _, d in copies))
    prepare = partial(_prepare_kernel, call, backend, kernel, spec)
    return replace(made, spec=spec, cost=cost, copies=tuple(copies), prepare=prepare)


def _copy(op: Op, i: int, sig: Signature, tables: Tables[Settings]) -> Decision | Rejection:
    """Return what makes an operand contiguous, or why nothing does."""
    from .choose import decide  # decisions are made of candidates, and here a candidate of a decision

    if op.name == COPY:
        return Rejection(Reason.LAYOUT, "it takes only contiguous operands, and it is the copy itself")
    try:
        return decide(OPS[COPY], (sig,), (), sig.device, tables)
    except UnsupportedError as error:
        return Rejection(Reason.LAYOUT, f"operand {i} needs a dense copy: {error}")


def ready(candidate: Candidate) -> Candidate:
    """Return a candidate ready to run, or with the reason why it cannot be."""
    if candidate.rejection is not None or candidate.run is not None or candidate.prepare is None:
        return candidate
    return candidate.prepare(candidate)


def cheapest_ready(candidates: Iterable[Candidate]) -> list[Candidate]:
    """Make the cheapest eligible candidate ready; where it declines, the next. The dearer ones stay as they are."""
    made: list[Candidate] = []
    settled = False
    for candidate in sorted(candidates, key=rank):
        made.append(candidate if settled else ready(candidate))
        settled = settled or made[-1].run is not None
    return made


def _prepare_kernel(call: KernelCall, backend: str, kernel: Kernel, spec: CallSpec, candidate: Candidate) -> Candidate:
    def failed(why: str) -> Candidate:
        return replace(candidate, cost=None, rejection=Rejection(Reason.PREPARE_FAILED, why))

    try:
        prepared: object = kernel.prepare(spec)
    except OpmuxError as error:
        return failed(str(error))
    except Exception as error:  # a vendor's code: its fault costs its kernel, not the call
        return failed(f"prepare raised {error!r}")
    if isinstance(prepared, Rejection):
        return replace(candidate, cost=None, rejection=prepared)
    if not isinstance(prepared, Prepared) or prepared.workspace < 0:
        return failed(
            f"prepare returned {prepared!r}, not a Rejection or a Prepared with a workspace of 0 or more bytes"
        )
    run = kernel_runner(
        call.device, backend, kernel.name, call.op.name, prepared, spec.outputs, call.broadcast, call.inputs,
        candidate.copies,
    )  # fmt: skip
    return replace(candidate, prepared=prepared, run=run)
