"""The driver of one simulated device: memory, DMA, queues and events in virtual time, faults and races."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from ...plugin import DeviceLostError, HostBytes
from .clock import SECOND, Engine, Host, Span, picoseconds
from .errors import InjectedFaultError, RaceError
from .happens_before import Clock, Mode, Race, join
from .hardware import Description
from .identity import KIND, info
from .injection import Fault, FaultPlan, Injector, Kind, Request
from .memory import Block, Memory, Pointer, View
from .queues import DEPTH, POLLS, Event, Queue, Task, Work
from .watch import Watch
from .wrong import endless, spoil

#: Busy intervals of an engine that are kept before those that nothing can reach any more are dropped.
_INTERVALS: Final = 256
#: Spans that a device keeps; without a limit a program that runs for days would fill the host with them.
_SPANS: Final = 1 << 20
#: How many times slower a slow transfer is, at least and at most.
SLOWER: Final = (4, 64)
#: How late a late completion is, in picoseconds, at most.
_LATE: Final = SECOND // 1000
#: Requests for which held-back work waits at most.
_HELD: Final = 16


@dataclass(slots=True)
class World:
    """What the devices of one simulation share.

    Attributes:
        lock: taken by every entry; reentrant, since the collector frees memory in the middle of other calls.
        host: the host's place in virtual time.
        clock: what the host has waited for, where races are looked for.
    """

    lock: threading.RLock
    host: Host
    clock: Clock

    @classmethod
    def new(cls) -> World:
        """Return a world at time 0."""
        return cls(threading.RLock(), Host(), {})


class SimulatedDevice:
    """The driver of one simulated device.

    Args:
        description: what it is.
        index: its number among the devices of the simulation.
        world: what it shares with the others.
        plan: the faults to inject.
        races: whether races are looked for.

    Attributes:
        info: what it says of itself.
        matrix, vector: engines that compute; the vector unit also does what a missing matrix unit would.
        dma: the engines that copy within the device, which share out one transfer and the memory's bandwidth.
        bus: the way to the host, whose bandwidth all transfers share.
        memory: the account of its memory.
        spans: the timeline so far, in order of submission; of a very long one the end.
        injector: the faults.
        detector: the races.
        lost: why the device is gone, once it is.
    """

    def __init__(
        self, description: Description, index: int, world: World, plan: FaultPlan, races: Mode = Mode.OFF
    ) -> None:
        self.description = description
        self.index = index
        self.world = world
        self.info = info(description)
        self.matrix = Engine("matrix")
        self.vector = Engine("vector")
        self.dma = Engine("dma")
        self.bus = Engine("host")
        self.memory = Memory(description.off_chip.bytes)
        self.spans: deque[Span] = deque(maxlen=_SPANS)
        self.injector = Injector(index, plan)
        self.detector = Watch(index, races, world.clock)
        self.lost: str | None = None
        self._queues: list[Queue] = []
        self._held: list[Task] = []
        self._returned: deque[tuple[Block, tuple[Task, ...], bool]] = deque()

    @property
    def name(self) -> str:
        """Its name among opmux's devices."""
        return f"{KIND}:{self.index}"

    @property
    def engines(self) -> tuple[Engine, ...]:
        """Every engine."""
        return (self.matrix, self.vector, self.dma, self.bus)

    def engine(self, name: str) -> Engine:
        """Return the engine of this name: ``"matrix"``, ``"vector"``, ``"dma"`` or ``"host"``."""
        return next(engine for engine in self.engines if engine.name == name)

    # What opmux calls; see DeviceDriver.

    def open_queue(self) -> Queue:
        """Open a queue."""
        with self.world.lock:
            self._check()
            self._queues.append(Queue(self, self.index, len(self._queues)))
            return self._queues[-1]

    def alloc(self, nbytes: int, queue: Queue) -> Block:
        """Return memory full of garbage."""
        with self.world.lock:
            self._check()
            met = self.injector.request(Request.ALLOC, "alloc")
            if Kind.DEVICE_LOST in met:
                raise self.lose(str(met[Kind.DEVICE_LOST]))
            if Kind.OOM in met:
                raise MemoryError(str(met[Kind.OOM]))
            self._reclaim()
            if self._returned and self.memory.used + nbytes > self.memory.limit:
                self._drain()
            block = self.memory.alloc(nbytes)
            self.detector.allocated(block, queue, self.injector.number)
            return block

    def free(self, handle: Block, last_uses: Sequence[Event]) -> None:
        """Take memory back after its last uses; called by the collector, also in the middle of another method."""
        default = self._queues[0]
        behind = (default.last, *(event.task for event in last_uses))
        after = tuple(task for task in behind if task is not None and task.pending is not None)
        never = default.stuck is not None or any(event.stuck is not None for event in last_uses)
        self.detector.freed(handle, default, last_uses, self.injector.number)
        self._returned.append((handle, after, never))
        if self.world.lock.acquire(blocking=False):  # else whoever has it comes by
            try:
                self._reclaim()
            finally:
                self.world.lock.release()

    def pointer(self, handle: Block, offset: int) -> Pointer:
        """Return what kernels get."""
        return Pointer(handle, offset)

    def upload(self, handle: Block, offset: int, source: HostBytes, queue: Queue) -> None:
        """Copy from a snapshot of the source, by DMA; where it fails, whatever reads the memory fails."""
        staged = source.copy()
        target = View.bytes_of(handle, offset, staged.size)

        def copy() -> None:
            target.content()[:] = staged

        self.submit(queue, self._transfer("upload", staged.size, copy, writes=(target,)))

    def download(self, target: HostBytes, handle: Block, offset: int, queue: Queue) -> None:
        """Copy to the host by DMA, and wait for it in virtual time."""
        source = View.bytes_of(handle, offset, target.size)

        def copy() -> None:
            target[:] = source.content()

        with self.world.lock:
            task = self.submit(queue, self._transfer("download", target.size, copy, reads=(source,)), target=target)
            failure = task.error()
        if failure is not None:
            raise failure

    def record(self, queue: Queue) -> Event:
        """Return an event behind all work of the queue."""
        with self.world.lock:
            self._check()
            clock = dict(queue.clock) if self.detector.on else {}
            return Event(queue.tail, queue.last, clock, queue.stuck)

    def wait(self, queue: Queue, event: Event) -> None:
        """Let later work of the queue start after an event, which may be of another simulated device."""
        with self.world.lock:
            self._check()
            queue.tail = max(queue.tail, event.time)
            queue.stuck = queue.stuck or event.stuck
            join(queue.clock, event.clock)
            if event.task is not None and event.task.pending is not None:
                queue.held.append(event)

    def synchronize(self, queue: Queue) -> None:
        """Wait in virtual time for all work of the queue.

        Raises:
            HangError: where it does not end; the virtual time limit has then passed.
        """
        with self.world.lock:
            self._check()
            queue.drain()
            self._reclaim()
            if queue.stuck is not None:
                self._give_up()
                raise queue.stuck
            self.world.host.reach(queue.tail)
            join(self.world.clock, queue.clock)
            queue.ends.clear()

    # What simulated communicators call.

    def time(self, queue: Queue) -> int:
        """Return the virtual picoseconds at which all work now on a queue will have ended."""
        with self.world.lock:
            return max(queue.tail, self.world.host.now)

    def hold(self, queue: Queue, until: int) -> None:
        """Let later work of a queue start no earlier than at a time in virtual picoseconds."""
        with self.world.lock:
            queue.tail = max(queue.tail, until)

    # What kernels call.

    def submit(self, queue: Queue, work: Work, target: HostBytes | None = None) -> Task:
        """Put work on a queue.

        Args:
            queue: where.
            work: what.
            target: host memory that the work writes, for faults to corrupt.

        Raises:
            DeviceLostError: when the device is gone.
        """
        with self.world.lock:
            self._check()
            met = self.injector.request(work.request, work.op)
            queue.tick += 1
            task = Task(queue, self.injector.number, work.op, queue.tick)
            if Kind.HANG in met:
                queue.stuck = endless(self.name, task, met[Kind.HANG], self.injector.plan.limit)
            if queue.stuck is not None:
                task.reported = None
                task.failure = queue.stuck
                queue.last = task
                return task
            self._book(task, work, met)
            queue.last = task
            found = self.detector.submitted(task, work)

            def carry_out() -> None:
                self._carry_out(task, work, met, target, found)

            self._release()
            if queue.held or Kind.REORDER in met:
                task.pending = carry_out
                task.release = task.number + 1 + (met[Kind.REORDER].size % _HELD if Kind.REORDER in met else _HELD)
                queue.held.append(task)
                self._held.append(task)
            else:
                carry_out()
            self._reclaim()
            return task

    def is_done(self, task: Task) -> bool:
        """Return whether a task has ended in virtual time, without waiting."""
        with self.world.lock:
            over = self.lost is not None or (task.reported is not None and task.reported <= self.world.host.now)
            task.polls += not over
            if not over and task.polls < POLLS:
                return False
            self.wait_for(task)
            return True

    def wait_for(self, task: Task) -> None:
        """Wait for the end of a task, in virtual time."""
        with self.world.lock:
            task.queue.drain(task)
            if task.reported is None:
                self._give_up()
                return
            self.world.host.reach(task.reported)
            join(self.world.clock, task.clock)

    def lose(self, why: str) -> DeviceLostError:
        """Make the device fail from now on, and return the error."""
        self.lost = self.lost or why
        return self._loss()

    # Inside.

    def _loss(self) -> DeviceLostError:
        return DeviceLostError(f"{self.name} is gone: {self.lost}", device=self.name)

    def _check(self) -> None:
        if self.lost is not None:
            raise self._loss()

    def _give_up(self) -> None:
        self.world.host.reach(self.world.host.now + picoseconds(self.injector.plan.limit))

    def _transfer(
        self,
        op: str,
        nbytes: int,
        copy: Callable[[], None],
        reads: tuple[View, ...] = (),
        writes: tuple[View, ...] = (),
    ) -> Work:
        """Return a transfer to or from the host."""
        dma, power = self.description.dma, self.description.power
        seconds = dma.latency + nbytes / dma.host_bandwidth
        energy = 0.0 if power is None else nbytes * power.off_chip
        return Work(op, Request.DMA, self.bus, picoseconds(seconds), copy, reads, writes, 0, nbytes, 0, energy)

    def _book(self, task: Task, work: Work, met: dict[Kind, Fault]) -> None:
        """Find the work its place in virtual time."""
        queue, host = task.queue, self.world.host
        duration = work.duration
        for kind in met.keys() & {Kind.DMA_SLOW, Kind.LINK_SLOW}:
            low, high = SLOWER
            duration *= low + met[kind].size % (high - low)
        queue.issued = max(queue.issued, host.now) + work.lead
        ready = max(queue.tail, queue.issued)
        engine = work.engine
        task.start, task.end = engine.book(ready, duration)
        if engine.intervals > _INTERVALS:
            engine.forget(host.now)
        queue.tail = task.reported = task.end
        if Kind.LATE_COMPLETION in met:
            task.reported += 1 + met[Kind.LATE_COMPLETION].size % _LATE
        if Kind.LOST_COMPLETION in met:
            task.reported = None
        queue.ends.append(task.end)
        if len(queue.ends) > DEPTH:
            host.reach(queue.ends.popleft())
        self.spans.append(
            Span(
                *(self.index, engine.name, queue.number, work.op, task.number, task.start, task.end),
                *(work.nbytes, work.cycles, work.energy),
            )
        )

    def _carry_out(
        self, task: Task, work: Work, met: dict[Kind, Fault], target: HostBytes | None, races: Sequence[Race]
    ) -> None:
        """Do the work now; what goes wrong is the task's."""
        try:
            if Kind.DEVICE_LOST in met:
                raise self.lose(str(met[Kind.DEVICE_LOST]))
            if races and self.detector.mode is Mode.ERROR:
                raise RaceError(str(races[0]))
            for kind in (Kind.LAUNCH, Kind.DMA):
                if kind in met:
                    raise InjectedFaultError(str(met[kind]))
            for view in work.reads:
                if view.block.damage is not None:
                    raise view.block.damage
            work.compute()
            for view in work.writes:
                if view.covers_block():
                    view.block.damage = None
            spoil(work, met, target, 1 if self.description.vector is None else self.description.vector.lanes)
        except Exception as error:
            task.failure = error.with_traceback(None)
            if work.request in (Request.DMA, Request.LINK):
                for view in work.writes:
                    view.block.damage = task.failure
        if Kind.LOST_COMPLETION in met:
            task.failure = endless(self.name, task, met[Kind.LOST_COMPLETION], self.injector.plan.limit)

    def _release(self) -> None:
        """Carry out what was held back long enough."""
        if not self._held:
            return
        for task in self._held:
            if task.pending is not None and task.release <= self.injector.number:
                task.queue.drain(task)
        self._held = [task for task in self._held if task.pending is not None]

    def _drain(self) -> None:
        """Carry out all that is held back, for the memory that it holds."""
        for queue in self._queues:
            queue.drain()
        self._reclaim()

    def _reclaim(self) -> None:
        """Take back the memory that nothing uses any more."""
        for _ in range(len(self._returned)):
            try:
                block, after, never = self._returned.popleft()
            except IndexError:  # the collector came in between
                return
            if never:
                continue  # behind work that does not end; it stays taken
            if any(task.pending is not None for task in after):
                self._returned.append((block, after, never))
            else:
                self.memory.free(block)
