"""Who else sees an array's memory: handles that own it alone, and handles that ``out=`` has consumed."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any, Final

from ..devices.device import Buffer
from ..errors import ConsumedError, OpmuxError

if TYPE_CHECKING:
    from .array import Array


class Consumed:
    """Stands for the buffer and signature of a handle that ``out=`` has consumed."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):  # inspect and doctest ask any object of a module for __wrapped__
            raise AttributeError(name)
        raise ConsumedError("this array was consumed by out=; use the array that the call returned")


_CONSUMED: Final[Any] = Consumed()


class _Holder:
    """One slot, as an array's, to learn how many references this interpreter counts for a sole holder."""

    __slots__ = ("_buffer",)


def _references(x: Any) -> int:
    # The holder's slot is one; how many more the call itself takes differs between interpreters.
    return sys.getrefcount(x._buffer)


def _references_of_sole_holder() -> int:
    holder = _Holder()
    holder._buffer = object()  # type: ignore[attr-defined]
    return _references(holder)


_SOLE_HOLDER: Final = _references_of_sole_holder()


def is_sole_owner(x: Array) -> bool:
    """Return whether nothing but this handle sees the buffer: no other array, export or import."""
    return x._buffer.writable and _references(x) == _SOLE_HOLDER


def consume(x: Array) -> Buffer:
    """Take the buffer out of an exclusively owned array; the handle is unusable afterwards.

    Raises:
        OpmuxError: when something else sees the buffer.
    """
    check_usable(x)
    if not is_sole_owner(x):
        raise OutError(
            "out= takes an array that nothing else sees; this one shares its memory with a view, another name for the "
            "same value, an export, or the program that it was imported from. Pass a fresh array",
            shape=x.shape,
        )
    buffer = x._buffer
    x._buffer = x._sig = _CONSUMED
    x._view = None
    return buffer


def check_usable(x: Array) -> None:
    """Raise if the handle was consumed."""
    if isinstance(x._sig, Consumed):
        raise ConsumedError("this array was consumed by out=; use the array that the call returned")


class OutError(OpmuxError, ValueError):
    """An ``out=`` array that cannot take the result."""
