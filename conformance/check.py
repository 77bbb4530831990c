"""OPMUX_CHECK=1: the oracle runs beside every call, and a result outside of its contract raises where it was made."""

from __future__ import annotations

from collections.abc import Sequence
from contextvars import ContextVar
from typing import Final

import numpy as np

from ..core.arrays.array import Array
from ..core.dispatch import observe
from ..core.dispatch.decision import Decision
from ..core.errors import ConformanceError
from .oracle.formats import Host

#: Elements of an elementwise result that are checked: float64's oracle takes some 50 us for each.
SAMPLE: Final = 4096

_inside: ContextVar[bool] = ContextVar("opmux_check_inside", default=False)


def install() -> None:
    """Check every later call of this process; a second time changes nothing."""
    if check not in observe.OBSERVERS:
        observe.OBSERVERS.append(check)


def check(decision: Decision, operands: Sequence[Array | None], results: Sequence[Array], seconds: float) -> None:
    """Hold one call's result to the declared meaning of its op.

    Collectives are left to the suite. Of a large elementwise result only :data:`SAMPLE` elements are checked, the last
    ones among them. A result that was written over one of its operands cannot be checked.

    Raises:
        ConformanceError: the result is outside of its contract; ``kernel`` names what made it.
    """
    if "collective" in decision.op.facts:
        return  # what other processes brought is not at hand
    buffers = {id(x._buffer) for x in operands if x is not None}
    if _inside.get() or len(results) != 1 or id(results[0]._buffer) in buffers:
        return
    from .oracle.expect import expect

    token = _inside.set(True)  # reading an array may itself be a call
    try:
        host = tuple(None if x is None else x.numpy() for x in operands)
        got = np.asarray(results[0].numpy())
        if "elementwise" in decision.op.facts and got.size > SAMPLE:
            host, got = sampled(host, got)
        expected = expect(decision.op, host, dict(decision.attributes))
        expected.on(flushes=decision.device.info.flushes_subnormals)(got)
    except ConformanceError as error:
        if "missing" in error.culprits:
            raise
        name = decision.chosen.name
        raise ConformanceError(f"{name}: {error}", **{**error.culprits, "kernel": name}) from error
    finally:
        _inside.reset(token)


def sampled(operands: tuple[Host | None, ...], got: Host) -> tuple[tuple[Host | None, ...], Host]:
    """Return some elements of an elementwise call, SAMPLE at most: those of the operands, and those of the result."""
    at = np.unique(
        np.append(np.linspace(0, got.size - 1, SAMPLE - 64).astype(np.int64), np.arange(got.size - 64, got.size))
    )
    chosen = np.unravel_index(at, got.shape)
    return tuple(None if x is None else np.broadcast_to(x, got.shape)[chosen] for x in operands), got[chosen]
