"""Functions that make arrays, composed of ``full`` and ``iota``: the Array API standard's creation functions."""

from __future__ import annotations

import math
from typing import Any, Final

import numpy as np

from ..core.arrays import defaults
from ..core.arrays.array import Array
from ..core.arrays.array import empty as uninitialised
from ..core.arrays.creation import asarray
from ..core.arrays.metadata import broadcast_to, given_array, reshape
from ..core.arrays.views import normalize_shape
from ..core.devices.device import Device, find_device
from ..core.devices.queues import queue_of
from ..core.dtypes import (
    COMPLEX,
    INTEGERS,
    UNSIGNED_INTEGERS,
    DType,
    complex64,
    complex128,
    element_limits,
    float64,
    int64,
)
from ..core.dtypes import dtype as find_dtype
from ..core.errors import ArgumentError, OutOfMemoryError, ShapeError, host_memory, shown
from .arithmetic import add, multiply
from .casting import cast
from .comparison import equal, less_equal, where
from .creation import full, iota
from .rules import flag, number
from .rules_movement import index_argument, one_of
from .scalars import beside

Shape = int | tuple[int, ...]
Where = Device | str | None
_BITS64: Final = 1 << 64


def _float(dtype: DType | str | None) -> DType:
    return defaults.float_dtype() if dtype is None else find_dtype(dtype)


def zeros(shape: Shape, *, dtype: DType | str | None = None, device: Where = None) -> Array:
    """Return an array of zeros, by default of the default real dtype.

    >>> import opmux as ox
    >>> ox.zeros(2).tolist()
    [0.0, 0.0]
    """
    return full(shape, False, dtype=_float(dtype), device=device)


def ones(shape: Shape, *, dtype: DType | str | None = None, device: Where = None) -> Array:
    """Return an array of ones, by default of the default real dtype.

    >>> import opmux as ox
    >>> ox.ones(2, dtype=ox.int8).tolist()
    [1, 1]
    """
    return full(shape, True, dtype=_float(dtype), device=device)


def empty(shape: Shape, *, dtype: DType | str | None = None, device: Where = None) -> Array:
    """Return an array whose values are not set: whatever was in the memory. Good as ``out=``.

    >>> import opmux as ox
    >>> ox.empty((2, 3)).shape
    (2, 3)
    """
    place = defaults.device() if device is None else find_device(device)
    return uninitialised(place, _float(dtype), normalize_shape(shape, where="empty"), queue_of(place))


def zeros_like(x: Array, /, *, dtype: DType | str | None = None, device: Where = None) -> Array:
    """Return zeros in the shape, dtype and place of another array.

    >>> import opmux as ox
    >>> ox.zeros_like(ox.asarray([1, 2])).tolist()
    [0, 0]
    """
    return full_like(x, False, dtype=dtype, device=device)


def ones_like(x: Array, /, *, dtype: DType | str | None = None, device: Where = None) -> Array:
    """Return ones in the shape, dtype and place of another array.

    >>> import opmux as ox
    >>> ox.ones_like(ox.asarray([1, 2])).tolist()
    [1, 1]
    """
    return full_like(x, True, dtype=dtype, device=device)


def full_like(
    x: Array, /, fill_value: Array | complex, *, dtype: DType | str | None = None, device: Where = None
) -> Array:
    """Return one value everywhere, in the shape, dtype and place of another array.

    >>> import opmux as ox
    >>> ox.full_like(ox.asarray([1, 2]), 7).tolist()
    [7, 7]
    """
    given_array(x, "full_like")
    chosen = x.dtype if dtype is None else find_dtype(dtype)
    return full(x.shape, fill_value, dtype=chosen, device=x.device if device is None else device)


def empty_like(x: Array, /, *, dtype: DType | str | None = None, device: Where = None) -> Array:
    """Return an array whose values are not set, in the shape, dtype and place of another.

    >>> import opmux as ox
    >>> ox.empty_like(ox.asarray([1, 2])).dtype
    opmux.int64
    """
    given_array(x, "empty_like")
    return empty(
        x.shape, dtype=x.dtype if dtype is None else find_dtype(dtype), device=x.device if device is None else device
    )


def arange(
    start: float,
    /,
    stop: float | None = None,
    step: float = 1,
    *,
    dtype: DType | str | None = None,
    device: Where = None,
) -> Array:
    """Return ``start, start + step, ...`` up to but without ``stop``; one argument is the stop.

    Of integers it is exact and int64 by default. Else ``start + i * step`` is computed in float64 on the host and
    rounded once, so it is the same on every device.

    Raises:
        ArgumentError: the step is zero, or a value does not fit the dtype.

    >>> import opmux as ox
    >>> ox.arange(2, 8, 3).tolist()
    [2, 5]
    """
    if stop is None:
        start, stop = 0, start
    first, end, pace = number("arange", "start", start), number("arange", "stop", stop), number("arange", "step", step)
    if not step:
        raise ArgumentError("arange: the step is zero, so it never gets from start to stop", op="arange", step=step)
    whole = isinstance(start, int) and isinstance(stop, int) and isinstance(step, int)
    chosen = (int64 if whole else defaults.float_dtype()) if dtype is None else find_dtype(dtype)
    if whole and chosen in INTEGERS:
        return _integers(range(int(start), int(stop), int(step)), chosen, device)
    length = (end - first) / pace
    count = _on_host("arange", math.ceil(length) if math.isfinite(length) else 2**63)
    with host_memory("arange"):
        values = first + np.arange(count, dtype=np.float64) * pace
    return asarray(values, dtype=chosen, device=device)


def _on_host(where: str, count: int) -> int:
    """Return how many values are made on the host, none for a negative number.

    Raises:
        OutOfMemoryError: for more than the host's memory holds in float64.
    """
    _check_fits(where, count * 8, find_device("cpu"))
    return count if count > 0 else 0


def _check_fits(where: str, nbytes: int, place: Device) -> None:
    limit = place.info.memory
    if nbytes > limit:
        raise OutOfMemoryError(
            f"{where}: {shown(nbytes)} bytes are more than the {limit:,} of {place}, where they are made; use fewer "
            f"values",
            op=where,
            nbytes=nbytes,
            limit=limit,
        )


def _integers(values: range, dtype: DType, device: Where) -> Array:
    low, high = element_limits(dtype)
    if values and not (low <= values[0] <= high and low <= values[-1] <= high):
        raise ArgumentError(
            f"arange: values from {values[0]} to {values[-1]} do not fit {dtype}, which holds {low} to {high}",
            op="arange",
            dtype=dtype,
        )
    # Arithmetic modulo 2**64, so that the way to the first and to the last value may leave the dtype.
    wide = int64 if dtype not in UNSIGNED_INTEGERS else dtype
    ramp = iota((len(values),), 0, dtype=wide, device=device)
    if values.step != 1:
        ramp = multiply(ramp, _wrapped(values.step, wide))
    if values.start:
        ramp = add(ramp, _wrapped(values.start, wide))
    return ramp if wide is dtype else cast(ramp, dtype)


def _wrapped(n: int, dtype: DType) -> int:
    low, high = element_limits(dtype)
    return (n - low) % (high - low + 1) + low


def linspace(
    start: complex,
    stop: complex,
    /,
    num: int,
    *,
    dtype: DType | str | None = None,
    device: Where = None,
    endpoint: bool = True,
) -> Array:
    """Return ``num`` evenly spaced values from ``start`` to ``stop``, without ``stop`` if ``endpoint`` is False.

    They are computed in double precision on the host and rounded once, so they are the same on every device.

    Raises:
        ArgumentError: ``num`` is negative.

    >>> import opmux as ox
    >>> ox.linspace(0, 1, 3).tolist()
    [0.0, 0.5, 1.0]
    """
    ends: tuple[tuple[str, Any], ...] = (("start", start), ("stop", stop))
    for name, end in ends:
        parts = (end.real, end.imag) if isinstance(end, complex) else (end,)
        for part in parts:
            number("linspace", name, part)
    if index_argument("linspace", "num", num) < 0:
        raise ArgumentError(f"linspace: num={shown(num)} is negative", op="linspace", num=num)
    count = _on_host("linspace", num)
    with host_memory("linspace"):
        values = np.linspace(start, stop, count, endpoint=flag("linspace", "endpoint", endpoint))
    if dtype is None:
        real = defaults.float_dtype()
        dtype = real if values.dtype.kind != "c" else complex128 if real is float64 else complex64
    chosen = find_dtype(dtype)
    if values.dtype.kind == "c" and chosen.kind != COMPLEX:
        raise ArgumentError(f"linspace: complex ends have no {chosen} values between them", op="linspace", dtype=chosen)
    return asarray(values, dtype=chosen, device=device)


def _below_diagonal(where: str, rows: int, columns: int, k: int, device: Where) -> tuple[Array, Array]:
    """Return the column of each element and the column of the k-th diagonal in its row, to broadcast."""
    return iota((1, columns), 1, device=device), add(iota((rows, 1), 0, device=device), index_argument(where, "k", k))


def eye(
    n_rows: int,
    n_cols: int | None = None,
    /,
    *,
    k: int = 0,
    dtype: DType | str | None = None,
    device: Where = None,
) -> Array:
    """Return ones on the k-th diagonal and zeros elsewhere.

    >>> import opmux as ox
    >>> ox.eye(2).tolist()
    [[1.0, 0.0], [0.0, 1.0]]
    """
    chosen, place = _float(dtype), defaults.device() if device is None else find_device(device)
    rows, columns = normalize_shape((n_rows, n_rows if n_cols is None else n_cols), where="eye")
    # Before the ramps along its sides, which may fit where the whole does not, take their time.
    _check_fits("eye", rows * columns * chosen.itemsize, place)
    column, diagonal = _below_diagonal("eye", rows, columns, k, place)
    return cast(equal(column, diagonal), chosen)


def tril(x: Array, /, *, k: int = 0) -> Array:
    """Return matrices with zeros above the k-th diagonal.

    Raises:
        ShapeError: the array has less than two axes.

    >>> import opmux as ox
    >>> ox.tril(ox.asarray([[1, 2], [3, 4]])).tolist()
    [[1, 0], [3, 4]]
    """
    _check_matrices(x, "tril")
    column, diagonal = _below_diagonal("tril", x.shape[-2], x.shape[-1], k, x.device)
    return where(less_equal(column, diagonal), x, beside(x, 0, where="tril"))


def triu(x: Array, /, *, k: int = 0) -> Array:
    """Return matrices with zeros below the k-th diagonal.

    Raises:
        ShapeError: the array has less than two axes.

    >>> import opmux as ox
    >>> ox.triu(ox.asarray([[1, 2], [3, 4]])).tolist()
    [[1, 2], [0, 4]]
    """
    _check_matrices(x, "triu")
    column, diagonal = _below_diagonal("triu", x.shape[-2], x.shape[-1], k, x.device)
    return where(less_equal(diagonal, column), x, beside(x, 0, where="triu"))


def _check_matrices(x: Array, where: str) -> None:
    given_array(x, where)
    if x.ndim < 2:
        raise ShapeError(
            f"{where}: shape {x.shape} has no matrices; it needs two axes or more", op=where, shape=x.shape
        )


def meshgrid(*arrays: Array, indexing: str = "xy") -> tuple[Array, ...]:
    """Return coordinate arrays from one-dimensional coordinates, as views.

    With ``"ij"`` axis i runs along the i-th array; with ``"xy"`` the first two axes are exchanged.

    Raises:
        ShapeError: an array has not exactly one axis.
        ArgumentError: another ``indexing``.

    >>> import opmux as ox
    >>> [y.tolist() for y in ox.meshgrid(ox.asarray([1, 2]), ox.asarray([3, 4, 5]), indexing="ij")]
    [[[1, 1, 1], [2, 2, 2]], [[3, 4, 5], [3, 4, 5]]]
    """
    one_of("meshgrid", "indexing", indexing, ("xy", "ij"))
    for i, x in enumerate(arrays):
        if given_array(x, "meshgrid").ndim != 1:
            raise ShapeError(
                f"meshgrid: array {i} has shape {x.shape}; it must have one axis", op="meshgrid", shape=x.shape
            )
    axes = list(range(len(arrays)))
    if indexing == "xy" and len(axes) > 1:
        axes[:2] = 1, 0
    shape = [0] * len(arrays)
    for x, axis in zip(arrays, axes, strict=True):
        shape[axis] = x.size
    return tuple(
        broadcast_to(reshape(x, tuple(x.size if i == axis else 1 for i in range(len(arrays)))), tuple(shape))
        for x, axis in zip(arrays, axes, strict=True)
    )
