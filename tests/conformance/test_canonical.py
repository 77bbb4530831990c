"""The canonical bits, against the same orders written out one operation at a time in exact rationals."""

from __future__ import annotations

import math
from collections.abc import Callable
from fractions import Fraction
from typing import Any

import ml_dtypes
import numpy as np
import pytest

import opmux as ox
from opmux.conformance.oracle.canonical import NoCanonicalOrderError, canonical
from opmux.conformance.oracle.formats import FORMATS, from_fractions, nearest
from opmux.core.dispatch.registry import REGISTRY
from opmux.core.kernel import CANONICAL_ORDER, Reason
from opmux.core.op import OPS
from opmux.opset.orders import BLOCK, LANES, MATMUL_BLOCK, canonical_matmul
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


def _times(x: Scalar, y: Scalar) -> Scalar:
    """One complex product by operations on scalars, each of which NumPy rounds by itself."""
    real_parts, imaginary_parts = x.real * y.real, x.imag * y.imag
    crossed, back = x.real * y.imag, x.imag * y.real
    made = np.empty((), x.dtype)
    made.real, made.imag = real_parts - imaginary_parts, crossed + back
    return made[()]


def _joined(terms: list[Scalar]) -> list[Scalar]:
    """Neighbours multiplied; one without a partner goes up unchanged."""
    pairs = zip(terms[::2], terms[1::2], strict=False)
    return [_times(a, b) for a, b in pairs] + terms[len(terms) // 2 * 2 :]


def _product(terms: list[Scalar]) -> Scalar:
    """Lanes, halves and a tree of what is there."""
    values = []
    for start in range(0, len(terms), BLOCK):
        lanes = terms[start : start + BLOCK][:LANES]
        for i, term in enumerate(terms[start : start + BLOCK][LANES:]):
            lanes[i % LANES] = _times(lanes[i % LANES], term)
        half = LANES // 2
        while half:
            lanes = [_times(x, lanes[i + half]) if i + half < len(lanes) else x for i, x in enumerate(lanes[:half])]
            half //= 2
        values.append(lanes[0])
    while len(values) > 1:
        values = _joined(values)
    return values[0]


@pytest.mark.parametrize("name", ["complex64", "complex128"])
@pytest.mark.parametrize("n", [1, 2, 33, 63, 65, 1025, 3000])
def test_complex_products_round_every_step(name: str, n: int) -> None:
    x = np.exp(1j * RNG.uniform(0, 7, n)).astype(name)
    assert canonical(OPS["prod"], (x,), {}).tobytes() == _product(list(x)).tobytes()
    chain = [x[0]]
    for term in x[1:]:
        chain.append(_times(chain[-1], term))
    assert canonical(OPS["cumulative_prod"], (x,), {"axis": 0}).tobytes() == np.array(chain).tobytes()


def test_complex_products_take_no_identity_in() -> None:
    one = np.array([complex(np.inf, -0.0)])
    assert canonical(OPS["prod"], (one,), {}).tobytes() == one.tobytes()
    assert canonical(OPS["prod"], (one[:0],), {}) == 1


def test_scattered_complex_products_round_every_step() -> None:
    x, updates = (np.exp(1j * RNG.uniform(0, 7, n)) for n in (3, 40))
    places = RNG.integers(0, 3, 40)
    want = list(x)
    for at, update in zip(places, updates, strict=True):
        want[at] = _times(want[at], update)
    found = canonical(OPS["scatter"], (x, places, updates), {"reduction": "multiply"})
    assert found.tobytes() == np.array(want).tobytes()


def test_complex_matrices_have_no_order_of_their_own() -> None:
    x = np.ones((2, 2), np.complex64)
    with pytest.raises(NoCanonicalOrderError, match="matmul on complex64"):
        canonical(OPS["matmul"], (x, x), {})
    with pytest.raises(ValueError, match="complex64 matrices"):
        canonical_matmul(x, x)


@pytest.mark.parametrize("name", ["multiply", "prod", "cumulative_prod", "matmul"])
def test_nobody_claims_the_order_of_complex_products_without_keeping_it(name: str) -> None:
    x = ox.ones((2, 2), dtype=ox.complex64)
    with ox.policy(determinism="canonical"), pytest.raises(ox.UnsupportedError) as refused:
        getattr(ox, name)(x, x) if name in ("multiply", "matmul") else getattr(ox, name)(x, axis=0)
    kernels = [r for name, r in refused.value.reasons.items() if "/" in name]
    assert kernels
    for found in kernels:
        assert found.reason in (Reason.DTYPE, Reason.DETERMINISM), found  # any other would be a claim


def test_a_kernel_that_promises_the_order_declines_complex_products() -> None:
    x, places = ox.ones((2, 2), dtype=ox.complex64), ox.asarray([0, 1])
    rows = ox.explain("scatter", x, places, x, reduction="multiply").rows
    given = REGISTRY.kernels("scatter", "cpu")
    promising = {f"{owner}/{k.name}" for owner, k in given if k.promises.order == CANONICAL_ORDER}
    assert promising
    assert not [r for r in rows if r.candidate in promising and r.eligible]
