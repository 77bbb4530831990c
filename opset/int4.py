"""Four-bit integers as a storage form: two in each uint8, the first in the low half."""

from __future__ import annotations

from ..core.arrays.array import Array
from ..core.arrays.metadata import expand_dims, given_array, reshape
from ..core.dtypes import int8, uint8
from ..core.errors import DTypeError, ShapeError
from .arithmetic import subtract
from .bitwise import bitwise_and, bitwise_left_shift, bitwise_or, bitwise_right_shift, bitwise_xor
from .casting import cast
from .decompositions import part
from .movement import concat


def pack_int4(x: Array, /) -> Array:
    """Return int8 or uint8 values as uint8 with two of them each; the last axis becomes half as long.

    The low four bits of each value are kept, so -8 to 7 and 0 to 15 both survive. The first of a pair is in the low
    half.

    Raises:
        DTypeError: another dtype.
        ShapeError: the last axis has odd length, or there is none.

    >>> import opmux as ox
    >>> ox.pack_int4(ox.asarray([1, -1], dtype=ox.int8)).tolist()
    [241]
    """
    if given_array(x, "pack_int4").dtype not in (int8, uint8):
        raise DTypeError(f"pack_int4: {x.dtype} is not taken; use int8 or uint8", op="pack_int4", dtype=x.dtype)
    if not x.ndim or x.shape[-1] % 2:
        raise ShapeError(f"pack_int4: shape {x.shape} has no last axis of even length", op="pack_int4", shape=x.shape)
    n = x.shape[-1]
    nibbles = bitwise_and(cast(x, uint8), 15)
    low, high = part(nibbles, x.ndim - 1, 0, n, 2), part(nibbles, x.ndim - 1, 1, n, 2)
    return bitwise_or(low, bitwise_left_shift(high, 4))


def unpack_int4(x: Array, /, *, signed: bool = True) -> Array:
    """Return the values packed in a uint8 array, as int8 or, if not ``signed``, uint8; the last axis doubles.

    Raises:
        DTypeError: the dtype is not uint8.
        ShapeError: there is no axis.

    >>> import opmux as ox
    >>> ox.unpack_int4(ox.asarray([241], dtype=ox.uint8)).tolist()
    [1, -1]
    """
    if given_array(x, "unpack_int4").dtype is not uint8:
        raise DTypeError(f"unpack_int4: {x.dtype} is not taken; use uint8", op="unpack_int4", dtype=x.dtype)
    if not x.ndim:
        raise ShapeError("unpack_int4: an array without axes has no last axis", op="unpack_int4", shape=x.shape)
    halves = [expand_dims(h, axis=-1) for h in (bitwise_and(x, 15), bitwise_right_shift(x, 4))]
    nibbles = reshape(concat(halves, axis=-1), (*x.shape[:-1], 2 * x.shape[-1]))
    # (n ^ 8) - 8 extends the sign of four bits.
    return subtract(bitwise_xor(cast(nibbles, int8), 8), 8) if signed else nibbles
