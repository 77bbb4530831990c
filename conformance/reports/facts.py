"""What the opset says of the ops that a report names, where it knows them: a certificate may be of another opset."""

from __future__ import annotations

import functools
from collections.abc import Iterable
from typing import Final

from ...core.dtypes import BY_NAME
from ...core.op import OPS, all_ops
from ...opset import namespace  # noqa: F401 - every op has to be declared before it is looked up
from ...opset.accuracy import Ulp
from ...opset.declare import declaration_of
from ..cases.case import DEVICE, REGIONS
from .model import Worst

#: The error of a correctly rounded result, in ULP.
ROUNDED: Final = 0.5
_ORDER: Final = {name: i for i, name in enumerate(BY_NAME)}


@functools.cache
def families() -> dict[str, str]:
    """Return the family of every op, in the order of the opset."""
    found = {op.name: declaration_of(op).family for op in all_ops()}
    order = list(dict.fromkeys(found.values()))
    return {**dict(sorted(found.items(), key=lambda item: order.index(item[1]))), REGIONS: REGIONS, DEVICE: DEVICE}


def in_order(pairs: Iterable[tuple[str, str]]) -> list[tuple[str, str]]:
    """Return pairs of op and dtype by family, then by op and dtype, in the order of the opset."""
    ops = {op: i for i, op in enumerate(families())}
    return sorted(set(pairs), key=lambda p: (ops.get(p[0], len(ops)), p[0], place_of(p[1]), p[1]))


def place_of(dtype: str) -> int:
    """Return where a dtype stands among the others."""
    return _ORDER.get(dtype, len(_ORDER))


def worst(op: str, dtype: str, error: float, unit: str, case: str, kernel: str) -> Worst | None:
    """Return the largest error with its share of what the contract allows; None where every bit is given."""
    if unit in ("", "exact"):
        return None
    bound = _bound(op, dtype)
    if unit == "of the bound":
        return Worst(error, unit, case, kernel, error, bound == ROUNDED)
    return Worst(error, unit, case, kernel, error / bound if bound else None, error <= ROUNDED)


def _bound(op: str, dtype: str) -> float | None:
    """Return the bound in ULP; None where there is none, or where the op is not known."""
    accuracy = declaration_of(OPS[op]).accuracy if op in OPS else None
    return accuracy.bounds.get(dtype) if isinstance(accuracy, Ulp) else None
