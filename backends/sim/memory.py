"""Device memory: blocks that only the device looks into, and a limit."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

Host = NDArray[Any]

#: Blocks take whole multiples of this, as the alignment that the driver promises.
GRAIN: Final = 64
#: Fresh and freed memory holds this byte, NaN in every float format: what is read too early or too late shows, and
#: replays are exact also where a program reads what nobody wrote.
GARBAGE: Final = 0xFF


class AccessError(RuntimeError):
    """Work that reached outside of a block, or into one that was freed."""


class Block:
    """A block of device memory. It is opaque: it has no address, no buffer and no array interface.

    Attributes:
        number: its place in the order of allocation on its device.
        nbytes: its size.
        damage: why its content is lost, where a transfer into it failed.
    """

    __slots__ = ("_bytes", "_freed", "damage", "nbytes", "number")

    def __init__(self, number: int, nbytes: int) -> None:
        self.number = number
        self.nbytes = nbytes
        self.damage: BaseException | None = None
        self._bytes = np.full(nbytes, GARBAGE, np.uint8)
        self._freed = False

    def content(self, offset: int, shape: tuple[int, ...], dtype: np.dtype[Any], strides: Sequence[int]) -> Host:
        """Return a view for work of the device; offset and strides are bytes.

        Raises:
            AccessError: where the view is not inside of the block, or the block was freed.
        """
        if self._freed:
            raise AccessError(f"use of block {self.number} after it was freed")
        if 0 in shape:  # it may begin anywhere, also outside
            return np.empty(shape, dtype)
        low, high = extent(offset, shape, dtype.itemsize, strides)
        if low < 0 or high > self.nbytes:
            raise AccessError(f"bytes {low} to {high} of block {self.number}, which has {self.nbytes}")
        return np.ndarray(shape, dtype, self._bytes.data, offset, tuple(strides))

    def free(self) -> None:
        """Spoil the content, and let go of it."""
        self._freed = True
        self._bytes = np.empty(0, np.uint8)

    def __repr__(self) -> str:
        return f"<block {self.number} of {self.nbytes} bytes on a simulated device>"


def extent(offset: int, shape: tuple[int, ...], itemsize: int, strides: Sequence[int]) -> tuple[int, int]:
    """Return the first byte of a view and the one behind its last; strides are bytes."""
    if 0 in shape:
        return offset, offset
    reach = [(n - 1) * s for n, s in zip(shape, strides, strict=True)]
    return offset + sum(r for r in reach if r < 0), offset + sum(r for r in reach if r > 0) + itemsize


@dataclass(frozen=True, slots=True)
class Pointer:
    """What kernels get as ``array.ptr``."""

    block: Block
    offset: int


@dataclass(frozen=True, slots=True)
class View:
    """What work keeps of an array: where its elements are. Strides are bytes.

    Attributes:
        block: the memory.
        offset: of the first element, in bytes.
        shape, strides, dtype: as in NumPy.
    """

    block: Block
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]
    dtype: np.dtype[Any]

    @classmethod
    def of(cls, x: Any) -> View:
        """Return the place of an array on a simulated device.

        Raises:
            TypeError: for anything else, host pointers above all: the device has an address space of its own.
        """
        pointer = x.ptr
        if not isinstance(pointer, Pointer):
            raise TypeError(f"{pointer!r} is not a pointer of a simulated device, which cannot address other memory")
        dtype = x.dtype.numpy
        return cls(pointer.block, pointer.offset, x.shape, tuple(s * dtype.itemsize for s in x.strides), dtype)

    @classmethod
    def bytes_of(cls, block: Block, offset: int, count: int) -> View:
        """Return some bytes of a block."""
        return cls(block, offset, (count,), (1,), np.dtype(np.uint8))

    def content(self) -> Host:
        """Return the elements, for work of the device."""
        return self.block.content(self.offset, self.shape, self.dtype, self.strides)

    def covers_block(self) -> bool:
        """Return whether every byte of the block is one of the elements."""
        return math.prod(self.shape) * self.dtype.itemsize >= self.block.nbytes and 0 not in self.strides


class Memory:
    """The memory of one device, as an account: blocks lie nowhere in particular, so nothing fragments.

    Attributes:
        limit: bytes in all.
        used, peak: bytes taken now, and at most so far.
    """

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.used = 0
        self.peak = 0
        self._made = 0

    def alloc(self, nbytes: int) -> Block:
        """Return a fresh block.

        Raises:
            MemoryError: where it does not fit, or where the host, which holds the content, has no room for it.
        """
        taken = rounded_up(nbytes)
        if self.used + taken > self.limit:
            raise MemoryError(f"{self.limit - self.used:,} of {self.limit:,} bytes are left")
        block = Block(self._made, nbytes)
        self._made += 1
        self.used += taken
        self.peak = max(self.peak, self.used)
        return block

    def free(self, block: Block) -> None:
        """Take a block back."""
        self.used -= rounded_up(block.nbytes)
        block.free()


def rounded_up(nbytes: int) -> int:
    """Return a size in whole grains."""
    return -(-nbytes // GRAIN) * GRAIN
