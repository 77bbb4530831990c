"""Arrays from outside: Python scalars and sequences, NumPy, DLPack, the buffer protocol."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from .. import dtypes
from ..devices.device import Buffer, Device, find_device
from ..devices.memory import foreign
from ..devices.queues import queue_of
from ..dtypes import BOOL, COMPLEX, REAL, STORAGE, DType
from ..errors import ArgumentError, ArgumentTypeError, DeviceError, DTypeError, ShapeError, shown
from ..op import CAST
from ..rounding import rounded
from ..signature import ALIGNMENT, Shape, is_row_major, row_major, signature
from . import defaults, dlpack
from .array import Array
from .ownership import check_usable
from .transfer import dense_copy, extent, to_device, upload

_SCALARS: Final = (bool, int, float, complex)
_SEQUENCES: Final = (list, tuple, range)
_PYTHON: Final = (*_SCALARS, *_SEQUENCES)
#: Sequences nested deeper than this are refused; a list that contains itself is one of them.
_DEEPEST: Final = 64
# The widest NumPy dtype of each Python type: values are read exactly there before they take their dtype.
_WIDEST: Final = ((complex, np.complex128), (float, np.float64), (int, np.int64), (bool, np.bool_))


def asarray(
    obj: Any,
    /,
    *,
    dtype: DType | str | None = None,
    device: Device | str | None = None,
    copy: bool | None = None,
) -> Array:
    """Return an array of what *obj* holds.

    Args:
        obj: a Python scalar, nested sequences of them, an opmux or NumPy array, or any object with ``__dlpack__``, the
            buffer protocol, ``__array_interface__`` or ``__array__``.
        dtype: of the result. By default arrays keep theirs, and Python's int becomes int64, float the default real
            dtype, complex the complex dtype of that width. Values are rounded to the nearest, beyond the range of a
            float to infinity; floats lose their fraction in an integer dtype.
        device: where the result lives; opmux arrays stay where they are by default, others go to the default device.
        copy: None shares the memory of a NumPy array or another exporter on ``cpu`` where it can; it must not be
            written as long as the array lives. True takes a snapshot. False forbids the copy.

    Raises:
        ArgumentTypeError: for an object of another type.
        DTypeError: for elements that have no dtype here (objects, strings, dates, structures).
        ShapeError: for ragged sequences.
        ArgumentError: for integers out of range, and when ``copy=False`` but only a copy can do it.

    >>> import opmux as ox
    >>> ox.asarray([[1, 2], [3, 4]]).dtype, ox.asarray([1.5]).dtype
    (opmux.int64, opmux.float32)
    """
    wanted = None if dtype is None else dtypes.dtype(dtype)
    _check_copy(copy)
    if isinstance(obj, Array):
        return _from_array(obj, wanted, device, copy)
    target = defaults.device() if device is None else find_device(device)
    if isinstance(obj, np.ndarray | np.generic):
        return _from_numpy(obj, wanted, target, copy)
    if isinstance(obj, _PYTHON):
        if copy is False:
            raise _copy_forbidden(f"a Python {type(obj).__name__}")
        values, natural = sequence_values(obj)
        t = natural if wanted is None else wanted
        return upload(converted(values, t), target, t)
    if hasattr(obj, "__dlpack__"):
        return _from_array(from_dlpack(obj), wanted, target, copy)
    return _from_numpy(_seen_by_numpy(obj), wanted, target, copy)


def from_dlpack(x: Any, /, *, device: Device | str | None = None, copy: bool | None = None) -> Array:
    """Return an array over the memory of an object that exports DLPack.

    Args:
        x: an object with ``__dlpack__`` and ``__dlpack_device__``, in host memory.
        device: where the result lives; None leaves it on ``cpu``.
        copy: None shares the memory, which must not be written as long as the array lives; True takes a snapshot;
            False forbids a copy.

    Raises:
        ArgumentTypeError: for an object that does not export DLPack.
        DeviceError: for memory that opmux cannot read.
        DTypeError: for elements that have no dtype here.
        ArgumentError: when the exporter refuses, or ``copy=False`` but only a copy can do it.

    >>> import numpy as np, opmux as ox
    >>> ox.from_dlpack(np.array([1, 2])).tolist()
    [1, 2]
    """
    _check_copy(copy)
    if isinstance(x, Array):
        return _from_array(x, None, device, copy)
    imported = dlpack.take(x)
    t = imported.known_dtype()
    host = find_device("cpu")
    if imported.address % t.numpy.alignment:
        return _from_numpy(imported.as_numpy(), None, host if device is None else find_device(device), copy)
    shared = _shared(imported, t, imported.shape, imported.strides, imported.address, host)
    return _from_array(shared, None, device, copy)


def _check_copy(copy: object) -> None:
    if copy is not None and not isinstance(copy, bool):
        raise ArgumentTypeError(f"copy={shown(copy)} is neither True, False nor None", copy=copy)


def _copy_forbidden(what: str) -> ArgumentError:
    message = f"asarray: {what} cannot become such an array without a copy; leave out copy=False"
    return ArgumentError(message, copy=False)


def _from_array(x: Array, wanted: DType | None, device: Device | str | None, copy: bool | None) -> Array:
    from ..dispatch.call import invoke_by_name

    check_usable(x)
    target = x.device if device is None else find_device(device)
    casts = wanted is not None and wanted is not x.dtype
    moves = target is not x.device
    if copy is False and (casts or moves):
        raise _copy_forbidden(f"an array of {x.dtype} on {x.device}")
    if casts:
        x = invoke_by_name(CAST, (x,), dtype=wanted)
    if moves:
        return to_device(x, target)
    return dense_copy(x) if copy and not casts else to_device(x, target)


def _shared(owner: object, t: DType, shape: Shape, strides: Shape, first: int, device: Device) -> Array:
    """Return an array over foreign host memory; *first* is the address of the first element, strides in elements."""
    if 0 in shape:
        return upload(np.empty(shape, t.numpy), device, t)
    if is_row_major(shape, strides):
        strides = row_major(shape)  # one signature, whatever strides somebody gives axes of length 1
    low, high = extent(shape, strides)
    start = first + low * t.itemsize
    block = foreign(owner, start, (high - low + 1) * t.itemsize)
    buffer = Buffer(device, block, block.capacity, queue_of(device), writable=False)
    return Array(buffer, signature(device, t, shape, strides, first % ALIGNMENT == 0), first - start)


def _is_masked(a: NDArray[Any]) -> bool:
    """Return whether an array is a masked one, without importing ``numpy.ma``.

    NumPy imports it on first mention; an interrupt at that moment leaves a module that recurses without end.
    """
    masked = sys.modules.get("numpy.ma")
    return masked is not None and isinstance(a, masked.MaskedArray)


def _from_numpy(a: Any, wanted: DType | None, device: Device, copy: bool | None) -> Array:
    if _is_masked(a):
        raise ArgumentTypeError(
            "asarray: a NumPy masked array has elements without a value; fill them first with .filled(value)",
            given=type(a),
        )
    scalar = isinstance(a, np.generic)
    values: NDArray[Any] = np.asarray(a)
    t = _dtype_of_numpy(values)
    whole = all(s % t.itemsize == 0 for s in values.strides)
    shareable = not scalar and values.dtype.isnative and values.flags.aligned and whole and device.is_host
    casts = wanted is not None and wanted is not t
    if copy is False and (casts or not shareable):
        raise _copy_forbidden(f"a NumPy {type(a).__name__} of {values.dtype} {'scalar' if scalar else 'array'}")
    if shareable and (casts or not copy):
        strides = tuple(s // t.itemsize for s in values.strides)
        address: int = values.__array_interface__["data"][0]
        shared = _shared(values, t, values.shape, strides, address, device)
        return _from_array(shared, wanted, None, None)
    native = values.astype(values.dtype.newbyteorder("="), copy=False)
    if not casts:
        return upload(native, device, t)
    # Cast on the host: the device may not know the dtype that the values come in.
    return to_device(_from_array(upload(native, find_device("cpu"), t), wanted, None, None), device)


def _dtype_of_numpy(values: NDArray[Any]) -> DType:
    try:
        return dtypes.dtype(values.dtype)
    except DTypeError:
        hint = "; give numbers, or all rows the same length" if values.dtype == object else ""
        raise DTypeError(
            f"asarray: NumPy dtype {values.dtype} has no counterpart in opmux; known dtypes: "
            f"{', '.join(dtypes.BY_NAME)}{hint}",
            given=values.dtype,
        ) from None


def _seen_by_numpy(obj: Any) -> NDArray[Any]:
    """Return the memory of an object as NumPy sees it."""
    if not isinstance(obj, str):
        try:
            return np.asarray(memoryview(obj))
        except (TypeError, ValueError, BufferError):  # no buffer, or a format that NumPy does not know
            pass
        if any(hasattr(obj, name) for name in ("__array_interface__", "__array_struct__", "__array__")):
            return np.asarray(obj)
    raise ArgumentTypeError(
        f"asarray: {type(obj).__module__}.{type(obj).__qualname__} is not array-like; give a Python scalar, nested "
        f"sequences, an array, or an object with __dlpack__, the buffer protocol or __array_interface__",
        given=type(obj),
    )


def sequence_values(obj: Any) -> tuple[NDArray[Any], DType]:
    """Return the values of a Python scalar or of nested sequences, exactly, and the dtype that they take by default.

    Raises:
        ShapeError: for ragged sequences, or such that are nested too deeply.
        ArgumentTypeError: for elements that are neither numbers nor arrays.
        ArgumentError: for integers beyond 64 bits.
    """
    if isinstance(obj, range):
        obj = list(obj)
    kinds: set[type] = set()
    strong: set[DType] = set()
    for leaf in _leaves(obj, 0):
        if isinstance(leaf, DType):
            strong.add(leaf)
        else:
            kinds.add(leaf)
    python = next((k for k, _ in _WIDEST if k in kinds), None)
    if strong:
        t = dtypes.promote(sorted(strong, key=lambda s: s.name), where="asarray")
        for kind in kinds:
            t = dtypes.weak(kind(), t, where="asarray")
        return _read(_as_numpy(obj), t.numpy), t
    if python is None:  # no elements
        return _read(obj, np.float64), defaults.float_dtype()
    natural = defaults.dtype_of(python())
    return _read(obj, dict(_WIDEST)[python]), natural


def _leaves(obj: Any, depth: int) -> Iterator[type | DType]:
    """Yield the Python type, or the dtype, of every element; of many of one Python type only once."""
    if depth > _DEEPEST:
        raise ShapeError(f"asarray: sequences are nested more than {_DEEPEST} deep", depth=depth)
    if not isinstance(obj, list | tuple):
        obj = (obj,)
    types = set(map(type, obj))
    plain = types.intersection(_SCALARS)
    yield from plain
    for item in obj if types != plain else ():
        if isinstance(item, _SEQUENCES):
            yield from _leaves(list(item) if isinstance(item, range) else item, depth + 1)
        elif isinstance(item, Array):
            yield item.dtype
        elif isinstance(item, np.ndarray | np.generic):
            yield _dtype_of_numpy(np.asarray(item))
        elif isinstance(item, _SCALARS):
            yield next(k for k in _SCALARS if isinstance(item, k))
        else:
            raise ArgumentTypeError(
                f"asarray: an element is a {type(item).__module__}.{type(item).__qualname__} ({shown(item, 40)}); "
                f"elements are numbers, booleans or arrays",
                given=type(item),
            )


def _as_numpy(obj: Any) -> Any:
    """Return nested sequences with every opmux array in them as a NumPy array."""
    if isinstance(obj, list | tuple):
        return [_as_numpy(item) for item in obj]
    if isinstance(obj, Array):
        if not obj.device.is_host:
            raise DeviceError(
                f"asarray: a sequence holds an array on {obj.device}; opmux moves nothing by itself, use stack, or "
                f".to_device('cpu')",
                device=obj.device.name,
            )
        return obj.numpy()
    return obj


def _read(obj: Any, layout: Any) -> NDArray[Any]:
    try:
        return np.array(obj, layout)
    except OverflowError:
        return _read_large(obj)
    except ValueError:
        raise ShapeError(
            "asarray: sequences of one level have different lengths; every row needs the same length"
        ) from None


def _read_large(obj: Any) -> NDArray[Any]:
    """Return integers beyond int64: as uint64 where they fit, as objects elsewhere."""
    try:
        return np.array(obj, np.uint64)
    except OverflowError:
        return np.array(obj, object)


def converted(values: NDArray[Any], t: DType) -> NDArray[Any]:
    """Return NumPy values in a dtype, rounded once; what the dtype cannot hold at all is an error.

    Raises:
        ArgumentError: for integers out of range, or NaN or infinity as an integer.
        DTypeError: for complex values in a real dtype.
    """
    if values.dtype == t.numpy:
        return values
    if values.dtype.kind == "c" and t.kind not in (COMPLEX, BOOL):
        raise DTypeError(f"asarray: complex numbers have no {t} values; take the real or imaginary part", dtype=t)
    if values.dtype == object and t.kind in (REAL, STORAGE, COMPLEX):
        try:
            values = values.astype(np.float64)
        except OverflowError:
            raise ArgumentError(f"asarray: an integer is beyond the range of float64, so of {t}", dtype=t) from None
    if t.kind in (REAL, STORAGE):
        return rounded(values, t)
    if t.kind in (BOOL, COMPLEX):
        with np.errstate(over="ignore"):
            return values.astype(t.numpy)
    return _to_integers(values, t)


def _to_integers(values: NDArray[Any], t: DType) -> NDArray[Any]:
    lowest, highest = dtypes.element_limits(t)
    if values.size and values.dtype != np.bool_:
        whole = np.trunc(values) if values.dtype.kind == "f" else values
        # As Python numbers, whose comparison is exact; NaN fails it.
        least, most = np.array([whole.min(), whole.max()], whole.dtype).tolist()
        if not (lowest <= least and most <= highest):
            culprit = most if lowest <= least else least
            raise ArgumentError(
                f"asarray: {shown(culprit)} is out of range for {t}, which holds {lowest} to {highest}",
                value=culprit,
                dtype=t,
            )
    return values.astype(t.numpy)
