"""Fault loops: a program whose N-th allocation, launch, copy or wait fails, for N = 1, 2, ... until none is left.

Each time the failure is a typed error of the array that it concerns, what depends on that array is lost with it and
nothing else is, every buffer goes back, and the same program then runs clean on the same device.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

from ....core.errors import DeviceError, DeviceLostError, KernelError, OutOfMemoryError
from ....core.kernel import Kernel, Launch
from ...target import Findings, Target
from ..case import ANY, Check, DeviceContext
from . import interception
from .fault_judges import (
    Judge,
    by_synchronize,
    by_the_reader,
    in_the_step,
    in_the_step_if_needed,
    lost,
    poisoned,
    told_by_synchronize,
    typed,
)
from .fault_program import Loop, Result, before, late, queued
from .room import FILLABLE, ballast
from .workload import demand, hold

#: More failures than any program here has calls: a loop that gets so far does not end.
_MOST: Final = 1000


class PlantedError(Exception):
    """What a planted failure fails with."""


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
            typed(loop, result.failed[first], OutOfMemoryError, f"{first} on a full device")
        _hold_what_fits(loop, findings, result)
        del result
        if first is None or not held:
            break
        held.pop()
        device.synchronize()  # memory may come back when the queue gets there
    held.clear()
    device.synchronize()
    loop.hold_clean(findings, "after the device was full")


def _hold_what_fits(loop: Loop, findings: Findings, result: Result) -> None:
    """Whatever was made is right, and whatever was not, or cannot be read, raises the typed error."""
    for name, error in {**result.failed, **result.unread}.items():
        typed(loop, error, OutOfMemoryError, f"{name} on a full device")
        findings.held()
    for name, found in result.values.items():
        hold(findings, found, loop.expected[name], f"{name} on a full device")
