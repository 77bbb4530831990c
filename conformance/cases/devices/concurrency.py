"""Threads: calls, compilation, memory, policies, queues and plugins at once, every result held.

A case that does not end within its time fails and says where each thread stands; the run goes on.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Final

import numpy as np

from ....core.arrays.array import Array
from ....core.devices.queues import use_queue
from ....core.dispatch import tables
from ....core.dispatch.policy import current, policy
from ....core.errors import ConformanceError, PluginError
from ....core.graphs.compile import Compiled
from ....core.hooks import hookimpl
from ....core.kernel import CallSpec, Kernel, Prepared, Reason, Rejection
from ....core.plugins import manager
from ...oracle.formats import Host
from ...target import Findings, Target, dense
from ..case import ANY, Check, DeviceContext
from .crew import THREADS, Crew, InStep, Job, Worker
from .workload import Workload, hold, hold_bytes

#: Seconds that a case works in the full run and in the quick one.
_SECONDS: Final = 0.45
_QUICK_SECONDS: Final = 0.15
#: Lengths around what kernels split among their own threads.
_LENGTHS: Final = (1, 17, 64, 1000, 4097, 40_000)
#: Lengths that no other case has, so that their first calls are those of the threads.
_NEW_LENGTHS: Final = tuple(range(211, 211 + 16 * 37, 37))


def threads(t: str, context: DeviceContext) -> Iterator[tuple[str, str, Check]]:
    """Cases of several threads."""
    if t != ANY:
        return
    for label, make in _CASES.items():
        yield "threads", label, _at_once(make, context)


#: ``make(target)`` returns one job per thread.
Make = Callable[[Target], Sequence[Job]]


def _at_once(make: Make, context: DeviceContext) -> Check:
    def check(target: Target, findings: Findings) -> None:
        seconds = _QUICK_SECONDS if context.quick else _SECONDS
        Crew(make(target), context.seed).work(findings, seconds)
        target.device.synchronize()

    return check


class Operands:
    """Operands of many lengths with their results, made once: what threads check against must not cost them time."""

    def __init__(self, target: Target) -> None:
        self.work = Workload(target)
        work, wide = self.work, self.work.wide
        self.pairs = [(work.values((n,), 0), work.values((n,), 1)) for n in _LENGTHS]
        self.sums = [work.binary.host(x, y) for x, y in self.pairs]
        self.squares = [work.values((n, n), n) for n in (3, 8, 13)]
        self.folded = [[c.host(*[x] * c.operands) for c in wide] for x in self.squares]

    def upload(self, i: int) -> tuple[Array, Array]:
        """Return a pair on the device."""
        x, y = self.pairs[i]
        return self.work.upload(x), self.work.upload(y)

    def any_call(self, w: Worker) -> None:
        """Make one call, of any op and length, and hold it."""
        i = int(w.rng.integers(len(self.pairs)))
        x, y = self.upload(i)
        hold(w.findings, _host(self.work.add(x, y)), self.sums[i], f"thread {w.number}: {len(self.sums[i])} elements")
        k = int(w.rng.integers(len(self.squares)))
        square = self.work.upload(self.squares[k])
        for call, expected in zip(self.work.wide, self.folded[k], strict=True):
            found = self.work.call(call, *[square] * call.operands)
            hold(w.findings, _host(found), expected, f"thread {w.number}: {call.op}")


def _host(x: Array) -> Host:
    return np.asarray(x.numpy())


def calls(target: Target) -> Sequence[Job]:
    """Different calls, of different ops and shapes."""
    return [Operands(target).any_call] * THREADS


def one_call(target: Target) -> Sequence[Job]:
    """The same call with other data in each thread, many times: scratch memory that they share shows."""
    operands = Operands(target)
    work = operands.work
    shared = _LENGTHS.index(4097)

    def in_step(w: Worker, together: Callable[[], object]) -> None:
        x = np.full_like(operands.pairs[shared][0], w.number)
        y = operands.pairs[shared][1]
        a, b = work.upload(x), work.upload(y)
        made = []
        for _ in range(8):
            together()
            made.append(work.add(a, b))
        for found in made:
            hold(w.findings, _host(found), work.binary.host(x, y), f"thread {w.number}: the call that all make")
        square = np.full_like(operands.squares[1], w.number)
        c = work.upload(square)
        for call in work.wide:
            together()
            found = work.call(call, *[c] * call.operands)
            hold(w.findings, _host(found), call.host(*[square] * call.operands), f"thread {w.number}: {call.op}")

    return [InStep(in_step, lambda w: in_step(w, _at_will))] * THREADS


def _at_will() -> None:
    """Wait for nobody."""


def first_call(target: Target) -> Sequence[Job]:
    """Threads that meet calls for the first time, each call at one moment: what is made on first use is made once."""
    operands = Operands(target)
    work = operands.work
    pairs = [(work.values((n,), 0), work.values((n,), 1)) for n in _NEW_LENGTHS]

    def new_shapes(w: Worker, together: Callable[[], object]) -> None:
        for x, y in pairs:
            a, b = work.upload(x), work.upload(y)
            together()
            found = work.add(a, b)
            hold(w.findings, _host(found), work.binary.host(x, y), f"thread {w.number}: the first call of its shape")

    return [InStep(new_shapes, operands.any_call)] * THREADS


def forgetting(target: Target) -> Sequence[Job]:
    """Decisions are forgotten again and again while others call."""
    operands = Operands(target)

    def forget(w: Worker) -> None:
        tables.forget_decisions()
        operands.any_call(w)

    return [operands.any_call] * (THREADS - 1) + [forget]


def compiling(target: Target) -> Sequence[Job]:
    """Compiled functions, captured and run by several threads at once: one shared, one of each thread's own."""
    operands = Operands(target)
    work = operands.work

    def function(x: Array, y: Array) -> Array:
        return work.add(work.add(x, y), y)

    shared = Compiled(function)

    def job(w: Worker) -> None:
        own = Compiled(lambda x, y: work.add(y, work.add(x, y)))
        for i in w.rng.permutation(len(operands.pairs))[:3]:
            x, y = operands.upload(int(i))
            b = operands.pairs[int(i)][1]
            expected = work.binary.host(operands.sums[int(i)], b)
            hold(w.findings, _host(shared(x, y)), expected, f"thread {w.number}: a function compiled for all")
            mine = work.binary.host(b, operands.sums[int(i)])
            hold(w.findings, _host(own(x, y)), mine, f"thread {w.number}: a function of its own")

    return [job] * THREADS


class Visitor:
    """A backend that declines every call: it comes and goes, and with it every decision that was made."""

    def __init__(self, kind: str) -> None:
        self._kind = kind

    @hookimpl
    def opmux_kernels(self) -> list[Kernel]:
        """Return one kernel per op of the workload."""

        def prepare(spec: CallSpec) -> Prepared | Rejection:
            return Rejection(Reason.DECLINED, "a visitor of the conformance suite takes no call")

        return [Kernel(f"visit.{op}", op, self._kind, prepare) for op in ("add", "sum", "matmul", "copy")]


def plugins(target: Target) -> Sequence[Job]:
    """A backend is registered and dropped while others call: nobody ever meets half of it."""
    operands = Operands(target)

    def register(w: Worker) -> None:
        name = f"visitor-{w.number}"
        manager.register(name, Visitor(target.device.kind))
        try:
            with policy(backends={target.backend, name}):
                operands.any_call(w)
        finally:
            manager.unregister(name)
        try:
            manager.unregister(name)
        except PluginError:
            w.findings.held()
        else:
            raise ConformanceError(f"{name} was dropped twice")

    return [operands.any_call] * (THREADS - 2) + [register] * 2


def policies(target: Target) -> Sequence[Job]:
    """Each thread has its policy to itself, and the policy of the case when its own ends."""
    operands = Operands(target)

    def job(w: Worker) -> None:
        outer = current()
        pins = {operands.work.binary.op: target.backend}
        with policy(fallback_budget=w.number, pins=pins if w.number % 2 else {}):
            operands.any_call(w)
            found = current()
            if found.fallback_budget != w.number or dict(found.pins) != (pins if w.number % 2 else {}):
                raise ConformanceError(f"thread {w.number} has the policy of another one: {found}")
        w.findings.held()
        if current() is not outer:
            raise ConformanceError(f"thread {w.number} did not get its policy back: {current()}")

    return [job] * THREADS


def allocating(target: Target) -> Sequence[Job]:
    """Arrays of all sizes made, kept for a while and dropped by all threads, each with contents of its own."""
    held: list[list[tuple[Array, Host]]] = [[] for _ in range(THREADS)]

    def job(w: Worker) -> None:
        mine = held[w.number]
        for _ in range(16):  # more than are kept: a single round, on a busy machine, holds something too
            count = int(w.rng.choice([1, 63, 64, 65, 1000, 4096, 70_000]))
            host = w.rng.integers(0, 256, count, np.uint8)
            mine.append((dense(host, target.device), host))
        while len(mine) > 12:
            x, host = mine.pop(int(w.rng.integers(len(mine))))
            hold_bytes(w.findings, _host(x), host, f"thread {w.number}: an array of {host.size} bytes")

    return [job] * THREADS


def handed_over(target: Target) -> Sequence[Job]:
    """Arrays made by one thread, used by the next, dropped by a third."""
    operands = Operands(target)
    boxes: list[list[tuple[Array, Host]]] = [[] for _ in range(THREADS)]

    def hand_over(w: Worker, together: Callable[[], object]) -> None:
        i = int(w.rng.integers(len(operands.pairs)))
        x, y = operands.upload(i)
        boxes[(w.number + 1) % THREADS].append((operands.work.add(x, y), operands.sums[i]))
        together()
        while boxes[w.number]:
            found, expected = boxes[w.number].pop()
            hold(w.findings, _host(found), expected, f"thread {w.number}: an array of thread {w.number - 1}")

    return [InStep(hand_over, lambda w: hand_over(w, _at_will))] * THREADS


def queues(target: Target) -> Sequence[Job]:
    """Two queues in two threads each, with arrays that both use."""
    operands = Operands(target)
    work = operands.work
    both = (target.device.default_queue, target.device.queue())
    shared = [operands.upload(i) for i in range(len(operands.pairs))]
    target.device.synchronize()  # no queue waits for the uploads: both can work at once

    def on_both(w: Worker, i: int) -> None:
        x, y = shared[i]
        with use_queue(both[w.number % 2]):
            found = work.add(x, y)
        with use_queue(both[(w.number + 1) % 2]):
            again = work.add(found, y)
        hold(w.findings, _host(found), operands.sums[i], f"thread {w.number}: on its queue")
        expected = work.binary.host(operands.sums[i], operands.pairs[i][1])
        hold(w.findings, _host(again), expected, f"thread {w.number}: on the other queue")
        if w.rng.random() < 0.1:
            both[w.number % 2].synchronize()

    def first(w: Worker, together: Callable[[], object]) -> None:
        for i in range(len(shared)):
            together()
            on_both(w, (i + w.number) % len(shared))

    return [InStep(first, lambda w: on_both(w, int(w.rng.integers(len(shared)))))] * THREADS


def everything(target: Target) -> Sequence[Job]:
    """One thread of each kind."""
    made: list[Job] = []
    for make in (one_call, compiling, plugins, policies, queues, forgetting):
        job = make(target)[-1]
        made.append(job.later if isinstance(job, InStep) else job)
    return made


_CASES: Final[dict[str, Make]] = {
    "calls": calls,
    "one-call": one_call,
    "first-call": first_call,
    "forgotten": forgetting,
    "compile": compiling,
    "plugins": plugins,
    "policies": policies,
    "memory": allocating,
    "handed-over": handed_over,
    "queues": queues,
    "everything": everything,
}
