"""Loop nests as kernels take them: sizes, divisors and strides in one block of bytes."""

from __future__ import annotations

import math
import struct
from collections.abc import Iterator
from typing import Final

from ...plugin import Nest

#: Elements that an index of 32 bits counts, with room to go beyond by a stride of the grid.
MOST_INDEXED: Final = 2**31


def divisor(size: int) -> tuple[int, int]:
    """Return multiplier and shift by which ``quotient`` of elementwise.cuh divides numbers below 2**31.

    Source: Granlund and Montgomery, "Division by Invariant Integers using Multiplication", PLDI 1994, section 4.

    >>> m, s = divisor(7)
    >>> [(((i * m) >> 32) + i) >> s for i in (6, 7, 20, 2**31 - 1)] == [i // 7 for i in (6, 7, 20, 2**31 - 1)]
    True
    """
    shift = (size - 1).bit_length()
    return ((1 << 32) * ((1 << shift) - size)) // size + 1, shift


def packed(nest: Nest) -> bytes:
    """Return the bytes of ``Nest<rank, operands>``: the innermost dimension first, strides in elements."""
    sizes = nest.shape[::-1]
    divisors = [divisor(n) for n in sizes]
    words = [*sizes, *(m for m, _ in divisors), *(s for _, s in divisors)]
    head = struct.pack(f"<{len(words)}I", *words)
    strides = [s for column in nest.strides for s in column[::-1]]
    return head + bytes(-len(head) % 8) + struct.pack(f"<{len(strides)}q", *strides)


def parts(nest: Nest, most: int = MOST_INDEXED) -> Iterator[tuple[Nest, tuple[int, ...]]]:
    """Cut a nest into parts of at most so many elements; with each comes how far its operands are, in elements.

    >>> [(p.shape, at) for p, at in parts(Nest((3, 4), ((4, 1), (0, 1))), most=8)]
    [((1, 4), (0, 0)), ((2, 4), (4, 0))]
    """
    if math.prod(nest.shape) <= most:
        yield nest, (0,) * len(nest.strides)
        return
    d = next(i for i, n in enumerate(nest.shape) if n > 1)
    half = nest.shape[d] // 2
    for begin, end in ((0, half), (half, nest.shape[d])):
        shape = (*nest.shape[:d], end - begin, *nest.shape[d + 1 :])
        for part, offsets in parts(Nest(shape, nest.strides), most):
            yield part, tuple(o + begin * s[d] for o, s in zip(offsets, nest.strides, strict=True))
