"""Threads at once: a stuck one, a wrong policy and a backend that vanishes in the middle of a call are all told."""

from __future__ import annotations

import threading
import time
from typing import Any

import pytest

from opmux.conformance.cases.devices import concurrency, crew
from opmux.conformance.cases.devices.crew import Crew, Worker
from opmux.conformance.target import Findings
from opmux.core.dispatch.policy import Policy
from opmux.core.dispatch.registry import Registry
from opmux.core.errors import ConformanceError
from tests.conformance.device_runs import ended, target_of


def test_a_thread_that_does_not_end_is_named_with_its_place(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(crew, "_STUCK", 0.3)
    release = threading.Event()

    def waits_for_ever(worker: Worker) -> None:
        release.wait()

    start = time.monotonic()
    with pytest.raises(ConformanceError, match=r"1 of 2 threads do not end.*waits_for_ever"):
        Crew([waits_for_ever, lambda worker: None], 0).work(Findings(), 0.05)
    release.set()
    assert time.monotonic() - start < 5


def test_what_a_thread_raises_is_raised_by_the_case() -> None:
    def bad(worker: Worker) -> None:
        if worker.number == 1:
            raise ConformanceError("thread 1 is wrong")

    with pytest.raises(ConformanceError, match="thread 1 is wrong"):
        Crew([bad] * 3, 0).work(Findings(), 5.0)


def test_what_threads_held_is_counted() -> None:
    findings = Findings()
    Crew([lambda worker: worker.findings.held()] * 3, 0).work(findings, 0.0)
    assert findings.assertions == 3


def test_threads_draw_from_the_seed() -> None:
    first, again = ([w.rng.integers(1 << 30) for w in Crew([print] * 3, 7).workers] for _ in range(2))
    assert first == again
    assert len(set(first)) == 3


def test_a_policy_that_is_not_a_threads_own_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    right, shared = concurrency.current, [concurrency.current()]

    def of_anybody() -> Policy:
        if right().fallback_budget is not None:
            shared[0] = right()
            time.sleep(0.0001)
        return shared[0]

    monkeypatch.setattr(concurrency, "current", of_anybody)
    assert "policy" in ended(target_of("numpy"), "threads-policies").message


def test_a_backend_that_is_dropped_in_the_middle_of_a_call_is_no_key_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """The core met this: it looked for the version of a backend that another thread had dropped."""

    def version(self: Registry, backend: str) -> Any:
        time.sleep(0)
        return self.contributions[backend].version

    monkeypatch.setattr(Registry, "version", version)
    messages = [ended(target_of("numpy"), "threads-plugins").message for _ in range(4)]
    assert any("KeyError" in m for m in messages)
