"""Matrix products with few rows or columns, carried out on the host."""

from __future__ import annotations

import ml_dtypes
import numpy as np
import pytest

import opmux as ox
from opmux.backends.cuda.products.matmul import Problem
from opmux.backends.cuda.products.skinny import cut_for, few_rows
from opmux.core.arrays.array import Array
from opmux.core.nests import Nest
from tests.backends.cuda.host.runtime import HostRuntime
from tests.backends.cuda.test_matmul import by_kernel

#: Rows, terms, columns, which operands are transposed, and the kernels. The host pretends to have 4 multiprocessors.
CALLS = {
    ("float32", 3, 260, 132, ""): ["matmul_skinny_across_4"],
    ("float32", 1, 1028, 36, "b"): ["matmul_skinny_along_1"],
    ("float32", 68, 131, 5, "a"): ["matmul_skinny_across_8"],
    ("float32", 45, 640, 2, "b"): ["matmul_skinny_along_2"],
    ("float64", 2, 70, 66, ""): ["matmul_skinny_across_2"],
    ("float16", 4, 200, 264, ""): ["matmul_skinny_across_4"],
    ("bfloat16", 3, 264, 20, "b"): ["matmul_skinny_along_4"],
}


def small(shape: tuple[int, int], dtype: str, seed: int) -> np.ndarray:
    """Integers, whose products and sums are exact in any order."""
    found = np.random.default_rng(seed).integers(-8, 9, shape)
    return found.astype(ml_dtypes.bfloat16 if dtype == "bfloat16" else dtype)


def on_device(x: np.ndarray, transposed: bool) -> Array:
    return ox.asarray(np.ascontiguousarray(x.T), device="cuda:0").T if transposed else ox.asarray(x, device="cuda:0")


@pytest.mark.parametrize("call", CALLS, ids=str)
def test_products_are_exact_however_operands_lie(gpu: HostRuntime, call: tuple[str, int, int, int, str]) -> None:
    dtype, m, k, n, transposed = call
    a, b = small((m, k), dtype, 1), small((k, n), dtype, 2)
    wide = ox.float32 if dtype.endswith("float16") else None
    found = by_kernel("matmul.skinny", on_device(a, "a" in transposed), on_device(b, "b" in transposed), wide)
    assert (found == a.astype(np.float64) @ b.astype(np.float64)).all()
    assert gpu.launches == CALLS[call]


def test_a_batch_goes_over_its_matrices(gpu: HostRuntime) -> None:
    a, b = small((6, 40), "float32", 1).reshape(3, 2, 40), small((120, 32), "float32", 2).reshape(3, 40, 32)
    found = by_kernel("matmul.skinny", ox.asarray(a, device="cuda:0"), ox.asarray(b, device="cuda:0"))
    assert (found == a @ b).all()


def test_what_is_beyond_the_terms_may_be_infinite(gpu: HostRuntime) -> None:
    a, b = np.ones((1, 5), np.float32), np.ones((5, 8), np.float32)
    b[4] = np.inf
    found = by_kernel("matmul.skinny", ox.asarray(a, device="cuda:0"), ox.asarray(b, device="cuda:0"))
    assert np.isposinf(found).all()


@pytest.mark.parametrize("transposed", ["", "b"])
def test_shares_of_many_terms_are_added(gpu: HostRuntime, transposed: str) -> None:
    rng = np.random.default_rng(5)
    # The host's memory is as fast as an H200's: only so much of it is worth a second launch.
    a, b = rng.standard_normal((1, 1 << 18)).astype(np.float32), rng.standard_normal((1 << 18, 12)).astype(np.float32)
    x, y = on_device(a, False), on_device(b, bool(transposed))
    found, again = (by_kernel("matmul.skinny", x, y) for _ in range(2))
    wide = a.astype(np.float64), b.astype(np.float64)
    # Higham, "Accuracy and Stability of Numerical Algorithms", 4.2: (n - 1) u to the first order, in any order.
    assert (np.abs(found - wide[0] @ wide[1]) <= 2.0**18 * 2.0**-24 * (np.abs(wide[0]) @ np.abs(wide[1]))).all()
    assert (found == again).all()
    assert gpu.launches[1:2] == ["matmul_add_shares"]


def test_others_are_refused_with_what_they_lack(gpu: HostRuntime) -> None:
    x, y = ox.zeros((9, 64), device="cuda:0"), ox.zeros((64, 64), device="cuda:0")
    said = [" ".join(str(ox.explain(ox.matmul, *z)).split()) for z in ((x, y), (x[:1], y[:, 1:]))]
    assert "9 rows and 64 columns are both more than 8" in said[0]
    assert "not read by 16 bytes" in said[1]


def _problem(m: int, n: int, k: int) -> Problem:
    return Problem(m, n, k, (k, 1), (n, 1), Nest((1,), ((0,), (0,), (0,))))


@pytest.mark.parametrize(
    ("m", "n", "k", "along", "groups", "tiles", "shares"),
    [
        (1, 8192, 8192, True, 1, 256, 1),  # a warp for four lines: blocks enough
        (1, 4096, 4096, True, 2, 256, 1),
        (1, 1024, 1024, True, 4, 128, 1),  # few terms: a warp has two vectors of each line
        (1, 4096, 4096, False, 8, 32, 8),  # 512 columns of 128 side by side are too few for 132 multiprocessors
        (1, 32768, 4096, False, 8, 256, 1),
        (1, 256, 256, False, 8, 2, 4),  # memory answers a block only so fast: a second launch takes less than its wait
        (1, 128, 128, False, 8, 1, 1),  # and here more
    ],
)
def test_blocks_are_enough_for_the_bandwidth(
    m: int, n: int, k: int, along: bool, groups: int, tiles: int, shares: int
) -> None:
    problem = _problem(m, n, k)
    cut = cut_for(problem, True, along, 4, 132)
    assert (cut.groups, cut.tiles, cut.shares) == (groups, tiles, shares)
    assert cut.share * (cut.shares - 1) < k <= cut.share * cut.shares
    assert few_rows(problem, "float32")
