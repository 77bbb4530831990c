"""Properties: every op, on every dtype, holds to its contract on calls that are drawn at random."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from ....core.dtypes import COMPLEX, DType
from ....core.errors import ConformanceError
from ....core.op import Op
from ...oracle import exact
from ...oracle.expect import expect
from ...target import Findings, RefusedError, Target
from ..case import OpCheck, OpContext
from .falsify import Choices, falsify, seed_of
from .strategies import Call
from .strategy_rows import drawn

#: Examples of an op and dtype, in the full run and in the quick one.
EXAMPLES: Final = 18
QUICK_EXAMPLES: Final = 6
#: Elements that an operand may have, and that one in so many examples may have.
MOST: Final = 200
MOST_LARGE: Final = 5000
_LARGE: Final = 10
#: The same where the oracle works in Python, number by number.
MOST_SLOW: Final = 16
MOST_SLOW_LARGE: Final = 66


def family(op: Op, t: DType, context: OpContext) -> Iterator[tuple[str, str, OpCheck]]:
    """Random shapes, strides, values and attributes, of which the smallest that fails is shown."""
    yield "property", "", _check(t, QUICK_EXAMPLES if context.quick else EXAMPLES, context.seed)


def is_slow(op: Op, t: DType) -> bool:
    """Return whether the oracle of an op works in Python, number by number."""
    rational = exact.covers(op.name) and (t.name == "float64" or op.name in exact.ROUNDS_TWICE)
    integers = t.kind.endswith("integer") or t.kind == COMPLEX
    return rational or (integers and "elementwise" in op.facts)


def _check(t: DType, examples: int, seed: int) -> OpCheck:
    def check(target: Target, op: Op, findings: Findings) -> None:
        small, large = (MOST_SLOW, MOST_SLOW_LARGE) if is_slow(op, t) else (MOST, MOST_LARGE)
        trial = Trial(target, op, findings)

        def make(c: Choices) -> Call:
            return drawn(op, t, c, large if c.flag(_LARGE) else small)

        found = falsify(make, trial.holds, examples=examples, seed=seed_of("property", op.name, t.name, seed))
        if found is not None:
            culprits = getattr(found.error, "culprits", {})
            kind = "" if isinstance(found.error, ConformanceError) else f"{type(found.error).__name__}: "
            program = found.example.text(op, target.backend, target.device)
            raise ConformanceError(
                f"{kind}{found.error}\nThe smallest example that fails:\n{program}", **culprits
            ) from found.error
        if trial.refusal is not None and not trial.ran:
            raise trial.refusal

    return check


class Trial:
    """Calls of one op on a target, each held to the oracle.

    Attributes:
        ran: whether one of them ran.
        refusal: the last one.
    """

    def __init__(self, target: Target, op: Op, findings: Findings) -> None:
        self._target, self._op, self._findings = target, op, findings
        self.ran = False
        self.refusal: RefusedError | None = None

    def holds(self, call: Call) -> None:
        """Run a call and compare; a refusal as it should be is fine."""
        hosts = call.hosts()
        arrays = call.upload(hosts, self._target.device)
        try:
            if not self.ran:  # the oracle costs more than the question whether it is needed
                self._target.decide(self._op, arrays, call.attributes)
            expected = expect(self._op, hosts, call.attributes)
            self._target.run(self._op, arrays, call.attributes, expected, self._findings)
        except RefusedError as refusal:
            self.refusal = refusal
            return
        self.ran = True
