"""Arrays: typed, strided, immutable views of a buffer on a device."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from ..devices.device import Buffer, Device
from ..devices.queues import Queue
from ..dtypes import INTEGERS, DType, as_python
from ..errors import (
    ArgumentError,
    ArgumentTypeError,
    DeviceError,
    DTypeError,
    ShapeError,
)
from ..signature import Shape, Signature, signature
from .operator_types import Operators
from .ownership import check_usable

if TYPE_CHECKING:
    from .index_keys import Key, Value

#: Versions of the Array API standard that ``__array_namespace__`` answers to.
API_VERSIONS: Final = ("2021.12", "2022.12", "2023.12", "2024.12")


class Array(Operators):
    """An n-dimensional array of one dtype on one device.

    Arrays are values: ``x[i] = v`` and ``x += y`` give this handle a new value, and other handles never see it.
    Make them with :func:`opmux.asarray`, :func:`opmux.zeros` and the like, not through the class.

    Attributes:
        dtype, shape, device: as in the Array API standard.
        strides: steps between elements along each axis, in elements (as in DLPack, unlike NumPy's bytes).
    """

    __slots__ = ("__weakref__", "_buffer", "_offset", "_sig", "_view")

    _buffer: Buffer
    _offset: int
    _sig: Signature
    _view: NDArray[Any] | None

    # NumPy must not treat an Array as a sequence in `ndarray + x`: it would silently make an ndarray.
    __array_ufunc__ = None
    __hash__ = None  # type: ignore[assignment]

    def __init__(self, buffer: Buffer, sig: Signature, offset: int = 0) -> None:
        self._buffer = buffer
        self._sig = sig
        self._offset = offset
        self._view = None

    @property
    def dtype(self) -> DType:
        """Element type."""
        return self._sig.dtype

    @property
    def shape(self) -> Shape:
        """Lengths of the axes."""
        return self._sig.shape

    @property
    def strides(self) -> Shape:
        """Steps between elements along each axis, in elements."""
        return self._sig.strides

    @property
    def device(self) -> Device:
        """Where the array lives."""
        return self._sig.device

    @property
    def ndim(self) -> int:
        """Number of axes."""
        return len(self._sig.shape)

    @property
    def size(self) -> int:
        """Number of elements."""
        return self._sig.size

    @property
    def nbytes(self) -> int:
        """Bytes of all elements together."""
        return self._sig.nbytes

    @property
    def ptr(self) -> Any:
        """Address, or the device's opaque handle, of the first element; for kernels."""
        buffer = self._buffer
        if buffer.address is not None:
            return buffer.address + self._offset
        return buffer.device.driver.pointer(buffer.handle, self._offset)

    @property
    def host(self) -> NDArray[Any]:
        """A NumPy view of the memory, for kernels of host devices; kernels write only through ``outs``.

        Raises:
            DeviceError: for memory that the host cannot address.
        """
        view = self._view
        if view is None:
            view = self._view = self._host_view()
        return view

    def _host_view(self) -> NDArray[Any]:
        sig = self._sig
        if not sig.device.is_host:
            raise DeviceError(
                f"the host cannot address an array on {sig.device}; copy it first with .to_device('cpu')",
                device=sig.device.name,
            )
        block = self._buffer.handle
        kept = block.view
        if kept is not None and kept[0] is sig and not self._offset:
            return kept[1]  # type: ignore[no-any-return]
        if sig.size == 0:
            return np.empty(sig.shape, sig.dtype.numpy)
        if sig.contiguous:
            made = np.ndarray(sig.shape, sig.dtype.numpy, block.bytes, self._offset)
        else:
            itemsize = sig.dtype.itemsize
            steps = tuple([s * itemsize for s in sig.strides])
            made = np.ndarray(sig.shape, sig.dtype.numpy, block.bytes, self._offset, steps)
        if not self._offset:
            block.view = sig, made  # one assignment, so that no other thread sees half of it
        return made

    def numpy(self) -> NDArray[Any]:
        """Return the values as a NumPy array: a read-only view on ``cpu``, a fresh copy from any other device.

        Raises:
            OpmuxError: the late failure that made this array, if there is one.

        >>> import opmux as ox
        >>> ox.asarray([1, 2]).numpy()
        array([1, 2])
        """
        from . import transfer

        return transfer.to_numpy(self)

    def to_device(self, device: Device | str, /, *, stream: None = None) -> Array:
        """Return the array on another device; on its own device, itself.

        Raises:
            DeviceError: for an unknown device.
        """
        from . import transfer

        return transfer.to_device(self, device)

    @property
    def T(self) -> Array:
        """The transpose of a matrix, as a view.

        Raises:
            ShapeError: unless there are exactly two axes.
        """
        from . import metadata

        if self.ndim != 2:
            raise ShapeError(
                f".T is for two axes; this array has shape {self.shape}. Use .mT for stacks of matrices, or "
                f"permute_dims",
                shape=self.shape,
            )
        return metadata.matrix_transpose(self)

    @property
    def mT(self) -> Array:
        """The matrices in the last two axes transposed, as a view.

        Raises:
            ShapeError: for fewer than two axes.
        """
        from . import metadata

        return metadata.matrix_transpose(self)

    def __getitem__(self, key: Key, /) -> Array:
        """Return the part that an index selects, with NumPy's meaning.

        Integers, slices, Ellipsis and None make views. Integer arrays and boolean masks gather into a new array; a
        mask is a concrete value, so its array is waited for.

        Raises:
            IndexingError: for an index that does not fit; it is an :class:`IndexError`.

        >>> import opmux as ox
        >>> ox.asarray([[1, 2, 3], [4, 5, 6]])[1, ::-1].tolist()
        [6, 5, 4]
        """
        from . import indexing

        return indexing.getitem(self, key)

    def __setitem__(self, key: Key, value: Value, /) -> None:
        """Give this handle a new value, in which the part that an index selects is replaced.

        Other handles, views and exports of the old value never see it. The value broadcasts to the part; where an
        index array names an element twice, the last value stays.

        Raises:
            IndexingError: for an index that does not fit.
            ShapeError: for a value that does not broadcast to the part.
            DTypeError: for a value of another kind, such as floats into an integer array.

        >>> import opmux as ox
        >>> x = ox.asarray([1, 2, 3]); y = x[:]
        >>> x[0] = 9
        >>> x.tolist(), y.tolist()
        ([9, 2, 3], [1, 2, 3])
        """
        from . import assignment

        assignment.setitem(self, key, value)

    def __iter__(self) -> Iterator[Array]:
        if not self.shape:
            raise ArgumentTypeError("an array without axes cannot be iterated over; use .item()", shape=())
        return (self[i] for i in range(self.shape[0]))

    def tolist(self) -> Any:
        """Return the values as nested lists of Python scalars; the scalar itself for an array without axes.

        >>> import opmux as ox
        >>> ox.asarray([[1, 2], [3, 4]]).tolist()
        [[1, 2], [3, 4]]
        """
        from . import transfer

        return transfer.to_list(self)

    def item(self) -> bool | int | float | complex:
        """Return the only element as a Python scalar.

        Raises:
            ShapeError: when there is not exactly one element.
        """
        if self._sig.size != 1:
            raise ShapeError(
                f"only an array with one element converts to a Python scalar; this one has shape {self.shape}",
                shape=self.shape,
            )
        value: bool | int | float | complex = self.numpy().reshape(()).astype(as_python(self.dtype)).item()
        return value

    def __bool__(self) -> bool:
        return bool(self.item())

    def __int__(self) -> int:
        return int(self.item())  # type: ignore[arg-type]

    def __float__(self) -> float:
        return float(self.item())  # type: ignore[arg-type]

    def __complex__(self) -> complex:
        return complex(self.item())

    def __index__(self) -> int:
        if self.dtype not in INTEGERS:
            raise DTypeError(f"only an integer array is an index; this one has dtype {self.dtype}", dtype=self.dtype)
        return int(self.item())  # type: ignore[arg-type]

    def __len__(self) -> int:
        if not self.shape:
            raise ShapeError("an array without axes has no len(); use .size", shape=())
        return self.shape[0]

    def __repr__(self) -> str:
        from . import printing

        return printing.describe(self)

    def __str__(self) -> str:
        from . import printing

        return printing.text(self)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        """Return the values for NumPy, by NumPy 2's rules: a read-only view where nothing has to be copied.

        Raises:
            DeviceError: off ``cpu``; copy with ``.to_device("cpu")`` first.
            ArgumentError: when ``copy=False`` and only a copy can do it.
        """
        from . import transfer

        return transfer.for_numpy(self, dtype, copy)

    def __buffer__(self, flags: int, /) -> memoryview:
        """Return a read-only memoryview of the values (PEP 688; Python 3.12 and later ask for it themselves).

        On Python 3.11, ``memoryview(numpy.asarray(x))`` does the same.

        Raises:
            ExportError: off ``cpu``, for writing, and for dtypes that the buffer protocol does not know.
        """
        from . import dlpack

        return dlpack.export_buffer(self, flags)

    def __dlpack__(
        self,
        *,
        stream: Any = None,
        max_version: tuple[int, int] | None = None,
        dl_device: tuple[int, int] | None = None,
        copy: bool | None = None,
    ) -> Any:
        """Export as a DLPack capsule, read-only; a consumer that cannot be told so gets a copy of its own.

        PyTorch is told and writes all the same, so a process that has imported it gets copies, unless ``copy=False``
        says that nobody will write. (``numpy.asarray(x)`` is a view in any case.)

        Args:
            stream: None; ``cpu`` memory is ready when it is exported.
            max_version: the newest DLPack version that the consumer knows.
            dl_device: the device wanted; ``(1, 0)``, which is ``cpu``, or None.
            copy: True forces a copy, False forbids one.

        Raises:
            ExportError: for another device, and where ``copy=False`` but only a copy can do it.
        """
        from . import dlpack

        return dlpack.export(self, stream=stream, max_version=max_version, dl_device=dl_device, copy=copy)

    def __dlpack_device__(self) -> tuple[int, int]:
        """Return DLPack's device type and number.

        Raises:
            ExportError: off ``cpu``.
        """
        from . import dlpack

        return dlpack.device_code(self)

    def __reduce__(self) -> tuple[Any, ...]:
        from . import transfer

        return transfer.pickled(self)

    def __copy__(self) -> Array:
        return alias(self)

    def __deepcopy__(self, memo: object) -> Array:
        return alias(self)  # values never change under a handle

    def __array_namespace__(self, *, api_version: str | None = None) -> Any:
        """Return the opmux namespace, for code written to the Array API standard.

        Raises:
            ArgumentError: for a version of the standard that is not served.
        """
        if api_version is not None and api_version not in API_VERSIONS:
            raise ArgumentError(
                f"version {api_version!r} of the Array API standard is not served; served: {', '.join(API_VERSIONS)}",
                api_version=api_version,
            )
        return sys.modules[__name__.partition(".")[0]]  # by name: the core imports nothing above it

    def _alias(self) -> Array:
        """Return another handle on the same value."""
        return Array(self._buffer, self._sig, self._offset)

    def _become(self, value: Array) -> None:
        """Take the value of another handle."""
        self._buffer, self._sig, self._offset, self._view = value._buffer, value._sig, value._offset, None

    def _check_concrete(self) -> None:
        """Raise where there is no value, as during capture."""


def empty(device: Device, dtype: DType, shape: Shape, queue: Queue | None = None) -> Array:
    """Return a contiguous array whose values are not set yet."""
    sig = signature(device, dtype, shape)
    return Array(device.alloc(sig.nbytes, queue), sig)


def alias(x: Array) -> Array:
    """Return another handle on the same value."""
    check_usable(x)
    return x._alias()


def replace(handle: Array, value: Array) -> None:
    """Give a handle the value of another; how ``x[i] = v`` and ``x += y`` work."""
    handle._become(value)
