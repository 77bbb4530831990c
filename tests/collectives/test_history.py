"""Thousands of histories under a nemesis: never a hang, never a wrong sum, and the blame where it belongs."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from opmux.core.collectives import agreement, engine, watch
from opmux.core.collectives.control import Control
from opmux.core.collectives.failure import Cause
from opmux.core.errors import CollectiveError
from tests.collectives import histories, nemesis, network

CHUNK = 150


@pytest.mark.parametrize("first", range(0, 21 * CHUNK, CHUNK))
def test_histories(first):
    for seed in range(first, first + CHUNK):
        nemesis.replay(seed)


def test_faults_of_every_kind_are_drawn():
    kinds = {f.kind for seed in range(CHUNK) for f in nemesis.drawn(seed)[3]}
    assert kinds == {"kill", "stall", "other", "leave", "lose", "double"}


def test_seed_replays_exactly():
    for seed in (3, 14, 238, 290):
        assert str(nemesis.replay(seed)) == str(nemesis.replay(seed))


def test_failure_prints_its_seed(monkeypatch):
    monkeypatch.setattr(nemesis, "_add", lambda base, arrived, into: None)
    with pytest.raises(histories.Wrong, match=r"seed \d+: \d ranks, calls"):
        _until_wrong()


def _drop_a_contribution(patch: pytest.MonkeyPatch) -> None:
    """Every fifth message overwrites instead of being combined."""
    honest, count = engine.Call.put, iter(range(10**9))

    def put(self: Any, receive: Any, data: Any, base: Any) -> None:
        honest(self, dataclasses.replace(receive, base=None) if next(count) % 5 == 4 else receive, data, base)

    patch.setattr(engine.Call, "put", put)


def _combine_twice(patch: pytest.MonkeyPatch) -> None:
    """A message is combined again, as a retry would that does not know of the first time."""
    honest, count = engine.Call.put, iter(range(10**9))

    def put(self: Any, receive: Any, data: Any, base: Any) -> None:
        honest(self, receive, data, base)
        if receive.base is not None and next(count) % 5 == 4:
            self.combine(self.view(receive.into), data, self.view(receive.into))

    patch.setattr(engine.Call, "put", put)


def _tag_without_sequence(patch: pytest.MonkeyPatch) -> None:
    """A late message reaches a later call."""
    patch.setattr(engine, "tag", lambda sequence, number: (1 << engine.NUMBER_BITS) + number)


def _tag_without_number(patch: pytest.MonkeyPatch) -> None:
    """After a lost message the next one takes its place."""
    patch.setattr(engine, "tag", lambda sequence, number: (sequence << engine.NUMBER_BITS) + (number > 0))


def _ignore_a_mismatch(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(agreement, "compare", lambda headers, reporter=0: None)


def _deliver_before_agreement(patch: pytest.MonkeyPatch) -> None:
    """A call ends without waiting for the headers."""
    honest = engine.Call.exchange_headers

    def exchange_headers(self: Any) -> None:
        honest(self)
        self.headers.clear()

    patch.setattr(engine.Call, "exchange_headers", exchange_headers)


def _tell_nobody(patch: pytest.MonkeyPatch) -> None:
    """A rank that fails keeps it to itself, so the others blame the rank that went."""

    def fail(self: Control, failure: Any) -> Any:
        self.failure = self.failure or failure
        return self.failure

    patch.setattr(Control, "fail", fail)


def _forget_the_time(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(engine.Call, "too_late", lambda self, now: None)
    patch.setattr(engine.Call, "look", lambda self, now: None)


def _blame_the_neighbour(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(watch, "stuck", lambda control, own, fresh, lost: (own.waits_for, Cause.LATE))


def _write_what_is_still_sent(patch: pytest.MonkeyPatch) -> None:
    def free(self: Any, region: Any) -> Any:
        yield from ()

    patch.setattr(engine.Call, "free", free)


def _read_after_writing(patch: pytest.MonkeyPatch) -> None:
    """A step's messages are received where others of the same step are still read from."""
    honest = engine.Call.begin

    def begin(self: Any, step: Any) -> None:
        for receive in step.receives:
            if receive.base is not None:
                self.view(receive.into)[:] = 0
        honest(self, step)

    patch.setattr(engine.Call, "begin", begin)


def _receive_before_agreement(patch: pytest.MonkeyPatch) -> None:
    """Memory is given to messages whose length nobody has confirmed."""
    patch.setattr(engine.Call, "agree", lambda self: iter(()))


def _use_a_failed_mesh(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Control, "check", lambda self: None)


@pytest.mark.parametrize(
    "plant",
    [
        _drop_a_contribution,
        _combine_twice,
        _tag_without_sequence,
        _tag_without_number,
        _ignore_a_mismatch,
        _deliver_before_agreement,
        _tell_nobody,
        _forget_the_time,
        _blame_the_neighbour,
        _write_what_is_still_sent,
        _read_after_writing,
        _receive_before_agreement,
        _use_a_failed_mesh,
    ],
)
def test_planted_bug_is_found(monkeypatch, plant: Callable[[pytest.MonkeyPatch], None]):
    plant(monkeypatch)
    with pytest.raises(histories.Wrong):
        _until_wrong()


def _until_wrong() -> None:
    for seed in range(1200):
        nemesis.replay(seed)


class TestChecker:
    """The checker itself, on histories that must not be."""

    HISTORY = histories.History(0, 2, [("ring", 3, 0)], ())
    RIGHT = histories._expected("ring", 2, 3, 0, 0)[0]

    def check(self, *events: histories.Event, **changes: Any) -> None:
        histories.check(dataclasses.replace(self.HISTORY, events=list(events), **changes))

    def test_accepts_the_right_one(self):
        self.check(*(histories.Event(r, 0, 0.0, 1.0, self.RIGHT) for r in (0, 1)))

    def test_refuses_a_wrong_sum(self):
        with pytest.raises(histories.Wrong, match=r"rank 1: .* is not"):
            self.check(histories.Event(0, 0, 0.0, 1.0, self.RIGHT), histories.Event(1, 0, 0.0, 1.0, self.RIGHT + 1))

    def test_refuses_a_rank_without_an_outcome(self):
        with pytest.raises(histories.Wrong, match="rank 1 has 0 of 1 calls"):
            self.check(histories.Event(0, 0, 0.0, 1.0, self.RIGHT))

    def test_refuses_an_error_without_a_fault(self):
        error = CollectiveError("no reason", rank=1)
        with pytest.raises(histories.Wrong, match="without a fault"):
            self.check(histories.Event(0, 0, 0.0, 1.0, error=error), histories.Event(1, 0, 0.0, 1.0, self.RIGHT))

    @pytest.mark.parametrize(("blamed", "ended", "said"), [(0, 1.0, "blames 0"), (1, 99.0, "after the limit")])
    def test_refuses_false_blame_and_a_late_error(self, blamed, ended, said):
        error = CollectiveError("it died", rank=blamed)
        with pytest.raises(histories.Wrong, match=said):
            self.check(
                histories.Event(0, 0, 0.0, ended, error=error), faults=(network.Fault("kill", 1),), away={1: 0.0}
            )


def test_payloads_of_all_ranks_and_calls_differ_in_every_sum():
    bits = [int(np.bitwise_and(histories.payload(r, c, 1)[0], (1 << 40) - 1)) for r in range(5) for c in range(3)]
    assert len({sum(b for i, b in enumerate(bits) if mask >> i & 1) for mask in range(1 << 15)}) == 1 << 15
