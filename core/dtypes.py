"""Dtypes: what they are, how they promote, and how they look to NumPy and DLPack."""

from __future__ import annotations

import functools
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

import ml_dtypes
import numpy as np

from .errors import DTypeError, shown

Scalar = bool | int | float | complex


@dataclass(frozen=True, slots=True, eq=False)
class DType:
    """One element type.

    Attributes:
        name: the standard's name, e.g. ``"float32"``.
        kind: ``"bool"``, ``"signed integer"``, ``"unsigned integer"``, ``"real floating"``,
            ``"complex floating"`` or ``"storage"`` (casts and movement only).
        bits: width of one element in bits.
        numpy: the NumPy dtype of the same layout.
        dlpack: DLPack's type code.
    """

    name: str
    kind: str
    bits: int
    numpy: np.dtype
    dlpack: int

    @property
    def itemsize(self) -> int:
        """Bytes per element."""
        return self.numpy.itemsize

    def __repr__(self) -> str:
        return f"opmux.{self.name}"

    def __str__(self) -> str:
        return self.name

    def __reduce__(self) -> tuple[object, ...]:
        return dtype, (self.name,)


def _make(name: str, kind: str, dlpack: int, source: type | None = None, bits: int | None = None) -> DType:
    layout = np.dtype(source if source is not None else name)
    return DType(name, kind, bits or layout.itemsize * 8, layout, dlpack)


BOOL: Final = "bool"
SIGNED: Final = "signed integer"
UNSIGNED: Final = "unsigned integer"
REAL: Final = "real floating"
COMPLEX: Final = "complex floating"
STORAGE: Final = "storage"

# DLPack's DLDataTypeCode: int 0, uint 1, float 2, bfloat 4, complex 5, bool 6, float8_e4m3fn 10, float8_e5m2 12.
bool_: Final = _make("bool", BOOL, 6, np.bool_)
int8: Final = _make("int8", SIGNED, 0)
int16: Final = _make("int16", SIGNED, 0)
int32: Final = _make("int32", SIGNED, 0)
int64: Final = _make("int64", SIGNED, 0)
uint8: Final = _make("uint8", UNSIGNED, 1)
uint16: Final = _make("uint16", UNSIGNED, 1)
uint32: Final = _make("uint32", UNSIGNED, 1)
uint64: Final = _make("uint64", UNSIGNED, 1)
float16: Final = _make("float16", REAL, 2)
bfloat16: Final = _make("bfloat16", REAL, 4, ml_dtypes.bfloat16)
float32: Final = _make("float32", REAL, 2)
float64: Final = _make("float64", REAL, 2)
complex64: Final = _make("complex64", COMPLEX, 5)
complex128: Final = _make("complex128", COMPLEX, 5)
float8_e4m3fn: Final = _make("float8_e4m3fn", STORAGE, 10, ml_dtypes.float8_e4m3fn)
float8_e5m2: Final = _make("float8_e5m2", STORAGE, 12, ml_dtypes.float8_e5m2)

ALL: Final = (
    bool_, int8, int16, int32, int64, uint8, uint16, uint32, uint64,
    float16, bfloat16, float32, float64, complex64, complex128, float8_e4m3fn, float8_e5m2,
)  # fmt: skip
BY_NAME: Final[dict[str, DType]] = {t.name: t for t in ALL}
_BY_NUMPY: Final[dict[np.dtype, DType]] = {t.numpy: t for t in ALL}
_BY_PYTHON: Final[dict[type, str]] = {bool: "bool", int: "int64", float: "default", complex: "complex64"}

SIGNED_INTEGERS: Final = (int8, int16, int32, int64)
UNSIGNED_INTEGERS: Final = (uint8, uint16, uint32, uint64)
INTEGERS: Final = (*SIGNED_INTEGERS, *UNSIGNED_INTEGERS)
FLOATS: Final = (float16, bfloat16, float32, float64)
COMPLEXES: Final = (complex64, complex128)
NUMERIC: Final = (*INTEGERS, *FLOATS, *COMPLEXES)

#: How each kind is told, for :func:`isdtype` and for dtype rules.
KINDS: Final[dict[str, tuple[DType, ...]]] = {
    "bool": (bool_,),
    "signed integer": SIGNED_INTEGERS,
    "unsigned integer": UNSIGNED_INTEGERS,
    "integral": INTEGERS,
    "real floating": FLOATS,
    "complex floating": COMPLEXES,
    "numeric": NUMERIC,
}


def dtype(given: object) -> DType:
    """Return the dtype that a DType, a name or a NumPy dtype stands for.

    Raises:
        DTypeError: for anything else, naming what is known.

    >>> dtype("float32")
    opmux.float32
    """
    if isinstance(given, DType):
        return given
    if isinstance(given, str):
        found = BY_NAME.get(given)
        if found is not None:
            return found
    elif isinstance(given, np.dtype | type):  # NumPy would also take None, bytes and lists for dtypes
        found = _BY_NUMPY.get(np.dtype(given).newbyteorder("="))
        if found is not None:
            return found
    raise DTypeError(f"{shown(given)} is not a dtype; known dtypes: {', '.join(BY_NAME)}", given=given)


def _promotion() -> dict[tuple[DType, DType], DType]:
    """Build the Array API standard's table, with bfloat16 beside float16."""
    table: dict[tuple[DType, DType], DType] = {(t, t): t for t in (*KINDS["numeric"], bool_)}

    def both(a: DType, b: DType, result: DType) -> None:
        table[a, b] = table[b, a] = result

    for family in (SIGNED_INTEGERS, UNSIGNED_INTEGERS):
        for i, a in enumerate(family):
            for b in family[i:]:
                both(a, b, b)
    for signed in SIGNED_INTEGERS:
        for unsigned in UNSIGNED_INTEGERS[:3]:
            wide = max(signed.bits, 2 * unsigned.bits)
            both(signed, unsigned, BY_NAME[f"int{wide}"])
    for a, b, result in (
        (float16, bfloat16, float32),
        (float16, float32, float32),
        (float16, float64, float64),
        (bfloat16, float32, float32),
        (bfloat16, float64, float64),
        (float32, float64, float64),
        (complex64, complex128, complex128),
    ):
        both(a, b, result)
    for real in FLOATS:
        both(real, complex64, complex128 if real is float64 else complex64)
        both(real, complex128, complex128)
    return table


PROMOTION: Final = _promotion()


def promote(types: Iterable[DType], *, where: str) -> DType:
    """Return the dtype that these promote to by the Array API standard's table.

    Args:
        types: at least one dtype.
        where: the op, for the message.

    Raises:
        DTypeError: when the standard does not define the mix (integers with floats, bool with numbers,
            uint64 with signed integers).
    """
    given = tuple(types)
    result = given[0]
    for other in given[1:]:
        found = PROMOTION.get((result, other))
        if found is None:
            raise DTypeError(
                f"{where}: {result} and {other} do not promote to a common dtype (the Array API standard "
                f"leaves this mix undefined); convert one of them with astype",
                op=where,
                dtypes=given,
            )
        result = found
    return result


_WEAK_KINDS: Final[dict[type, frozenset[str]]] = {
    bool: frozenset({BOOL, SIGNED, UNSIGNED, REAL, COMPLEX}),
    int: frozenset({SIGNED, UNSIGNED, REAL, COMPLEX}),
    float: frozenset({REAL, COMPLEX}),
    complex: frozenset({COMPLEX}),
}


def weak(value: Scalar, strong: DType, *, where: str) -> DType:
    """Return the dtype that a Python scalar takes beside an array: the array's, if its kind allows the value.

    Raises:
        DTypeError: for a float beside an integer array, a complex beside a real one, or a number beside bool.
    """
    if strong.kind in _WEAK_KINDS[type(value)]:
        return strong
    if type(value) is complex and strong.kind == REAL:
        return complex128 if strong is float64 else complex64
    raise DTypeError(
        f"{where}: the Python {type(value).__name__} {shown(value)} cannot take the dtype {strong} of the array beside "
        f"it; convert the array with astype",
        op=where,
        dtypes=(strong,),
    )


@functools.cache
def element_limits(t: DType) -> tuple[int, int]:
    """Return the smallest and largest value of an integer dtype, or of bool."""
    if t is bool_:
        return 0, 1
    info = np.iinfo(t.numpy)
    return int(info.min), int(info.max)


def as_python(t: DType) -> np.dtype:
    """Return the NumPy dtype in which values are cast to become Python scalars."""
    return t.numpy if t.numpy.isbuiltin == 1 else np.dtype(np.float64)  # NumPy has no Python scalar for narrow floats
