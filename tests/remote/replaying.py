"""The remote device with launches that cannot fail late, memory that comes back, and work that can be recorded."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import Any

from opmux.conformance.planted.twin.accelerator import GARBAGE, Block, Queue, Task
from opmux.plugin import Array, CallSpec, DeviceDriver, Kernel, Prepared, Replay, hookimpl

from .driver import RemoteDriver
from .kernels import kernels


class Tape:
    """Takes the place of a queue while work is recorded; there is nothing else that it can do."""

    def __init__(self) -> None:
        self.actions: list[Callable[[], None]] = []

    def put(self, action: Callable[[], None]) -> None:
        self.actions.append(action)


class ReplayingDriver(RemoteDriver):
    """One device.

    Attributes:
        sizes: bytes of every allocation.
        recorded, replayed: how often.
        refuses: whether nothing can be recorded.
    """

    def __init__(self) -> None:
        super().__init__()
        self.kept: dict[int, list[Block]] = {}
        self.sizes: list[int] = []
        self.recorded = self.replayed = 0
        self.refuses = False

    def alloc(self, nbytes: int, queue: Queue) -> Block:
        """Return memory that was given back last, full of garbage for work that comes next."""
        self.sizes.append(nbytes)
        kept = self.kept.get(nbytes)
        if not kept:
            return super().alloc(nbytes, queue)
        block = kept.pop()
        if queue is not self.queues[0]:
            self.wait(queue, self.record(self.queues[0]))
        queue.put(lambda: block.bytes.fill(GARBAGE))
        return block

    def free(self, handle: Block, last_uses: Sequence[Task]) -> None:
        """Keep memory that only the default queue used."""
        if last_uses:
            super().free(handle, last_uses)
        else:
            self.kept.setdefault(handle.bytes.size, []).append(handle)

    def replayable(self, put: Callable[[Any], None]) -> Replay | None:
        if self.refuses:
            return None
        tape = Tape()
        put(tape)
        self.recorded += 1

        def replay(queue: Queue) -> None:
            self.replayed += 1
            for action in tape.actions:
                queue.put(action)

        return replay


class ReplayingPlugin:
    """The plugin object."""

    def __init__(self) -> None:
        self.driver = ReplayingDriver()

    @hookimpl
    def opmux_devices(self) -> Iterable[DeviceDriver]:
        return [self.driver]

    @hookimpl
    def opmux_kernels(self) -> Iterable[Kernel]:
        return [replace(k, prepare=_surely(k)) for k in kernels()]


def _surely(kernel: Kernel) -> Callable[[CallSpec], Any]:
    """Return what prepares a kernel whose launches say nothing of how they went."""

    def prepare(spec: CallSpec) -> Prepared:
        prepared: Any = kernel.prepare(spec)

        def launch(outs: Sequence[Array], ins: Sequence[Array], workspace: Any, queue: Any) -> None:
            prepared.launch(outs, ins, workspace, queue)

        return Prepared(launch)

    return prepare
