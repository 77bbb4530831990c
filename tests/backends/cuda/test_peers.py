"""Copies from GPU to GPU: straight, in order, and of live memory."""

from __future__ import annotations

import gc
import sys
from collections import deque
from collections.abc import Iterator

import numpy as np
import pytest

import opmux as ox
from opmux.backends import cuda as plugin
from opmux.core.devices.driver import PeerDriver
from opmux.core.errors import DeviceError
from tests.backends.cuda.fake_cupy import FakeCuda, Gpu, installed
from tests.backends.cuda.host.plugin import OnHost, registered
from tests.backends.cuda.host.runtime import HostRuntime


@pytest.fixture
def cuda() -> Iterator[FakeCuda]:
    """A machine of two GPUs that holds every call to CUDA's rules."""
    with installed(FakeCuda(Gpu(), Gpu())) as machine, registered(plugin):
        yield machine


def test_values_arrive_without_the_host(cuda: FakeCuda) -> None:
    x = ox.asarray(np.arange(6, dtype=np.float32).reshape(2, 3), device="cuda:0")
    y = x[1].to_device("cuda:1")
    assert cuda.calls.count("memcpyPeerAsync") == 1
    assert "streamSynchronize" not in cuda.calls
    assert y.tolist() == [3.0, 4.0, 5.0]


def test_the_source_is_given_back_only_after_the_copy(cuda: FakeCuda) -> None:
    copies = []
    for i in range(4):  # memory that is freed too early is a misuse that the machine reports
        x = ox.asarray([float(i)], device="cuda:1")
        copies.append(x.to_device("cuda:0"))
        del x
        gc.collect()
    assert [c.item() for c in copies] == [0.0, 1.0, 2.0, 3.0]


def test_an_error_of_a_copy_names_the_device(cuda: FakeCuda) -> None:
    x = ox.asarray([1.0], device="cuda:0")
    cuda.failures["memcpyPeerAsync"] = deque([803])
    with pytest.raises(DeviceError, match=r"cuda:1: copy_peer failed.*cudaErrorSystemDriverMismatch"):
        x.to_device("cuda:1")
    assert x.tolist() == [1.0]


def test_a_link_is_declared_as_the_least_that_connects_two_gpus() -> None:
    with registered(OnHost(HostRuntime(), HostRuntime(ordinal=1))):
        here, there = (ox.device(f"cuda:{i}").driver for i in range(2))
        assert isinstance(here, PeerDriver)
        link = here.link(there)
    assert (link.source, round(link.bandwidth / 1e9, 1)) == ("declared", 31.5)
    assert 0 < link.latency < 1e-4


@pytest.mark.parametrize("determinism", ["none", "canonical"])
def test_without_nccl_a_collective_goes_over_copies_from_gpu_to_gpu(
    determinism: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("cupy_backends.cuda.libs.nccl", "cuda.pathfinder"):
        monkeypatch.setitem(sys.modules, name, None)
    runtimes = [HostRuntime(), HostRuntime(ordinal=1)]
    with registered(OnHost(*runtimes)), ox.policy(determinism=determinism):
        mesh = ox.Mesh(["cuda:0", "cuda:1"])
        given = [ox.asarray([1.0, 2.0], device="cuda:0"), ox.asarray([10.0, 20.0], device="cuda:1")]
        made = ox.all_reduce(given, mesh)
        assert [y.tolist() for y in made] == [[11.0, 22.0], [11.0, 22.0]]
    assert [r.copies for r in runtimes] == [[1], [0]]


def test_memory_of_another_gpu_is_refused() -> None:
    runtimes = [HostRuntime(), HostRuntime(ordinal=1)]
    with registered(OnHost(*runtimes)):
        x = ox.asarray([1.0], device="cuda:0")
        runtimes[1].peers = {0: runtimes[1], 1: runtimes[1]}
        with pytest.raises(DeviceError, match="are not GPU 1's"):
            x.to_device("cuda:1")
