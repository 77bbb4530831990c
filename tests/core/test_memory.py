"""The allocator of cpu memory."""

from __future__ import annotations

import os
import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pytest

import opmux as ox
from opmux.core.arrays import defaults
from opmux.core.devices import device
from opmux.core.devices.memory import LARGEST_CACHED, CachingAllocator, foreign
from opmux.core.errors import OutOfMemoryError


def test_blocks_are_aligned_and_large_enough() -> None:
    allocator = CachingAllocator(1 << 24)
    for nbytes in (0, 1, 63, 64, 65, 4097, 1_000_003):
        block = allocator.alloc(nbytes)
        assert block.address % 64 == 0
        assert block.bytes.size == block.capacity >= max(nbytes, 1)
        assert block.bytes.__array_interface__["data"][0] == block.address


@pytest.mark.parametrize("nbytes", [65, 1000, 4097, 10**6 + 1, 10**8 + 1])
def test_at_most_an_eighth_is_lost(nbytes: int) -> None:
    from opmux.core.devices.memory import _round_up

    assert nbytes <= _round_up(nbytes) <= nbytes * 9 / 8 + 64


def test_a_freed_block_is_used_again() -> None:
    allocator = CachingAllocator(1 << 20)
    first = allocator.alloc(1000)
    allocator.free(first)
    assert allocator.alloc(990) is first
    assert (allocator.statistics().from_system, allocator.statistics().cached) == (1, 0)


def test_statistics_count_what_is_held() -> None:
    allocator = CachingAllocator(1 << 20)
    block = allocator.alloc(1024)
    held = allocator.statistics()
    assert (held.in_use, held.peak, held.cached, held.from_system) == (1024, 1024, 0, 1)
    allocator.free(block)
    after = allocator.statistics()
    assert (after.in_use, after.peak, after.cached) == (0, 1024, 1024)
    allocator.trim()
    assert allocator.statistics().cached == 0


def test_the_limit_is_kept_and_the_error_says_how_much() -> None:
    allocator = CachingAllocator(4096)
    block = allocator.alloc(4096)
    with pytest.raises(OutOfMemoryError, match="OPMUX_CPU_MEMORY") as caught:
        allocator.alloc(1)
    assert (caught.value.nbytes, caught.value.in_use, caught.value.limit) == (64, 4096, 4096)
    allocator.free(block)
    allocator.alloc(4096)


def test_cached_blocks_make_room_for_others() -> None:
    allocator = CachingAllocator(4096)
    allocator.free(allocator.alloc(4096))
    allocator.alloc(64)
    assert allocator.statistics().cached == 0


def test_very_large_blocks_are_not_cached() -> None:
    allocator = CachingAllocator(1 << 40)
    allocator.free(allocator.alloc(LARGEST_CACHED * 2))
    assert allocator.statistics().cached == 0


@pytest.mark.parametrize("nbytes", [1 << 62, 1 << 70])
def test_what_the_system_refuses_is_typed_and_not_counted(nbytes: int) -> None:
    allocator = CachingAllocator(1 << 80)
    with pytest.raises(OutOfMemoryError, match="refused"):
        allocator.alloc(nbytes)
    assert allocator.statistics().in_use == 0


def test_arrays_give_their_memory_back() -> None:
    allocator = defaults.device().driver.allocator
    before = allocator.statistics().in_use
    x = ox.asarray(list(range(1000)))
    part = x[::2]
    del x
    assert allocator.statistics().in_use == before + 8192
    del part
    assert allocator.statistics().in_use == before


def test_a_shape_that_cannot_fit_is_a_memory_error() -> None:
    with pytest.raises(MemoryError, match="in use"):
        ox.reshape(ox.broadcast_to(ox.asarray([1.0]), (10**6, 10**6, 10**6)), -1, copy=True)


def test_foreign_memory_is_read_only() -> None:
    values = np.arange(8, dtype=np.uint8)
    block = foreign(values, values.ctypes.data, 8)
    assert block.bytes.tolist() == values.tolist()
    with pytest.raises(ValueError, match="read-only"):
        block.bytes[0] = 9


@pytest.mark.parametrize("given", ["lots", "-5", "1.5"])
def test_a_limit_that_is_no_number_of_bytes_is_refused(given: str) -> None:
    environment = {**os.environ, "OPMUX_CPU_MEMORY": given}
    found = subprocess.run(
        [sys.executable, "-c", "import opmux as ox; print('imported'); ox.asarray([1.0])"],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert found.stdout == "imported\n"  # else `opmux doctor` could not say what is wrong
    assert "OPMUX_CPU_MEMORY" in found.stderr.splitlines()[-1]
    assert "ArgumentError" in found.stderr


def test_the_limit_comes_from_the_environment() -> None:
    code = "import opmux.core.runtime, opmux.core.arrays.defaults as d; print(d.device().driver.allocator.limit)"
    environment = {**os.environ, "OPMUX_CPU_MEMORY": "12345678"}
    found = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "12345678"


def test_a_buffer_outlives_the_names_of_its_module(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(handle: object, uses: object) -> None:
        raise RuntimeError("the driver is gone")

    x = ox.asarray([1.0])
    monkeypatch.setattr(x.device, "driver", SimpleNamespace(free=refuse))
    monkeypatch.setattr(device, "sys", None)  # as at the interpreter's end
    buffer = x._buffer
    with pytest.warns(ResourceWarning, match="the driver is gone"):
        buffer.__del__()
    buffer.writable = False  # the memory is not returned a second time
