"""Constants, ramps and random bits, bit for bit what the op's reference gives."""

import numpy as np
import pytest

import opmux as ox
from opmux.opset.philox import random_words
from opmux.opset.recipes.program import FLOATS, INTEGERS, NUMPY_TYPES


@pytest.fixture(autouse=True)
def only_llvm():
    with ox.policy(pins=dict.fromkeys(("full", "iota", "random_bits"), "llvm")):
        yield


@pytest.mark.parametrize("dtype", [*INTEGERS, *FLOATS])
@pytest.mark.parametrize(
    ("shape", "axis"), [((5000,), 0), ((3, 70), 1), ((70, 3, 5), 1), ((0, 3), 0), ((4, 0), 0), ((1,), 0)]
)
def test_iota(tools, shape, axis, dtype):
    line = np.arange(shape[axis]).astype(NUMPY_TYPES[dtype])
    wanted = np.broadcast_to(line.reshape(-1, *(1,) * (len(shape) - axis - 1)), shape)
    tools.same_bits(np.asarray(ox.iota(shape, axis, dtype=getattr(ox, dtype))), wanted)


def test_iota_rounds_once_beyond_the_significand(tools):
    n = 70_000  # float16 has no room beyond 65504, bfloat16 rounds from 257 on
    for dtype in ("float16", "bfloat16"):
        with np.errstate(over="ignore"):
            wanted = np.arange(n).astype(NUMPY_TYPES[dtype])
        tools.same_bits(np.asarray(ox.iota((n,), dtype=getattr(ox, dtype))), wanted)


@pytest.mark.parametrize("value", [True, -3, 1.5, -0.0, float("nan"), 2 + 1j])
@pytest.mark.parametrize("shape", [(), (0,), (1,), (3, 129)])
def test_full(shape, value):
    found = np.asarray(ox.full(shape, value))
    assert (found.shape, found.tobytes()) == (shape, np.full(shape, value, found.dtype).tobytes())


@pytest.mark.parametrize("size", [0, 1, 3, 4, 5, 64, 1001])
@pytest.mark.parametrize("start", [(0, 0, 0, 0), (0xFFFFFFFE, 0xFFFFFFFF, 7, 9), (0xFFFFFFF0, 3, 0xFFFFFFFF, 0)])
def test_random_bits(size, start):
    key, counter = np.array([0x12345678, 0xFFFFFFFF], np.uint32), np.array(start, np.uint32)
    found = ox.random_bits(ox.asarray(key), ox.asarray(counter), shape=size)
    np.testing.assert_array_equal(np.asarray(found), random_words(key, counter, size))


def test_random_bits_of_strided_words():
    words = np.arange(8, dtype=np.uint32)
    found = ox.random_bits(ox.asarray(words)[:4:2], ox.asarray(words)[::-2], shape=(3, 3))
    np.testing.assert_array_equal(np.asarray(found), random_words(words[:4:2], words[::-2], (3, 3)))
