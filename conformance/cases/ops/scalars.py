"""Every hard value as a number beside an array: kernels treat such operands apart, and take short ways for some."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

import numpy as np

from ....core.dtypes import COMPLEX, REAL, STORAGE, UNSIGNED, DType, bool_
from ....core.errors import ConformanceError
from ....core.op import Op, Role
from ...oracle.expect import expect
from ...oracle.formats import Host
from ...target import Findings, Target
from .. import values
from ..case import OpCheck, OpContext
from ..samples.sample import operand_dtypes

#: Numbers for which code is written apart.
_PLAIN: Final = (0.5, -0.5, -1.0, -2.0, 2.0, 3.0, 4.0, 7.0, 10.0, 64.0)
#: Elements beside each number: the hardest, others that are hard, and moderate ones.
_BESIDE: Final = 56
_COLUMN: Final = 12


def family(op: Op, t: DType, context: OpContext) -> Iterator[tuple[str, str, OpCheck]]:
    """Each operand in turn a number of no axes, the others an array."""
    types = operand_dtypes(op, t)
    every = op.operand_count == len(types) and all(p.role is Role.ARRAY for p in op.parameters if p.required)
    if context.quick or t.kind in (COMPLEX, STORAGE) or "elementwise" not in op.facts or not every or len(types) < 2:
        return
    for i in range(len(types)):
        yield "values", f"number{i}", _beside(op, types, i)


def numbers(t: DType) -> Host:
    """Return the numbers that an array is tried beside."""
    table = values.hardest(t)
    if t is bool_:
        return table
    plain = [v for v in _PLAIN if t.kind == REAL or (v == int(v) and (v >= 0 or t.kind != UNSIGNED))]
    more = values.rounded(np.array(plain), t) if t.kind == REAL else np.array(plain).astype(np.int64).astype(t.numpy)
    return np.concatenate([table, more])


def _beside(op: Op, types: tuple[DType, ...], position: int) -> OpCheck:
    def check(target: Target, op: Op, findings: Findings) -> None:
        alone = numbers(types[position])
        lines = [_line(x, op.name, i) for i, x in enumerate(types)]
        arrays = target.upload(tuple(lines))
        found: list[Host] = []
        chosen: Any = None
        for value in alone:
            operands = list(arrays)
            operands[position] = target.upload((np.array(value, alone.dtype),))[0]
            decision = target.decide(op, operands, {})
            found.append(np.asarray(target.launch(decision, operands).numpy()))
            chosen = decision.chosen
        whole = tuple(
            np.repeat(alone, _BESIDE) if i == position else np.tile(line, alone.size) for i, line in enumerate(lines)
        )
        for value, got in zip(alone, found, strict=True):
            if got.shape != (_BESIDE,):
                raise ConformanceError(f"{op.name}: beside the number {value} the result's shape is {got.shape}")
        try:
            target.compare(chosen, np.concatenate(found), expect(op, whole, {}), findings)
        except ConformanceError as error:
            text = f"operand {position} is a number, {_BESIDE} elements for each in turn: {error}"
            raise ConformanceError(text, **error.culprits) from error

    return check


def _line(t: DType, *seed: object) -> Host:
    """Return hard values and moderate ones."""
    drawn = values.generator("beside", t.name, *seed).permutation(values.hard(t))
    hard = np.append(values.hardest(t), drawn)[: _BESIDE - _COLUMN]
    return np.resize(np.append(hard, values.moderate(t, (_COLUMN,), "beside", *seed)), (_BESIDE,))
