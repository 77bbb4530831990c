"""What the Array API standard asks of dtypes: conversion, promotion, kinds and limits."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import ml_dtypes
import numpy as np

from ..core.arrays.array import Array
from ..core.devices.device import Device, find_device
from ..core.dtypes import COMPLEX, COMPLEXES, FLOATS, INTEGERS, KINDS, PROMOTION, DType, Scalar, promote, weak
from ..core.dtypes import dtype as as_dtype
from ..core.errors import ArgumentError, ArgumentTypeError, DTypeError, shown
from .casting import cast
from .movement import copy as dense_copy

if TYPE_CHECKING:
    from .limits import FloatLimits, IntegerLimits


def _dtype_of(given: object) -> DType:
    return given.dtype if isinstance(given, Array) else as_dtype(given)


def astype(x: Array, dtype: DType | str, /, *, copy: bool = True, device: Device | str | None = None) -> Array:
    """Return the values in another dtype, by the rules of :func:`cast`.

    Args:
        x: any array.
        dtype: the dtype wanted.
        copy: False returns the array itself where it has that dtype already.
        device: where the result is to be; None leaves it where *x* is.

    Raises:
        DTypeError: complex to real.

    >>> import opmux as ox
    >>> ox.astype(ox.asarray([1.5, -1.5]), ox.int32).tolist()
    [1, -1]
    """
    wanted = as_dtype(dtype)
    if not isinstance(x, Array):
        raise ArgumentTypeError(
            f"astype: {type(x).__name__} is not an opmux array; wrap it with opmux.asarray", given=type(x)
        )
    made: Array = x if device is None else x.to_device(find_device(device))
    if made.dtype is not wanted:
        return cast(made, wanted)
    return dense_copy(made) if copy else made


def can_cast(from_: Array | DType | str, to: DType | str, /) -> bool:
    """Return whether a dtype promotes to another one by the Array API standard's table.

    >>> import opmux as ox
    >>> ox.can_cast(ox.float32, ox.float64), ox.can_cast(ox.int32, ox.float32)
    (True, False)
    """
    source, target = _dtype_of(from_), as_dtype(to)
    return source is target or PROMOTION.get((source, target)) is target


def finfo(type: Array | DType | str, /) -> FloatLimits:
    """Return the limits of a floating dtype; of a complex one, those of its parts.

    Raises:
        DTypeError: for any other dtype.

    >>> import opmux as ox
    >>> ox.finfo(ox.float32).eps == 2.0**-23
    True
    """
    found = _dtype_of(type)
    if found not in (*FLOATS, *COMPLEXES):
        raise DTypeError(f"finfo: {found} is not floating; for integers use iinfo", op="finfo", dtype=found)
    real = as_dtype(f"float{found.bits // 2}") if found.kind == COMPLEX else found
    from .limits import FloatLimits

    limits: Any = ml_dtypes.finfo  # NumPy's, and those of bfloat16
    info = limits(real.numpy)
    return FloatLimits(
        real.bits, float(info.eps), float(info.max), float(info.min), float(info.smallest_normal), real
    )


def iinfo(type: Array | DType | str, /) -> IntegerLimits:
    """Return the limits of an integer dtype.

    Raises:
        DTypeError: for any other dtype.

    >>> import opmux as ox
    >>> ox.iinfo(ox.int8).max
    127
    """
    found = _dtype_of(type)
    if found not in INTEGERS:
        raise DTypeError(f"iinfo: {found} is not an integer dtype; for floats use finfo", op="iinfo", dtype=found)
    from .limits import IntegerLimits

    info = np.iinfo(found.numpy)
    return IntegerLimits(found.bits, int(info.max), int(info.min), found)


def isdtype(dtype: DType | str, kind: DType | str | tuple[DType | str, ...], /) -> bool:
    """Return whether a dtype is of a kind.

    Args:
        dtype: the dtype asked about.
        kind: ``"bool"``, ``"signed integer"``, ``"unsigned integer"``, ``"integral"``, ``"real floating"``,
            ``"complex floating"``, ``"numeric"``, a dtype, or a tuple of these.

    Raises:
        ArgumentError: for an unknown kind.

    >>> import opmux as ox
    >>> ox.isdtype(ox.int8, "integral"), ox.isdtype(ox.int8, (ox.float32, "bool"))
    (True, False)
    """
    found = as_dtype(dtype)
    if isinstance(kind, tuple):
        return any(isdtype(found, k) for k in kind)
    if isinstance(kind, DType):
        return found is kind
    asked: Any = kind
    members = KINDS.get(asked) if isinstance(asked, str) else None
    if members is None:
        known = ", ".join(map(repr, KINDS))
        raise ArgumentError(f"isdtype: unknown kind {shown(kind)}; known: {known}", op="isdtype", kind=kind)
    return found in members


def result_type(*arrays_and_dtypes: Array | DType | str | Scalar) -> DType:
    """Return the dtype that arrays, dtypes and Python scalars promote to together; scalars are weak.

    Raises:
        DTypeError: where the standard does not define the mix.
        ArgumentTypeError: without an array or dtype among them.

    >>> import opmux as ox
    >>> ox.result_type(ox.int8, ox.asarray([1], dtype=ox.uint8), 3)
    opmux.int16
    """
    scalars = [x for x in arrays_and_dtypes if isinstance(x, bool | int | float | complex)]
    strong = [_dtype_of(x) for x in arrays_and_dtypes if not isinstance(x, bool | int | float | complex)]
    if not strong:
        raise ArgumentTypeError("result_type: at least one array or dtype is needed beside Python scalars")
    result = promote(strong, where="result_type")
    for x in scalars:
        result = weak(x, result, where="result_type")
    return result
