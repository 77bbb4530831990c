"""Plain data into frozen dataclasses, strictly: what is missing, unknown or of another type is named by its place."""

from __future__ import annotations

import dataclasses
import functools
import types
import typing
from collections.abc import Mapping
from typing import Any, TypeVar

from ...core.errors import shown
from .errors import CertificateError

T = TypeVar("T")


def decode(kind: type[T], given: object, where: str = "certificate") -> T:
    """Return the dataclass that plain data describes.

    Args:
        kind: a frozen dataclass of strings, numbers, booleans, tuples, dictionaries by name and such dataclasses.
        given: from JSON.
        where: what it is, for messages.

    Raises:
        CertificateError: for data that is not exactly that.
    """
    if not isinstance(given, Mapping):
        raise CertificateError(f"{where} is {shown(given, 40)}, not an object", where=where)
    fields = _fields(typing.cast(Any, kind))
    wanted = {name for name, (_, needed) in fields.items() if needed}
    if lacking := sorted(wanted - set(given)):
        raise CertificateError(f"{where} lacks {', '.join(lacking)}", where=where)
    if unknown := sorted(map(str, set(given) - set(fields))):
        raise CertificateError(f"{where} has unknown {', '.join(unknown)}", where=where)
    return kind(**{name: _value(fields[name][0], value, f"{where}.{name}") for name, value in given.items()})


@functools.cache
def _fields(kind: Any) -> dict[str, tuple[Any, bool]]:
    """Return the type of each field, and whether it must be given."""
    hints = typing.get_type_hints(kind)
    return {
        f.name: (hints[f.name], f.default is dataclasses.MISSING and f.default_factory is dataclasses.MISSING)
        for f in dataclasses.fields(kind)
    }


def _value(kind: Any, given: Any, where: str) -> Any:
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if kind is Any:
        return given
    if origin in (types.UnionType, typing.Union):
        if given is None:
            return None
        return _value(next(a for a in arguments if a is not type(None)), given, where)
    if origin is tuple:
        _demand(isinstance(given, list | tuple), "a list", given, where)
        return tuple(_value(arguments[0], x, f"{where}[{i}]") for i, x in enumerate(given))
    if origin is dict:
        _demand(isinstance(given, Mapping), "an object", given, where)
        return {str(key): _value(arguments[1], x, f"{where}[{key!r}]") for key, x in given.items()}
    if dataclasses.is_dataclass(kind):
        return decode(typing.cast(type[Any], kind), given, where)
    if kind is float:
        _demand(isinstance(given, int | float) and not isinstance(given, bool), "a number", given, where)
        return given
    # True is an int to Python, and no count to anybody else.
    _demand(isinstance(given, kind) and (kind is bool or not isinstance(given, bool)), _WORDS[kind], given, where)
    return given


_WORDS = {str: "a string", int: "an integer", bool: "true or false"}


def _demand(fine: bool, what: str, given: object, where: str) -> None:
    if not fine:
        raise CertificateError(f"{where} is {shown(given, 60)}, not {what}", where=where)
