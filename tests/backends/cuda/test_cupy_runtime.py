"""The backend over CuPy's bindings: what it asks of CUDA is allowed, and what CUDA answers is told in opmux's terms."""

from __future__ import annotations

import itertools
import subprocess
import sys
import threading
from collections import Counter, deque
from collections.abc import Iterator

import numpy as np
import pytest

import opmux as ox
from opmux.backends import cuda as plugin
from opmux.backends.cuda.device.discovery import runtimes
from opmux.core.errors import DeviceError, DeviceLostError, KernelError, OutOfMemoryError
from tests.backends.cuda.fake_cupy import FakeCuda, Gpu, MisuseError, installed
from tests.backends.cuda.forked import in_child
from tests.backends.cuda.host.plugin import registered

MIB = 1 << 20


@pytest.fixture
def cuda() -> Iterator[FakeCuda]:
    """One GPU of 64 MiB, as opmux sees it."""
    with installed(FakeCuda(Gpu(memory=64 * MIB))) as machine, registered(plugin):
        yield machine


def test_values_come_back_and_launches_name_live_memory(cuda: FakeCuda) -> None:
    x = ox.asarray(np.arange(1000, dtype=np.float32), device="cuda:0")
    y = ox.add(x, x)
    (launch,) = cuda.launches
    assert launch.entry == "elementwise_dense"
    assert len(launch.pointers) == 3
    assert int.from_bytes(launch.values[0], "little") == 1000
    assert x.numpy().tolist() == list(range(1000))
    assert y.shape == (1000,)


def test_nothing_is_opened_on_a_gpu_that_is_only_listed() -> None:
    with installed(FakeCuda(Gpu())) as machine, registered(plugin):
        assert ox.device("cuda:0").info.name == "NVIDIA H200"
        assert not set(machine.calls) - {
            "driverGetVersion", "getDeviceCount", "getDeviceProperties", "deviceGetAttribute",
        }  # fmt: skip


def test_properties_are_in_bytes_and_hertz() -> None:
    with installed(FakeCuda(Gpu(memory=5 * MIB))):
        (found,) = runtimes()
    properties = found.properties
    assert (properties.memory, properties.capability, properties.multiprocessors) == (5 * MIB, (9, 0), 132)
    assert properties.clock == 1.98e9
    assert properties.bandwidth == pytest.approx(4.917e12, rel=1e-3)


def test_memory_that_is_kept_is_given_back_before_an_allocation_fails(cuda: FakeCuda) -> None:
    x = ox.full((40 * MIB // 4,), 1.0, dtype=ox.float32, device="cuda:0")
    del x
    assert 40 * MIB <= cuda.used(0) < 41 * MIB
    y = ox.full((60 * MIB // 4,), 1.0, dtype=ox.float32, device="cuda:0")
    assert 60 * MIB <= cuda.used(0) < 61 * MIB
    assert cuda.calls.count("memPoolTrimTo") == 1
    assert y.size == 15 * MIB


def test_out_of_memory_is_typed_and_the_next_call_works(cuda: FakeCuda) -> None:
    with pytest.raises(OutOfMemoryError, match=r"cuda:0 could not allocate .*free arrays"):
        ox.full((65 * MIB,), 1, dtype=ox.uint8, device="cuda:0")
    assert ox.full((10,), 1, dtype=ox.uint8, device="cuda:0").size == 10


def test_memory_is_used_again_on_its_queue_without_a_wait(cuda: FakeCuda) -> None:
    x = ox.full((MIB,), 1.0, dtype=ox.float32, device="cuda:0")
    for _ in range(20):
        x = ox.add(x, x)
    assert cuda.used(0) <= 12 * MIB
    assert "streamWaitEvent" not in cuda.calls
    assert "streamSynchronize" not in cuda.calls


def test_memory_that_another_queue_uses_is_released_after_it(cuda: FakeCuda) -> None:
    device = ox.device("cuda:0")
    x = ox.full((1000,), 1.0, dtype=ox.float32, device=device)
    other = device.queue()
    with ox.use_queue(other):
        y = ox.add(x, x)
    streams = {launch.stream for launch in cuda.launches}
    assert len(streams) == 2
    del x
    assert "streamWaitEvent" in cuda.calls
    del y


@pytest.mark.parametrize(
    ("call", "status", "name"),
    [
        ("launchKernel", 700, "cudaErrorIllegalAddress|CUDA_ERROR_ILLEGAL_ADDRESS"),
        ("streamSynchronize", 719, "cudaErrorLaunchFailure"),
        ("mallocFromPoolAsync", 46, "cudaErrorDevicesUnavailable"),
        ("memcpyAsync", 214, "cudaErrorECCUncorrectable"),
        ("launchKernel", 810, "CUDA_ERROR_810"),
        ("streamSynchronize", 911, "cudaError911"),
    ],
)
def test_a_sticky_error_loses_the_device_and_not_the_host(cuda: FakeCuda, call: str, status: int, name: str) -> None:
    x = ox.asarray(np.ones(8, np.float32), device="cuda:0")
    ox.add(x, x)
    cuda.failures[call] = deque([status])
    with pytest.raises(DeviceLostError, match=rf"NVIDIA H200 is lost .*({name}).*new process"):
        ox.add(x, x).numpy()
    asked = len(cuda.calls)
    for use in (lambda: ox.add(x, x), x.numpy, lambda: ox.asarray(np.ones(3), device="cuda:0")):
        with pytest.raises(DeviceLostError, match=name):
            use()
    x = None
    assert len(cuda.calls) == asked, "a lost device is asked again"
    assert ox.add(ox.asarray([1.0]), 1.0).numpy().tolist() == [2.0]


def test_an_error_that_is_not_sticky_costs_one_call(cuda: FakeCuda) -> None:
    x = ox.asarray(np.ones(8, np.float32), device="cuda:0")
    cuda.failures["launchKernel"] = deque([1])
    with pytest.raises(KernelError, match="CUDA_ERROR_1"):
        ox.add(x, x)
    assert ox.add(x, x).shape == (8,)


def test_threads_have_the_gpu_current_and_work_at_once(cuda: FakeCuda) -> None:
    x = ox.asarray(np.ones(64, np.float32), device="cuda:0")
    ox.add(x, x)
    failed: list[BaseException] = []

    def work() -> None:
        try:
            mine = ox.asarray(np.full(64, 3, np.float32), device="cuda:0")
            for _ in range(50):
                ox.add(x, mine)
            assert mine.numpy().tolist() == [3.0] * 64
        except BaseException as error:
            failed.append(error)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failed == []
    assert len(cuda.launches) == 201


def test_two_threads_on_two_streams_order_what_they_share(cuda: FakeCuda) -> None:
    device = ox.device("cuda:0")
    shared = ox.asarray(np.ones(64, np.float32), device=device)
    failed: list[BaseException] = []

    def work(queue: object) -> None:
        try:
            with ox.use_queue(queue):
                x = shared
                for _ in range(30):
                    x = ox.add(x, shared)
        except BaseException as error:
            failed.append(error)

    threads = [threading.Thread(target=work, args=(device.queue(),)) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failed == []
    assert sorted(Counter(launch.stream for launch in cuda.launches).values()) == [30, 30]


@pytest.mark.parametrize(("gpus", "ordinal"), [(1, 0), (2, 0), (2, 1)])
def test_a_thread_may_begin_with_a_launch(gpus: int, ordinal: int) -> None:
    with installed(FakeCuda(*[Gpu() for _ in range(gpus)])) as machine:
        runtime = runtimes()[ordinal]
        stream = runtime.open_stream()
        module = runtime.load(runtime.compiler.image('extern "C" __global__ void f() {}', ()))
        entry = runtime.function(module, "f", 0)
        thread = threading.Thread(target=runtime.launch, args=(entry, (1, 1, 1), (1, 1, 1), 0, stream, 0))
        thread.start()
        thread.join()
        assert [launch.entry for launch in machine.launches] == ["f"]


def test_every_gpu_gets_its_own_work_and_the_callers_stays_current() -> None:
    with installed(FakeCuda(Gpu(), Gpu(name="NVIDIA A100", capability=(8, 0)))) as machine, registered(plugin):
        a = ox.asarray(np.ones(4, np.float32), device="cuda:0")
        b = ox.asarray(np.ones(4, np.float32), device="cuda:1")
        ox.add(b, b)
        assert machine.thread.device == 0
        ox.add(a, a)
        assert [machine.streams[launch.stream].device for launch in machine.launches] == [1, 0]
        assert ox.device("cuda:1").info.features == frozenset({"sm_80"})


def test_a_process_that_uses_one_gpu_opens_nothing_on_another() -> None:
    with installed(FakeCuda(Gpu(), Gpu())) as machine, registered(plugin):
        x = ox.asarray(np.ones(4, np.float32), device="cuda:1")
        assert ox.add(x, x).numpy().tolist() == [0.0] * 4  # nothing is computed
        thread = threading.Thread(target=ox.add, args=(x, x))
        thread.start()
        thread.join()
        assert machine.contexts == {1}
        assert machine.thread.context is None, "the caller's thread had none"


def test_a_callers_context_is_current_again_after_an_error() -> None:
    with installed(FakeCuda(Gpu(), Gpu())) as machine:
        one, two = runtimes()
        stream = one.open_stream()
        machine.make_current(machine.context(0))
        machine.failures["mallocFromPoolAsync"] = deque([2])
        with pytest.raises(MemoryError):
            two.allocate(8, two.open_stream())
        assert machine.thread.context == 0
        assert one.allocate(8, stream)


def test_the_loss_of_the_gpu_that_was_current_is_no_loss_of_another() -> None:
    with installed(FakeCuda(Gpu(), Gpu())) as machine, registered(plugin):
        x = ox.asarray(np.ones(4, np.float32), device="cuda:1")
        machine.make_current(machine.context(0))
        machine.failures["ctxSetCurrent"] = deque([0, 700, 0, 700])
        assert ox.add(x, x).shape == (4,)
        assert x.numpy().tolist() == [1.0] * 4


@pytest.mark.parametrize("gpus", [1, 2])
def test_another_librarys_capture_keeps_nobody_from_work(gpus: int) -> None:
    with installed(FakeCuda(*[Gpu() for _ in range(gpus)])) as machine, registered(plugin):
        machine.captured_elsewhere = True
        x = ox.asarray(np.ones(8, np.float32), device=f"cuda:{gpus - 1}")
        assert ox.add(x, x).shape == (8,)
        ox.device(f"cuda:{gpus - 1}").driver.runtime.trim()
        assert machine.thread.captures == 0, "the thread's mode is not its own any more"


@pytest.mark.parametrize(("nbytes", "waits"), [(16, 0), (8192, 1)])
def test_what_was_uploaded_may_be_written_again(nbytes: int, waits: int) -> None:
    with installed(FakeCuda(Gpu())) as machine:
        (runtime,) = runtimes()
        stream = runtime.open_stream()
        source, found = np.arange(nbytes, dtype=np.uint32).astype(np.uint8), np.zeros(nbytes, np.uint8)
        pointer = runtime.allocate(nbytes, stream)
        runtime.upload(pointer, source, stream)
        assert machine.calls.count("streamSynchronize") == waits
        source[:] = 7
        runtime.download(found, pointer, stream)
        assert found.tolist() == [i % 256 for i in range(nbytes)]
        assert stream.kept == {}


def test_what_small_uploads_keep_is_bounded() -> None:
    with installed(FakeCuda(Gpu())) as machine:
        (runtime,) = runtimes()
        stream = runtime.open_stream()
        pointer = runtime.allocate(1 << 16, stream)
        for i in range(1000):
            runtime.upload(pointer + 16 * i, np.full(16, i % 256, np.uint8), stream)
        assert machine.calls.count("streamSynchronize") == 3
        found = np.zeros(16000, np.uint8)
        runtime.download(found, pointer, stream)
        assert (found.reshape(1000, 16) == np.arange(1000)[:, None] % 256).all()


def test_memory_that_is_kept_is_given_back_for_code(cuda: FakeCuda) -> None:
    x = ox.asarray(np.ones(8, np.float32), device="cuda:0")
    spare = ox.full((10 * MIB,), 1, dtype=ox.uint8, device="cuda:0")
    del spare
    cuda.failures["moduleLoadData"] = deque([2])
    assert ox.add(x, x).shape == (8,)
    assert cuda.used(0) < MIB
    cuda.failures["moduleLoadData"] = deque([2, 2])
    with pytest.raises(OutOfMemoryError, match=r"multiply on cuda:0 ran out of memory"):
        ox.multiply(x, x)


def test_more_shared_memory_than_48_kib_is_asked_for_and_never_taken_back(cuda: FakeCuda) -> None:
    runtime = ox.device("cuda:0").driver.runtime
    image = runtime.compiler.image('extern "C" __global__ void f(u8* p) { p[0] = 1; }', ())
    module = runtime.load(image)
    entry = runtime.function(module, "f", 100 << 10)
    assert runtime.function(module, "f", 60 << 10) == entry
    assert cuda.allowed == {entry: 100 << 10}


def test_elements_beyond_2_to_the_31_are_counted_in_64_bits() -> None:
    n = 2**33 + 5
    with installed(FakeCuda(Gpu(memory=1 << 40))) as machine, registered(plugin):
        x = ox.full((n,), 1, dtype=ox.uint8, device="cuda:0")
        ox.bitwise_invert(x)
        assert int.from_bytes(machine.launches[-1].values[0], "little") == n
        shape = 2**16, 2**16 + 1  # rows of odd length are not read as vectors
        rows = ox.broadcast_to(ox.full((2**16, 1), 1, dtype=ox.uint8, device="cuda:0"), shape)
        machine.launches.clear()
        ox.bitwise_invert(rows)
        counts = [int.from_bytes(launch.values[0], "little") for launch in machine.launches]
        assert sum(counts) == 2**16 * (2**16 + 1)
        assert max(counts) <= 2**31
        outs = [launch.pointers[-1] for launch in machine.launches]
        assert [b - a for a, b in itertools.pairwise(outs)] == counts[:-1]


#: Arrays, streams, events and a graph that are there when the interpreter ends; the machine outlives all of them.
ENDS = """
import ctypes, sys
import numpy as np
import opmux as ox
from opmux.backends import cuda as plugin
from tests.backends.cuda.fake_cupy import FakeCuda, Gpu, installed
from tests.backends.cuda.host.plugin import registered

machine = FakeCuda(Gpu(), Gpu())
machine.gives_again = True
for left in (installed(machine), registered(plugin)):
    left.__enter__()
    ctypes.pythonapi.Py_IncRef(ctypes.py_object(left))
x = ox.asarray(np.ones(300, np.float32), device="cuda:1")
f = ox.compile(lambda v: ox.sum(ox.sort(v)))
for _ in range(6):
    result = f(x)
with ox.use_queue(ox.device("cuda:1").queue()):
    other = ox.add(x, x)
sys.left = [x, f, other, result]
sys.left.append(sys.left)
print("graphLaunch" in machine.calls)
"""


def test_the_end_of_the_interpreter_is_quiet() -> None:
    done = subprocess.run([sys.executable, "-X", "dev", "-c", ENDS], capture_output=True, text=True, check=False)
    assert (done.stdout.strip(), done.stderr, done.returncode) == ("True", "", 0)


def test_a_forked_child_is_told_and_its_parent_goes_on(cuda: FakeCuda) -> None:
    x = ox.asarray(np.ones(4, np.float32), device="cuda:0")
    ox.add(x, x)
    calls = len(cuda.calls)
    for use in (lambda: ox.add(x, x), x.numpy, runtimes):
        said = in_child(use)
        assert "forked" in said
        assert said.startswith(("DeviceLostError", "DeviceError"))
    assert in_child(lambda: len(cuda.calls)) == str(calls), "the child asked CUDA"
    assert x.numpy().tolist() == [1.0] * 4


@pytest.mark.parametrize(
    ("machine", "said"),
    [
        (FakeCuda(Gpu(capability=(7, 5))), r"compute capability 7\.5; the kernels need 8\.0"),
        (FakeCuda(Gpu(pools=0)), "no memory pools"),
    ],
)
def test_a_gpu_that_cannot_be_used_is_refused_by_name(machine: FakeCuda, said: str) -> None:
    with installed(machine), pytest.raises(DeviceError, match=f"NVIDIA H200 .*{said}"):
        runtimes()


def test_a_gpu_of_a_later_capability_gets_code_of_its_own() -> None:
    with installed(FakeCuda(Gpu(capability=(12, 0)))), registered(plugin):
        assert ox.device("cuda:0").info.features == frozenset({"sm_120"})
        x = ox.asarray(np.ones(4, np.float32), device="cuda:0")
        assert ox.add(x, x).shape == (4,)


def test_an_unfit_gpu_beside_a_fit_one_is_left_out() -> None:
    with installed(FakeCuda(Gpu(name="Quadro", capability=(7, 5)), Gpu())):
        assert [r.properties.name for r in runtimes()] == ["NVIDIA H200"]


def test_no_driver_and_no_gpu_are_nothing_to_complain_of() -> None:
    for machine in (FakeCuda(driver=0), FakeCuda()):
        with installed(machine):
            assert runtimes() == []


def test_an_old_driver_is_told_with_both_versions() -> None:
    machine = FakeCuda(Gpu(), driver=12040)
    machine.failures["getDeviceCount"] = deque([35])
    with installed(machine), pytest.raises(DeviceError, match=r"CUDA 12\.4 .*CUDA 13\.2: install a newer driver"):
        runtimes()


def test_what_else_keeps_cuda_from_starting_is_told() -> None:
    machine = FakeCuda(Gpu())
    machine.failures["getDeviceCount"] = deque([803])
    with installed(machine), pytest.raises(DeviceError, match=r"cudaErrorSystemDriverMismatch.*nvidia-smi"):
        runtimes()


def test_the_fake_refuses_what_cuda_forbids() -> None:
    with installed(FakeCuda(Gpu())) as machine:
        (runtime,) = runtimes()
        one, two = runtime.open_stream(), runtime.open_stream()
        pointer = runtime.allocate(64, one)
        with pytest.raises(MisuseError, match="may write it"):
            runtime.upload(pointer, np.zeros(64, np.uint8), two)
        runtime.wait(two, runtime.record(one))
        runtime.upload(pointer, np.zeros(64, np.uint8), two)
        with pytest.raises(MisuseError, match="while stream"):
            runtime.release(pointer, one)
        with pytest.raises(MisuseError, match="there is no function"):
            runtime.launch(7, (1, 1, 1), (1, 1, 1), 0, one, 0)
        image = runtime.compiler.image('extern "C" __global__ void f(u8* p) { p[0] = 1; }', ())
        entry = runtime.function(runtime.load(image), "f", 0)
        for grid, block, shared in (((1, 65536, 1), 1, 0), ((1, 1, 1), 1025, 0), ((1, 1, 1), 1, 50000)):
            with pytest.raises(MisuseError, match=r"limits|allowed"):
                runtime.launch(entry, grid, (block, 1, 1), shared, one, 0)
        assert machine.launches == []
