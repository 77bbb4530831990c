"""Python scalars as operands of ops whose operands do not promote together."""

from __future__ import annotations

from typing import Any

from ..core.arrays.array import Array
from ..core.dispatch.scalars import constant
from ..core.dtypes import STORAGE, float32, weak
from .casting import cast


def beside(x: Any, value: Any, *, where: str) -> Any:
    """Return a Python scalar as an array without axes of the dtype and device of the array beside it.

    What is neither stays as it is: the op itself says what is wrong with it.

    Raises:
        DTypeError: the dtype has no such value.
    """
    if not isinstance(x, Array) or type(value) not in (bool, int, float, complex):
        return value
    if type(value) is int and value == 0:
        value = False  # zero is the one number that every dtype has, bool included
    if x.dtype.kind == STORAGE:
        return cast(constant(float(value), float32, x.device), x.dtype)
    return constant(value, weak(value, x.dtype, where=where), x.device)
