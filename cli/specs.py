"""Operands as words: ``f32[512,512]``, ``bool[]``, ``i64[3,4]@strides(1,3)`` (in elements), or a number."""

from __future__ import annotations

import ast
import math
import re
from typing import Final

from ..core.arrays.array import Array
from ..core.devices.device import Device
from ..core.dtypes import BY_NAME, DType
from ..core.errors import ArgumentError
from ..core.signature import signature

SHORT: Final[dict[str, str]] = {
    "f16": "float16", "bf16": "bfloat16", "f32": "float32", "f64": "float64",
    "i8": "int8", "i16": "int16", "i32": "int32", "i64": "int64",
    "u8": "uint8", "u16": "uint16", "u32": "uint32", "u64": "uint64",
    "c64": "complex64", "c128": "complex128",
}  # fmt: skip
_PATTERN: Final = re.compile(
    r"(?P<dtype>\w+)\[(?P<shape>(\d+(,\d+)*,?)?)\](@strides\((?P<strides>(-?\d+(,-?\d+)*,?)?)\))?", re.ASCII
)


def parse_dtype(text: str) -> DType:
    """Return the dtype of a short or full name.

    Raises:
        ArgumentError: for an unknown one.

    >>> parse_dtype("f32")
    opmux.float32
    """
    found = BY_NAME.get(SHORT.get(text, text))
    if found is None:
        raise ArgumentError(f"{text!r} is not a dtype; short names: {', '.join(SHORT)}, or a full name such as float32")
    return found


def _integers(text: str) -> tuple[int, ...]:
    return tuple(int(n) for n in text.split(",") if n)


def parse_operand(text: str, device: Device) -> Array | float | int | None:
    """Return an array of the described signature, without memory, or a Python number, or None for ``none``.

    Raises:
        ArgumentError: when the text is none of these.

    >>> from opmux.core.devices.device import find_device
    >>> parse_operand("i64[3,4]@strides(1,3)", find_device("cpu")).shape, parse_operand("-2", find_device("cpu"))
    ((3, 4), -2)
    """
    if text.strip().lower() == "none":
        return None
    found = _PATTERN.fullmatch(re.sub(r"\s", "", text))
    if found is None:
        try:
            return int(text) if re.fullmatch(r"\s*[-+]?\d+\s*", text, re.ASCII) else float(text)
        except ValueError:
            raise ArgumentError(
                f"{text!r} is neither an operand such as 'f32[512,512]' or 'i64[3,4]@strides(1,3)' nor a number"
            ) from None
    dtype, shape = parse_dtype(found["dtype"]), _integers(found["shape"])
    # An address has 64 bits; more than that is a slip of the keyboard.
    if math.prod(shape) * dtype.itemsize >= 1 << 63:
        raise ArgumentError(f"{text!r} has {math.prod(shape)} elements; that is more than any memory holds")
    if found["strides"] is None:
        return _without_memory(device, dtype, shape, None)
    strides = _integers(found["strides"])
    if len(strides) != len(shape):
        raise ArgumentError(f"{text!r} has {len(shape)} axes and {len(strides)} strides; give one stride per axis")
    return _without_memory(device, dtype, shape, strides)


def _without_memory(device: Device, dtype: DType, shape: tuple[int, ...], strides: tuple[int, ...] | None) -> Array:
    """Return an array that can be explained with, not computed with: it costs nothing, however large it is."""
    return Array(None, signature(device, dtype, shape, strides))  # type: ignore[arg-type]


def parse_attribute(text: str) -> tuple[str, object]:
    """Return name and value of ``axis=1``, ``axis=0,1``, ``padding=((0,1),(0,1))``, ``dtype=f32`` and so on.

    Raises:
        ArgumentError: when there is no ``=``, or brackets hold something else than numbers.

    >>> parse_attribute("axis=0,1")
    ('axis', (0, 1))
    """
    name, separator, value = text.partition("=")
    if not separator or not name.isidentifier():
        raise ArgumentError(f"{text!r} is not an attribute; write NAME=VALUE, e.g. axis=1")
    words = {"true": True, "false": False, "none": None}
    if value.lower() in words:
        return name, words[value.lower()]
    if name == "dtype":
        return name, parse_dtype(value)
    if value.startswith("("):
        return name, _nested(text, value)
    if re.fullmatch(r"[-+]?\d+(,[-+]?\d+)*,?", value):
        numbers = _integers(value)
        return name, numbers if "," in value else numbers[0]
    try:
        return name, float(value)
    except ValueError:
        return name, value


def _nested(text: str, value: str) -> object:
    try:
        return ast.literal_eval(value)
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        raise ArgumentError(f"{text!r} is not an attribute; tuples are written as in padding=((0,1),(0,1))") from None
