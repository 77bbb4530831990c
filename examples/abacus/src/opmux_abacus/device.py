"""The driver: memory, copies, queues and late statuses of the board, by calls of its C library."""

from __future__ import annotations

import ctypes
from array import array
from collections.abc import Sequence
from ctypes import c_char_p, c_int, c_int64, c_uint64, c_void_p
from pathlib import Path
from typing import Any, Final, NamedTuple

from opmux.plugin import DeviceInfo, DeviceLostError, HostBytes, Rates

MEMORY: Final = 1 << 30
OK, FAULT, PARITY, LOST, HOST_MEMORY = range(5)
MESSAGES: Final = {
    FAULT: "a command used an address outside of the board's memory",
    PARITY: "parity error in the board's memory",
    LOST: "the abacus board does not answer any more",
    HOST_MEMORY: "the host had no memory for a command",
}

#: Every function of abacus.h: its result, its arguments.
_SIGNATURES: Final = {
    "ab_open": (c_void_p, [c_uint64]),
    "ab_queue_open": (c_void_p, [c_void_p]),
    "ab_alloc": (c_uint64, [c_void_p, c_uint64]),
    "ab_lost": (c_int, [c_void_p]),
    "ab_inject": (None, [c_void_p, c_int, c_int64]),
    "ab_free": (c_uint64, [c_void_p, c_uint64]),
    "ab_upload": (c_uint64, [c_void_p, c_uint64, c_void_p, c_uint64]),
    "ab_download": (c_uint64, [c_void_p, c_void_p, c_uint64, c_uint64]),
    "ab_wait": (c_uint64, [c_void_p, c_void_p, c_uint64]),
    "ab_launch": (c_uint64, [c_void_p, c_char_p, c_int64, c_char_p, c_int64]),
    "ab_last": (c_uint64, [c_void_p]),
    "ab_done": (c_int, [c_void_p, c_uint64]),
    "ab_status": (c_int, [c_void_p, c_uint64]),
}
LIBRARY: Final = ctypes.CDLL(str(Path(__file__).with_name("libabacus.so")))
for _name, (_result, _arguments) in _SIGNATURES.items():
    _function = getattr(LIBRARY, _name)
    _function.restype, _function.argtypes = _result, _arguments


class AbacusError(Exception):
    """What a command ended with."""


def failure(status: int) -> Exception | None:
    """Return a status as an exception."""
    if status == LOST:
        return DeviceLostError(MESSAGES[LOST], device="abacus:0")
    return AbacusError(MESSAGES[status]) if status else None


class Event(NamedTuple):
    """A command on a queue by its ticket; also the completion of a launch."""

    queue: int
    ticket: int

    def done(self) -> bool:
        return bool(LIBRARY.ab_done(self.queue, self.ticket))

    def error(self) -> Exception | None:
        return failure(LIBRARY.ab_status(self.queue, self.ticket))


def submitted(queue: int, ticket: int) -> Event:
    """Return the event of a command that was put on a queue, if it was."""
    if not ticket:
        raise MemoryError(MESSAGES[HOST_MEMORY])
    return Event(queue, ticket)


def launch(queue: int, operands: Sequence[Any], words: bytes) -> Event:
    """Put steps, as kernels.py encodes them, on a queue; keeps addresses, never the arrays."""
    addresses = array("Q", [x.ptr for x in operands]).tobytes()
    return submitted(queue, LIBRARY.ab_launch(queue, addresses, len(operands), words, len(words) // 8))


class Driver:
    """The one board. A handle is a board address, an event a ticket, a queue the library's pointer to it."""

    def __init__(self) -> None:
        # Measured through opmux on a shared core of an x86-64 server: a matrix product, a copy, a launch of 8 elements.
        rates = Rates(flops=(("default", 6e8),), bandwidth=((1 << 62, 1e9),), launch=5e-5)
        self.info = DeviceInfo("abacus", "Abacus board", MEMORY, rates=rates)
        self._board = LIBRARY.ab_open(MEMORY)
        self._queues: list[int] = []
        if not self._board:
            raise MemoryError("no room for the board's memory")

    def _check(self) -> None:
        if LIBRARY.ab_lost(self._board):
            raise DeviceLostError(MESSAGES[LOST], device="abacus:0")

    def open_queue(self) -> int:
        queue = LIBRARY.ab_queue_open(self._board)
        if not queue:
            raise MemoryError("no thread for a queue")
        self._queues.append(queue)
        return queue

    def alloc(self, nbytes: int, queue: int) -> int:
        self._check()
        address = LIBRARY.ab_alloc(self._board, nbytes)
        if not address:
            self.synchronize(self._queues[0])  # memory may be on its way back
            address = LIBRARY.ab_alloc(self._board, nbytes)
        if not address:
            raise MemoryError("the board's memory is full")
        return address

    def free(self, handle: int, last_uses: Sequence[Event]) -> None:
        default = self._queues[0]
        for event in last_uses:
            if event.queue != default:
                self.wait(default, event)
        LIBRARY.ab_free(default, handle)

    def pointer(self, handle: int, offset: int) -> int:
        return handle + offset

    def upload(self, handle: int, offset: int, source: HostBytes, queue: int) -> None:
        self._check()
        submitted(queue, LIBRARY.ab_upload(queue, handle + offset, source.ctypes.data, source.size))

    def download(self, target: HostBytes, handle: int, offset: int, queue: int) -> None:
        ticket = LIBRARY.ab_download(queue, target.ctypes.data, handle + offset, target.size)
        error = submitted(queue, ticket).error()
        if error is not None:
            raise error

    def record(self, queue: int) -> Event:
        return Event(queue, LIBRARY.ab_last(queue))

    def wait(self, queue: int, event: Event) -> None:
        submitted(queue, LIBRARY.ab_wait(queue, event.queue, event.ticket))

    def synchronize(self, queue: int) -> None:
        self.record(queue).error()
        self._check()

    def inject(self, status: int, n: int = 1) -> None:
        """Let the n-th launch from now on fail with a status, as a board does now and then."""
        LIBRARY.ab_inject(self._board, status, n)
