"""Operands as words: ``f32[512,512]``, ``bool[]``, ``i64[3,4]@strides(1,3)``, or a number."""

from __future__ import annotations

import re
from typing import Final

from ..core.array import Array, empty, view
from ..core.device import Device
from ..core.dtypes import BY_NAME, DType
from ..core.errors import ArgumentError

SHORT: Final[dict[str, str]] = {
    "f16": "float16", "bf16": "bfloat16", "f32": "float32", "f64": "float64",
    "i8": "int8", "i16": "int16", "i32": "int32", "i64": "int64",
    "u8": "uint8", "u16": "uint16", "u32": "uint32", "u64": "uint64",
    "c64": "complex64", "c128": "complex128",
}  # fmt: skip
_PATTERN: Final = re.compile(r"^(?P<dtype>\w+)\[(?P<shape>[\d,\s]*)\](?:@strides\((?P<strides>[-\d,\s]*)\))?$")


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
    return tuple(int(n) for n in text.replace(" ", "").split(",") if n)


def parse_operand(text: str, device: Device) -> Array | float | int:
    """Return an array of the described signature, its values not set, or a Python number.

    Raises:
        ArgumentError: when the text is neither.
    """
    found = _PATTERN.match(text.strip())
    if found is None:
        try:
            return int(text) if re.fullmatch(r"[-+]?\d+", text.strip()) else float(text)
        except ValueError:
            raise ArgumentError(
                f"{text!r} is neither an operand such as 'f32[512,512]' or 'i64[3,4]@strides(1,3)' nor a number"
            ) from None
    dtype, shape = parse_dtype(found["dtype"]), _integers(found["shape"])
    if found["strides"] is None:
        return empty(device, dtype, shape)
    strides = _integers(found["strides"])
    if len(strides) != len(shape):
        raise ArgumentError(f"{text!r} has {len(shape)} axes and {len(strides)} strides; give one stride per axis")
    reach = [(n - 1) * s for n, s in zip(shape, strides, strict=True) if n]
    low, high = sum(min(r, 0) for r in reach), sum(max(r, 0) for r in reach)
    return view(empty(device, dtype, (high - low + 1,)), shape, strides, -low)


def parse_attribute(text: str) -> tuple[str, object]:
    """Return name and value of ``axis=1``, ``keepdims=true``, ``axis=0,1``, ``dtype=f32`` or ``mode=clip``.

    Raises:
        ArgumentError: when there is no ``=``.

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
    if re.fullmatch(r"[-+]?\d+(,[-+]?\d+)*,?", value):
        numbers = _integers(value)
        return name, numbers if "," in value else numbers[0]
    try:
        return name, float(value)
    except ValueError:
        return name, value

