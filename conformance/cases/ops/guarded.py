"""Every op between guard zones, in memory full of garbage: kernels write all of their results, and nothing else."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from ....core.dispatch.call import run_decision
from ....core.dispatch.decision import Candidate
from ....core.dtypes import DType
from ....core.errors import ConformanceError
from ....core.op import Op, Role
from ...oracle.expect import Expected
from ...oracle.formats import Host
from ...target import Findings, RefusedError, Target
from .. import values
from ..case import OpCheck, OpContext
from ..devices import guard_zones
from ..samples.sample import Sample, operand_dtypes

#: NaN for floats and -1 for integers; and a small number for both.
_GARBAGE: Final = (0xFF, 0x40)
#: Samples of more bytes say nothing more about the ends of buffers.
_MOST_BYTES: Final = 1 << 15
_MOST_SAMPLES: Final = 4
#: Lengths of vectors that end in the middle of a register, of an unrolled loop, of a cache line.
_EDGES: Final = (1, 3, 17, 67, 129)


@dataclass(frozen=True)
class Part:
    """One call.

    Attributes:
        operands, attributes: of the call.
        expected: the oracle; None where the same call in other memory must give the same bits.
    """

    operands: tuple[Host | None, ...]
    attributes: Mapping[str, Any]
    expected: Callable[[], Expected] | None


def guarded(op: Op, t: DType, context: OpContext) -> Iterator[tuple[str, str, OpCheck]]:
    """The small samples of an op, and vectors of odd lengths where it works element by element."""
    parts = [Part(s.operands, s.attributes, context.once(s)) for s in _small(context.samples)]
    types = operand_dtypes(op, t)
    every = all(p.role is Role.ARRAY for p in op.parameters if p.required)
    if "elementwise" in op.facts and op.operand_count == len(types) and every:
        full = [values.moderate(x, (_EDGES[-1],), op.name, i) for i, x in enumerate(types)]
        parts += [Part(tuple(x[:n] for x in full), {}, None) for n in _EDGES]
    if parts:
        yield "memory", "guards", _between_guards(tuple(parts))


def _small(samples: tuple[Sample, ...]) -> list[Sample]:
    """Return the base sample first, then others that are small."""
    found = [s for s in samples if sum(x.nbytes for x in s.operands if x is not None) <= _MOST_BYTES]
    return sorted(found, key=lambda s: not s.base)[:_MOST_SAMPLES]


def _between_guards(parts: tuple[Part, ...]) -> OpCheck:
    def check(target: Target, op: Op, findings: Findings) -> None:
        refusals = []
        for i, part in enumerate(parts):
            try:
                # Constants and code that a first call keeps are not the kernel's results.
                _, plain = _run(target, op, part)
            except RefusedError as error:  # of a dtype beside the case's own; it has cases of its own
                refusals.append(error)
                continue
            for garbage in _GARBAGE if i == 0 else _GARBAGE[i % 2 :][:1]:
                try:
                    _one(target, op, findings, part, garbage, plain)
                except ConformanceError as error:
                    text = f"between guards, in memory full of {garbage:#x}: {error}"
                    raise ConformanceError(text, **{**error.culprits, "op": op.name}) from error
        if len(refusals) == len(parts):
            raise refusals[0]

    return check


def _run(target: Target, op: Op, part: Part) -> tuple[Candidate, Host]:
    """Make a call; afterwards the operands must be as they were."""
    arrays = target.upload(part.operands)
    decision = target.decide(op, arrays, part.attributes)
    with target.watched(op):
        result = run_decision(decision, list(arrays), None)
    found = np.array(result.numpy())
    for i, (x, host) in enumerate(zip(arrays, part.operands, strict=True)):
        if x is not None and host is not None and x.numpy().tobytes() != np.ascontiguousarray(host).tobytes():
            raise ConformanceError(f"{op.name}: operand {i} is not as it was", op=op.name)
    return decision.chosen, found


def _one(target: Target, op: Op, findings: Findings, part: Part, garbage: int, plain: Host) -> None:
    with guard_zones.guarded(target.device, garbage) as guards:
        chosen, found = _run(target, op, part)
    if guards.live:
        raise ConformanceError(
            f"{guards.live} buffers stay allocated after their arrays are gone: {chosen.name} keeps them"
        )
    if part.expected is not None:
        target.compare(chosen, found, part.expected(), findings)
        return
    if not _same_bits(found, plain):
        raise ConformanceError(f"{chosen.name} gives another result than for the same {found.size} elements elsewhere")
    findings.note(chosen, 0.0, "exact")


def _same_bits(a: Host, b: Host) -> bool:
    """Return whether two results have the same bits; every NaN counts as the same."""
    nan = (a != a) & (b != b)
    differ = np.frombuffer(a.tobytes(), np.uint8) != np.frombuffer(b.tobytes(), np.uint8)
    return not (differ.reshape(a.size, a.itemsize).any(axis=1) & ~nan.reshape(-1)).any()
