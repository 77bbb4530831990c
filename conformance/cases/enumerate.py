"""Every case of the suite, each with an exact id, enumerated from the opset alone."""

from __future__ import annotations

import functools
import zlib
from collections.abc import Callable
from typing import Final

from ...core.dtypes import DType, dtype
from ...core.op import COLLECTIVES, OPS, Op, find_op
from ...opset import namespace  # noqa: F401 - every op has to be declared before cases are enumerated
from ...opset.declare import declaration_of
from ..oracle.expect import Expected, expect
from ..target import Findings, Target
from .case import ANY, DEVICE, KINDS, REGIONS, Case, Check, DeviceContext, DeviceFamily, OpCheck, OpContext, OpFamily
from .collectives import family as collective
from .collectives.calls import COVERED
from .devices import concurrency, fault_loops, interop, memory, queue_order
from .drawn import model, programs, properties
from .ops import basics, claims, determinism, guarded, large, numerics, placement, repetition, scalars
from .regions import family as regions
from .samples.sample import Sample, samples

#: The quick run takes the first case of an op and dtype, and one in so many of the others, the same ones every time.
_QUICK_SHARE: Final = 8

#: Families of cases of an op and dtype.
OP_FAMILIES: Final[tuple[OpFamily, ...]] = (
    basics.sampled,
    basics.elementwise,
    basics.laid_out,
    basics.refused,
    guarded.guarded,
    basics.repeated,
    scalars.family,
    placement.family,
    repetition.family,
    large.family,
    properties.family,
    determinism.family,
    claims.family,
    numerics.family,
)

#: Families of cases of a device.
DEVICE_FAMILIES: Final[tuple[DeviceFamily, ...]] = (
    memory.memory,
    queue_order.queues,
    interop.interop,
    fault_loops.faults,
    concurrency.threads,
    programs.family,
    model.family,
)

#: The dtypes that cases of a device are about: those that a core profile is named for.
DEVICE_DTYPES: Final = (ANY, "float32", "float16", "bfloat16", "float64", "int8")


def named(name: str) -> Op:
    """Return an op that has cases, a collective too.

    Raises:
        KeyError: there is none of this name.
    """
    found = find_op(name)
    if found is None or (found.name in COLLECTIVES and found.name not in COVERED):
        raise KeyError(name)
    return found


def ops() -> tuple[Op, ...]:
    """Return every op that has cases: those of one device first, then the collectives."""
    return (*OPS, *(op for op in COLLECTIVES if op.name in COVERED))


def dtypes_of(op: Op) -> tuple[DType, ...]:
    """Return the dtypes of the leading operand that an op is tried with."""
    return declaration_of(op).dtypes


def all_pairs() -> list[tuple[str, str]]:
    """Return every op and dtype that has cases, by name, then regions, the whole device last."""
    made = [(op.name, t.name) for op in ops() for t in dtypes_of(op)] + [(REGIONS, t) for t in regions.DTYPES]
    return made + [(DEVICE, t) for t in DEVICE_DTYPES if case_ids(DEVICE, t)]


@functools.lru_cache(maxsize=4)
def cases(op: str, t: str, quick: bool = False, seed: int = 0) -> tuple[Case, ...]:
    """Return every case of an op and dtype.

    Args:
        op: the op's name, ``"regions"`` or ``"device"``.
        t: name of the dtype of the leading operand; for a device also ``"any"``.
        quick: fewer values, no exhaustive ones; not sufficient for a claim.
        seed: of what is drawn at random.

    Raises:
        ValueError: two cases have one id.
    """
    if op == REGIONS:
        found = [Case(REGIONS, t, *made) for made in regions.family(t, quick, seed)]
    else:
        found = _of_device(t, quick, seed) if op == DEVICE else _of_op(named(op), dtype(t), quick, seed)
    if quick:
        found = [c for i, c in enumerate(found) if i == 0 or zlib.crc32(c.id.encode()) % _QUICK_SHARE == 0]
    found.sort(key=lambda c: KINDS.index(c.kind))
    if len({c.id for c in found}) < len(found):
        raise ValueError(f"two cases of {op} on {t} have one id")
    return tuple(found)


def case_ids(op: str, t: str, quick: bool = False, seed: int = 0) -> tuple[str, ...]:
    """Return the ids of :func:`cases`, which are kept: asked for often, and small."""
    return _case_ids(op, t, quick, seed)


@functools.cache
def _case_ids(op: str, t: str, quick: bool, seed: int) -> tuple[str, ...]:  # one key, however the arguments are given
    return tuple(c.id for c in cases(op, t, quick, seed))


def _of_op(op: Op, t: DType, quick: bool, seed: int) -> list[Case]:
    if op.name in COLLECTIVES:
        made = collective.family(op, t, quick, seed)
        return [Case(op.name, t.name, kind, label, _bound(check, op)) for kind, label, check in made]
    given = tuple(samples(op, t, quick=quick))
    context = OpContext(quick, seed, given, _oracles(op), next((s for s in given if s.base), None))
    return [
        Case(op.name, t.name, kind, label, _bound(check, op))
        for family in OP_FAMILIES
        for kind, label, check in family(op, t, context)
    ]


def _of_device(t: str, quick: bool, seed: int) -> list[Case]:
    context = DeviceContext(quick, seed)
    return [
        Case(DEVICE, t, kind, label, check) for family in DEVICE_FAMILIES for kind, label, check in family(t, context)
    ]


def _bound(check: OpCheck, op: Op) -> Check:
    def bound(target: Target, findings: Findings) -> None:
        check(target, op, findings)

    return bound


def _oracles(op: Op) -> Callable[[Sample], Callable[[], Expected]]:
    """Return the oracle of each sample, computed at most once."""
    made: dict[int, tuple[Sample, Callable[[], Expected]]] = {}  # the sample kept: its id names it

    def once(s: Sample) -> Callable[[], Expected]:
        if id(s) not in made:
            made[id(s)] = s, functools.lru_cache(maxsize=1)(lambda: expect(op, s.operands, s.attributes))
        return made[id(s)][1]

    return once
