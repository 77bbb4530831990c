"""What each kind of case does with a target."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import numpy as np

from ....core.arrays.array import Array
from ....core.arrays.metadata import SLICE, apply
from ....core.arrays.ownership import OutError
from ....core.dispatch.call import decide_call, run_decision
from ....core.dispatch.decision import Candidate
from ....core.dtypes import DType
from ....core.errors import (
    ArgumentTypeError,
    AxisError,
    ConformanceError,
    ConsumedError,
    DTypeError,
    OpmuxError,
    ShapeError,
)
from ....core.kernel import ArraySpec
from ....core.op import Op
from ...oracle.compare import Where, check_layout
from ...oracle.expect import Expected, expect
from ...oracle.formats import Host
from ...target import Findings, RefusedError, Target, arguments, dense
from .. import layouts
from ..case import OpCheck
from ..samples.sample import Sample
from ..samples.specials import Special


def sample(given: Sample, expected: Callable[[], Expected]) -> OpCheck:
    """Dense operands; afterwards they must be as they were."""

    def check(target: Target, op: Op, findings: Findings) -> None:
        arrays = target.upload(given.operands)
        target.run(op, arrays, given.attributes, expected(), findings)
        for i, (x, host) in enumerate(zip(arrays, given.operands, strict=True)):
            if x is not None and host is not None and x.numpy().tobytes() != np.ascontiguousarray(host).tobytes():
                raise ConformanceError(
                    f"{op.name}: the kernel wrote to operand {i}, which is not its to write", op=op.name
                )

    return check


def strided(given: Sample, layout: str, expected: Callable[[], Expected]) -> OpCheck:
    """The same values behind other strides."""

    def check(target: Target, op: Op, findings: Findings) -> None:
        lay = {**layouts.LAYOUTS, **layouts.RARE}[layout]
        arrays = [None if x is None else lay(x, target.device) for x in given.operands]
        target.run(op, arrays, given.attributes, expected(), findings)

    return check


def mixed(given: Sample, name: str, expected: Callable[[], Expected]) -> OpCheck:
    """The same values, each operand behind strides of its own."""

    def check(target: Target, op: Op, findings: Findings) -> None:
        target.run(op, layouts.mixed(name, given.operands, target.device), given.attributes, expected(), findings)

    return check


def repeated_first(given: Sample, expected: Callable[[], Expected]) -> OpCheck:
    """The first operand repeated along its first axis, the others dense."""

    def check(target: Target, op: Op, findings: Findings) -> None:
        first, *rest = given.operands
        arrays = [None if first is None else layouts.repeated(first, target.device), *target.upload(tuple(rest))]
        target.run(op, arrays, given.attributes, expected(), findings)

    return check


#: With more of them every kernel that is eligible takes part.
_FEW_ROUNDS: Final = 2


def interleaved(calls: Sequence[tuple[Sample, Callable[[], Expected]]], rounds: int) -> OpCheck:
    """Many calls in turn, there and back: a kernel keeps nothing of one call that another one could see.

    Calls with a dtype that the backend refuses are left out: they have cases of their own.
    """

    def check(target: Target, op: Op, findings: Findings) -> None:
        uploaded = [target.upload(s.operands) for s, _ in calls]
        served, refusals = [], []
        for k, (given, _) in enumerate(calls):
            try:
                target.decide(op, uploaded[k], given.attributes)
                served.append(k)
            except RefusedError as error:
                refusals.append(error)
        if refusals and not served:
            raise refusals[0]
        seen: list[set[bytes]] = [set() for _ in calls]
        for i in range(rounds):
            turn = served if i % 2 == 0 else reversed(served)
            for k in turn:
                given, expected = calls[k]
                # Uploaded each time: the memory of one call's operands is that of another one's before.
                arrays = target.upload(given.operands)
                try:
                    if rounds > _FEW_ROUNDS and i in (0, rounds - 1):  # by every kernel of the backend
                        target.run(op, arrays, given.attributes, expected(), findings)
                    else:
                        _once_more(target, op, arrays, given.attributes, expected, seen[k], findings)
                except ConformanceError as error:
                    text = f"{given.kind} {given.label or 'of the table'}, in round {i + 1} of {rounds}: {error}"
                    raise ConformanceError(text, **error.culprits) from error

    return check


def _once_more(
    target: Target,
    op: Op,
    arrays: list[Array | None],
    attributes: Mapping[str, Any],
    expected: Callable[[], Expected],
    seen: set[bytes],
    findings: Findings,
) -> None:
    """Run the chosen kernel; of results that were held before only the bits are compared."""
    decision = target.decide(op, arrays, attributes)
    got = np.asarray(target.launch(decision, arrays).numpy())
    if got.tobytes() in seen:
        findings.held()
        return
    target.compare(decision.chosen, got, expected(), findings)
    seen.add(got.tobytes())


def in_layouts(given: Sample, names: Sequence[str], expected: Callable[[], Expected]) -> OpCheck:
    """One call behind one layout after the other, the dense one between them."""

    def check(target: Target, op: Op, findings: Findings) -> None:
        seen: set[bytes] = set()
        for name in (*names, *reversed(names)):
            for lay in (layouts.LAYOUTS[name], dense):
                arrays = [None if x is None else lay(x, target.device) for x in given.operands]
                _once_more(target, op, arrays, given.attributes, expected, seen, findings)

    return check


def special(given: Special) -> OpCheck:
    """A sentence of the declaration."""

    def check(target: Target, op: Op, findings: Findings) -> None:
        result = Expected(ArraySpec(None, ()), given.check, "exact")  # type: ignore[arg-type]
        target.run(op, target.upload(given.operands), given.attributes, result, findings)

    return check


def lengths(op: Op, operands: tuple[Host, ...], edges: tuple[int, ...]) -> OpCheck:
    """Vectors of lengths around block edges; the oracle runs once, over the longest.

    They grow and then shrink, so that code kept from another length shows either way.
    """

    def check(target: Target, op: Op, findings: Findings) -> None:
        arrays, expected = target.upload(operands), expect(op, operands, {})
        found: list[tuple[int, Candidate, Host]] = []
        for n in (*edges, *reversed(edges[:-1])):
            parts = [None if x is None else apply(SLICE, x, (0,), (n,), (1,)) for x in arrays]
            decision = target.decide(op, parts, {})
            result = target.launch(decision, parts)
            found.append((n, decision.chosen, np.asarray(result.numpy())))
        longest, chosen, whole = found[len(edges) - 1]
        target.compare(chosen, whole, expected, findings)
        for n, chosen, got in found:
            if got.dtype == whole.dtype and got.shape == (n,) and got.tobytes() == whole[:n].tobytes():
                findings.held()  # the same bits were held to the oracle already
                continue
            try:
                target.compare(chosen, got, expected if n == longest else _as_prefix_of(expected, whole, n), findings)
            except ConformanceError as error:
                raise ConformanceError(f"length {n}: {error}", **error.culprits) from error

    return check


def _as_prefix_of(expected: Expected, whole: Host, n: int) -> Expected:
    """Return the expectation of the first elements, given a right result for all."""

    def of(check: Callable[[Host], float]) -> Callable[[Host], float]:
        def prefix(got: Host) -> float:
            check_layout(got, (n,), Where("", expected.spec.dtype))
            merged = whole.copy()
            merged[:n] = got
            return check(merged)

        return prefix

    spec = ArraySpec(expected.spec.dtype, (n,))
    return Expected(spec, of(expected.check), expected.unit, of(expected.on(flushes=True)))


def same_operand(given: Sample, expected: Callable[[], Expected]) -> OpCheck:
    """One array in the place of every operand of its dtype."""

    def check(target: Target, op: Op, findings: Findings) -> None:
        arrays = target.upload(given.operands)
        first = next(x for x in reversed(arrays) if x is not None)
        shared = [first if x is not None and x.dtype is first.dtype else x for x in arrays]
        target.run(op, shared, given.attributes, expected(), findings, every=False)

    return check


def with_shared(operands: tuple[Host | None, ...]) -> tuple[Host | None, ...]:
    """Return the operands with the last one in the place of every one of its dtype."""
    first = next(x for x in reversed(operands) if x is not None)
    return tuple(first if x is not None and x.dtype == first.dtype else x for x in operands)


def overlapping(given: Sample, op: Op) -> OpCheck:
    """Operands that are views of one buffer, one element apart."""

    def check(target: Target, op: Op, findings: Findings) -> None:
        first = next(x for x in reversed(given.operands) if x is not None)
        line, n = first.reshape(-1), first.size - len(given.operands)
        buffer = dense(line, target.device)
        shifted = [line[i : i + n] for i in range(len(given.operands))]
        host = tuple(
            s if x is not None and x.dtype == first.dtype else np.resize(np.asarray(x), (n,))
            for s, x in zip(shifted, given.operands, strict=True)
        )
        arrays = [
            apply(SLICE, buffer, (i,), (i + n,), (1,)) if h.dtype == first.dtype else dense(h, target.device)
            for i, h in enumerate(host)
        ]
        target.run(op, arrays, given.attributes, expect(op, host, given.attributes), findings, every=False)

    return check


def out_fresh(given: Sample, expected: Callable[[], Expected]) -> OpCheck:
    """``out=`` takes the result and is consumed."""

    def check(target: Target, op: Op, findings: Findings) -> None:
        arrays, wanted = target.upload(given.operands), expected()
        decision = target.decide(op, arrays, given.attributes)
        out = dense(np.ones(wanted.spec.shape, wanted.spec.dtype.numpy), target.device)
        with target.watched(op):
            result = run_decision(decision, list(arrays), out)
        target.compare(decision.chosen, result, wanted, findings)
        _demand(op, findings, ConsumedError, out.numpy, "using out= after the call")

    return check


def out_operand(given: Sample, position: int, expected: Callable[[], Expected]) -> OpCheck:
    """``out=`` is an operand itself: the kernel may run in place, the value must not suffer."""

    def check(target: Target, op: Op, findings: Findings) -> None:
        arrays, wanted = target.upload(given.operands), expected()
        decision = target.decide(op, arrays, given.attributes)
        with target.watched(op):
            result = run_decision(decision, list(arrays), arrays[position])
        target.compare(decision.chosen, result, wanted, findings)

    return check


def out_wrong(given: Sample, expected: Callable[[], Expected]) -> OpCheck:
    """``out=`` of another shape or dtype is refused and not consumed."""

    def check(target: Target, op: Op, findings: Findings) -> None:
        arrays, spec = target.upload(given.operands), expected().spec
        decision = target.decide(op, arrays, given.attributes)
        findings.note(decision.chosen, 0.0, "exact")
        out = dense(np.zeros((*spec.shape, 2), spec.dtype.numpy), target.device)
        _demand(op, findings, OutError, lambda: run_decision(decision, list(arrays), out), "out= of another shape")
        if out.shape != (*spec.shape, 2) or out.numpy().any():
            raise ConformanceError(f"{op.name}: the refused out= was written", op=op.name)

    return check


def promoted(types: tuple[DType, DType], operands: tuple[Host, ...]) -> OpCheck:
    """Operands of two dtypes, and the result that the standard's promotion table gives."""

    def check(target: Target, op: Op, findings: Findings) -> None:
        target.run(op, target.upload(operands), {}, expect(op, operands, {}), findings, every=False)

    return check


def refusal(given: Sample, expected: Callable[[], Expected]) -> OpCheck:
    """A dtype that no kernel of the backend declares: its own kernels decompose it, or the refusal is typed."""

    def check(target: Target, op: Op, findings: Findings) -> None:
        try:
            target.run(op, target.upload(given.operands), given.attributes, expected(), findings)
        except RefusedError:
            findings.held()

    return check


def _demand(op: Op, findings: Findings, kind: type[OpmuxError], call: Callable[[], Any], what: str) -> None:
    findings.held()
    try:
        call()
    except kind:
        return
    except Exception as error:
        raise ConformanceError(
            f"{op.name}: {what} must raise {kind.__name__}; it raised {error!r}", op=op.name
        ) from error
    raise ConformanceError(f"{op.name}: {what} must raise {kind.__name__}; it raised nothing", op=op.name)


def wrong_dtype(given: Sample, refused: DType) -> OpCheck:
    """Operands of a dtype that the op does not take."""

    def check(target: Target, op: Op, findings: Findings) -> None:
        operands = tuple(None if x is None else np.ones(x.shape).astype(refused.numpy) for x in given.operands)
        named = arguments(op, target.upload(operands), given.attributes)
        _demand(op, findings, DTypeError, lambda: decide_call(op, (), named), f"operands of dtype {refused}")

    return check


def wrong_axis(given: Sample) -> OpCheck:
    """An axis that the operand does not have."""

    def check(target: Target, op: Op, findings: Findings) -> None:
        for axis in (64, -65):
            named = arguments(op, target.upload(given.operands), {**given.attributes, "axis": axis})
            _demand(op, findings, AxisError, lambda named=named: decide_call(op, (), named), f"axis={axis}")  # type: ignore[misc]

    return check


def wrong_shapes(given: Sample) -> OpCheck:
    """Operands that do not broadcast."""

    def check(target: Target, op: Op, findings: Findings) -> None:
        operands = tuple(None if x is None else np.ones((2, 3 + i), x.dtype) for i, x in enumerate(given.operands))
        named = arguments(op, target.upload(operands), given.attributes)
        _demand(op, findings, ShapeError, lambda: decide_call(op, (), named), "shapes that do not broadcast")

    return check


def not_arrays(given: Sample) -> OpCheck:
    """Host arrays where opmux arrays belong, and a missing operand."""

    def check(target: Target, op: Op, findings: Findings) -> None:
        named = arguments(op, given.operands, given.attributes)
        _demand(op, findings, ArgumentTypeError, lambda: decide_call(op, (), named), "a NumPy array as operand")
        unknown = arguments(op, target.upload(given.operands), {**given.attributes, "no_such_argument": 1})
        _demand(op, findings, ArgumentTypeError, lambda: decide_call(op, (), unknown), "an unknown argument")

    return check
