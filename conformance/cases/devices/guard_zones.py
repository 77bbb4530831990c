"""Memory full of garbage between two guards that nobody may write, around a device's own."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final

from ....core.devices.device import Device
from ....core.devices.driver import DeviceDriver, Handle, HostBytes
from ....core.errors import ConformanceError
from .interception import Around, letting_go, settled


class _Kept:
    """A buffer between two guards: the owner's handle, and what is known of it."""

    __slots__ = ("events", "front", "handle", "inner", "nbytes", "queue")

    def __init__(self, handle: Handle, inner: Handle, front: int, nbytes: int, queue: Any) -> None:
        self.handle, self.inner, self.front, self.nbytes, self.queue = handle, inner, front, nbytes, queue
        self.events: Sequence[Any] = ()


#: Bytes before and after every buffer; the first keeps the alignment.
FRONT: Final = 256
REAR: Final = 320
_GUARD: Final = 0xC3


class Guarded(Around):
    """Hands out memory full of garbage between two guard zones, and keeps what is freed until it has looked at them.

    Args:
        inner: the device's own driver.
        garbage: the byte that fresh memory is full of.
        host: whether the host addresses the memory, so that handles have to be blocks.
    """

    def __init__(self, inner: DeviceDriver, garbage: int, *, host: bool) -> None:
        super().__init__(inner)
        self._garbage, self._host = garbage, host
        self._live: dict[int, _Kept] = {}
        self._freed: list[_Kept] = []
        self._numbers = itertools.count()
        self.passing = False  # whether fresh memory comes from the inner driver as it is
        self.last: Callable[[], object] | None = None  # done when the last guarded buffer is freed

    @property
    def live(self) -> int:
        """How many guarded buffers are allocated and not freed, nor in cycles that the collector would free."""
        return settled(self._live)

    def alloc(self, nbytes: int, queue: Any) -> Handle:
        if self.passing:
            return self.inner.alloc(nbytes, queue)
        whole = FRONT + nbytes + REAR
        inner = self.inner.alloc(whole, queue)
        content = _bytes(whole, _GUARD)
        content[FRONT : FRONT + nbytes] = self._garbage
        self.inner.upload(inner, 0, content, queue)
        handle = _host_block(inner, nbytes) if self._host else ("guarded", next(self._numbers))
        self._live[id(handle)] = _Kept(handle, inner, FRONT, nbytes, queue)
        return handle

    def free(self, handle: Handle, last_uses: Sequence[Any]) -> None:
        kept = self._live.pop(id(handle), None)
        if kept is None:
            self.inner.free(handle, last_uses)
        elif self.passing:
            self.inner.free(kept.inner, last_uses)
            if self.last is not None and not self._live:
                self.last()
        else:
            kept.events = tuple(last_uses)
            self._freed.append(kept)

    def pointer(self, handle: Handle, offset: int) -> Any:
        kept = self._live.get(id(handle))
        if kept is None:
            return self.inner.pointer(handle, offset)
        return self.inner.pointer(kept.inner, kept.front + offset)

    def upload(self, handle: Handle, offset: int, source: HostBytes, queue: Any) -> None:
        kept = self._live.get(id(handle))
        if kept is None:
            self.inner.upload(handle, offset, source, queue)
        else:
            self.inner.upload(kept.inner, kept.front + offset, source, queue)

    def download(self, target: HostBytes, handle: Handle, offset: int, queue: Any) -> None:
        kept = self._live.get(id(handle))
        if kept is None:
            self.inner.download(target, handle, offset, queue)
        else:
            self.inner.download(target, kept.inner, kept.front + offset, queue)

    def check(self) -> int:
        """Look at the guards of every buffer, give back those that were freed, and return how many were looked at.

        Raises:
            ConformanceError: something was written outside of a buffer.
        """
        freed, self._freed = self._freed, []
        looked = [*freed, *self._live.values()]
        found = [text for kept in looked if (text := self._damage(kept))]
        for kept in freed:
            self.inner.free(kept.inner, kept.events)
        if found:
            raise ConformanceError(f"memory outside of a buffer was written: {found[0]}")
        return len(looked)

    def _damage(self, kept: _Kept) -> str:
        for event in kept.events:
            self.inner.wait(kept.queue, event)
        for name, at, length in (("before", 0, FRONT), ("behind", FRONT + kept.nbytes, REAR)):
            zone = _bytes(length, 0)
            self.inner.download(zone, kept.inner, at, kept.queue)
            changed = (zone != _GUARD).nonzero()[0]
            if changed.size:
                where = int(changed[0]) - (FRONT if name == "before" else 0)
                return f"{changed.size} bytes {name} one of {kept.nbytes} bytes, from byte {where:+d} on"
        return ""


def _bytes(count: int, value: int) -> HostBytes:
    import numpy as np

    return np.full(count, value, np.uint8)


def _host_block(inner: Any, nbytes: int) -> Any:
    from ....core.devices.memory import Block

    return Block(inner.bytes[FRONT : FRONT + nbytes], inner.address + FRONT, nbytes)


@contextlib.contextmanager
def guarded(device: Device, garbage: int) -> Iterator[Guarded]:
    """Give arrays of the block guarded memory full of garbage.

    What outlives the block, which only a faulty backend keeps, is still freed as it must be; then the device has its
    own driver again.
    """
    own = device.driver
    made = Guarded(own, garbage, host=device.is_host)
    device.driver = made
    try:
        with letting_go():
            yield made
            made.check()
    finally:
        made.passing = True
        for kept in made._freed:
            own.free(kept.inner, kept.events)

        def give_back() -> None:
            if device.driver is made:
                device.driver = own

        made.last = give_back
        if not made.live:
            give_back()
