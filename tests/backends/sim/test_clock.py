"""Virtual time: engines, queues, events, the host, links."""

from __future__ import annotations

import pytest

import opmux.backends.sim.queues as queue_limits
from opmux.backends.sim.clock import Engine
from opmux.backends.sim.description import loads, preset
from opmux.backends.sim.errors import LinkError
from opmux.backends.sim.links import Fabric
from opmux.plugin import ArgumentError
from tests.backends.sim.small import NANOSECOND, SMALL, bytes_on, driver, put, queues, read, simulated


def times(task):
    return task.start // NANOSECOND, task.end // NANOSECOND


def test_an_engine_fills_gaps_where_work_fits_whole():
    engine = Engine("vector")
    assert engine.book(0, 10) == (0, 10)
    assert engine.book(30, 10) == (30, 40)
    assert engine.book(0, 21) == (40, 61)
    assert engine.book(5, 20) == (10, 30)
    assert engine.book(0, 1) == (61, 62)
    assert engine.busy == 62


def test_adjoining_intervals_become_one():
    engine = Engine("vector")
    for start in (0, 20, 10):
        engine.book(start, 10)
    assert engine.intervals == 1
    engine.forget(29)
    assert engine.earliest(0, 5) == 30


def test_work_of_a_queue_is_in_order():
    device = driver()
    (queue,) = queues(device, 1)
    assert times(put(device, queue, 10)) == (0, 10)
    assert times(put(device, queue, 5, engine="matrix")) == (10, 15)


def test_works_of_different_queues_overlap_on_different_engines_alone():
    device = driver()
    first, second, third = queues(device, 3)
    assert times(put(device, first, 10)) == (0, 10)
    assert times(put(device, second, 7, engine="matrix")) == (0, 7)
    assert times(put(device, third, 4)) == (10, 14)


def test_a_queue_waits_for_an_event_and_not_for_what_came_after_it():
    device = driver()
    first, second = queues(device, 2)
    put(device, first, 10)
    event = device.record(first)
    put(device, first, 90)
    device.wait(second, event)
    assert times(put(device, second, 5, engine="matrix")) == (10, 15)


def test_what_the_host_has_waited_for_is_before_what_it_submits_later():
    device = driver()
    first, second = queues(device, 2)
    put(device, first, 100)
    assert times(put(device, second, 1, engine="matrix")) == (0, 1)
    device.synchronize(first)
    assert times(put(device, second, 1, engine="matrix")) == (100, 101)


def test_a_completion_is_done_when_the_host_has_come_that_far():
    device = driver()
    first, second = queues(device, 2)
    late, later = put(device, first, 10), put(device, second, 20, engine="matrix")
    assert not late.done()
    assert later.error() is None
    assert late.done()


def test_who_asks_again_and_again_is_told_in_the_end():
    device = driver()
    task = put(device, queues(device, 1)[0], 10)
    asked = 0
    while not task.done():
        asked += 1
    assert asked == queue_limits.POLLS - 1


def test_a_full_queue_makes_the_host_wait_for_its_oldest_work():
    device = driver()
    (queue,) = queues(device, 1)
    for _ in range(queue_limits.DEPTH):
        put(device, queue, 1)
    assert device.world.host.now == 0
    put(device, queue, 1)
    assert device.world.host.now == NANOSECOND


def test_work_is_issued_one_after_the_other_while_other_work_runs():
    device = driver()
    (queue,) = queues(device, 1)
    assert times(put(device, queue, 10, lead=3 * NANOSECOND)) == (3, 13)
    assert times(put(device, queue, 1, lead=3 * NANOSECOND)) == (13, 14)  # issued at 6
    for _ in range(3):
        last = put(device, queue, 1, lead=3 * NANOSECOND)
    assert times(last) == (16, 17)  # issued at 15, after one that ran from 15 to 16


def test_transfers_share_the_way_to_the_host():
    device = driver()
    first, second = queues(device, 2)
    for queue in (first, second):
        bytes_on(device, queue, [0] * 100)
    put(device, queues(device, 3)[2], 5, engine="dma")
    assert [(s.engine, s.start // NANOSECOND, s.end // NANOSECOND) for s in device.spans] == [
        ("host", 0, 100),
        ("host", 100, 200),
        ("dma", 0, 5),
    ]


def test_a_timeline_begins_anew_after_a_reset():
    simulation = simulated()
    device = simulation.devices[0]
    queue = device.open_queue()
    put(device, queue, 10)
    simulation.reset_timeline()
    assert simulation.timeline() == ()
    put(device, queue, 30)
    put(device, queue, 10, engine="matrix")
    assert [(s.start, s.end) for s in simulation.timeline(0)] == [(0, 30_000), (30_000, 40_000)]
    assert simulation.elapsed(0) == pytest.approx(40e-9)
    assert simulation.utilisation(0) == {"matrix": 0.25, "vector": 0.75, "dma": 0.0, "host": 0.0}


def test_the_same_calls_give_the_same_timeline():
    def run():
        device = driver()
        first, second = queues(device, 2)
        block, _ = bytes_on(device, first, [1, 2, 3])
        put(device, first, 7, op="a")
        put(device, second, 9, op="b", engine="matrix")
        device.wait(second, device.record(first))
        put(device, second, 3, op="c")
        read(device, block, first)
        return device.spans

    assert run() == run()


def test_a_device_that_does_not_exist_is_refused():
    with pytest.raises(ArgumentError, match="sim:3; there are 1"):
        simulated().timeline(3)


def test_a_transfer_takes_latency_and_bandwidth():
    simulation = simulated(*[preset("h100-sxm")] * 2)
    transfer = simulation.book_transfer(0, 1, 450_000)
    assert (transfer.end - transfer.start) / 1e12 == pytest.approx(936.25e-9 + 1e-6)
    assert {span.engine for span in simulation.timeline(0)} == {"link0-switch", "linkswitch-1"}


def test_a_transfer_on_a_ring_takes_the_short_way_and_passes_hops_by():
    simulation = simulated(*[SMALL] * 5)
    near, far = simulation.book_transfer(0, 1, 1000), simulation.book_transfer(0, 3, 1000)
    assert (near.hops, far.hops) == (1, 2)
    assert far.end - far.start == (2 * 1000 + 1000) * NANOSECOND
    assert near.start == far.start == 0


def test_transfers_over_one_link_come_one_after_the_other():
    simulation = simulated(SMALL, SMALL, SMALL)
    first, second = simulation.book_transfer(0, 1, 1000), simulation.book_transfer(0, 1, 1000)
    back = simulation.book_transfer(1, 0, 1000)
    assert (first.start, second.start, back.start) == (0, 1000 * NANOSECOND, 0)


def test_a_transfer_waits_for_a_queue_and_a_queue_for_a_transfer():
    simulation = simulated(SMALL, SMALL, SMALL)
    source, target, _ = simulation.devices
    from_queue, to_queue = source.open_queue(), target.open_queue()
    put(source, from_queue, 500)
    transfer = simulation.book_transfer(0, 1, 1000, ready=source.time(from_queue))
    target.hold(to_queue, transfer.end)
    assert times(put(target, to_queue, 1)) == (2500, 2501)


@pytest.mark.parametrize(
    ("topology", "n", "target", "path"),
    [
        ("torus", 9, 8, ["link0-2", "link2-8"]),
        ("mesh", 9, 8, ["link0-1", "link1-2", "link2-5", "link5-8"]),
        ("mesh", 6, 3, ["link0-3"]),
        ("fully_connected", 4, 3, ["link0-3"]),
        ("ring", 4, 3, ["link0-3"]),
    ],
)
def test_routes_follow_the_topology(topology, n, target, path):
    from tests.backends.sim.small import TEXT

    described = loads(TEXT.replace('"ring"', f'"{topology}"'))
    assert [engine.name for engine in Fabric([described] * n).route(0, target)] == path


def test_devices_of_different_descriptions_are_not_linked():
    simulation = simulated(SMALL, preset("h100-sxm"))
    with pytest.raises(LinkError, match="sim:0 and sim:1"):
        simulation.book_transfer(0, 1, 10)
    assert simulation.faults() == ()
