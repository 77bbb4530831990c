"""Debugging by environment: OPMUX_SYNC=1 waits after every op, OPMUX_CHECK=1 runs the oracle beside every op."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import Final

from .array import Array
from .decision import Decision

Oracle = Callable[[Decision, Sequence["Array | None"], Sequence[Array]], None]


def _on(name: str) -> bool:
    return os.environ.get(name, "0") not in ("", "0")


SYNC: Final = _on("OPMUX_SYNC")
CHECK: Final = _on("OPMUX_CHECK")
ACTIVE: bool = SYNC or CHECK
_oracle: list[Oracle] = []


def set_oracle(oracle: Oracle) -> None:
    """Tell how results are checked; the opset does, so that the core knows no op."""
    _oracle[:] = [oracle]


def after(decision: Decision, operands: Sequence[Array | None], results: Sequence[Array]) -> None:
    """Wait for, and check, what a call made.

    Raises:
        OpmuxError: the late failure of the call.
        ConformanceError: when OPMUX_CHECK is set and a result is outside of its contract.
    """
    for y in results:
        if y._buffer.status is not None:
            y._buffer.status.raise_if_failed()
    if CHECK and _oracle:
        _oracle[0](decision, operands, results)
