"""What the driver makes of a GPU: its rates, its target, and its code, loaded once."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterator

import numpy as np
import pytest

import opmux as ox
from opmux.backends import cuda as plugin
from opmux.backends.cuda.compiling.targets import TARGETS
from opmux.backends.cuda.device.cupy_runtime import CupyRuntime
from opmux.backends.cuda.device.discovery import runtimes
from opmux.backends.cuda.device.driver import CudaDriver
from opmux.backends.cuda.device.loading import Loader
from opmux.backends.cuda.device.rates import rates
from opmux.backends.cuda.device.runtime import CudaError, Properties
from opmux.core.errors import DeviceError
from tests.backends.cuda.fake_cupy import FakeCuda, Gpu, installed
from tests.backends.cuda.forked import in_child
from tests.backends.cuda.host.plugin import OnHost, registered
from tests.backends.cuda.host.runtime import HostRuntime
from tests.backends.cuda.resources.calls import Recorder


@pytest.fixture
def runtime() -> Iterator[CupyRuntime]:
    with installed(FakeCuda(Gpu())):
        (found,) = runtimes()
        yield found


#: Operations per second without sparsity, from NVIDIA's data sheets; clocks and multiprocessors from there too.
SHEETS = {
    "H200": ((9, 0), 132, 1.98e9, {"float32": 67e12, "float64": 34e12, "bfloat16": 989e12, "int8": 1979e12}),
    "A100": ((8, 0), 108, 1.41e9, {"float32": 19.5e12, "float64": 9.7e12, "bfloat16": 312e12, "int8": 624e12}),
}


@pytest.mark.parametrize("name", SHEETS)
def test_rates_are_those_of_data_sheets(name: str) -> None:
    capability, multiprocessors, clock, sheet = SHEETS[name]
    found = rates(Properties(name, capability, 1 << 36, multiprocessors, clock, 4.9e12, 1 << 25))
    for dtype, flops in sheet.items():
        assert found.flops_for(dtype) == pytest.approx(flops, rel=0.1)
    assert 0.8 * 4.9e12 < found.bandwidth_at(1 << 30) < 4.9e12


def test_a_gpu_gets_its_own_targets_code_unless_another_is_asked_for(runtime: CupyRuntime) -> None:
    assert CudaDriver(runtime).target is TARGETS["sm_90a"]
    assert CudaDriver(runtime, TARGETS["sm_90"]).info.features == frozenset({"sm_90"})


def test_a_gpu_that_no_kernel_runs_on_is_refused() -> None:
    old = HostRuntime()
    old.properties = Properties("Tesla V100", (7, 0), 1 << 34, 80, 1.5e9, 9e11, 6 << 20)
    with pytest.raises(DeviceError, match=r"Tesla V100 has compute capability 7\.0; the kernels need 8\.0"):
        CudaDriver(old)


class Counting(HostRuntime):
    """A runtime that counts what it compiles and loads, slowly."""

    def __init__(self) -> None:
        super().__init__()
        self.compiler = self  # type: ignore[assignment]
        self.made: list[str] = []
        self.entered = threading.Event()
        self.may_go_on = threading.Event()
        self.may_go_on.set()

    def image(self, body: str, parts: object) -> bytes:
        self.made.append(body)
        self.entered.set()
        self.may_go_on.wait(10)
        return body.encode()

    def load(self, image: bytes) -> bytes:  # type: ignore[override]
        return image

    def function(self, module: bytes, name: str, dynamic_shared: int) -> str:  # type: ignore[override]
        return f"{name} of {module.decode()}"


def test_code_is_compiled_and_loaded_once_for_all_threads() -> None:
    runtime = Counting()
    loader = Loader(runtime, "sm_90a", lambda call, *args: call(*args))
    entries = [loader.function("text", (), "f") for _ in range(8)]
    assert runtime.made == [], "compiled before anybody launches it"
    threads = [threading.Thread(target=entry.loaded) for entry in entries]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert loader.function("text", (), "g").loaded() == "g of text"
    assert loader.function("text", ("part",), "f").loaded() == "f of text"
    assert runtime.made == ["text", "text"]


def test_code_that_is_refused_is_named_with_its_target_and_tried_again(runtime: CupyRuntime) -> None:
    driver = CudaDriver(runtime)
    entry = driver.loader.function('extern "C" __global__ void f() { g(); }', (), "f")
    for _ in range(2):
        with pytest.raises(CudaError, match=r"NVRTC_ERROR_COMPILATION: entry f for sm_90a: .*\bg\b"):
            entry.loaded()
    none = driver.loader.function('extern "C" __global__ void f() {}', (), "g")
    with pytest.raises(CudaError, match=r"CUDA_ERROR_NOT_FOUND: entry g for sm_90a"):
        none.loaded()


def test_a_child_forked_while_another_thread_loads_does_not_wait_for_it() -> None:
    runtime = Counting()
    loader = Loader(runtime, "sm_90a", lambda call, *args: call(*args))
    runtime.may_go_on.clear()
    thread = threading.Thread(target=loader.function("slow", (), "f").loaded)
    thread.start()
    runtime.entered.wait(10)

    def load() -> str:
        runtime.may_go_on.set()
        return str(loader.function("other", (), "f").loaded())

    try:
        assert in_child(load) == "f of other"
    finally:
        runtime.may_go_on.set()
        thread.join()


@pytest.fixture
def recorder() -> Iterator[Recorder]:
    """A GPU that keeps what it compiles and carries nothing out, with an operand on it."""
    gpu = Recorder()
    with registered(OnHost(gpu)):
        yield gpu


def test_planning_compiles_nothing_and_a_region_only_itself(recorder: Recorder) -> None:
    x = ox.asarray(np.ones((64, 100), np.float32), device="cuda:0")
    for op in (ox.sum, ox.matmul, ox.softmax):
        ox.explain(op, *([x, x.T] if op is ox.matmul else [x]))
    assert recorder.texts == {}
    f = ox.compile(lambda a: ox.exp(a) * a + 2.0)
    f(x)
    assert len(recorder.texts) == len(recorder.launched) == 1
    f(x)
    assert len(recorder.texts) == 1


def test_code_that_a_gpu_refuses_is_an_error_of_the_call_with_kernel_and_target() -> None:
    with installed(FakeCuda(Gpu())) as machine, registered(plugin):
        x = ox.asarray(np.ones(8, np.float32), device="cuda:0")
        ox.explain(ox.add, x, x)
        machine.failures["moduleLoadData"] = deque([209])
        with pytest.raises(ox.KernelError, match=r"add failed in kernel \w+ .*CUDA_ERROR_NO_BINARY_FOR_GPU: .*sm_90a"):
            ox.add(x, x)
        assert ox.add(x, x).shape == (8,)


def askew(dtype: str, by: int) -> np.ndarray:
    """Return an array of the host that begins so many bytes after a multiple of 64."""
    room = np.zeros(64 + 32 * 16, np.uint8)
    start = -room.ctypes.data % 64 + by
    return room[start : start + 24 * np.dtype(dtype).itemsize].view(dtype).reshape(4, 6)


@pytest.mark.parametrize(
    ("dtype", "by"), [("float32", 1), ("float64", 4), ("complex64", 4), ("complex128", 8), ("int16", 1)]
)
def test_no_array_of_a_gpu_begins_within_an_element(recorder: Recorder, dtype: str, by: int) -> None:
    given = askew(dtype, by)
    assert given.ctypes.data % given.itemsize, "it is aligned"
    on_host = ox.asarray(given)
    arrived = [
        ox.asarray(given, device="cuda:0"),
        ox.from_dlpack(given, device="cuda:0"),
        on_host.to_device("cuda:0"),
        on_host[1:, ::-1].to_device("cuda:0"),
    ]
    views = [v for x in arrived for v in (x, x[1:, 1:], x[::-1, 2], x.T[3], ox.flip(x), ox.reshape(x, (-1,))[5:])]
    inside = ox.compile(lambda v: (v[1:, 1:] + v[1:, 1:], ox.sort(ox.reshape(v, (-1,))[1:])))
    made = [] if dtype.startswith("complex") else [y for x in arrived for _ in range(2) for y in inside(x)]
    assert [v for v in (*views, *made) if v.ptr % v.dtype.itemsize] == []
