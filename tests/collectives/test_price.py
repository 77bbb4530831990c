"""Predicted times: equal to the closed forms of the literature, and the same in closed form as message by message."""

from __future__ import annotations

import math
import time
from dataclasses import replace
from typing import Any

import pytest

import opmux as ox
from opmux.core.collectives.communicator import Link
from opmux.core.collectives.layout import Layout, cut
from opmux.core.collectives.links import Links, Pairwise, Ring, Switch, TwoLevel
from opmux.core.collectives.price import Rates, price
from opmux.core.collectives.schedule import Schedule, Step, Transfer
from opmux.opset.collectives.algorithms import ALGORITHMS, Algorithm, Request
from tests.collectives.loop import Loop, LoopEndpoint, job

ALPHA, BANDWIDTH = 936.25e-9, 400e9  # a published switch of eight GPUs
LINK = Link(ALPHA, BANDWIDTH)
SWITCH = Switch(LINK)
SLOW = Link(5e-6, 25e9)
TOPOLOGIES = {
    "switch": lambda n: SWITCH,
    "two-level": lambda n: TwoLevel(4, LINK, SLOW),
    "shared-uplink": lambda n: TwoLevel(4, LINK, SLOW, uplinks=1.0),
    "ring": lambda n: Ring(n, LINK),
    "pairs": lambda n: Pairwise(lambda a, b: Link((a + b) * 1e-6, 1e9 * (1 + abs(a - b)))),
}


def built(collective: str, name: str, ranks: int, **what: object) -> Schedule:
    algorithm = next(a for a in ALGORITHMS[collective] if a.name == name)
    made = algorithm.build(ranks, **what)  # type: ignore[arg-type]
    assert isinstance(made, Schedule)
    return made


def seconds(schedule: Schedule, nbytes: int, links: Links = SWITCH) -> float:
    return price(schedule, Layout(cut(nbytes, schedule.chunks)), 1, links).seconds


def ring(n: int, s: int) -> float:
    return (n - 1) * ALPHA + (n - 1) / n * s / BANDWIDTH


def halves(n: int, s: int) -> float:
    return math.log2(n) * ALPHA + (n - 1) / n * s / BANDWIDTH


def tree(n: int, s: int) -> float:
    return math.ceil(math.log2(n)) * (ALPHA + s / BANDWIDTH)


CLOSED = {
    ("all_reduce", "ring"): lambda n, s: 2 * ring(n, s),
    ("all_reduce", "doubling"): tree,
    ("all_reduce", "rabenseifner"): lambda n, s: 2 * halves(n, s),
    ("all_reduce", "tree"): lambda n, s: 2 * tree(n, s),
    ("all_reduce", "direct"): lambda n, s: 2 * ring(n, s),
    ("reduce_scatter", "ring"): ring,
    ("reduce_scatter", "halving"): halves,
    ("reduce_scatter", "direct"): ring,
    ("reduce", "tree"): tree,
    ("all_gather", "ring"): ring,
    ("all_gather", "doubling"): halves,
    ("all_gather", "direct"): ring,
    ("all_to_all", "rotation"): ring,
    ("all_to_all", "direct"): ring,
    ("broadcast", "tree"): tree,
    ("broadcast", "scatter"): lambda n, s: ring(n, s) + halves(n, s),
    ("broadcast", "flat"): lambda n, s: (n - 1) * (ALPHA + s / BANDWIDTH),
}
ANY_NUMBER = [key for key in CLOSED if key[1] not in ("doubling", "rabenseifner", "halving", "scatter")]


@pytest.mark.parametrize("n", [2, 4, 8, 64, 256])
@pytest.mark.parametrize("key", CLOSED, ids="-".join)
def test_sizes_that_divide_cost_the_closed_form(key: tuple[str, str], n: int) -> None:
    for nbytes in (n, 1024 * n, 10**6 * n):
        assert seconds(built(*key, n), nbytes) == pytest.approx(CLOSED[key](n, nbytes), rel=1e-12)


@pytest.mark.parametrize("key", ANY_NUMBER, ids="-".join)
def test_numbers_of_ranks_that_are_no_power_of_two_cost_it_too(key: tuple[str, str]) -> None:
    for n in (3, 7, 12):
        assert seconds(built(*key, n), 1000 * n) == pytest.approx(CLOSED[key](n, 1000 * n), rel=1e-12)


@pytest.mark.parametrize("n", [2, 3, 7, 8, 31, 100])
def test_other_sizes_are_within_a_hundredth(n: int) -> None:
    for nbytes in (10**4 + 1, 10**6 + 7, 10**8 + 3):
        for key in CLOSED if n & (n - 1) == 0 else ANY_NUMBER:
            assert seconds(built(*key, n), nbytes) == pytest.approx(CLOSED[key](n, nbytes), rel=0.01)


@pytest.mark.parametrize("n", [4, 8, 256])
def test_doubling_and_rabenseifner_cross_where_the_formula_says(n: int) -> None:
    lg = math.log2(n)
    crossing = ALPHA * BANDWIDTH * lg / (lg - 2 * (n - 1) / n)
    for share, first, second in ((0.9, "doubling", "rabenseifner"), (1.1, "rabenseifner", "doubling")):
        nbytes = round(crossing * share / n) * n
        assert seconds(built("all_reduce", first, n), nbytes) < seconds(built("all_reduce", second, n), nbytes)


def _explicit(schedule: Schedule) -> Schedule:
    return replace(schedule, phases=tuple(Step(tuple(step.all())) for step in schedule.steps))


@pytest.mark.parametrize("topology", TOPOLOGIES)
@pytest.mark.parametrize(
    "algorithm", [a for found in ALGORITHMS.values() for a in found], ids=lambda a: f"{a.collective}-{a.name}"
)
def test_the_closed_form_is_what_the_messages_add_up_to(algorithm: Algorithm, topology: str) -> None:
    rates = Rates(memory=50e9, start=1e-7)
    for n, groups in ((4, (2, 2)), (6, (2, 3)), (8, (2, 4)), (12, (3, 4)), (16, (4, 4))):
        made = algorithm.build(n, groups=groups, pairs=((0, n - 1), (1, 0)))
        if isinstance(made, Schedule):
            links = TOPOLOGIES[topology](n)
            layout = Layout((1000 * 48 // n,) * n)
            symmetric = price(made, layout, 4, links, rates)
            explicit = price(_explicit(made), layout, 4, links, rates)
            assert symmetric.seconds == pytest.approx(explicit.seconds, rel=1e-9)
            assert sum(symmetric.terms.values()) == pytest.approx(symmetric.seconds)


def test_a_ring_over_two_levels_waits_for_the_slow_link() -> None:
    nbytes = 16 * 10**6
    found = seconds(built("all_reduce", "ring", 16), nbytes, TwoLevel(4, LINK, SLOW))
    assert found == pytest.approx(30 * (SLOW.latency + nbytes / 16 / SLOW.bandwidth))


def test_two_levels_send_a_share_over_the_slow_links() -> None:
    nbytes = 2**26
    found = seconds(built("all_reduce", "hierarchical", 64, groups=(8, 8)), nbytes, TwoLevel(8, LINK, SLOW))
    inside = 2 * 7 * (ALPHA + nbytes / 8 / BANDWIDTH)
    across = 2 * 3 * SLOW.latency + 2 * 7 / 8 * nbytes / 8 / SLOW.bandwidth
    assert found == pytest.approx(inside + across)


def test_messages_of_a_group_share_its_uplink() -> None:
    step = Step(tuple(Transfer(r, 4 + r, 0) for r in range(4)))
    schedule = Schedule("permute", "direct", 8, 1, 2, (step,))
    alone = price(schedule, Layout((10**6,)), 1, TwoLevel(4, LINK, SLOW))
    shared = price(schedule, Layout((10**6,)), 1, TwoLevel(4, LINK, SLOW, uplinks=1.0))
    assert alone.seconds == pytest.approx(SLOW.latency + 1e6 / SLOW.bandwidth)
    assert shared.seconds == pytest.approx(SLOW.latency + 4e6 / SLOW.bandwidth)
    assert shared.terms["contention"] == pytest.approx(3e6 / SLOW.bandwidth)


def test_hops_of_a_ring_are_shared() -> None:
    schedule = Schedule("permute", "direct", 8, 1, 2, (Step((Transfer(0, 3, 0),), (8,), (0,)),))
    found = price(schedule, Layout((10**6,)), 1, Ring(8, LINK))
    assert found.seconds == pytest.approx(3 * ALPHA + 3e6 / BANDWIDTH)


@pytest.mark.parametrize("pairs", [((7, 1), (0, 2)), ((1, 7), (2, 0))])
def test_hops_across_the_end_of_a_ring_are_shared_too(pairs: tuple[tuple[int, int], ...]) -> None:
    schedule = Schedule("permute", "direct", 8, 1, 2, (Step(tuple(Transfer(a, b, 0) for a, b in pairs)),))
    found = price(schedule, Layout((10**6,)), 1, Ring(8, LINK))
    assert found.seconds == pytest.approx(2 * ALPHA + 2e6 / BANDWIDTH)


def test_a_rank_sends_one_message_at_a_time() -> None:
    flat = built("broadcast", "flat", 9)
    assert seconds(flat, 10**6) == pytest.approx(8 * (ALPHA + 1e6 / BANDWIDTH))


def test_combinations_cost_three_passes_over_memory() -> None:
    ring, nbytes = built("all_reduce", "ring", 8), 8 * 10**6
    found = price(ring, Layout(cut(nbytes, 8)), 1, SWITCH, Rates(memory=10e9))
    assert found.terms["local"] == pytest.approx(7 * 3 * 1e6 / 10e9)


def test_uneven_parts_are_priced_by_the_longest_of_each_step() -> None:
    lengths = (10**6, 0, 0, 0)
    layout = Layout(lengths)
    ring = price(built("all_gather", "ring", 4), layout, 1, SWITCH).seconds
    assert ring == pytest.approx(3 * (ALPHA + 1e6 / BANDWIDTH))
    direct = price(built("all_gather", "direct", 4), layout, 1, SWITCH).seconds
    assert direct == pytest.approx(3 * (ALPHA + 1e6 / BANDWIDTH))
    pairs = ((0, 5 * 10**6), (0, 0))
    exchange = price(built("all_to_all", "direct", 2), Layout((0, 0), pairs=pairs), 1, SWITCH).seconds
    assert exchange == pytest.approx(ALPHA + 5e6 / BANDWIDTH)


@pytest.mark.parametrize(
    "links", [SWITCH, TwoLevel(8, LINK, SLOW, uplinks=1.0), Ring(4096, LINK)], ids=lambda x: type(x).__name__
)
def test_a_ring_of_4096_is_built_and_priced_at_once(links: Links) -> None:
    algorithm = ALGORITHMS["all_reduce"][0]
    began = time.thread_time()  # a busy machine takes none of it
    made = algorithm.make(Request(4096))  # not build(), which remembers
    assert isinstance(made, Schedule)
    found = price(made, Layout(cut(2**30, 4096)), 1, links)
    assert time.thread_time() - began < 0.05
    slowest = SLOW if isinstance(links, TwoLevel) else LINK
    assert found.seconds == pytest.approx(2 * 4095 * (slowest.latency + 2**18 / slowest.bandwidth))


def test_messages_that_ride_cost_no_more_than_their_copies() -> None:
    rates, layout = Rates(memory=1e9), Layout((1000,))
    one = price(built("all_reduce", "one-shot", 4), layout, 1, SWITCH, rates, riding=1000)
    assert (one.terms["latency"], one.terms["transfer"]) == (0.0, 0.0)
    assert one.terms["local"] == pytest.approx((4 * 2 + 3 * 3) * 1e-6)  # every contribution copied, then three combined
    more = price(built("all_reduce", "doubling", 4), layout, 1, SWITCH, rates, riding=1000)
    assert more.terms["latency"] == pytest.approx(ALPHA)  # the second exchange of two
    none = price(built("all_reduce", "one-shot", 4), layout, 1, SWITCH, rates, riding=999)
    assert none.terms["latency"] == pytest.approx(3 * ALPHA)


def test_of_a_step_made_several_times_only_the_first_rides() -> None:
    found = price(built("all_gather", "ring", 8), Layout((10,) * 8), 1, SWITCH, riding=10)
    assert found.terms["latency"] == pytest.approx(6 * ALPHA)


@pytest.mark.parametrize(("ranks", "length", "chosen"), [
    (2, 1, "doubling"), (4, 1, "one-shot"), (2, 1 << 18, "rabenseifner"), (4, 1 << 14, "loop/all_reduce"),
])  # fmt: skip
def test_a_librarys_own_collective_is_chosen_where_steps_from_python_take_longer(
    hosts: tuple[ox.Device, ...], monkeypatch: pytest.MonkeyPatch, ranks: int, length: int, chosen: str
) -> None:
    monkeypatch.setattr(LoopEndpoint, "native", lambda self, *what: lambda *call: None)
    alpha = 3e-6 if ranks == 2 else 19e-6  # as measured, see the constants of pricing
    monkeypatch.setattr(Loop, "link", lambda self, a, b: Link(alpha, 6e9, "measured"))

    def program(loop: Loop) -> Any:
        device = hosts[loop.process]
        mesh = ox.Mesh([device], communicator=loop, timeout=20.0)
        return ox.explain(ox.all_reduce, [ox.ones(length, device=device)], mesh).chosen

    assert job(ranks, program) == [chosen] * ranks
