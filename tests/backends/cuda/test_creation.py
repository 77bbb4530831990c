"""Ramps on the pretended GPU."""

from __future__ import annotations

import numpy as np
import pytest

import opmux as ox
from opmux.backends.cuda.creation_kernels import PARTS, THREADS, TURNS, source
from tests.backends.cuda.host.compiler import HostCompiler
from tests.backends.cuda.host.runtime import HostRuntime


@pytest.mark.parametrize("dtype", ["int8", "uint64", "float32", "bfloat16"])
@pytest.mark.parametrize(("shape", "axis"), [((THREADS * TURNS * 16 + 3,), 0), ((3, 300, 5), 1), ((1,), 0)], ids=str)
def test_elements_are_their_index(gpu: HostRuntime, dtype: str, shape: tuple[int, ...], axis: int) -> None:
    found = ox.iota(shape, axis, dtype=getattr(ox, dtype), device="cuda:0").numpy()
    line = np.arange(shape[axis]).astype(found.dtype).reshape(-1, *(1,) * (len(shape) - axis - 1))
    assert (found == np.broadcast_to(line, shape)).all()
    assert gpu.launches == ["iota"]


def test_indices_of_64_bits_give_the_same(gpu: HostRuntime) -> None:
    narrow, wide = (HostCompiler().image(source("float16", 2, w), PARTS) for w in (False, True))
    assert narrow != wide
    found = np.zeros(600, np.float16)
    run(gpu, wide, found, 200, 3)
    assert (found == np.repeat(np.arange(200), 3)).all()


def run(gpu: HostRuntime, image: bytes, out: np.ndarray, length: int, after: int) -> None:
    values = np.array([out.size, after, length, out.ctypes.data], np.int64)
    addresses = values.ctypes.data + np.arange(4, dtype=np.uint64) * np.uint64(8)
    function = gpu.function(gpu.load(image), "iota", 0)
    gpu.launch(function, (2, 1, 1), (THREADS, 1, 1), 0, None, addresses.ctypes.data)
