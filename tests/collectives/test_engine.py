"""A rank's part of a collective: results, staging, and how it ends where no nemesis is needed to see it."""

from __future__ import annotations

import random
from typing import Any

import ml_dtypes
import numpy as np
import pytest

from opmux.core.collectives import engine
from opmux.core.collectives.agreement import Header
from opmux.core.collectives.control import Control
from opmux.core.collectives.engine import Call, run_rank
from opmux.core.collectives.layout import Layout
from opmux.core.collectives.rank_plan import Region, plan_rank
from opmux.core.collectives.schedule import INPUT, OUTPUT, Schedule, Step, Transfer
from opmux.core.collectives.watch import Running
from opmux.core.errors import CollectiveError
from opmux.opset.collectives.algorithms import ALGORITHMS
from tests.collectives import by_hand
from tests.collectives.by_hand import drive
from tests.collectives.network import Network, SimulatedEndpoint


class World:
    """All ranks of a mesh in this thread."""

    def __init__(self, ranks: int, synchronous: bool = False) -> None:
        self.network = Network(ranks, random.Random(1), synchronous=synchronous)
        self.ends = [SimulatedEndpoint(self.network, r) for r in range(ranks)]
        self.controls = [Control(e) for e in self.ends]
        self.calls = 0

    def begin(self, schedule: Schedule, layout: Layout, brought: list[Any], combine: Any = np.add) -> list[Any]:
        self.calls += 1
        header = Header(1, self.calls, schedule.collective)
        parts, self.slots = [], []
        for rank, (end, control) in enumerate(zip(self.ends, self.controls, strict=True)):
            plan = plan_rank(schedule, layout, rank)
            x = brought[rank]
            self.slots.append([x, *(np.zeros(n, x.dtype) for n in plan.sizes[1:])])
            parts.append(run_rank(Call(end, plan, header, self.slots[rank], combine, control, 5.0)))
        return parts

    def call(self, schedule: Schedule, layout: Layout, brought: list[Any], combine: Any = np.add) -> list[Any]:
        drive(self.begin(schedule, layout, brought, combine), self.progress)
        return [slots[OUTPUT] for slots in self.slots]

    def progress(self) -> None:
        self.network.clock += 0.01
        self.network.deliver()


@pytest.mark.parametrize("kind", ["ring", "doubling", "gather", "broadcast", "exchange", "barrier"])
@pytest.mark.parametrize("synchronous", [False, True])
@pytest.mark.parametrize(("ranks", "length"), [(1, 5), (2, 0), (2, 9), (4, 1), (4, 1000)])
def test_every_rank_gets_what_is_right(kind, synchronous, ranks, length):
    collective = getattr(by_hand, kind)(ranks, length)
    brought = [np.arange(collective.layout.size(r, 0)) + 100 * r for r in range(ranks)]
    made = World(ranks, synchronous).call(collective.schedule, collective.layout, brought)
    for got, wanted in zip(made, collective.expected(brought), strict=True):
        np.testing.assert_array_equal(got, wanted)


@pytest.mark.parametrize("name", [a.name for a in ALGORITHMS["all_reduce"]])
@pytest.mark.parametrize("ranks", [2, 3, 4, 6, 7, 8])
def test_every_algorithm_runs_in_place(name, ranks):
    collective = by_hand.algorithm(name, ranks, 21)
    brought = [np.arange(21) + 100 * r for r in range(ranks)]
    for got in World(ranks, synchronous=True).call(collective.schedule, collective.layout, brought):
        np.testing.assert_array_equal(got, np.sum(brought, axis=0))


@pytest.mark.parametrize("dtype", [np.bool_, np.int8, np.float16, ml_dtypes.bfloat16, np.float64, np.complex128])
def test_dtypes_are_only_bytes_to_it(dtype):
    gather = by_hand.gather(3, 2)
    brought = [np.ones(gather.layout.size(r, 0)).astype(dtype) for r in range(3)]
    for got in World(3).call(gather.schedule, gather.layout, brought):
        np.testing.assert_array_equal(got, np.concatenate(brought))


def test_base_comes_first_when_combining():
    step = Step((Transfer(0, 1, 0, base=INPUT),))
    seen = []
    World(2).call(
        Schedule("reduce", "direct", 2, 1, 2, (step,)),
        Layout((2,)),
        [np.array([1, 2]), np.array([30, 40])],
        lambda base, arrived, into: seen.append((base.tolist(), arrived.tolist())),
    )
    assert seen == [([30, 40], [1, 2])]


@pytest.mark.parametrize("synchronous", [False, True])
def test_step_reads_what_was_there_before_it(synchronous):
    """Three ranks pass a slot around in place, and each has local work that reads what is being overwritten."""
    fill = Step(tuple(Transfer(r, r, 0) for r in range(3)))
    around = Step(
        (
            *(Transfer(r, (r + 1) % 3, 0, slot=OUTPUT) for r in range(3)),
            *(Transfer(r, r, 0, slot=OUTPUT, into=2) for r in range(3)),
        )
    )
    world = World(3, synchronous)
    schedule = Schedule("permute", "around", 3, 1, 3, (fill, around))
    made = world.call(schedule, Layout((4,)), [np.full(4, r) for r in range(3)])
    assert [m[0] for m in made] == [2, 0, 1]
    assert [slots[2][0] for slots in world.slots] == [0, 1, 2]


def test_two_writes_of_one_place_in_one_step_are_refused():
    step = Step((Transfer(0, 1, 0), Transfer(1, 1, 0)))
    with pytest.raises(ValueError, match="two transfers of one step write elements 0 to 2 of slot 1 of rank 1"):
        plan_rank(Schedule("x", "wrong", 2, 1, 2, (step,)), Layout((3,)), 1)


def test_regions_overlap_only_within_a_slot():
    assert Region(0, 0, 4).overlaps(Region(0, 3, 1))
    assert not Region(0, 0, 4).overlaps(Region(1, 0, 4))
    assert not Region(0, 0, 4).overlaps(Region(0, 4, 1))
    assert not Region(0, 2, 0).overlaps(Region(0, 0, 4))


def test_message_is_received_in_place_where_nothing_else_reads_there():
    ring = by_hand.ring(3, 9)
    steps = plan_rank(ring.schedule, ring.layout, 0).steps
    assert [s.receives[0].beside for s in steps] == [True, True, False, False]


def test_calls_may_overlap():
    ring = by_hand.ring(3, 9)
    world = World(3)
    brought = [np.arange(9) * 10**r for r in range(3)]
    first = world.begin(ring.schedule, ring.layout, brought)
    one = [s[OUTPUT] for s in world.slots]
    second = world.begin(ring.schedule, ring.layout, [x * 7 for x in brought])
    two = [s[OUTPUT] for s in world.slots]
    drive([*second, *first], world.progress)
    for a, b in zip(one, two, strict=True):
        np.testing.assert_array_equal(a, np.arange(9) * 111)
        np.testing.assert_array_equal(b, np.arange(9) * 777)


def test_tags_of_calls_and_messages_differ():
    tags = {engine.tag(s, n) for s in (1, 2, 3) for n in range(1 << 16)}
    assert len(tags) == 3 << 16
    assert 0 not in tags
    assert engine.tag(1, 70_000) >> engine.NUMBER_BITS == 1


def test_failing_combination_aborts_the_call_on_all_ranks():
    def burst(base: Any, arrived: Any, into: Any) -> None:
        if base[0] == 3:
            raise MemoryError("no room")

    swap = by_hand.doubling(2, 4)
    world = World(2)
    parts = world.begin(swap.schedule, swap.layout, [np.full(4, 2), np.full(4, 3)], burst)
    with pytest.raises(MemoryError):
        drive(parts, world.progress)
    world.network.clock += 1.0
    world.progress()
    with pytest.raises(CollectiveError, match="aborted by rank 1"):
        world.controls[0].check()
    assert world.controls[1].failure.cause == "aborted"


def test_interrupt_of_one_process_tells_the_others():
    ring = by_hand.ring(2, 4)
    world = World(2)
    parts = world.begin(ring.schedule, ring.layout, [np.ones(4, int)] * 2)

    def interrupted() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        drive([parts[0]], interrupted)
    for _ in range(20):
        world.progress()
    with pytest.raises(CollectiveError) as raised:
        drive([parts[1]], world.progress)
    assert (raised.value.rank, raised.value.cause) == (0, "aborted by rank 0")


def test_nothing_is_left_posted_after_a_failure():
    ring = by_hand.ring(3, 9)
    world = World(3)
    parts = world.begin(ring.schedule, ring.layout, [np.ones(9, int)] * 3)
    with pytest.raises(CollectiveError, match="rank 2 did not take part") as raised:
        drive(parts[:2], world.progress)
    assert raised.value.rank == 2
    wanted = {key[2] for key, tickets in world.network._wanted.items() if tickets}
    assert wanted == {0}  # of control messages only


def test_drive_runs_every_part_to_its_end_before_it_raises():
    ended = []

    def part(name: str, error: bool) -> Running:
        yield True
        if error:
            raise CollectiveError(name)
        yield False
        ended.append(name)

    with pytest.raises(CollectiveError, match="b"):
        drive([part("a", False), part("b", True), part("c", False)])
    assert ended == ["a", "c"]


def test_waiting_process_sleeps_only_after_many_rounds(monkeypatch):
    naps: list[float] = []
    monkeypatch.setattr(engine.time, "sleep", naps.append)
    for idle in (0, engine._SPINS, engine._TURNS - 1, engine._TURNS, 10**6):
        engine.rest(idle)
    assert naps[-2:] == [engine._NAPS[0], engine._NAPS[1]]


def test_long_messages_that_are_combined_go_in_pieces_one_after_the_other() -> None:
    ring = next(a for a in ALGORITHMS["all_reduce"] if a.name == "ring").build(2)
    assert isinstance(ring, Schedule)
    steps = plan_rank(ring, Layout((5, 5)), 0, most=2).steps
    assert [[s.data.length for s in step.sends] for step in steps] == [[2], [2], [1], [5]]  # what is copied goes whole
    assert [r.into.first for step in steps for r in step.receives] == [0, 2, 4, 5]
    assert [s.number for step in steps for s in step.sends] == [1, 2, 3, 4]


def test_pieces_of_what_the_step_itself_overwrites_go_at_once() -> None:
    swap = Step(tuple(Transfer(r, 1 - r, 0, 1, OUTPUT, OUTPUT, INPUT) for r in (0, 1)))
    (step,) = plan_rank(Schedule("all_reduce", "swap", 2, 1, 2, (swap,)), Layout((5,)), 0, most=2).steps
    assert [len(step.sends), len(step.receives)] == [3, 3]
