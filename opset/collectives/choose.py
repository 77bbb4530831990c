"""Choosing how a collective is done: kernels over the memory of all ranks, and algorithms, priced side by side."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Final

from ...core.arrays.array import Array
from ...core.collectives.mesh import Mesh
from ...core.collectives.schedule import Schedule
from ...core.devices.device import Buffer
from ...core.devices.driver import PeerDriver
from ...core.dispatch.choose import unsupported
from ...core.dispatch.cost import kernel_cost
from ...core.dispatch.decision import Candidate, Decision, Kind, Operands
from ...core.dispatch.eligibility import (
    claim_of,
    rejection_by_contract,
    rejection_by_facts,
    rejection_by_policy,
)
from ...core.dispatch.execute import kernel_runner
from ...core.dispatch.policy import Settings, current, policy
from ...core.dispatch.registry import REGISTRY
from ...core.kernel import CANONICAL_ORDER, ArraySpec, CallSpec, Determinism, Kernel, Prepared, Reason, Rejection
from ...core.op import Op
from ...core.signature import Signature, signature
from . import values
from .algorithms import ALGORITHMS, Algorithm
from .call import axis_back, axis_first, spec_first, specs_of_all
from .declare import Collective
from .pricing import groups_of, native_price, price_on
from .problem import Problem

#: Attributes that are settled before anything is chosen: the mesh is the operands' devices, sizes are in their shapes.
_SETTLED: Final = ("sizes", "axis")


def decide(op: Op, arrays: Sequence[Array], mesh: Mesh, attributes: dict[str, Any]) -> Decision:
    """Return how a call is done.

    Raises:
        OpmuxError: for a call that is not allowed, or that nothing can do.
    """
    settings = current().settings
    axis = attributes.get("axis")
    said = op.declaration
    assert isinstance(said, Collective)  # every collective is declared as one
    local = [spec_first(op, x._sig, axis) for x in arrays]
    problem = said.rule(op.name, specs_of_all(op, local, mesh, attributes), attributes)
    outputs = tuple(
        signature(device, problem.dtype, problem.results[rank])
        for rank, device in zip(mesh.local_ranks, mesh.local_devices, strict=True)
    )
    candidates = _candidates(op, problem, mesh, attributes, outputs, settings)
    eligible = sorted((c for c in candidates if c.rejection is None), key=_rank)
    rejected = [c for c in candidates if c.rejection is not None]
    if not eligible:
        raise unsupported(op, tuple(x._sig for x in arrays), mesh.local_devices[0], rejected, settings)
    chosen = eligible[0]
    if axis not in (None, 0) or not all(x._sig.contiguous for x in arrays):
        chosen = _with_axis(op, problem, axis, chosen)
    run = chosen.run
    assert run is not None  # an eligible candidate can run
    return Decision(
        op,
        mesh.local_devices[0],
        tuple(x._sig for x in arrays),
        tuple((n, v) for n, v in attributes.items() if n != "sizes"),
        outputs,
        (chosen, *eligible[1:], *rejected),
        chosen,
        run,
        many=True,
    )


def _with_axis(op: Op, problem: Problem, axis: int | None, candidate: Candidate) -> Candidate:
    """Return a candidate for operands as the caller has them: the axis in question is moved to the front, and back."""
    run, begin = candidate.run, candidate.begin
    assert run is not None  # an eligible candidate can run

    def before(operands: Operands) -> list[Array]:
        return [axis_first(op, x, axis) for x in operands if x is not None]

    def after(made: tuple[Array, ...]) -> tuple[Array, ...]:
        return tuple(axis_back(x, problem, axis) for x in made)

    def whole(operands: Operands, into: Buffer | None) -> tuple[Array, ...]:
        return after(run(before(operands), None))

    if begin is None:
        return replace(candidate, run=whole)
    start = begin
    return replace(candidate, run=whole, begin=lambda operands: start(before(operands)).then(after))


def _rank(candidate: Candidate) -> tuple[float, int, str]:
    assert candidate.cost is not None  # eligible ones are priced
    priority = 0 if candidate.kernel is None else candidate.kernel.priority
    return candidate.cost.total, -priority, candidate.name


def _candidates(
    op: Op, problem: Problem, mesh: Mesh, attributes: dict[str, Any], outputs: tuple[Signature, ...], settings: Settings
) -> list[Candidate]:
    found = list(_kernels(op, problem, mesh, attributes, outputs, settings)) if mesh.is_local else []
    if not mesh.is_local:
        found += _native(op, problem, mesh, attributes, settings)
    for algorithm in ALGORITHMS[op.name]:
        found.append(_algorithm(op, problem, mesh, algorithm, attributes, settings))
    return found


def _kernels(
    op: Op, problem: Problem, mesh: Mesh, attributes: dict[str, Any], outputs: tuple[Signature, ...], settings: Settings
) -> list[Candidate]:
    """Return the kernels over all ranks' memory, where all ranks are of one kind of device.

    Off the host a launch stands on one rank's queue, so that the devices must be able to wait for each other's events.
    """
    kinds = {d.kind for d in mesh.local_devices}
    host = all(d.is_host for d in mesh.local_devices)
    peers = all(isinstance(d.driver, PeerDriver) for d in mesh.local_devices)
    meet = len(mesh.local_devices) == 1 or host or peers
    if len(kinds) > 1 or not meet:
        return []
    device = mesh.local_devices[0]
    inputs = tuple(
        signature(d, problem.dtype, shape) for d, shape in zip(mesh.local_devices, problem.operands, strict=True)
    )
    settled = {n: v for n, v in attributes.items() if n not in _SETTLED} | {"blocked": problem.blocked}
    spec = CallSpec(op.name, inputs, outputs, {**settled, **problem.arguments}, settings.contract)
    return [
        _kernel(op, backend, kernel, spec, mesh, settings)
        for backend, kernel in REGISTRY.kernels(op.name, device.kind)
    ]  # fmt: skip


def _kernel(op: Op, backend: str, kernel: Kernel, spec: CallSpec, mesh: Mesh, settings: Settings) -> Candidate:
    device = mesh.local_devices[0]
    made = Candidate(f"{backend}/{kernel.name}", Kind.KERNEL, backend, kernel, spec=spec)
    claim, worst = claim_of(backend, REGISTRY.version(backend), kernel, spec, device)
    rejection = (
        rejection_by_policy(op.name, backend, settings)
        or rejection_by_facts(kernel, spec, device)
        or rejection_by_contract(op, kernel, spec, device, claim, worst, settings)
    )
    if rejection is not None:
        return replace(made, rejection=rejection, claim=claim)
    prepared = kernel.prepare(spec)
    if not isinstance(prepared, Prepared):
        return replace(made, rejection=prepared, claim=claim)
    specs = tuple(_spec(s) for s in spec.arrays)
    cost = kernel_cost(kernel, spec, op.work(specs, [_spec(s) for s in spec.outputs], spec.attributes), device)
    run = kernel_runner(device, backend, kernel.name, op.name, prepared, spec.outputs, None, spec.inputs, ())
    return replace(made, prepared=prepared, claim=claim, cost=cost, run=run)


def _spec(s: Signature) -> ArraySpec:
    return ArraySpec(s.dtype, s.shape)


def _algorithm(
    op: Op, problem: Problem, mesh: Mesh, algorithm: Algorithm, attributes: dict[str, Any], settings: Settings
) -> Candidate:
    """Return an algorithm as a candidate: its schedule is the op's decomposition into messages and local calls."""
    made = Candidate(algorithm.name, Kind.SCHEDULE)
    pin = settings.pin(op.name)
    if pin is not None and pin != algorithm.name:
        return replace(made, rejection=Rejection(Reason.POLICY_PIN, f"{op.name} is pinned to {pin}"))
    arguments = problem.arguments
    if algorithm.name == "hierarchical":
        arguments = {**arguments, "groups": groups_of(mesh)}
    schedule = algorithm.build(problem.ranks, **arguments)
    if isinstance(schedule, Rejection):
        return replace(made, rejection=schedule)
    rejection = _rejection(op, problem, schedule, mesh, settings)
    if rejection is not None:
        return replace(made, rejection=rejection)
    cost = price_on(schedule, problem, mesh)
    if mesh.is_local:

        def run(operands: Sequence[Array | None], into: Buffer | None) -> tuple[Array, ...]:
            # A combination is one correctly rounded call, so its bits hang on the order of the schedule alone.
            with policy(determinism="none", max_ulp=None):
                return tuple(values.run(schedule, problem, [x for x in operands if x is not None]))

        return replace(made, cost=cost, run=run)
    from .processes import prepare

    whole, begin = prepare(schedule, problem, mesh, tuple(attributes.items()))
    return replace(made, cost=cost, run=whole, begin=begin)


def _native(
    op: Op, problem: Problem, mesh: Mesh, attributes: dict[str, Any], settings: Settings
) -> list[Candidate]:
    """Return the communicator's own collective as a candidate, where it has one for contributions as they are."""
    carrier = mesh.communicator
    if carrier is None or problem.blocked or problem.accumulator is not problem.dtype:
        return []
    start = mesh.lines()[0][0].native(op.name, problem.reduction or "", problem.dtype.numpy)
    if start is None:
        return []
    made = Candidate(f"{carrier.name}/{op.name}", Kind.KERNEL, carrier.name)
    rejection = rejection_by_policy(op.name, carrier.name, settings)
    ordered = settings.determinism is not Determinism.NONE or settings.max_ulp is not None
    if rejection is None and ordered and problem.reduction is not None and not op.settled(problem.dtype):
        rejection = Rejection(Reason.DETERMINISM, "the library chooses the order of combination, and promises none")
    if rejection is not None:
        return [replace(made, rejection=rejection)]
    from .processes import prepare

    nothing = Schedule(op.name, "native", problem.ranks, len(problem.layout.lengths), 2, ())
    run, begin = prepare(nothing, problem, mesh, tuple(attributes.items()), start)
    return [replace(made, cost=native_price(problem, mesh), run=run, begin=begin)]


def _rejection(op: Op, problem: Problem, schedule: Schedule, mesh: Mesh, settings: Settings) -> Rejection | None:
    """Return why an algorithm does not reach what the caller demands.

    Which algorithm is the cheapest hangs on the size, so every class from ``threads`` on binds the canonical order.
    """
    if problem.reduction is None or op.settled(problem.dtype):
        return None
    demanded = settings.determinism.value >= Determinism.THREADS.value
    flushing = [d.name for d in mesh.local_devices if d.info.flushes_subnormals]
    if demanded and flushing:
        return Rejection(Reason.DETERMINISM, f"{flushing[0]} flushes subnormals, so no result of it is canonical")
    if demanded and schedule.order != CANONICAL_ORDER:
        return Rejection(Reason.DETERMINISM, f"its order is {schedule.order or 'its own'}, not the canonical one")
    if settings.max_ulp is not None:
        return Rejection(Reason.ACCURACY, "a sum over ranks promises no bound in ULP")
    return None
