"""One call of a collective, by everything that can serve it: kernels over all ranks' memory, and every algorithm."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ....core.arrays.array import Array
from ....core.collectives.mesh import Mesh
from ....core.collectives.schedule import Schedule
from ....core.dispatch.decision import Candidate, Decision, Kind
from ....core.errors import ConformanceError, UnsupportedError
from ....core.kernel import CANONICAL_ORDER, Determinism, Rejection
from ....core.op import Op, public_of
from ....opset.collectives import values as executor
from ....opset.collectives.algorithms import ALGORITHMS
from ....opset.collectives.call import axis_back, axis_first, spec_first
from ....opset.collectives.choose import decide
from ....opset.collectives.declare import Collective
from ....opset.collectives.problem import Problem
from ... import hoststate
from ...oracle.formats import Host
from ...performance.candidates import runnable
from ...target import Findings, RefusedError, Target, check_truth, dense
from . import expected
from .calls import Call
from .ranks import Ranks

#: What fills memory that results are about to be put into.
_GARBAGE = 0x5A


@dataclass(frozen=True)
class Made:
    """What one candidate made of one call."""

    name: str
    candidate: Candidate
    mesh: Mesh
    results: list[Host]


def completed(op: Op, attributes: dict[str, Any]) -> dict[str, Any]:
    """Return attributes with those that were left out."""
    defaults = {p.name: p.default for p in op.parameters if not p.required and p.name not in ("arrays", "mesh")}
    return {**defaults, **attributes}


def upload(call: Call, mesh: Mesh) -> list[Array]:
    """Return the operands, each on the device of its rank."""
    return [dense(x, d) for x, d in zip(call.operands, mesh.local_devices, strict=True)]


def problem_of(op: Op, arrays: Sequence[Array], attributes: dict[str, Any]) -> Problem:
    """Return what is to be done."""
    said = op.declaration
    assert isinstance(said, Collective)
    return said.rule(op.name, [spec_first(op, x._sig, attributes.get("axis")) for x in arrays], attributes)


def candidates(target: Target, decision: Decision, turn: int | None = None) -> list[Candidate]:
    """Return what can serve a call, kernels first; refusals of the target's kernels must say why.

    Of the algorithms only one, where it is told whose turn it is.
    """
    for c in decision.candidates:
        if c.kind is not Kind.SCHEDULE:
            target.check_rejection(decision.op.name, c.name, c.rejection)
    found = [c for c in decision.candidates if c.rejection is None and c.run is not None]
    kernels = [c for c in found if c.kind is not Kind.SCHEDULE]
    algorithms = sorted((c for c in found if c.kind is Kind.SCHEDULE), key=lambda c: c.name)
    if turn is not None and algorithms:
        algorithms = [algorithms[turn % len(algorithms)]]
    return kernels + algorithms


def name_of(candidate: Candidate) -> str:
    """Return how a candidate is called in messages and results."""
    return candidate.name if candidate.kind is not Kind.SCHEDULE else f"the algorithm {candidate.name}"


def decided(op: Op, mesh: Mesh, arrays: Sequence[Array], attributes: dict[str, Any]) -> Decision | None:
    """Return the decision for a call, all its candidates ready to run, or None where nothing can serve it."""
    try:
        found = decide(op, arrays, mesh, attributes)
    except UnsupportedError:
        return None
    return replace(found, candidates=runnable(found))


#: Puts operands on a mesh.
Arrange = Callable[[Call, Mesh], list[Array]]


def runs(
    target: Target,
    op: Op,
    call: Call,
    ranks: Ranks,
    arrange: Arrange | None = None,
    wanted: Callable[[Candidate], bool] = lambda candidate: True,
    turn: int | None = None,
) -> Iterator[Made]:
    """Run a call by every candidate, over every mesh.

    Args:
        target: the target.
        op: the collective.
        call: operands and attributes.
        ranks: what meshes are made of.
        arrange: puts operands on the mesh; None for dense ones.
        wanted: which candidates.
        turn: of the algorithms only one, whose turn it is; None for all.

    Raises:
        RefusedError: none could serve it, whether wanted or not.
        ConformanceError: an operand was changed, or somebody else computed.
    """
    refused, ran = "nothing serves it", False
    attributes = completed(op, call.attributes)
    for mesh in ranks.meshes(call.ranks):
        try:
            arrays = (arrange or upload)(call, mesh)
            decision = decided(op, mesh, arrays, attributes)
            for candidate in () if decision is None else candidates(target, decision, turn):
                if decision is None or not wanted(candidate):
                    ran = True
                    continue
                try:
                    made = launched(op, decision, candidate, ranks, mesh, arrays, attributes)
                except UnsupportedError as error:
                    refused = str(error)
                    continue
                _hold_operands(made.name, call, arrays)  # before the result: the next candidate reads them too
                ran = True
                yield made
        except UnsupportedError as error:
            refused = str(error)
    if not ran:
        raise RefusedError(f"{op.name} over {call.ranks} ranks: {refused}")


def launched(
    op: Op,
    decision: Decision,
    candidate: Candidate,
    ranks: Ranks,
    mesh: Mesh,
    arrays: Sequence[Array],
    attributes: dict[str, Any],
) -> Made:
    """Run one candidate in memory that held garbage."""
    soil(problem_of(op, arrays, attributes), mesh)
    name = name_of(candidate)
    with ranks.watched(op.name):
        made = arrays_of(op, decision, candidate, arrays, attributes)
        results = [np.asarray(x.numpy()) for x in made]
    _check_places(name, made, mesh)
    hoststate.check(name)
    return Made(name, candidate, mesh, results)


def arrays_of(
    op: Op, decision: Decision, candidate: Candidate, arrays: Sequence[Array], attributes: dict[str, Any]
) -> list[Array]:
    """Return what a candidate makes; the one that was not chosen takes operands with the axis in question first."""
    if candidate is decision.chosen:
        return list(decision.run(list(arrays), None))
    run, axis = candidate.run, attributes.get("axis")
    if run is None:
        raise UnsupportedError(f"{candidate.name} was not prepared", op=op.name)
    problem = problem_of(op, arrays, attributes)
    return [axis_back(x, problem, axis) for x in run([axis_first(op, x, axis) for x in arrays], None)]


def soil(problem: Problem, mesh: Mesh) -> None:
    """Fill memory that results will be put into: what was freed last may hold the same ones."""
    sizes = [int(np.prod(shape, dtype=np.int64)) * problem.dtype.itemsize for shape in problem.results]
    _held = [dense(np.full(n, _GARBAGE, np.uint8), d) for n, d in zip(sizes, mesh.local_devices, strict=True)]


def _check_places(name: str, made: Sequence[Array], mesh: Mesh) -> None:
    for rank, (x, device) in enumerate(zip(made, mesh.local_devices, strict=True)):
        if x.device is not device:
            raise ConformanceError(f"{name}: rank {rank} is {device}, its result is on {x.device}", kernel=name)


def _hold_operands(name: str, call: Call, arrays: Sequence[Array]) -> None:
    for rank, (x, given) in enumerate(zip(arrays, call.operands, strict=True)):
        if np.asarray(x.numpy()).tobytes() != given.tobytes():
            raise ConformanceError(f"{name}: the operand of rank {rank} was written to", kernel=name, rank=rank)


def hold(made: Made, wanted: Sequence[expected.Expected], findings: Findings, what: str = "") -> None:
    """Hold the results of all ranks."""
    for rank, (got, want) in enumerate(zip(made.results, wanted, strict=True)):
        try:
            worst = want.check(got)
            check_truth(got)
        except ConformanceError as error:
            raise ConformanceError(
                f"{made.name}: rank {rank} of {made.mesh.size}{what}: {error}",
                **{**error.culprits, "kernel": made.name, "rank": rank},
            ) from error
        findings.note(made.candidate, worst, want.unit)


def call(
    target: Target,
    op: Op,
    given: Call,
    ranks: Ranks,
    findings: Findings,
    arrange: Arrange | None = None,
    turn: int | None = None,
) -> None:
    """Run a call by everything that can serve it, and hold every rank's result; arguments as for :func:`runs`."""
    wanted = expected.expected(op, given.operands, completed(op, given.attributes))
    for made in runs(target, op, given, ranks, arrange, turn=turn):
        hold(made, wanted, findings)


def again(target: Target, op: Op, first: Call, second: Call, ranks: Ranks, findings: Findings) -> None:
    """A call's results are still what they were when the same call has been made on other data, by each candidate."""
    attributes = completed(op, first.attributes)
    wanted = [expected.expected(op, c.operands, attributes) for c in (first, second)]
    refused, ran = "nothing serves it", False
    for mesh in ranks.meshes(first.ranks):
        arrays = [upload(c, mesh) for c in (first, second)]
        decision = decided(op, mesh, arrays[0], attributes)
        for candidate in () if decision is None else candidates(target, decision):
            try:
                made = [arrays_of(op, decision, candidate, xs, attributes) for xs in arrays] if decision else []
            except UnsupportedError as error:
                refused = str(error)
                continue
            ran = True
            for results, want, what in zip(made, wanted, (", when the call was made again", ", again"), strict=True):
                hosts = [np.asarray(x.numpy()) for x in results]
                hold(Made(name_of(candidate), candidate, mesh, hosts), want, findings, what)
    if not ran:
        raise RefusedError(f"{op.name}: {refused}")


def two_levels(target: Target, op: Op, given: Call, groups: tuple[int, int], ranks: Ranks, findings: Findings) -> None:
    """The hierarchical algorithm, which takes groups that no public call names yet."""
    attributes = completed(op, given.attributes)
    wanted = expected.expected(op, given.operands, attributes)
    algorithm = next(a for a in ALGORITHMS[op.name] if a.name == "hierarchical")
    schedule = algorithm.build(given.ranks, groups=groups)
    if isinstance(schedule, Rejection):
        raise ConformanceError(f"{op.name}: {groups} are no groups: {schedule.detail}", op=op.name)
    for mesh in ranks.meshes(given.ranks):
        arrays = upload(given, mesh)
        with ranks.watched(op.name):
            try:
                made = executor.run(schedule, problem_of(op, arrays, attributes), arrays)
            except UnsupportedError as error:
                raise RefusedError(str(error)) from error
        candidate = Candidate("hierarchical", Kind.SCHEDULE)
        results = [np.asarray(x.numpy()) for x in made]
        hold(Made("the algorithm hierarchical", candidate, mesh, results), wanted, findings)


def promises(least: Determinism) -> Callable[[Candidate], bool]:
    """Return what tells whether a candidate is a kernel that promises a class."""

    def told(candidate: Candidate) -> bool:
        kernel = candidate.kernel
        return kernel is not None and kernel.promises.determinism.value >= least.value

    return told


def canonical(target: Target, op: Op, given: Call, ranks: Ranks, findings: Findings, *, rounded: bool) -> None:
    """Hold the bits of whatever promises the canonical order.

    Args:
        target: the target.
        op: the collective.
        given: the call.
        ranks: what meshes are made of.
        findings: takes in what ran.
        rounded: whether local combinations are correctly rounded, so that algorithms of that order give its bits.
    """
    attributes = completed(op, given.attributes)
    wanted = expected.canonical_bits(op, given.operands, attributes)
    problem = problem_of(op, [dense(x, target.device) for x in given.operands], attributes)
    schedules = {a.name: a.build(problem.ranks, **problem.arguments) for a in ALGORITHMS[op.name]}
    by_kernel = promises(Determinism.CANONICAL)

    def in_order(candidate: Candidate) -> bool:
        if candidate.kernel is not None:
            return by_kernel(candidate)
        schedule = schedules.get(candidate.name)
        return rounded and isinstance(schedule, Schedule) and schedule.order == CANONICAL_ORDER

    for made in runs(target, op, given, ranks, wanted=in_order):
        for rank, (got, want) in enumerate(zip(made.results, wanted, strict=True)):
            expected.hold_bits(got, want, made.name, f"rank {rank} of {made.mesh.size} has not the canonical bits")
        findings.note(made.candidate, 0.0, "exact")


def public(op: Op, given: Call, mesh: Mesh, **more: Any) -> Any:
    """Make a call as users do."""
    try:
        return public_of(op)(upload(given, mesh), mesh, **given.attributes, **more)
    except UnsupportedError as error:
        raise RefusedError(str(error)) from error


def hold_public(op: Op, given: Call, mesh: Mesh, results: Any, findings: Findings, what: str) -> None:
    wanted = expected.expected(op, given.operands, completed(op, given.attributes))
    for rank, (x, want) in enumerate(zip(results, wanted, strict=True)):
        try:
            want.check(np.asarray(x.numpy()))
        except ConformanceError as error:
            raise ConformanceError(
                f"{op.name}: rank {rank} of {mesh.size} {what}: {error}", **error.culprits
            ) from error
        findings.held()
