"""Fallbacks to another device: counted, said once, and limited by policy; never silent."""

from __future__ import annotations

import warnings
import weakref
from collections import Counter

from .array import Array
from .decision import Operands, Run
from .device import Buffer, Device
from .errors import FallbackError, FallbackWarning
from .locks import held_across_fork
from .policy import Policy, current

_lock = held_across_fork()
_counts: Counter[tuple[str, str, str]] = Counter()
_spent: weakref.WeakKeyDictionary[Policy, int] = weakref.WeakKeyDictionary()


def fallback_counts() -> dict[tuple[str, str, str], int]:
    """Return how often each (op, device, device that ran it) fell back in this process."""
    with _lock:
        return dict(_counts)


def reset_fallback_counts() -> None:
    """Start counting anew."""
    with _lock:
        _counts.clear()
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
        first = _counts[op, device.name, host.name] == 1
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
    if first and policy.fallback == "warn":
        warnings.warn(
            f"{op} runs on {host} because no backend has a kernel for it on {device}; later calls are only counted "
            f"(opmux.fallback_counts()). policy(fallback='forbid') makes this an error",
            FallbackWarning,
            stacklevel=6,
        )
