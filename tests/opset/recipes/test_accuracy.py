"""Worst errors of the recipes, and the measuring itself, which must see a wrong answer."""

import json
import sys

import numpy as np
import pytest
from mpmath import mp, mpf

from opmux.opset.recipes import accuracy
from opmux.opset.recipes.accuracy import ORACLES, errors_of, measure, points_of
from opmux.opset.recipes.evaluate import evaluate
from opmux.opset.recipes.registry import program
from opmux.opset.recipes.writing import build

#: op -> largest error allowed in ULP, for float32 and for float64
BOUNDS = {
    "exp": (1.0, 1.0),
    "exp2": (1.0, 1.0),
    "expm1": (1.0, 1.0),
    "log": (1.0, 1.0),
    "log2": (1.1, 1.0),
    "log10": (1.1, 1.0),
    "log1p": (1.0, 1.0),
    "sinh": (2.0, 2.0),
    "cosh": (1.5, 1.5),
    "tanh": (1.0, 1.0),
    "asinh": (1.0, 1.0),
    "acosh": (1.0, 1.0),
    "atanh": (1.5, 1.5),
    "sqrt": (0.5, 0.5),
    "rsqrt": (0.51, 0.51),
    "cbrt": (0.51, 0.51),
    "hypot": (0.76, 0.76),
    "pow": (1.0, 1.0),
}
#: Rounded to float32 first: a little more than one rounding.
NARROW_BOUND = 0.502


@pytest.mark.parametrize("op", BOUNDS)
def test_float32(op: str) -> None:
    found = measure(op, "float32", 1 << 17)
    assert found.worst_ulp <= BOUNDS[op][0], found


@pytest.mark.parametrize("op", BOUNDS)
def test_float64(op: str) -> None:
    found = measure(op, "float64", 3000)
    assert found.worst_ulp <= BOUNDS[op][1], found


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
@pytest.mark.parametrize("op", BOUNDS)
def test_every_narrow_value(op: str, dtype: str) -> None:
    found = measure(op, dtype, 0)
    assert found.worst_ulp <= NARROW_BOUND, found


@pytest.mark.slow
@pytest.mark.parametrize("op", BOUNDS)
def test_float64_at_many_points(op: str) -> None:
    found = measure(op, "float64", 100_000)
    assert found.worst_ulp <= BOUNDS[op][1], found


@pytest.mark.slow
@pytest.mark.parametrize("op", BOUNDS)
def test_float32_at_many_points(op: str) -> None:
    found = measure(op, "float32", 1 << 23)
    assert found.worst_ulp <= BOUNDS[op][0], found


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("op", ["log", "log2", "log10", "log1p", "expm1", "sinh", "tanh", "asinh", "atanh", "acosh"])
def test_next_to_zeros_and_changes_of_method(op: str, dtype: str) -> None:
    # Around 1 for logarithms, and where a recipe selects another formula or exponent.
    centres = [1.0, 2.0, 0.5, 2**0.5, 0.5**0.5, np.log(2) / 2, -np.log(2) / 2, 0.304, 10.0, 2.0**30, 2.0**60, 2.0**-26]
    steps = np.arange(-12, 13) * float(np.finfo(dtype).eps)
    x = np.unique((np.array(centres)[:, None] * (1 + steps)).astype(dtype))
    domain = {"atanh": np.abs(x) < 1, "acosh": x >= 1, "log1p": x > -1}.get(op, (x > 0) | (not op.startswith("log")))
    x = x[domain & (np.abs(x) < 80)] if op == "sinh" else x[domain & (np.abs(x) < 1e20)]
    assert errors_of(op, dtype, x).max() <= BOUNDS[op][dtype == "float64"]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_pow_with_products_near_the_limits(dtype: str) -> None:
    rng = np.random.default_rng(5)
    limit = 128 if dtype == "float32" else 1024
    x = rng.uniform(0.3, 3, 3000)
    target = rng.choice([1, -1.17, -1], 3000) * limit + rng.uniform(-2, 2, 3000)
    y = (target / np.log2(x)).astype(dtype)
    assert errors_of("pow", dtype, x.astype(dtype), y).max() <= BOUNDS["pow"][dtype == "float64"]


@pytest.mark.parametrize("op", ["exp", "expm1", "log", "tanh", "sinh", "asinh", "cbrt"])
def test_monotone_in_float16(op: str) -> None:
    x = points_of("float16", 0, ())
    x = np.sort(x[np.isfinite(x) & ((x > 0) | (op != "log"))])
    recipe = program(op, ("float16",))
    assert recipe is not None
    got = evaluate(recipe, x).astype(np.float32)
    assert (got[1:] >= got[:-1]).all()


def test_an_error_of_one_ulp_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    worse = build("sqrt", ("float64",), lambda v: v * (1 + 2.0**-52))
    monkeypatch.setattr(accuracy, "program", lambda *_: worse)
    monkeypatch.setitem(ORACLES, "sqrt", accuracy.Oracle(lambda v: v, lambda v: v, (((1, 2),),)))
    assert 0.9 < errors_of("sqrt", "float64", np.array([1.25]))[0] < 1.1


@pytest.mark.parametrize(
    ("got", "want", "dtype", "ulp"),
    [
        (1.0, 1.0, "float32", 0.0),
        (1 + 2.0**-23, 1.0, "float32", 2.0),  # at a power of two the smaller spacing counts
        (2.0**-149, 0.0, "float32", 1.0),
        (float("inf"), 1e30, "float32", float("inf")),
        (float("inf"), 1e39, "float32", 0.0),
        (float("nan"), 1.0, "float32", float("inf")),
        (1.0, float("nan"), "float32", float("inf")),
    ],
)
def test_units_in_the_last_place(got: float, want: float, dtype: str, ulp: float) -> None:
    narrow = accuracy._errors_against_float64(np.array([got], dtype), np.array([want]), dtype)
    assert narrow.tolist() == [ulp]
    assert accuracy._error_against_mpmath(got, mpf(want), dtype) == ulp


def test_oracles_leave_no_complex_results() -> None:
    assert mp.isnan(ORACLES["log"].exact(mpf(-1)))
    assert mp.isnan(ORACLES["pow"].exact(mpf(-2), mpf("0.5")))


def test_unknown_op_is_refused() -> None:
    with pytest.raises(LookupError, match="no oracle or no recipe for add"):
        errors_of("add", "float32", np.zeros(1, np.float32), np.zeros(1, np.float32))


def test_command_writes_json(tmp_path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "worst.json"
    arguments = ["accuracy", "--op", "sqrt", "--dtype", "float32", "--points", "1000", "--json", str(path)]
    monkeypatch.setattr(sys, "argv", arguments)
    assert accuracy.main() == 0
    assert json.loads(path.read_text())[0]["worst_ulp"] <= 0.5
    assert capsys.readouterr().out.startswith("sqrt")
