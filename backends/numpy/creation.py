"""Creation through NumPy: constants, ramps, random bits."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import numpy as np
from numpy.typing import NDArray

from ...plugin import CallSpec, Kernel
from . import costs
from .rows import ALL, Host, kernel

Compute = Callable[..., None]
Words = NDArray[np.uint64]

# Salmon, Moraes, Dror, Shaw: Parallel Random Numbers: As Easy as 1, 2, 3, SC11; the constants of Philox4x32-10.
_MULTIPLIERS: Final = (np.uint64(0xD2511F53), np.uint64(0xCD9E8D57))
_WEYL: Final = (0x9E3779B9, 0xBB67AE85)
_LOW: Final = np.uint64(0xFFFFFFFF)
_ROUNDS: Final = 10


def _full(spec: CallSpec) -> Compute:
    def compute(out: Host, value: Host) -> None:
        out[...] = value

    return compute


def _iota(spec: CallSpec) -> Compute:
    axis = spec.attributes["axis"]

    def compute(out: Host) -> None:
        line = np.arange(out.shape[axis]).astype(out.dtype)
        out[...] = line.reshape(-1, *(1,) * (out.ndim - axis - 1))

    return compute


def _random_bits(spec: CallSpec) -> Compute:
    def compute(out: Host, key: Host, counter: Host) -> None:
        blocks = -(-out.size // 4)
        start = np.uint64(int(counter[0]) | int(counter[1]) << 32)
        low = np.arange(blocks, dtype=np.uint64) + start
        high = [np.full(blocks, counter[i], np.uint64) for i in (2, 3)]
        words = _philox([low & _LOW, low >> np.uint64(32), *high], int(key[0]), int(key[1]))
        out[...] = np.stack(words, axis=1).reshape(-1)[: out.size].astype(np.uint32).reshape(out.shape)

    return compute


def _philox(c: list[Words], k0: int, k1: int) -> list[Words]:
    for r in range(_ROUNDS):
        key = [np.uint64((k + r * w) & 0xFFFFFFFF) for k, w in zip((k0, k1), _WEYL, strict=True)]
        first, second = c[0] * _MULTIPLIERS[0], c[2] * _MULTIPLIERS[1]
        c = [
            (second >> np.uint64(32)) ^ c[1] ^ key[0],
            second & _LOW,
            (first >> np.uint64(32)) ^ c[3] ^ key[1],
            first & _LOW,
        ]
    return c


KERNELS: Final[tuple[Kernel, ...]] = (
    kernel("full", _full, (ALL,), cost=costs.FULL),
    kernel("iota", _iota, cost=costs.IOTA),
    kernel("random_bits", _random_bits, cost=costs.RANDOM),
)
