"""Operands to time with: on the device, of given signatures, with values on which no kernel stumbles or has it easy.

Times hang on values only where those go wrong: subnormals, NaN, indices out of range, unsorted tables. What is drawn
repeats after a while, so that large operands are made quickly.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from ...core.arrays.array import Array
from ...core.arrays.views import view
from ...core.devices.device import Device
from ...core.dtypes import COMPLEX, REAL, STORAGE, DType, float32, float64
from ...core.errors import OutOfMemoryError
from ...core.op import Op
from ...core.signature import Signature
from ..cases.values import generator, rounded
from ..oracle.formats import Host
from ..target import dense

#: So many values are drawn; larger operands repeat them.
_DRAWN: Final = 1 << 16


@dataclass(frozen=True, slots=True)
class Fill:
    """Which values an operand has.

    Attributes:
        low, high: of floats; of integers and bools where they are wider apart than 1.
        ascending: whether they are sorted.
    """

    low: float = 0.1
    high: float = 0.9
    ascending: bool = False


_PLAIN: Final = Fill()
_INTEGERS: Final = Fill(1, 8)
#: Products of many stay in range.
_NEAR_ONE: Final = Fill(0.98, 1.02)
#: By op and position of the operand, where the plain ones are outside of the domain or degenerate.
_FILLS: Final[dict[tuple[str, int], Fill]] = {
    ("acosh", 0): Fill(1.1, 1.9),
    ("prod", 0): _NEAR_ONE,
    ("cumulative_prod", 0): _NEAR_ONE,
    ("searchsorted", 0): Fill(ascending=True),
}
#: Operands that are indices along the axis of the first one.
_INDICES: Final = frozenset({("gather", 1), ("scatter", 1), ("take_along_axis", 1)})


def fill_of(op: Op, position: int, signatures: Sequence[Signature | None], attributes: Mapping[str, Any]) -> Fill:
    """Return which values an operand of a call has."""
    first, own = signatures[0], signatures[position]
    if first is not None and (op.name, position) in _INDICES:
        return Fill(0, max(first.shape[attributes.get("axis", 0)], 1))
    fill = _FILLS.get((op.name, position), _PLAIN)
    whole = own is not None and own.dtype.kind not in (REAL, COMPLEX, STORAGE)
    return Fill(_INTEGERS.low, _INTEGERS.high, fill.ascending) if whole else fill


def host_values(t: DType, size: int, fill: Fill) -> Host:
    """Return so many values of a dtype, the same ones every time."""
    rng = generator("performance", t.name, fill.low, fill.high)
    count = min(size, _DRAWN)
    if t.kind == COMPLEX:
        part = float32 if t.name == "complex64" else float64
        drawn = np.empty(count, t.numpy)
        drawn.real, drawn.imag = host_values(part, count, fill), host_values(part, count, fill)[::-1]
    elif t.kind in (REAL, STORAGE):
        drawn = rounded(rng.uniform(fill.low, fill.high, count), t)
    elif t.kind == "bool":
        drawn = rng.integers(0, 2, count).astype(bool)
    else:
        most = min(int(fill.high), int(np.iinfo(t.numpy).max) + 1)
        drawn = rng.integers(int(fill.low), most, count).astype(t.numpy)
    made = np.resize(drawn, size)
    return np.sort(made.astype(np.float64), kind="stable").astype(t.numpy) if fill.ascending else made


def _extent(sig: Signature) -> tuple[int, int]:
    """Return the elements from the lowest to the highest that a signature reaches, and where its first one is."""
    steps = [(n - 1) * s for n, s in zip(sig.shape, sig.strides, strict=True)] if sig.size else []
    low, high = sum(min(s, 0) for s in steps), sum(max(s, 0) for s in steps)
    return (high - low + 1 if sig.size else 0), -low


class Operands:
    """Operands on one device; equal ones are made once, the oldest are dropped beyond a limit.

    Args:
        device: where they are.
        most_bytes: kept for later calls.
    """

    def __init__(self, device: Device, most_bytes: int = 1 << 29) -> None:
        self._device = device
        self._most = min(most_bytes, max(device.info.memory // 4, 1))
        self._kept: OrderedDict[tuple[Signature, Fill], Array] = OrderedDict()

    def of(self, op: Op, signatures: Sequence[Signature | None], attributes: Mapping[str, Any]) -> list[Array | None]:
        """Return the operands of a call; alignment may be better than the signatures ask for.

        Raises:
            OutOfMemoryError: when they are larger than the device's memory.
        """
        wanted = sum(_extent(s)[0] * s.dtype.itemsize for s in signatures if s is not None)
        if wanted > self._device.info.memory:
            raise OutOfMemoryError(
                f"the operands of this {op.name} take {wanted / 2**30:.3g} GiB; {self._device} has "
                f"{self._device.info.memory / 2**30:.3g} GiB. Use smaller ones",
                op=op.name,
                device=self._device.name,
            )
        return [
            None if s is None else self._one(s, fill_of(op, i, signatures, attributes))
            for i, s in enumerate(signatures)
        ]

    def _one(self, sig: Signature, fill: Fill) -> Array:
        found = self._kept.pop((sig, fill), None)
        if found is None:
            found = self._make(sig, fill)
        self._kept[sig, fill] = found
        while len(self._kept) > 1 and sum(s.nbytes for s, _ in self._kept) > self._most:
            self._kept.popitem(last=False)
        return found

    def _make(self, sig: Signature, fill: Fill) -> Array:
        if sig.contiguous:
            return dense(host_values(sig.dtype, math.prod(sig.shape), fill).reshape(sig.shape), self._device)
        size, first = _extent(sig)
        return view(dense(host_values(sig.dtype, size, fill), self._device), sig.shape, sig.strides, first)
