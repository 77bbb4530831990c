"""Compiled functions as CUDA graphs: launched as a whole on memory that is the call's, and one by one otherwise."""

from __future__ import annotations

import gc
import threading
import time
from collections import Counter, deque
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

import opmux as ox
from opmux.backends import cuda as plugin
from opmux.backends.cuda.device.discovery import runtimes
from opmux.core.errors import DeviceLostError
from tests.backends.cuda.fake_cupy import FakeCublas, FakeCuda, Gpu, MisuseError, installed
from tests.backends.cuda.host.plugin import OnHost, registered
from tests.backends.cuda.host.runtime import HostRuntime


@pytest.fixture
def cuda() -> Iterator[FakeCuda]:
    """One GPU whose memory comes again, with cuBLAS."""
    machine = FakeCuda(Gpu(memory=1 << 40))
    machine.gives_again = True
    library = FakeCublas(machine)
    with installed(machine, cublas=library), registered(plugin):
        yield machine
    assert library.misuse == []


def put(*shape: int) -> ox.Array:
    return ox.asarray(np.ones(shape, np.float32), device="cuda:0")


def steps(x: Any) -> Any:
    """Three launches with a view between them."""
    return ox.sum(ox.cumulative_sum(ox.flip(ox.sort(x)), axis=0))


def test_a_loop_is_captured_and_then_launched_whole(cuda: FakeCuda) -> None:
    f, x = ox.compile(steps), put(300)
    f(x)
    one_by_one = [launch.entry for launch in cuda.launches]
    assert len(one_by_one) >= 3
    f(x)
    f(x)
    cuda.calls.clear()
    cuda.launches.clear()
    y = f(x)
    counts = Counter(cuda.calls)
    assert (counts["launchKernel"], counts["graphLaunch"], counts["mallocFromPoolAsync"]) == (0, 1, 2)
    assert [launch.entry for launch in cuda.launches] == one_by_one
    assert cuda.launches[0].pointers[0] == x.ptr
    assert y.ptr in {p for launch in cuda.launches for p in launch.pointers}
    assert len({launch.stream for launch in cuda.launches}) == 1


def test_nothing_is_loaded_while_launches_are_captured(cuda: FakeCuda) -> None:
    f, x = ox.compile(steps), put(300)
    f(x)
    loaded = cuda.calls.count("moduleLoadData")
    for _ in range(3):
        f(x)
    begin, end = cuda.calls.index("streamBeginCapture"), cuda.calls.index("streamEndCapture")
    assert set(cuda.calls[begin + 1 : end]) == {"launchKernel"}
    assert cuda.calls.count("moduleLoadData") == loaded


def test_each_operands_memory_has_a_graph_of_its_own(cuda: FakeCuda) -> None:
    f, operands = ox.compile(steps), [put(300), put(300)]
    for _ in range(4):
        for x in operands:
            f(x)
            assert any(x.ptr in launch.pointers for launch in cuda.launches[-4:])
    assert len(cuda.executables) == 2
    assert cuda.graphs == {}


def test_a_graph_on_another_queue_waits_for_its_operands(cuda: FakeCuda) -> None:
    f, device = ox.compile(steps), ox.device("cuda:0")
    x = put(300)
    for _ in range(3):
        f(x)
    other = device.queue()
    cuda.calls.clear()
    for _ in range(8):
        x = ox.sort(put(300))
        with ox.use_queue(other):
            f(x)  # the machine refuses work that does not come after the sort
    assert "graphLaunch" in cuda.calls
    assert len({launch.stream for launch in cuda.launches}) == 2


def test_products_of_cublas_are_captured_with_their_workspace(cuda: FakeCuda) -> None:
    f = ox.compile(lambda x: ox.matmul(ox.sort(x), x))
    x = put(2048, 2048)
    for _ in range(6):  # the machine gives the two blocks of the result's size by turns
        f(x)
    cuda.calls.clear()
    f(x)
    assert "cublasGemmEx_64" not in cuda.calls
    assert cuda.calls.count("graphLaunch") == 1


def test_constants_of_a_decomposition_are_captured(cuda: FakeCuda) -> None:
    f = ox.compile(lambda x: ox.attention(x, x, x))
    x = put(1, 1, 64, 64)
    for _ in range(6):
        f(x)
    cuda.calls.clear()
    f(x)
    counts = Counter(cuda.calls)
    assert (counts["launchKernel"], counts["graphLaunch"]) == (0, 1)


def test_each_gpu_captures_its_own_work() -> None:
    machine = FakeCuda(Gpu(), Gpu())
    machine.gives_again = True
    with installed(machine), registered(plugin):
        f = ox.compile(steps)
        operands = [ox.asarray(np.ones(300, np.float32), device=f"cuda:{i}") for i in (1, 0)]
        for _ in range(6):
            for x in operands:
                f(x)  # the machine refuses work of another GPU than the current one
        assert machine.thread.device == 0
        assert machine.calls.count("graphLaunch") >= 4
        devices = {machine.streams[launch.stream].device for launch in machine.launches[-8:]}
        assert devices == {0, 1}


def test_graphs_go_with_the_function(cuda: FakeCuda) -> None:
    f, x = ox.compile(steps), put(300)
    for _ in range(4):
        f(x)
    assert len(cuda.executables) == 1
    del f
    gc.collect()
    assert cuda.executables == {}


@pytest.mark.parametrize("call", ["streamBeginCapture", "streamEndCapture", "graphInstantiate"])
def test_what_cannot_be_captured_is_launched_one_by_one(cuda: FakeCuda, call: str) -> None:
    f, x = ox.compile(steps), put(300)
    cuda.failures[call] = deque([901])
    for _ in range(6):
        f(x)
    assert cuda.calls.count(call) == 1
    assert "graphLaunch" not in cuda.calls


def test_memory_that_is_kept_is_given_back_for_a_graph(cuda: FakeCuda) -> None:
    f, x = ox.compile(steps), put(300)
    cuda.failures["graphInstantiate"] = deque([2])
    for _ in range(8):
        f(x)
    assert cuda.calls.count("memPoolTrimTo") == 1
    assert "graphLaunch" in cuda.calls


@pytest.mark.parametrize(
    ("status", "error", "said"),
    [
        (1, ox.KernelError, r"compiled:steps failed in kernel graph .*cudaError1"),
        (719, DeviceLostError, "cudaErrorLaunchFailure"),
    ],
)
def test_an_error_of_a_graph_is_the_functions(cuda: FakeCuda, status: int, error: type[Exception], said: str) -> None:
    f, x = ox.compile(steps), put(300)
    for _ in range(4):
        f(x)
    cuda.failures["graphLaunch"] = deque([status])
    with pytest.raises(error, match=said):
        f(x)


def test_a_captured_stream_takes_kernels_alone(cuda: FakeCuda) -> None:
    runtime = ox.device("cuda:0").driver.runtime
    capture = runtime.begin_capture()
    for call in (runtime.synchronize, runtime.record, runtime.stream_handle, lambda s: runtime.allocate(8, s)):
        with pytest.raises(Exception, match="only kernels are captured"):
            call(capture)
    runtime.end_capture(capture)
    assert cuda.captures == {}


def test_threads_launch_a_graph_one_after_the_other() -> None:
    with installed(FakeCuda(Gpu())):
        (runtime,) = runtimes()
        graph = runtime.end_capture(runtime.begin_capture())
        streams, inside, seen = [runtime.open_stream() for _ in range(4)], [], []

        def slow(launched: int, stream: int) -> None:
            inside.append(stream)
            time.sleep(0.01)
            seen.append((launched, len(inside)))
            inside.pop()

        runtime.runtime.graphLaunch = slow
        threads = [threading.Thread(target=runtime.replay, args=(graph, s)) for s in streams]
        for t in threads:
            t.start()
        for t in threads:
            t.join()
        assert seen == [(graph.handle, 1)] * 4


def test_the_fake_refuses_what_a_capture_forbids(cuda: FakeCuda) -> None:
    runtime = ox.device("cuda:0").driver.runtime
    capture = runtime.begin_capture()
    with pytest.raises(MisuseError, match="kernels alone"):
        runtime.synchronize(capture.stream)
    assert runtime.end_capture(capture).handle in cuda.executables


def test_values_are_right_where_nothing_can_be_captured() -> None:
    with registered(OnHost(HostRuntime())):
        f = ox.compile(steps)
        for seed in range(4):
            x = np.random.default_rng(seed).integers(-9, 9, 100).astype(np.float32)
            found = f(ox.asarray(x, device="cuda:0")).numpy()
            assert found == np.sort(x)[::-1].cumsum().sum()
