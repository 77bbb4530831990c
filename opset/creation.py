"""Creation: constants, index ramps and random bits. Everything else that makes arrays is built on these."""

from __future__ import annotations

from typing import Any

from ..core.arrays.array import Array
from ..core.devices.device import Device
from ..core.dtypes import ALL, FLOATS, INTEGERS, DType, int64, uint32
from . import rules_movement
from .accuracy import EXACT
from .declare import primitive
from .philox import random_words
from .public_form import public_form

RAMPS = (*INTEGERS, *FLOATS)
Shape = int | tuple[int, ...]


@primitive(infer=rules_movement.full, dtypes=ALL, accuracy=EXACT, flops=0, core=True)
def full_(
    np: Any, fill_value: Array, /, *, shape: Shape, dtype: DType | None = None, device: Device | str | None = None
) -> Array:
    """Return an array that holds one value everywhere.

    ``fill_value`` is a Python scalar, or an array without axes; it is data, so one decision serves all values.
    Without ``dtype`` a scalar takes the default dtype of its kind and an array keeps its own. Kernels get it as an
    operand, cast already.

    Raises:
        ShapeError: a length is negative, or the value has axes.

    >>> import opmux as ox
    >>> ox.full((2, 2), 7).tolist()
    [[7, 7], [7, 7]]
    """
    return np.full(shape, fill_value, dtype=fill_value.dtype)


@public_form(full_)
def full(
    shape: Shape,
    fill_value: Array | complex,
    *,
    dtype: DType | None = None,
    device: Device | str | None = None,
    out: Array | None = None,
) -> Array:
    return full_(fill_value, shape=shape, dtype=dtype, device=device, out=out)


@primitive(infer=rules_movement.iota(RAMPS), dtypes=RAMPS, accuracy=EXACT, flops=0, core=True)
def iota_(
    np: Any, /, *, shape: Shape, axis: int = 0, dtype: DType = int64, device: Device | str | None = None
) -> Array:
    """Return an array whose elements are their index along an axis.

    Integers wrap; floats are the index rounded to nearest even.

    Raises:
        AxisError: the axis is out of range.

    >>> import opmux as ox
    >>> ox.iota((2, 3), 1).tolist()
    [[0, 1, 2], [0, 1, 2]]
    """
    line = np.arange(shape[axis]).astype(dtype.numpy)  # type: ignore[index]
    return np.broadcast_to(line.reshape(-1, *(1,) * (len(shape) - axis - 1)), shape)  # type: ignore[arg-type]


@public_form(iota_)
def iota(
    shape: Shape,
    axis: int = 0,
    *,
    dtype: DType = int64,
    device: Device | str | None = None,
    out: Array | None = None,
) -> Array:
    return iota_(shape=shape, axis=axis, dtype=dtype, device=device, out=out)


@primitive(infer=rules_movement.random_bits, dtypes=(uint32,), accuracy=EXACT, flops=25, core=True)
def random_bits(np: Any, key: Array, counter: Array, /, *, shape: Shape) -> Array:
    """Return uniformly distributed 32-bit words, as uint32, that depend on the key and the counter alone.

    The generator is Philox4x32-10 (Salmon, Moraes, Dror, Shaw: Parallel Random Numbers: As Easy as 1, 2, 3, SC11).
    ``key`` has two words and ``counter`` four, all uint32 and lowest first. Element i of the result, in row-major
    order, is word ``i % 4`` of the block whose counter is ``counter + i // 4``, where the lowest two words are added
    to as one 64-bit number that wraps, and the upper two stay: they name independent streams.

    Raises:
        ShapeError: the key or the counter has another shape.
        DTypeError: either is not uint32.

    >>> import opmux as ox
    >>> key, counter = ox.zeros(2, dtype=ox.uint32), ox.zeros(4, dtype=ox.uint32)
    >>> [hex(n) for n in ox.random_bits(key, counter, shape=4).tolist()]
    ['0x6627e8d5', '0xe169c58d', '0xbc57ac4c', '0x9b00dbd8']
    """
    return random_words(key, counter, shape)
