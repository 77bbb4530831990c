"""Moving values between devices and the host program."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from .array import Array, check_usable
from .device import Device, find_device
from .dtypes import DType, dtype
from .errors import DeviceLostError
from .queues import queue_of
from .signature import signature


class Export:
    """Keeps a buffer alive while NumPy looks at it, and marks it shared (see ``array.consume``)."""

    def __init__(self, x: Array) -> None:
        sig = x._sig
        itemsize = sig.dtype.itemsize
        self._buffer = x._buffer
        address = x.ptr if sig.size else x._buffer.handle.address
        self.__array_interface__ = {
            "version": 3,
            "shape": sig.shape,
            "typestr": sig.dtype.numpy.str,
            "data": (address, True),
            "strides": tuple(s * itemsize for s in sig.strides),
        }


def to_numpy(x: Array) -> NDArray[Any]:
    """Return the values: a read-only view of host memory, or a fresh copy of device memory."""
    check_usable(x)
    settle(x)
    sig = x._sig
    if sig.device.is_host:
        return np.asarray(Export(x)).view(sig.dtype.numpy)
    host = np.empty(sig.shape, sig.dtype.numpy)
    download(x, host)
    return host


def settle(x: Array) -> None:
    """Wait for the launch that made an array and raise its late failure, if it may have one."""
    status = x._buffer.status
    if status is not None:
        status.raise_if_failed()
        x._buffer.status = None


def download(x: Array, target: NDArray[Any]) -> None:
    """Copy an array's values into a contiguous NumPy array of the same shape and dtype."""
    device = x.device
    dense = x if x._sig.contiguous else contiguous(x)
    queue = queue_of(device)
    if dense._buffer.queue is not queue:
        dense._buffer.used_on(queue)
    if not dense.nbytes:
        return
    try:
        device.driver.download(
            target.reshape(-1).view(np.uint8), dense._buffer.handle, dense._offset, queue.handle
        )
    except DeviceLostError as lost:
        device.lose(lost)
        raise
    settle(dense)


def contiguous(x: Array) -> Array:
    """Return the same values in row-major order without gaps; the array itself if it has that already."""
    if x._sig.contiguous:
        return x
    from .call import invoke_by_name

    return invoke_by_name("copy", (x,))


def upload(host: NDArray[Any], device: Device, t: DType) -> Array:
    """Copy a NumPy array of native byte order to a device."""
    sig = signature(device, t, host.shape)
    queue = queue_of(device)
    made = Array(device.alloc(sig.nbytes, queue), sig)
    if sig.nbytes:
        dense = np.ascontiguousarray(host)
        device.driver.upload(made._buffer.handle, 0, dense.reshape(-1).view(np.uint8), queue.handle)
    return made


def to_device(x: Array, device: Device | str) -> Array:
    """Return the array on another device; on its own device, itself."""
    check_usable(x)
    target = find_device(device)
    if target is x.device:
        return x
    return upload(to_numpy(x), target, x.dtype)


def pickled(x: Array) -> tuple[Any, ...]:
    """Return how to pickle an array: its values through the host, its device by name."""
    values = np.ascontiguousarray(to_numpy(x)).reshape(x.shape)
    return _unpickle, (values.tobytes(), x.dtype.name, x.shape, x.device.name)


def _unpickle(data: bytes, name: str, shape: tuple[int, ...], device: str) -> Array:
    t = dtype(name)
    return upload(np.frombuffer(data, t.numpy).reshape(shape), find_device(device), t)
