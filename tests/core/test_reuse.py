"""Results that are written again, and those that are not because somebody still sees them."""

from __future__ import annotations

import gc
import subprocess
import sys
import threading
import weakref

import numpy as np
import pytest

import opmux as ox
from opmux.core.arrays import reuse
from opmux.core.arrays.reuse import LARGEST, Results
from opmux.core.devices.memory import CpuDriver
from opmux.core.signature import signature


@pytest.fixture
def results() -> Results:
    device = ox.asarray([0.0]).device
    return Results((signature(device, ox.float32, (4,)), signature(device, ox.float32, (2,))))


def take(results: Results, value: float) -> tuple[ox.Array, ...]:
    made = results.take()
    for x in made:
        x.host.fill(value)
    return made


def address(made: tuple[ox.Array, ...]) -> list[int]:
    return [x.ptr for x in made]


def test_a_loop_goes_round_two_sets(results: Results) -> None:
    seen = set()
    made = take(results, 0)
    for i in range(10):
        made = take(results, i)
        seen.add(tuple(address(made)))
    assert len(seen) == 2


def test_what_is_held_keeps_its_value(results: Results) -> None:
    held = [take(results, i) for i in range(20)]
    assert [x.tolist() for made in held for x in made] == [[float(i)] * n for i in range(20) for n in (4, 2)]


def test_a_result_held_for_good_leaves_room_for_others(results: Results) -> None:
    first = take(results, 1)
    seen = {tuple(address(take(results, i))) for i in range(10)}
    assert len(seen) <= 3
    assert first[0].tolist() == [1.0] * 4


@pytest.mark.parametrize("hold", [
    lambda x: x[1:], lambda x: x.numpy(), lambda x: np.asarray(x), lambda x: np.from_dlpack(x),
    lambda x: ox.reshape(x, (2, 2)), weakref.ref, lambda x: weakref.ref(x._buffer),
], ids=["view", "numpy", "asarray", "dlpack", "reshape", "weakref", "weakref-buffer"])  # fmt: skip
def test_who_looks_at_a_result_keeps_it_from_being_written(results: Results, hold) -> None:  # type: ignore[no-untyped-def]
    for _ in range(4):
        made = take(results, 1)
        at, kept = made[0].ptr, hold(made[0])
        del made
        after = [take(results, 2) for _ in range(4)]
        if isinstance(kept, weakref.ref):
            assert kept() is None  # what looked on saw its end, not another value
        else:
            assert at not in [m[0].ptr for m in after]
            np.testing.assert_array_equal(np.asarray(kept).reshape(-1), 1)


def test_a_handle_with_another_value_is_not_written(results: Results) -> None:
    other = ox.asarray([5.0] * 4)
    for change in ("shared", "shape", "consumed"):
        made = take(results, 1)
        if change == "consumed":
            ox.add(made[0], made[0], out=made[0])
        else:
            made[0]._become(other if change == "shared" else ox.full((9,), 3.0))
        del made
        for _ in range(4):
            assert [x.tolist() for x in take(results, 2)] == [[2.0] * 4, [2.0] * 2]
        assert other.tolist() == [5.0] * 4


def test_threads_never_share_a_result(results: Results) -> None:
    wrong = []

    def work(value: float) -> None:
        for _ in range(300):
            made = take(results, value)
            if any(v != value for x in made for v in x.tolist()):
                wrong.append(value)

    threads = [threading.Thread(target=work, args=(float(i),)) for i in range(6)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert wrong == []


def test_large_results_are_made_anew() -> None:
    x = ox.asarray(np.arange(LARGEST, dtype=np.float32))
    driver = x.device.driver
    assert isinstance(driver, CpuDriver)
    made = ox.all_gather([x], ox.Mesh(["cpu:0"]))
    before = driver.allocator.statistics().in_use
    del made
    assert driver.allocator.statistics().in_use < before


def test_a_debugger_that_watched_the_import_changes_no_count() -> None:
    program = """
import sys
def look(frame, event, argument):
    frame.f_locals  # until Python 3.12 this holds what the names mean
    return look
sys.settrace(look)
import opmux.core.arrays.reuse as reuse
sys.settrace(None)
print(reuse._HANDLE, reuse._BUFFER)
"""
    said = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
    assert said.split() == [str(reuse._HANDLE), str(reuse._BUFFER)]


def test_what_is_kept_goes_back_when_memory_is_short(results: Results) -> None:
    driver = ox.asarray([0.0]).device.driver
    assert isinstance(driver, CpuDriver)
    made = take(results, 1)
    made[0]._become(ox.zeros((1 << 20,))[:4])  # a kept handle that looks at a large buffer
    held = take(results, 2)
    del made
    before = driver.allocator.statistics().in_use
    driver.allocator.trim()
    assert before - driver.allocator.statistics().in_use > 1 << 22
    assert [x.tolist() for x in (*held, *take(results, 3))] == [[2.0] * 4, [2.0] * 2, [3.0] * 4, [3.0] * 2]


def test_the_collector_may_run_while_what_is_kept_is_let_go() -> None:
    device = ox.asarray([0.0]).device
    made = [Results((signature(device, ox.float32, (4,)),)) for _ in range(40)]
    thresholds = gc.get_threshold()
    gc.freeze()  # so that each run has little to go through
    try:
        for allocations in range(1, 60):  # at one of them it runs in the middle
            gc.collect()
            circle: list[object] = [Results((signature(device, ox.float32, (4,)),))]
            circle.append(circle)
            gc.set_threshold(allocations)
            del circle
            reuse._release()
            gc.set_threshold(*thresholds)
    finally:
        gc.set_threshold(*thresholds)
        gc.unfreeze()
    assert len(reuse._ALL) >= len(made)


def test_a_way_of_calling_that_is_gone_keeps_nothing() -> None:
    device = ox.asarray([0.0]).device
    before = len(reuse._ALL)
    made = Results((signature(device, ox.float32, (4,)), signature(device, ox.float32, (2,))))
    assert len(reuse._ALL) == before + 1
    del made
    assert len(reuse._ALL) == before
