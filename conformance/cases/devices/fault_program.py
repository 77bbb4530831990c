"""The program of the fault loops: its values, what they depend on, and how it runs with a failure in it."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from ....core.arrays.array import Array
from ....core.devices.queues import Queue, use_queue
from ....core.errors import ConformanceError
from ....core.graphs.compile import Compiled
from ....core.kernel import Kernel, Launch
from ...oracle.formats import Host
from ...target import Findings, Target
from . import interception
from .workload import Workload, hold

_SHAPE: Final = (7, 7)


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


def closure(steps: Sequence[Step], name: str) -> set[str]:
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
                result.failed[step.name] = without_frames(error)
        return result

    def read(self, result: Result) -> None:
        """Read every value that was made."""
        for name, x in result.made.items():
            self.trigger.doing = name
            try:
                result.values[name] = np.array(x.numpy())
            except Exception as error:
                result.unread[name] = without_frames(error)

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


def without_frames(error: Exception) -> Exception:
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
