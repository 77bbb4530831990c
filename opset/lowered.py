"""What a backend that lowers recipes accepts and promises: dtypes by how they are computed with, and bits."""

from __future__ import annotations

from typing import Final

from ..core import dtypes
from ..core.kernel import CANONICAL_ORDER, Determinism, Promises

#: Dtypes with arithmetic of their own.
ARITHMETIC: Final = frozenset(t.name for t in (dtypes.bool_, *dtypes.INTEGERS, *dtypes.FLOATS))
#: Dtypes that can be moved as words of their width.
WORDS: Final = frozenset(t.name for t in dtypes.ALL if t.itemsize <= 8)
#: Of a kernel that keeps an op's canonical order.
CANONICAL: Final = Promises(order=CANONICAL_ORDER, determinism=Determinism.CANONICAL)


def word(dtype: dtypes.DType) -> str:
    """Return the unsigned integer dtype as wide as a dtype.

    >>> word(dtypes.float32)
    'uint32'
    """
    return f"uint{dtype.itemsize * 8}"
