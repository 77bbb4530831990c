"""Matrix products on tensor cores, with stand-ins on the host that follow the PTX ISA's fragment tables."""

from __future__ import annotations

import ctypes

import ml_dtypes
import numpy as np
import pytest

import opmux as ox
from opmux.backends.cuda.compiling.targets import TARGETS
from opmux.backends.cuda.products import tensor_cores
from opmux.backends.cuda.products.matmul import Problem
from opmux.backends.cuda.products.matmul_kernels import MMA_PARTS
from opmux.backends.cuda.products.tensor_cores import TILES, Reading, plan_for, reading, split_for
from opmux.core.arrays.array import Array
from opmux.core.nests import Nest
from tests.backends.cuda.host.runtime import HostRuntime
from tests.backends.cuda.test_matmul import by_kernel

#: Rows, terms, columns, whether each operand is transposed, and how they are then read.
CALLS = [
    ("float16", (72, 40, 136), "", ("AlongDepth", "AlongExtent")),
    ("bfloat16", (136, 104, 40), "ab", ("AlongExtent", "AlongDepth")),
    ("float16", (33, 35, 37), "", ("Gathered", "Gathered")),
    ("int8", (64, 208, 20), "", ("AlongDepth", "Gathered")),
    ("uint8", (17, 67, 64), "b", ("Gathered", "Gathered")),
]


def small(shape: tuple[int, ...], dtype: str, seed: int) -> np.ndarray:
    """Integers, whose products and sums are exact in any order."""
    low = 0 if dtype == "uint8" else -8
    return (
        np.random.default_rng(seed).integers(low, 9, shape).astype(ml_dtypes.bfloat16 if dtype == "bfloat16" else dtype)
    )


def on_device(x: np.ndarray, transposed: bool) -> Array:
    return ox.asarray(np.ascontiguousarray(x.T), device="cuda:0").T if transposed else ox.asarray(x, device="cuda:0")


@pytest.mark.parametrize(("dtype", "shape", "transposed", "kinds"), CALLS)
def test_products_are_exact_however_operands_are_read(
    gpu: HostRuntime, dtype: str, shape: tuple[int, int, int], transposed: str, kinds: tuple[str, str]
) -> None:
    m, k, n = shape
    a, b = small((m, k), dtype, 1), small((k, n), dtype, 2)
    x, y = on_device(a, "a" in transposed), on_device(b, "b" in transposed)
    found = by_kernel("matmul.mma", x, y, ox.float32 if dtype.endswith("16") else ox.int32)
    assert (found == a.astype(np.float32) @ b.astype(np.float32)).all()
    sides = (x, (m, x.strides[0]), (k, x.strides[1])), (y, (n, y.strides[1]), (k, y.strides[0]))
    assert tuple(reading(s._sig, e, d, (0,)).kind for s, e, d in sides) == kinds
    assert gpu.launches == ["matmul_mma_64x64"]


def test_a_row_does_not_depend_on_what_else_is_in_the_batch(gpu: HostRuntime) -> None:
    rng = np.random.default_rng(3)
    a, b = rng.standard_normal((256, 72)).astype(np.float16), rng.standard_normal((72, 256)).astype(np.float16)
    y = ox.asarray(b, device="cuda:0")
    all_rows, some = (by_kernel("matmul.mma", ox.asarray(x, device="cuda:0"), y) for x in (a, a[100:117]))
    assert (all_rows[100:117] == some).all()
    assert gpu.launches == ["matmul_mma_128x128", "matmul_mma_64x64"]


@pytest.mark.parametrize(("dtype", "k"), [("float16", 2056), ("int8", 4112)])
def test_shares_of_the_terms_are_added(gpu: HostRuntime, dtype: str, k: int) -> None:
    a, b = small((40, k), dtype, 1), small((k, 72), dtype, 2)
    x, y = ox.asarray(a, device="cuda:0"), ox.asarray(b, device="cuda:0")
    found = by_kernel("matmul.mma.shares", x, y, ox.float32 if dtype == "float16" else ox.int32)
    assert (found == a.astype(np.float64) @ b.astype(np.float64)).all()
    assert gpu.launches == ["matmul_mma_64x64", "matmul_add_shares"]


def test_shares_are_within_the_bound_of_a_sum_and_the_same_again(gpu: HostRuntime) -> None:
    rng = np.random.default_rng(5)
    a, b = rng.standard_normal((8, 2048)).astype(np.float16), rng.standard_normal((2048, 8)).astype(np.float16)
    x, y = ox.asarray(a, device="cuda:0"), ox.asarray(b, device="cuda:0")
    found, again = (by_kernel("matmul.mma.shares", x, y, ox.float32) for _ in range(2))
    wide = a.astype(np.float64), b.astype(np.float64)
    # A sum of n terms in any order is off by at most (n - 1) u times the sum of their sizes, to the first order
    # (Higham, "Accuracy and Stability of Numerical Algorithms", 4.2), u being 2^-24; products of float16 are exact.
    assert (np.abs(found - wide[0] @ wide[1]) <= 2048 * 2.0**-24 * (np.abs(wide[0]) @ np.abs(wide[1]))).all()
    assert (found == again).all()


def _problem(m: int, n: int, k: int) -> Problem:
    return Problem(m, n, k, (k, 1), (n, 1), Nest((1,), ((0,), (0,), (0,))))


@pytest.mark.parametrize(
    ("m", "n", "k", "tile", "shares"),
    [
        # 128 tiles of 128 x 256, 512 and 2048 fill 97 % of one, four and 16 turns of 132 multiprocessors.
        (2048, 2048, 2048, 0, 1),
        (4096, 4096, 4096, 0, 1),
        (8192, 8192, 8192, 0, 1),
        # 64 tiles of 128 x 128 would leave half of the multiprocessors idle, and so would shares of so few terms.
        (1024, 1024, 1024, 2, 1),
        # Four tiles; 64, 86 tiles of long terms.
        (128, 128, 16384, 2, 32),
        (16, 4096, 4096, 2, 4),
        (512, 512, 16384, 1, 8),
        # A second launch costs more than all of it.
        (128, 128, 256, 2, 1),
    ],
)
def test_a_plan_is_what_132_multiprocessors_are_done_with_first(m: int, n: int, k: int, tile: int, shares: int) -> None:
    problem = _problem(m, n, k)
    plan = split_for(problem, 2, 132) or plan_for(problem, 2, 132)
    assert (TILES.index(plan.tile), plan.shares) == (tile, shares)
    assert plan.share * (plan.shares - 1) < k <= plan.share * plan.shares


def test_a_product_that_gains_nothing_is_left_to_whole_tiles(gpu: HostRuntime) -> None:
    x = ox.zeros((64, 64), dtype=ox.float16, device="cuda:0")
    assert "nearly" in str(ox.explain(ox.matmul, x, x))


@pytest.mark.parametrize("extent", [64, 128, 256])
def test_rows_of_a_matrix_are_in_different_banks(extent: int) -> None:
    """What ``ldmatrix`` reads at once, 8 rows of 16 bytes, however a stage lies: places are those of ``mma.cuh``."""
    for first in range(0, extent, 16):
        for piece in range(4):
            rows = [(e * 64 + (piece ^ (e >> 1 & 3)) * 16) // 16 % 8 for e in range(first, first + 8)]
            assert len(set(rows)) == 8
    for piece in range(extent // 8):
        assert len({(d * extent * 2 + (piece ^ (d & 7)) * 16) // 16 % 8 for d in range(8)}) == 8


def test_tiles_fit_every_target() -> None:
    for tile in TILES:
        assert tile.shared <= min(t.shared for t in TARGETS.values())
        assert all(side % 64 == 0 for side in (tile.rows, tile.columns))


#: One product of a warp, registers in and registers out.
WARP = """\
extern "C" __global__ void one_product(const u32* a, const u32* b, {sum}* c) {{
    u32 x[4];
    {sum} sums[4];
    for (int i = 0; i < 4; ++i) x[i] = a[threadIdx.x * 4 + i], sums[i] = 0;
    {name}(sums, x, b[threadIdx.x * 2], b[threadIdx.x * 2 + 1]);
    for (int i = 0; i < 4; ++i) c[threadIdx.x * 4 + i] = sums[i];
}}
OPMUX_ENTRY(one_product)
"""


def fragments(a: np.ndarray, b: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Give lanes their elements as the PTX ISA says under "Matrix Fragments for mma.m16n8k16" and "mma.m16n8k32"."""
    each = 4 // a.itemsize  # elements of a register
    lanes_a, lanes_b = np.empty((32, 4 * each), a.dtype), np.empty((32, 2 * each), b.dtype)
    for lane in range(32):
        group, in_group = lane // 4, lane % 4
        for i in range(4 * each):
            row = group + 8 * (i // each % 2)
            lanes_a[lane, i] = a[row, in_group * each + i % each + (4 * each if i >= 2 * each else 0)]
        for i in range(2 * each):
            lanes_b[lane, i] = b[in_group * each + i % each + (4 * each if i >= each else 0), group]
    return lanes_a, lanes_b


@pytest.mark.parametrize(
    ("name", "dtype", "total"), [("mma_f16", "float16", "f32"), ("mma_i8", "int8", "i32"), ("mma_u8", "uint8", "i32")]
)
def test_the_stand_in_has_the_fragments_of_the_instruction(gpu: HostRuntime, name: str, dtype: str, total: str) -> None:
    terms = 32 // np.dtype(dtype).itemsize
    a, b = small((16, terms), dtype, 1), small((terms, 8), dtype, 2)
    lanes = [np.ascontiguousarray(x) for x in fragments(a, b)]
    found = np.empty((32, 4), np.float32 if total == "f32" else np.int32)
    pointers = [ctypes.c_void_p(x.ctypes.data) for x in (*lanes, found)]
    addresses = (ctypes.c_void_p * 3)(*(ctypes.addressof(p) for p in pointers))
    module = gpu.load(gpu.compiler.image(WARP.format(name=name, sum=total), MMA_PARTS))
    function = gpu.function(module, "one_product", 0)
    gpu.launch(function, (1, 1, 1), (32, 1, 1), 0, None, ctypes.addressof(addresses))
    expected = a.astype(np.float32) @ b.astype(np.float32)
    for lane in range(32):
        for i in range(4):
            assert found[lane, i] == expected[lane // 4 + 8 * (i // 2), lane % 4 * 2 + i % 2]


def test_a_reading_names_its_type() -> None:
    made = Reading("Gathered", ("4", "false")).type_of(64, 128)
    assert made == "Gathered<Mma::Memory, 64, 128, 4, false>"
    assert tensor_cores.INSTRUCTIONS["int8"] == "MmaInt8"
