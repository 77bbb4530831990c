"""Signed zeros, infinities, NaN, poles and domains, as IEEE 754 and the Array API standard have them."""

import math

import numpy as np
import pytest

from opmux.opset.recipes.evaluate import evaluate
from opmux.opset.recipes.program import FLOATS, NUMPY_TYPES
from opmux.opset.recipes.registry import program

INF, NAN = math.inf, math.nan

UNARY: dict[str, list[tuple[float, float]]] = {
    "exp": [(0.0, 1), (-0.0, 1), (INF, INF), (-INF, 0.0), (NAN, NAN)],
    "exp2": [(0.0, 1), (-0.0, 1), (INF, INF), (-INF, 0.0), (NAN, NAN), (3, 8), (-2, 0.25)],
    "expm1": [(0.0, 0.0), (-0.0, -0.0), (INF, INF), (-INF, -1), (-200, -1), (NAN, NAN)],
    "log": [(1, 0.0), (0.0, -INF), (-0.0, -INF), (INF, INF), (-1, NAN), (-INF, NAN), (NAN, NAN)],
    "log2": [(1, 0.0), (0.0, -INF), (-0.0, -INF), (INF, INF), (-1, NAN), (-INF, NAN), (NAN, NAN), (8, 3), (0.125, -3)],
    "log10": [(1, 0.0), (0.0, -INF), (-0.0, -INF), (INF, INF), (-1, NAN), (-INF, NAN), (NAN, NAN), (1000, 3)],
    "log1p": [(0.0, 0.0), (-0.0, -0.0), (-1, -INF), (INF, INF), (-2, NAN), (-INF, NAN), (NAN, NAN)],
    "sqrt": [(0.0, 0.0), (-0.0, -0.0), (4, 2), (INF, INF), (-1, NAN), (-INF, NAN), (NAN, NAN)],
    "rsqrt": [(0.0, INF), (-0.0, -INF), (4, 0.5), (INF, 0.0), (-1, NAN), (-INF, NAN), (NAN, NAN)],
    "cbrt": [(0.0, 0.0), (-0.0, -0.0), (8, 2), (-27, -3), (INF, INF), (-INF, -INF), (NAN, NAN)],
    "sinh": [(0.0, 0.0), (-0.0, -0.0), (INF, INF), (-INF, -INF), (NAN, NAN)],
    "cosh": [(0.0, 1), (-0.0, 1), (INF, INF), (-INF, INF), (NAN, NAN)],
    "tanh": [(0.0, 0.0), (-0.0, -0.0), (INF, 1), (-INF, -1), (NAN, NAN)],
    "asinh": [(0.0, 0.0), (-0.0, -0.0), (INF, INF), (-INF, -INF), (NAN, NAN)],
    "acosh": [(1, 0.0), (INF, INF), (0.5, NAN), (-1, NAN), (-INF, NAN), (NAN, NAN)],
    "atanh": [(0.0, 0.0), (-0.0, -0.0), (1, INF), (-1, -INF), (1.5, NAN), (-INF, NAN), (INF, NAN), (NAN, NAN)],
    "floor": [(0.0, 0.0), (-0.0, -0.0), (0.5, 0.0), (-0.5, -1), (2, 2), (INF, INF), (-INF, -INF), (NAN, NAN)],
    "ceil": [(0.0, 0.0), (-0.0, -0.0), (0.5, 1), (-0.75, -0.0), (-0.25, -0.0), (INF, INF), (-INF, -INF), (NAN, NAN)],
    "trunc": [(0.0, 0.0), (-0.0, -0.0), (0.75, 0.0), (-0.75, -0.0), (-1.5, -1), (INF, INF), (-INF, -INF), (NAN, NAN)],
    "round": [(0.0, 0.0), (-0.0, -0.0), (0.5, 0.0), (-0.5, -0.0), (1.5, 2), (2.5, 2), (INF, INF), (NAN, NAN)],
    "sign": [(0.0, 0.0), (-0.0, -0.0), (3, 1), (-3, -1), (INF, 1), (-INF, -1), (NAN, NAN)],
    "abs": [(0.0, 0.0), (-0.0, 0.0), (-3, 3), (-INF, INF), (NAN, NAN)],
    "negative": [(0.0, -0.0), (-0.0, 0.0), (3, -3), (-INF, INF), (NAN, NAN)],
    "signbit": [(0.0, 0), (-0.0, 1), (-1, 1), (1, 0), (-INF, 1), (INF, 0)],
    "isnan": [(0.0, 0), (INF, 0), (NAN, 1)],
    "isinf": [(0.0, 0), (INF, 1), (-INF, 1), (NAN, 0)],
    "isfinite": [(0.0, 1), (1, 1), (INF, 0), (-INF, 0), (NAN, 0)],
}

BINARY: dict[str, list[tuple[float, float, float]]] = {
    "maximum": [
        (0.0, -0.0, 0.0), (-0.0, 0.0, 0.0), (-0.0, -0.0, -0.0), (1, NAN, NAN), (NAN, 1, NAN), (INF, 2, INF),
        (-3, -2, -2),
    ],
    "minimum": [
        (0.0, -0.0, -0.0), (-0.0, 0.0, -0.0), (0.0, 0.0, 0.0), (1, NAN, NAN), (NAN, 1, NAN), (-INF, 2, -INF),
        (-3, -2, -3),
    ],
    "copysign": [(1, -0.0, -1), (-1, 0.0, 1), (INF, -2, -INF), (0.0, -1, -0.0)],
    "nextafter": [(0.0, -0.0, -0.0), (-0.0, 0.0, 0.0), (NAN, 1, NAN), (1, NAN, NAN), (1, 1, 1), (INF, INF, INF)],
    "hypot": [
        (0.0, -0.0, 0.0), (3, -4, 5), (INF, NAN, INF), (NAN, -INF, INF), (NAN, 1, NAN), (1, NAN, NAN), (-2, 0.0, 2),
    ],
    "less": [(0.0, -0.0, 0), (NAN, 1, 0), (1, NAN, 0), (1, 2, 1)],
    "less_equal": [(0.0, -0.0, 1), (NAN, NAN, 0), (2, 1, 0)],
    "greater": [(-0.0, 0.0, 0), (NAN, 1, 0), (2, 1, 1)],
    "greater_equal": [(-0.0, 0.0, 1), (NAN, 1, 0), (1, 2, 0)],
    "equal": [(-0.0, 0.0, 1), (NAN, NAN, 0), (INF, INF, 1)],
    "not_equal": [(-0.0, 0.0, 0), (NAN, NAN, 1), (INF, -INF, 1)],
    "pow": [
        (0.0, 0.0, 1), (NAN, 0.0, 1), (NAN, -0.0, 1), (1, NAN, 1), (1, INF, 1), (-1, INF, 1), (-1, -INF, 1),
        (-1, NAN, NAN), (2, NAN, NAN), (NAN, 1, NAN), (2, INF, INF), (2, -INF, 0.0), (0.5, INF, 0.0), (0.5, -INF, INF),
        (-2, INF, INF), (0.0, INF, 0.0), (0.0, -INF, INF), (INF, 2, INF), (INF, -2, 0.0), (-INF, 3, -INF),
        (-INF, 2, INF), (-INF, -3, -0.0), (-INF, -2, 0.0), (-INF, 0.5, INF), (-INF, -0.5, 0.0), (0.0, 3, 0.0),
        (-0.0, 3, -0.0), (-0.0, 2, 0.0), (0.0, -3, INF), (-0.0, -3, -INF), (-0.0, -2, INF), (-0.0, 0.5, 0.0),
        (-0.0, -0.5, INF), (-2, 0.5, NAN), (-2, 3, -8), (-2, -1, -0.5), (3, 2, 9), (0.0, 1e-4, 0.0), (-1, 3, -1),
    ],
    "divide": [(1, 0.0, INF), (1, -0.0, -INF), (0.0, 0.0, NAN), (INF, INF, NAN), (-0.0, 5, -0.0), (1, INF, 0.0)],
    "floor_divide": [
        (0.0, 0.0, NAN), (INF, INF, NAN), (NAN, 1, NAN), (1, NAN, NAN), (0.0, 3, 0.0), (-0.0, 3, -0.0), (0.0, -3, -0.0),
        (-0.0, -3, 0.0), (1, 0.0, INF), (1, -0.0, -INF), (-1, 0.0, -INF), (INF, 2, INF), (INF, -2, -INF),
        (-INF, 2, -INF),
        (1, INF, 0.0), (1, -INF, -1), (-1, INF, -1), (-1, -INF, 0.0), (0.0, INF, 0.0), (-0.0, INF, -0.0), (7, 2, 3),
        (-7, 2, -4), (7, -2, -4), (-7, -2, 3), (1e-3, -1e3, -1), (0.0, -INF, -0.0),
    ],
    "remainder": [
        (0.0, 0.0, NAN), (1, 0.0, NAN), (INF, 2, NAN), (-INF, INF, NAN), (NAN, 1, NAN), (1, NAN, NAN), (0.0, 3, 0.0),
        (-0.0, 3, 0.0), (0.0, -3, -0.0), (-0.0, -3, -0.0), (1, INF, 1), (1, -INF, -INF), (-1, INF, INF), (-1, -INF, -1),
        (0.0, INF, 0.0), (-0.0, INF, 0.0), (0.0, -INF, -0.0), (7, 2, 1), (-7, 2, 1), (7, -2, -1), (-7, -2, -1),
        (6, 2, 0.0), (-6, 2, 0.0), (6, -2, -0.0), (NAN, 0.0, NAN), (0.0, NAN, NAN),
    ],
}  # fmt: skip


def check(op: str, dtype: str, columns: list[list[float]], want: list[float]) -> None:
    recipe = program(op, (dtype,) * len(columns))
    assert recipe is not None, f"no recipe for {op} on {dtype}"
    got = evaluate(recipe, *(np.array(c).astype(NUMPY_TYPES[dtype]) for c in columns)).astype(np.float64)
    for i, (g, w) in enumerate(zip(got.tolist(), want, strict=True)):
        given = ", ".join(str(c[i]) for c in columns)
        same = math.isnan(g) if math.isnan(w) else g == w and math.copysign(1, g) == math.copysign(1, w)
        assert same, f"{op}({given}) on {dtype} -> {g}, not {w}"


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("op", UNARY)
def test_unary(op: str, dtype: str) -> None:
    check(op, dtype, [[x for x, _ in UNARY[op]]], [y for _, y in UNARY[op]])


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("op", BINARY)
def test_binary(op: str, dtype: str) -> None:
    rows = BINARY[op]
    check(op, dtype, [[r[0] for r in rows], [r[1] for r in rows]], [r[2] for r in rows])


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("op", ["expm1", "log1p", "sinh", "tanh", "asinh", "atanh"])
def test_tiny_arguments_are_their_own_results(op: str, dtype: str) -> None:
    info = np.finfo(dtype)
    tiny = [float(v) for v in (info.smallest_subnormal, 3 * info.smallest_subnormal, info.tiny, info.tiny * 1.5)]
    check(op, dtype, [tiny + [-v for v in tiny]], tiny + [-v for v in tiny])


@pytest.mark.parametrize(("dtype", "largest"), [("float32", 88.72283172607422), ("float64", 709.782712893384)])
def test_exp_overflows_after_the_largest_argument(dtype: str, largest: float) -> None:
    kind = np.dtype(dtype).type
    x = np.array([largest, np.nextafter(kind(largest), kind(np.inf))], dtype)
    recipe = program("exp", (dtype,))
    assert recipe is not None
    assert np.isfinite(evaluate(recipe, x)).tolist() == [True, False]


@pytest.mark.parametrize(("dtype", "lowest"), [("float32", -149), ("float64", -1074)])
def test_exp2_reaches_the_smallest_subnormal(dtype: str, lowest: int) -> None:
    recipe = program("exp2", (dtype,))
    assert recipe is not None
    got = evaluate(recipe, np.array([lowest, lowest - 0.9, lowest - 1, lowest - 1.1], dtype))
    smallest = float(np.finfo(dtype).smallest_subnormal)
    assert got.tolist() == [smallest, smallest, 0.0, 0.0]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("op", [op for op in UNARY if not op.startswith("is") and op != "signbit"])
def test_nan_with_any_payload_stays_nan(op: str, dtype: str) -> None:
    # Payload bits must not leak through tricks with the exponent field.
    width = NUMPY_TYPES[dtype].itemsize * 8
    rng = np.random.default_rng(3)
    exponent = int(np.array(np.inf, dtype).view(f"u{width // 8}"))
    low = rng.integers(1, 1 << {32: 23, 64: 52}[width], 500).astype(f"u{width // 8}")
    sign = rng.integers(0, 2, 500).astype(low.dtype) << low.dtype.type(width - 1)
    nan = (low | sign | low.dtype.type(exponent)).view(dtype)
    assert np.isnan(nan).all()
    recipe = program(op, (dtype,))
    assert recipe is not None
    assert np.isnan(evaluate(recipe, nan)).all()
