"""The machine behind the fake bindings: GPUs with memory, streams, events, modules, and an order of all work."""

from __future__ import annotations

import contextlib
import ctypes
import itertools
import struct
import threading
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import Final

from opmux.backends.cuda.compiling.cubin import resources
from opmux.backends.cuda.device.tensor_maps import Tiling

from .images import parameters

#: Limits of a launch (CUDA C++ Programming Guide, technical specifications).
MOST_BLOCKS: Final = (2**31 - 1, 65535, 65535)
MOST_THREADS: Final = (1024, 1024, 64)
THREADS_OF_A_BLOCK: Final = 1024
SHARED_UNASKED: Final = 48 << 10
#: Bytes of arguments that a kernel may take (the same table: 4 KiB, and 32,764 bytes from capability 7.0 on).
LARGEST_ARGUMENTS: Final = 1 << 15
#: Device addresses lie in a range that no host address and no size falls into.
FIRST_ADDRESS: Final = 0x6F00 << 32
LAST_ADDRESS: Final = 0x7000 << 32
#: Handles of contexts begin here.
CONTEXTS: Final = 0xC000
STICKY: Final = (46, 214, 700, 719, 810, 911)

#: How much of each stream's work lies before a moment.
Clock = dict[int, int]


class MisuseError(BaseException):
    """What CUDA forbids, or leaves undefined."""


@dataclass
class Gpu:
    """What a GPU says of itself, in the units of ``cudaDeviceGetAttribute``."""

    name: str = "NVIDIA H200"
    capability: tuple[int, int] = (9, 0)
    memory: int = 1 << 30
    shared: int = 227 << 10
    pools: int = 1
    lost: int = 0

    def attribute(self, number: int) -> int:
        return {
            13: 1980000, 16: 132, 36: 3201000, 37: 6144, 38: 60 << 20, 75: self.capability[0], 76: self.capability[1],
            97: self.shared, 115: self.pools,
        }[number]  # fmt: skip


@dataclass
class Block:
    """Memory, with the uses that a release has to come after, and those that every use has to.

    Arrays are values: the first use of memory writes it, and the later ones read. A copy from the host reads its source
    as late as CUDA may: when somebody waits for its stream, or uses the memory.
    """

    device: int
    nbytes: int
    allocated: Clock
    uses: Clock
    written: Clock = field(default_factory=dict)
    data: bytearray = field(default_factory=bytearray)
    coming: list[tuple[int, Callable[[], None]]] = field(default_factory=list)

    def arrive(self, stream: int | None = None) -> None:
        """Let copies from the host be made, those of one stream or all."""
        due = [(on, copy) for on, copy in self.coming if stream in (None, on)]
        self.coming = [entry for entry in self.coming if entry not in due]
        for _, copy in due:
            copy()


@dataclass
class Stream:
    device: int
    clock: Clock


@dataclass(frozen=True)
class Launch:
    """One launch as it was asked for, with the device addresses among its arguments."""

    entry: str
    grid: tuple[int, int, int]
    block: tuple[int, int, int]
    shared: int
    stream: int
    values: tuple[bytes, ...]
    pointers: tuple[int, ...]


@dataclass(frozen=True)
class Work:
    """What a stream is given to compute with.

    Attributes:
        uses: device addresses, each with its bytes.
        done: what is noted of it, given the stream.
    """

    uses: tuple[tuple[int, int], ...]
    done: Callable[[int], None]


class _Thread(threading.local):
    """What a thread has current.

    Attributes:
        chosen: the GPU that the runtime takes where no context is current.
        context: the GPU whose context is current, if one is.
        captures: which captures keep it from what is unsafe: 0 for those of all threads, 2 for none.
    """

    chosen: int = 0
    context: int | None = None
    captures: int = 0

    @property
    def device(self) -> int:
        """The GPU that calls go to."""
        return self.chosen if self.context is None else self.context


class FakeCuda:
    """A machine.

    Args:
        gpus: its GPUs.
        driver: the version that the driver serves, as CUDA numbers it; 0 for no driver.

    Attributes:
        calls: names of all calls, in order.
        launches: all launches, in order.
        maps: the tensor maps that were encoded, with their addresses.
        failures: by call, the errors that it gives next; 0 lets one pass.
        contexts: the GPUs that have a context.
        captured_elsewhere: whether somebody captures launches in CUDA's default mode.
        gives_again: whether memory that was released comes again under its address, as pools do; else under a new one,
            so that what uses it too late shows.
    """

    def __init__(self, *gpus: Gpu, driver: int = 13020) -> None:
        self.gpus = gpus
        self.driver = driver
        self.calls: list[str] = []
        self.launches: list[Launch] = []
        self.maps: list[tuple[int, Tiling]] = []
        self.failures: dict[str, deque[int]] = {}
        self.contexts: set[int] = set()
        self.captured_elsewhere = False
        self.blocks: dict[int, Block] = {}
        self.streams: dict[int, Stream] = {}
        self.events: dict[int, Clock] = {}
        self.event_devices: dict[int, int] = {}
        self.modules: dict[int, bytes] = {}
        self.functions: dict[int, tuple[int, int, str]] = {}
        self.allowed: dict[int, int] = {}
        self.kept: dict[int, list[tuple[int, Clock, int]]] = {}
        self.gives_again = False
        self.captures: dict[int, tuple[int, list[Work]]] = {}
        self.graphs: dict[int, list[Work]] = {}
        self.executables: dict[int, list[Work]] = {}
        self.thread = _Thread()
        self.lock = threading.RLock()
        self._numbers = itertools.count(0x1000)
        self._addresses = FIRST_ADDRESS
        self._host: Clock = {}

    def failing(self, call: str) -> int:
        """Note a call and return the error that it gives."""
        self.calls.append(call)
        planned = self.failures.get(call)
        return planned.popleft() if planned else 0

    def number(self) -> int:
        return next(self._numbers)

    # Contexts

    def context(self, device: int) -> int:
        """Return the handle of a GPU's context, which is there from now on."""
        self.contexts.add(device)
        return CONTEXTS + device

    def make_current(self, context: int) -> None:
        """Make a context current for the calling thread, or none."""
        device = context - CONTEXTS
        self.check(context == 0 or device in self.contexts, f"there is no context {context:#x}")
        self.thread.context = device if context else None

    @contextlib.contextmanager
    def on(self, device: int) -> Iterator[None]:
        """Let work be of a GPU, whichever is current."""
        before, self.thread.context = self.thread.context, device
        try:
            yield
        finally:
            self.thread.context = before

    # Order

    def work(self, stream: int) -> tuple[int, Clock]:
        """Put work on a stream; return its number there and all that it comes after."""
        self.check(stream in self.streams, f"there is no stream {stream:#x}")
        self.check(stream not in self.captures, f"stream {stream:#x} is captured, and takes kernels alone")
        found = self.streams[stream]
        self.check(found.device == self.thread.device, f"stream {stream:#x} is of GPU {found.device}")
        _merge(found.clock, self._host)
        found.clock[stream] = found.clock.get(stream, 0) + 1
        return found.clock[stream], found.clock

    def synchronized(self, stream: int) -> None:
        _merge(self._host, self.work(stream)[1])
        for block in self.blocks.values():
            block.arrive(stream)

    def wait(self, stream: int, event: int) -> None:
        self.check(event in self.events, f"there is no event {event:#x}")
        _merge(self.work(stream)[1], self.events[event])

    def check(self, rule: bool, broken: str) -> None:
        if not rule:
            raise MisuseError(broken)

    # Memory

    def used(self, device: int) -> int:
        """Return the bytes of a GPU that are taken, or kept in its pools."""
        kept = sum(nbytes for nbytes, _, _ in self.kept.get(device, ()))
        return kept + sum(b.nbytes for b in list(self.blocks.values()) if b.device == device)

    def allocate(self, nbytes: int, stream: int) -> int:
        """Return an address, or 0 where no memory is left."""
        self.check(nbytes > 0, "an allocation of nothing")
        tick, _ = self.work(stream)
        device = self.thread.device
        kept = self.kept.setdefault(device, [])
        again = next((entry for entry in kept if entry[0] == nbytes), None)
        if again is not None:
            kept.remove(again)
        elif self.used(device) + nbytes > self.gpus[device].memory:
            return 0
        if again is not None and self.gives_again:
            pointer = again[2]
        else:
            pointer = self._addresses
            self._addresses += -(-nbytes // 256) * 256 + 256
            self.check(self._addresses < LAST_ADDRESS, "the fake has no addresses left")
        self.blocks[pointer] = Block(device, nbytes, {stream: tick}, {stream: tick})
        return pointer

    def release(self, pointer: int, stream: int) -> None:
        self.check(pointer in self.blocks, f"{pointer:#x} is freed and was not allocated, or was freed before")
        _, clock = self.work(stream)
        block = self.blocks.pop(pointer)
        for used_on, tick in block.uses.items():
            self.check(clock.get(used_on, 0) >= tick, f"{pointer:#x} is freed while stream {used_on:#x} uses it")
        self.kept[block.device].append((block.nbytes, dict(clock), pointer))

    def trim(self, device: int) -> None:
        """Give back what was kept and whose release is known to be over."""
        kept = self.kept.get(device, [])
        self.kept[device] = [e for e in kept if any(self._host.get(s, 0) < tick for s, tick in e[1].items())]

    def touch(self, pointer: int, nbytes: int, stream: int, tick: int) -> Block:
        """Note that work of a stream uses memory."""
        start = max((p for p in list(self.blocks) if p <= pointer), default=0)  # the collector may release some
        block = self.blocks.get(start)
        whole = block is not None and pointer + nbytes <= start + block.nbytes
        if block is None or not whole:
            raise MisuseError(f"{nbytes} bytes at {pointer:#x} are not within live memory")
        clock = self.streams[stream].clock
        for used_on, before in (*block.allocated.items(), *block.written.items()):
            self.check(clock.get(used_on, 0) >= before, f"{pointer:#x} is used while stream {used_on:#x} may write it")
        block.written = block.written or {stream: tick}
        block.uses[stream] = tick
        return block

    def place(self, pointer: int, nbytes: int, stream: int, tick: int, device: int) -> tuple[Block, int]:
        """Note that work of a stream uses memory of a GPU; return the block, with its bytes there, and where it is."""
        block = self.touch(pointer, nbytes, stream, tick)
        block.arrive()
        self.check(block.device == device, f"{pointer:#x} is of GPU {block.device}, not of {device}")
        at = pointer - next(p for p, b in list(self.blocks.items()) if b is block)
        if len(block.data) < at + nbytes:
            block.data.extend(bytes(at + nbytes - len(block.data)))
        return block, at

    # Launches

    def launch(self, function: int, grid: tuple[int, int, int], block: tuple[int, int, int], *rest: int) -> None:
        shared, stream, arguments, extra = rest
        self.check(function in self.functions, f"there is no function {function:#x}")
        self.check(extra == 0, "arguments come in one of two ways")
        for got, most in zip((*grid, *block), (*MOST_BLOCKS, *MOST_THREADS), strict=True):
            self.check(1 <= got <= most, f"grid {grid} of blocks {block} is beyond the limits")
        self.check(block[0] * block[1] * block[2] <= THREADS_OF_A_BLOCK, f"a block of {block} threads")
        allowed = self.allowed.get(function, SHARED_UNASKED)
        self.check(shared <= allowed, f"{shared} bytes of dynamic shared memory, and {allowed} allowed")
        self.check(stream in self.streams, f"there is no stream {stream:#x}")
        device, module, entry = self.functions[function]
        self.check(device == self.thread.device, f"function {entry} is of GPU {device}")
        sizes = parameters(self.modules[module], entry)
        addresses = struct.unpack(f"<{len(sizes)}Q", ctypes.string_at(arguments, 8 * len(sizes)) if sizes else b"")
        spans = sorted([*zip(addresses, sizes, strict=True), (arguments, 8 * len(sizes))])
        for (at, nbytes), (following, _) in itertools.pairwise(spans):
            near = abs(at - arguments) < LARGEST_ARGUMENTS
            self.check(near and at + nbytes <= following, f"{entry} takes {sizes} bytes, and is not given so many")
        values = tuple(ctypes.string_at(a, n) for a, n in zip(addresses, sizes, strict=True))
        words = [w for v in values for (w,) in struct.iter_unpack("<Q", v[: len(v) // 8 * 8])]
        pointers = tuple(w for w in words if FIRST_ADDRESS <= w < LAST_ADDRESS)
        made = Launch(entry, grid, block, shared, stream, values, pointers)
        note = self.launches.append
        self.compute(stream, Work(tuple((p, 1) for p in pointers), lambda on: note(replace(made, stream=on))))

    def compute(self, stream: int, work: Work) -> None:
        """Do work on a stream, or note it where the stream is captured."""
        if stream in self.captures:
            thread, noted = self.captures[stream]
            self.check(thread == threading.get_ident(), "another thread's work is captured")
            noted.append(work)
            return
        tick, _ = self.work(stream)
        for pointer, nbytes in work.uses:
            self.touch(pointer, nbytes, stream, tick)
        work.done(stream)

    def begin_capture(self, stream: int) -> None:
        self.work(stream)
        self.captures[stream] = threading.get_ident(), []

    def end_capture(self, stream: int) -> int:
        self.check(stream in self.captures, f"stream {stream:#x} is not captured")
        graph = self.number()
        _, self.graphs[graph] = self.captures.pop(stream)
        return graph

    def replay(self, executable: int, stream: int) -> None:
        self.check(executable in self.executables, f"there is no executable graph {executable:#x}")
        for work in self.executables[executable]:
            self.compute(stream, work)

    def has_entry(self, module: int, name: str) -> bool:
        return name in resources(self.modules[module])


def _merge(into: Clock, other: Clock) -> None:
    for stream, tick in other.items():
        into[stream] = max(into.get(stream, 0), tick)
