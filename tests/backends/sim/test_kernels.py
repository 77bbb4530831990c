"""Kernels: the order of products, canonical bits, and the conformance suite on a sample of the ops."""

from __future__ import annotations

from dataclasses import replace

import ml_dtypes
import numpy as np
import pytest

import opmux as ox
from opmux.backends.sim.description import preset
from opmux.backends.sim.kernels import kernels, rows
from opmux.backends.sim.kernels.contraction import chain_length, chains
from opmux.conformance.results.outcome import Outcome
from opmux.conformance.running.run import run
from opmux.conformance.running.selection import Selection
from opmux.plugin import Determinism, evaluate, orders, recipe
from tests.backends.sim.small import SMALL, registered, simulated

RANDOM = np.random.default_rng(11)
#: Values of very different magnitudes, subnormal ones among them.
HARD = np.array([1.0, 1 + 2.0**-23, 2.0**-24, -(2.0**-24), 3.0, 2.0**-149, -(2.0**-130), 2.0**-75, 1e30, 0.1], "f4")


def _matrices(dtype, m, k, n, values=None):
    draw = RANDOM.standard_normal if values is None else lambda shape: RANDOM.choice(values, shape)
    with np.errstate(over="ignore"):
        return draw((m, k)).astype(dtype), draw((k, n)).astype(dtype)


@pytest.mark.parametrize("values", [None, HARD], ids=["normal", "hard"])
@pytest.mark.parametrize("dtype", [np.float32, np.float16, ml_dtypes.bfloat16])
def test_chains_of_a_block_are_the_canonical_order(dtype, values):
    a, b = _matrices(dtype, 5, orders.MATMUL_BLOCK + 40, 6, values)
    got = chains(a, b, orders.MATMUL_BLOCK).astype(dtype)
    assert np.array_equal(got, orders.canonical_matmul(a, b), equal_nan=True)


@pytest.mark.parametrize(
    ("dtype", "left", "right", "exact"),
    [
        # Just below half a unit in the last place above an odd number: float64 rounds it to the half.
        ("f4", [1 + 2.0**-23, (1 + 2.0**-20) * 2.0**-12], [1, (1 - 2.0**-20) * 2.0**-12], 1 + 2.0**-23),
        # The same where the result is subnormal.
        (
            *("f4", [(2**22 + 1) * 2.0**-149, (1 + 2.0**-23) * 2.0**-75], [1, (1 - 2.0**-23) * 2.0**-75]),
            (2**22 + 1) * 2.0**-149,
        ),
        # A product of bfloat16 that float32 does not hold: one and a half of its smallest numbers are two.
        (ml_dtypes.bfloat16, [2.0**-75, 2.0**-75], [2.0**-74, 2.0**-75], 2.0**-148),
    ],
    ids=["halfway", "subnormal", "underflow"],
)
def test_a_product_and_a_sum_are_rounded_once(dtype, left, right, exact):
    got = chains(np.array([left], dtype), np.array(right, dtype)[:, None], None)
    assert got.item() == exact


def test_infinities_and_nan_go_through_chains():
    a = np.array([[np.inf, 1.0], [np.nan, 0.0], [3e38, 3e38]], np.float32)
    got = chains(a, np.array([[0.0, 1.0], [1.0, 1.0]], np.float32), None)
    assert np.array_equal(
        got, np.array([[np.nan, np.inf], [np.nan, np.nan], [3e38, np.inf]], np.float32), equal_nan=True
    )


def test_cells_that_hold_weights_add_as_many_terms_as_there_are_rows():
    a, b = _matrices(np.float32, 3, 11, 2)
    fma = recipe("fma", ("float32",) * 3)
    total = None
    for start in (0, 4, 8):
        chain = np.zeros((3, 2), np.float32)
        for k in range(start, min(start + 4, 11)):
            chain = evaluate(fma, *np.broadcast_arrays(a[:, k, None], b[None, k, :]), chain)
        total = chain if total is None else total + chain
    assert np.array_equal(chains(a, b, 4), total)
    assert not np.array_equal(chains(a, b, 4), chains(a, b, None))


def test_products_of_doubles_are_rounded_before_they_are_added():
    a, b = _matrices(np.float64, 3, 11, 2)
    total = np.zeros((3, 2))
    for k in range(11):
        total = total + a[:, k, None] * b[None, k, :]
    assert np.array_equal(chains(a, b, None), total)


def test_the_dataflow_gives_the_length_of_chains():
    matrix = SMALL.matrix
    assert [chain_length(replace(matrix, dataflow=flow)) for flow in ("os", "ws", "is")] == [None, 4, 4]


def test_products_promise_the_order_of_the_hardware():
    promised = {k.name: (k.promises.order, k.promises.determinism) for k in kernels(preset("h100-sxm"))}
    assert promised["matmul.integers"] == ("canonical", Determinism.CANONICAL)
    assert promised["matmul.floats"] == ("chains-k", Determinism.BATCH)
    assert promised["matmul.doubles"] == ("chains-k-unfused", Determinism.BATCH)
    assert promised["matmul.vector"] == ("canonical", Determinism.CANONICAL)


def test_batches_and_transposes_of_narrow_integers_are_exact():
    with registered(simulated(SMALL)):
        x = RANDOM.integers(-128, 128, (2, 7, 5)).astype(np.int8)
        on = ox.asarray(x, device="sim")
        got = np.asarray(ox.matmul(on, ox.permute_dims(on, (0, 2, 1)), dtype=ox.int32).to_device("cpu"))
    wide = x.astype(np.int64)
    assert np.array_equal(got, wide @ wide.transpose(0, 2, 1))


def test_a_device_without_a_vector_unit_multiplies_and_moves():
    found = {row.op for row in rows(replace(SMALL, vector=None))}
    assert found == {"matmul", "copy", "concat", "pad", "gather", "bitcast", "full"}


def test_integers_that_are_wider_than_the_vector_unit_are_done_in_pieces():
    with registered(simulated(SMALL)) as simulation:
        x = ox.asarray(np.array([1 << 40, 5], np.int64), device="sim")
        simulation.reset_timeline()
        assert ox.add(x, x).tolist() == [1 << 41, 10]
        cycles = simulation.timeline(0)[0].cycles
        simulation.reset_timeline()
        narrow = ox.asarray(np.zeros(16, np.int32), device="sim")
        ox.add(narrow, narrow)
    assert cycles == 1  # 4 pieces on 4 lanes
    assert simulation.timeline(0)[-1].cycles == 4


@pytest.mark.parametrize(
    ("described", "ops", "dtypes"),
    [
        ("edge-npu", ("matmul", "add", "sum", "cast", "gather"), ("int8", "int32")),
        ("h100-sxm", ("matmul", "exp", "max", "scatter"), ("bfloat16",)),
    ],
)
def test_the_suite_finds_nothing_wrong_with_a_sample_of_the_ops(described, ops, dtypes):
    with registered(simulated(preset(described))):
        found = run(Selection(("simulated",), None, ops, dtypes, quick=True, isolate=False)).cases
    wrong = [(c.id, c.message) for c in found if c.outcome not in (Outcome.PASS, Outcome.UNSUPPORTED)]
    assert wrong == []
    assert sum(c.outcome is Outcome.PASS for c in found) > 30
