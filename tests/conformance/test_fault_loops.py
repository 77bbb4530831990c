"""Fault loops can fail: opmux itself is made to handle a failure badly, and the loop for it says so."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NoReturn

import pytest

from opmux.conformance.cases.case import DeviceContext
from opmux.conformance.cases.devices.fault_loops import FAILURES, faults
from opmux.conformance.cases.devices.fault_program import Loop, closure
from opmux.conformance.cases.devices.interception import CALLS, Bookkeeping, Trigger
from opmux.conformance.target import Findings, Target, only, targets
from opmux.core.devices import status
from opmux.core.devices.device import Buffer, Device
from opmux.core.devices.queues import Queue
from opmux.core.dispatch import execute
from opmux.core.dispatch.registry import REGISTRY
from opmux.core.errors import KernelError
from opmux.core.plugins import manager
from tests.conformance.device_runs import ended
from tests.remote import RemotePlugin


@pytest.fixture
def remote() -> Iterator[Target]:
    manager.register("remote", RemotePlugin())
    yield targets("remote")[0]
    manager.unregister("remote")


def raw(self: Device, call: str, error: Exception) -> NoReturn:
    raise error


def nameless(cause: BaseException, op: str, kernel: str, backend: str) -> KernelError:
    return KernelError(f"something failed: {cause}")


@pytest.mark.parametrize(
    ("owner", "name", "bad", "case", "says"),
    [
        (Device, "fail", raw, "alloc-broken", "must raise DeviceError"),
        (Device, "fail", raw, "upload", "must raise DeviceError"),
        (execute, "_inherited", lambda ins: ([], None), "late", "must raise KernelError, and came to None"),
        (status.Status, "mark_seen", lambda self: None, "late-unread", "must raise it once"),
        (status, "late_error", nameless, "late", "the error names"),
        (Queue, "synchronize", lambda self: None, "late-unread", "must raise it once"),
        (Buffer, "settle", lambda self: None, "late", "must raise KernelError, and came to None"),
        (Device, "lose", lambda self, error: None, "lost-launch", "does not count as lost"),
    ],
    ids=lambda v: v if isinstance(v, str) else None,
)
def test_a_failure_handled_badly_is_seen(
    remote: Target, monkeypatch: pytest.MonkeyPatch, owner: Any, name: str, bad: Any, case: str, says: str
) -> None:
    monkeypatch.setattr(owner, name, bad)
    found = ended(remote, f"faults-{case}")
    assert found.outcome.value == "fail"
    assert says in found.message


@pytest.mark.parametrize("case", ["alloc", "launch", "launch-queued", "late", "upload"])
def test_a_buffer_lost_with_a_failure_is_a_leak(remote: Target, monkeypatch: pytest.MonkeyPatch, case: str) -> None:
    right, calls = Buffer.__del__, [0]

    def forgetful(self: Buffer) -> None:
        calls[0] += 1
        if calls[0] % 40:
            right(self)

    monkeypatch.setattr(Buffer, "__del__", forgetful)
    found = ended(remote, f"faults-{case}")
    assert "stay allocated" in found.message


def rounds(target: Target, label: str) -> int:
    """Return how many times a loop planted a failure before it ran clean."""
    armed: list[int] = []
    original = Trigger.arm

    def arm(self: Trigger, what: str, n: int, error: Any, *, done: bool = False) -> None:
        armed.append(n)
        original(self, what, n, error, done=done)

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(Trigger, "arm", arm)
        assert ended(target, f"faults-{label}").outcome.value == "pass"
    assert armed == list(range(1, len(armed) + 1))
    return len(armed) - 1


def test_every_call_of_the_program_fails_once(remote: Target) -> None:
    with only("remote"):
        calls = [s for s in Loop(remote).steps if s.inputs and s.name != "view"]
    launches = rounds(remote, "launch")
    assert rounds(remote, "upload") == 5  # x, y, the bystander, far, and the memory of out=
    assert launches >= len(calls)
    assert rounds(remote, "alloc") >= launches


def test_a_value_takes_along_what_depends_on_it(remote: Target) -> None:
    with only("remote"):
        steps = Loop(remote).steps
    assert closure(steps, "beside") == {"beside", "back"}
    assert {"view", "copied", "beside", "back", "compiled"} <= closure(steps, "sum")
    assert not {"x", "y", "bystander", "unrelated"} & closure(steps, "sum")


def test_driver_and_kernels_are_as_before(remote: Target, monkeypatch: pytest.MonkeyPatch) -> None:
    driver, contribution = remote.device.driver, REGISTRY.contributions["remote"]
    checks = {label: check for _, label, check in faults("any", DeviceContext(False, 0))}
    with only("remote"):
        checks["launch"](remote, Findings())
        monkeypatch.setattr(Buffer, "settle", lambda self: None)
        with pytest.raises(AssertionError):
            checks["late"](remote, Findings())
    assert remote.device.driver is driver
    assert REGISTRY.contributions["remote"] is contribution
    assert remote.device.lost is None


def test_books_count_what_is_live(remote: Target) -> None:
    books = Bookkeeping(remote.device.driver)
    queue = remote.device.default_queue.handle
    handle = books.alloc(10, queue)
    assert books.live == 1
    books.free(handle, ())
    assert books.live == 0


def test_all_kinds_of_failure_are_known() -> None:
    assert {f.call for f in FAILURES.values()} == {*CALLS, "launch"}
