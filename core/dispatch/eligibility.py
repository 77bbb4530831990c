"""Whether a kernel may serve a call, from what it declares; every no has a reason code."""

from __future__ import annotations

from collections.abc import Sequence

from ..devices.device import Device
from ..errors import OutOfMemoryError
from ..kernel import CANONICAL_ORDER, CallSpec, Determinism, Kernel, Layout, Reason, Rejection
from ..op import Op
from ..signature import Signature
from .claims import CLAIMS, ClaimKey
from .decision import Claim
from .policy import Settings


def rejection_by_policy(op: str, backend: str, settings: Settings) -> Rejection | None:
    """Return why the policy excludes a backend for an op, or None."""
    pin = settings.pin(op)
    if pin is not None and pin != backend:
        return Rejection(Reason.POLICY_PIN, f"{op} is pinned to {pin}")
    if settings.backends is not None and backend not in settings.backends:
        return Rejection(Reason.POLICY_PIN, f"the policy allows only {', '.join(sorted(settings.backends))}")
    return None


def check_repetition(op: str, inputs: Sequence[Signature | None], flops: float, device: Device) -> None:
    """Refuse to read every element of a view that repeats a few of them more often than memory could hold.

    Such a view takes no memory, so nothing else stops ``sum(broadcast_to(x, (10**6, 10**6)))``, which would run for a
    long time inside of one kernel, where nothing can interrupt it.

    Args:
        op: its name.
        inputs: signatures of the operands.
        flops: operations of the call; fewer than an operand's elements mean that it is not read whole.
        device: where the call is.

    Raises:
        OutOfMemoryError: naming the operand.
    """
    limit = device.info.memory
    for i, sig in enumerate(inputs):
        if sig is None or sig.nbytes <= limit or flops < sig.size:
            continue
        if any(step == 0 and n > 1 for n, step in zip(sig.shape, sig.strides, strict=True)):
            raise OutOfMemoryError(
                f"{op}: operand {i} of shape {sig.shape} repeats its elements to {sig.nbytes:,} bytes, more than the "
                f"{limit:,} of {device}, and all would be read; reduce before broadcasting, or call {op} on parts",
                op=op,
                operand=i,
                nbytes=sig.nbytes,
                limit=limit,
            )


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
    return _absence(kernel, device)


def _absence(kernel: Kernel, device: Device) -> Rejection | None:
    """Return what a kernel needs of a device that has not got it; what cannot tell has not."""
    if kernel.accepts.missing is None:
        return None
    try:
        found = kernel.accepts.missing(device)
    except Exception as error:  # a vendor's code: its fault costs its kernel, not the call
        found = f"what it needs of {device} is not known: {error!r}"
    return None if found is None else Rejection(Reason.FEATURE, found)


def _dtype_rejection(kernel: Kernel, i: int, sig: Signature) -> Rejection | None:
    dtypes = kernel.accepts.dtypes
    if not dtypes or sig.dtype.name in dtypes[min(i, len(dtypes) - 1)]:
        return None
    allowed = ", ".join(sorted(dtypes[min(i, len(dtypes) - 1)]))
    return Rejection(Reason.DTYPE, f"operand {i} has dtype {sig.dtype}; it takes {allowed}")


def _operand_rejection(kernel: Kernel, i: int, sig: Signature) -> Rejection | None:
    found = _dtype_rejection(kernel, i, sig)
    if found is not None:
        return found
    low, high = kernel.accepts.ranks
    if not low <= len(sig.shape) <= high:
        return Rejection(Reason.RANK, f"operand {i} has rank {len(sig.shape)}; it takes {low} to {high}")
    return None


def needs_copy(kernel: Kernel, sig: Signature) -> bool:
    """Return whether an operand must be made contiguous before this kernel sees it."""
    if kernel.accepts.layout is Layout.CONTIGUOUS and not sig.contiguous:
        return True
    return kernel.accepts.aligned and not sig.aligned


def claim_of(backend: str, version: str, kernel: Kernel, spec: CallSpec, device: Device) -> tuple[Claim, float | None]:
    """Return how far a kernel's claims are proved for this dtype and device, and the worst error seen.

    Those of a region are its family's.
    """
    dtype = (spec.arrays[0] if spec.arrays else spec.outputs[0]).dtype.name
    verdict = CLAIMS.verdict(ClaimKey(backend, version, kernel.judged_as, dtype, device.info.name))
    return verdict.level, verdict.max_ulp


def rejection_by_contract(
    op: Op, kernel: Kernel, spec: CallSpec, device: Device, claim: Claim, worst: float | None, settings: Settings
) -> Rejection | None:
    """Return why a kernel's promises do not reach what the caller demands, or None.

    Declared claims serve the op's default contract; a tighter demand needs shown ones; refuted ones serve none. Where
    the contract gives every bit of a result, a determinism class and a bound ask for nothing more.
    """
    if claim is Claim.REFUTED:
        return Rejection(Reason.CLAIM_REFUTED, f"conformance refuted {_whose(kernel, 'it')} on this device")
    dtype = spec.outputs[0].dtype.name
    settled = op.gives_every_bit(spec)
    if not settled:
        found = _determinism_rejection(kernel, device, settings.determinism) or _accuracy_rejection(
            kernel, dtype, worst, settings.max_ulp
        )
        if found is not None:
            return found
    tighter = not settled and not settings.contract.is_default
    if claim is not Claim.SHOWN and (settings.claims == "shown" or tighter):
        return Rejection(
            Reason.CLAIM_NOT_SHOWN,
            f"{_whose(kernel, 'its claims')} are declared only; run `opmux conformance` to show them",
        )
    return None


def _whose(kernel: Kernel, own: str) -> str:
    return own if kernel.family is None else f"the claims of the {kernel.family} regions"


def _determinism_rejection(kernel: Kernel, device: Device, demanded: Determinism) -> Rejection | None:
    promised = kernel.promises.determinism
    if promised.value < demanded.value:
        return Rejection(
            Reason.DETERMINISM, f"it promises {promised.name.lower()}; {demanded.name.lower()} is demanded"
        )
    if demanded is Determinism.CANONICAL:
        if kernel.promises.order != CANONICAL_ORDER:
            return Rejection(Reason.DETERMINISM, f"its order is {kernel.promises.order}, not the canonical one")
        if device.info.flushes_subnormals:
            return Rejection(Reason.DETERMINISM, f"{device} flushes subnormals, so no result of it is canonical")
    return None


def _accuracy_rejection(kernel: Kernel, dtype: str, worst: float | None, demanded: float | None) -> Rejection | None:
    if demanded is None:
        return None
    promised = kernel.promises.max_ulp.get(dtype)
    # The worst error seen is no bound: it can only raise what is promised.
    bound = max((b for b in (promised, worst) if b is not None), default=None)
    if bound is None or bound > demanded:
        shown = "no bound" if bound is None else f"{bound:g} ULP"
        return Rejection(Reason.ACCURACY, f"it promises {shown} for {dtype}; {demanded:g} is demanded")
    return None


def binding_order(
    op: Op, kernels: Sequence[tuple[str, Kernel]], spec: CallSpec, device: Device, settings: Settings
) -> str | None:
    """Return the order that binds every call of an op on a dtype and device under ``threads`` or ``batch``.

    It is that of the kernel with the highest priority, then the first name, among those that promise the class and
    take the dtype. Cost is no part of it: neither shapes, nor thread counts, nor records may change it.
    """
    fit = [
        (-kernel.priority, backend, kernel.name, kernel.promises.order)
        for backend, kernel in kernels
        if kernel.promises.determinism.value >= settings.determinism.value
        and kernel.promises.order is not None
        and rejection_by_policy(op.name, backend, settings) is None
        and all(_dtype_rejection(kernel, i, s) is None for i, s in enumerate(spec.inputs) if s is not None)
        and not kernel.accepts.features - device.info.features
        and _absence(kernel, device) is None
    ]
    return min(fit)[3] if fit else None


def rejection_by_order(kernel: Kernel, bound: str | None) -> Rejection | None:
    """Return why a kernel's order is not the one that binds calls of its op."""
    if bound is None or kernel.promises.order == bound:
        return None
    return Rejection(
        Reason.DETERMINISM,
        f"its order is {kernel.promises.order}; calls of this op, dtype and device are bound to {bound}",
    )
