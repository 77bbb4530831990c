"""How two contributions are combined in host memory: by NumPy's functions, with the opset's meaning."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from ...core.dtypes import BOOL, COMPLEX, REAL, DType

Elements = NDArray[Any]
#: ``combine(x, y, into)`` writes ``x (+) y``; *into* may be *x* or *y*.
Combine = Callable[[Elements, Elements, Elements], None]

_NUMBERS: Final[dict[str, np.ufunc]] = {
    "sum": np.add,
    "prod": np.multiply,
    "min": np.minimum,
    "max": np.maximum,
    "and": np.bitwise_and,
    "or": np.bitwise_or,
}
_TRUTHS: Final[dict[str, np.ufunc]] = {
    "sum": np.logical_or,
    "prod": np.logical_and,
    "min": np.logical_and,
    "max": np.logical_or,
    "and": np.logical_and,
    "or": np.logical_or,
}


def combine_of(reduction: str, dtype: DType) -> Combine:
    """Return what combines contributions, in the accumulator's dtype.

    Special values are results: NumPy's warnings of them are the caller's to turn off.

    >>> import numpy as np
    >>> from opmux.core.dtypes import int8
    >>> x = np.array([100, 2], np.int8)
    >>> combine_of("sum", int8)(x, x, x)
    >>> x.tolist()
    [-56, 4]
    """
    ufunc = (_TRUTHS if dtype.kind == BOOL else _NUMBERS)[reduction]
    signed_zeros = reduction in ("min", "max") and dtype.kind == REAL

    def combine(x: Elements, y: Elements, into: Elements) -> None:
        ufunc(x, y, out=into)

    def extreme(x: Elements, y: Elements, into: Elements) -> None:
        """NumPy may return either of two zeros; the opset orders -0 below +0."""
        zeros = (x == 0) & (y == 0)
        if not zeros.any():
            ufunc(x, y, out=into)
            return
        right = x + y if reduction == "max" else -(-x - y)
        ufunc(x, y, out=into)
        np.copyto(into, right, where=zeros)

    def product(x: Elements, y: Elements, into: Elements) -> None:
        """Each part by operations rounded one by one, as multiply's recipe has it: NumPy's own product contracts."""
        real, imaginary = x.real * y.real - x.imag * y.imag, x.real * y.imag + x.imag * y.real
        into.real, into.imag = real, imaginary

    if dtype.kind == COMPLEX and reduction == "prod":
        return product
    return extreme if signed_zeros else combine
