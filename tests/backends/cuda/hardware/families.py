"""One call of every family of kernels, with its values: what runs before anything else is worth a try."""

from __future__ import annotations

from itertools import product
from typing import Any
from unittest import mock

import ml_dtypes
import numpy as np

import opmux as ox
from opmux.backends.cuda.products import wgmma
from opmux.backends.cuda.products.wgmma import TILES
from opmux.backends.cuda.products.wgmma_kernels import TARGET
from opmux.conformance.performance.candidates import runnable
from opmux.opset.movement_reference import scattered, taken
from opmux.opset.orders import canonical_cumulative_sum, canonical_matmul, canonical_prod, canonical_sum
from opmux.opset.philox import random_words
from opmux.opset.recipes.evaluate import evaluate
from opmux.opset.recipes.registry import program
from tests.opset.one_by_one import OneByOne, random_bits

from .trial import NotHereError, Place, ran, same, trial, whole


@trial()
def elementwise(place: Place) -> None:
    """Dense, by rows and over strides, with the bits of the recipe."""
    for op, dtypes in (("exp", ("float32",)), ("add", ("bfloat16",) * 2), ("sin", ("float64",)))[: place.size(3, 2)]:
        recipe = program(op, dtypes)
        if recipe is None:
            raise AssertionError(f"{op} has no recipe")
        shape = (place.size(300, 7), 1003)
        given = [random_bits(t, shape, seed) for seed, t in enumerate(dtypes)]
        with np.errstate(all="ignore"):
            expected = evaluate(recipe, *given)
        function = getattr(ox, op)
        on_gpu = [place.put(x) for x in given]
        same(function(*on_gpu), expected, op)
        same(function(*(ox.permute_dims(x, (1, 0))[::-2] for x in on_gpu)), expected.T[::-2], f"{op} over strides")
    x, row = whole((place.size(700, 9), 1024), np.float32, 1), whole((1024,), np.float32, 2)
    same(ox.multiply(place.put(x), place.put(row)), x * row, "multiply by a row")


@trial()
def reduction(place: Place) -> None:
    """Over every axis, with the bits of the canonical order."""
    x = np.random.default_rng(1).standard_normal((place.size(2000, 33), 2050)).astype(np.float32)
    given = place.put(x)
    for axis in (0, 1, None)[: place.size(3, 2)]:
        same(ox.sum(given, axis=axis), canonical_sum(x, axis), f"sum over {axis}")
        same(ox.max(given, axis=axis), x.max(axis), f"max over {axis}")
    same(ox.prod(given[:8], axis=1), canonical_prod(x[:8], 1), "prod over 1")
    same(ox.argmax(given, axis=1), np.argmax(x, 1), "argmax over 1")


@trial()
def scan(place: Place) -> None:
    """In one chain, and in tiles, each of which waits for the one before."""
    x = np.random.default_rng(1).standard_normal((5, 3000)).astype(np.float32)
    attributes = {"axis": 1, "dtype": None}
    found = place.by("cumulative_sum", "cumulative_sum", place.put(x), **attributes)
    same(found, canonical_cumulative_sum(x, 1), "in one chain")
    x = whole((3, place.size(5_000_003, 9000)), np.float32, 2)
    found = place.by("cumulative_sum", "cumulative_sum.tiles", place.put(x), **attributes)
    same(found, np.cumsum(x, 1), "in tiles")


@trial()
def movement(place: Place) -> None:
    """Copies over strides, transposed ones, parts put together, edges."""
    n = place.size(1500, 70)
    for dtype in (np.uint8, np.float32, np.complex128)[: place.size(3, 1)]:
        x = whole((n, n + 3), np.int8, 1, -99, 99).astype(dtype)
        given = place.put(x)
        same(ox.copy(ox.permute_dims(given, (1, 0))), x.T, f"transposed {x.dtype}")
        same(ox.copy(given[::-1, 1::3]), x[::-1, 1::3], f"strided {x.dtype}")
        same(ox.concat([given, given[:3]]), np.concatenate([x, x[:3]]), f"concat {x.dtype}")
        same(ox.pad(given, ((1, 2), (0, 3))), np.pad(x, ((1, 2), (0, 3))), f"pad {x.dtype}")


@trial()
def gather_and_scatter(place: Place) -> None:
    """Rows by number, and updates in their order where places repeat."""
    rng = np.random.default_rng(1)
    table = rng.standard_normal((place.size(5000, 60), 64)).astype(np.float32)
    rows = rng.integers(0, len(table), place.size(20_000, 40))
    same(ox.gather(place.put(table), place.put(rows)), taken(table, rows, 0, "clip"), "gather")
    updates = rng.standard_normal((len(rows), 64)).astype(np.float32)
    for how in ("set", "add"):
        found = ox.scatter(place.put(table), place.put(rows), place.put(updates), reduction=how)
        same(found, scattered(table, rows, updates, 0, "drop", how), f"scatter {how}")


@trial()
def sort(place: Place) -> None:
    """Short rows, and rows of several blocks."""
    for shape in ((200, 300), (3, place.size(300_001, 5000))):
        x = random_bits("float32", shape, 1)
        with np.errstate(invalid="ignore"):
            x = np.where(np.isnan(x), np.float32(1.5), x)
            zeros = x == 0
            x[zeros] = 0.0
        same(ox.sort(place.put(x), axis=1), np.sort(x, 1), f"sort {shape}")
        same(ox.argsort(place.put(x), axis=1), np.argsort(x, 1, kind="stable"), f"argsort {shape}")


@trial()
def random_words_by_counter(place: Place) -> None:
    """Philox, its counter wrapping."""
    key, counter = np.array([7, 9], np.uint32), np.array([2**32 - 2, 2**32 - 1, 7, 1], np.uint32)
    shape = (place.size(1_000_003, 5003),)
    same(ox.random_bits(place.put(key), place.put(counter), shape=shape), random_words(key, counter, shape))


@trial()
def canonical_product(place: Place) -> None:
    """Products by multiply-adds in the canonical order, whole tiles and edges."""
    for m, k, n in ((130, 1100, 68), (33, 70, 3)):
        rng = np.random.default_rng(m)
        a, b = (rng.standard_normal(s).astype(np.float32) for s in ((m, k), (k, n)))
        found = place.by("matmul", "matmul", place.put(a), place.put(b), dtype=None)
        same(found, canonical_matmul(a, b), f"{m} x {k} x {n}")


def _compiled(place: Place, function: Any, *operands: np.ndarray[Any, Any]) -> tuple[list[Any], str]:
    """Return the results of a compiled function, and what ran."""
    with ox.count_calls() as calls:
        made = ox.compile(function)(*map(place.put, operands))
    return list(made) if isinstance(made, tuple) else [made], ran(calls)


def _fused(place: Place, kernel: str, function: Any, *operands: np.ndarray[Any, Any]) -> list[Any]:
    """Return the results of a compiled function that is one kernel."""
    made, names = _compiled(place, function, *operands)
    if f"cuda/{kernel}" not in names:
        raise AssertionError(f"cuda/{kernel} did not run, but {names}")
    return made


@trial()
def fused_chain(place: Place) -> None:
    """Elementwise ops in one kernel, with two results and a row that repeats."""
    x, y = (random_bits("float32", (place.size(900, 9), 1000), seed) for seed in (1, 2))
    one = OneByOne()
    with np.errstate(all="ignore"):
        expected = one.add(one.multiply(one.exp(one.negative(x)), y), y), one.maximum(x, y)
    found = _fused(place, "chain", lambda a, b: (ox.exp(-a) * b + b, ox.maximum(a, b)), x, y)
    for f, e in zip(found, expected, strict=True):
        same(f, e)


@trial()
def rows_of_one_kernel(place: Place) -> str:
    """softmax and layer_norm: rows that are held in registers, and longer ones."""
    worst = 0.0
    for length in (1000, 16_384, 40_000)[: place.size(3, 2)]:
        x = np.random.default_rng(length).standard_normal((place.size(300, 48), length)).astype(np.float32)
        (found,) = _fused(place, "rows", lambda v: ox.softmax(v), x)
        wide = np.exp(x.astype(np.float64) - x.max(1, keepdims=True))
        error = np.abs(found.numpy() / (wide / wide.sum(1, keepdims=True)) - 1).max()
        if not error < 1e-5:
            raise AssertionError(f"softmax of {length}: relative error {error:.3g}")
        worst = max(worst, float(error))
    return f"relative error {worst:.2g}"


@trial()
def epilogues(place: Place) -> str:
    """Bias and activation in the kernel of a product; of a large product by whatever is chosen."""
    small, large = (place.size(500, 70), 200, place.size(300, 68)), (4096, 512, 4096)
    cases = (small, "float32", "epilogue"), (small, "float16", "epilogue.mma"), (large, "float16", "")
    told = []
    for (m, k, n), dtype, kernel in cases[: place.size(3, 2)]:
        a, b, bias = whole((m, k), dtype, 1), whole((k, n), dtype, 2), whole((n,), dtype, 3)
        (found,), names = _compiled(place, lambda x, y, z: ox.maximum(x @ y + z, 0.0), a, b, bias)
        if kernel and f"cuda/{kernel}:" not in names:
            raise AssertionError(f"cuda/{kernel} did not run, but {names}")
        told.append(names)
        exact = a.astype(np.float64) @ b.astype(np.float64)
        same(found, np.maximum(exact.astype(dtype) + bias, np.dtype(dtype).type(0)), f"{names} {m} x {k} x {n}")
    return f"of the last, {told[-1]}"


@trial(seconds=120)
def epilogues_by_warpgroups(place: Place) -> str:
    """Bias, activation and a second array in the kernel of a product by warpgroups: every tile, columns by eights, twos
    and ones, edges of tiles, and again and again, for what of one tile would reach the next.
    """
    if TARGET not in place.device.info.features:
        raise NotHereError(f"{place.device.info.name} runs no code for {TARGET}")
    told = []
    large, odd = (place.size(4100, 136), 456, place.size(4104, 72)), (300, 520, 263)
    for (m, k, least), (i, tile) in product((large, (72, 72, 66), odd)[: place.size(3, 2)], enumerate(TILES)):
        if place.pretended and not tile.turns:
            continue
        n = least + 8 * i  # of the same shape it would be the same prepared call
        shapes = (m, k), (k, n), (n,), (m, n)
        a, b, bias, more = (whole(s, ml_dtypes.bfloat16, seed) for seed, s in enumerate(shapes))
        exact = (a.astype(np.float64) @ b.astype(np.float64)).astype(a.dtype)
        expected = np.maximum(exact + bias, a.dtype.type(0)) + more
        given = [place.put(a), place.put(np.ascontiguousarray(b.T)).mT, place.put(bias), place.put(more)]
        with mock.patch.object(wgmma, "tile_for", return_value=tile) as asked, ox.count_calls() as calls:
            ox.compile(lambda x, y, z, r: ox.maximum(x @ y + z, 0.0) + r)(*given)
            (decision,) = [c.decision for c in calls.steps()]
            found = next(c for c in runnable(decision) if c.name.startswith("cuda/epilogue.wgmma:"))
        what = f"{m} x {k} x {n} by {tile}"
        if found.run is None or not asked.called:
            raise AssertionError(f"{what}: {found.rejection or 'it was prepared before'}")
        for turn in range(place.size(5, 1)):
            same(found.run(given, None)[0], expected, f"{what}, turn {turn}")
        told.append(decision.chosen.name)
    return f"chosen: {', '.join(dict.fromkeys(told))}"
