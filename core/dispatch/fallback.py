"""Fallbacks to another device: counted, said once, and limited by policy; never silent."""

from __future__ import annotations

import sys
import warnings
import weakref
from collections import Counter
from pathlib import Path
from typing import Final

from ..arrays.array import Array
from ..devices.device import Buffer, Device
from ..errors import FallbackError, FallbackWarning
from ..locks import Order, held_across_fork
from .decision import Operands, Run
from .policy import Policy, current

_lock = held_across_fork(Order.TABLE)
_counts: Counter[tuple[str, str, str]] = Counter()
_spent: weakref.WeakKeyDictionary[Policy, int] = weakref.WeakKeyDictionary()


_warned: set[tuple[str, str, str]] = set()
_PACKAGE: Final = Path(__file__).resolve().parents[2]


def _callers_level() -> int:
    """Return the stack level, for ``warnings.warn`` in the function above, of the first frame outside of opmux."""
    frame, level = sys._getframe(2), 2
    while frame.f_back is not None and _PACKAGE in Path(frame.f_code.co_filename).parents:
        frame, level = frame.f_back, level + 1
    return level


def fallback_counts() -> dict[tuple[str, str, str], int]:
    """Return how often each (op, device, device that ran it) fell back in this process."""
    with _lock:
        return dict(_counts)


def reset_fallback_counts() -> None:
    """Start counting anew."""
    with _lock:
        _counts.clear()
        _warned.clear()
        _spent.clear()


def counted(run: Run, op: str, device: Device, host: Device) -> Run:
    """Return a runner that accounts for each fallback before it happens."""

    def accounted(operands: Operands, into: Buffer | None) -> tuple[Array, ...]:
        _account(op, device, host, current())
        return run(operands, into)

    return accounted


def _account(op: str, device: Device, host: Device, policy: Policy) -> None:
    with _lock:
        _counts[op, device.name, host.name] += 1
        warns = policy.fallback == "warn" and (op, device.name, host.name) not in _warned
        if warns:
            _warned.add((op, device.name, host.name))
        spent = _spent[policy] = _spent.get(policy, 0) + 1
    budget = policy.fallback_budget
    if budget is not None and spent > budget:
        raise FallbackError(
            f"{op} on {device} would be fallback number {spent}; the policy allows {budget}. Raise fallback_budget, or "
            f"use a backend with a kernel for it",
            op=op,
            device=device.name,
            budget=budget,
        )
    if warns:
        warnings.warn(
            f"{op} runs on {host} because no kernel on {device} takes this call, as opmux.explain says; later calls "
            f"are only counted (opmux.fallback_counts()). policy(fallback='forbid') makes this an error",
            FallbackWarning,
            stacklevel=_callers_level(),
        )
