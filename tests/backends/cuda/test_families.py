"""One call of every family of kernels over CuPy's bindings: its code for a GPU takes what the launch gives it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

import opmux as ox
from opmux.backends import cuda as plugin
from opmux.backends.cuda.device.launching import Pointer, Step, launcher
from tests.backends.cuda.fake_cupy import FakeCuda, Gpu, MisuseError, installed
from tests.backends.cuda.host.plugin import registered


def words(n: int, dtype: ox.DType = ox.uint32) -> ox.Array:
    return ox.zeros(n, dtype=dtype, device="cuda:0")


CALLS: dict[str, Callable[[Any], Any]] = {
    "elementwise over strides": lambda x: ox.exp(ox.permute_dims(x, (1, 0))[::-1]),
    "sum": lambda x: ox.sum(x, axis=0),
    "sum of all": lambda x: ox.sum(x),
    "argmax": lambda x: ox.argmax(x, axis=1),
    "scan": lambda x: ox.cumulative_sum(x, axis=1),
    "matmul": lambda x: x @ x,
    "concat": lambda x: ox.concat([x, x[:3]]),
    "gather": lambda x: ox.gather(x, words(3, ox.int64)),
    "sort": lambda x: ox.sort(x, axis=1),
    "scatter": lambda x: ox.scatter(x, words(2, ox.int64), x[:2], reduction="add"),
    "searchsorted": lambda x: ox.searchsorted(x[0], x[1]),
    "pad": lambda x: ox.pad(x, ((1, 2), (0, 3))),
    "iota": lambda x: ox.iota((7, 70), 1, device="cuda:0"),
    "random bits": lambda x: ox.random_bits(words(2), words(4), shape=70),
}


@pytest.fixture
def cuda() -> Iterator[FakeCuda]:
    with installed(FakeCuda(Gpu())) as machine, registered(plugin):
        yield machine


@pytest.mark.parametrize("call", CALLS)
def test_a_call_launches_what_the_code_takes(cuda: FakeCuda, call: str) -> None:
    x = ox.asarray(np.zeros((70, 70), np.float32), device="cuda:0")
    cuda.launches.clear()
    with ox.policy(fallback="forbid"):
        CALLS[call](x)
    assert cuda.launches
    assert all(launch.pointers for launch in cuda.launches)


@pytest.mark.parametrize("capability", [(8, 0), (8, 6), (8, 9), (10, 0)], ids=str)
def test_code_for_every_target_takes_what_the_launches_give_it(capability: tuple[int, int]) -> None:
    with installed(FakeCuda(Gpu(capability=capability, shared=99 << 10))) as machine, registered(plugin):
        x = ox.zeros((70, 70), dtype=ox.float32, device="cuda:0")
        for call in CALLS.values():
            call(x)
        assert len(machine.launches) > len(CALLS)


def test_a_launch_that_gives_too_little_is_refused(cuda: FakeCuda) -> None:
    driver = ox.device("cuda:0").driver
    text = 'struct Pair { u64 a, b; }; extern "C" __global__ void f(Pair p, u8* q) { q[p.a] = p.b; }'
    entry = driver.loader.function(text, (), "f")
    launch = launcher(driver.runtime, [Step(entry, (1, 1, 1), (1, 1, 1), [Pointer(0), Pointer(0)])])
    x = ox.asarray(np.zeros(8, np.uint8), device="cuda:0")
    with pytest.raises(MisuseError, match="not given so many"):
        launch([], [x], None, x.device.default_queue.handle)
