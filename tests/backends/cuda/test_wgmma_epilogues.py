"""Epilogues of products by warpgroups: the bits of `matmul.wgmma` and the ops after it, in one launch."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from typing import Any
from unittest import mock

import ml_dtypes
import numpy as np
import pytest

import opmux as ox
from opmux.backends import cuda as plugin
from opmux.backends.cuda.compiling import nvrtc
from opmux.backends.cuda.compiling.cubin import resources
from opmux.backends.cuda.compiling.targets import TARGETS
from opmux.backends.cuda.products import wgmma
from opmux.backends.cuda.products.epilogue import Epilogue
from opmux.backends.cuda.products.matmul import problem_of
from opmux.backends.cuda.products.wgmma import TILES, Tile, Variant
from opmux.backends.cuda.products.wgmma_kernels import PARTS, TARGET
from opmux.backends.cuda.source import part, whole
from opmux.conformance.performance.candidates import runnable
from opmux.core.arrays.array import Array
from opmux.core.dispatch.decision import Candidate, Decision
from opmux.core.errors import KernelError
from opmux.core.kernel import Reason, Rejection
from opmux.plugin import build_program
from tests.backends.cuda.fake_cupy import FakeCuda, Gpu, installed
from tests.backends.cuda.host.compiler import HostCompiler
from tests.backends.cuda.host.plugin import OnHost, registered
from tests.backends.cuda.host.runtime import HostRuntime
from tests.backends.cuda.resources.calls import Recorder
from tests.backends.cuda.test_matmul import by_kernel
from tests.backends.cuda.test_matmul_wgmma import WGMMA
from tests.backends.cuda.test_regions import composite
from tests.opset.one_by_one import OneByOne, assert_same_bits

BFLOAT16 = ml_dtypes.bfloat16
Function = Callable[..., Any]


class AfterProduct(OneByOne):
    """Ops one by one after a product that was made alone."""

    def __init__(self, product: np.ndarray) -> None:
        self._product = product

    def matmul(self, *_: object, **__: object) -> np.ndarray:
        return self._product

    def gelu(self, x: np.ndarray) -> np.ndarray:
        return composite("gelu", x)

    def sigmoid(self, x: np.ndarray) -> np.ndarray:
        return composite("sigmoid", x)


def random(dtype: str, *shape: int, seed: int = 0) -> np.ndarray:
    made = np.random.default_rng(seed).standard_normal(shape) * 3
    return made.astype(BFLOAT16 if dtype == "bfloat16" else dtype)


def on_device(x: np.ndarray, transposed: bool = False) -> Array:
    return ox.asarray(np.ascontiguousarray(x.T), device="cuda:0").mT if transposed else ox.asarray(x, device="cuda:0")


def decided(function: Function, *arrays: Array) -> Decision:
    """Return how the region of a whole function is decided."""
    with ox.count_calls() as seen:
        ox.compile(lambda *xs: function(ox, *xs))(*arrays)
    (decision,) = [c.decision for c in seen.steps()]
    return decision


def fused(function: Function, *arrays: Array) -> Candidate:
    found = runnable(decided(function, *arrays))
    return next(c for c in found if c.name.startswith("cuda/epilogue.wgmma:"))


def outputs(function: Function, *arrays: Array) -> list[np.ndarray]:
    run = fused(function, *arrays).run
    assert run is not None
    return [y.numpy() for y in run(list(arrays), None)]


#: By the entry that makes them.
TILE_OF = {Variant("bfloat16", "bfloat16", t, False, False, 3, False, False).name: t for t in TILES}


def check(gpu: HostRuntime, entry: str, function: Function, product: np.ndarray, *arrays: Array) -> None:
    """Hold a region to the ops one by one after a product that was made alone."""
    expected = function(AfterProduct(product), None, None, *(z.numpy() for z in arrays[2:]))
    with mock.patch.object(wgmma, "tile_for", return_value=TILE_OF[entry]):
        found = outputs(function, *arrays)
    assert gpu.launches[-1] == entry
    for got, wanted in zip(found, expected if isinstance(expected, tuple) else (expected,), strict=True):
        assert_same_bits(got, wanted)


def integers(dtype: str, *shape: int, seed: int = 0) -> np.ndarray:
    """Integers, whose products are exact in any order."""
    made = np.random.default_rng(seed).integers(-3, 4, shape)
    return made.astype(BFLOAT16 if dtype == "bfloat16" else dtype)


def exact(x: np.ndarray, w: np.ndarray, dtype: str) -> np.ndarray:
    product = x.astype(np.float64) @ w.astype(np.float64)
    return product.astype(BFLOAT16 if dtype == "bfloat16" else dtype)


def linear(o: Any, x: Any, w: Any, bias: Any, residual: Any) -> Any:
    return o.add(o.maximum(o.add(o.matmul(x, w), bias), 0.0), residual)


def test_a_layer_in_clusters_with_vectors_of_eight(gpu: HostRuntime) -> None:
    x, w = on_device(random("bfloat16", 130, 136)), on_device(random("bfloat16", 136, 392, seed=1))
    bias, residual = on_device(random("bfloat16", 392, seed=2)), on_device(random("bfloat16", 130, 392, seed=3))
    check(gpu, "matmul_wgmma_256x256", linear, by_kernel(WGMMA, x, w), x, w, bias, residual)


def test_a_wider_product_is_the_start_and_results_are_narrow(gpu: HostRuntime) -> None:
    def function(o: Any, x: Any, w: Any, bias: Any) -> Any:
        y = o.add(o.matmul(x, w, dtype=ox.float32), o.expand_dims(bias, axis=1))
        return o.cast(o.gelu(y), dtype=ox.float16)

    x, w = on_device(random("float16", 328, 72), True), on_device(random("float16", 72, 56, seed=1), True)
    product = by_kernel(WGMMA, x, w, ox.float32)
    check(gpu, "matmul_wgmma_128x64", function, product, x, w, on_device(random("float32", 328, seed=2)))


def test_odd_columns_go_one_by_one_and_residuals_lie_anyhow(gpu: HostRuntime) -> None:
    def function(o: Any, x: Any, w: Any, residual: Any) -> Any:
        return o.cast(o.sigmoid(o.subtract(o.matmul(x, w), o.permute_dims(residual, (1, 0)))), dtype=ox.float32)

    x, w, residual = integers("bfloat16", 600, 72), integers("bfloat16", 72, 113), random("bfloat16", 113, 600)
    arrays = on_device(x), on_device(w, True), on_device(residual)
    check(gpu, "matmul_wgmma_256x128", function, exact(x, w, "bfloat16"), *arrays)


def test_integers_are_scaled_by_row_and_by_column(gpu: HostRuntime) -> None:
    def function(o: Any, x: Any, w: Any, rows: Any, columns: Any) -> Any:
        y = o.cast(o.matmul(x, w, dtype=ox.int32), dtype=ox.float32)
        return o.cast(o.multiply(o.multiply(y, rows), columns), dtype=ox.float16)

    x, w = integers("int8", 130, 144), integers("int8", 144, 100, seed=1)
    rows, columns = on_device(random("float32", 130, 1, seed=2)), on_device(random("float32", 100, seed=3))
    check(gpu, "matmul_wgmma_128x64", function, exact(x, w, "int32"), on_device(x), on_device(w, True), rows, columns)


def scaled(o: Any, x: Any, w: Any, scale: Any, residual: Any) -> Any:
    """Operands over a batch that repeat along different axes of it, and two results."""
    y = o.multiply(o.matmul(x, w), scale)
    return y, o.less(o.subtract(y, residual), 0.0)


def check_batched(gpu: HostRuntime, entry: str = "matmul_wgmma_128x128") -> None:
    shapes = (2, 2, 20, 72), (2, 2, 72, 104), (2, 1, 104), (2, 1, 20, 1)
    arrays = [integers("bfloat16", *s, seed=i) for i, s in enumerate(shapes)]
    check(gpu, entry, scaled, exact(*arrays[:2], "bfloat16"), *map(on_device, arrays))


def test_a_batch_has_a_place_in_every_operand_and_there_may_be_several_results(gpu: HostRuntime) -> None:
    check_batched(gpu)


def check_in_turns(gpu: HostRuntime, entry: str) -> None:
    """Three tiles for one cluster, whose stages go round the ring in other steps than tiles do."""
    gpu.properties = replace(gpu.properties, multiprocessors=1)
    x, w = integers("bfloat16", 200 if "256x" in entry else 72, 456), integers("bfloat16", 456, 264, seed=1)
    bias, residual = random("bfloat16", 264, seed=2), random("bfloat16", len(x), 264, seed=3)
    with registered(OnHost(gpu)):
        check(gpu, entry, linear, exact(x, w, "bfloat16"), *map(on_device, (x, w, bias, residual)))


@pytest.mark.parametrize("reversed_turns", [False, True])
@pytest.mark.parametrize("entry", [e for e, t in TILE_OF.items() if t.turns])
def test_warpgroups_that_take_turns_make_every_tile_once(entry: str, reversed_turns: bool) -> None:
    check_in_turns(HostRuntime(reversed_turns=reversed_turns), entry)


#: What is broken where warpgroups take turns: the text, and the text in its place.
FAULTS_OF_TURNS = {
    "the stages of the other's tile are not passed over": ("turn.pass(work.stages);", ""),
    "the ring's parity does not go on": ("parity ^= stage / STAGES & 1, ", ""),
    "both make every tile": ("others = CONSUMERS - 1;", "others = 0;"),
    "nobody waits for a turn": ("barrier_wait(free + group * BARRIER_BYTES, free_parity);", ""),
    "the second rows are the first": ("+ p * (PANEL * LINE >> 4)", ""),
    "the second rows go where the first are": ("row + p * PANEL", "row"),
    "a stage is to be given back by both": ("CONSUMERS / PANELS * 4", "CONSUMERS * 4"),
}


@pytest.mark.parametrize("fault", FAULTS_OF_TURNS)
def test_a_planted_fault_of_turns_is_seen(fault: str) -> None:
    right, wrong = FAULTS_OF_TURNS[fault]
    assert part("warpgroups").count(right) == 1
    seen = []
    for reversed_turns in (False, True):
        gpu = HostRuntime(reversed_turns=reversed_turns)
        gpu.compiler = HostCompiler({"warpgroups": part("warpgroups").replace(right, wrong)})
        try:
            check_in_turns(gpu, "matmul_wgmma_128x128_in_turns")
        except (AssertionError, KernelError) as error:
            seen.append(str(error))
    assert any(re.search("differ|overwritten|not every", x) for x in seen), seen


#: What is broken: the text, and the text in its place.
FAULTS = {
    "operands are those of the first matrix": ("sink_of(batch);", "sink_of(0);"),
    "operands are those of a tile's first columns": ("at_column = column + first", "at_column = column"),
    "lanes forget their row": ("first_line = row + lane / LANES;", "first_line = row;"),
    "results are read before they are there": ("sums);\n                __syncwarp();", "sums);"),
    "results are overwritten before they are read": ("__syncwarp();  // what lay", "// what lay"),
    "results of other columns": ("stage<FIRST>(sums);", "stage<0>(sums);"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_planted_fault_is_seen(fault: str) -> None:
    right, wrong = FAULTS[fault]
    assert part("warpgroups").count(right) == 1
    gpu = HostRuntime()
    gpu.compiler = HostCompiler({"warpgroups": part("warpgroups").replace(right, wrong)})
    with registered(OnHost(gpu)), pytest.raises(AssertionError, match="differ"):
        check_batched(gpu)


def test_what_the_copy_engine_does_not_take_is_left_to_others(gpu: HostRuntime) -> None:
    x, w = on_device(random("bfloat16", 64, 36)), on_device(random("bfloat16", 36, 64))
    refused = fused(lambda o, x, w: o.abs(o.negative(o.matmul(x, w))), x, w).rejection
    assert refused is not None
    assert (refused.reason, "multiples of 16 bytes" in refused.detail) == (Reason.LAYOUT, True)
    assert gpu.launches == ["matmul_mma_64x64"]


def layer(n: int, k: int) -> tuple[Array, ...]:
    return tuple(ox.zeros(s, dtype=ox.bfloat16, device="cuda:0") for s in ((n, k), (k, n), (n,), (n, n)))


def test_large_layers_go_to_warpgroups_and_small_ones_do_not() -> None:
    with registered(OnHost(Recorder())):
        chosen = [decided(linear, *layer(n, k)).chosen.name for n, k in ((256, 64), (2048, 4096))]
    assert chosen == [f"cuda/epilogue.{kind}:matmul,add,maximum,add" for kind in ("mma", "wgmma")]


def test_other_gpus_do_without() -> None:
    gpu = Recorder()
    gpu.properties = Recorder().properties.__class__("NVIDIA A100", (8, 0), 1 << 36, 108, 1.4e9, 2e12, 40 << 20)
    with registered(OnHost(gpu)):
        found = fused(linear, *layer(256, 64)).rejection
    assert found is not None
    assert (found.reason, found.detail) == (Reason.FEATURE, "cuda:0 lacks sm_90a")


def test_a_launch_has_the_maps_of_the_product_and_the_arrays_of_the_epilogue() -> None:
    with installed(FakeCuda(Gpu())) as machine, registered(plugin):
        x, w, bias, residual = layer(256, 64)
        run = fused(linear, x, w, bias, residual).run
        assert run is not None
        (out,) = run([x, w, bias, residual], None)
        launch = machine.launches[-1]
        assert (launch.entry, launch.block) == ("matmul_wgmma_128x64", (384, 1, 1))
        assert launch.pointers == tuple(a.ptr for a in (x, w, bias, residual, out))


def fused_for(columns: int, operands: int, strides: tuple[int, int]) -> wgmma.Fused | Rejection:
    problem = problem_of((512, columns, 64), (64, 1), (1, 64), [strides] * operands)
    program = build_program("sum", ("bfloat16",) * (operands + 1), lambda x, *ys: x)
    epilogue = Epilogue(program, 0, (strides[1] == 1,) * operands)
    return wgmma.fused(problem, "bfloat16", lambda width: epilogue, True)


@pytest.mark.parametrize(
    ("columns", "operands", "strides", "expected"),
    [
        (512, 1, (512, 1), (8, 8, 4)),
        (512, 9, (512, 1), (8, 8, 1)),
        (512, 9, (1, 512), (4, 16, 1)),
        (508, 1, (508, 1), (4, 16, 8)),
        (511, 1, (511, 1), (1, 32, 8)),
        (512, 0, (0, 0), (8, 8, 1)),
    ],
)
def test_lanes_take_as_much_as_columns_and_registers_allow(
    columns: int, operands: int, strides: tuple[int, int], expected: tuple[int, int, int]
) -> None:
    found = fused_for(columns, operands, strides)
    assert isinstance(found, wgmma.Fused)
    assert (found.width, found.lanes, found.flight) == expected


def test_more_operands_than_there_are_registers_are_refused() -> None:
    found = fused_for(512, 20, (1, 512))
    assert isinstance(found, Rejection)
    assert (found.reason, "20 operands" in found.detail) == (Reason.SIZE, True)


def gelu_of_columns(o: Any, x: Any, w: Any, bias: Any, residual: Any) -> Any:
    return o.gelu(o.add(o.matmul(x, w), o.permute_dims(residual, (1, 0))))


def in_float64(o: Any, x: Any, w: Any, bias: Any, residual: Any) -> tuple[Any, ...]:
    y = o.cast(o.add(o.matmul(x, w, dtype=ox.float32), bias), dtype=ox.float64)
    return o.tanh(y), o.divide(y, 3.0)


def many_residuals(o: Any, x: Any, w: Any, bias: Any, *residuals: Any) -> Any:
    y = o.add(o.matmul(x, w), bias)
    for residual in residuals:
        y = o.add(y, residual)
    return y


def many_turned_residuals(o: Any, x: Any, w: Any, *residuals: Any) -> Any:
    bias, *others = residuals
    return many_residuals(o, x, w, bias, *(o.permute_dims(r, (1, 0)) for r in others))


@pytest.mark.parametrize(
    ("function", "n", "more"),
    [
        (linear, 2048, 0),
        (linear, 2047, 0),
        (gelu_of_columns, 2048, 0),
        (in_float64, 2048, 0),
        (many_residuals, 2048, 9),
        (many_turned_residuals, 2048, 12),
    ],
    ids=["vectors", "odd columns", "gelu", "float64", "many residuals", "many turned residuals"],
)
@pytest.mark.parametrize("tile", [TILES[0], TILES[5]], ids=["together", "in turns"])
def test_registers_suffice_and_products_overlap(function: Function, n: int, more: int, tile: Tile) -> None:
    runtime = Recorder()
    with registered(OnHost(runtime)), mock.patch.object(wgmma, "tile_for", return_value=tile):
        x, _, bias, residual = layer(n, 64)
        w = ox.zeros((n, 64), dtype=ox.bfloat16, device="cuda:0").mT
        outputs(function, x, w, bias, residual, *[residual + 0.0 for _ in range(more)])
    (body,) = [body for body, parts in runtime.texts.values() if parts == PARTS and "epilogue" in body]
    made = nvrtc.compiled(whole(body, *PARTS), TARGETS[TARGET])
    assert made.log == ""
    (needs,) = resources(made.image).values()
    assert (needs.local, needs.shared, needs.registers) == (0, 0, 168)
