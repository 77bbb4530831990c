"""From an entry of loaded code to what opmux launches: arguments laid out once, pointers filled in at each call."""

from __future__ import annotations

import ctypes
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from ...plugin import Array, Launch
from .runtime import Extent, Function, Runtime

#: Blocks that a grid may have along x (CUDA C++ Programming Guide, technical specifications).
MOST_BLOCKS: Final = 2**31 - 1


@dataclass(frozen=True, slots=True)
class Pointer:
    """The argument that is the address of an array.

    Attributes:
        index: which one: the inputs in order, then the outputs, then the workspace.
        offset: bytes from there.
    """

    index: int
    offset: int = 0


#: Arguments of a kernel in order: bytes passed by value, the address of an array, or a struct of such addresses.
Arguments = Sequence[bytes | Pointer | tuple[Pointer, ...]]


@dataclass(frozen=True, slots=True)
class Step:
    """One launch.

    Attributes:
        function: the entry.
        blocks: extents of the grid.
        threads: extents of a block.
        arguments: what the entry takes.
        shared: bytes of dynamic shared memory per block.
    """

    function: Function
    blocks: Extent
    threads: Extent
    arguments: Arguments
    shared: int = 0


class _Block:
    """The arguments of a step: a template of their bytes, and where pointers go.

    CUDA copies arguments while it launches, so a block lives for one call, and threads share none.
    """

    def __init__(self, arguments: Arguments) -> None:
        data = bytearray()
        self.places: list[tuple[int, int, int]] = []
        self._offsets: list[int] = []
        for argument in arguments:
            data += bytes(-len(data) % 16)
            self._offsets.append(len(data))
            if isinstance(argument, bytes):
                data += argument
                continue
            for pointer in (argument,) if isinstance(argument, Pointer) else argument:
                self.places.append((len(data), pointer.index, pointer.offset))
                data += bytes(8)
        self._offset_of_addresses = len(data) + -len(data) % 8
        self._type = ctypes.c_char * (self._offset_of_addresses + 8 * len(self._offsets))
        self._template = bytes(data).ljust(len(self._type()), b"\0")
        self._addresses = struct.Struct(f"<{len(self._offsets)}Q")

    def fill(self, pointers: Sequence[int]) -> tuple[Any, int]:
        """Return the block for a call, to be kept until the launch returns, and the address of its addresses."""
        block = self._type.from_buffer_copy(self._template)
        base = ctypes.addressof(block)
        for place, index, offset in self.places:
            _POINTER.pack_into(block, place, pointers[index] + offset)
        self._addresses.pack_into(block, self._offset_of_addresses, *[base + o for o in self._offsets])
        return block, base + self._offset_of_addresses


_POINTER: Final = struct.Struct("<Q")


def launcher(runtime: Runtime, steps: Sequence[Step]) -> Launch:
    """Return the launch of one or several kernels in order, on one stream."""
    blocks = [(s, _Block(s.arguments)) for s in steps]

    def launch(outs: Sequence[Array], ins: Sequence[Array], workspace: Array | None, queue: Any) -> None:
        pointers = [0 if x is None else x.ptr for x in (*ins, *outs, workspace)]
        for step, block in blocks:
            kept, arguments = block.fill(pointers)
            runtime.launch(step.function, step.blocks, step.threads, step.shared, queue, arguments)
            del kept

    return launch


def blocks_for(work: int, each: int) -> Extent:
    """Return a grid for so much work, each block doing so much at a time; kernels go round where it is too small.

    >>> blocks_for(1000, 256), blocks_for(0, 256)
    ((4, 1, 1), (1, 1, 1))
    """
    return min(max(-(-work // each), 1), MOST_BLOCKS), 1, 1
