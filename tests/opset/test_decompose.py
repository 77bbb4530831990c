"""Elementwise ops by their recipes and core ops alone."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import opmux as ox
from opmux.core.graphs.trace import capture
from opmux.core.op import OPS
from opmux.opset.declare import declaration_of
from opmux.opset.profiles import core_ops
from opmux.opset.recipes.evaluate import evaluate
from opmux.opset.recipes.program import NUMPY_TYPES
from opmux.opset.recipes.registry import ops_with_recipes, program

DTYPES = ("float32", "float64", "bfloat16", "int32", "uint32", "uint64", "int8", "bool")
CASES = [
    (name, t)
    for name in ops_with_recipes()
    if name not in ("cast", "bitcast", "where") and not declaration_of(OPS[name]).core
    for t in DTYPES
    if t in [d.name for d in declaration_of(OPS[name]).dtypes]
]
EDGES = (0.0, -0.0, 1.0, -1.0, 0.5, -2.5, np.inf, -np.inf, np.nan, 100.0, -3.3)


def _operands(name: str, t: str) -> list[np.ndarray[Any, Any]]:
    rng = np.random.default_rng(7)
    kind, made = NUMPY_TYPES[t], []
    for _ in range(OPS[name].operand_count):
        if t == "bool":
            made.append(rng.integers(0, 2, 48).astype(np.bool_))
            continue
        x = rng.integers(0, 256, 48 * kind.itemsize, dtype=np.uint8).view(kind)
        if kind.kind in "fV":
            x[: len(EDGES)] = EDGES
        else:
            x[:4] = 0, 1, np.iinfo(kind).max, np.iinfo(kind).min
        made.append(rng.permutation(x))
    return made


@pytest.mark.parametrize(("name", "t"), CASES, ids=[f"{name}-{t}" for name, t in CASES])
def test_decomposition_has_the_bits_of_the_recipe(name: str, t: str, same_bits: Any) -> None:
    operands = _operands(name, t)
    op, recipe = OPS[name], program(name, (t,) * len(operands))
    assert op.decomposition is not None
    assert recipe is not None
    found = op.decomposition(*map(ox.asarray, operands)).numpy()
    same_bits(found, evaluate(recipe, *operands))


@pytest.mark.parametrize("name", ["exp", "maximum", "remainder", "less_equal", "isnan", "cbrt"])
def test_decomposition_is_made_of_core_ops(name: str) -> None:
    op = OPS[name]
    specs = [ox.asarray([1.0, 2.0])] * op.operand_count
    assert op.decomposition is not None
    graph, _ = capture(op.decomposition, ox.device("cpu"), specs, {})  # type: ignore[arg-type]
    assert {node.op.name for node in graph.nodes} <= set(core_ops())


@pytest.mark.parametrize("name", ["exp", "maximum", "abs", "signbit"])
def test_float32_goes_through_no_unsigned_and_no_wide_dtype(name: str) -> None:
    op = OPS[name]
    specs = [ox.asarray([1.0, 2.0])] * op.operand_count
    assert op.decomposition is not None
    graph, _ = capture(op.decomposition, ox.device("cpu"), specs, {})  # type: ignore[arg-type]
    assert {s.dtype.name for s in graph.specs} <= {"float32", "int32", "bool"}


def test_operands_broadcast_and_constants_take_their_shape() -> None:
    maximum, isnan = OPS["maximum"].decomposition, OPS["isnan"].decomposition
    assert maximum is not None
    assert isnan is not None
    assert maximum(ox.asarray([[1.0], [5.0]]), ox.asarray([2.0, 3.0])).tolist() == [[2.0, 3.0], [5.0, 5.0]]
    assert isnan(ox.asarray([1, 2])).tolist() == [False, False]


def test_unchanged_operand_is_another_array() -> None:
    floor = OPS["floor"].decomposition
    x = ox.asarray([1, 2])
    assert floor is not None
    y = floor(x)
    y += 1
    assert x.tolist() == [1, 2]


@pytest.mark.parametrize(("name", "t"), [("add", "float32"), ("floor_divide", "int64"), ("round", "float64")])
def test_core_op_is_not_made_of_itself(name: str, t: str) -> None:
    op = OPS[name]
    assert op.decomposition is not None
    with pytest.raises(ox.UnsupportedError, match="must bring a kernel"):
        op.decomposition(*[ox.asarray([1, 2], dtype=t)] * op.operand_count)


@pytest.mark.parametrize("name", ["add", "subtract", "multiply", "divide", "negative", "conj", "equal", "isfinite"])
def test_complex_numbers_by_pairs(name: str) -> None:
    rng = np.random.default_rng(3)
    op = OPS[name]
    assert op.decomposition is not None
    operands = [rng.normal(size=(2, 20)).view(np.complex128) for _ in range(op.operand_count)]
    found = op.decomposition(*map(ox.asarray, operands)).numpy()
    numpy_name = {"conj": "conjugate"}.get(name, name)
    np.testing.assert_allclose(found, getattr(np, numpy_name)(*operands), rtol=1e-14)


def test_complex_choice_and_division_by_zero() -> None:
    where, divide = OPS["where"].decomposition, OPS["divide"].decomposition
    assert where is not None
    assert divide is not None
    z = ox.asarray([1 + 2j, 3 - 4j])
    assert where(ox.asarray([True, False]), z, ox.conj(z)).tolist() == [1 + 2j, 3 + 4j]
    assert np.isinf(divide(z, ox.asarray([0j, 1 + 0j])).numpy()).tolist() == [True, False]
