"""The canonical bits, against the same orders written out one operation at a time in exact rationals."""

from __future__ import annotations

import math
from collections.abc import Callable
from fractions import Fraction
from typing import Any

import ml_dtypes
import numpy as np
import pytest

from opmux.conformance.oracle.canonical import NoCanonicalOrderError, canonical
from opmux.conformance.oracle.formats import FORMATS, from_fractions, nearest
from opmux.core.op import OPS
from opmux.opset.orders import BLOCK, LANES, MATMUL_BLOCK
from opmux.opset.recipes.fused import fma

Scalar = Any
RNG = np.random.default_rng(21)


def _rounded(value: Fraction, name: str, sign: float = 0.0) -> float:
    """Round once; an exact zero takes the sign given."""
    if not value:
        return sign
    return float(nearest(from_fractions([value], (1,)), FORMATS[name])[0])


def _fused(x: float, y: float, z: float, name: str) -> float:
    return _rounded(Fraction(x) * Fraction(y) + Fraction(z), name)


def _combined(terms: list[float], name: str, combine: Callable[[Fraction, Fraction], Fraction], one: float) -> float:
    """The order of sums and products, as the architecture describes it: lanes, halves, a tree of neighbours."""
    values = []
    for start in range(0, max(len(terms), 1), BLOCK):
        lanes = [one] * LANES
        for i, term in enumerate(terms[start : start + BLOCK]):
            lanes[i % LANES] = _rounded(combine(Fraction(lanes[i % LANES]), Fraction(term)), name)
        while len(lanes) > 1:
            half = len(lanes) // 2
            pairs = zip(lanes[:half], lanes[half:], strict=True)
            lanes = [_rounded(combine(Fraction(a), Fraction(b)), name) for a, b in pairs]
        values.append(lanes[0])
    while len(values) > 1:
        paired = [
            _rounded(combine(Fraction(a), Fraction(b)), name) for a, b in zip(values[0::2], values[1::2], strict=False)
        ]
        values = paired + values[len(values) - len(values) % 2 :]
    return values[0]


@pytest.mark.parametrize("n", [0, 1, 63, 65, 1025, 2600])
@pytest.mark.parametrize("name", ["float32", "float64"])
def test_sum_is_lanes_halves_and_a_tree(name: str, n: int) -> None:
    x = (RNG.standard_normal(n) * 1e3).astype(name)
    want = _combined([float(v) for v in x], name, lambda a, b: a + b, 0.0)
    assert float(canonical(OPS["sum"], (x,), {})) == want


def test_product_is_in_the_same_order() -> None:
    x = RNG.uniform(0.9, 1.1, 1100).astype(np.float32)
    want = _combined([float(v) for v in x], "float32", lambda a, b: a * b, 1.0)
    assert float(canonical(OPS["prod"], (x,), {})) == want


def test_narrow_sums_are_rounded_once() -> None:
    x = RNG.uniform(0, 1, 700).astype(ml_dtypes.bfloat16)
    wide = _combined([float(v) for v in x], "float32", lambda a, b: a + b, 0.0)
    assert float(canonical(OPS["sum"], (x,), {})) == float(np.float32(wide).astype(ml_dtypes.bfloat16))


@pytest.mark.parametrize("name", ["float32", "float64"])
def test_matrix_products_are_chains_of_fused_multiply_adds(name: str) -> None:
    k = MATMUL_BLOCK + 9
    x, y = RNG.standard_normal((2, k)).astype(name), RNG.standard_normal((k, 2)).astype(name)
    want = np.empty((2, 2))
    for i, j in np.ndindex(2, 2):
        blocks = []
        for start in (0, MATMUL_BLOCK):
            chain = 0.0
            for c in range(start, min(start + MATMUL_BLOCK, k)):
                chain = _fused(float(x[i, c]), float(y[c, j]), chain, name)
            blocks.append(chain)
        want[i, j] = _rounded(Fraction(blocks[0]) + Fraction(blocks[1]), name)
    np.testing.assert_array_equal(canonical(OPS["matmul"], (x, y), {}), want)


@pytest.mark.parametrize("name", ["float32", "float64"])
def test_the_fused_multiply_add_rounds_once(name: str) -> None:
    """Ties, cancellation and the ends of the range among random bits: where two roundings show."""
    t = np.dtype(name)
    bits = RNG.integers(0, 256, (3, 500, t.itemsize), np.uint8).view(t)[..., 0]
    near = RNG.uniform(1, 2, (3, 500)).astype(t)
    near[2] = -(near[0].astype(np.longdouble) * near[1]).astype(t)
    rows = np.concatenate([bits, near], axis=1)
    rows = rows[:, np.isfinite(rows).all(axis=0)]
    found = fma(*rows)
    for x, y, z, got in zip(*rows.tolist(), found.tolist(), strict=True):
        want = _fused(x, y, z, name)
        assert got == want or (math.isnan(got) and math.isnan(want))


def test_a_scan_is_one_chain() -> None:
    x = RNG.standard_normal(300).astype(np.float32)
    total, want = np.float32(x[0]), [x[0]]
    for term in x[1:]:
        total = np.float32(total + term)
        want.append(total)
    np.testing.assert_array_equal(canonical(OPS["cumulative_sum"], (x,), {"axis": 0}), want)


def test_a_composite_is_its_decomposition() -> None:
    x = RNG.standard_normal((3, 70)).astype(np.float32)
    shifted = x - x.max(axis=1, keepdims=True)
    terms = canonical(OPS["exp"], (shifted,), {})
    totals = canonical(OPS["sum"], (terms,), {"axis": 1, "keepdims": True})
    np.testing.assert_array_equal(canonical(OPS["softmax"], (x,), {}), terms / totals)


def test_narrow_composites_widen_first_and_round_once() -> None:
    x = RNG.standard_normal((2, 9)).astype(np.float16)
    wide = canonical(OPS["log_softmax"], (x.astype(np.float32),), {})
    np.testing.assert_array_equal(canonical(OPS["log_softmax"], (x,), {}), wide.astype(np.float16))


def test_scattered_sums_take_updates_in_their_order() -> None:
    x, updates = np.float32([1.0]), np.float32([2.0**24, 1.0, -(2.0**24)])
    found = canonical(OPS["scatter"], (x, np.zeros(3, np.int64), updates), {"reduction": "add"})
    assert found.tolist() == [0.0]


def test_complex_matrices_have_no_order_of_their_own() -> None:
    x = np.ones((2, 2), np.complex64)
    with pytest.raises(NoCanonicalOrderError, match="matmul on complex64"):
        canonical(OPS["matmul"], (x, x), {})
