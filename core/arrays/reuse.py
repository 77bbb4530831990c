"""Small results given out again: a call that is repeated writes into the arrays of an earlier one that nobody has left.

Making an array of host memory and taking its buffer back costs more than a small kernel, and a collective makes one for
each rank. So the results of the last calls are kept, handles and all. They are written again only where nothing but
this module sees them: no other handle, view, export or weak reference, which for a value is the same as being gone.
What is kept goes when the allocator gives its blocks back: a kept handle may have got the value of a larger buffer.
"""

from __future__ import annotations

from collections import deque
from sys import getrefcount
from typing import Final
from weakref import getweakrefcount, ref

from ..devices.memory import RELEASES
from ..signature import Signature
from .array import Array

#: Bytes of a result: copying or computing much more costs far more than making the array, and what is kept is not free.
LARGEST: Final = 1 << 12
#: The value that a loop holds while it makes the next, and that one.
_KEPT: Final = 2
#: What every :class:`Results` keeps, by its identity.
_ALL: Final[dict[int, ref[deque[list[Array]]]]] = {}


def _release() -> None:
    """Let go of all that is kept; what a call is about to write is not among it."""
    # A copy, which takes one step: a tuple is memory that the collector may run for, and it takes entries out.
    for found in _ALL.copy().values():
        kept = found()
        if kept is not None:
            kept.clear()


RELEASES.append(_release)


class _Handle:
    """What is counted of an array."""

    __slots__ = ("_buffer",)

    def __init__(self) -> None:
        self._buffer = object()


def _counted(made: list[Array], i: int) -> tuple[int, int]:
    # Not by a name: until Python 3.12 a debugger that looks at a function's variables holds what they name as well, and
    # then every result that somebody has once would count as left.
    return getrefcount(made[i]), getrefcount(made[i]._buffer)


#: References to a handle that only the kept list holds, and to its buffer, as :meth:`Results.take` counts them. How
#: many a call itself takes differs between interpreters.
_HANDLE, _BUFFER = _counted([_Handle()], 0)  # type: ignore[list-item]


class Results:
    """The results of one kind of call on the host.

    Args:
        outputs: their signatures, each of at most :data:`LARGEST` bytes.
    """

    __slots__ = ("_indices", "_kept", "_outputs")

    def __init__(self, outputs: tuple[Signature, ...]) -> None:
        self._outputs = outputs
        self._indices = range(len(outputs))
        kept = self._kept = deque[list[Array]](maxlen=_KEPT)
        key = id(kept)
        _ALL[key] = ref(kept, lambda _: _ALL.pop(key, None))

    def take(self) -> tuple[Array, ...]:
        """Return arrays that nobody else sees, to be written; two threads never get the same."""
        kept, outputs = self._kept, self._outputs
        try:
            made = kept.popleft()
        except IndexError:
            return self._made()
        for i in self._indices:
            handles = getrefcount(made[i])
            x = made[i]
            # A handle that was consumed or has got another value has another signature, or shares that value's buffer.
            if (
                handles != _HANDLE
                or getrefcount(x._buffer) != _BUFFER
                or x._sig is not outputs[i]
                or getweakrefcount(x)
                or getweakrefcount(x._buffer)
                or not x._buffer.writable
            ):
                if not kept and handles != _HANDLE:
                    kept.append(made)  # it may be left by the next call; what stays in use makes place for the others
                return self._made()
        given = tuple(made)  # from here on these references keep every other thread off
        kept.append(made)
        return given

    def _made(self) -> tuple[Array, ...]:
        made = [Array(s.device.alloc(s.nbytes), s) for s in self._outputs]
        given = tuple(made)
        self._kept.append(made)
        return given
