"""The product of complex numbers whose bits the opset fixes, in plain NumPy."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]


def multiplied(x: Array, y: Array) -> Array:
    """Multiply elements; of complex numbers each part by operations that are rounded one by one.

    (a + bi)(c + di) is (ac - bd) + (ad + bc)i: four products, a subtraction and an addition, as in the decomposition
    into pairs. NumPy's own product fuses some of them where the machine can. Special values are results: NumPy's
    warnings of them are the caller's to turn off.

    >>> multiplied(np.complex64([1 + 2j]), np.complex64([3 - 1j])).tolist()
    [(5+5j)]
    """
    if np.result_type(x, y).kind != "c":
        return np.asarray(np.multiply(x, y))
    made = np.empty(np.broadcast_shapes(x.shape, y.shape), np.result_type(x, y))
    made.real = x.real * y.real - x.imag * y.imag
    made.imag = x.real * y.imag + x.imag * y.real
    return made
