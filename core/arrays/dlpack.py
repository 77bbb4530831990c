"""DLPack, both ways, and the buffer protocol: sharing host memory with other libraries.

Written against the structures themselves, because NumPy's own DLPack does not know bfloat16 or float8.
Source: the DLPack header, version 1.0 (struct layouts, type codes, flags), and the Array API standard's protocol.
"""

from __future__ import annotations

import ctypes
import inspect
import sys
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from ..devices.memory import foreign
from ..dtypes import ALL, DType
from ..errors import ArgumentError, ArgumentTypeError, DeviceError, DTypeError
from ..signature import Shape, row_major
from .array import Array
from .ownership import check_usable
from .transfer import dense_copy, extent, settle, to_device

CPU: Final = (1, 0)  # kDLCPU, number 0
VERSION: Final = (1, 0)
_READ_ONLY: Final = 1
_COPIED: Final = 2
#: Libraries whose arrays can be written although DLPack says that the memory is read-only (seen in PyTorch 2.13).
_CARELESS: Final = ("torch",)
_WRITABLE: Final = 1  # PyBUF_WRITABLE; inspect.BufferFlags has it only from Python 3.12 on
# The bytes objects live as long as the module: a capsule keeps the pointer to its name, not the name.
_LEGACY, _LEGACY_USED = b"dltensor", b"used_dltensor"
_VERSIONED, _VERSIONED_USED = b"dltensor_versioned", b"used_dltensor_versioned"

_BY_CODE: Final[dict[tuple[int, int], DType]] = {(t.dlpack, t.bits): t for t in ALL}


class ExportError(DeviceError, BufferError):
    """An export that this array, or the consumer's wishes, do not allow."""


class _Tensor(ctypes.Structure):
    """DLTensor."""

    _fields_ = (
        ("data", ctypes.c_void_p),
        ("device_type", ctypes.c_int32),
        ("device_id", ctypes.c_int32),
        ("ndim", ctypes.c_int32),
        ("code", ctypes.c_uint8),
        ("bits", ctypes.c_uint8),
        ("lanes", ctypes.c_uint16),
        ("shape", ctypes.POINTER(ctypes.c_int64)),
        ("strides", ctypes.POINTER(ctypes.c_int64)),
        ("byte_offset", ctypes.c_uint64),
    )


class _Managed(ctypes.Structure):
    """DLManagedTensor, which cannot say that memory is read-only."""

    _fields_ = (("tensor", _Tensor), ("context", ctypes.c_void_p), ("deleter", ctypes.c_void_p))


class _ManagedVersioned(ctypes.Structure):
    """DLManagedTensorVersioned."""

    _fields_ = (
        ("major", ctypes.c_uint32),
        ("minor", ctypes.c_uint32),
        ("context", ctypes.c_void_p),
        ("deleter", ctypes.c_void_p),
        ("flags", ctypes.c_uint64),
        ("tensor", _Tensor),
    )


_Deleter = ctypes.CFUNCTYPE(None, ctypes.c_void_p)
_Destructor = ctypes.PYFUNCTYPE(None, ctypes.c_void_p)

_new_capsule = ctypes.PYFUNCTYPE(ctypes.py_object, ctypes.c_void_p, ctypes.c_char_p, ctypes.c_void_p)(
    ("PyCapsule_New", ctypes.pythonapi)
)
# The destructor runs on a capsule without references, which must not become a Python object again: so by address.
_is_valid = ctypes.PYFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_char_p)(("PyCapsule_IsValid", ctypes.pythonapi))
_pointer_in = ctypes.PYFUNCTYPE(ctypes.c_void_p, ctypes.c_void_p, ctypes.c_char_p)(
    ("PyCapsule_GetPointer", ctypes.pythonapi)
)
_set_name = ctypes.PYFUNCTYPE(ctypes.c_int, ctypes.py_object, ctypes.c_char_p)(("PyCapsule_SetName", ctypes.pythonapi))

# What consumers look at, by the address of the structure, until their deleter call.
_exports: Final[dict[int, tuple[object, ...]]] = {}


def _forget(pointer: int, exports: dict[int, tuple[object, ...]] = _exports) -> None:
    # Bound as a default: at interpreter exit the module's globals may be gone before the last consumer.
    exports.pop(pointer, None)


def _drop(
    capsule: int,
    names: tuple[bytes, ...] = (_LEGACY, _VERSIONED),
    valid: Any = _is_valid,
    pointer_in: Any = _pointer_in,
    forget: Any = _forget,
) -> None:
    """Free what a capsule holds that nobody consumed; a consumer renames the capsule."""
    # A consumer that refuses the tensor may drop the capsule with its error already set. The first call from here then
    # fails with that error; unless it is made once for nothing, the memory is never freed. The error cannot be given
    # back to the consumer, so it is raised for Python to print.
    refused: Exception | None = None
    try:
        valid(capsule, names[0])
    except Exception as error:
        refused = error
    for name in names:
        if valid(capsule, name):
            forget(pointer_in(capsule, name))
    if refused is not None:
        raise refused


_forget_entry: Final = _Deleter(_forget)
_drop_entry: Final = _Destructor(_drop)
for _entry in (_forget_entry, _drop_entry):
    ctypes.pythonapi.Py_IncRef(ctypes.py_object(_entry))  # a consumer may call it when this module is gone


def device_code(x: Array) -> tuple[int, int]:
    """Return DLPack's device type and number of an array.

    Raises:
        ExportError: off ``cpu``.
    """
    check_usable(x)
    if not x.device.is_host:
        raise _not_on_host(x)
    return CPU


def _not_on_host(x: Array) -> ExportError:
    return ExportError(
        f"an array on {x.device} is not exported from there; copy it to the host first with .to_device('cpu')",
        device=x.device.name,
    )


def export(
    x: Array, *, stream: Any, max_version: tuple[int, int] | None, dl_device: tuple[int, int] | None, copy: bool | None
) -> Any:
    """Return a DLPack capsule over an array's memory, or over a copy of it; see ``Array.__dlpack__``."""
    check_usable(x)
    x._check_concrete()
    if stream is not None:
        raise ExportError(f"stream={stream!r} has no meaning for host memory; leave it None", stream=stream)
    if dl_device is not None and tuple(map(int, dl_device)) != CPU:
        raise ExportError(f"dl_device={dl_device!r} is not served; served: {CPU}, which is cpu", dl_device=dl_device)
    versioned = max_version is not None and max_version[0] >= VERSION[0]
    if not x.device.is_host:
        if dl_device is None or copy is False:
            raise _not_on_host(x)
        return _capsule(to_device(x, "cpu"), copied=True, versioned=versioned)
    settle(x)
    if versioned and (copy is False or (copy is None and not _careless())):
        return _capsule(x, copied=False, versioned=True)
    if copy is False:
        raise ExportError(
            "the consumer's DLPack version cannot tell it that the memory is read-only, so it would get a copy, which "
            "copy=False forbids; ask with max_version=(1, 0)",
            max_version=max_version,
        )
    return _capsule(dense_copy(x), copied=True, versioned=versioned)


def _careless() -> bool:
    return any(name in sys.modules for name in _CARELESS)


def _capsule(x: Array, *, copied: bool, versioned: bool) -> Any:
    """Export an array; a private copy may be written by the consumer, the array's own memory may not."""
    shape = (ctypes.c_int64 * x.ndim)(*x.shape)
    strides = (ctypes.c_int64 * x.ndim)(*x.strides)
    managed: Any = _ManagedVersioned() if versioned else _Managed()
    managed.tensor = _Tensor(
        x.ptr if x.size else None, *CPU, x.ndim, x.dtype.dlpack, x.dtype.bits, 1, shape, strides, 0
    )
    managed.context = None
    managed.deleter = ctypes.cast(_forget_entry, ctypes.c_void_p)
    if versioned:
        managed.major, managed.minor = VERSION
        managed.flags = _COPIED if copied else _READ_ONLY
    address = ctypes.addressof(managed)
    _exports[address] = (managed, shape, strides, x._buffer)
    return _new_capsule(address, _VERSIONED if versioned else _LEGACY, ctypes.cast(_drop_entry, ctypes.c_void_p))


class Imported:
    """Memory taken over from a DLPack capsule; the exporter's deleter is called when the last user is gone.

    Attributes:
        dtype, shape: of the tensor.
        strides: in elements.
        address: of the first element.
    """

    def __init__(self, managed: Any) -> None:
        self._managed = managed
        tensor = managed.tensor
        n = tensor.ndim
        self.dtype = _BY_CODE.get((tensor.code, tensor.bits)) if tensor.lanes == 1 else None
        self.device = (tensor.device_type, tensor.device_id)
        self.shape: Shape = tuple(tensor.shape[:n]) if n else ()
        self.strides: Shape = tuple(tensor.strides[:n]) if n and tensor.strides else row_major(self.shape)
        self.address: int = (tensor.data or 0) + tensor.byte_offset

    def as_numpy(self) -> NDArray[Any]:
        """Return the memory as a read-only NumPy array, whatever its alignment."""
        t = self.known_dtype()
        if 0 in self.shape:
            return np.empty(self.shape, t.numpy)
        low, high = extent(self.shape, self.strides)
        block = foreign(self, self.address + low * t.itemsize, (high - low + 1) * t.itemsize)
        return np.ndarray(
            self.shape, t.numpy, block.bytes, -low * t.itemsize, tuple(s * t.itemsize for s in self.strides)
        )

    def known_dtype(self) -> DType:
        """Return the dtype.

        Raises:
            DTypeError: when it has no counterpart here.
        """
        if self.dtype is None:
            tensor = self._managed.tensor
            raise DTypeError(
                f"from_dlpack: type code {tensor.code} with {tensor.bits} bits and {tensor.lanes} lanes has no "
                f"counterpart in opmux; known dtypes: {', '.join(t.name for t in ALL)}",
                code=tensor.code,
                bits=tensor.bits,
                lanes=tensor.lanes,
            )
        return self.dtype

    def __del__(self) -> None:
        deleter = self._managed.deleter
        if deleter:
            _Deleter(deleter)(ctypes.addressof(self._managed))


def take(x: Any) -> Imported:
    """Take the memory that an object exports through DLPack.

    Raises:
        ArgumentTypeError: for an object that does not export DLPack.
        DeviceError: for memory that the host cannot read.
        DTypeError: for a dtype without a counterpart here.
        ArgumentError: when the exporter refuses, or speaks a newer DLPack.
    """
    if inspect.isclass(x) or not (hasattr(x, "__dlpack__") and hasattr(x, "__dlpack_device__")):
        raise ArgumentTypeError(
            f"from_dlpack: {type(x).__module__}.{type(x).__qualname__} has no __dlpack__ and __dlpack_device__",
            given=type(x),
        )
    kind, number = x.__dlpack_device__()
    if int(kind) != CPU[0]:
        raise DeviceError(
            f"from_dlpack: the object lies on DLPack device type {int(kind)}, number {number}; opmux imports host "
            f"memory (type {CPU[0]}), copy it there first",
            dl_device=(int(kind), number),
        )
    imported = _consume(_ask(x))
    imported.known_dtype()
    return imported


def _ask(x: Any) -> Any:
    """Return an exporter's capsule; one from before version 1.0 does not take ``max_version``."""
    try:
        try:
            return x.__dlpack__(max_version=VERSION)
        except TypeError:
            return x.__dlpack__()
    except (BufferError, RuntimeError, ValueError) as error:
        raise ArgumentError(f"from_dlpack: {type(x).__qualname__} refused to export: {error}", given=type(x)) from error


def _consume(capsule: Any) -> Imported:
    for name, used, layout in (
        (_VERSIONED, _VERSIONED_USED, _ManagedVersioned),
        (_LEGACY, _LEGACY_USED, _Managed),
    ):
        if _is_valid(id(capsule), name):
            managed: Any = layout.from_address(_pointer_in(id(capsule), name))
            if layout is _ManagedVersioned and managed.major != VERSION[0]:
                raise ArgumentError(
                    f"from_dlpack: the exporter speaks DLPack {managed.major}.{managed.minor}; opmux reads "
                    f"{VERSION[0]}.x",
                    version=(managed.major, managed.minor),
                )
            _set_name(capsule, used)
            return Imported(managed)
    raise ArgumentTypeError(
        "from_dlpack: __dlpack__ did not return a fresh DLPack capsule; a capsule can be consumed once",
        given=type(capsule),
    )


def export_buffer(x: Array, flags: int) -> memoryview:
    """Return a read-only memoryview of an array's values; see ``Array.__buffer__``."""
    check_usable(x)
    if not x.device.is_host:
        raise _not_on_host(x)
    if flags & _WRITABLE:
        raise ExportError("an opmux array is a value: its buffer is read-only", flags=flags)
    values = x.numpy()
    try:
        return memoryview(values)  # type: ignore[arg-type]  # an ndarray is a Buffer; typeshed knows it from 3.12 on
    except (BufferError, ValueError) as error:
        raise ExportError(
            f"the buffer protocol has no format for {x.dtype}: {error}; use numpy.asarray or DLPack", dtype=x.dtype
        ) from error
