"""Products as cuBLAS is asked for them, carried out on memory of the host by their definition."""

from __future__ import annotations

import ctypes

import numpy as np
from numpy.typing import NDArray

import opmux as ox
from opmux.backends.cuda.device.runtime import Gemm


def carry_out(product: Gemm, a: int, b: int, c: int) -> None:
    """Write all products of a batch."""
    of, result = (getattr(ox, name).numpy for name in product.dtypes)
    m, n, k = product.extents
    wide = np.dtype(np.int64 if result.kind == "i" else np.complex128 if result.kind == "c" else np.float64)
    for i in range(product.count):
        x = _by_columns(a + i * product.steps[0] * of.itemsize, of, (m, k), product.leading[0], product.transposed[0])
        y = _by_columns(b + i * product.steps[1] * of.itemsize, of, (k, n), product.leading[1], product.transposed[1])
        z = _by_columns(c + i * product.steps[2] * result.itemsize, result, (m, n), product.leading[2], False)
        z[...] = (x.astype(wide) @ y.astype(wide)).astype(result)


def _by_columns(at: int, dtype: np.dtype, shape: tuple[int, int], leading: int, transposed: bool) -> NDArray:
    """Return a matrix that lies by columns, or as its transpose does, in host memory."""
    rows, columns = shape[::-1] if transposed else shape
    assert leading >= rows, "columns overlap"
    nbytes = ((columns - 1) * leading + rows) * dtype.itemsize
    flat = np.frombuffer((ctypes.c_byte * nbytes).from_address(at), dtype)
    lies = np.lib.stride_tricks.as_strided(flat, (rows, columns), (dtype.itemsize, leading * dtype.itemsize))
    return lies.T if transposed else lies
