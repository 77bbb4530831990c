"""Loops are long enough, contestants take turns, slow calls get fewer rounds."""

from __future__ import annotations

import gc

import pytest

from opmux.conformance.performance.timing import Settings, calibrate, sample, turns, without_collection


class Clock:
    """What takes a fixed time per call and a fixed time per loop, and remembers what it was asked."""

    def __init__(self, each: float, loop: float = 0.0) -> None:
        self.each, self.loop = each, loop
        self.asked: list[int] = []

    def __call__(self, repetitions: int) -> float:
        self.asked.append(repetitions)
        return self.loop + self.each * repetitions


@pytest.mark.parametrize(("each", "repetitions"), [(1e-6, 3000), (1e-3, 3), (1.0, 1)])
def test_a_sample_lasts_as_long_as_wanted(each: float, repetitions: int) -> None:
    found, seconds = calibrate(Clock(each), 3e-3, 1_000_000)
    assert (found, seconds) == (pytest.approx(repetitions, abs=1), pytest.approx(each))


def test_what_a_loop_itself_costs_is_not_taken_for_the_call() -> None:
    _, seconds = calibrate(Clock(1e-7, loop=1e-5), 3e-3, 1_000_000)
    assert seconds == pytest.approx(1e-7, rel=0.1)


def test_no_more_repetitions_than_allowed() -> None:
    clock = Clock(1e-9)
    assert calibrate(clock, 1.0, 100)[0] == 100
    assert max(clock.asked) == 100


def test_short_calls_are_warmed_up_and_long_ones_are_not() -> None:
    short, long = Clock(1e-3), Clock(0.1)
    assert sample(short, 8, 1e-3) == pytest.approx(8e-3)
    assert sample(long, 8, 0.1) == pytest.approx(0.8)
    assert (short.asked, long.asked) == ([2, 8], [8])


def test_turns_are_interleaved_and_rotate() -> None:
    taken = list(turns({"a": (3, 7), "b": (2, 1), "c": (3, 1)}))
    assert "".join(t.name for t in taken) == "abc" + "bca" + "ca"
    assert [t.position for t in taken[:3]] == [0, 1, 2]
    assert {t.repetitions for t in taken if t.name == "a"} == {7}


def test_slow_calls_get_fewer_rounds() -> None:
    settings = Settings(rounds=9, budget_seconds=1.0, fewest=3)
    assert settings.rounds_for(1e-6, 1000) == 9
    assert settings.rounds_for(0.25, 1) == 4
    assert settings.rounds_for(0.9, 1) == 3
    assert settings.rounds_for(1.1, 1) == 1


def test_the_collector_is_out_of_the_block_only() -> None:
    assert gc.isenabled()
    with without_collection():
        assert not gc.isenabled()
    assert gc.isenabled()
