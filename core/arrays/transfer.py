"""Moving values between devices and the host program."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from ..devices.device import Device, find_device
from ..devices.driver import PeerDriver
from ..devices.queues import queue_of
from ..devices.status import Status
from ..dtypes import DType, as_python, dtype
from ..errors import ArgumentError, DeviceError, DeviceLostError, OutOfMemoryError, UnsupportedError, host_memory
from ..op import COPY
from ..signature import Shape
from .array import Array, alias, empty
from .ownership import check_usable

# A strided array is downloaded with the gaps between its elements while that is at most so many times its size;
# beyond, the device makes a dense copy first.
_MOST_GAPS: Final = 4


class Export:
    """Keeps a buffer alive while NumPy looks at it, and marks it shared (see ``ownership.consume``)."""

    def __init__(self, x: Array) -> None:
        sig = x._sig
        layout, itemsize = sig.dtype.numpy, sig.dtype.itemsize
        self._buffer = x._buffer
        address = x.ptr if sig.size else x._buffer.handle.address
        self.__array_interface__ = {
            "version": 3,
            "shape": sig.shape,
            "typestr": layout.str if layout.isbuiltin == 1 else f"|V{itemsize}",  # NumPy has no string for float8
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


def to_list(x: Array) -> Any:
    """Return the values as nested lists of Python scalars.

    Raises:
        OutOfMemoryError: for a view that repeats its elements to more than the device holds.
    """
    sig, limit = x._sig, x.device.info.memory
    if sig.nbytes > limit:
        raise OutOfMemoryError(
            f"tolist: shape {x.shape} has {sig.nbytes:,} bytes, more than the {limit:,} of {x.device}; list a part",
            nbytes=sig.nbytes,
            limit=limit,
        )
    with host_memory("tolist"):
        return x.numpy().astype(as_python(x.dtype)).tolist()


def for_numpy(x: Array, wanted: Any, copy: bool | None) -> NDArray[Any]:
    """Return the values as ``__array__`` must, by NumPy 2's rules.

    Args:
        x: an array on a host device.
        wanted: anything that NumPy takes for a dtype, or None for the array's own.
        copy: True forces a copy, False forbids one, None copies where it must.
    """
    check_usable(x)
    if not x.device.is_host:
        raise DeviceError(
            f"NumPy cannot read an array on {x.device}; copy it to the host first with .to_device('cpu')",
            device=x.device.name,
        )
    values = x.numpy()
    if wanted is None or np.dtype(wanted) == values.dtype:
        return values.copy() if copy else values
    if copy is False:
        raise ArgumentError(
            f"an array of {x.dtype} cannot become {np.dtype(wanted)} without a copy; leave out copy=False",
            dtype=x.dtype,
            wanted=wanted,
        )
    return values.astype(wanted)


def settle(x: Array) -> None:
    """Wait for the launch that made an array and raise its late failure, if it may have one."""
    x._check_concrete()
    x._buffer.settle()


def download(x: Array, target: NDArray[Any]) -> None:
    """Copy an array's values into a contiguous NumPy array of the same shape and dtype."""
    if not x.nbytes:
        settle(x)
    elif x._sig.contiguous:
        _download_bytes(x, x._offset, target.reshape(-1).view(np.uint8))
    else:
        _download_strided(x, target)


def _download_strided(x: Array, target: NDArray[Any]) -> None:
    """Read the whole stretch of memory in which the elements lie, or have the device make a dense copy."""
    from ..dispatch.registry import REGISTRY

    first, last = extent(x.shape, x.strides)
    itemsize = x.dtype.itemsize
    nbytes = (last - first + 1) * itemsize
    # A device without a copy kernel for the dtype would copy by falling back to the host, which comes here again.
    own = any(kernel.accepts.leads_with(x.dtype.name) for _, kernel in REGISTRY.kernels(COPY, x.device.kind))
    if own and nbytes > _MOST_GAPS * x.nbytes:
        download(contiguous(x), target)
        return
    raw = np.empty(nbytes, np.uint8)
    _download_bytes(x, x._offset + first * itemsize, raw)
    strides = tuple(s * itemsize for s in x.strides)
    target[...] = np.ndarray(x.shape, target.dtype, raw, -first * itemsize, strides)


def _download_bytes(x: Array, offset: int, target: NDArray[np.uint8]) -> None:
    """Copy bytes from an offset of an array's buffer, after everything that writes it."""
    device = x.device
    device.check_alive()
    queue, buffer = queue_of(device), x._buffer
    buffer.before_read(queue)
    since = queue.now()
    try:
        device.driver.download(target, buffer.handle, offset, queue.handle)
    except Exception as error:
        buffer.was_read(queue.launched(since))  # the copy may have been put on the queue
        if not isinstance(error, DeviceLostError):
            settle(x)  # why there is no value says more than why it could not be copied
        device.fail("download", error)
    queue.reached(since)
    settle(x)


def extent(shape: Shape, strides: Shape) -> tuple[int, int]:
    """Return the offsets, in elements, of the lowest and highest element of a view that is not empty.

    >>> extent((2, 3), (3, -1))
    (-2, 3)
    """
    reach = [(n - 1) * s for n, s in zip(shape, strides, strict=True)]
    return sum(r for r in reach if r < 0), sum(r for r in reach if r > 0)


def contiguous(x: Array) -> Array:
    """Return the same values in row-major order without gaps; the array itself if it has that already."""
    if x._sig.contiguous:
        return x
    return dense_copy(x)


def dense_copy(x: Array) -> Array:
    """Return the same values in fresh memory, in row-major order."""
    from ..dispatch.call import invoke_by_name

    return invoke_by_name(COPY, (x,))


def upload(host: NDArray[Any], device: Device, t: DType) -> Array:
    """Copy a NumPy array of native byte order to a device."""
    queue = queue_of(device)
    made = empty(device, t, host.shape, queue)
    if made.nbytes:
        dense = np.ascontiguousarray(host)
        since = queue.now()
        try:
            device.driver.upload(made._buffer.handle, 0, dense.reshape(-1).view(np.uint8), queue.handle)
        except Exception as error:
            device.fail("upload", error)
        finally:
            if not device.is_host:
                made._buffer.was_written(queue.launched(since), None)
    return made


def to_device(x: Array, device: Device | str) -> Array:
    """Return the array on another device; on its own device, another handle on the same value."""
    check_usable(x)
    target = find_device(device)
    if target is x.device:
        return alias(x)
    if target.is_host and not x.device.is_host:
        made = empty(target, x.dtype, x.shape)
        settle(x)
        download(x, made.host)
        return made
    if x.nbytes and x.device.kind == target.kind and not target.is_host and isinstance(target.driver, PeerDriver):
        dense = _dense_where_it_is(x)
        if dense is not None:
            return _copy_peer(dense, target)
    return upload(x.numpy(), target, x.dtype)


def _dense_where_it_is(x: Array) -> Array | None:
    """Return the same values in row-major order; None where the device has no kernel for that, which the host has."""
    if x._sig.contiguous:
        return x
    from ..dispatch.policy import policy

    try:
        with policy(fallback="forbid"):
            return dense_copy(x)
    except UnsupportedError:
        return None


def _copy_peer(x: Array, target: Device) -> Array:
    """Copy an array straight from another device of the kind; the host does not wait."""
    driver = target.driver
    assert isinstance(driver, PeerDriver)  # the caller has asked
    queue, source = queue_of(target), x._buffer
    made = empty(target, x.dtype, x.shape, queue)
    parent = source.pending()
    source.before_read(queue)
    since = queue.now()
    try:
        driver.copy_peer(made._buffer.handle, 0, x.device.driver, source.handle, x._offset, x.nbytes, queue.handle)
    except Exception as error:
        target.fail("copy_peer", error)
    finally:
        point = queue.launched(since)
        source.was_read(point)
        parents = () if parent is None else (parent,)
        status = Status(None, parents, "to_device", "copy_peer", target.owner, point) if parents else None
        made._buffer.was_written(point, status)
    return made


def pickled(x: Array) -> tuple[Any, ...]:
    """Return how to pickle an array: its values through the host, its device by name."""
    with host_memory("pickling an array"):
        return _unpickle, (x.numpy().tobytes(), x.dtype.name, x.shape, x.device.name)


def _unpickle(data: bytes, name: str, shape: Shape, device: str) -> Array:
    t = dtype(name)
    return upload(np.frombuffer(data, t.numpy).reshape(shape), find_device(device), t)
