"""How arrays are shown: the values as NumPy writes them, with dtype and device."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from ..dtypes import DType
from .array import Array
from .ownership import Consumed

#: Arrays of more elements are summarised by the first and last few along each axis, as NumPy does.
THRESHOLD: Final = 1000
# Whole narrow floats below this are written out: 448., not 4.5e+02.
_EXACT: Final = 1e5
_CONSUMED: Final = "<consumed array>"


def describe(x: Array) -> str:
    """Return what ``repr`` shows: values, dtype, device, and the shape where the values do not tell it.

    An array on another device is copied to the host to be shown. A handle that has no values (consumed, or made by a
    launch that failed) is described rather than raised about.

    >>> import opmux as ox
    >>> ox.asarray([[1.0, 2.0]])
    Array([[1., 2.]], dtype=float32, device=cpu:0)
    """
    if isinstance(x._sig, Consumed):
        return _CONSUMED
    facts = f"dtype={x.dtype}, device={x.device}"
    problem = _problem(x)
    if problem is not None:
        return f"Array(<{problem}>, shape={x.shape}, {facts})"
    if x.size > THRESHOLD or x.size == 0:
        facts = f"shape={x.shape}, {facts}"
    prefix = "Array("
    return f"{prefix}{_values(x, separator=', ', prefix=prefix)}, {facts})"


def text(x: Array) -> str:
    """Return what ``str`` and ``print`` show: the values alone.

    >>> import opmux as ox
    >>> print(ox.asarray([1, 2]))
    [1 2]
    """
    if isinstance(x._sig, Consumed):
        return _CONSUMED
    if type(x) is not Array:
        return repr(x)
    problem = _problem(x)
    return f"<{problem}>" if problem is not None else _values(x, separator=" ", prefix="")


def _problem(x: Array) -> str | None:
    """Say why an array has no values, without counting as somebody who was told of the failure."""
    status = x._buffer.status
    error = x.device.lost or (status.error() if status is not None else None)
    return None if error is None else f"no values: {error}"


def _values(x: Array, *, separator: str, prefix: str) -> str:
    values: NDArray[Any] = x.numpy()
    formatter: Mapping[str, Callable[[Any], str]] | None = None
    if values.dtype.isbuiltin != 1:
        values, formatter = values.astype(np.float64), {"float_kind": _shortest(x.dtype)}
    return np.array2string(
        values,
        separator=separator,
        prefix=prefix,
        threshold=THRESHOLD,
        formatter=formatter,  # type: ignore[arg-type]  # NumPy's own type lists the keys one by one
    )


def _shortest(t: DType) -> Callable[[Any], str]:
    """Return a formatter that writes the fewest digits from which a narrow float is read back."""

    def write(value: Any) -> str:
        if abs(value) < _EXACT and value == round(value):
            return f"{value:.0f}."
        for digits in range(1, 6):
            shown = f"{value:.{digits}g}"
            if not np.isfinite(value) or float(np.array(float(shown)).astype(t.numpy)) == value:
                break
        return shown

    return write
