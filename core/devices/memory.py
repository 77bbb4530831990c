"""The cpu device: host memory from a caching allocator, and queues on which everything is done at once."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from ..errors import ArgumentError, OutOfMemoryError, shown
from ..locks import Order, held_across_fork
from ..signature import ALIGNMENT
from .driver import DeviceInfo, HostBytes, Rates
from .host import cpu_name
from .status import again

#: Blocks above this size go back to the system at once: caching them would hold memory for rare sizes.
LARGEST_CACHED: Final = 1 << 28
_SMALLEST: Final = 64
#: What lets go of host arrays that nobody but opmux itself has; asked before kept blocks go back to the system.
RELEASES: Final[list[Callable[[], None]]] = []


class Block:
    """Host memory, 64-byte aligned.

    Attributes:
        bytes: the memory as a NumPy array of uint8.
        address: its first byte.
        capacity: its size; at least what was asked for.
        view: the last view made of its beginning, with the signature that it is of. Building a view costs as much as a
            small op, and a block that is reused is mostly reused for the same signature.
    """

    __slots__ = ("address", "bytes", "capacity", "view")

    def __init__(self, data: HostBytes, address: int, capacity: int) -> None:
        self.bytes = data
        self.address = address
        self.capacity = capacity
        self.view: tuple[object, NDArray[Any]] | None = None


class _Foreign:
    """Shows foreign memory to NumPy, and keeps its owner alive as long as anybody looks."""

    def __init__(self, owner: object, address: int, nbytes: int) -> None:
        self._owner = owner
        # Read-only: what somebody else owns is never written here, not even by a kernel's mistake.
        self.__array_interface__ = {"version": 3, "shape": (nbytes,), "typestr": "|u1", "data": (address, True)}


def foreign(owner: object, address: int, nbytes: int) -> Block:
    """Return memory that somebody else owns as a block; it is read-only and never given to the allocator.

    Args:
        owner: kept alive as long as the block or a view of it; letting go of it gives the memory back.
        address: the first byte.
        nbytes: at least 1.
    """
    return Block(np.asarray(_Foreign(owner, address, nbytes)), address, nbytes)


@dataclass(frozen=True, slots=True)
class MemoryStatistics:
    """Counts of the cpu allocator.

    Attributes:
        in_use: bytes of blocks that arrays hold.
        peak: the most bytes ever held from the system, in use or kept.
        cached: bytes of blocks kept for reuse.
        limit: the most bytes that may be held.
        from_system: how often the system was asked for a block.
    """

    in_use: int
    peak: int
    cached: int
    limit: int
    from_system: int


def _round_up(nbytes: int) -> int:
    """Return the block size for a request: eighths of a power of two, so that at most 1/8 is lost."""
    if nbytes <= _SMALLEST:
        return _SMALLEST
    step = max(_SMALLEST, 1 << max((nbytes - 1).bit_length() - 4, 0))
    return -(-nbytes // step) * step


def _physical_memory() -> int:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def limit_from_environment() -> int:
    """Return the bytes that arrays on ``cpu`` may take together: ``OPMUX_CPU_MEMORY``, else the machine's memory.

    Raises:
        ArgumentError: when the variable is not a number of bytes.
    """
    given = os.environ.get("OPMUX_CPU_MEMORY")
    if not given:
        return _physical_memory()
    try:
        limit = int(given)
    except ValueError:
        limit = 0
    if limit <= 0:
        raise ArgumentError(
            f"OPMUX_CPU_MEMORY={shown(given)} is not a number of bytes; give a whole number such as 8000000000, "
            f"or unset it",
            variable="OPMUX_CPU_MEMORY",
            value=given,
        )
    return limit


#: More devices than this are a mistake: each is a rank of a mesh, and they share one memory and its processors.
_MOST_DEVICES: Final = 1024


def devices_from_environment() -> int:
    """Return how many devices the host is: ``OPMUX_CPU_DEVICES``, else one.

    Raises:
        ArgumentError: when the variable is not a small whole number.
    """
    given = os.environ.get("OPMUX_CPU_DEVICES")
    if not given:
        return 1
    try:
        count = int(given)
    except ValueError:
        count = 0
    if not 1 <= count <= _MOST_DEVICES:
        raise ArgumentError(
            f"OPMUX_CPU_DEVICES={shown(given)} is not a number of devices; give a whole number from 1 to "
            f"{_MOST_DEVICES}, or unset it",
            variable="OPMUX_CPU_DEVICES",
            value=given,
        )
    return count


def _from_system(capacity: int) -> HostBytes:
    try:
        return np.empty(capacity + ALIGNMENT, np.uint8)
    except (MemoryError, ValueError) as error:  # ValueError: more than an address can count
        raise OutOfMemoryError(
            f"cpu: the system refused {capacity:,} bytes; free arrays or use smaller ones",
            device="cpu:0",
            nbytes=capacity,
        ) from error


class CachingAllocator:
    """Keeps freed blocks by size, so that a loop of equal calls asks the system for nothing.

    Taking a kept block and giving one back are single list operations, which need no lock.

    Args:
        limit: the most bytes that may be held from the system at once.
        fault: what is wrong with the limit that the user has set; every request for memory raises it.
    """

    def __init__(self, limit: int, fault: ArgumentError | None = None) -> None:
        self.limit = limit
        self._fault = fault
        self._free: dict[int, list[Block]] = {}
        # Reentrant: the collector may free an array while this thread allocates.
        self._lock = held_across_fork(Order.MEMORY)
        self._held = self._peak = self._from_system = 0

    def alloc(self, nbytes: int) -> Block:
        """Return a block of at least *nbytes*.

        Raises:
            OutOfMemoryError: beyond the limit, or when the system refuses.
            ArgumentError: when the limit that the user has set is none.
        """
        capacity = _round_up(nbytes)
        try:
            return self._free[capacity].pop()
        except (KeyError, IndexError):
            return self._new(capacity)

    def _new(self, capacity: int) -> Block:
        if self._fault is not None:
            raise again(self._fault)
        with self._lock:
            if self._held + capacity > self.limit:
                self.trim()
            if self._held + capacity > self.limit:
                raise OutOfMemoryError(
                    f"cpu: {capacity:,} bytes asked for while {self._held:,} of {self.limit:,} are in use; free "
                    f"arrays, use smaller ones, or raise OPMUX_CPU_MEMORY",
                    device="cpu:0",
                    nbytes=capacity,
                    in_use=self._held,
                    limit=self.limit,
                )
            block = self._take(capacity)
            self._held += capacity
            self._peak = max(self._peak, self._held)
            self._from_system += 1
            return block

    def _take(self, capacity: int) -> Block:
        try:
            raw = _from_system(capacity)
        except OutOfMemoryError:
            self.trim()  # what is kept for reuse may be what the system lacks
            raw = _from_system(capacity)
        address: int = raw.__array_interface__["data"][0]
        start = -address % ALIGNMENT
        return Block(raw[start : start + capacity], address + start, capacity)

    def free(self, block: Block) -> None:
        """Take a block back."""
        if block.capacity > LARGEST_CACHED:
            with self._lock:
                self._held -= block.capacity
            return
        try:
            self._free[block.capacity].append(block)
        except KeyError:
            self._free.setdefault(block.capacity, []).append(block)

    def trim(self) -> None:
        """Give every kept block back to the system, and what opmux itself keeps in others."""
        for release in tuple(RELEASES):
            release()
        with self._lock:
            for blocks in tuple(self._free.values()):
                while blocks:
                    try:
                        self._held -= blocks.pop().capacity
                    except IndexError:  # another thread took it
                        break

    def statistics(self) -> MemoryStatistics:
        """Return the counts so far."""
        with self._lock:
            cached = sum(len(blocks) * capacity for capacity, blocks in tuple(self._free.items()))
            return MemoryStatistics(self._held - cached, self._peak, cached, self.limit, self._from_system)


class CpuDriver:
    """Host memory as a device. Work is done when a launch returns, so its queues and events are empty.

    Where the host is several devices (``OPMUX_CPU_DEVICES``), they share one driver, and with it memory and its limit.

    Attributes:
        devices: how many the host is.
    """

    def __init__(self) -> None:
        self.devices = 1
        try:
            self.devices = devices_from_environment()
            self.allocator = CachingAllocator(limit_from_environment())
        except ArgumentError as fault:  # importing opmux succeeds, so that `opmux doctor` can say what is wrong
            self.allocator = CachingAllocator(_physical_memory(), again(fault))
        self.info = DeviceInfo("cpu", cpu_name(), self.allocator.limit, rates=self._rates)

    def _rates(self) -> Rates:
        from .host_rates import host_rates

        return host_rates(self.info.name)

    def open_queue(self) -> Any:
        return None

    def alloc(self, nbytes: int, queue: Any) -> Block:
        return self.allocator.alloc(nbytes)

    def free(self, handle: Block, last_uses: Sequence[Any]) -> None:
        self.allocator.free(handle)

    def pointer(self, handle: Block, offset: int) -> int:
        return handle.address + offset

    def upload(self, handle: Block, offset: int, source: HostBytes, queue: Any) -> None:
        handle.bytes[offset : offset + source.size] = source

    def download(self, target: HostBytes, handle: Block, offset: int, queue: Any) -> None:
        target[:] = handle.bytes[offset : offset + target.size]

    def record(self, queue: Any) -> Any:
        return None

    def wait(self, queue: Any, event: Any) -> None:
        return None

    def synchronize(self, queue: Any) -> None:
        return None
