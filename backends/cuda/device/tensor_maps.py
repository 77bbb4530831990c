"""Tensor maps: how the copy engine of capability 9.0 goes through an array, as the driver encodes it.

CuPy binds no function for it, so the driver's own library is called. Prototype, numbers and limits: CUDA driver API,
``cuTensorMapEncodeTiled``.
"""

from __future__ import annotations

import ctypes
import functools
from dataclasses import dataclass
from typing import Any, Final

#: Bytes of a map, and what the place that it is encoded to is a multiple of.
BYTES: Final = 128
ALIGNMENT: Final = 64
#: What strides, but the innermost one, and addresses are multiples of, and what strides are below.
STRIDE_BYTES: Final = 16
STRIDE_LIMIT: Final = 1 << 40
#: Indices are of 32 bits with a sign.
LONGEST: Final = 2**31 - 1
LONGEST_BOX: Final = 256
RANKS: Final = (3, 5)
#: Bytes of a line of a swizzled box.
LINE: Final = 128

_TYPES: Final = {1: 0, 2: 1, 4: 2}  # CU_TENSOR_MAP_DATA_TYPE_UINT8, 16, 32: maps move bits
_NOT_INTERLEAVED: Final = 0
_SWIZZLE_128_BYTES: Final = 3
#: A line is half of what goes to the second-level cache with it: the other half is the next box's.
_PROMOTE_256_BYTES: Final = 3
_ZEROS_OUTSIDE: Final = 0


@dataclass(frozen=True, slots=True)
class Tiling:
    """An array and the boxes that are copied of it, whose lines of 128 bytes are swizzled in groups of 8.

    Attributes:
        itemsize: bytes of an element: 1, 2 or 4.
        shape: lengths, the innermost first, whose elements lie side by side.
        strides: bytes from one index to the next along all axes but the innermost.
        box: lengths of a box; the innermost is a line.
    """

    itemsize: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]
    box: tuple[int, ...]

    @property
    def nbytes(self) -> int:
        """Bytes from the first element to the last."""
        inner = self.shape[0] * self.itemsize
        return inner + sum((n - 1) * s for n, s in zip(self.shape[1:], self.strides, strict=True))


def encoded(library: Any, pointer: int, tiling: Tiling) -> tuple[int, bytes]:
    """Return the driver's answer, 0 for success, and a map.

    Args:
        library: the driver's library.
        pointer: the array's address.
        tiling: the array.
    """
    before, after = _prepared(tiling)
    room = ctypes.create_string_buffer(BYTES + ALIGNMENT)
    at = -ctypes.addressof(room) % ALIGNMENT
    place = ctypes.c_void_p(ctypes.addressof(room) + at)
    code = library.cuTensorMapEncodeTiled(place, *before, ctypes.c_void_p(pointer), *after)
    return int(code), room.raw[at : at + BYTES]


@functools.lru_cache(maxsize=256)
def _prepared(tiling: Tiling) -> tuple[tuple[Any, ...], tuple[Any, ...]]:
    """Return the arguments that come before the address and after it; the driver only reads them."""
    rank = len(tiling.shape)
    lengths, box = (ctypes.c_uint64 * rank)(*tiling.shape), (ctypes.c_uint32 * rank)(*tiling.box)
    strides, every = (ctypes.c_uint64 * (rank - 1))(*tiling.strides), (ctypes.c_uint32 * rank)(*[1] * rank)
    modes = _NOT_INTERLEAVED, _SWIZZLE_128_BYTES, _PROMOTE_256_BYTES, _ZEROS_OUTSIDE
    return (_TYPES[tiling.itemsize], ctypes.c_uint32(rank)), (lengths, strides, box, every, *modes)
