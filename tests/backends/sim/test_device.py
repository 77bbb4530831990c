"""Simulated devices: which there are, their memory, and what programs see of them."""

from __future__ import annotations

import gc
import os
import re
import subprocess
import sys

import numpy as np
import pytest

import opmux as ox
from opmux.backends.sim.description import loads, preset
from opmux.backends.sim.happens_before import Mode
from opmux.backends.sim.memory import AccessError, View
from opmux.backends.sim.settings import Settings, devices, from_environment
from opmux.plugin import ArgumentError, DeviceDriver, OutOfMemoryError
from tests.backends.sim.small import (
    SMALL,
    TEXT,
    bytes_on,
    driver,
    host_array,
    put,
    queues,
    read,
    registered,
    simulated,
)


def test_devices_are_presets_and_files_with_counts(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text(TEXT, encoding="utf-8")
    found = [d.name for d in devices(f"tpu-v1, {path}:2 ,h100")]
    assert found == [preset("tpu-v1").name, "small", "small", preset("h100-sxm").name]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("tpu-v9", "no simulated device 'tpu-v9'; there are .*edge-npu"),
        ("h100:0", "count is 1 or more"),
        ("h100:x", "no simulated device 'h100:x'"),
        ("h100:99999", "4,096 at most"),
        ("nowhere.toml", "nowhere.toml.*cannot be read"),
    ],
)
def test_devices_that_do_not_exist_are_refused(text, told):
    with pytest.raises(ArgumentError, match=told):
        devices(text)


def test_two_descriptions_of_one_name_are_refused(tmp_path):
    for name, clock in (("a", "1e9"), ("b", "2e9")):
        (tmp_path / f"{name}.toml").write_text(TEXT.replace("clock_hz = 1e9", f"clock_hz = {clock}"), encoding="utf-8")
    with pytest.raises(ArgumentError, match="two descriptions have the name 'small'"):
        devices(f"{tmp_path / 'a.toml'},{tmp_path / 'b.toml'}")


def test_the_environment_says_all():
    assert from_environment({}) == Settings()
    made = from_environment({"OPMUX_SIM": "edge-npu", "OPMUX_SIM_FAULTS": "seed=3,oom=0.5", "OPMUX_SIM_RACES": "1"})
    assert (len(made.devices), made.faults.seed, made.races) == (1, 3, Mode.RECORD)
    with pytest.raises(ArgumentError, match="OPMUX_SIM_RACES: 'yes' is none of 0, 1 and error"):
        from_environment({"OPMUX_SIM_RACES": "yes"})


def _told(program, folder, **variables):
    """What a program prints, in a folder that has no metadata of its own."""
    environment = {**os.environ, "COLUMNS": "400", **variables}
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=100)
    return done.stdout or done.stderr


DOCTOR = 'from opmux.cli.main import main; import sys; sys.argv = ["opmux", "doctor"]; main()'


def test_doctor_says_how_to_get_a_device(tmp_path):
    assert re.search(r"sim +absent-hardware .*OPMUX_SIM=h100", _told(DOCTOR, tmp_path, OPMUX_SIM=""))


def test_doctor_says_what_is_wrong(tmp_path):
    told = _told(DOCTOR, tmp_path, OPMUX_SIM="tpx")
    assert re.search(r"sim +quarantined +OPMUX_SIM: no simulated device 'tpx'; there are edge-npu", told)
    assert "correct the environment variable" in told
    assert "Traceback" not in told
    assert "report" not in told


def test_a_program_gets_the_devices_of_the_environment(tmp_path):
    program = """
import opmux as ox
from opmux.backends import sim
x = ox.asarray([1, 2], dtype=ox.int32, device="sim:1")
print((x + x).tolist(), [s.op for s in sim.timeline(1)], len(sim.timeline(0)), sim.faults() + sim.races())
"""
    told = _told(program, tmp_path, OPMUX_SIM="tpu-v1:2", OPMUX_SIM_RACES="1")
    assert told == "[2, 4] ['upload', 'add', 'download'] 0 ()\n"


def test_a_simulation_without_devices_brings_nothing():
    none = type(simulated())(Settings())
    assert (tuple(none.opmux_devices()), none.opmux_kernels(), none.opmux_profiles()) == ((), [], [])


def test_it_is_a_driver():
    assert isinstance(driver(), DeviceDriver)


def test_bytes_go_to_the_device_and_back():
    device = driver()
    (queue,) = queues(device, 1)
    source = np.arange(8, dtype=np.uint8)
    block = device.alloc(12, queue)
    device.upload(block, 4, source, queue)
    source.fill(0)  # which may be reused at once
    assert read(device, block, queue) == [0xFF] * 4 + list(range(8))


def test_the_host_cannot_address_device_memory():
    device = driver()
    block, _ = bytes_on(device, queues(device, 1)[0], [1, 2])
    for handle in (block, device.pointer(block, 0)):
        with pytest.raises(TypeError):
            memoryview(handle)
        assert np.asarray(handle).dtype == object
        assert not hasattr(handle, "__array_interface__")


def test_the_device_cannot_address_host_memory():
    with pytest.raises(TypeError, match="not a pointer of a simulated device"):
        View.of(host_array(np.zeros(3)))


def test_memory_has_a_limit_and_comes_back():
    device = driver()
    (queue,) = queues(device, 1)
    block = device.alloc(900_000, queue)
    with pytest.raises(MemoryError, match="of 1,000,000 bytes are left"):
        device.alloc(200_000, queue)
    device.free(block, ())
    assert device.alloc(999_990, queue).nbytes == 999_990
    assert device.memory.peak == 1_000_000


def test_work_on_freed_memory_fails_late():
    device = driver()
    (queue,) = queues(device, 1)
    block, view = bytes_on(device, queue, [1])
    device.free(block, ())
    task = put(device, queue, 1, lambda: view.content().fill(0), writes=[view])
    assert isinstance(task.error(), AccessError)


def test_memory_behind_a_hang_stays_taken():
    device = driver("hang@2")
    (queue,) = queues(device, 1)
    block = device.alloc(100, queue)
    put(device, queue, 1)
    device.free(block, ())
    device.alloc(1, queue)
    assert device.memory.used == 128 + 64


@pytest.fixture
def small():
    with registered(simulated(SMALL, SMALL)) as simulation:
        yield simulation
        gc.collect()


def test_programs_run_on_it(small):
    x = ox.asarray([[1.0, 2.0], [3.0, 4.0]], device="sim:1")
    assert (x @ x + ox.exp(x - x)).tolist() == [[8.0, 11.0], [16.0, 23.0]]
    assert {span.op for span in small.timeline(1)} >= {"upload", "matmul", "exp", "add", "download"}
    assert small.timeline(0) == ()


def test_launches_take_the_time_of_the_model(small):
    x = ox.asarray(np.ones((64, 64), np.int8), device="sim")
    small.reset_timeline()
    ox.matmul(x, x, dtype=ox.int32)
    (span,) = small.timeline(0)
    # 16 x 16 folds, weights stay: 64 + 2 x 4 + 4 - 2 cycles each.
    assert (span.engine, span.cycles) == ("matrix", 256 * 74 - 1)
    assert span.end - span.start >= span.cycles * 1000


def test_what_does_not_fit_is_out_of_memory(small):
    with pytest.raises(OutOfMemoryError, match=r"sim:0 could not allocate 4,000,000 bytes"):
        ox.asarray(np.zeros(1_000_000, np.float32), device="sim")


def test_a_dtype_that_it_does_not_have_is_refused(small):
    x = ox.asarray([1.0], device="sim")
    with ox.policy(fallback="forbid"), pytest.raises(NotImplementedError, match="small has no float64"):
        ox.astype(x, ox.float64)


def test_arrays_do_not_leak(small):
    x = ox.asarray(np.ones(100, np.float32), device="sim")
    x = x * 1.5  # opmux keeps the constant
    used = small.devices[0].memory.used
    for _ in range(20):
        x = x * 1.5 + x
    ox.device("sim").synchronize()
    assert small.devices[0].memory.used == used


def test_devices_of_several_descriptions_have_kernels_of_their_own():
    integers = loads(TEXT.replace('"small"', '"integers"').replace('"float32", ', "").replace("float32 = 1, ", ""))
    with registered(simulated(SMALL, integers)) as simulation:
        assert list(simulation.opmux_profiles()) == []
        assert ox.explain("add", ox.asarray([1.0], device="sim:0"), 1.0).chosen == "simulated/add@small"
        x = ox.asarray(np.ones(2, np.int32), device="sim:1")
        assert ox.explain("add", x, x).chosen == "simulated/add@integers"
        with ox.policy(fallback="forbid"), pytest.raises(NotImplementedError, match="integers"):
            ox.astype(x, ox.float32)


def test_profiles_are_those_that_every_device_passes():
    both = simulated(preset("h100-sxm"), preset("edge-npu"))
    assert list(both.opmux_profiles()) == ["core-int8"]


def test_an_empty_array_may_begin_behind_its_memory(small):
    x = ox.asarray(np.zeros((2, 0), np.float32), device="sim")
    y = ox.asarray(np.ones((2, 3), np.float32), device="sim")
    assert ox.concat([x[1:], y[1:]], axis=1).tolist() == [[1.0, 1.0, 1.0]]
    assert View(x._buffer.handle, 64, (2, 0), (4, 4), np.dtype(np.float32)).content().shape == (2, 0)


def test_sums_are_taken_only_of_what_their_results_are_held_of(small):
    x = ox.asarray(np.ones(3, np.uint32), device="sim")
    with ox.policy(fallback="forbid"), pytest.raises(NotImplementedError, match="no uint64"):
        ox.sum(x)
    assert ox.sum(ox.astype(x, ox.int32)).item() == 3
