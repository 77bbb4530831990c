"""Devices that flush subnormals: what they may give where an operand or a result is below the smallest normal number.

Such a device declares it (``DeviceInfo.flushes_subnormals``). It may then read a subnormal operand as a zero of its
sign and give a zero of the right sign for a subnormal result; everything else is held to the contract, and an op that
only moves values keeps every bit.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from ...core.dtypes import DType
from .compare import Judge
from .formats import FORMATS, Host

_PARTS = {"complex64": "float32", "complex128": "float64"}
#: A sum or composite this far above the smallest normal number may have been below it, before errors within its bound.
_NEAR = 1 + 2.0**-6


def least_normal(name: str) -> float:
    """Return the smallest normal number of a floating dtype, of a complex one's parts, or 0 where there is none."""
    form = FORMATS.get(_PARTS.get(name, name))
    return 0.0 if form is None else float(np.ldexp(1.0, form.lowest))


def flushed(x: Host, name: str) -> Host:
    """Return values with zeros of the same sign in the place of subnormals.

    >>> flushed(np.float32([-1e-40, 2.0]), "float32")
    array([-0.,  2.], dtype=float32)
    """
    least = least_normal(name)
    if not least:
        return x
    if x.dtype.kind == "c":
        made = x.copy()
        part = _PARTS[name]
        made.real, made.imag = flushed(x.real, part), flushed(x.imag, part)
        return made
    with np.errstate(invalid="ignore"):
        wide = x.astype(np.float64)
        return np.where(np.abs(wide) < least, np.copysign(0.0, wide), wide).astype(x.dtype)


def forgiving(judge: Judge, other: Judge, t: DType) -> Judge:
    """Return the rule that takes what either of two takes, and zeros of the right sign for subnormal results.

    Args:
        judge: for the operands as they are.
        other: for the flushed operands.
        t: dtype of the result.
    """
    least = least_normal(t.name)
    form = FORMATS.get(_PARTS.get(t.name, t.name))
    # Hardware may look at a result before it rounds it, and a result within its bound may lie on either side.
    inside = 1 + 2 * judge.bound * form.epsilon if form is not None and judge.unit.startswith("ULP") else _NEAR
    limit = least * (1.0 if judge.unit == "exact" else inside)

    def measure(got: Host) -> tuple[Host, Host]:
        errors, wrong = judge.measure(got)
        if not np.any(wrong):
            return errors, wrong
        others, also = other.measure(flushed(got, t.name) if judge.unit == "exact" else got)
        vanished = _vanished(got, judge.want, least, limit) | _vanished(got, other.want, least, limit)
        right = ~wrong | ~also | vanished
        best = np.where(~also, others, np.where(vanished, 0.0, errors))
        return np.where(right & wrong, best, errors), ~right

    return replace(judge, measure=measure)


def _vanished(got: Host, want: Host, least: float, limit: float) -> Host:
    if not least or want.dtype.kind in "iub":
        return np.zeros(got.shape, bool)
    with np.errstate(invalid="ignore"):
        if got.dtype.kind == "c":
            return np.asarray(np.abs(got.astype(want.dtype) - want) <= 2 * least)
        wide, wanted = got.astype(np.float64), want.astype(np.longdouble)
        same = np.signbit(wide) == np.signbit(wanted)
        return np.asarray((wide == 0) & same & (np.abs(wanted) < limit))
