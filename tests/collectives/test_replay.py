"""Schedules played through message by message, beside their price and sums made by hand."""

from __future__ import annotations

import pytest

from opmux.core.collectives.communicator import Link
from opmux.core.collectives.layout import Layout, cut
from opmux.core.collectives.links import Pairwise, Switch
from opmux.core.collectives.price import Rates, price
from opmux.core.collectives.replay import replay
from opmux.core.collectives.schedule import Schedule
from opmux.opset.collectives.algorithms import ALGORITHMS, Algorithm

ALPHA, BANDWIDTH = 1e-6, 1e10
SWITCH = Switch(Link(ALPHA, BANDWIDTH))
RATES = Rates(memory=5e10)
MESSAGE = ALPHA + 1e6 / BANDWIDTH


def built(collective: str, name: str, ranks: int) -> Schedule:
    made = next(a for a in ALGORITHMS[collective] if a.name == name).build(ranks)
    assert isinstance(made, Schedule)
    return made


@pytest.mark.parametrize(
    "algorithm", [a for found in ALGORITHMS.values() for a in found], ids=lambda a: a.collective + a.name
)
def test_a_replay_is_never_behind_the_price(algorithm: Algorithm) -> None:
    for n in (2, 3, 8):
        made = algorithm.build(n, groups=(n // 2, 2), pairs=((0, n - 1), (n - 1, 0)))
        if isinstance(made, Schedule):
            layout = Layout((1000,) * n)
            played = replay(made, layout, 4, SWITCH, RATES).seconds
            priced = price(made, layout, 4, SWITCH, RATES).seconds
            assert played <= priced * (1 + 1e-9)
            if all(p.radices for p in made.phases):  # all ranks do the same, so none goes ahead
                assert played == pytest.approx(priced)


@pytest.mark.parametrize("n", [3, 16])
def test_a_ring_takes_the_closed_form(n: int) -> None:
    found = replay(built("all_reduce", "ring", n), Layout(cut(10**6 * n, n)), 1, SWITCH)
    assert found.seconds == pytest.approx(2 * (n - 1) * MESSAGE)
    assert len(found.events) == 2 * n * (n - 1)


def test_a_late_rank_holds_up_its_neighbours_first() -> None:
    found = replay(built("all_gather", "ring", 8), Layout((10**6,) * 8), 1, SWITCH, joins={0: 1.0})
    first = [min(e.begin for e in found.events if e.target == rank) for rank in range(8)]
    assert [rank for rank in range(8) if first[rank] >= 1.0] == [0, 1]
    assert found.seconds == pytest.approx(1.0 + 7 * MESSAGE)


def test_a_slow_link_sets_the_pace_of_a_ring() -> None:
    slow = Pairwise(lambda a, b: Link(ALPHA, BANDWIDTH / 10 if (a, b) == (2, 3) else BANDWIDTH))
    found = replay(built("all_reduce", "ring", 4), Layout((10**6,) * 4), 1, slow)
    assert found.seconds == pytest.approx(6 * (ALPHA + 10 * 1e6 / BANDWIDTH), rel=0.02)


def test_the_early_ranks_of_a_tree_are_done_early() -> None:
    found = replay(built("reduce", "tree", 4), Layout((10**6,)), 1, SWITCH)
    assert found.done == pytest.approx((2 * MESSAGE, MESSAGE, 2 * MESSAGE, MESSAGE))
