"""Cases of a whole device: no false alarm on right backends, and each planted fault is caught by its cases."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest

from opmux.conformance.cases.case import ANY, DEVICE
from opmux.conformance.cases.devices import concurrency, crew, interception
from opmux.conformance.cases.enumerate import cases
from opmux.conformance.target import Target, targets
from opmux.core.dispatch.registry import REGISTRY
from opmux.core.plugins import manager
from tests.conformance.device_runs import ended, target_of
from tests.remote import RemotePlugin, driver_plants, launch_plants  # noqa: F401 - their import fills PLANTS
from tests.remote.plants import PLANTS, Plant

#: Kind and label of the cases.
IDS = [
    c.id.removeprefix("device-any-") for c in cases(DEVICE, ANY) if c.kind in ("memory", "queues", "faults", "threads")
]


@pytest.fixture(autouse=True)
def _short(monkeypatch: pytest.MonkeyPatch) -> None:
    """Threads work for a moment only."""
    monkeypatch.setattr(concurrency, "_SECONDS", 0.1)


@pytest.fixture
def remote() -> Iterator[Target]:
    manager.register("remote", RemotePlugin())
    yield targets("remote")[0]
    manager.unregister("remote")


@contextlib.contextmanager
def planted(plant: Plant, target: Target) -> Iterator[None]:
    """Have a fault for a while."""
    with contextlib.ExitStack() as stack:
        if plant.driver is not None:
            stack.enter_context(interception.driver(target.device, plant.driver))
        if plant.launch is not None:
            faulty = plant.launch()

            def around(kernel: Any, right: Any) -> Any:
                return lambda *arguments: faulty(right, *arguments)

            stack.enter_context(interception.kernels(target, around))
        if plant.prepare is not None:
            stack.enter_context(prepared(target, plant.prepare()))
        yield


@contextlib.contextmanager
def prepared(target: Target, faulty: Callable[..., Any]) -> Iterator[None]:
    """Have something around every ``prepare`` for a while."""
    own = REGISTRY.contributions[target.backend]
    wrapped = tuple(replace(k, prepare=functools.partial(faulty, k.prepare)) for k in own.kernels)
    for contribution in (replace(own, kernels=wrapped), own):
        REGISTRY.drop(own.backend)
        REGISTRY.add(contribution)
        if contribution is not own:
            yield


@pytest.mark.parametrize("case", IDS)
def test_a_right_device_passes(remote: Target, case: str) -> None:
    found = ended(remote, case)
    assert (found.outcome.value, found.message) == ("pass", "")
    assert found.assertions > 0


@pytest.mark.parametrize("case", [i for i in IDS if i.startswith("threads-")])
def test_a_single_round_of_each_thread_holds_something(
    remote: Target, case: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(concurrency, "_SECONDS", 0.0)  # a machine on which a round takes longer than the case
    found = ended(remote, case)
    assert (found.outcome.value, found.message) == ("pass", "")


@pytest.mark.parametrize("case", IDS)
def test_a_right_backend_of_the_host_passes(case: str) -> None:
    found = ended(target_of("numpy"), case)
    assert (found.outcome.value, found.message) == ("pass", "")


@pytest.mark.parametrize(
    ("plant", "killer"), [(p, k) for p in PLANTS for k in p.killers], ids=lambda v: v if isinstance(v, str) else v.name
)
def test_a_planted_fault_is_caught(remote: Target, plant: Plant, killer: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(crew, "_STUCK", 2.0)
    monkeypatch.setattr(concurrency, "_SECONDS", 0.5)
    target = target_of("numpy") if plant.host else remote
    with planted(plant, target):
        found = ended(target, killer)
    assert found.outcome.value == "fail", killer
    assert found.message
