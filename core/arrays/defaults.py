"""Default dtypes and device: documented, and can be set for the process.

The default real dtype is float32, the default integer dtype int64, the default device ``cpu:0``.
"""

from __future__ import annotations

from ..devices.device import Device, find_device
from ..dtypes import FLOATS, DType, bool_, complex64, complex128, dtype, float32, float64, int64
from ..errors import DTypeError

_float: DType = float32
_device: Device | str = "cpu:0"


def float_dtype() -> DType:
    """Return the dtype that Python floats take where nothing else says."""
    return _float


def set_float_dtype(t: DType | str) -> None:
    """Set the default real dtype.

    Raises:
        DTypeError: for a dtype that is not real floating.
    """
    global _float  # noqa: PLW0603 - one setting of the process
    found = dtype(t)
    if found not in FLOATS:
        raise DTypeError(
            f"{found} cannot be the default real dtype; use one of {', '.join(f.name for f in FLOATS)}", dtype=found
        )
    _float = found


def device() -> Device:
    """Return the device on which arrays are made where nothing else says."""
    return find_device(_device)


def set_device(given: Device | str) -> None:
    """Set the default device.

    Raises:
        DeviceError: for a device that is not present.
    """
    global _device  # noqa: PLW0603 - one setting of the process
    _device = find_device(given)


def dtype_of(value: object) -> DType:
    """Return the dtype that a Python scalar takes where nothing else says."""
    if isinstance(value, bool):
        return bool_
    if isinstance(value, int):
        return int64
    if isinstance(value, float):
        return _float
    return complex128 if _float is float64 else complex64
