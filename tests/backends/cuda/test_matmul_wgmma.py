"""Matrix products by warpgroups and the copy engine, with stand-ins on the host that refuse what is undefined."""

from __future__ import annotations

from collections import deque
from dataclasses import replace

import ml_dtypes
import numpy as np
import pytest

import opmux as ox
from opmux.backends import cuda as plugin
from opmux.backends.cuda.compiling import nvrtc
from opmux.backends.cuda.compiling.cubin import resources
from opmux.backends.cuda.compiling.targets import TARGETS
from opmux.backends.cuda.products import wgmma
from opmux.backends.cuda.products.matmul import Problem, problem_of
from opmux.backends.cuda.products.wgmma import TILES, Variant, clusters_for, tile_for
from opmux.backends.cuda.products.wgmma_kernels import PARTS, TARGET
from opmux.backends.cuda.source import part, whole
from opmux.conformance.performance.candidates import runnable
from opmux.conformance.target import targets
from opmux.core.arrays.array import Array
from opmux.core.dispatch.decision import Candidate, Decision
from opmux.core.errors import KernelError
from opmux.core.kernel import Reason, Rejection
from opmux.core.op import OPS
from tests.backends.cuda.fake_cupy import FakeCuda, Gpu, installed
from tests.backends.cuda.host.compiler import HostCompiler
from tests.backends.cuda.host.plugin import OnHost, registered
from tests.backends.cuda.host.runtime import HostRuntime
from tests.backends.cuda.resources.calls import Recorder
from tests.backends.cuda.test_matmul import by_kernel

WGMMA = "matmul.wgmma"
BFLOAT16 = ml_dtypes.bfloat16


def numbers(shape: tuple[int, ...], dtype: str, seed: int) -> np.ndarray:
    """Integers, whose products and sums are exact in any order."""
    made = np.random.default_rng(seed).integers(0 if dtype == "uint8" else -3, 4, shape)
    return made.astype(BFLOAT16 if dtype == "bfloat16" else dtype)


def on_device(x: np.ndarray, transposed: bool = False) -> Array:
    y = np.swapaxes(x, -1, -2)
    return ox.asarray(np.ascontiguousarray(y), device="cuda:0").mT if transposed else ox.asarray(x, device="cuda:0")


#: Dtype, rows, terms, columns, which operands are transposed, the result's dtype, what is launched. All have edges, and
#: the last stage has terms that are not there; a pretended GPU has 4 multiprocessors.
CALLS = [
    ("bfloat16", (130, 200, 264), "", "bfloat16", "matmul_wgmma_256x256"),
    ("float16", (1096, 72, 56), "ab", "float32", "matmul_wgmma_128x64"),
    ("int8", (130, 208, 100), "b", "int32", "matmul_wgmma_128x64"),
    ("bfloat16", (600, 136, 113), "b", "bfloat16", "matmul_wgmma_256x128"),
]


@pytest.mark.parametrize(("dtype", "shape", "transposed", "result", "entry"), CALLS)
def test_products_are_exact(
    gpu: HostRuntime, dtype: str, shape: tuple[int, int, int], transposed: str, result: str, entry: str
) -> None:
    m, k, n = shape
    a, b = numbers((m, k), dtype, 1), numbers((k, n), dtype, 2)
    x, y = on_device(a, "a" in transposed), on_device(b, "b" in transposed)
    found = by_kernel(WGMMA, x, y, getattr(ox, result))
    assert (found == (a.astype(np.float64) @ b.astype(np.float64)).astype(found.dtype)).all()
    assert gpu.launches == [entry]


def test_batches_go_over_axes_of_their_own_and_over_one_operand(gpu: HostRuntime) -> None:
    a, b = numbers((3, 2, 20, 72), "bfloat16", 1), numbers((2, 1, 72, 40), "bfloat16", 2)
    x = ox.permute_dims(on_device(a), (1, 0, 2, 3))  # two axes that are none together
    y = ox.broadcast_to(on_device(b), (2, 3, 72, 40))
    found = by_kernel(WGMMA, x, y)
    expected = a.transpose(1, 0, 2, 3).astype(np.float64) @ b.astype(np.float64)
    assert (found == expected.astype(BFLOAT16)).all()
    assert [(m.shape, m.box) for m in gpu.maps[:2]] == [
        ((72, 20, 3, 2, 1), (64, 128, 1, 1, 1)),
        ((40, 72, 1, 2, 1), (64, 64, 1, 1, 1)),
    ]


def test_sums_are_those_of_float32_and_the_same_again(gpu: HostRuntime) -> None:
    rng = np.random.default_rng(5)
    a, b = (rng.standard_normal(s).astype(np.float16) for s in ((72, 136), (136, 56)))
    x, y = on_device(a, True), on_device(b, True)
    once, again = (by_kernel(WGMMA, x, y, ox.float32) for _ in range(2))
    exact, size = a.astype(np.float64) @ b.astype(np.float64), np.abs(a.astype(np.float64)) @ np.abs(b)
    assert (np.abs(once - exact) <= 136 * 2.0**-23 * size).all()
    assert (once == again).all()


WRONG = "wrong numbers"
#: What is broken: the text, the text in its place, and how that is seen in one order of turns at least.
FAULTS = {
    "results are read early": ("wgmma_wait<0>();", "", "overwritten"),
    "a stage is given back while it is read": ("wgmma_wait<1>();", "wgmma_wait<4>();", "overwritten"),
    "who brings operands waits for the wrong parity": ("Turn<STAGES> turn(1);", "Turn<STAGES> turn(0);", "not every"),
    "who multiplies waits for the wrong parity": ("Turn<STAGES> turn(0);", "Turn<STAGES> turn(1);", "not every"),
    "a barrier expects too little": (
        "barrier_expect(barrier, STAGE_BYTES)",
        "barrier_expect(barrier, 64)",
        "more bytes",
    ),
    "a barrier expects too much": (
        "barrier_expect(barrier, STAGE_BYTES)",
        "barrier_expect(barrier, 1u << 18)",
        "not every",
    ),
    "groups of lines are said to lie closer": ("PANEL_BYTES : 0, LINES_OF_SWIZZLE", "PANEL_BYTES : 0, 4", WRONG),
    "results lie unswizzled": ("(place ^ line % LINES_OF_SWIZZLE << 4)", "place", WRONG),
    "a copy is not fenced from what was stored": ("fence_before_copy();", "", "not fenced"),
    "a buffer is written while it is copied": ("if (leads) tensor_wait_read<BUFFERS - 1>();", "", WRONG),
    "products begin without a fence": ("wgmma_fence();", "", "without a fence"),
}


#: The same where blocks work in clusters.
FAULTS_OF_CLUSTERS = {
    "a stage is given back to one block": ("arrive_in(barrier, lane);", "arrive_in(barrier, rank);", "overwritten"),
    "a block leaves before the others": (
        "arrive at its barriers.\n    if constexpr (CLUSTER > 1)",
        "arrive at its barriers.\n    if constexpr (CLUSTER > 9)",
        "has left",
    ),
    "barriers of another block are used before they are made": (
        "if constexpr (CLUSTER > 1) sync_cluster();\n    else",
        "",
        "no barrier",
    ),
    "all blocks bring the same columns": ("to += part * MINE * LINE;", "", WRONG),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_planted_fault_is_seen(fault: str) -> None:
    right, wrong, how = FAULTS[fault]
    seen = carried_out(right, wrong, (1300, 264, 64), "matmul_wgmma_128x64")
    assert any(how in x for x in seen), seen


@pytest.mark.parametrize("fault", FAULTS_OF_CLUSTERS)
def test_a_planted_fault_of_clusters_is_seen(fault: str) -> None:
    right, wrong, how = FAULTS_OF_CLUSTERS[fault]
    seen = carried_out(right, wrong, (600, 392, 120), "matmul_wgmma_256x128")
    assert any(how in x for x in seen), seen


def carried_out(right: str, wrong: str, shape: tuple[int, int, int], entry: str) -> list[str]:
    """Return how a product with one text in the place of another comes out, by order of turns."""
    assert part("warpgroups").count(right) == 1
    m, k, n = shape
    a, b = numbers((m, k), "bfloat16", 1), numbers((k, n), "bfloat16", 2)
    expected = (a.astype(np.float64) @ b.astype(np.float64)).astype(BFLOAT16)
    seen = []
    for reversed_turns in (False, True):
        gpu = HostRuntime(reversed_turns=reversed_turns)
        gpu.compiler = HostCompiler({"warpgroups": part("warpgroups").replace(right, wrong)})
        with registered(OnHost(gpu)):
            try:
                same = (by_kernel(WGMMA, on_device(a), on_device(b)) == expected).all()
                seen.append("nothing" if same else WRONG)
            except KernelError as error:
                seen.append(str(error))
        assert gpu.launches == [entry]
    return seen


@pytest.mark.parametrize(
    ("shapes", "dtype", "reason", "why"),
    [
        (((64, 36), (36, 64)), "bfloat16", Reason.LAYOUT, "multiples of 16 bytes"),
        (((64, 64), (64, 64)), "int8", Reason.LAYOUT, "side by side"),
        (((64, 0), (0, 64)), "bfloat16", Reason.SIZE, "no terms"),
        (((64, 64), (64, 64)), "float32", Reason.DTYPE, "bfloat16"),
    ],
)
def test_what_the_copy_engine_does_not_take_is_refused(
    shapes: tuple[tuple[int, int], tuple[int, int]], dtype: str, reason: Reason, why: str
) -> None:
    with registered(OnHost(Recorder())):
        found = refused(*(ox.zeros(s, dtype=getattr(ox, dtype), device="cuda:0") for s in shapes))
    assert (found.reason, why in found.detail) == (reason, True), found


def decided(x: Array, y: Array) -> Decision:
    (target,) = targets("cuda")
    return target.decide(OPS["matmul"], [x, y], {"dtype": None})


def candidate(x: Array, y: Array) -> Candidate:
    return next(c for c in runnable(decided(x, y)) if c.name == f"cuda/{WGMMA}")


def refused(x: Array, y: Array) -> Rejection:
    found = candidate(x, y).rejection
    assert found is not None
    return found


def test_an_operand_that_begins_anywhere_is_refused() -> None:
    with registered(OnHost(Recorder())):
        x = ox.zeros((65, 64), dtype=ox.bfloat16, device="cuda:0")
        found = refused(ox.reshape(ox.zeros(64 * 64 + 1, dtype=ox.bfloat16, device="cuda:0")[1:], (64, 64)), x[:64])
    assert found.reason == Reason.ALIGNMENT


@pytest.mark.parametrize("capability", [(8, 0), (10, 0)])
def test_other_architectures_are_refused_by_name(capability: tuple[int, int]) -> None:
    gpu = Recorder()
    gpu.properties = replace(gpu.properties, capability=capability)
    with registered(OnHost(gpu)):
        x = ox.zeros((64, 64), dtype=ox.bfloat16, device="cuda:0")
        found = refused(x, x)
    assert (found.reason, found.detail) == (Reason.FEATURE, "cuda:0 lacks sm_90a")


def square(n: int) -> Problem:
    return problem_of((n, n, n), (n, 1), (n, 1))


def test_tiles_are_large_where_they_fill_the_gpu() -> None:
    assert [tile_for(square(n), 132).columns for n in (256, 1024, 8192)] == [64, 64, 256]
    assert clusters_for(square(8192), TILES[0], 132) == 66
    assert all(t.shared <= TARGETS["sm_90a"].shared for t in TILES)
    assert all((t.columns // t.cluster) % 64 == 0 for t in TILES)


@pytest.mark.parametrize(("n", "depth", "instructions", "turns"), [
    (8192, 4096, 0, False), (8192, 4096, 10, False), (8192, 1024, 20, True), (8192, 4096, 160, True),
    (1024, 4096, 160, False),
])  # fmt: skip
def test_warpgroups_take_turns_where_much_is_done_with_results(
    n: int, depth: int, instructions: int, turns: bool
) -> None:
    problem = problem_of((n, n, depth), (depth, 1), (1, depth))
    assert tile_for(problem, 132, 2, instructions).turns is turns


def test_large_products_go_to_warpgroups_and_small_ones_do_not() -> None:
    with registered(OnHost(Recorder())):
        squares = [ox.zeros((n, n), dtype=ox.bfloat16, device="cuda:0") for n in (64, 512, 4096)]
        chosen = [decided(x, x).chosen.name for x in squares]
    assert chosen == ["cuda/matmul.mma", "cuda/matmul.mma", f"cuda/{WGMMA}"]


def test_maps_are_encoded_once_for_an_address_and_given_to_the_launch() -> None:
    with installed(FakeCuda(Gpu())) as machine, registered(plugin):
        x, y = (ox.zeros((64, 64), dtype=ox.bfloat16, device="cuda:0") for _ in range(2))
        run = candidate(x, y).run
        assert run is not None
        for _ in range(3):
            (out,) = run([x, y], None)
        addresses = [address for address, _ in machine.maps]
        launch = machine.launches[-1]
        assert (addresses.count(x.ptr), addresses.count(y.ptr)) == (1, 1)
        assert (launch.entry, launch.grid, launch.block) == ("matmul_wgmma_128x64", (1, 1, 1), (384, 1, 1))
        assert launch.pointers == (x.ptr, y.ptr, out.ptr)


def test_a_map_that_the_driver_refuses_is_told() -> None:
    with installed(FakeCuda(Gpu())) as machine, registered(plugin):
        x = ox.zeros((64, 64), dtype=ox.bfloat16, device="cuda:0")
        run = candidate(x, x).run
        assert run is not None
        machine.failures["cuTensorMapEncodeTiled"] = deque([1])
        with pytest.raises(KernelError, match=r"CUDA_ERROR_1.*cuTensorMapEncodeTiled"):
            run([x, x], None)


VARIANTS = [
    Variant("bfloat16", "bfloat16", TILES[0], False, True, 3, True, False),
    Variant("float16", "float32", TILES[0], True, False, 5, True, False),
    Variant("int8", "int32", TILES[1], False, False, 3, True, False),
    Variant("bfloat16", "bfloat16", TILES[2], True, True, 3, False, False),
    Variant("bfloat16", "bfloat16", TILES[5], False, True, 3, True, False),
    Variant("int8", "int32", TILES[6], False, False, 3, False, True),
    Variant("float16", "float16", TILES[4], False, False, 3, False, True),
]


@pytest.mark.parametrize("variant", VARIANTS, ids=lambda v: f"{v.operand} {v.name}")
def test_registers_suffice_and_products_overlap(variant: Variant) -> None:
    made = nvrtc.compiled(whole(wgmma.source(variant), *PARTS), TARGETS[TARGET])
    assert made.log == ""
    needs = resources(made.image)[variant.name]
    assert (needs.local, needs.shared) == (0, 0)
    assert needs.registers * variant.tile.threads <= 65536


@pytest.mark.parametrize(
    ("right", "wrong", "code"),
    [
        ("if (s > 0) release(before);", "if (s == 7) sums[0][3] = 0;", "C7514"),
        ("sums[p], x + i", "sums[p], x + (i + sums[0][0])", "C75"),
    ],
)
def test_the_assembler_says_where_products_do_not_overlap(right: str, wrong: str, code: str) -> None:
    faulty = part("warpgroups").replace(right, wrong)
    assert faulty != part("warpgroups")
    text = whole(wgmma.source(VARIANTS[-1]), *PARTS, stand_ins={"warpgroups": faulty})
    assert code in nvrtc.compiled(text, TARGETS[TARGET]).log
