"""Elementwise kernels, carried out on the host: the bits of recipes, over every way that operands may lie."""

from __future__ import annotations

import numpy as np
import pytest

import opmux as ox
from opmux.backends.cuda.elementwise import THREADS, TURNS
from opmux.backends.cuda.nest import divisor, parts
from opmux.core.nests import Nest
from opmux.opset.recipes.evaluate import evaluate
from opmux.opset.recipes.registry import program
from tests.backends.cuda.host.runtime import HostRuntime
from tests.opset.one_by_one import random_bits

#: A call per kind of instruction: tables, fused products, division, shifts, high products, conversions.
CALLS = [
    ("exp", ("float32",)),
    ("sin", ("float64",)),
    ("pow", ("float32", "float32")),
    ("erf", ("bfloat16",)),
    ("add", ("float16", "float16")),
    ("remainder", ("int8", "int8")),
    ("floor_divide", ("uint64", "uint64")),
    ("bitwise_left_shift", ("int16", "int16")),
    ("multiply", ("uint16", "uint16")),
    ("bitwise_xor", ("bool", "bool")),
    ("less", ("int64", "int64")),
]


def same_bits(found: np.ndarray, expected: np.ndarray) -> bool:
    words = f"u{found.dtype.itemsize}"
    nan = (found != found) & (expected != expected)
    return bool(((found.view(words) == expected.view(words)) | nan).all())


@pytest.mark.parametrize(("op", "dtypes"), CALLS, ids=lambda v: v if isinstance(v, str) else v[0])
@pytest.mark.parametrize("shape", [(1,), (THREADS * TURNS * 4 + 5,), (3, 70)], ids=str)
def test_bits_are_those_of_the_recipe(
    gpu: HostRuntime, op: str, dtypes: tuple[str, ...], shape: tuple[int, ...]
) -> None:
    operands = [random_bits(t, shape, seed) for seed, t in enumerate(dtypes)]
    recipe = program(op, dtypes)
    assert recipe is not None
    with np.errstate(all="ignore"):
        expected = evaluate(recipe, *operands)
    found = getattr(ox, op)(*(ox.asarray(x, device="cuda:0") for x in operands)).numpy()
    assert same_bits(found, expected)
    assert gpu.launches == ["elementwise_dense"]


@pytest.mark.parametrize(("dtype", "vector"), [("int8", 16), ("float16", 8), ("float32", 4), ("float64", 2)])
def test_every_element_is_computed_once_however_many_are_left(gpu: HostRuntime, dtype: str, vector: int) -> None:
    turn = THREADS * vector
    for n in (1, vector - 1, vector, vector + 1, turn - 1, turn + vector, 2 * turn * TURNS, 2 * turn * TURNS + 1):
        host = np.random.default_rng(n).integers(-8, 8, n).astype(dtype)
        x = ox.copy(ox.asarray(host, device="cuda:0"))
        assert (ox.add(x, x, out=x).numpy() == host + host).all()


def test_strides_of_every_kind_are_walked(gpu: HostRuntime) -> None:
    host = np.arange(4 * 5 * 6, dtype=np.float32).reshape(4, 5, 6)
    x = ox.asarray(host, device="cuda:0")
    row = ox.asarray(host[0, 0], device="cuda:0")
    found = ox.add(ox.permute_dims(x, (2, 0, 1))[::-2], ox.broadcast_to(row[:1], (3, 4, 5)))
    assert (found.numpy() == host.transpose(2, 0, 1)[::-2] + host[0, 0, :1]).all()
    assert gpu.launches[-1] == "elementwise_nest"


@pytest.mark.parametrize(("dtype", "shape"), [("float32", (37, 44)), ("int8", (1100, 24)), ("float16", (5, 3, 6))])
def test_rows_that_repeat_are_read_as_vectors(gpu: HostRuntime, dtype: str, shape: tuple[int, ...]) -> None:
    x, row, column = (random_bits(dtype, s, i) for i, s in enumerate([shape, shape[-1:], (*shape[:-1], 1)]))
    given = [ox.asarray(v, device="cuda:0") for v in (x, row, column)]
    recipe = program("maximum", (dtype, dtype))
    assert recipe is not None
    for other, array in zip((row, column), given[1:], strict=True):
        assert same_bits(ox.maximum(given[0], array).numpy(), evaluate(recipe, x, other))
    assert gpu.launches == ["elementwise_rows"] * 2


def test_rows_of_part_of_an_array_are_read_as_vectors_only_from_where_those_begin(gpu: HostRuntime) -> None:
    host = np.arange(40 * 32, dtype=np.float32).reshape(40, 32)
    x = ox.asarray(host, device="cuda:0")
    assert (ox.negative(x[:, :12]).numpy() == -host[:, :12]).all()
    assert (ox.negative(x[:, 1:13]).numpy() == -host[:, 1:13]).all()
    assert gpu.launches == ["elementwise_rows", "elementwise_nest"]


def test_a_nest_of_many_elements_is_cut() -> None:
    nest = Nest((5, 3, 7), ((21, 7, 1), (0, 1, 0)))
    seen = []
    for part, (at, _) in parts(nest, most=10):
        assert np.prod(part.shape) <= 10
        index = np.indices(part.shape)
        seen += (at + sum(i * s for i, s in zip(index, part.strides[0], strict=True))).ravel().tolist()
    assert sorted(seen) == list(range(105))


@pytest.mark.parametrize("size", [1, 2, 3, 7, 641, 2**16, 2**16 + 1, 2**31 - 1])
def test_quotients_by_multiplication_are_exact(size: int) -> None:
    multiplier, shift = divisor(size)
    numbers = [0, 1, size - 1, size, size + 1, 2 * size - 1, 2**31 - 1, *range(0, 2**31, 40_000_003)]
    for n in (n for n in numbers if n < 2**31):
        assert (((n * multiplier) >> 32) + n) >> shift == n // size
