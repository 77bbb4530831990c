"""Sorting on the pretended GPU: lines within a tile and over several, equal elements in order, NaN last."""

from __future__ import annotations

import numpy as np
import pytest

import opmux as ox
from opmux.backends.cuda.sorting import TILE
from opmux.core.dtypes import BY_NAME
from opmux.opset.movement_reference import ordered_positions, searched
from tests.backends.cuda.host.runtime import HostRuntime


def drawn(dtype: str, shape: tuple[int, ...], seed: int = 0) -> np.ndarray:
    """Few values, so that many are equal; of floats also zeros of both signs, infinities and NaN."""
    rng, kind = np.random.default_rng(seed), BY_NAME[dtype].numpy
    if "int" in dtype:
        return rng.integers(np.iinfo(kind).min, np.iinfo(kind).max, 9, kind, endpoint=True)[rng.integers(0, 9, shape)]
    return rng.choice([0.0, -0.0, 1.5, -1.5, 1e-5, np.inf, -np.inf, np.nan, -np.nan], shape).astype(kind)


def positions(x: np.ndarray, axis: int, descending: bool) -> np.ndarray:
    return ordered_positions(x.astype(np.float32) if x.dtype.itemsize == 2 else x, axis, descending)


@pytest.mark.parametrize(
    ("dtype", "descending"),
    [("int8", True), ("uint16", False), ("bfloat16", True), ("float32", False), ("float32", True), ("float64", False)],
)
def test_lines_within_a_tile_are_sorted_in_one_launch(gpu: HostRuntime, dtype: str, descending: bool) -> None:
    host = drawn(dtype, (5, 77, 3))
    x = ox.asarray(host, device="cuda:0")
    wanted = positions(host, 1, descending)
    assert (ox.argsort(x, axis=1, descending=descending).numpy() == wanted).all()
    found = ox.sort(x, axis=1, descending=descending).numpy()
    bits = f"u{host.dtype.itemsize}"
    assert (found.view(bits) == np.take_along_axis(host, wanted, 1).view(bits)).all()
    assert gpu.launches == ["sort_tiles"] * 2


@pytest.mark.parametrize("length", [TILE, TILE + 1, 3 * TILE - 5, 5 * TILE])
def test_long_lines_are_merged(gpu: HostRuntime, length: int) -> None:
    host = drawn("float32", (2, length), length)
    found = ox.argsort(ox.asarray(host, device="cuda:0"))
    assert (found.numpy() == positions(host, 1, False)).all()
    assert gpu.launches == ["sort_tiles", *["merge_tiles"] * (-(-length // TILE) - 1).bit_length()]


def test_wide_keys_are_merged_too(gpu: HostRuntime) -> None:
    host = np.random.default_rng(1).standard_normal(2 * TILE + 100)
    assert (ox.sort(ox.asarray(host, device="cuda:0")[::-1], descending=True).numpy() == np.sort(host)[::-1]).all()


@pytest.mark.parametrize("length", [1, 2, 8, 9])
@pytest.mark.parametrize("axis", [0, 1])
def test_short_lines_share_a_block(gpu: HostRuntime, length: int, axis: int) -> None:
    host = drawn("int32", (length, 300) if axis == 0 else (300, length))
    assert (ox.sort(ox.asarray(host, device="cuda:0"), axis=axis).numpy() == np.sort(host, axis)).all()


@pytest.mark.parametrize("side", ["left", "right"])
@pytest.mark.parametrize("dtype", ["int8", "float16", "float64"])
def test_places_among_sorted_values(gpu: HostRuntime, dtype: str, side: str) -> None:
    line, values = drawn(dtype, (50,)), drawn(dtype, (4, 6), 1)
    line = line[positions(line, 0, False)]
    found = ox.searchsorted(*(ox.asarray(x, device="cuda:0") for x in (line, values)), side=side)
    assert (found.numpy() == searched(line, values, side)).all()
