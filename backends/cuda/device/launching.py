"""From entries of kernels to what opmux launches: arguments laid out once, pointers filled in at each call."""

from __future__ import annotations

import ctypes
import functools
import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final, cast

from ....plugin import Array, Launch
from . import tensor_maps
from .loading import Entry
from .runtime import Extent, Runtime, WatchedRuntime
from .tensor_maps import Tiling

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


@dataclass(frozen=True, slots=True)
class Mapped:
    """The argument that is a tensor map of an array.

    Attributes:
        pointer: where the array is.
        tiling: how the copy engine goes through it.
    """

    pointer: Pointer
    tiling: Tiling


#: Arguments of a kernel in order: bytes passed by value, the address of an array, a struct of such addresses, or a map.
Argument = bytes | Pointer | tuple[Pointer, ...] | Mapped
Arguments = Sequence[Argument]


@dataclass(frozen=True, slots=True)
class Step:
    """One launch.

    Attributes:
        function: the entry, which is compiled and loaded at the first launch.
        blocks: extents of the grid.
        threads: extents of a block.
        arguments: what the entry takes.
        shared: bytes of dynamic shared memory per block.
    """

    function: Entry
    blocks: Extent
    threads: Extent
    arguments: Arguments
    shared: int = 0


class _Block:
    """Memory with the arguments of all steps of a call, each launch ready but for its stream.

    Attributes:
        memory: the addresses of arrays come at :attr:`start`, in the order of :attr:`_Layout.places`.
        start: where the arguments begin: tensor maps lie at multiples of 64.
        launches: each puts a kernel on a stream.
    """

    __slots__ = ("launches", "memory", "start")

    def __init__(self, runtime: WatchedRuntime, layout: _Layout) -> None:
        self.memory = bytearray(len(layout.template) + tensor_maps.ALIGNMENT)
        base = ctypes.addressof(ctypes.c_char.from_buffer(self.memory))
        self.start = -base % tensor_maps.ALIGNMENT
        base += self.start
        self.memory[self.start : self.start + len(layout.template)] = layout.template
        for step_at, offsets in layout.addresses:
            struct.pack_into(f"<{len(offsets)}Q", self.memory, self.start + step_at, *[base + o for o in offsets])
        self.launches = [
            runtime.launching(s.function.loaded(), s.blocks, s.threads, s.shared, base + at)
            for s, (at, _) in zip(layout.steps, layout.addresses, strict=True)
        ]


class _Layout:
    """Where the arguments of all steps lie in a block.

    A kernel is given the address of each argument, so those that change from call to call lie side by side, whatever
    their order, and are written at once.
    """

    def __init__(self, steps: Sequence[Step]) -> None:
        self.steps = steps
        groups = [a for step in steps for a in map(_pointers, step.arguments) if a is not None]
        self.places = [(p.index, p.offset) for group in groups for p in group]
        data = bytearray(_POINTER * len(self.places))
        self.maps: list[tuple[int, Mapped]] = []
        self.addresses: list[tuple[int, list[int]]] = []
        at = 0
        for step in steps:
            offsets = []
            for argument in step.arguments:
                group = _pointers(argument)
                if group is not None:
                    offsets.append(at)
                    at += _POINTER * len(group)
                    continue
                if isinstance(argument, Mapped):
                    data += bytes(-len(data) % tensor_maps.ALIGNMENT)
                    self.maps.append((len(data), argument))
                    argument = bytes(tensor_maps.BYTES)
                data += bytes(-len(data) % _ALIGNMENT)
                offsets.append(len(data))
                data += cast(bytes, argument)
            data += bytes(-len(data) % _POINTER)
            self.addresses.append((len(data), offsets))
            data += bytes(_POINTER * len(offsets))
        self.template = bytes(data)

    @property
    def is_plain(self) -> bool:
        """Whether kernels take the addresses of the first arrays in order, as they are, and no maps."""
        return not self.maps and self.places == [(i, 0) for i in range(len(self.places))]


_Directly = Callable[[Sequence[Array], Array], tuple[int, ...]]


def _of_one(ins: Sequence[Array], out: Array) -> tuple[int, ...]:
    return ins[0].ptr, out.ptr


def _of_two(ins: Sequence[Array], out: Array) -> tuple[int, ...]:
    return ins[0].ptr, ins[1].ptr, out.ptr


def _of_three(ins: Sequence[Array], out: Array) -> tuple[int, ...]:
    return ins[0].ptr, ins[1].ptr, ins[2].ptr, out.ptr


#: The addresses that most launches take, by the number of operands; to go through all arrays takes twice as long.
_DIRECTLY: Final[dict[int, _Directly]] = {1: _of_one, 2: _of_two, 3: _of_three}
_POINTER: Final = 8
_ALIGNMENT: Final = 16
#: Addresses whose tensor maps are kept: a few calls' worth of operands that come again and again.
_MAPS_KEPT: Final = 64


def _pointers(argument: Argument) -> tuple[Pointer, ...] | None:
    if isinstance(argument, bytes | Mapped):
        return None
    return (argument,) if isinstance(argument, Pointer) else argument


def launcher(runtime: WatchedRuntime, steps: Sequence[Step]) -> Launch:
    """Return the launch of one or several kernels in order, on one stream.

    CUDA copies arguments while it launches. So blocks of them are used again; a call has one for itself, and there are
    as many as calls were ever made at once. The first block has the code compiled and loaded, all of it before any
    launch; later calls find it there.
    """
    layout = _Layout(steps)
    places, count = layout.places, len(layout.places)
    write = struct.Struct(f"<{count}Q").pack_into
    directly: _Directly | None = None
    spare: list[_Block] = []
    maps = [
        (at, m.pointer, functools.lru_cache(_MAPS_KEPT)(functools.partial(_encoded, runtime, m.tiling)))
        for at, m in layout.maps
    ]

    def launch(outs: Sequence[Array], ins: Sequence[Array], workspace: Array | None, queue: Any) -> None:
        nonlocal directly
        try:
            block = spare.pop()
        except IndexError:
            block = _Block(runtime, layout)
            if layout.is_plain and count == len(ins) + 1 and len(outs) == 1 and all(x is not None for x in ins):
                directly = _DIRECTLY.get(len(ins))  # so it is at every call: what operands there are is planned
        if directly is not None:
            write(block.memory, block.start, *directly(ins, outs[0]))
        else:
            pointers = [0 if x is None else x.ptr for x in (*ins, *outs, workspace)]
            write(block.memory, block.start, *[pointers[i] + offset for i, offset in places])
            for at, place, encoded in maps:
                at += block.start
                block.memory[at : at + tensor_maps.BYTES] = encoded(pointers[place.index] + place.offset)
        for put in block.launches:
            put(queue)
        spare.append(block)

    return launch


def _encoded(runtime: Runtime, tiling: Tiling, pointer: int) -> bytes:
    return runtime.tensor_map(pointer, tiling)


def blocks_for(work: int, each: int) -> Extent:
    """Return a grid for so much work, each block doing so much at a time; kernels go round where it is too small.

    >>> blocks_for(1000, 256), blocks_for(0, 256)
    ((4, 1, 1), (1, 1, 1))
    """
    return min(max(-(-work // each), 1), MOST_BLOCKS), 1, 1
