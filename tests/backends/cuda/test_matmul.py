"""Matrix products by multiply-adds, carried out on the host: the canonical bits, however a product is cut and lies."""

from __future__ import annotations

import numpy as np
import pytest

import opmux as ox
from opmux.backends.cuda.products.matmul import (
    HUGE,
    LARGE,
    MEDIUM,
    SMALL,
    TALL,
    WIDE,
    Access,
    Problem,
    Tile,
    access,
    plan_for,
    problem_of,
)
from opmux.conformance.performance.candidates import runnable
from opmux.conformance.target import targets
from opmux.core.arrays.array import Array
from opmux.core.nests import Nest
from opmux.core.op import OPS
from opmux.opset.orders import canonical_matmul
from tests.backends.cuda.host.runtime import HostRuntime


def random(shape: tuple[int, ...], dtype: str, seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    if dtype.startswith("float"):
        return rng.standard_normal(shape).astype(dtype)
    return rng.integers(0, 256, (*shape, np.dtype(dtype).itemsize), np.uint8).view(dtype)[..., 0]


def by_kernel(name: str, a: Array, b: Array, dtype: object = None) -> np.ndarray:
    """Multiply by one kernel, whichever the dispatcher would choose."""
    (target,) = targets("cuda")
    decision = target.decide(OPS["matmul"], [a, b], {"dtype": dtype})
    chosen = next(c for c in runnable(decision) if c.name == f"cuda/{name}")
    assert chosen.run is not None
    return chosen.run([a, b], None)[0].numpy()


#: The host pretends to have 4 multiprocessors: a tile is taken where its blocks are done first on these.
SHAPES = {
    (1021, 530, 126): ["matmul_128x128"],
    (509, 530, 127): ["matmul_128x64"],
    (257, 70, 250): ["matmul_64x64"],
    (20, 33, 40): ["matmul_32x32"],
    (33, 2200, 30): ["matmul_32x32", "matmul_add_shares"],
    (400, 30, 3): ["matmul_128x8"],
    (2, 60, 400): ["matmul_8x128"],
}


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_every_cut_has_the_canonical_bits(gpu: HostRuntime, shape: tuple[int, int, int]) -> None:
    m, k, n = shape
    a, b = random((m, k), "float32", 1), random((k, n), "float32", 2)
    found = by_kernel("matmul", ox.asarray(a, device="cuda:0"), ox.asarray(b, device="cuda:0"))
    assert (found == canonical_matmul(a, b)).all()
    assert gpu.launches == SHAPES[shape]


@pytest.mark.parametrize("dtype", ["float64", "int16", "uint64"])
def test_other_dtypes_have_the_bits_of_their_rules(gpu: HostRuntime, dtype: str) -> None:
    a, b = random((21, 34), dtype, 1), random((34, 12), dtype, 2)
    found = ox.matmul(ox.asarray(a, device="cuda:0"), ox.asarray(b, device="cuda:0")).numpy()
    assert (found == canonical_matmul(a, b)).all()


@pytest.mark.parametrize("dtype", ["float16", "int8"])
def test_narrow_elements_are_widened(gpu: HostRuntime, dtype: str) -> None:
    a, b = random((20, 36), dtype, 1), random((36, 12), dtype, 2)
    arrays = [ox.asarray(x, device="cuda:0") for x in (a, b)]
    wide = ox.float32 if dtype == "float16" else ox.int32
    assert (by_kernel("matmul", *arrays) == canonical_matmul(a, b)).all()
    expected = canonical_matmul(a, b, dtype=np.float32 if dtype == "float16" else np.int32)
    assert (by_kernel("matmul", *arrays, wide) == expected).all()
    assert gpu.launches == ["matmul_32x32"] * 2


def test_operands_are_read_where_they_lie(gpu: HostRuntime) -> None:
    a, b = random((40, 2, 24), "float32", 1), random((2, 3, 48, 40), "float32", 2)
    x = ox.permute_dims(ox.asarray(a, device="cuda:0"), (1, 2, 0))[:, None, ::-2, :]
    y = ox.permute_dims(ox.asarray(b, device="cuda:0"), (0, 1, 3, 2))
    expected = canonical_matmul(a.transpose(1, 2, 0)[:, None, ::-2, :], b.transpose(0, 1, 3, 2))
    assert (ox.matmul(x, y).numpy() == expected).all()
    assert gpu.launches == ["matmul_32x32"]


def test_a_batch_over_one_matrix_is_more_rows(gpu: HostRuntime) -> None:
    a, b = random((9, 1, 20), "float32", 1), random((20, 40), "float32", 2)
    found = ox.matmul(ox.asarray(a, device="cuda:0"), ox.asarray(b, device="cuda:0")).numpy()
    assert (found == canonical_matmul(a, b)).all()
    assert problem_of((9, 1, 40, 20), (20, 20, 1), (0, 40, 1)).rows == 9


def test_what_is_beyond_the_terms_keeps_a_negative_zero(gpu: HostRuntime) -> None:
    """A product too small for float32 rounds to -0, and adding +0 times +0 would make that +0."""
    a, b = np.float32([[-1e-30] * 3]), np.float32([[1e-30]] * 3)
    found = ox.matmul(ox.asarray(a, device="cuda:0"), ox.asarray(b, device="cuda:0")).numpy()
    assert np.signbit(canonical_matmul(a, b)).all()
    assert np.signbit(found).all()


def test_no_terms_make_positive_zeros(gpu: HostRuntime) -> None:
    found = ox.matmul(ox.zeros((3, 0), device="cuda:0"), ox.zeros((0, 5), device="cuda:0")).numpy()
    assert found.shape == (3, 5)
    assert not found.view(np.uint32).any()


def _problem(m: int, n: int, k: int) -> Problem:
    return Problem(m, n, k, (k, 1), (n, 1), Nest((1,), ((0,), (0,), (0,))))


@pytest.mark.parametrize(
    ("m", "n", "k", "tile", "shares"),
    [
        # 64 blocks of HUGE and 128 of LARGE are alone on their multiprocessors; two of MEDIUM are done before either.
        (1024, 1024, 1024, MEDIUM, 1),
        # 256, 1024 and 4096 blocks of HUGE fill 97 % of two, eight and 32 turns of 132 multiprocessors.
        (2048, 2048, 2048, HUGE, 1),
        (4096, 4096, 4096, HUGE, 1),
        (8192, 8192, 8192, HUGE, 1),
        # 200 blocks of LARGE are 76 % of two turns, and 1600 with an eighth of the terms each are 93 % of 13.
        (1280, 1280, 4096, LARGE, 8),
        # Larger tiles would be all but empty.
        (1 << 20, 30, 1024, SMALL, 1),
        (200, 200, 300, SMALL, 1),
        # A few tiles and many terms: one turn of 128 HUGE would be alone, two turns of 256 LARGE are not.
        (256, 256, 16384, LARGE, 32),
        (1, 8192, 8192, WIDE, 16),
        (1 << 20, 1, 64, TALL, 1),
        # 512 MiB of partial results would be needed.
        (64, 64, 1 << 24, SMALL, 1),
    ],
)
def test_a_plan_is_what_132_multiprocessors_are_done_with_first(
    m: int, n: int, k: int, tile: object, shares: int
) -> None:
    plan = plan_for(_problem(m, n, k), 4, 132)
    assert (plan.tile, plan.shares) == (tile, shares)


def test_vectors_are_read_only_where_all_of_them_are_whole(gpu: HostRuntime) -> None:
    x = ox.zeros((8, 12), device="cuda:0")
    sig = x._sig
    assert access(sig, (8, 12), (12, 1), (0,), 4) == Access(4, True)
    assert access(sig, (12, 1), (8, 12), (0,), 4) == Access(4, False)
    assert access(sig, (8, 13), (12, 1), (0,), 4) == Access(1, True)
    assert access(sig, (8, 12), (11, 1), (0,), 4) == Access(1, True)
    assert access(sig, (8, 12), (12, 1), (98,), 4) == Access(1, True)


def lanes(tile: Tile) -> list[tuple[int, int]]:
    """Return each lane's row and column within its warp, as ``multiply`` has them."""
    columns = tile.lanes[1]
    return [(lane // (2 * columns) * 2 + lane % 2, lane // 2 % columns) for lane in range(32)]


def spread(threads: int, extent: int, depth: int, vector: int) -> tuple[int, int, int]:
    """Return ACROSS, UNIT and SPREAD of a ``Loader`` along the terms, of values of 4 bytes."""
    across = depth // vector
    unit = max(32 // min(across, 32), 4)
    return across, unit, max(min(across, min(extent, 32) // unit), 1)


BLOCKED = [HUGE, LARGE, MEDIUM, SMALL]


@pytest.mark.parametrize("tile", BLOCKED, ids=lambda t: f"{t.rows}x{t.columns}")
def test_lanes_share_rows_and_columns_in_pairs(tile: Tile) -> None:
    """Reads of shared memory then take half of the requests: all lanes have the address of lane ^ 1, or of lane ^ 2."""
    at = lanes(tile)
    assert sorted(at) == [(r, c) for r in range(tile.lanes[0]) for c in range(tile.lanes[1])]
    assert all(at[lane][1] == at[lane ^ 1][1] and at[lane][0] == at[lane ^ 2][0] for lane in range(32))


@pytest.mark.parametrize("vector", [1, 4])
@pytest.mark.parametrize("tile", BLOCKED, ids=lambda t: f"{t.rows}x{t.columns}")
@pytest.mark.parametrize("side", [0, 1], ids=["rows", "columns"])
def test_words_of_a_warp_are_in_different_banks(tile: Tile, side: int, vector: int) -> None:
    """What lanes write term by term, and what eight of them read in one go.

    Vectors that are read stay whole, so there are eight places to exchange: over eight lanes along the terms, as there
    are where elements come one by one, wait for each other.
    """
    extent = (tile.rows, tile.columns)[side]
    across, unit, spreads = spread(tile.threads, extent, tile.depth, vector)

    def place(e: int, d: int) -> int:
        return d * extent + (e ^ d // vector % spreads * unit)

    written = [place(lane // across, lane % across * vector) % 32 for lane in range(32)]
    assert len(set(written)) == 32 // max(across // 8, 1)
    for d in range(tile.depth):
        for first in range(0, 32, 8):
            read = {place(at[side] * 4, d) for at in lanes(tile)[first : first + 8]}
            assert len({word // 4 % 8 for word in read}) == len(read)
