"""Complex numbers and floats of 8 bits, carried out on the host: bits of the opset's orders and of the formats."""

from __future__ import annotations

import numpy as np
import pytest

import opmux as ox
from opmux.core.dtypes import BY_NAME
from opmux.opset.conversion import converted
from opmux.opset.orders import canonical_cumulative_sum, canonical_sum
from opmux.opset.recipes.pairs import run_on_pairs
from tests.backends.cuda.host.runtime import HostRuntime
from tests.backends.cuda.test_elementwise import random_bits, same_bits

SMALL = ("float8_e4m3fn", "float8_e5m2")


def complex_numbers(dtype: str, shape: tuple[int, ...], seed: int = 0) -> np.ndarray:
    """Random parts of all magnitudes, infinities and NaN among them, and in every column one zero."""
    made = random_bits("float32" if dtype == "complex64" else "float64", (*shape, 2), seed).view(dtype)[..., 0]
    made[seed] = 0
    return made


def same_parts(found: np.ndarray, expected: np.ndarray) -> bool:
    part = f"float{found.dtype.itemsize * 4}"
    return same_bits(np.ascontiguousarray(found).view(part), np.ascontiguousarray(expected).view(part))


@pytest.mark.parametrize("dtype", ["complex64", "complex128"])
@pytest.mark.parametrize("op", ["add", "multiply", "divide"])
def test_complex_arithmetic_has_the_bits_of_its_decomposition(gpu: HostRuntime, op: str, dtype: str) -> None:
    x, y = complex_numbers(dtype, (5, 700), 1), complex_numbers(dtype, (5, 700), 2)
    expected = run_on_pairs(ox, op, (ox.asarray(x, device="cpu"), ox.asarray(y, device="cpu")))
    found = getattr(ox, op)(*(ox.asarray(a, device="cuda:0") for a in (x, y)))
    assert same_parts(found.numpy(), expected.numpy())
    assert gpu.launches == ["elementwise_dense"]


@pytest.mark.parametrize("to", SMALL)
def test_floats_of_8_bits_are_rounded_once(gpu: HostRuntime, to: str) -> None:
    every = np.arange(1 << 16, dtype=np.uint16)
    odd = [448, 464, 464.00003, 57344, 61440, 61439.996, np.inf, np.nan, 2**-10, 2**-17, 1.25 * 2**-9]
    ends = np.array(odd, np.float32)
    for x in (every.view(np.float16), (every.astype(np.uint32) << 16 | 0x8000).view(np.float32), ends, -ends):
        with np.errstate(all="ignore"):
            wide = np.nextafter(x.astype(np.float64), np.inf)  # just beyond a tie: rounding twice would lose that
            expected = [converted(v, BY_NAME[to]) for v in (x, wide)]
        found = [ox.cast(ox.asarray(v, device="cuda:0"), ox.dtype(to)).numpy() for v in (x, wide)]
        for a, b in zip(found, expected, strict=True):
            assert same_bits(a.astype(np.float32), b.astype(np.float32))


@pytest.mark.parametrize("source", SMALL)
@pytest.mark.parametrize("to", ["bool", "int8", "bfloat16", "complex64", *SMALL])
def test_every_float_of_8_bits_is_read(gpu: HostRuntime, source: str, to: str) -> None:
    x = np.arange(256, dtype=np.uint8).view(BY_NAME[source].numpy)
    found = ox.cast(ox.asarray(x, device="cuda:0"), ox.dtype(to)).numpy()
    with np.errstate(all="ignore"):
        expected = converted(x, BY_NAME[to])
        same = (found == expected) | ((found != found) & (expected != expected))
    assert found.dtype == expected.dtype
    assert same.all()


@pytest.mark.parametrize("dtype", ["complex64", "complex128"])
def test_complex_sums_keep_the_canonical_order(gpu: HostRuntime, dtype: str) -> None:
    rng = np.random.default_rng(3)
    host = (rng.standard_normal((3, 2500)) + 1j * rng.standard_normal((3, 2500))).astype(dtype)
    x = ox.asarray(host, device="cuda:0")
    for axis in (0, 1, None):
        assert same_parts(ox.sum(x, axis=axis).numpy(), canonical_sum(host, axis))
    assert same_parts(ox.cumulative_sum(x, axis=1).numpy(), canonical_cumulative_sum(host, 1))
    assert gpu.launches[-1] == "scan_along"


@pytest.mark.parametrize(("dtype", "shape"), [("complex64", (70, 33, 1100)), ("complex128", (5, 40, 1030))], ids=str)
def test_complex_matrix_products_are_within_their_bound(
    gpu: HostRuntime, dtype: str, shape: tuple[int, int, int]
) -> None:
    m, n, k = shape
    x, y = (complex_part(dtype, s, seed) for seed, s in enumerate([(m, k), (k, n)]))
    found = ox.matmul(*(ox.asarray(a, device="cuda:0") for a in (x, y))).numpy()
    wide = np.matmul(x.astype(np.clongdouble), y.astype(np.clongdouble))
    epsilon = np.finfo(dtype).eps
    assert np.abs(found - wide).max() < 2 * k * epsilon * (np.abs(x) @ np.abs(y)).max()


def complex_part(dtype: str, shape: tuple[int, int], seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return (rng.standard_normal(shape) + 1j * rng.standard_normal(shape)).astype(dtype)
