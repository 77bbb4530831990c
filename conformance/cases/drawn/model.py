"""A stateful test: arrays, views, devices, queues, policies and plugins beside a model in NumPy.

Steps are drawn at random. After each, every handle must have the value that the model says: nothing that happens to one
handle, queue, policy or backend may be seen through another. Consumed handles must say so. At the end every buffer must
be given back.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Final

import numpy as np

from ....core.errors import ConformanceError, DeviceLostError
from ....core.op import OPS
from ...target import Findings, RefusedError, Target, dense
from ..case import ANY, Check, DeviceContext
from .falsify import Choices, falsify, seed_of
from .model_machine import MEANINGS, Machine
from .model_rules import RULES

#: Seconds for which what fails is made smaller: such cases are few, and shrinking makes them readable.
SHRINKING: Final = 10.0
CASES: Final = 3
#: Histories of a case, in the full run and in the quick one, and how many steps each has.
HISTORIES: Final = 150
QUICK_HISTORIES: Final = 20
STEPS: Final = (5, 40)
#: Bytes of choices that a step has.
_STEP: Final = 8


def family(t: str, context: DeviceContext) -> Iterator[tuple[str, str, Check]]:
    """Histories of a device."""
    if t == ANY:
        for i in range(CASES):
            count = QUICK_HISTORIES if context.quick else HISTORIES
            yield "model", f"{i:02}", _check(count, seed_of("model", i, context.seed))


def _check(histories: int, seed: int) -> Check:
    def check(target: Target, findings: Findings) -> None:
        served = _served(target)

        def holds(tape: bytes) -> None:
            run(tape, target, findings, served)

        tape = 1 + STEPS[1] * _STEP
        found = falsify(lambda c: c.rest(tape), holds, examples=histories, seed=seed, tape=tape, shrinking=SHRINKING)
        if found is not None:
            raise found.error

    return check


def _served(target: Target) -> frozenset[str]:
    served = set()
    for op in MEANINGS:
        x = dense(np.ones(3, np.float32), target.device)
        with contextlib.suppress(RefusedError):
            target.decide(OPS[op], [x, x][: OPS[op].operand_count], {})
            served.add(op)
    return frozenset(served)


def run(tape: bytes, target: Target, findings: Findings, served: frozenset[str]) -> None:
    """Carry out one history.

    Raises:
        ConformanceError: with the steps until then.
    """
    machine = Machine(target, served)
    try:
        try:
            _steps(machine, Choices(tape), findings)
        finally:
            machine.close()
        machine.hold_nothing_left()
    except DeviceLostError:
        raise
    except Exception as error:
        said = str(error) if isinstance(error, ConformanceError) else f"{type(error).__name__}: {error}"
        raise ConformanceError(
            f"{said}\nThe shortest history that ends so, on {target.device}:\n" + "\n".join(machine.log),
            **getattr(error, "culprits", {}),
        ) from error


def _steps(machine: Machine, c: Choices, findings: Findings) -> None:
    for _ in range(c.between(*STEPS)):
        step = c.part(_STEP)
        kind = step.byte()
        if kind:  # a step that begins with zero is none, so that it can be left out
            RULES[(kind - 1) * len(RULES) >> 8](machine, step)
            machine.hold(findings)
