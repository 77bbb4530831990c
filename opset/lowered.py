"""What a backend that lowers recipes accepts and promises: dtypes by how they are computed with, and bits."""

from __future__ import annotations

import functools
from typing import Final

from ..core import dtypes
from ..core.kernel import CANONICAL_ORDER, Determinism, Promises
from .recipes.program import Program
from .recipes.writing import build

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


@functools.lru_cache(maxsize=16)
def copy_program(word: str) -> Program:
    """Return the program that moves words of a dtype.

    >>> print(copy_program("uint16"))
    copy:
    %0 = input : uint16
    return %0
    """
    return build("copy", (word,), lambda x: x)
