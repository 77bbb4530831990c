"""Constants, ramps, random bits."""

from __future__ import annotations

from typing import Final

import numpy as np

from ....plugin import CallSpec, rounded
from ..memory import Host
from .rows import ALL, Compute, Row, Unit

# Salmon, Moraes, Dror, Shaw: Parallel Random Numbers: As Easy as 1, 2, 3, SC11; Philox4x32-10.
_MULTIPLIERS: Final = (np.uint64(0xD2511F53), np.uint64(0xCD9E8D57))
_WEYL: Final = (np.uint64(0x9E3779B9), np.uint64(0xBB67AE85))
_ROUNDS: Final = 10
_LOW: Final = np.uint64(0xFFFFFFFF)
_HALF: Final = np.uint64(32)


def _full(spec: CallSpec) -> Compute:
    def compute(out: Host, value: Host) -> None:
        out[...] = value

    return compute


def _iota(spec: CallSpec) -> Compute:
    axis, dtype = spec.attributes["axis"], spec.outputs[0].dtype

    def compute(out: Host) -> None:
        line = np.arange(out.shape[axis])
        made = line.astype(out.dtype) if out.dtype.kind in "iu" else rounded(line, dtype)
        out[...] = made.reshape(-1, *(1,) * (out.ndim - axis - 1))

    return compute


def _random_bits(spec: CallSpec) -> Compute:
    def compute(out: Host, key: Host, counter: Host) -> None:
        k = [np.uint64(word) for word in key]
        low = np.uint64(counter[0]) | np.uint64(counter[1]) << _HALF
        first = low + np.arange(-(-out.size // 4), dtype=np.uint64)  # wraps, as the counter does
        words = [first & _LOW, first >> _HALF, *(np.full(first.shape, counter[i], np.uint64) for i in (2, 3))]
        for _ in range(_ROUNDS):
            p, q = words[0] * _MULTIPLIERS[0], words[2] * _MULTIPLIERS[1]
            words = [q >> _HALF ^ words[1] ^ k[0], q & _LOW, p >> _HALF ^ words[3] ^ k[1], p & _LOW]
            k = [(k[i] + _WEYL[i]) & _LOW for i in range(2)]
        out[...] = np.stack(words, axis=1).reshape(-1)[: out.size].astype(np.uint32).reshape(out.shape)

    return compute


ROWS: Final = (
    Row("full", _full, (ALL,), Unit.DMA),
    Row("iota", _iota, (), Unit.VECTOR),
    Row("random_bits", _random_bits, (frozenset({"uint32"}),), Unit.VECTOR),
)
