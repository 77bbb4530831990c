"""Writing a part of an array: ``x[key] = value`` gives the handle a new value that nobody else sees."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from ..dispatch.call import invoke_by_name
from ..dispatch.scalars import constant, scalar_to_numpy
from ..dtypes import BOOL, COMPLEX, REAL, SIGNED, STORAGE, UNSIGNED, DType, Scalar, bool_, int64, weak
from ..errors import ArgumentTypeError, DeviceError, DTypeError
from ..graphs.trace import Traced
from ..op import CAST
from ..signature import Shape
from . import metadata
from .array import Array, empty, replace
from .creation import asarray, converted, sequence_values
from .index_keys import Key, Value, parse
from .indexing import selected_shape
from .ownership import check_usable, is_sole_owner
from .transfer import settle, upload
from .views import broadcast_strides

_WHERE: Final = "x[index] = value"
_SCALARS: Final = (bool, int, float, complex)
#: The kinds of value that an array of each kind takes; any other would lose more than precision.
_TAKES: Final[dict[str, frozenset[str]]] = {
    BOOL: frozenset({BOOL}),
    UNSIGNED: frozenset({BOOL, UNSIGNED}),
    SIGNED: frozenset({BOOL, UNSIGNED, SIGNED}),
    REAL: frozenset({BOOL, UNSIGNED, SIGNED, REAL, STORAGE}),
    STORAGE: frozenset({STORAGE, REAL}),
    COMPLEX: frozenset({BOOL, UNSIGNED, SIGNED, REAL, COMPLEX}),
}


def setitem(x: Array, key: Key, value: Value) -> None:
    """Do ``x[key] = value``; see ``Array.__setitem__``."""
    check_usable(x)
    if isinstance(x, Traced) or not x.device.is_host:
        _scatter(x, key, value)
    else:
        _write(x, key, value)


def _write(x: Array, key: Key, value: Value) -> None:
    """Write into host memory: the array's own if nothing else sees it, a fresh copy elsewhere."""
    items = parse(x, key)
    new = _on_host(x, value)
    broadcast_strides(new.shape, (0,) * new.ndim, selected_shape(items), where=_WHERE)
    settle(x)
    host_key = _host_key(key)
    # An index or a value that looks at this array's memory counts as another owner, so it is read before it changes.
    if is_sole_owner(x) and _distinct(x.shape, x.strides):
        x.host[host_key] = new
        return
    fresh = empty(x.device, x.dtype, x.shape)
    fresh.host[...] = x.host
    fresh.host[host_key] = new
    replace(x, fresh)


def _distinct(shape: Shape, strides: Shape) -> bool:
    """Return whether no two elements of a view share memory, as they do where an axis is repeated."""
    reach = 0
    for step, n in sorted((abs(s), n) for s, n in zip(strides, shape, strict=True) if n > 1):
        if step <= reach:
            return False
        reach += step * (n - 1)
    return True


def _host_key(key: Key) -> Any:
    """Return a key for NumPy; opmux arrays in it become NumPy arrays."""
    if isinstance(key, tuple):
        return tuple(_host_entry(k) for k in key)
    return _host_entry(key)


def _host_entry(entry: Any) -> Any:
    if isinstance(entry, Array):
        return entry.numpy()
    if isinstance(entry, list | tuple | range):
        values, _ = sequence_values(entry)
        return values if values.size else values.astype(np.int64)
    return entry


def _on_host(x: Array, value: Any) -> NDArray[Any]:
    """Return a value as a NumPy array of the array's dtype."""
    if type(value) in _SCALARS:
        return scalar_to_numpy(value, _weak(value, x.dtype))
    if isinstance(value, list | tuple | range):
        return _sequence(value, x.dtype)
    return _array(x, value).numpy()


def _weak(value: Scalar, t: DType) -> DType:
    """Return the array's dtype if a Python scalar may take it."""
    if weak(value, t, where=_WHERE) is not t:
        raise DTypeError(f"{_WHERE}: the complex number {value!r} has no {t} value", dtypes=(t,))
    return t


def _sequence(value: Any, t: DType) -> NDArray[Any]:
    values, natural = sequence_values(value)
    if values.size:
        _check_kind(natural, t)
    return converted(values, t)


def _check_kind(given: DType, t: DType) -> None:
    if given.kind not in _TAKES[t.kind]:
        raise DTypeError(
            f"{_WHERE}: values of {given} do not fit an array of {t}, which takes {', '.join(sorted(_TAKES[t.kind]))}; "
            f"convert one of them with astype",
            dtypes=(t, given),
        )


def _array(x: Array, value: Any) -> Array:
    """Return a value that has a dtype of its own as an array of the array's dtype, on its device."""
    given = value if isinstance(value, Array) else _imported(x, value)
    check_usable(given)
    if given.device is not x.device:
        raise DeviceError(
            f"{_WHERE}: the array is on {x.device} and the value on {given.device}; opmux moves nothing by itself, use "
            f".to_device({x.device.name!r})",
            devices=(x.device.name, given.device.name),
        )
    if given.dtype is x.dtype:
        return given
    _check_kind(given.dtype, x.dtype)
    return invoke_by_name(CAST, (given,), dtype=x.dtype)


def _imported(x: Array, value: Any) -> Array:
    try:
        return asarray(value, device=x.device)
    except ArgumentTypeError as error:
        raise ArgumentTypeError(
            f"{_WHERE}: the value is a {type(value).__qualname__}; give a Python scalar, a sequence or an array",
            given=type(value),
        ) from error


def _scatter(x: Array, key: Key, value: Value) -> None:
    """Compute the new value with the opset: where the host cannot write, or during capture."""
    new = _as_operand(x, value)
    if isinstance(key, Array) and key.dtype is bool_ and new.ndim == 0 and key.shape == x.shape[: key.ndim]:
        # A mask selects a number of elements that only its value tells; with one value for all, nobody needs to know.
        mask = metadata.reshape(key, (*key.shape, *(1,) * (x.ndim - key.ndim)))
        replace(x, invoke_by_name("where", (mask, new, x)))
        return
    selected = selected_shape(parse(x, key))
    broadcast_strides(new.shape, (0,) * new.ndim, selected, where=_WHERE)
    host_key = _host_key(key)
    parse(x, host_key)  # the values of index arrays too: NumPy's own error would name the index alone
    places = np.arange(x.size, dtype=np.int64).reshape(x.shape)[host_key]
    updates = metadata.reshape(metadata.broadcast_to(new, selected), -1)
    flat = metadata.reshape(x, -1)
    indices = upload(places.reshape(-1), x.device, int64)
    made = invoke_by_name("scatter", (flat, indices, updates), axis=0, mode="clip", reduction="set")
    replace(x, metadata.reshape(made, x.shape))


def _as_operand(x: Array, value: Any) -> Array:
    if type(value) in _SCALARS:
        return constant(value, _weak(value, x.dtype), x.device)
    if isinstance(value, list | tuple | range):
        return upload(_sequence(value, x.dtype), x.device, x.dtype)
    return _array(x, value)
