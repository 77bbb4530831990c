"""What a program must come to when a call in it fails: one judge for each way in which a failure is told."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ....core.errors import ConformanceError, DeviceError, DeviceLostError, KernelError, OpmuxError
from ...target import Findings
from .fault_program import Loop, Result, closure, without_frames
from .workload import demand

#: ``judge(loop, findings, result, when)`` holds what a program came to with a failure in it.
Judge = Callable[[Loop, Findings, Result, str], None]


def typed(loop: Loop, error: Exception | None, kind: type[OpmuxError], when: str) -> OpmuxError:
    """Return an error that has to be of a type."""
    if not isinstance(error, kind):
        raise ConformanceError(f"{when}: it must raise {kind.__name__}, and came to {error!r}")
    return error


def in_the_step(kind: type[OpmuxError]) -> Judge:
    """The step in which it happened raises; what depends on it cannot be made, and all else is right."""

    def judge(loop: Loop, findings: Findings, result: Result, when: str) -> None:
        at = loop.trigger.at
        loop.read(result)
        _hold_culprits(loop, typed(loop, result.failed.get(at), kind, f"{when} in {at}"), when)
        findings.held()
        loop.hold_others(findings, result, closure(loop.steps, at), when)

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
    lost = closure(loop.steps, loop.trigger.at)
    loop.read(result)
    for name in sorted(lost & (result.made.keys() | result.failed.keys())):
        error = result.failed.get(name) or result.unread.get(name)
        _hold_culprits(loop, typed(loop, error, KernelError, f"{when} in {loop.trigger.at}: reading {name}"), when)
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
                raised.append(without_frames(error))
    demand(findings, len(raised) == 1, f"{when}: synchronize must raise it once; it raised {raised!r}")
    _hold_culprits(loop, typed(loop, raised[0], KernelError, when), when)


def by_the_reader(loop: Loop, findings: Findings, result: Result, when: str) -> None:
    """What fails while a value is read is the reader's; the array still has its value."""
    at = loop.trigger.at
    typed(loop, result.unread.pop(at, None), DeviceError, f"{when}: reading {at}")
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
            typed(loop, error, DeviceError, when)
            demand(findings, loop.trigger.fired and not fired, f"{when}, and a later one raised {error!r}")
            continue
        demand(findings, loop.trigger.fired == fired, f"{when}: nobody was told")
    loop.read(result)
    loop.hold_others(findings, result, set(), when)


def lost(loop: Loop, findings: Findings, result: Result, when: str) -> None:
    """The loss of a device is raised by the step and by every later one."""
    kind, at = DeviceLostError, loop.trigger.at
    typed(loop, result.failed.get(at), kind, f"{when} in {at}")
    findings.held()
    for name, error in result.failed.items():
        typed(loop, error, kind, f"{when} in {at}: {name}, after it")
    loop.read(result)
    for name, error in result.unread.items():
        typed(loop, error, kind, f"{when} in {at}: reading {name}")
    demand(findings, loop.device.lost is not None, f"{when}: {loop.device} does not count as lost")
