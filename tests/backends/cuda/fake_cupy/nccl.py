"""``cupy_backends.cuda.libs.nccl`` over a fake machine: collectives carried out, and held to NCCL's rules.

All ranks of a communicator make the same calls within one group, each on a stream of its own GPU and on memory there;
outside of a group the first one of a thread that drives several GPUs would wait for the others for ever.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from types import ModuleType
from typing import Any, Final

import numpy as np

import opmux as ox

from .machine import FakeCuda, MisuseError

TYPES: Final = {
    0: ("INT8", ox.int8), 1: ("UINT8", ox.uint8), 2: ("INT32", ox.int32), 3: ("UINT32", ox.uint32),
    4: ("INT64", ox.int64), 5: ("UINT64", ox.uint64), 6: ("FLOAT16", ox.float16), 7: ("FLOAT32", ox.float32),
    8: ("FLOAT64", ox.float64), 9: ("BFLOAT16", ox.bfloat16),
}  # fmt: skip
#: The last rank first: an order that is not opmux's.
OPERATIONS: Final = {0: ("SUM", np.add), 1: ("PROD", np.multiply), 2: ("MAX", np.maximum), 3: ("MIN", np.minimum)}
NAMES: Final = {1: "NCCL_ERROR_UNHANDLED_CUDA_ERROR: unhandled cuda error", 3: "NCCL_ERROR_INTERNAL_ERROR: internal"}


class NcclError(RuntimeError):
    def __init__(self, status: int) -> None:
        self.status = status
        super().__init__(NAMES[status])


@dataclass(frozen=True)
class _Posted:
    """A call: what all ranks must agree on, and what is the rank's own."""

    what: tuple[Any, ...]
    send: int
    receive: int
    stream: int


class Nccl:
    """The library's state: communicators, and the calls of the group that is open."""

    def __init__(self, cuda: FakeCuda) -> None:
        self.cuda = cuda
        self.group: list[tuple[Communicator, _Posted]] | None = None
        self.cliques: list[tuple[int, ...]] = []

    def check(self, name: str) -> None:
        status = self.cuda.failing(name)
        if status:
            raise NcclError(status)

    def initAll(self, devices: Sequence[int]) -> list[Communicator]:
        self.check("initAll")
        if len(set(devices)) != len(devices) or not set(devices) <= set(range(len(self.cuda.gpus))):
            raise MisuseError(f"communicators over GPUs {devices}")
        self.cliques.append(tuple(devices))
        return [Communicator(self, len(self.cliques) - 1, rank) for rank in range(len(devices))]

    def groupStart(self) -> None:
        self.cuda.check(self.group is None, "a group within a group")
        self.group = []

    def groupEnd(self) -> None:
        posted, self.group = self.group, None
        self.cuda.check(posted is not None, "the end of no group")
        self.check("groupEnd")
        for clique in {c.clique for c, _ in posted or ()}:
            mine = [(c.rank, p) for c, p in posted or () if c.clique == clique]
            ranks = [[p for r, p in mine if r == rank] for rank in range(len(self.cliques[clique]))]
            for calls in zip(*ranks, strict=False):
                self.cuda.check(len({p.what for p in calls}) == 1, f"ranks differ: {[p.what for p in calls]}")
                self.carry_out(self.cliques[clique], calls)
            self.cuda.check(len({len(r) for r in ranks}) == 1, "a rank of the group is missing")

    def carry_out(self, devices: tuple[int, ...], calls: Sequence[_Posted]) -> None:
        name, count, number, more = calls[0].what
        dtype, n = TYPES[number][1].numpy, len(calls)
        ticks = [self.tick(device, p.stream) for device, p in zip(devices, calls, strict=True)]

        def memory(rank: int, pointer: int, size: int) -> Any:
            nbytes = size * dtype.itemsize
            block, at = self.cuda.place(pointer, nbytes, calls[rank].stream, ticks[rank], devices[rank])
            return np.frombuffer(block.data, np.uint8, nbytes, at).view(dtype)

        senders = [more] if name == "broadcast" else range(n)
        brought = count * n if name == "reduceScatter" else count
        values = [memory(rank, calls[rank].send, brought).copy() for rank in senders]
        made = np.concatenate(values)
        if name in ("allReduce", "reduceScatter"):
            made = values[-1]
            for value in reversed(values[:-1]):
                made = OPERATIONS[more][1](made, value)
        for rank in range(n):
            part = made[rank * count : (rank + 1) * count] if name == "reduceScatter" else made
            memory(rank, calls[rank].receive, part.size)[:] = part

    def tick(self, device: int, stream: int) -> int:
        """Put work on a stream of a GPU, whichever is current."""
        with self.cuda.on(device):
            return self.cuda.work(stream)[0]


class Communicator:
    def __init__(self, nccl: Nccl, clique: int, rank: int) -> None:
        self.nccl, self.clique, self.rank, self.dead = nccl, clique, rank, False

    def _post(self, name: str, send: int, receive: int, count: int, dtype: int, more: int | None, stream: int) -> None:
        self.nccl.cuda.check(not self.dead, "a communicator that was given up is used")
        self.nccl.check(name)
        if self.nccl.group is None:
            raise MisuseError(f"{name} of rank {self.rank} outside of a group")
        self.nccl.group.append((self, _Posted((name, count, dtype, more), send, receive, stream)))

    def allReduce(self, send: int, receive: int, count: int, dtype: int, op: int, stream: int) -> None:
        self._post("allReduce", send, receive, count, dtype, op, stream)

    def reduceScatter(self, send: int, receive: int, count: int, dtype: int, op: int, stream: int) -> None:
        self._post("reduceScatter", send, receive, count, dtype, op, stream)

    def allGather(self, send: int, receive: int, count: int, dtype: int, stream: int) -> None:
        self._post("allGather", send, receive, count, dtype, None, stream)

    def broadcast(self, send: int, receive: int, count: int, dtype: int, root: int, stream: int) -> None:
        self._post("broadcast", send, receive, count, dtype, root, stream)

    def check_async_error(self) -> None:
        self.nccl.check("check_async_error")

    def abort(self) -> None:
        self.nccl.cuda.calls.append("abort")
        self.dead = True


def binding(cuda: FakeCuda) -> Any:
    """Return the module."""
    module: Any = ModuleType("nccl")
    library = Nccl(cuda)
    module.NcclError = NcclError
    module.NcclCommunicator = library
    module.groupStart, module.groupEnd = library.groupStart, library.groupEnd
    for number, (name, _) in (*TYPES.items(), *OPERATIONS.items()):
        setattr(module, f"NCCL_{name}", number)
    return module
