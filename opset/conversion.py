"""What a cast means, in NumPy: its own conversions where they are defined, and the missing definitions beside them."""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from ..core.dtypes import FLOATS, INTEGERS, STORAGE, DType, bfloat16, bool_, float8_e4m3fn, float8_e5m2
from ..core.rounding import rounded

#: What NumPy itself cannot compute with; float32 holds all of their values.
_FOREIGN: Final = frozenset(t.numpy for t in (bfloat16, float8_e4m3fn, float8_e5m2))

Host = Any  # a NumPy array; the bodies of declarations call it Array


def converted(x: Host, to: DType) -> Host:
    """Return values in another dtype by the rules at :func:`opmux.opset.casting.cast`.

    >>> from ..core.dtypes import int8
    >>> converted(np.array([np.nan, -1e9]), int8)
    array([   0, -128], dtype=int8)
    """
    if x.dtype == to.numpy:
        return x
    if x.dtype in _FOREIGN:
        x = x.astype(np.float32)
    if to is bool_:
        return np.asarray(x != 0)
    if to in INTEGERS and x.dtype.kind not in "iub":
        return _to_integer(x, to)
    with np.errstate(all="ignore"):
        if (to in FLOATS or to.kind == STORAGE) and x.dtype.kind != "c":
            return rounded(x.astype(np.uint8) if x.dtype.kind == "b" else x, to)
        return x.astype(to.numpy)


def _to_integer(x: Host, to: DType) -> Host:
    limits = np.iinfo(to.numpy)
    if x.dtype.itemsize == 2:
        x = x.astype(np.float32)  # float16 does not reach 2**32
    # 2**bits is a float where the largest integer may not be: at and above it the value saturates.
    above = x >= x.dtype.type(2.0) ** int(limits.max).bit_length()
    below = x <= x.dtype.type(limits.min)
    inside = np.where(above | below | np.isnan(x), 0, x).astype(to.numpy)
    return np.where(above, to.numpy.type(limits.max), np.where(below, to.numpy.type(limits.min), inside))
