"""One op again in other circumstances: from other threads, with other attributes, in more shapes than tables hold."""

from __future__ import annotations

import contextvars
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any, Final

from ....core.dtypes import DType, float32
from ....core.errors import OpmuxError
from ....core.op import Op, Role
from ....opset.declare import declaration_of
from ...oracle.expect import Expected, completed, infer
from ...target import Findings, Target
from .. import values
from ..case import OpCheck, OpContext
from ..samples.sample import Sample, operand_dtypes
from . import checks

#: Threads that have made no call before, one after the other.
_THREADS: Final = 2
#: More than the variants, plans or descriptors that small tables hold.
_LENGTHS: Final = tuple(range(1, 281, 2))
#: What else an attribute may be, by its name.
_OTHERS: Final[dict[str, tuple[Any, ...]]] = {
    "keepdims": (True, False),
    "descending": (True, False),
    "epsilon": (1e-5, 0.5, 1e-2),
    "scale": (None, 0.25, 1.0),
    "causal": (True, False),
    "approximate": (True, False),
    "correction": (0.0, 1.0, 0.5),
    "side": ("left", "right"),
    "mode": ("clip", "wrap", "fill", "drop"),
    "reduction": ("set", "add", "max", "min"),
    "count_padding": (True, False),
    "stride": (1, 2, 3),
    "dilation": (1, 2),
    "padding": (0, 1),
    "kernel": (1, 2),
    "groups": (1, 2),
    "classes": (2, 5),
}


def family(op: Op, t: DType, context: OpContext) -> Iterator[tuple[str, str, OpCheck]]:
    """The base sample again and again."""
    base = context.base
    if context.quick:
        return
    if base is not None:
        yield "threads", "", _from_other_threads(base, context.once(base))
        others = variants(op, base)
        if len(others) > 1:
            yield "values", "attributes", checks.interleaved([(s, context.once(s)) for s in others], 2)
    types = operand_dtypes(op, t)
    whole = op.operand_count == len(types) and all(p.role is Role.ARRAY for p in op.parameters if p.required)
    first = float32 if float32 in declaration_of(op).dtypes else declaration_of(op).dtypes[0]
    if t is first and "elementwise" in op.facts and whole:
        line = tuple(values.moderate(x, (_LENGTHS[-1],), op.name, i) for i, x in enumerate(types))
        yield "shapes", "many", checks.lengths(op, line, _LENGTHS)


def variants(op: Op, base: Sample) -> list[Sample]:
    """Return the base sample with one attribute after the other changed, where that makes a call."""
    found = [base]
    lead = next((x for x in base.operands if x is not None), None)
    for p in op.parameters:
        others: tuple[Any, ...] = _OTHERS.get(p.name, ())
        if p.name == "axis" and lead is not None:
            others = tuple(range(lead.ndim))
        given = completed(op, base.attributes).get(p.name)
        for value in others:
            if p.role is not Role.ATTRIBUTE or value == given:
                continue
            changed = {**base.attributes, p.name: value}
            try:
                infer(op, base.operands, changed)
            except OpmuxError:
                continue
            found.append(replace(base, label=f"{p.name}={value}", attributes=changed))
    return found


def _from_other_threads(given: Sample, expected: Callable[[], Expected]) -> OpCheck:
    """What a backend sets up for each thread is set up for one that never called before."""

    def check(target: Target, op: Op, findings: Findings) -> None:
        target.run(op, target.upload(given.operands), given.attributes, expected(), findings, every=False)
        failed: list[BaseException] = []

        def call() -> None:
            try:
                target.run(op, target.upload(given.operands), given.attributes, expected(), findings)
            except BaseException as error:
                failed.append(error)

        for _ in range(_THREADS):
            thread = threading.Thread(target=contextvars.copy_context().run, args=(call,))
            thread.start()
            thread.join()
            if failed:
                raise failed[0]

    return check
