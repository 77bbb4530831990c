"""Matrix products on tensor cores and by cuBLAS: tiles and clusters, tensor maps, long sums."""

from __future__ import annotations

import functools
from collections.abc import Callable
from time import perf_counter
from typing import Any
from unittest import mock

import ml_dtypes
import numpy as np

import opmux as ox
from opmux.backends.cuda.compiling import nvrtc
from opmux.backends.cuda.device.cublas import ARITHMETIC
from opmux.backends.cuda.device.runtime import CudaError
from opmux.backends.cuda.device.tensor_maps import LINE, Tiling
from opmux.backends.cuda.products import wgmma, wgmma_kernels
from opmux.backends.cuda.products.wgmma import TILES, Tile
from opmux.backends.cuda.source import part
from opmux.conformance.oracle.expect import expect
from opmux.core.arrays.array import Array
from opmux.core.op import OPS

from .trial import NotHereError, Place, same, trial, whole

Host = np.ndarray[Any, Any]
WGMMA, MMA, CUBLAS = "matmul.wgmma", "matmul.mma", "matmul.cublas"
BFLOAT16 = ml_dtypes.bfloat16


def _operands(dtype: Any, m: int, k: int, n: int) -> tuple[Host, Host]:
    least = 0 if np.dtype(dtype).kind == "u" else -3
    return whole((m, k), dtype, 1, least), whole((k, n), dtype, 2, least)


def _exact(a: Host, b: Host, result: Any) -> Host:
    made = a.astype(np.float64) @ b.astype(np.float64)
    return np.asarray((made.astype(np.int64) if np.dtype(result).kind in "iu" else made).astype(result))


def _laid(place: Place, x: Host, transposed: bool) -> Array:
    """Put a matrix on the GPU by rows, or by columns."""
    return place.put(np.ascontiguousarray(x.T)).T if transposed else place.put(x)


def _every_way(place: Place, kernel: str, dtype: Any, result: Any, shape: tuple[int, int, int], ways: str) -> list[str]:
    """Multiply operands by rows and by columns; return what a kernel does not take, or gets wrong."""
    a, b = _operands(dtype, *shape)
    expected, found = _exact(a, b, result), []
    for way in ways.split():
        x, y = _laid(place, a, "a" in way), _laid(place, b, "b" in way)
        try:
            same(place.by("matmul", kernel, x, y, dtype=ox.dtype(expected.dtype)), expected)
        except Exception as error:  # the other ways are to be told as well
            found.append(f"{np.dtype(dtype)} {way}: {type(error).__name__}: {error}")
    return found


def _none(found: list[str]) -> None:
    if found:
        raise AssertionError("; ".join(found))


@trial()
def products_by_mma(place: Place) -> None:
    """Tensor cores of every capability: each dtype, operands by rows and by columns, edges."""
    shape = place.size(517, 70), 200, place.size(264, 72)
    cases = ((np.float16, np.float16), (BFLOAT16, np.float32), (np.int8, np.int32), (np.uint8, np.uint8))
    found = []
    for dtype, result in cases:
        try:
            found += _every_way(place, MMA, dtype, result, shape, "rows a b ab"[: place.size(11, 4)])
        except ox.OpmuxError as error:
            found.append(f"{np.dtype(dtype)}: {error}")
    _none(found)


def _needs_warpgroups(place: Place) -> None:
    if wgmma_kernels.TARGET not in place.device.info.features:
        raise NotHereError(f"{place.device.info.name} runs no code for {wgmma_kernels.TARGET}")


def _of_tile(place: Place, tile: Tile, shape: tuple[int, int, int], turns: int = 1, dtype: Any = BFLOAT16) -> float:
    """Multiply with one tile, several times, and return the seconds of the last turns."""
    a, b = _operands(dtype, *shape)
    x, y, expected = place.put(a), place.put(b), _exact(a, b, dtype)
    with mock.patch.object(wgmma, "tile_for", return_value=tile) as asked:
        found = place.candidate("matmul", WGMMA, x, y, dtype=None)
    if found.run is None or not asked.called:
        raise NotHereError(f"cuda/{WGMMA}: {found.rejection}")
    (once,) = found.run([x, y], None)
    same(once, expected, "the first")
    begun = perf_counter()
    results = [found.run([x, y], None)[0] for _ in range(turns)]
    place.device.synchronize()
    taken = perf_counter() - begun
    for i, result in enumerate(results[:: max(turns // 8, 1)]):
        same(result, once.numpy(), f"turn {i}")
    return taken / turns


def _tiles(tile: Tile) -> Callable[[Place], str | None]:
    def run(place: Place) -> str | None:
        """A few tiles with edges on all sides, then as many as keep every multiprocessor busy for several."""
        _needs_warpgroups(place)
        _of_tile(place, tile, (tile.rows * tile.cluster + 44, 3 * 64 + 8, tile.columns + 24))
        if place.pretended:
            return None
        _of_tile(place, tile, (264, 72, 520), dtype=np.float16)
        seconds = _of_tile(place, tile, (8192 - 8, 4096 + 8, 8192 - 8), 20)
        return f"{2 * 8184 * 4104 * 8184 / seconds / 1e12:.0f} TFLOP/s by the host's clock"

    return run


for _tile in TILES:
    trial(
        name=f"wgmma tile {_tile.rows}x{_tile.columns}, {'clusters of 2' if _tile.cluster > 1 else 'no clusters'}"
        + (", in turns" if _tile.turns else ""),
        alone=True,
    )(_tiles(_tile))


#: The arrival at another block's barrier as the tree has it, and with its scope written out.
ARRIVAL = "mbarrier.arrive.shared::cluster.b64 _, [there]"
ARRIVAL_IN_CLUSTER = "mbarrier.arrive.release.cluster.shared::cluster.b64 _, [there]"


@trial(alone=True, seconds=120)
def arrivals_of_another_block(place: Place) -> str:
    """Whether results and times change where arrivals in another block are released to the whole cluster in so many
    words: PTX's default scope of an arrival is the block.
    """
    _needs_warpgroups(place)
    text, turns = part("mbarrier"), place.size(50, 1)
    if text.count(ARRIVAL) != 1:
        raise NotHereError("the sources no longer arrive so")
    m, k, n = place.size(8192, 300), place.size(4096, 136), place.size(8192, 264)
    before = _of_tile(place, TILES[0], (m, k, n), turns)
    stand_ins = {"mbarrier": text.replace(ARRIVAL, ARRIVAL_IN_CLUSTER)}
    with (
        mock.patch.object(nvrtc, "whole", functools.partial(nvrtc.whole, stand_ins=stand_ins)),
        # Another text, or what is loaded already would be used.
        mock.patch.object(
            wgmma_kernels, "_source", lambda variant: f"{wgmma.source(variant)}// released to the cluster\n"
        ),
    ):
        after = _of_tile(place, TILES[0], (m, k, n - 8), turns)  # as before it would be the same prepared call
    return f"{before * 1e6:.0f} us as they are, {after * 1e6:.0f} us with release.cluster; both are right"


@trial()
def layouts_by_wgmma(place: Place) -> None:
    """Every dtype, operands by rows and by columns, results by the copy engine and from registers."""
    _needs_warpgroups(place)
    m, k, n = place.size(1096, 136), 208, place.size(520, 72)
    found = []
    for dtype, result, ways in (
        (np.int8, np.int32, "b"),
        (np.float16, np.float32, "ab rows a b"[: place.size(11, 2)]),
        (BFLOAT16, BFLOAT16, "rows a b ab"),
        (np.uint8, np.uint8, "b"),
    )[: place.size(4, 2)]:
        found += _every_way(place, WGMMA, dtype, result, (m, k, n), ways)
    found += _every_way(place, WGMMA, BFLOAT16, BFLOAT16, (m, k, n - 7), "b")  # rows of the result at odd places
    _none(found)


#: Strides of a map's axes in bytes, the innermost of which has 64 elements of 2 bytes: in order, where one is no
#: multiple of the one before, where they fall, where axes have one index.
MAPS: dict[str, tuple[tuple[int, ...], tuple[int, ...]]] = {
    "in order": ((64, 32, 4, 3, 2), (128, 4096, 16384, 49152)),
    "no multiples": ((64, 32, 4, 3, 2), (144, 4624, 18512, 55568)),
    "falling": ((64, 32, 3, 4, 2), (128, 16384, 4096, 49152)),
    "axes of one index": ((64, 32, 1, 1, 1), (128, 4096, 4096, 4096)),
    "far apart": ((64, 32, 2, 1, 1), (128, 1 << 22, 1 << 23, 1 << 23)),
}


@trial()
def tensor_maps_that_the_driver_takes(place: Place) -> str:
    """Batches that were permuted, and strides of a batch that are no multiples of each other."""
    _needs_warpgroups(place)
    room = ox.zeros((place.size(1 << 23, 1 << 23),), dtype=ox.uint8, device=place.device)
    refused = []
    for name, (shape, strides) in MAPS.items():
        tiling = Tiling(2, shape, strides, (LINE // 2, 32, 1, 1, 1))
        if tiling.nbytes > room.size:
            raise NotHereError(f"{name}: {tiling.nbytes} bytes")
        try:
            place.runtime.tensor_map(room.ptr, tiling)
        except (CudaError, RuntimeError) as error:
            refused.append(f"{name}: {error}")
    _none(refused)
    return f"{len(MAPS)} kinds"


@trial()
def batches_by_wgmma(place: Place) -> None:
    """Axes of a batch in another order, repeated, and with gaps between matrices and between rows."""
    _needs_warpgroups(place)
    rows = place.size(200, 20)
    a, b = whole((3, 2, rows, 72), BFLOAT16, 1), whole((2, 1, 72, 40), BFLOAT16, 2)
    expected = a.transpose(1, 0, 2, 3).astype(np.float64) @ b.astype(np.float64)
    x, y = ox.permute_dims(place.put(a), (1, 0, 2, 3)), ox.broadcast_to(place.put(b), (2, 3, 72, 40))
    same(place.by("matmul", WGMMA, x, y, dtype=None), expected.astype(BFLOAT16), "permuted")
    wide = whole((5, rows + 3, 88), BFLOAT16, 3)  # a matrix is (rows + 3) * 176 bytes from the next
    right = whole((5, 72, 40), BFLOAT16, 4)
    found = place.by("matmul", WGMMA, place.put(wide)[::2, :rows, :72], place.put(right)[::2], dtype=None)
    exact = wide[::2, :rows, :72].astype(np.float64) @ right[::2].astype(np.float64)
    same(found, exact.astype(BFLOAT16), "with gaps")


@trial(seconds=120)
def sums_of_many_terms(place: Place) -> str:
    """Products of 16384 terms within the contract, of numbers about zero and of positive ones, whose roundings by
    truncation would all point one way.
    """
    k, m = place.size(16384, 512), place.size(128, 24)
    told = []
    for dtype in (np.float16, BFLOAT16):
        for positive in (False, True):
            rng = np.random.default_rng(7)
            a, b = (rng.standard_normal(s).astype(dtype) for s in ((m, k), (k, m)))
            if positive:
                a, b = np.abs(a), np.abs(b)
            check = expect(OPS["matmul"], (a, b), {"dtype": ox.float32}).on(flushes=False)
            for kernel in (MMA, WGMMA, CUBLAS):
                try:
                    found = place.by("matmul", kernel, place.put(a), place.put(b), dtype=ox.float32)
                except NotHereError:
                    continue
                exact = a.astype(np.float64) @ b.astype(np.float64)
                check(found.numpy())
                error = np.abs(found.numpy() - exact) / (np.abs(a.astype(np.float64)) @ np.abs(b.astype(np.float64)))
                signs = "positive" if positive else "both signs"
                told.append(f"{kernel} {np.dtype(dtype)} {signs} {error.max():.1g}")
    if not told:
        raise NotHereError("no kernel on tensor cores takes them")
    return "relative to the sum of magnitudes: " + ", ".join(told)


@trial()
def products_by_cublas(place: Place) -> None:
    """Every arithmetic, and int8 in every way that operands lie."""
    lacks = place.runtime.lacks_blas()
    if lacks is not None:
        raise NotHereError(lacks)
    m, k, n = place.size(512, 12), place.size(256, 8), place.size(384, 20)
    found = []
    for of, into in ARITHMETIC:
        a, b = _operands(ox.dtype(of).numpy, m, k, n)
        if of.startswith("complex"):
            a, b = a * (1 + 2j), b * (3 - 1j)
        exact = (a.astype(complex) @ b.astype(complex)).astype(ox.dtype(into).numpy) if "c" in of else _exact(
            a, b, ox.dtype(into).numpy
        )  # fmt: skip
        try:
            x, y = place.put(a.astype(ox.dtype(of).numpy)), place.put(b.astype(ox.dtype(of).numpy))
            same(place.by("matmul", CUBLAS, x, y, dtype=ox.dtype(into)), exact)
        except Exception as error:  # the others are to be told as well
            found.append(f"{of} in {into}: {type(error).__name__}: {error}")
    for shape in ((m, k, n), (m + 4, k + 4, n + 4), (m + 3, k, n)):
        found += [f"{shape} {f}" for f in _every_way(place, CUBLAS, np.int8, np.int32, shape, "rows a b ab")
                  if "NotHereError" not in f]  # fmt: skip
    _none(found)
