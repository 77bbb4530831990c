"""Python scalars among operands: their value in a dtype, and the arrays that hold them."""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from ..arrays.array import Array
from ..arrays.transfer import upload
from ..devices.device import Device
from ..dtypes import BOOL, COMPLEX, INTEGERS, DType, Scalar, complex64, element_limits, float32, float64
from ..errors import ArgumentError, DTypeError, shown
from ..locks import Order, held_across_fork
from ..rounding import rounded, rounded_integer
from .tables import exact

_constants: dict[tuple[object, ...], Array] = {}
_constants_lock = held_across_fork(Order.TABLE)
_CONSTANTS_LIMIT: Final = 4096


def constant(value: Scalar, t: DType, device: Device) -> Array:
    """Return a 0-d array that holds a Python scalar; arrays are values, so equal ones are shared.

    Raises:
        ArgumentError: for an integer outside of the dtype's range.
    """
    key = (device, t, exact(value))
    found = _constants.get(key)
    if found is not None:
        return found
    made = upload(scalar_to_numpy(value, t), device, t)
    with _constants_lock:
        if len(_constants) >= _CONSTANTS_LIMIT:
            _constants.clear()
        _constants[key] = made
    return made


def forget_constants(owner: str) -> None:
    """Let go of the constants on an owner's devices: they would hold its memory, and its driver, for good."""
    with _constants_lock:
        gone = [_constants.pop(key) for key, x in tuple(_constants.items()) if x.device.owner == owner]
    del gone  # outside of the lock: a driver takes the memory back


def scalar_to_numpy(value: Scalar, t: DType) -> np.ndarray[Any, Any]:
    """Return a Python scalar as a 0-d NumPy array of a dtype.

    Raises:
        ArgumentError: for a number that an integer dtype does not hold (too large, NaN, infinite or with a fraction),
            and for an integer beyond the range of float64.
        DTypeError: for a complex number as a real one.
    """
    if isinstance(value, complex) and t.kind not in (COMPLEX, BOOL):
        raise DTypeError(f"the complex number {value!r} has no {t} value", dtype=t)
    if t.kind == BOOL:
        return np.asarray(bool(value))
    if t in INTEGERS:
        return np.asarray(_whole(value, t), t.numpy)
    if not isinstance(value, int):
        with np.errstate(over="ignore"):
            return np.asarray(value).astype(t.numpy) if t.kind == COMPLEX else rounded(np.asarray(value), t)
    if t.kind == COMPLEX:
        return rounded_integer(value, float32 if t is complex64 else float64).astype(t.numpy)
    return rounded_integer(value, t)


def _whole(value: Scalar, t: DType) -> int:
    """Return a scalar as an integer that the dtype holds."""
    if isinstance(value, float) and not value.is_integer():  # NaN and infinities are not integers either
        raise ArgumentError(f"{value!r} has no {t} value; give a whole number, or another dtype", value=value, dtype=t)
    whole = int(value)  # type: ignore[arg-type]  # no complex number comes here
    low, high = element_limits(t)
    if not low <= whole <= high:
        raise ArgumentError(
            f"{shown(value)} is out of range for {t}, which holds {low} to {high}", value=value, dtype=t
        )
    return whole
