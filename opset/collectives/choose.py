"""Choosing how a collective is done: kernels over the memory of all ranks, and algorithms, priced side by side."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from itertools import chain
from typing import Any, Final

from ...core.arrays.array import Array
from ...core.collectives.communicator import NativeStart
from ...core.collectives.mesh import Mesh
from ...core.collectives.schedule import Schedule
from ...core.devices.device import Buffer
from ...core.devices.driver import PeerDriver
from ...core.dispatch.candidates import KernelCall, cheapest_ready, kernel_candidate
from ...core.dispatch.choose import decision_of
from ...core.dispatch.decision import Candidate, Decision, Kind, Operands
from ...core.dispatch.eligibility import rejection_by_policy
from ...core.dispatch.policy import Settings, current, policy
from ...core.dispatch.registry import REGISTRY
from ...core.dispatch.tables import Tables
from ...core.kernel import CANONICAL_ORDER, ArraySpec, CallSpec, Determinism, Reason, Rejection
from ...core.op import Op
from ...core.signature import Signature, signature
from . import values
from .algorithms import ALGORITHMS, Algorithm
from .call import axis_back, axis_first, signature_back, spec_first, specs_of_all
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
    tables = current().slot.tables
    axis = attributes.get("axis")
    said = op.declaration
    assert isinstance(said, Collective)  # every collective is declared as one
    local = [spec_first(op, x._sig, axis) for x in arrays]
    problem = said.rule(op.name, specs_of_all(op, local, mesh, attributes), attributes)
    outputs = tuple(
        signature(device, problem.dtype, problem.results[rank])
        for rank, device in zip(mesh.local_ranks, mesh.local_devices, strict=True)
    )
    inputs = tuple(
        signature(x.device, problem.dtype, shape, aligned=x._sig.aligned)
        for x, shape in zip(arrays, (problem.operands[rank] for rank in mesh.local_ranks), strict=True)
    )
    if mesh.is_local:
        kernels = _kernels(op, problem, mesh, attributes, inputs, outputs, tables)
    else:
        kernels = _native(op, problem, mesh, attributes, tables.settings)
    algorithms = (_algorithm(op, problem, mesh, a, attributes, tables.settings) for a in ALGORITHMS[op.name])
    candidates = cheapest_ready(chain(kernels, algorithms))
    made = decision_of(
        op, tuple(x._sig for x in arrays), tuple((n, v) for n, v in attributes.items() if n != "sizes"), outputs,
        mesh.local_devices[0], candidates, tables.settings, many=True,
    )  # fmt: skip
    if axis in (None, 0) and all(x._sig.contiguous for x in arrays):
        return made
    return _with_axis(op, problem, axis, made)


def _with_axis(op: Op, problem: Problem, axis: int | None, decision: Decision) -> Decision:
    """Return a decision for operands as the caller has them: the axis in question is moved to the front, and back."""
    run, begin = decision.run, decision.chosen.begin

    def before(operands: Operands) -> list[Array]:
        return [axis_first(op, x, axis) for x in operands if x is not None]

    def after(made: tuple[Array, ...]) -> tuple[Array, ...]:
        return tuple(axis_back(x, problem, axis) for x in made)

    def whole(operands: Operands, into: Buffer | None) -> tuple[Array, ...]:
        return after(run(before(operands), None))

    begun = None if begin is None else lambda operands: begin(before(operands)).then(after)
    # A launch on the operands as they are would be another call.
    chosen = replace(decision.chosen, run=whole, begin=begun, prepared=None)
    outputs = tuple(signature_back(s, problem, axis) for s in decision.outputs)
    candidates = (chosen, *decision.candidates[1:])
    return replace(decision, candidates=candidates, chosen=chosen, run=whole, outputs=outputs)


def _kernels(
    op: Op,
    problem: Problem,
    mesh: Mesh,
    attributes: dict[str, Any],
    inputs: tuple[Signature, ...],
    outputs: tuple[Signature, ...],
    tables: Tables[Settings],
) -> Iterator[Candidate]:
    """Yield the kernels over all ranks' memory, where all ranks are of one kind of device.

    Off the host a launch stands on one rank's queue, so that the devices must be able to wait for each other's events.
    """
    kinds = {d.kind for d in mesh.local_devices}
    host = all(d.is_host for d in mesh.local_devices)
    peers = all(isinstance(d.driver, PeerDriver) for d in mesh.local_devices)
    meet = len(mesh.local_devices) == 1 or host or peers
    if len(kinds) > 1 or not meet:
        return
    device = mesh.local_devices[0]
    settled = {n: v for n, v in attributes.items() if n not in _SETTLED} | {"blocked": problem.blocked}
    spec = CallSpec(op.name, inputs, outputs, {**settled, **problem.arguments}, tables.settings.contract)
    specs = tuple(ArraySpec(problem.dtype, shape) for shape in problem.operands)
    results = [ArraySpec(problem.dtype, shape) for shape in problem.results]
    call = KernelCall(op, spec, op.work(specs, results, spec.attributes), device, inputs)
    bound = CANONICAL_ORDER if _ordered(op, problem, tables.settings) else None
    for backend, kernel in REGISTRY.kernels(op.name, device.kind):
        yield kernel_candidate(call, backend, kernel, tables, bound)


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
    prepare = partial(_in_process, schedule, problem)
    if not mesh.is_local:
        prepare = partial(_over_processes, schedule, problem, mesh, tuple(attributes.items()), None)
    return replace(made, cost=price_on(schedule, problem, mesh), prepare=prepare)


def _in_process(schedule: Schedule, problem: Problem, candidate: Candidate) -> Candidate:
    """Make a schedule ready to run as calls of the opset."""

    def run(operands: Sequence[Array | None], into: Buffer | None) -> tuple[Array, ...]:
        # A combination is one correctly rounded call, so its bits hang on the order of the schedule alone.
        with policy(determinism="none", max_ulp=None):
            return tuple(values.run(schedule, problem, [x for x in operands if x is not None]))

    return replace(candidate, run=run)


def _over_processes(
    schedule: Schedule,
    problem: Problem,
    mesh: Mesh,
    attributes: tuple[tuple[str, Any], ...],
    native: NativeStart | None,
    candidate: Candidate,
) -> Candidate:
    """Make ready what a schedule, or the communicator's own collective, is for the local ranks."""
    from .processes import prepare

    run, begin = prepare(schedule, problem, mesh, attributes, native)
    return replace(candidate, run=run, begin=begin)


def _native(
    op: Op, problem: Problem, mesh: Mesh, attributes: dict[str, Any], settings: Settings
) -> Iterator[Candidate]:
    """Yield the communicator's own collective as a candidate, where it has one for contributions as they are."""
    carrier = mesh.communicator
    if carrier is None or problem.blocked or problem.accumulator is not problem.dtype:
        return
    start = mesh.lines()[0][0].native(op.name, problem.reduction or "", problem.dtype.numpy)
    if start is None:
        return
    made = Candidate(f"{carrier.name}/{op.name}", Kind.KERNEL, carrier.name)
    rejection = rejection_by_policy(op.name, carrier.name, settings)
    ordered = settings.determinism is not Determinism.NONE or settings.max_ulp is not None
    if rejection is None and ordered and problem.reduction is not None and not op.settled(problem.dtype):
        rejection = Rejection(Reason.DETERMINISM, "the library chooses the order of combination, and promises none")
    if rejection is not None:
        yield replace(made, rejection=rejection)
        return
    nothing = Schedule(op.name, "native", problem.ranks, len(problem.layout.lengths), 2, ())
    prepare = partial(_over_processes, nothing, problem, mesh, tuple(attributes.items()), start)
    yield replace(made, cost=native_price(problem, mesh), prepare=prepare)


def _ordered(op: Op, problem: Problem, settings: Settings) -> bool:
    """Return whether every way of a call must combine in the canonical order.

    Which one is the cheapest hangs on the size, so every class from ``threads`` on binds that order.
    """
    if problem.reduction is None or op.settled(problem.dtype):
        return False
    return settings.determinism.value >= Determinism.THREADS.value


def _rejection(op: Op, problem: Problem, schedule: Schedule, mesh: Mesh, settings: Settings) -> Rejection | None:
    """Return why an algorithm does not reach what the caller demands."""
    if problem.reduction is None or op.settled(problem.dtype):
        return None
    demanded = _ordered(op, problem, settings)
    flushing = [d.name for d in mesh.local_devices if d.info.flushes_subnormals]
    if demanded and flushing:
        return Rejection(Reason.DETERMINISM, f"{flushing[0]} flushes subnormals, so no result of it is canonical")
    if demanded and schedule.order != CANONICAL_ORDER:
        return Rejection(Reason.DETERMINISM, f"its order is {schedule.order or 'its own'}, not the canonical one")
    if settings.max_ulp is not None:
        return Rejection(Reason.ACCURACY, "a sum over ranks promises no bound in ULP")
    return None
