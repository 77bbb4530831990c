"""The stateful test finds what is planted, and passes where nothing is."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

import opmux as ox
from opmux.conformance.cases.case import DeviceContext
from opmux.conformance.cases.drawn import model
from opmux.conformance.cases.drawn.falsify import Choices
from opmux.conformance.cases.drawn.model_machine import Machine
from opmux.conformance.cases.drawn.model_plugins import KIND, STRANGER, VISITOR, Memory
from opmux.conformance.cases.drawn.model_rules import RULES
from opmux.conformance.target import Findings, Target, only
from opmux.core.devices.device import find_device
from opmux.core.dispatch.policy import current
from opmux.core.dispatch.tables import Tables, forget_decisions
from opmux.core.errors import ConformanceError, DeviceLostError
from opmux.core.plugins import manager
from opmux.plugin import CallSpec
from tests.conformance.zoo import TWINS, Compute, Host, Zoo, kernel, registered
from tests.remote import RemotePlugin


@pytest.fixture(autouse=True)
def _short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(model, "HISTORIES", 60)
    monkeypatch.setattr(model, "SHRINKING", 3.0)


def _run(name: str, device: str = "cpu", seed: int = 0) -> Findings:
    findings = Findings()
    checks = {label: check for _, label, check in model.family("any", DeviceContext(False, seed))}
    with only(name):
        checks["00"](Target(name, find_device(device)), findings)
    return findings


def _with(**kernels: Compute) -> Findings:
    right: dict[str, Compute] = {op: TWINS[op] for op in ("add", "multiply", "negative")}
    with registered("model-zoo", Zoo([kernel(op, f) for op, f in {**right, **kernels}.items()])) as name:
        return _run(name)


def writes_to_its_operand(spec: CallSpec, out: Host, x: Host) -> None:
    np.negative(x, out=out)
    if x.flags.writeable:
        x[...] = out


def wrong_beside_itself(spec: CallSpec, out: Host, x: Host, y: Host) -> None:
    np.add(x, y, out=out)
    if np.shares_memory(x, y) and x.size > 1:
        out[...] = 0


def test_right_kernels_pass() -> None:
    assert _with().assertions > 300


@pytest.mark.parametrize("backend", ["numpy", "llvm"])
def test_backends_in_the_tree_pass(backend: str) -> None:
    ox.asarray([1.0])
    manager.status()
    assert _run(backend).assertions > 300


def test_an_asynchronous_device_passes() -> None:
    with registered("remote", RemotePlugin()) as name:
        assert _run(name, "remote").assertions > 300


def test_a_kernel_that_writes_to_its_operand_is_found() -> None:
    with pytest.raises(ConformanceError, match="The shortest history that ends so") as caught:
        _with(negative=writes_to_its_operand)
    assert "must be [" in str(caught.value)
    assert "ox.negative(a" in str(caught.value)


def test_a_kernel_that_is_wrong_on_shared_operands_is_found() -> None:
    with pytest.raises(ConformanceError) as caught:
        _with(add=wrong_beside_itself)
    lines = str(caught.value).splitlines()
    assert len(lines) < 12
    assert lines[-1].startswith(("a", "with"))


def test_an_array_that_a_backend_keeps_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    kept: list[Any] = []
    original = Machine.watch

    def watch(self: Machine, made: ox.Array) -> None:
        original(self, made)
        if made.shape == (17,):
            kept.append(made._buffer)

    monkeypatch.setattr(Machine, "watch", watch)
    with pytest.raises(ConformanceError, match=r"buffers are still held"):
        _with()


def test_a_handle_that_survives_out_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    from opmux.core.dispatch import call

    monkeypatch.setattr(call, "consume", lambda x: x._buffer)
    with pytest.raises(ConformanceError, match=r"consumed by out= and can still be used|must be"):
        _with()


def test_a_view_that_follows_its_array_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    from opmux.core.arrays import assignment

    monkeypatch.setattr(assignment, "is_sole_owner", lambda x: x._buffer.writable)
    with pytest.raises(ConformanceError, match=r"must be \[|under the hands"):
        _with()


def test_a_policy_that_is_not_left_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    from opmux.conformance.cases.drawn import model_machine

    before = current()
    monkeypatch.setattr(model_machine, "current", lambda: before)
    with pytest.raises(ConformanceError, match="not the one of the innermost block"):
        _with()


def test_a_device_that_forgets_when_its_backend_goes_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """Arrays on the device of a backend that is dropped keep their values, for as long as they live."""
    original = manager.unregister

    def unregister(name: str) -> None:
        for block in blocks if name == VISITOR else ():
            block[...] = 0
        original(name)

    blocks: list[Any] = []
    alloc = Memory.alloc

    def noted(self: Memory, nbytes: int, queue: Any) -> Any:
        blocks.append(alloc(self, nbytes, queue))
        return blocks[-1]

    monkeypatch.setattr(Memory, "alloc", noted)
    monkeypatch.setattr(manager, "unregister", unregister)
    with pytest.raises(ConformanceError, match=f"(?s)must be.*unregister {VISITOR}"):
        _with()


def test_a_policy_that_comes_too_late_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """A call that was decided before keeps its decision, whatever the policy says now."""
    original, memo, hits = Tables.__init__, {}, {}  # type: ignore[var-annotated]

    def shared(self: Tables[Any], settings: Any) -> None:
        original(self, settings)
        self.memo, self.hits = memo, hits

    monkeypatch.setattr(Tables, "__init__", shared)
    try:
        with pytest.raises(ConformanceError, match="under a policy that allows no backend"):
            _with()
    finally:
        monkeypatch.undo()
        forget_decisions()


def test_an_array_whose_views_are_not_counted_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """``out=`` on an array that has a view would be seen through the view."""
    from opmux.core.arrays import ownership

    monkeypatch.setattr(ownership, "is_sole_owner", lambda x: x._buffer.writable)
    with pytest.raises(ConformanceError, match="must be"):
        _with()


def test_afterwards_everything_is_as_before() -> None:
    before = current()
    _with()
    assert current() is before
    names = {s.name for s in manager.status()}
    assert not names & {STRANGER, VISITOR}
    with pytest.raises(ox.DeviceError):
        find_device(KIND)


def test_a_seed_gives_the_same_histories() -> None:
    def logs(seed: int) -> Iterator[tuple[str, ...]]:
        original = Machine.close
        seen: list[tuple[str, ...]] = []

        def close(self: Machine) -> None:
            seen.append(tuple(self.log))
            original(self)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(Machine, "close", close)
            patch.setattr(model, "HISTORIES", 15)
            _run("numpy", seed=seed)
        return iter(seen)

    assert list(logs(1)) == list(logs(1))
    assert list(logs(1)) != list(logs(2))


def test_every_rule_has_something_to_do() -> None:
    done: set[str] = set()
    machine = Machine(Target("numpy", find_device("cpu")), frozenset({"add", "multiply", "negative"}))
    rng = np.random.default_rng(0)
    with only("numpy"):
        try:
            for i in range(1500):
                before = len(machine.log)
                RULES[i % len(RULES)](machine, Choices(rng.bytes(8)))
                if len(machine.log) > before:
                    done.add(RULES[i % len(RULES)].__name__)
        finally:
            machine.close()
    assert done >= {rule.__name__ for rule in RULES} - {"_forbidden"}  # which leaves no trace


@pytest.fixture
def cpu_comes_back() -> Iterator[None]:
    yield
    find_device("cpu").lost = None


@pytest.mark.usefixtures("cpu_comes_back")
def test_a_lost_device_is_told_as_such() -> None:
    def lost(spec: CallSpec, out: Host, x: Host) -> None:
        raise DeviceLostError("gone", device="cpu:0")

    with registered("model-zoo", Zoo([kernel("negative", lost)])) as name, pytest.raises(DeviceLostError, match="gone"):
        _run(name)
