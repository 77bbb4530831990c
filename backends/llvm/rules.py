"""What the kernels of this backend accept and promise."""

from __future__ import annotations

from typing import Final

from ...plugin import Determinism, Promises, dtypes

#: Dtypes with arithmetic of their own.
ARITHMETIC: Final = frozenset(t.name for t in (dtypes.bool_, *dtypes.INTEGERS, *dtypes.FLOATS))
#: Dtypes that can be moved as words of their width.
WORDS: Final = frozenset(t.name for t in dtypes.ALL if t.itemsize <= 8)
CANONICAL: Final = Promises(order="canonical", determinism=Determinism.CANONICAL)


def word(dtype: dtypes.DType) -> str:
    """The unsigned integer dtype as wide as a dtype.

    >>> word(dtypes.float32)
    'uint32'
    """
    return f"uint{dtype.itemsize * 8}"
