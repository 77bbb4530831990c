"""Philox4x32-10 in NumPy and for single blocks in plain integers.

Salmon, Moraes, Dror, Shaw: Parallel Random Numbers: As Easy as 1, 2, 3, SC11, section 3.3 and table 2. The
multipliers and Weyl constants are those of the paper's library, Random123.
"""

from __future__ import annotations

import math
from typing import Any, Final

import numpy as np

Words = Any  # a NumPy array of uint32; the bodies of declarations call it Array

ROUNDS: Final = 10
MULTIPLIERS: Final = (0xD2511F53, 0xCD9E8D57)
#: The golden ratio and sqrt(3) - 1, as 32-bit fractions.
WEYL: Final = (0x9E3779B9, 0xBB67AE85)
_MASK: Final = 0xFFFFFFFF


def _round(c: tuple[Any, Any, Any, Any], k0: Any, k1: Any) -> tuple[Any, Any, Any, Any]:
    """One round; the words are below 2**32 in a type that holds 64 bits."""
    p0, p1 = c[0] * MULTIPLIERS[0], c[2] * MULTIPLIERS[1]
    return (p1 >> 32) ^ c[1] ^ k0, p1 & _MASK, (p0 >> 32) ^ c[3] ^ k1, p0 & _MASK


def block(counter: tuple[int, int, int, int], key: tuple[int, int]) -> tuple[int, int, int, int]:
    """Return the four words of one block.

    >>> [hex(w) for w in block((0, 0, 0, 0), (0, 0))]
    ['0x6627e8d5', '0xe169c58d', '0xbc57ac4c', '0x9b00dbd8']
    """
    c: tuple[Any, Any, Any, Any] = counter
    for r in range(ROUNDS):
        c = _round(c, (key[0] + r * WEYL[0]) & _MASK, (key[1] + r * WEYL[1]) & _MASK)
    return c


def random_words(key: Words, counter: Words, shape: int | tuple[int, ...]) -> Words:
    """Return the words of consecutive blocks in the shape given: see :func:`opmux.opset.creation.random_bits`."""
    size = math.prod(shape) if isinstance(shape, tuple) else shape
    blocks = -(-size // 4)
    start = int(counter[0]) | int(counter[1]) << 32
    low = np.arange(blocks, dtype=np.uint64) + np.uint64(start)
    c: tuple[Any, Any, Any, Any] = (
        low & np.uint64(_MASK),
        low >> np.uint64(32),
        np.full(blocks, counter[2], np.uint64),
        np.full(blocks, counter[3], np.uint64),
    )
    for r in range(ROUNDS):
        c = _round(c, (int(key[0]) + r * WEYL[0]) & _MASK, (int(key[1]) + r * WEYL[1]) & _MASK)
    return np.stack(c, axis=-1).astype(np.uint32).reshape(-1)[:size].reshape(shape)
