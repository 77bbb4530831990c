"""What the rows of samples share: shapes, and values with a purpose."""

from __future__ import annotations

import numpy as np

from ....core.dtypes import COMPLEX, FLOATS, PROMOTION, REAL, DType, int8, int32, uint8, uint32
from ...oracle.formats import FORMATS, Host
from .. import values

CUBE = (3, 5, 7)
LONG = (2050,)


def empty(t: DType, *shape: int) -> Host:
    return np.empty(shape, t.numpy)


def gentle(t: DType, shape: tuple[int, ...], *seed: object) -> Host:
    """Factors whose product stays in range: near 1 for floats; any odd integers, of which no product wraps to 0."""
    x = values.moderate(t, shape, "gentle", *seed, low=0.8, high=1.25)
    if t.kind.endswith("integer"):
        x = x | t.numpy.type(1)
    if t.kind == COMPLEX:
        x = (x / np.abs(x)).astype(t.numpy)
    return x


def hard_row(t: DType) -> Host:
    table = values.hard(t)
    return np.resize(table, (8, table.size))


def any_bits(t: DType, shape: tuple[int, ...], *seed: object) -> Host:
    return values.moderate(t, shape, *seed)


def ties(t: DType, shape: tuple[int, ...], *seed: object) -> Host:
    return values.small(t, shape, *seed)


def growing(t: DType, shape: tuple[int, ...], *seed: object) -> Host:
    """Terms of one sign: a sum kept in too narrow a dtype stops growing."""
    return values.moderate(t, shape, "growing", *seed, low=0.5, high=1.5)


def nan_payloads(t: DType) -> Host:
    """Return NaNs of both signs, quiet and signalling, whose payload is in the highest, the lowest and all bits.

    The signalling ones of storage formats are whatever their bits say.
    """
    whole = np.dtype(f"u{t.itemsize}")
    quiet = int(np.array(np.inf).astype(t.numpy).view(whole)) if t.kind == REAL else 0
    field = (1 << (FORMATS[t.name].precision - 1)) - 1 if t.kind == REAL else 0
    if not field:
        return np.array([np.nan]).astype(t.numpy)
    payloads = [1, 2, field, field >> 1, (field >> 1) + 1, (field >> 1) + 2]
    return np.array([quiet | p | s << (t.bits - 1) for p in payloads for s in (0, 1)], whole).view(t.numpy)


def promotions(t: DType) -> list[tuple[DType, DType]]:
    """Return pairs of different dtypes that promote to a dtype, at most three."""
    pairs = [(a, b) for (a, b), result in PROMOTION.items() if result is t and a is not b]
    keep = {uint8, int8, int32, uint32, *FLOATS}
    chosen = [p for p in pairs if p[0] in keep or p[1] in keep]
    return chosen[:1] + chosen[len(chosen) // 2 : len(chosen) // 2 + 1] + chosen[-1:] if len(chosen) > 3 else chosen
