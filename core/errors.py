"""Every failure that opmux reports, as typed exceptions.

Each derives from :class:`OpmuxError` and from the builtin that people would catch. Culprits are
attributes, so that a program can act on them without reading the message; the message says what was
given, where, what is allowed and what to do.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any, Final

# Python refuses to write integers of more than some thousand digits, and nobody reads more than this many bits.
_SHOWN_BITS: Final = 128


def shown(value: object, limit: int = 120) -> str:
    """Return a value as messages show it: cut to a length, and without ever failing.

    >>> shown("axis"), shown(10**5000)
    ("'axis'", 'an integer of 16610 bits')
    """
    if isinstance(value, int) and value.bit_length() > _SHOWN_BITS:
        return f"an integer of {value.bit_length()} bits"
    try:
        text = repr(value)
    except Exception:  # an object's own repr, or a huge integer inside of it
        return f"a {type(value).__qualname__}"
    return text if len(text) <= limit else f"{text[: limit - 3]}..."


class OpmuxError(Exception):
    """The root of all errors raised by opmux.

    Keyword arguments become attributes of the exception.

    >>> ShapeError("bad axis", op="sum", axis=3).axis
    3
    """

    def __init__(self, message: str, **culprits: Any) -> None:
        super().__init__(message)
        self.culprits = culprits

    def __getattr__(self, name: str) -> Any:
        culprits: dict[str, Any] = self.__dict__.get("culprits", {})
        if name in culprits:
            return culprits[name]
        raise AttributeError(f"{type(self).__name__} has no attribute {name!r}; it has {sorted(culprits)}")

    def __reduce__(self) -> tuple[Any, ...]:
        return _rebuild, (type(self), str(self), self.culprits)


def _rebuild(kind: type[OpmuxError], message: str, culprits: dict[str, Any]) -> OpmuxError:
    return kind(message, **culprits)


class ShapeError(OpmuxError, ValueError):
    """Shapes, ranks or axes that do not fit the op."""


class AxisError(ShapeError, IndexError):
    """An axis or an index outside the array."""


class ArgumentError(OpmuxError, ValueError):
    """An argument whose value is not allowed."""


class ArgumentTypeError(OpmuxError, TypeError):
    """An argument of a type that is not allowed."""


class DTypeError(OpmuxError, TypeError):
    """A dtype, or a mix of dtypes, that the op does not take."""


class UnsupportedError(OpmuxError, NotImplementedError):
    """Nothing that is installed and allowed can do this call; the reasons are in ``reasons``."""


class DeviceError(OpmuxError, ValueError):
    """An unknown device, arrays on different devices, host access to device memory, or a failed call of its driver."""


class DeviceLostError(OpmuxError, RuntimeError):
    """A device that stopped working; everything on it is lost."""


class KernelError(OpmuxError, RuntimeError):
    """A kernel failed while it ran; ``op``, ``kernel`` and ``backend`` say which."""


class OutOfMemoryError(OpmuxError, MemoryError):
    """An allocation that the device, or its limit, does not allow."""


class SizeError(ShapeError, OutOfMemoryError):
    """A shape of more bytes than an address can count; no device will ever hold it."""


@contextlib.contextmanager
def host_memory(where: str) -> Iterator[None]:
    """Give what NumPy or Python raises for want of memory the type, and the message, that opmux has for it.

    Raises:
        OutOfMemoryError: naming where it happened.
    """
    try:
        yield
    except MemoryError as error:
        if isinstance(error, OpmuxError):
            raise
        reason = str(error) or "the system refused it"
        raise OutOfMemoryError(
            f"{where}: the host has no memory for this: {reason}; free arrays or use smaller ones", where=where
        ) from error


class PluginError(OpmuxError, RuntimeError):
    """A backend plugin that cannot be used, or that broke its promises to the host."""


class ConformanceError(OpmuxError, AssertionError):
    """A result outside of its contract."""


class CollectiveError(OpmuxError, RuntimeError):
    """A collective that could not complete on every rank."""


class FallbackError(UnsupportedError):
    """A fallback that the policy in force forbids."""


class ConsumedError(OpmuxError, RuntimeError):
    """An array handle that was consumed by ``out=``."""


class FallbackWarning(UserWarning):
    """A call ran on another device than its operands' because that device has no kernel for it."""


class PluginWarning(UserWarning):
    """A backend broke a promise in a way that costs only itself; the call was done without it."""
