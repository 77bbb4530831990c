"""Whether a kernel may serve a call, from what it declares; every no has a reason code."""

from __future__ import annotations

from .claims import CLAIMS, ClaimKey
from .decision import Claim
from .device import Device
from .kernel import CallSpec, Kernel, Layout, Reason, Rejection
from .policy import Policy
from .signature import Signature


def rejection_by_policy(op: str, backend: str, policy: Policy) -> Rejection | None:
    """Return why the policy excludes a backend for an op, or None."""
    pin = policy.pins.get(op)
    if pin is not None and pin != backend:
        return Rejection(Reason.POLICY_PIN, f"{op} is pinned to {pin}")
    if policy.backends is not None and backend not in policy.backends:
        return Rejection(Reason.POLICY_PIN, f"the policy allows only {', '.join(sorted(policy.backends))}")
    return None


def rejection_by_facts(kernel: Kernel, spec: CallSpec, device: Device) -> Rejection | None:
    """Return why a kernel's declared limits exclude a call, or None. Layout is not among them: the core copies."""
    accepts = kernel.accepts
    missing = accepts.features - device.info.features
    if missing:
        return Rejection(Reason.FEATURE, f"{device} lacks {', '.join(sorted(missing))}")
    for i, sig in enumerate(spec.inputs):
        found = _operand_rejection(kernel, i, sig) if sig is not None else None
        if found is not None:
            return found
    if accepts.max_elements is not None:
        largest = max(s.size for s in (*spec.arrays, *spec.outputs))
        if largest > accepts.max_elements:
            return Rejection(Reason.SIZE, f"{largest} elements; it takes at most {accepts.max_elements}")
    for name, allowed in accepts.attributes.items():
        value = spec.attributes.get(name)
        if value not in allowed:
            shown = ", ".join(sorted(map(str, allowed)))
            return Rejection(Reason.ATTRIBUTE, f"{name}={value}; it takes {shown}")
    return None


def _operand_rejection(kernel: Kernel, i: int, sig: Signature) -> Rejection | None:
    accepts = kernel.accepts
    if accepts.dtypes:
        allowed = accepts.dtypes[min(i, len(accepts.dtypes) - 1)]
        if sig.dtype.name not in allowed:
            return Rejection(Reason.DTYPE, f"operand {i} has dtype {sig.dtype}; it takes {', '.join(sorted(allowed))}")
    low, high = accepts.ranks
    if not low <= len(sig.shape) <= high:
        return Rejection(Reason.RANK, f"operand {i} has rank {len(sig.shape)}; it takes {low} to {high}")
    return None


def needs_copy(kernel: Kernel, sig: Signature) -> bool:
    """Return whether an operand must be made contiguous before this kernel sees it."""
    if kernel.accepts.layout is Layout.CONTIGUOUS and not sig.contiguous:
        return True
    return kernel.accepts.aligned and not sig.aligned


def claim_of(backend: str, version: str, kernel: Kernel, spec: CallSpec, device: Device) -> tuple[Claim, float | None]:
    """Return how far a kernel's claims are proved for this dtype and device, and the worst error seen."""
    dtype = (spec.arrays[0] if spec.arrays else spec.outputs[0]).dtype.name
    verdict = CLAIMS.verdict(ClaimKey(backend, version, kernel.name, dtype, device.info.name))
    return verdict.level, verdict.max_ulp


def rejection_by_contract(
    kernel: Kernel, spec: CallSpec, claim: Claim, worst: float | None, policy: Policy
) -> Rejection | None:
    """Return why a kernel's promises do not reach what the caller demands, or None.

    Declared claims serve the op's default contract; a tighter demand needs shown ones; refuted ones serve none.
    """
    if claim is Claim.REFUTED:
        return Rejection(Reason.CLAIM_REFUTED, "conformance refuted it on this device")
    contract = policy.contract
    promised = kernel.promises.determinism
    if promised.value < contract.determinism.value:
        return Rejection(
            Reason.DETERMINISM,
            f"it promises {promised.name.lower()}; {contract.determinism.name.lower()} is demanded",
        )
    if contract.max_ulp is not None:
        dtype = spec.outputs[0].dtype.name
        bound = worst if worst is not None else kernel.promises.max_ulp.get(dtype)
        if bound is None or bound > contract.max_ulp:
            shown = "no bound" if bound is None else f"{bound:g} ULP"
            return Rejection(Reason.ACCURACY, f"it promises {shown} for {dtype}; {contract.max_ulp:g} is demanded")
    if claim is not Claim.SHOWN and (policy.claims == "shown" or not contract.is_default):
        return Rejection(Reason.CLAIM_NOT_SHOWN, "its claims are declared only; run `opmux conformance` to show them")
    return None


def may_use_decomposition(policy: Policy) -> bool:
    """Return whether op-by-op decomposition can meet the policy's contract; its parts are checked one by one."""
    return policy.max_ulp is None


