"""Fault loops: a program whose N-th allocation, launch, copy or wait fails, for N = 1, 2, ... until none is left.

Each time the failure is a typed error of the array that it concerns, what depends on that array is lost with it and
nothing else is, every buffer goes back, and the same program then runs clean on the same device.
"""

from __future__ import annotations

import itertools
import traceback
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from ....core.arrays.array import Array
from ....core.devices.device import Buffer, Device
from ....core.devices.queues import Queue, use_queue
from ....core.errors import ConformanceError, DeviceError, DeviceLostError, KernelError, OpmuxError, OutOfMemoryError
from ....core.graphs.compile import Compiled
from ....core.kernel import Kernel, Launch
from ...oracle.formats import Host
from ...target import Findings, Target
from ..case import ANY, Check, DeviceContext
from . import interception
from .workload import Workload, demand, hold

#: More failures than any program here has calls: a loop that gets so far does not end.
_MOST: Final = 1000
_SHAPE: Final = (7, 7)
#: Devices of at most so many bytes are filled to the brim.
FILLABLE: Final = 1 << 31
#: No larger than a value of the program.
_SMALLEST_CHUNK: Final = 128


class PlantedError(Exception):
    """What a planted failure fails with."""


@dataclass(frozen=True)
class Step:
    """One value of a program.

    Attributes:
        name: of the value.
        act: makes it on the device from the values that it depends on.
        host: the same with NumPy.
        inputs: names of the values that it depends on.
        queue: which of the two queues it is made on.
    """

    name: str
    act: Callable[..., Array]
    host: Callable[..., Host]
    inputs: tuple[str, ...] = ()
    queue: int = 0


def program(work: Workload) -> tuple[Step, ...]:
    """Return uploads, calls, views, copies before kernels, reductions, a compiled function, both queues, ``out=``."""
    x, y, z = (work.values(_SHAPE, i) for i in range(3))
    add, host = work.add, work.binary.host

    def flipped(s: Any) -> Any:
        return s[1:, ::-1]

    def chain(a: Array, b: Array) -> Array:
        return add(add(a, b), b)

    compiled = Compiled(chain)
    steps = [
        Step("x", lambda: work.upload(x), lambda: x),
        Step("y", lambda: work.upload(y), lambda: y),
        Step("bystander", lambda: work.upload(z), lambda: z),
        Step("sum", add, host, ("x", "y")),
        Step("unrelated", lambda a: add(a, a), lambda a: host(a, a), ("bystander",)),
        Step("view", flipped, lambda s: flipped(s).copy(), ("sum",)),
        Step("beside", add, host, ("sum", "y"), 1),
        Step("back", add, host, ("beside", "x")),
        Step("compiled", compiled, lambda a, b: host(host(a, b), b), ("x", "sum")),
        Step("out", lambda a: add(a, a, out=work.upload(y)), lambda a: host(a, a), ("bystander",)),
        Step("far", lambda: work.upload(y), lambda: y, (), 1),
        Step("last", add, host, ("far", "bystander"), 1),
    ]
    if work.copies:
        copied = Step("copied", lambda s: add(s[:, ::-1], s.T), lambda s: host(s[:, ::-1], s.T), ("sum",))
        steps.insert(6, copied)
    for c in work.wide:
        steps.append(_wide(work, c))
    return tuple(steps)


def _wide(work: Workload, call: Any) -> Step:
    count = call.operands
    return Step(f"op {call.op}", lambda *a: work.call(call, *a), call.host, ("y", "x")[:count])


def _closure(steps: Sequence[Step], name: str) -> set[str]:
    """Return a value and all that depend on it."""
    lost = {name}
    for step in steps:
        if lost & set(step.inputs):
            lost.add(step.name)
    return lost


class Loop:
    """A program on a target whose calls fail as a trigger says.

    Args:
        target: the target.
    """

    def __init__(self, target: Target) -> None:
        self.device, self.backend = target.device, target.backend
        self.work = Workload(target)
        self.steps = program(self.work)
        self.queues: tuple[Queue, Queue] = (self.device.default_queue, self.device.queue())
        self.trigger = interception.Trigger()
        self.failing: Kernel | None = None
        self.how: Callable[[Kernel, Launch, Sequence[Any], Exception], Any] = before
        self.expected: dict[str, Host] = {}
        for step in self.steps:
            self.expected[step.name] = step.host(*[self.expected[i] for i in step.inputs])

    def around(self, kernel: Kernel, launch: Launch) -> Launch:
        """Return a launch that fails when the trigger says so."""

        def launched(outs: Any, ins: Any, workspace: Any, queue: Any) -> Any:
            error = self.trigger.due("launch")
            if error is None:
                return launch(outs, ins, workspace, queue)
            self.failing = kernel
            return self.how(kernel, launch, (outs, ins, workspace, queue), error)

        return launched

    def run(self) -> Result:
        """Run the program as far as it goes."""
        result = Result({}, {})
        for step in self.steps:
            self.trigger.doing = step.name
            if not set(step.inputs) <= result.made.keys():
                continue
            try:
                with use_queue(self.queues[step.queue]):
                    result.made[step.name] = step.act(*[result.made[i] for i in step.inputs])
            except Exception as error:
                result.failed[step.name] = _without_frames(error)
        return result

    def read(self, result: Result) -> None:
        """Read every value that was made."""
        for name, x in result.made.items():
            self.trigger.doing = name
            try:
                result.values[name] = np.array(x.numpy())
            except Exception as error:
                result.unread[name] = _without_frames(error)

    def hold_clean(self, findings: Findings, when: str) -> None:
        """Run the program without a failure and hold every value."""
        self.trigger.disarm()
        result = self.run()
        self.read(result)
        for name, error in {**result.failed, **result.unread}.items():
            raise ConformanceError(f"{when}, {name} of a clean run fails: {error!r}")
        self.hold_others(findings, result, set(), f"{when}, of a clean run")

    def hold_others(self, findings: Findings, result: Result, lost: set[str], when: str) -> None:
        """Hold the values that a failure did not concern."""
        for step in self.steps:
            if step.name not in lost:
                wrong = result.failed.get(step.name) or result.unread.get(step.name)
                if wrong is not None or step.name not in result.values:
                    raise ConformanceError(f"{when}: {step.name} has nothing to do with the failure, and got {wrong!r}")
                hold(findings, result.values[step.name], self.expected[step.name], f"{when}: {step.name}")


@dataclass
class Result:
    """What a program made, which steps raised what, and what reading gave."""

    made: dict[str, Array]
    failed: dict[str, Exception]

    def __post_init__(self) -> None:
        self.values: dict[str, Host] = {}
        self.unread: dict[str, Exception] = {}


def _without_frames(error: Exception) -> Exception:
    """Return an exception that keeps no array alive through its traceback."""
    at: BaseException | None = error
    while at is not None:
        traceback.clear_frames(at.__traceback__)
        at.__traceback__ = None
        at = at.__cause__ or at.__context__
    return error


def before(kernel: Kernel, launch: Launch, arguments: Sequence[Any], error: Exception) -> Any:
    """Fail without having launched anything."""
    raise error


def queued(kernel: Kernel, launch: Launch, arguments: Sequence[Any], error: Exception) -> Any:
    """Fail when the work is on the queue already."""
    launch(*arguments)
    raise error


def late(kernel: Kernel, launch: Launch, arguments: Sequence[Any], error: Exception) -> Any:
    """Fail when the work is over."""
    return interception.Late(launch(*arguments), error)


#: ``judge(loop, findings, result, when)`` holds what a program came to with a failure in it.
Judge = Callable[[Loop, Findings, Result, str], None]


def _typed(loop: Loop, error: Exception | None, kind: type[OpmuxError], when: str) -> OpmuxError:
    if not isinstance(error, kind):
        raise ConformanceError(f"{when}: it must raise {kind.__name__}, and came to {error!r}")
    return error


def in_the_step(kind: type[OpmuxError]) -> Judge:
    """The step in which it happened raises; what depends on it cannot be made, and all else is right."""

    def judge(loop: Loop, findings: Findings, result: Result, when: str) -> None:
        at = loop.trigger.at
        loop.read(result)
        _hold_culprits(loop, _typed(loop, result.failed.get(at), kind, f"{when} in {at}"), when)
        findings.held()
        loop.hold_others(findings, result, _closure(loop.steps, at), when)

    return judge


def in_the_step_if_needed(loop: Loop, findings: Findings, result: Result, when: str) -> None:
    """The same for an event, of which some are for memory that is freed: those cost time and no value."""
    if result.failed:
        in_the_step(DeviceError)(loop, findings, result, when)
        return
    loop.read(result)
    loop.hold_others(findings, result, set(), when)


def _hold_culprits(loop: Loop, error: OpmuxError, when: str) -> None:
    """A failed kernel is named with its op and backend, a failed call of the driver with its device."""
    kernel, told = loop.failing, error.culprits
    if isinstance(error, KernelError) and kernel is not None:
        found = told.get("op"), told.get("backend")
        if found != (kernel.op, loop.backend):
            raise ConformanceError(f"{when}: {kernel.op} of {loop.backend} failed, and the error names {found}")
    if type(error) is DeviceError and told.get("device") != loop.device.name:
        raise ConformanceError(f"{when}: the error names device {told.get('device')!r}, not {loop.device.name}")


def poisoned(loop: Loop, findings: Findings, result: Result, when: str) -> None:
    """A late failure is raised by whoever reads what it should have made, or what was made from that."""
    if loop.device.is_host:  # there a call waits for its completion
        in_the_step(KernelError)(loop, findings, result, when)
        return
    lost = _closure(loop.steps, loop.trigger.at)
    loop.read(result)
    for name in sorted(lost & (result.made.keys() | result.failed.keys())):
        error = result.failed.get(name) or result.unread.get(name)
        _hold_culprits(loop, _typed(loop, error, KernelError, f"{when} in {loop.trigger.at}: reading {name}"), when)
        findings.held()
    loop.hold_others(findings, result, lost, when)
    for queue in loop.queues:
        queue.synchronize()  # everybody has been told


def told_by_synchronize(loop: Loop, findings: Findings, result: Result, when: str) -> None:
    """A late failure that nobody has read is raised by ``synchronize``, once."""
    if loop.device.is_host:
        in_the_step(KernelError)(loop, findings, result, when)
        return
    raised = []
    for _ in range(2):
        for queue in loop.queues:
            try:
                queue.synchronize()
            except OpmuxError as error:
                raised.append(_without_frames(error))
    demand(findings, len(raised) == 1, f"{when}: synchronize must raise it once; it raised {raised!r}")
    _hold_culprits(loop, _typed(loop, raised[0], KernelError, when), when)


def by_the_reader(loop: Loop, findings: Findings, result: Result, when: str) -> None:
    """What fails while a value is read is the reader's; the array still has its value."""
    at = loop.trigger.at
    _typed(loop, result.unread.pop(at, None), DeviceError, f"{when}: reading {at}")
    findings.held()
    result.values[at] = np.array(result.made[at].numpy())
    loop.hold_others(findings, result, set(), when)


def by_synchronize(loop: Loop, findings: Findings, result: Result, when: str) -> None:
    """A failed ``synchronize`` raises, and the next one does not."""
    for queue in (*loop.queues, *loop.queues):
        fired = loop.trigger.fired
        try:
            queue.synchronize()
        except Exception as error:
            _typed(loop, error, DeviceError, when)
            demand(findings, loop.trigger.fired and not fired, f"{when}, and a later one raised {error!r}")
            continue
        demand(findings, loop.trigger.fired == fired, f"{when}: nobody was told")
    loop.read(result)
    loop.hold_others(findings, result, set(), when)


def lost(loop: Loop, findings: Findings, result: Result, when: str) -> None:
    """The loss of a device is raised by the step and by every later one."""
    kind, at = DeviceLostError, loop.trigger.at
    _typed(loop, result.failed.get(at), kind, f"{when} in {at}")
    findings.held()
    for name, error in result.failed.items():
        _typed(loop, error, kind, f"{when} in {at}: {name}, after it")
    loop.read(result)
    for name, error in result.unread.items():
        _typed(loop, error, kind, f"{when} in {at}: reading {name}")
    demand(findings, loop.device.lost is not None, f"{when}: {loop.device} does not count as lost")


@dataclass(frozen=True)
class Failure:
    """One kind of failure.

    Attributes:
        call: which calls fail.
        error: what with.
        judge: holds what comes of it.
        how: for launches, when they fail.
        done: for copies, whether they fail when they are on the queue already.
    """

    call: str
    error: Callable[[], Exception]
    judge: Judge
    how: Callable[[Kernel, Launch, Sequence[Any], Exception], Any] = before
    done: bool = False


def _memory_error() -> Exception:
    return MemoryError("planted")


def _planted() -> Exception:
    return PlantedError("planted")


def _loss() -> Exception:
    return DeviceLostError("planted")


FAILURES: Final[dict[str, Failure]] = {
    "alloc": Failure("alloc", _memory_error, in_the_step(OutOfMemoryError)),
    "alloc-broken": Failure("alloc", _planted, in_the_step(DeviceError)),
    "launch": Failure("launch", _planted, in_the_step(KernelError)),
    "launch-queued": Failure("launch", _planted, in_the_step(KernelError), queued),
    "launch-memory": Failure("launch", _memory_error, in_the_step(OutOfMemoryError)),
    "late": Failure("launch", _planted, poisoned, late),
    "late-unread": Failure("launch", _planted, told_by_synchronize, late),
    "upload": Failure("upload", _planted, in_the_step(DeviceError)),
    "upload-queued": Failure("upload", _planted, in_the_step(DeviceError), done=True),
    "download": Failure("download", _planted, in_the_step(DeviceError)),
    "record": Failure("record", _planted, in_the_step_if_needed),
    "wait": Failure("wait", _planted, in_the_step(DeviceError)),
    "synchronize": Failure("synchronize", _planted, by_synchronize),
    "lost-launch": Failure("launch", _loss, lost),
    "lost-upload": Failure("upload", _loss, lost),
}


def faults(t: str, context: DeviceContext) -> Iterator[tuple[str, str, Check]]:
    """Cases of failures at every place of a program."""
    if t != ANY:
        return
    for label, failure in FAILURES.items():
        yield "faults", label, _loops(failure)
    yield "faults", "full", full


def _loops(failure: Failure) -> Check:
    def check(target: Target, findings: Findings) -> None:
        loop = Loop(target)
        loop.how = failure.how
        device = target.device

        def around(own: Any) -> interception.Bookkeeping:
            return interception.Bookkeeping(own, loop.trigger)

        with interception.kernels(target, loop.around):
            loop.hold_clean(findings, "before any failure")  # which also makes code and constants
            with interception.driver(device, around) as books, interception.letting_go():
                for n in itertools.count(1):
                    if not _failed(loop, findings, failure, n, books):
                        break
                    demand(findings, n < _MOST, f"{failure.call} fails {n} times without an end")

    return check


def _failed(loop: Loop, findings: Findings, failure: Failure, n: int, books: interception.Bookkeeping) -> bool:
    """Run the program with the n-th call failing; return whether there is an n-th one."""
    when = f"with {failure.call} number {n} failing"
    loop.trigger.arm(failure.call, n, failure.error, done=failure.done)
    try:
        fired = _judged(loop, findings, failure, when)
    finally:
        loop.trigger.disarm()
        loop.device.lost = None  # the loss was planted
    demand(findings, books.live == 0, f"{when}: {books.live} buffers stay allocated when all arrays are gone")
    loop.hold_clean(findings, f"after a run {when}")
    demand(findings, not books.wrong, f"after a run {when}: {books.wrong}")
    return fired


def _judged(loop: Loop, findings: Findings, failure: Failure, when: str) -> bool:
    result = loop.run()
    ended = loop.trigger.fired
    if ended or failure.judge is by_synchronize:
        failure.judge(loop, findings, result, when)
        return loop.trigger.fired
    loop.read(result)
    if loop.trigger.fired:
        by_the_reader(loop, findings, result, when)
    else:
        loop.hold_others(findings, result, set(), "the run without a failure")
    return loop.trigger.fired


def full(target: Target, findings: Findings) -> None:
    """A device that is really full: the program fails at its first allocation, then later and later as memory returns.

    The host's memory, and a device of too much, are not filled; there the program runs clean.
    """
    loop, device = Loop(target), target.device
    loop.hold_clean(findings, "before any failure")
    if device.is_host or device.info.memory > FILLABLE:
        return
    held = ballast(device)
    while True:
        result = loop.run()
        loop.read(result)
        first = next(iter(result.failed), None)
        if first is not None:
            _typed(loop, result.failed[first], OutOfMemoryError, f"{first} on a full device")
        _hold_what_fits(loop, findings, result)
        del result
        if first is None or not held:
            break
        held.pop()
        device.synchronize()  # memory may come back when the queue gets there
    held.clear()
    device.synchronize()
    loop.hold_clean(findings, "after the device was full")


def ballast(device: Device, smallest: int = _SMALLEST_CHUNK) -> list[Buffer]:
    """Return buffers that fill a device until it has no room for another of the smallest size."""
    held: list[Buffer] = []
    chunk = device.info.memory // 4
    while len(held) < _MOST:
        try:
            held.append(device.alloc(chunk))
        except OutOfMemoryError:
            if chunk == smallest:
                break
            chunk = max(chunk // 2, smallest)
    return held


def _hold_what_fits(loop: Loop, findings: Findings, result: Result) -> None:
    """Whatever was made is right, and whatever was not, or cannot be read, raises the typed error."""
    for name, error in {**result.failed, **result.unread}.items():
        _typed(loop, error, OutOfMemoryError, f"{name} on a full device")
        findings.held()
    for name, found in result.values.items():
        hold(findings, found, loop.expected[name], f"{name} on a full device")
