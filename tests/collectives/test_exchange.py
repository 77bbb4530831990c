"""Calls that are one exchange of messages: ended at once where all is there, and by the long way where it is not."""

from __future__ import annotations

import gc
import random
import weakref
from functools import partial
from typing import Any

import numpy as np
import pytest

import opmux as ox
from opmux.core.collectives.agreement import FRAME, SIZE, Header
from opmux.core.collectives.control import Control
from opmux.core.collectives.engine import Call, run_rank
from opmux.core.collectives.exchange import Exchange, fits
from opmux.core.collectives.failure import Cause
from opmux.core.collectives.frames import KEPT, Frames, Spare
from opmux.core.collectives.layout import INPUT, OUTPUT, Layout
from opmux.core.collectives.rank_plan import plan_rank
from opmux.core.collectives.schedule import Schedule, Step, Transfer
from opmux.core.collectives.watch import Running
from tests.collectives.histories import made
from tests.collectives.loop import Loop, job
from tests.collectives.network import Network, SimulatedEndpoint

#: Elements that ride with the header, whole or in parts, and that go apart.
LENGTHS = (1, 128, 129, 512, 3000)


class Pair:
    """Two ranks that sum arrays of so many elements, or not quite the same."""

    def __init__(self, length: int, lengths: tuple[int, int] | None = None) -> None:
        self.network = Network(2, random.Random(0))
        self.slots: list[list[Any]] = []
        self.ranks = []
        for rank, n in enumerate(lengths or (length, length)):
            call = made("by doubling", 2, n)
            plan = plan_rank(call.schedule, call.layout, rank)
            end = SimulatedEndpoint(self.network, rank)
            header = Header(7, 0, "all_reduce", "sum", dtype="int64", shapes=((n,),))
            one = Exchange(end, Control(end), Frames(end), plan, header, np.dtype(np.int64), np.add)
            self.ranks.append(one)
            self.slots.append([np.full(n, 10**rank), *(np.zeros(size, np.int64) for size in plan.sizes[1:])])

    def run(self, rank: int, sequence: int = 1) -> Running | None:
        return self.ranks[rank].run(sequence, self.slots[rank][:2], None, None, 5.0)

    def deliver(self) -> None:
        self.network.clock += 1.0
        self.network.deliver()

    def end(self, part: Running) -> None:
        for _ in part:
            self.deliver()


@pytest.mark.parametrize("length", [1, (FRAME - SIZE) // 8, (FRAME - SIZE) // 8 + 1], ids=["rides", "fills", "apart"])
def test_a_rank_that_comes_last_ends_at_once_where_data_ride(length: int) -> None:
    pair = Pair(length)
    for sequence in (1, 2):  # what was kept from the first call serves the second
        rest = pair.run(0, sequence)
        assert rest is not None
        pair.deliver()
        last = pair.run(1, sequence)
        assert (last is None) == (length * 8 <= FRAME - SIZE)  # data go apart once headers have told of their length
        pair.deliver()
        parts = [part for part in (rest, last) if part is not None]
        while parts:
            parts = [part for part in parts if next(part, None) is not None]
            pair.deliver()
        for slots in pair.slots:
            np.testing.assert_array_equal(slots[1], np.full(length, 11))
            slots[1][:] = 0


def test_what_rides_is_no_message_of_its_own() -> None:
    pair = Pair(2)
    before = list(pair.network._count)
    rest = pair.run(0)
    assert rest is not None
    assert pair.network._count[0] - before[0] == 1


def test_calls_that_differ_fail_on_both_ranks() -> None:
    pair = Pair(0, (3, 4))
    parts = [rest for rest in (pair.run(0), pair.run(1)) if rest is not None]
    assert len(parts) == 2
    said = []
    for part in parts:
        with pytest.raises(ox.CollectiveError, match=r"rank 1 called all_reduce\(int64\[4\]") as caught:
            pair.end(part)
        said.append(caught.value)
    assert [e.rank for e in said] == [1, 1]
    with pytest.raises(ox.CollectiveError, match="cannot be used"):
        pair.run(0, 2)


def test_an_interrupt_tells_the_other_rank(monkeypatch: pytest.MonkeyPatch) -> None:
    pair = Pair(1)
    pair.run(0)
    pair.deliver()

    def interrupted(*_: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(pair.ranks[1], "combine", interrupted)
    with pytest.raises(KeyboardInterrupt):
        pair.run(1)
    pair.deliver()
    with pytest.raises(ox.CollectiveError, match="aborted"):
        pair.ranks[0].control.check()


def test_a_step_that_reads_what_it_overwrites_is_left_to_the_generator() -> None:
    moved = Step((Transfer(0, 1, 0), Transfer(1, 1, 0, 1, OUTPUT, OUTPUT + 1)))
    schedule = Schedule("permute", "shift", 2, 1, 3, (moved,))
    assert [fits(plan_rank(schedule, Layout((6,)), rank), 8) for rank in (0, 1)] == [True, False]


@pytest.mark.parametrize("pin", ["ring", "rabenseifner", "direct", "one-shot", "tree"])
@pytest.mark.parametrize("spins", [0, 3, 4000])
def test_a_call_that_stops_at_any_step_goes_on_from_there(
    hosts: tuple[ox.Device, ...], pin: str, spins: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("opmux.core.collectives.exchange._SPINS", spins)
    monkeypatch.setattr("opmux.opset.collectives.processes._PIECE", 4096)

    def program(loop: Loop) -> Any:
        mesh = ox.Mesh([hosts[loop.process]], communicator=loop, timeout=20.0)
        with ox.policy(pins={"all_reduce": pin}):
            calls = [(n, ox.full(n, n << loop.process, dtype="int64", device=mesh.local_devices[0])) for n in LENGTHS]
            return [set(ox.all_reduce(x, mesh).tolist()) == {n * 15} for n, x in calls * 3]

    assert job(4, program) == [[True] * len(LENGTHS) * 3] * 4


@pytest.mark.parametrize("pin", ["ring", "halving", "direct"])
def test_pieces_of_a_scattered_reduction_meet_what_they_belong_to(
    hosts: tuple[ox.Device, ...], pin: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("opmux.opset.collectives.processes._PIECE", 256)
    terms = [np.arange(999) * 10**r for r in range(4)]

    def program(loop: Loop) -> Any:
        mesh = ox.Mesh([hosts[loop.process]], communicator=loop, timeout=20.0)
        with ox.policy(pins={"reduce_scatter": pin}):
            return ox.reduce_scatter(ox.asarray(terms[loop.process], device=mesh.local_devices[0]), mesh).numpy()

    np.testing.assert_array_equal(np.concatenate(job(4, program)), np.arange(999) * 1111)


@pytest.mark.parametrize(("base", "slot"), [(None, INPUT), (OUTPUT, OUTPUT)], ids=["copied", "combined"])
def test_data_that_were_copied_first_ride_from_where_they_come(base: int | None, slot: int) -> None:
    before = Step(tuple(Transfer(r, r, r, 1, INPUT, OUTPUT, base) for r in (0, 1)))
    swap = Step(tuple(Transfer(r, 1 - r, r, 1, OUTPUT, OUTPUT) for r in (0, 1)))
    schedule = Schedule("all_gather", "swap", 2, 2, 2, (before, swap))
    for rank in (0, 1):
        step = plan_rank(schedule, Layout((3, 3)), rank).opening
        assert [(m.data.slot, m.first) for m in step.sends] == [(slot, base is None)]
        assert [m.first for m in step.receives] == [base is None]


def test_much_memory_is_not_kept_between_calls() -> None:
    found = [made("by doubling", 2, n) for n in (KEPT // 16, KEPT // 16 + 1)]  # a message and scratch, 8 bytes each
    assert [fits(plan_rank(c.schedule, c.layout, 0), 8) for c in found] == [True, False]


def test_what_is_dropped_while_messages_are_under_way_is_aborted() -> None:
    pair = Pair(4)
    rest = pair.run(0)
    assert rest is not None
    rest.close()  # what an interrupt does to it before anybody has asked for more
    failure = pair.ranks[0].control.failure
    assert failure is not None
    assert failure.cause is Cause.ABORTED
    with pytest.raises(ox.CollectiveError, match="cannot be used"):
        pair.run(0, 2)


def test_collectives_of_the_library_start_in_the_order_of_the_calls() -> None:
    network, started = Network(2, random.Random(0)), list[int]()
    plan = plan_rank(Schedule("barrier", "native", 2, 1, 2, ()), Layout((0,)), 0)
    slots: list[Any] = [np.zeros(0, np.uint8)] * 2

    def start(sequence: int) -> Any:
        started.append(sequence)
        return network.post(0, 0, 9, slots[0])

    def rank(number: int) -> list[Running]:
        end = SimulatedEndpoint(network, number)
        control = Control(end)
        headers = [Header(7, sequence, "barrier") for sequence in (1, 2)]
        said = slots, None, control, 5.0
        return [run_rank(Call(end, plan, h, *said, native=partial(start, h.sequence))) for h in headers]

    parts = [rank(0), rank(1)]
    for part in (*parts[0], *parts[1]):
        next(part)
    network.clock += 1.0
    network.deliver()
    first, second = parts[0]
    next(second, None)  # its headers are there, and those of the first call, which has not looked since
    next(first, None)
    next(second, None)
    assert started == [1, 2]


def test_memory_beside_arrays_does_not_grow_with_the_number_of_shapes() -> None:
    network = Network(2, random.Random(0))
    end = SimulatedEndpoint(network, 0)
    control, frames, kept = Control(end), Frames(end), []
    for length in range(4000, 5000, 100):
        call = made("by one-shot", 2, length)
        plan = plan_rank(call.schedule, call.layout, 0)
        kept.append(Exchange(end, control, frames, plan, Header(7, 0, "all_reduce"), np.dtype(np.int64), np.add))
    bases = [room if room.base is None else room.base for one in kept for room in (one.room, *one.scratch)]
    assert sum({id(base): base.nbytes for base in bases}.values()) < 4 * sum(x.nbytes for x in kept[-1].scratch)
    assert not np.shares_memory(kept[0].scratch[0], kept[0].room)


def test_calls_of_two_shapes_by_turns_get_what_is_theirs(hosts: tuple[ox.Device, ...]) -> None:
    def program(loop: Loop) -> Any:
        mesh = ox.Mesh([hosts[loop.process]], communicator=loop, timeout=20.0)
        with ox.policy(pins={"all_reduce": "rabenseifner"}):
            xs = [ox.full(n, n + loop.process, device=mesh.local_devices[0]) for n in (700, 3000, 900)]
            return [set(ox.all_reduce(x, mesh).tolist()) for x in xs * 2]

    assert job(3, program) == [[{3.0 * n + 3} for n in (700, 3000, 900)] * 2] * 3


def test_what_is_spare_is_bounded_and_given_to_one_at_a_time() -> None:
    spare = Spare()
    first = spare.take(8)
    spare.keep(first)
    assert spare.take(8) is first
    assert spare.take(8) is not first
    for n in range(20):
        spare.keep(np.empty(KEPT // 8 + n, np.uint8))
    assert sum(room.nbytes for rooms in spare._rooms.values() for room in rooms) <= KEPT


@pytest.mark.parametrize("is_first", [True, False], ids=["at once", "by the long way"])
def test_memory_of_a_message_that_an_interrupt_hides_is_kept(is_first: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    pair = Pair(300)
    one = pair.ranks[1]
    receive, posted = one.endpoint.receive, []

    def interrupted(source: int, tag: int, into: Any) -> Any:
        receive(source, tag, into)
        if tag & 0xFFFF:
            posted.append(weakref.ref(into if into.base is None else into.base))
            raise KeyboardInterrupt
        return receive

    rest = pair.run(1) if not is_first else None
    pair.run(0)
    pair.deliver()
    monkeypatch.setattr(one.endpoint, "receive", interrupted)
    if is_first:
        monkeypatch.setattr(one.frames.messages, "have_come", lambda polls: True)
        monkeypatch.setattr("opmux.core.collectives.exchange._all_say", lambda frames, said: True)
        monkeypatch.setattr(one.frames.messages, "start", lambda at: None)
    posted.append(weakref.ref(pair.slots[1][1]))
    with pytest.raises(KeyboardInterrupt):
        pair.run(1) if rest is None else pair.end(rest)
    rest = pair.slots[1] = pair.ranks[1] = one = None  # type: ignore[assignment, call-overload]
    pair.network._wanted.clear()
    gc.collect()
    assert [memory() is not None for memory in posted] == [True, True]
