"""Signatures: the small interned facts about an array on which every decision hangs."""

from __future__ import annotations

import math
import weakref
from typing import TYPE_CHECKING, Final

from .dtypes import DType
from .errors import ShapeError, SizeError
from .locks import Order, held_across_fork

if TYPE_CHECKING:
    from .devices.device import Device

ALIGNMENT: Final = 64
Shape = tuple[int, ...]
#: NumPy's own limit (``NPY_MAXDIMS`` since NumPy 2.0): the values of an array of more axes could not be shown to it.
MOST_AXES: Final = 64
_MOST_BYTES: Final = 2**63 - 1  # offsets and sizes are int64 in NumPy, in DLPack and in kernels


def count_elements(shape: Shape, dtype: DType) -> int:
    """Return the number of elements of a shape that an array can have.

    Raises:
        ShapeError: for too many axes.
        SizeError: for more bytes than an int64 counts, also where another axis is empty.
    """
    if len(shape) > MOST_AXES:
        raise ShapeError(f"a shape of {len(shape)} axes; an array has at most {MOST_AXES}", ndim=len(shape))
    size = math.prod(shape)
    if (size or math.prod(n for n in shape if n)) * dtype.itemsize > _MOST_BYTES:
        raise SizeError(
            f"shape {shape} of {dtype} has more bytes than the 2**63 - 1 that an address can count; use a smaller "
            f"shape",
            shape=shape,
            dtype=dtype,
        )
    return size


def row_major(shape: Shape) -> Shape:
    """Return the strides, in elements, of a contiguous row-major array.

    >>> row_major((2, 3, 4))
    (12, 4, 1)
    """
    strides = [1] * len(shape)
    for i in range(len(shape) - 2, -1, -1):
        strides[i] = strides[i + 1] * max(shape[i + 1], 1)
    return tuple(strides)


def is_row_major(shape: Shape, strides: Shape) -> bool:
    """Return whether elements lie in row-major order without gaps; strides of axes of length 1 do not count."""
    if 0 in shape:
        return True
    expected = 1
    for n, s in zip(reversed(shape), reversed(strides), strict=True):
        if n != 1:
            if s != expected:
                return False
            expected *= n
    return True


class Signature:
    """Device, dtype, shape, strides and alignment of an array; equal ones are the same object.

    Hashing is by identity, which is what makes a memo lookup cheap. Data values, load and the
    warmth of caches are never part of it.

    Attributes:
        device: where the array lives.
        dtype: its element type.
        shape: lengths, in elements.
        strides: steps, in elements.
        aligned: whether the first element is at a multiple of 64 bytes.
        size: number of elements.
        nbytes: ``size * itemsize``.
        contiguous: whether elements lie in row-major order without gaps.
    """

    __slots__ = (
        "__weakref__", "aligned", "contiguous", "device", "dtype", "nbytes", "shape", "size", "strides",
    )  # fmt: skip

    device: Device
    dtype: DType
    shape: Shape
    strides: Shape
    aligned: bool
    size: int
    nbytes: int
    contiguous: bool

    def __repr__(self) -> str:
        layout = "" if self.contiguous else f" strides {self.strides}"
        dims = ",".join(map(str, self.shape))
        return f"{self.dtype}[{dims}]{layout} on {self.device}" + ("" if self.aligned else " unaligned")


_interned: weakref.WeakValueDictionary[tuple[object, ...], Signature] = weakref.WeakValueDictionary()
_lock = held_across_fork(Order.TABLE)


def signature(
    device: Device, dtype: DType, shape: Shape, strides: Shape | None = None, aligned: bool = True
) -> Signature:
    """Return the one signature with these facts; without strides, a contiguous one."""
    if strides is None:
        strides = row_major(shape)
    key = (device, dtype, shape, strides, aligned)
    found = _interned.get(key)
    if found is not None:
        return found
    made = Signature()
    made.device = device
    made.dtype = dtype
    made.shape = shape
    made.strides = strides
    made.aligned = aligned
    made.size = count_elements(shape, dtype)
    made.nbytes = made.size * dtype.itemsize
    made.contiguous = is_row_major(shape, strides)
    with _lock:  # two threads must not intern two twins
        return _interned.setdefault(key, made)
