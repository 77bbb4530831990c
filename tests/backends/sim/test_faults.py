"""Faults from a seed: which there are, that they replay, and what each does."""

from __future__ import annotations

import numpy as np
import pytest

import opmux as ox
from opmux.backends.sim.errors import HangError, InjectedFaultError, LinkError
from opmux.backends.sim.injection import MEETS, FaultPlan, Injector, Kind, Request
from opmux.backends.sim.memory import View
from opmux.backends.sim.settings import from_environment
from opmux.plugin import ArgumentError, DeviceLostError, KernelError
from tests.backends.sim.small import (
    NANOSECOND,
    SMALL,
    bytes_on,
    copy_of,
    driver,
    put,
    queues,
    read,
    registered,
    simulated,
)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("oom=2", "oom.*share, from 0 to 1"),
        ("oom=nan", "oom.*share"),
        ("oomm=0.1", "did you mean 'oom'"),
        ("launch", "KIND=RATE"),
        ("seed=x", "seed=INTEGER"),
        ("launch@x", "KIND@REQUEST"),
        ("limit=0", "virtual seconds"),
        ("oom@0", "oom@0: requests count from 1"),
    ],
)
def test_a_plan_that_is_wrong_is_refused(text, told):
    with pytest.raises(ArgumentError, match=told):
        FaultPlan.parse(text)


def test_a_plan_can_be_a_file(tmp_path):
    path = tmp_path / "faults.toml"
    path.write_text("seed = 7\nlimit = 3\nlaunch = 0.5\nat = { oom = [3, 9] }\n", encoding="utf-8")
    assert from_environment({"OPMUX_SIM_FAULTS": str(path)}).faults == FaultPlan.parse(
        "seed=7,limit=3,launch=0.5,oom@3,oom@9"
    )


@pytest.mark.parametrize(
    ("text", "told"),
    [("seed = ", "faults.toml"), ("launhc = 0.1", "did you mean 'launch'"), ("at = 3", "at is a table")],
)
def test_a_file_that_holds_no_plan_is_refused(tmp_path, text, told):
    path = tmp_path / "faults.toml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ArgumentError, match=told):
        FaultPlan.load(path)
    with pytest.raises(ArgumentError, match=r"absent.toml"):
        FaultPlan.load(tmp_path / "absent.toml")


def _met(text, requests=400, device=0):
    injector = Injector(device, FaultPlan.parse(text))
    for _ in range(requests):
        injector.request(Request.LAUNCH, "work")
    return injector.injected


def test_the_same_seed_gives_the_same_faults():
    assert _met("seed=7,launch=0.1,lane=0.05") == _met("seed=7,launch=0.1,lane=0.05")
    assert 20 < len(_met("seed=7,launch=0.1")) < 60
    assert _met("seed=7,launch=0.1") != _met("seed=8,launch=0.1")
    assert [f.number for f in _met("seed=7,launch=0.1")] != [f.number for f in _met("seed=7,launch=0.1", device=1)]


def test_a_fault_does_not_hang_on_the_rates_of_others():
    alone = _met("seed=7,launch=0.1")
    beside = [f for f in _met("seed=7,launch=0.1,lane=0.5,late-completion=0.5") if f.kind is Kind.LAUNCH]
    assert alone == beside


def test_every_kind_is_met_by_some_request():
    assert {kind for kinds in MEETS.values() for kind in kinds} == set(Kind)


def test_replays_of_a_program_are_exact():
    def run():
        device = driver("seed=3,launch=0.3,dma-corrupt=0.3,late-completion=0.3,reorder=0.2,dma-slow=0.3")
        first, second = queues(device, 2)
        results = []
        for i in range(30):
            _, source = bytes_on(device, first, range(8))
            block, target = bytes_on(device, second, [i] * 8)
            device.wait(second, device.record(first))
            task = put(device, second, 5, copy_of(source, target), reads=[source], writes=[target])
            results.append((str(task.error()), read(device, block, second)))
        return results, device.spans, device.injector.injected

    once, again = run(), run()
    assert once == again
    assert {fault.kind for fault in once[2]} >= {Kind.LAUNCH, Kind.DMA_CORRUPT, Kind.REORDER, Kind.DMA_SLOW}


def test_out_of_memory_is_told_at_once():
    device = driver("oom@2")
    (queue,) = queues(device, 1)
    device.alloc(8, queue)
    with pytest.raises(MemoryError, match="oom"):
        device.alloc(8, queue)
    assert device.alloc(8, queue).nbytes == 8


def test_a_failed_launch_is_told_by_its_completion_and_writes_nothing():
    device = driver("launch@3")
    (queue,) = queues(device, 1)
    block, view = bytes_on(device, queue, [1, 2])
    task = put(device, queue, 5, lambda: view.content().fill(9), writes=[view])
    assert isinstance(task.error(), InjectedFaultError)
    assert read(device, block, queue) == [1, 2]


def test_a_wrong_lane_is_wrong_in_its_own_elements_alone():
    device = driver("lane@3")
    (queue,) = queues(device, 1)
    block, view = bytes_on(device, queue, [0] * 12)
    assert put(device, queue, 5, lambda: view.content().fill(7), writes=[view]).error() is None
    wrong = [i for i, value in enumerate(read(device, block, queue)) if value != 7]
    assert wrong in ([lane, lane + 4, lane + 8] for lane in range(4))


def test_a_hang_ends_in_an_error_after_the_limit_and_stops_its_queue_alone():
    device = driver("hang@1,limit=2")
    first, second = queues(device, 2)
    stuck = put(device, first, 5, op="spin")
    behind, beside = put(device, first, 5), put(device, second, 5)
    assert not stuck.done()
    with pytest.raises(HangError, match=r"spin on queue 0.*2 s of virtual time"):
        device.synchronize(first)
    assert device.world.host.now == 2 * 10**12
    assert isinstance(behind.error(), HangError)
    assert beside.error() is None


def test_who_waits_for_a_queue_that_hangs_hangs_too():
    device = driver("hang@1")
    first, second = queues(device, 2)
    put(device, first, 5, op="spin")
    device.wait(second, device.record(first))
    with pytest.raises(HangError, match="spin"):
        device.synchronize(second)


def test_asking_for_the_end_of_a_hang_comes_to_an_end():
    device = driver("hang@1")
    task = put(device, queues(device, 1)[0], 5)
    while not task.done():
        pass
    assert isinstance(task.error(), HangError)


def test_a_lost_completion_loses_no_work():
    device = driver("lost-completion@3")
    (queue,) = queues(device, 1)
    block, view = bytes_on(device, queue, [1, 2])
    task = put(device, queue, 5, lambda: view.content().fill(9), writes=[view])
    assert isinstance(task.error(), HangError)
    device.synchronize(queue)
    assert read(device, block, queue) == [9, 9]


def test_a_late_completion_is_late_and_holds_nobody_up():
    device = driver("late-completion@1")
    (queue,) = queues(device, 1)
    late, later = put(device, queue, 5), put(device, queue, 5)
    assert later.end == 10 * NANOSECOND
    assert later.error() is None
    assert not late.done()
    assert late.error() is None
    assert device.world.host.now > 10 * NANOSECOND


def _copied_on_another_queue(*, with_event):
    """Work that fills memory is held back; another queue copies the memory, after an event or without one."""
    device = driver("reorder@5")
    first, second = queues(device, 2)
    _, source = bytes_on(device, first, [1, 2])
    block, target = bytes_on(device, second, [0, 0])
    held = put(device, first, 5, lambda: source.content().fill(9), writes=[source])
    if with_event:
        device.wait(second, device.record(first))
    put(device, second, 5, copy_of(source, target), reads=[source], writes=[target])
    found = read(device, block, second)
    assert held.error() is None
    assert device.injector.injected[0].kind is Kind.REORDER
    return found


def test_a_reordering_shows_where_an_event_is_missing():
    assert _copied_on_another_queue(with_event=False) == [1, 2]


def test_a_reordering_is_one_that_events_forbid():
    assert _copied_on_another_queue(with_event=True) == [9, 9]


def test_work_held_back_is_done_before_its_own_queue_goes_on():
    device = driver("reorder@3")
    (queue,) = queues(device, 1)
    block, view = bytes_on(device, queue, [1, 2])
    put(device, queue, 5, lambda: view.content().fill(9), writes=[view])
    assert view.content().tolist() == [1, 2]
    put(device, queue, 5, lambda: np.add(view.content(), 1, out=view.content()), reads=[view], writes=[view])
    assert read(device, block, queue) == [10, 10]


def test_memory_is_given_back_only_after_work_that_is_held_back():
    device = driver("reorder@3")
    (queue,) = queues(device, 1)
    block, view = bytes_on(device, queue, [1, 2])
    task = put(device, queue, 5, lambda: view.content().fill(9), writes=[view])
    device.free(block, ())
    assert device.memory.used == 64
    assert task.error() is None
    device.synchronize(queue)
    assert device.memory.used == 0


def test_a_failed_upload_fails_whoever_reads_it_and_no_later_value():
    device = driver("dma@2")
    (queue,) = queues(device, 1)
    block, view = bytes_on(device, queue, [1, 2])
    assert isinstance(put(device, queue, 5, reads=[view]).error(), InjectedFaultError)
    with pytest.raises(InjectedFaultError, match="upload"):
        read(device, block, queue)
    device.upload(block, 0, np.array([3, 4], np.uint8), queue)
    assert read(device, block, queue) == [3, 4]


@pytest.mark.parametrize("request_number", [2, 3])
def test_a_corrupt_transfer_is_wrong_in_one_bit(request_number):
    device = driver(f"seed=5,dma-corrupt@{request_number}")
    (queue,) = queues(device, 1)
    block, _ = bytes_on(device, queue, [0] * 16)
    host = read(device, block, queue)
    assert sum(byte.bit_count() for byte in host) == 1
    assert sum(byte.bit_count() for byte in read(device, block, queue)) == (1 if request_number == 2 else 0)


def test_a_slow_transfer_is_slow():
    device = driver("dma-slow@2")
    bytes_on(device, queues(device, 1)[0], [0] * 100)
    assert 4 * 100 <= device.spans[0].end // NANOSECOND < 64 * 100


def test_a_lost_device_is_lost_for_every_method():
    device = driver("device-lost@3")
    (queue,) = queues(device, 1)
    block, _ = bytes_on(device, queue, [1])
    assert isinstance(put(device, queue).error(), DeviceLostError)
    for call in (
        lambda: device.alloc(1, queue),
        lambda: read(device, block, queue),
        lambda: device.synchronize(queue),
        device.open_queue,
    ):
        with pytest.raises(DeviceLostError, match="sim:0"):
            call()


def test_a_broken_link_stays_broken_in_its_direction():
    simulation = simulated(SMALL, SMALL, faults="link-broken@2")
    simulation.book_transfer(0, 1, 10)
    for _ in range(2):
        with pytest.raises(LinkError, match="link0-1"):
            simulation.book_transfer(0, 1, 10)
    assert simulation.book_transfer(1, 0, 10).hops == 1
    assert [fault.kind for fault in simulation.faults(0)] == [Kind.LINK_BROKEN]


def test_a_slow_link_is_slow_once():
    simulation = simulated(SMALL, SMALL, faults="link-slow@1")
    slow, usual = simulation.book_transfer(0, 1, 10_000), simulation.book_transfer(0, 1, 10_000)
    assert slow.end - slow.start >= 4 * 5_000 * NANOSECOND
    assert usual.end - usual.start == 6_000 * NANOSECOND


def test_faults_reach_programs_as_typed_errors():
    with registered(simulated(SMALL)) as simulation:
        x = ox.asarray([1.0, 2.0], device="sim")
        simulation.inject("launch@2")
        bad = x + x
        with pytest.raises(KernelError, match=r"add.*launch"):
            bad.tolist()
        assert (x + x).tolist() == [2.0, 4.0]
        simulation.inject("hang@2,limit=1")
        worse = x * x
        with pytest.raises(HangError, match="multiply on queue 0"):
            ox.device("sim").synchronize()
        with pytest.raises(KernelError, match="multiply on queue 0"):
            worse.tolist()
        assert [str(f.kind) for f in simulation.faults()] == ["hang"]


def test_a_view_of_bytes_is_inside_of_its_block():
    device = driver()
    block = device.alloc(4, queues(device, 1)[0])
    task = put(device, queues(device, 1)[0], 1, lambda: View.bytes_of(block, 2, 4).content())
    assert "bytes 2 to 6" in str(task.error())
