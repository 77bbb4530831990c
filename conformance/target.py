"""One backend on one device under test: calls that only it may serve, what ran checked, every result compared."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np

from ..core.arrays.array import Array
from ..core.arrays.creation import asarray
from ..core.devices.device import DEVICES, Device
from ..core.dispatch import observe
from ..core.dispatch.call import decide_call, run_decision
from ..core.dispatch.decision import Candidate, Decision, Kind
from ..core.dispatch.policy import policy
from ..core.dispatch.registry import REGISTRY
from ..core.dtypes import dtype
from ..core.errors import ConformanceError, PluginError, UnsupportedError
from ..core.kernel import Reason, Rejection
from ..core.op import Op, Role
from . import hoststate
from .oracle.expect import Expected, Operands
from .oracle.formats import Host
from .performance.candidates import runnable

#: A large number in every float format and no truth value; not NaN, which would be right where NaN is expected.
_GARBAGE: Final = 0x5A
#: Blocks filled with it before a call: one for its result, others for what is copied before it.
_SOILED: Final = 3


class UnderClaimError(Exception):
    """The backend does more than it says: nothing is wrong, and users are kept from something that works."""


@dataclass
class Findings:
    """What the calls of one case showed.

    Attributes:
        errors: the kernels that ran, in order, each with the largest error seen of it.
        unit: of the errors.
        assertions: how many results, refusals and facts were held to what they must be.
        tell: takes what :meth:`ran` is given, before it runs; None where nobody wants to know.
    """

    errors: dict[str, float] = field(default_factory=dict)
    unit: str = ""
    assertions: int = 0
    tell: Callable[[str], None] | None = None

    def note(self, decided: Candidate, worst: float, unit: str) -> None:
        """Take in one call that was held to its expectation."""
        name = decided.name
        if decided.kind is Kind.DECOMPOSITION:
            name = f"decomposition of {', '.join(dict.fromkeys(c.name for c in leaves(decided)))}"
        self.held_as(name, worst, unit)

    def ran(self, name: str) -> None:
        """Take in the name of what runs now, so that a failure is its own."""
        if name not in self.errors and self.tell is not None:
            self.tell(name)
        self.errors.setdefault(name, 0.0)

    def held_as(self, name: str, worst: float, unit: str) -> None:
        """Take in results that were held to their expectation, under a name."""
        self.errors[name] = max(self.errors.get(name, 0.0), worst)
        self.unit = unit
        self.assertions += 1

    def held(self) -> None:
        """Take in one refusal or fact that is as it must be."""
        self.assertions += 1


class RefusedError(Exception):
    """The backend refused a call as it should: with the typed exception and reasons."""


def dense(x: Host, device: Device) -> Array:
    """Return a copy of host data on a device, row-major, in memory of its own."""
    return asarray(np.array(x, order="C", copy=True), dtype=dtype(x.dtype), device=device, copy=True)


def soil(device: Device, nbytes: int) -> None:
    """Fill memory of a size that is about to be asked for with garbage.

    Allocators hand out what was freed last, which would often be the right result of an earlier call: a kernel that
    writes nothing would pass.
    """
    garbage = np.full(nbytes, _GARBAGE, np.uint8)
    _held = [dense(garbage, device) for _ in range(_SOILED)]


def soil_host(nbytes: int) -> None:
    """Fill host memory of a size that is about to be asked for with garbage, so that what is not read back shows."""
    np.full(nbytes, _GARBAGE, np.uint8)


def leaves(candidate: Candidate) -> Iterator[Candidate]:
    """Return every candidate that a choice ends in: kernels, and whatever else there is."""
    for _, copy in candidate.copies:
        yield from leaves(copy.chosen)
    # A kernel's parts are the casts before it, and itself.
    for part in candidate.parts:
        if part.chosen is not candidate:
            yield from leaves(part.chosen)
    if candidate.kind is not Kind.DECOMPOSITION:
        yield candidate


class Target:
    """A backend on a device.

    Args:
        backend: its name.
        device: one that its kernels serve.
    """

    def __init__(self, backend: str, device: Device) -> None:
        self.backend, self.device = backend, device

    def upload(self, operands: Operands) -> list[Array | None]:
        """Return operands in dense memory of the device."""
        return [None if x is None else dense(x, self.device) for x in operands]

    def serves(self, op: str, dtype: str) -> bool:
        """Return whether a kernel of the backend declares the op with a leading operand of this dtype."""
        mine = [k for b, k in REGISTRY.kernels(op, self.device.kind) if b == self.backend]
        return any(k.accepts.leads_with(dtype) for k in mine)

    def decide(self, op: Op, arrays: Sequence[Array | None], attributes: Mapping[str, Any]) -> Decision:
        """Return the decision for a call that only this backend may serve.

        Raises:
            RefusedError: it refused in the way that the contract asks for.
            ConformanceError: it refused in another way, or another backend would run a part.
        """
        try:
            decision = decide_call(op, (), arguments(op, arrays, attributes, self.device))
        except UnsupportedError as error:
            self._check_refusal(op, error)
            raise RefusedError(str(error)) from error
        self._check_whose(op, decision.chosen)
        return decision

    def _check_refusal(self, op: Op, error: UnsupportedError) -> None:
        reasons = error.culprits.get("reasons")
        if reasons is None:
            raise ConformanceError(f"{op.name}: it was refused without reasons: {error}", op=op.name)
        for name, rejection in reasons.items():
            self.check_rejection(op.name, name, rejection)

    def check_rejection(self, op: str, name: str, rejection: Rejection | None) -> None:
        """Demand that a kernel refuses by returning a Rejection that says why.

        Raises:
            ConformanceError: it failed instead, or gives no reason.
        """
        if rejection is None:
            return
        if rejection.reason is Reason.PREPARE_FAILED:
            raise ConformanceError(
                f"{op}: {name} must refuse by returning a Rejection: {rejection.detail}", op=op, kernel=name
            )
        known: object = rejection.reason  # a backend may have put anything there
        if not isinstance(known, Reason) or not str(rejection.detail).strip():
            raise ConformanceError(
                f"{op}: {name} refuses with {rejection!r}, which does not say why: a Rejection has a Reason and a "
                f"detail for people",
                op=op,
                kernel=name,
            )

    def _check_whose(self, op: Op, chosen: Candidate) -> None:
        for leaf in leaves(chosen):
            if leaf.kind is Kind.FALLBACK or leaf.backend != self.backend:
                raise ConformanceError(
                    f"{op.name}: {leaf.name} would run, which is not {self.backend}'s: a fallback proves nothing",
                    op=op.name,
                    kernel=leaf.name,
                )

    def run(
        self,
        op: Op,
        arrays: Sequence[Array | None],
        attributes: Mapping[str, Any],
        expected: Expected,
        findings: Findings,
        *,
        every: bool = True,
    ) -> None:
        """Run a call, by every kernel of the backend that is eligible, and hold each result to what is expected.

        Args:
            op: the op.
            arrays: operands on the device.
            attributes: as given.
            expected: of the oracle.
            findings: takes in what ran.
            every: False runs the chosen kernel only.

        Raises:
            RefusedError, ConformanceError: as :meth:`decide`; and for a wrong result.
        """
        decision = self.decide(op, arrays, attributes)
        result = self.launch(decision, arrays)
        self.compare(decision.chosen, result, expected, findings)
        if not every or any(p.chosen is decision.chosen or p.op is op for p in decision.chosen.parts):
            return  # after casts, the other candidates are of the cast operands
        for candidate in runnable(decision)[1:]:
            self.check_rejection(op.name, candidate.name, candidate.rejection)
            if candidate.rejection is None and candidate.run is not None:
                self._check_whose(op, candidate)
                soil(self.device, decision.outputs[0].nbytes)
                with self.watched(op):
                    (result,) = candidate.run(list(arrays), None)
                self.compare(candidate, result, expected, findings)

    def launch(self, decision: Decision, arrays: Sequence[Array | None]) -> Any:
        """Run a decision in memory that held garbage."""
        soil(self.device, decision.outputs[0].nbytes)
        with self.watched(decision.op):
            return run_decision(decision, list(arrays), None)

    def compare(self, chosen: Candidate, result: Array | Host, expected: Expected, findings: Findings) -> None:
        """Hold one result to what is expected."""
        hoststate.check(chosen.name)
        try:
            check = expected.on(flushes=self.device.info.flushes_subnormals)
            if isinstance(result, Array) and not self.device.is_host:
                soil_host(result.size * result.dtype.itemsize)
            with Watch(self.backend, chosen.name):  # what a queue's thread does, it may do after the call
                host = np.asarray(result.numpy() if isinstance(result, Array) else result)
            worst = check(host)
            check_truth(host)
        except UnsupportedError as error:  # a result that is a view, on a device whose copy does not take the dtype
            raise RefusedError(str(error)) from error
        except ConformanceError as error:
            raise ConformanceError(f"{chosen.name}: {error}", **error.culprits) from error
        findings.note(chosen, worst, expected.unit)

    def watched(self, op: Op) -> Watch:
        """Return a context that fails when another backend's kernel runs inside: a fallback in secret."""
        return Watch(self.backend, op.name)


def check_truth(got: Host) -> None:
    """Demand that truth values are stored as 0 or 1: another byte is true to one reader and a number to the next."""
    if got.dtype == np.bool_ and got.size and int(got.view(np.uint8).max()) > 1:
        raise ConformanceError(f"a truth value is stored as {int(got.view(np.uint8).max())}; its bytes are 0 and 1")


class Watch:
    """Observes every call made inside, also by kernels themselves."""

    def __init__(self, backend: str, op: str) -> None:
        self._backend, self._op = backend, op
        self._strangers: list[str] = []

    def __enter__(self) -> None:
        observe.OBSERVERS.append(self._note)

    def _note(self, decision: Decision, operands: object, results: object, seconds: float) -> None:
        self._strangers += [c.name for c in leaves(decision.chosen) if c.backend != self._backend]

    def __exit__(self, kind: object, *rest: object) -> None:
        observe.OBSERVERS.remove(self._note)
        if self._strangers and kind is None:
            raise ConformanceError(
                f"{self._op}: {self._strangers[0]} ran inside a kernel of {self._backend}: a fallback in secret",
                op=self._op,
                kernel=self._strangers[0],
            )


def arguments(
    op: Op, arrays: Sequence[Any], attributes: Mapping[str, Any], device: Device | None = None
) -> dict[str, Any]:
    """Return a call's arguments by name."""
    named: dict[str, Any] = dict(attributes)
    if op.creates and device is not None:
        named["device"] = device
    rest = list(arrays)
    for p in op.parameters:
        if p.role is Role.ARRAYS:
            others = sum(q.role in (Role.ARRAY, Role.OPTIONAL) for q in op.parameters)
            named[p.name], rest = tuple(rest[: len(rest) - others]), rest[len(rest) - others :]
        elif p.role is not Role.ATTRIBUTE:
            named[p.name] = rest.pop(0) if rest else None
    return named


def only(backend: str) -> Any:
    """Return the policy under which nothing but this backend runs."""
    return policy(backends={backend}, fallback="forbid")


def targets(backend: str) -> list[Target]:
    """Return the backend on the first device of each kind that its kernels or its region compilers serve.

    Raises:
        PluginError: no such backend is registered.
    """
    contribution = REGISTRY.contributions.get(backend)
    if contribution is None:
        known = ", ".join(sorted(REGISTRY.contributions)) or "none"
        raise PluginError(
            f"no backend {backend!r} is usable here; there are {known} (`opmux doctor` says why)", backend=backend
        )
    kinds = dict.fromkeys([*(k.device for k in contribution.kernels), *(c.device for c in contribution.compilers)])
    found = [next((d for d in DEVICES if d.kind == kind), None) for kind in kinds]
    return [Target(backend, d) for d in found if d is not None]
