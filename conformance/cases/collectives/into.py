"""``out=`` of collectives: results in memory that is given, the operands' own or other, on the host between guards."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from ....core.arrays.array import Array
from ....core.collectives.mesh import Mesh
from ....core.devices.memory import RELEASES
from ....core.dispatch.decision import Candidate, Decision
from ....core.dispatch.execute import launch_on_host
from ....core.dtypes import DType
from ....core.errors import ConformanceError, ConsumedError, UnsupportedError
from ....core.op import Op, public_of
from ....opset.collectives.out import taken
from ... import hoststate
from ...oracle.formats import Host
from ...target import Findings, RefusedError, Target, dense
from ..devices import guard_zones
from . import calls, checks, expected
from .calls import Call
from .ranks import Ranks

#: The collectives whose results may be as large as their operands, with the one of their calls of which that is so.
IN_OPERANDS: Final = {"all_reduce": 0, "broadcast": 0, "permute": 0, "all_to_all": 1}
_RANKS: Final = (3, 2, 1)
#: The bytes that memory is full of before results are put into it: NaN in every float format, and a number.
_GARBAGE: Final = (0xFF, 0x5A)


@dataclass(frozen=True)
class Way:
    """One way to do a call into memory that is given.

    Attributes:
        name: of the way.
        candidate: what does it.
        mesh: the ranks.
        decision: for the call.
        call: makes it: operands and ``out=``, one per rank, to results.
    """

    name: str
    candidate: Candidate
    mesh: Mesh
    decision: Decision
    call: Callable[[Sequence[Array], Sequence[Array]], Sequence[Array]]


Attempt = Callable[[Way], None]


def ways(op: Op, mesh: Mesh, decision: Decision, found: Sequence[Candidate], given: Call) -> Iterator[Way]:
    """Yield every candidate, and the call as users make it."""

    def by(candidate: Candidate) -> Callable[[Sequence[Array], Sequence[Array]], Sequence[Array]]:
        one = replace(decision, candidates=(candidate,), chosen=candidate, run=candidate.run or decision.run)

        def call(arrays: Sequence[Array], out: Sequence[Array]) -> Sequence[Array]:
            operands, results = taken(one, arrays, mesh, out)
            if results is None:
                return one.run(list(operands), None)
            launch_on_host(one, results, operands)
            return results

        return call

    for candidate in found:
        yield Way(checks.name_of(candidate), candidate, mesh, decision, by(candidate))

    def public(arrays: Sequence[Array], out: Sequence[Array]) -> Sequence[Array]:
        made: Sequence[Array] = public_of(op)(list(arrays), mesh, out=list(out), **given.attributes)
        return made

    yield Way(f"{op.name}(out=)", decision.chosen, mesh, decision, public)


def each(target: Target, op: Op, given: Call, ranks: Ranks, turn: int | None, attempt: Attempt) -> None:
    """Try every way of a call on every mesh.

    Args:
        target: the target.
        op: the collective.
        given: a call of the shapes in question.
        ranks: what meshes are made of.
        turn: of the algorithms only one, whose turn it is; None for all.
        attempt: makes calls and holds what comes of them.

    Raises:
        RefusedError: nothing could serve it.
        ConformanceError: what an attempt raises, or memory beside an array was written.
    """
    refused, ran = "nothing serves it", False
    attributes = checks.completed(op, given.attributes)
    for mesh in ranks.meshes(given.ranks):
        try:
            decision = checks.decided(op, mesh, checks.upload(given, mesh), attributes)
            found = [] if decision is None else checks.candidates(target, decision, turn)
        except UnsupportedError as error:
            refused = str(error)
            continue
        for way in () if decision is None else ways(op, mesh, decision, found, given):
            try:
                attempt(way)
                ran = True
            except UnsupportedError as error:
                refused = str(error)
    if not ran:
        raise RefusedError(f"{op.name} over {given.ranks} ranks: {refused}")


@contextmanager
def _guards(way: Way, garbage: int) -> Iterator[None]:
    """Put guard zones around all arrays of the block; only memory of hosts is written in place."""
    try:
        with ExitStack() as stack:
            for device in way.mesh.local_devices if all(d.is_host for d in way.mesh.local_devices) else ():
                stack.enter_context(guard_zones.guarded(device, garbage))
            yield
            for release in RELEASES:  # small results are kept for the next call, which is to have memory without guards
                release()
    except ConformanceError as error:
        if way.name in str(error):
            raise
        raise ConformanceError(f"{way.name}, with out=: {error}", **{**error.culprits, "kernel": way.name}) from error


def _full(way: Way, garbage: int) -> list[Array]:
    """Return an array for every rank's result, full of garbage."""
    made = []
    for s in way.decision.outputs:
        nbytes = int(np.prod(s.shape, dtype=np.int64)) * s.dtype.itemsize
        made.append(dense(np.full(nbytes, garbage, np.uint8).view(s.dtype.numpy).reshape(s.shape), s.device))
    return made


def hosts_of(way: Way, arrays: Sequence[Array]) -> list[Host]:
    """Return copies of results: an export would keep others from using their memory."""
    for rank, (x, device) in enumerate(zip(arrays, way.mesh.local_devices, strict=True)):
        if x.device is not device:
            raise ConformanceError(f"{way.name}: rank {rank} is {device}, its result is on {x.device}")
    return [np.array(x.numpy()) for x in arrays]


def _as_given(way: Way, given: Call, arrays: Sequence[Array], but: Sequence[int] = ()) -> None:
    for rank, (x, host) in enumerate(zip(arrays, given.operands, strict=True)):
        if rank not in but and np.asarray(x.numpy()).tobytes() != host.tobytes():
            raise ConformanceError(f"{way.name}: the operand of rank {rank} was written to", kernel=way.name, rank=rank)


def _consumed(way: Way, arrays: Sequence[Array], findings: Findings) -> None:
    for rank, x in enumerate(arrays):
        try:
            x.numpy()
        except ConsumedError:
            findings.held()
            continue
        raise ConformanceError(f"{way.name}: what was given as out= for rank {rank} can still be read", rank=rank)


def _hold(way: Way, results: list[Host], wanted: Sequence[expected.Expected], findings: Findings, what: str) -> None:
    hoststate.check(way.name)
    checks.hold(checks.Made(way.name, way.candidate, way.mesh, results), wanted, findings, what)


def wanted_of(op: Op, given: Call) -> list[expected.Expected]:
    """Return what every rank must get."""
    return expected.expected(op, given.operands, checks.completed(op, given.attributes))


def other_memory(t: DType, reductions: Sequence[str], turn: int | None) -> Callable[..., None]:
    """Return the case of memory that is no operand's: fresh, and that of the results of an earlier call."""

    def body(target: Target, op: Op, ranks: Ranks, findings: Findings) -> None:
        for i, n in enumerate(_RANKS):
            reduction = reductions[i % len(reductions)]
            first, second = (calls.of(op, t, n, reduction, "out", which)[0] for which in ("first", "second"))
            both = [(first, wanted_of(op, first)), (second, wanted_of(op, second))]

            def attempt(
                way: Way, both: list[tuple[Call, list[expected.Expected]]] = both, garbage: int = _GARBAGE[i % 2]
            ) -> None:
                with _guards(way, garbage):
                    out: Sequence[Array] = _full(way, garbage)
                    for given, wanted in both:
                        arrays = checks.upload(given, way.mesh)
                        results = way.call(arrays, out)
                        _hold(way, hosts_of(way, results), wanted, findings, ", in memory that was given")
                        _as_given(way, given, arrays)
                        _consumed(way, out, findings)
                        out = results
                    del arrays, results, out

            each(target, op, first, ranks, turn, attempt)

    return body


def operands_memory(t: DType, reductions: Sequence[str], turn: int | None) -> Callable[..., None]:
    """Return the case of the operands' own memory: of all ranks, and of one beside other memory."""

    def body(target: Target, op: Op, ranks: Ranks, findings: Findings) -> None:
        for i, n in enumerate(_RANKS):
            given = calls.of(op, t, n, reductions[i % len(reductions)], "out")[IN_OPERANDS[op.name]]
            wanted = wanted_of(op, given)
            for own in dict.fromkeys((tuple(range(n)), (0,), (n - 1,))):
                each(target, op, given, ranks, turn, in_own(given, wanted, own, findings))

    return body


def in_own(given: Call, wanted: Sequence[expected.Expected], own: Sequence[int], findings: Findings) -> Attempt:
    """Return the attempt to put the results of some ranks into the memory of their operands, the others' into other."""
    what = f", in the memory of the operand of rank {', '.join(map(str, own))}" if own else ", in memory that was given"

    def attempt(way: Way) -> None:
        with _guards(way, _GARBAGE[0]):
            arrays, out = checks.upload(given, way.mesh), _full(way, _GARBAGE[0])
            for rank in own:
                out[rank] = arrays[rank]
            results = way.call(arrays, out)
            _hold(way, hosts_of(way, results), wanted, findings, what)
            _as_given(way, given, arrays, own)
            _consumed(way, out, findings)
            del arrays, out, results

    return attempt


def kernels_alone(attempt: Attempt) -> Attempt:
    """Return an attempt that is made by kernels, and not by algorithms or once more as users make it."""

    def made(way: Way) -> None:
        if way.candidate.kernel is not None and way.name == way.candidate.name:
            attempt(way)

    return made
