"""The race detector: what nothing orders is reported, what something orders is not."""

from __future__ import annotations

import numpy as np
import pytest

import opmux as ox
from opmux.backends.sim.errors import RaceError
from opmux.backends.sim.happens_before import Mode
from opmux.backends.sim.memory import View
from tests.backends.sim.small import SMALL, bytes_on, driver, put, queues, registered, simulated


@pytest.fixture
def device():
    return driver(races=Mode.RECORD)


def _written_on_one_queue_and_read_on_another(device, between=lambda first, second, task: None):
    first, second = queues(device, 2)
    block, view = bytes_on(device, first, [1, 2, 3, 4])
    device.wait(second, device.record(first))
    task = put(device, first, 5, writes=[view], op="writer")
    between(first, second, task)
    put(device, second, 5, reads=[view], op="reader", engine="matrix")
    return block


def test_a_missing_event_is_a_race_between_both_works(device):
    block = _written_on_one_queue_and_read_on_another(device)
    (race,) = device.detector.found
    assert (race.block, race.low, race.high) == (block.number, 0, 4)
    assert (race.first.op, race.first.queue, race.first.writes) == ("writer", 0, True)
    assert (race.second.op, race.second.queue, race.second.writes) == ("reader", 1, False)
    assert (race.first.start, race.second.start) == tuple(s.start for s in list(device.spans)[-2:])
    assert "record an event behind the first" in str(race)


@pytest.mark.parametrize(
    "between",
    [
        pytest.param(lambda d, first, second, task: d.wait(second, d.record(first)), id="event"),
        pytest.param(lambda d, first, second, task: d.synchronize(first), id="synchronize"),
        pytest.param(lambda d, first, second, task: task.error(), id="completion"),
    ],
)
def test_what_orders_two_works_leaves_no_race(device, between):
    _written_on_one_queue_and_read_on_another(device, lambda *given: between(device, *given))
    assert device.detector.found == []


def test_an_event_recorded_too_early_orders_nothing(device):
    first, second = queues(device, 2)
    _, view = bytes_on(device, first, [1, 2])
    early = device.record(first)
    put(device, first, 5, writes=[view])
    device.wait(second, early)
    put(device, second, 5, reads=[view])
    assert len(device.detector.found) == 1


def test_order_goes_on_over_a_third_queue(device):
    first, second, third = queues(device, 3)
    _, view = bytes_on(device, first, [1, 2])
    device.wait(second, device.record(first))
    put(device, second, 5)
    device.wait(third, device.record(second))
    put(device, third, 5, reads=[view])
    assert device.detector.found == []


def test_an_overwrite_races_with_a_reader_that_nobody_waited_for(device):
    first, second = queues(device, 2)
    _, view = bytes_on(device, first, [1, 2])
    device.wait(second, device.record(first))
    put(device, second, 5, reads=[view], op="reader")
    put(device, first, 5, writes=[view], op="writer")
    (race,) = device.detector.found
    assert (race.first.op, race.second.op) == ("reader", "writer")


def test_readers_do_not_race(device):
    first, second = queues(device, 2)
    _, view = bytes_on(device, first, [1, 2])
    device.wait(second, device.record(first))
    put(device, first, 5, reads=[view])
    put(device, second, 5, reads=[view])
    assert device.detector.found == []


def test_work_on_one_buffer_in_place_does_not_race_with_itself(device):
    (queue,) = queues(device, 1)
    _, view = bytes_on(device, queue, [1, 2])
    put(device, queue, 5, reads=[view], writes=[view])
    assert device.detector.found == []


@pytest.mark.parametrize(("offset", "races"), [(1, 0), (2, 1)])
def test_strided_views_race_only_where_they_share_an_element(device, offset, races):
    first, second = queues(device, 2)
    block = device.alloc(64, first)
    device.wait(second, device.record(first))
    byte = np.dtype(np.uint8)
    put(device, first, 5, writes=[View(block, 0, (16,), (2,), byte)])
    put(device, second, 5, writes=[View(block, offset, (16,), (2,), byte)])
    assert len(device.detector.found) == races


def test_a_write_of_a_part_does_not_hide_the_rest(device):
    first, second = queues(device, 2)
    block = device.alloc(8, first)
    put(device, first, 5, writes=[View.bytes_of(block, 0, 8)], op="whole")
    put(device, first, 5, writes=[View.bytes_of(block, 0, 2)], op="part")
    put(device, second, 5, reads=[View.bytes_of(block, 4, 4)])
    assert [race.first.op for race in device.detector.found] == ["whole"]


def test_memory_given_to_one_queue_is_not_anothers_without_an_event(device):
    first, second = queues(device, 2)
    block = device.alloc(8, first)
    put(device, second, 5, writes=[View.bytes_of(block, 0, 8)])
    assert [race.first.op for race in device.detector.found] == ["alloc"]


def test_memory_that_is_given_back_too_early_is_a_race(device):
    _, second = queues(device, 2)
    block, view = bytes_on(device, second, [1, 2])
    put(device, second, 5, reads=[view], op="reader")
    device.free(block, ())
    assert [race.second.op for race in device.detector.found] == ["free", "free"]


def test_memory_that_is_given_back_after_its_last_use_is_no_race(device):
    _, second = queues(device, 2)
    block, view = bytes_on(device, second, [1, 2])
    put(device, second, 5, reads=[view])
    device.free(block, (device.record(second),))
    assert device.detector.found == []


def test_nothing_is_looked_for_unless_asked():
    device = driver()
    _written_on_one_queue_and_read_on_another(device)
    assert device.detector.found == []


def test_a_race_can_be_an_error_of_the_second_work():
    device = driver(races=Mode.ERROR)
    first, second = queues(device, 2)
    _, view = bytes_on(device, first, [1, 2])
    done = []
    raced = put(device, second, 5, lambda: done.append(1), reads=[view], op="reader")
    assert isinstance(raced.error(), RaceError)
    assert done == []


def test_opmux_orders_all_that_programs_do_on_several_queues():
    with registered(simulated(SMALL, races=Mode.RECORD)) as simulation:
        other = ox.device("sim").queue()
        x = ox.asarray(np.arange(64, dtype=np.float32), device="sim")
        for _ in range(5):
            with ox.use_queue(other):
                y = x * 2.0 + ox.sum(x)
            z = y - x
            with ox.use_queue(other):
                x = ox.abs(z)[::-1]
            del y, z
        assert x.shape == (64,)
        ox.device("sim").synchronize()
        assert simulation.races() == ()
        assert len({span.queue for span in simulation.timeline()}) == 2
