"""Movement kernels, bit for bit what the op's reference gives."""

import numpy as np
import pytest

import opmux as ox
from opmux.opset.movement_reference import scattered, taken
from opmux.opset.recipes.program import NUMPY_TYPES

WORDS = ("bool", "int8", "uint16", "int32", "int64", "float16", "bfloat16", "float32", "float64", "complex64")
VIEWS = {
    "dense": lambda a: a,
    "permuted": lambda a: a.transpose(3, 1, 0, 2),
    "reversed": lambda a: a[::-1, :, ::2],
    "last axis reversed": lambda a: a[:, :, :, ::-1],
    "one of each": lambda a: a[:, :1, :1],
}


@pytest.fixture(autouse=True)
def only_llvm():
    ops = ("copy", "full", "pad", "concat", "gather", "scatter")
    with ox.policy(pins=dict.fromkeys(ops, "llvm")):
        yield


def numbers(*shape, dtype="float32"):
    x = (np.random.default_rng(7).standard_normal(shape) * 3).astype(np.int8)
    return x.astype(NUMPY_TYPES.get(dtype, np.complex64))


@pytest.mark.parametrize("view", VIEWS)
@pytest.mark.parametrize("mode", ["clip", "wrap", "fill"])
@pytest.mark.parametrize("axis", range(4))
def test_gather(tools, axis, mode, view):
    x = VIEWS[view](numbers(4, 6, 5, 7))
    indices = np.random.default_rng(axis).integers(-20, 20, (3, 5))
    for given in (
        indices,
        indices.T,
        indices[:, ::2].astype(np.int32),
        indices[0, 0],
        indices[:0],
        indices.astype(np.int8),
    ):
        found = ox.gather(ox.asarray(x), ox.asarray(given), axis=axis, mode=mode)
        tools.same_bits(np.asarray(found), taken(x, np.asarray(given), axis, mode))


@pytest.mark.parametrize("dtype", WORDS)
def test_gather_moves_every_width(dtype):
    x, indices = numbers(9, 40, dtype=dtype), np.arange(-15, 15)
    for axis in (0, 1):
        found = np.asarray(ox.gather(ox.asarray(x), ox.asarray(indices), axis=axis, mode="fill"))
        np.testing.assert_array_equal(found, taken(x, indices, axis, "fill"))


def test_gather_keeps_nan_payloads_and_zero_signs():
    bits = np.array([0x7FC01234, 0xFF800001, 0x80000000], np.uint32)
    found = ox.gather(ox.asarray(bits.view(np.float32)), ox.asarray([2, 0, 1]))
    assert np.asarray(found).view(np.uint32).tolist() == bits[[2, 0, 1]].tolist()


@pytest.mark.parametrize("index", [2**63 - 1, -(2**63)])
@pytest.mark.parametrize("mode", ["clip", "wrap", "fill"])
def test_gather_at_the_largest_and_smallest_index(mode, index):
    x, indices = np.arange(5, dtype=np.float32), np.array([index])
    found = ox.gather(ox.asarray(x), ox.asarray(indices), mode=mode)
    np.testing.assert_array_equal(np.asarray(found), taken(x, indices, 0, mode))


def test_gather_more_indices_than_one_chunk_and_long_rows():
    x, indices = numbers(700, 90), np.random.default_rng(1).integers(-900, 900, 1300)
    found = ox.gather(ox.asarray(x), ox.asarray(indices), mode="fill")
    np.testing.assert_array_equal(np.asarray(found), taken(x, indices, 0, "fill"))


def test_gather_from_nothing_fills():
    found = ox.gather(ox.zeros((3, 0)), ox.asarray([0, 1]), axis=1, mode="fill")
    np.testing.assert_array_equal(np.asarray(found), np.zeros((3, 2)))


@pytest.mark.parametrize("reduction", ["set", "add", "multiply", "min", "max"])
@pytest.mark.parametrize("mode", ["drop", "clip", "wrap"])
@pytest.mark.parametrize("axis", range(3))
def test_scatter_applies_updates_in_order(tools, axis, mode, reduction):
    x = np.random.default_rng(2).uniform(-1, 1, (6, 5, 7)).astype(np.float32)
    indices = np.random.default_rng(3).integers(-9, 9, (4, 3))
    updates = np.random.default_rng(4).uniform(-1, 1, (*x.shape[:axis], 4, 3, *x.shape[axis + 1 :])).astype(np.float32)
    updates[..., :1] = -0.0
    updates[..., -1:, :] = np.nan
    found = ox.scatter(*map(ox.asarray, (x, indices, updates)), axis=axis, mode=mode, reduction=reduction)
    tools.same_bits(np.asarray(found), scattered(x, indices, updates, axis, mode, reduction))


@pytest.mark.parametrize("dtype", ["int8", "uint64", "float64"])
@pytest.mark.parametrize("reduction", ["add", "multiply", "min", "max"])
def test_scatter_dtypes(tools, reduction, dtype):
    x, updates, indices = numbers(5, dtype=dtype), numbers(40, dtype=dtype), np.arange(40) % 6
    found = ox.scatter(*map(ox.asarray, (x, indices, updates)), reduction=reduction)
    tools.same_bits(np.asarray(found), scattered(x, indices, updates, 0, "drop", reduction))


def test_scatter_from_strided_and_broadcast_operands():
    x, indices = numbers(8, 6).T, np.array([[0, 5], [3, 9]])
    found = ox.scatter(ox.asarray(x), ox.asarray(indices)[:, ::-1], 4.0, axis=0)
    wanted = scattered(x, indices[:, ::-1], np.full((2, 2, 8), 4.0, np.float32), 0, "drop", "set")
    np.testing.assert_array_equal(np.asarray(found), wanted)


def test_scatter_of_nothing_is_a_copy():
    x = numbers(4, 3)
    found = ox.scatter(ox.asarray(x), ox.zeros((0,), dtype=ox.int64), ox.zeros((0, 3)))
    np.testing.assert_array_equal(np.asarray(found), x)


@pytest.mark.parametrize("dtype", WORDS)
@pytest.mark.parametrize("width", [0, 1, ((0, 3), (2, 0), (1, 1))])
def test_pad(dtype, width):
    x = numbers(3, 4, 5, dtype=dtype)
    for given in (x, x.T, x[:, :0]):
        padded = ox.pad(ox.asarray(given), width, value=ox.asarray(x[2, 2, 2]))
        np.testing.assert_array_equal(np.asarray(padded), np.pad(given, width, constant_values=x[2, 2, 2]))


@pytest.mark.parametrize("axis", [0, 1, 2, None])
@pytest.mark.parametrize("dtype", WORDS)
def test_concat(dtype, axis):
    x = numbers(4, 4, 4, dtype=dtype)
    parts = [x, x[::-1], x.T, x[:0] if axis == 0 else x]
    found = ox.concat([ox.asarray(part) for part in parts], axis=axis)
    np.testing.assert_array_equal(np.asarray(found), np.concatenate(parts, axis=axis))


def test_concat_of_one_and_of_unequal_lengths():
    x = numbers(3, 5)
    np.testing.assert_array_equal(np.asarray(ox.concat([ox.asarray(x)], axis=1)), x)
    parts = [x[:, :2], x[:, :0], x, x[:, 4:]]
    found = ox.concat([ox.asarray(part) for part in parts], axis=1)
    np.testing.assert_array_equal(np.asarray(found), np.concatenate(parts, axis=1))
