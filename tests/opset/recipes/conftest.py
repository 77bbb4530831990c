"""Errors in units of the last place, against mpmath or float64, and argument sets that reach every exponent."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import mpmath
import numpy as np
import pytest
from mpmath import mp, mpf

from opmux.opset.recipes.evaluate import evaluate
from opmux.opset.recipes.program import NUMPY_TYPES
from opmux.opset.recipes.registry import program

#: dtype -> (significant bits, exponent of the smallest normal number)
FORMATS = {"float16": (11, -14), "bfloat16": (8, -126), "float32": (24, -126), "float64": (53, -1022)}


def _run(op: str, dtype: str, arrays: Sequence[Any]) -> Any:
    recipe = program(op, (dtype,) * len(arrays))
    assert recipe is not None, f"{op} has no recipe for {dtype}"
    return evaluate(recipe, *(np.asarray(a).astype(NUMPY_TYPES[dtype], copy=False) for a in arrays))


def _report(errors: Sequence[float], arrays: Sequence[Any]) -> tuple[float, tuple[str, ...]]:
    worst = int(np.argmax(errors))
    return float(errors[worst]), tuple(float(a[worst]).hex() for a in arrays)


@pytest.fixture(scope="session")
def run() -> Callable[..., Any]:
    """``run(op, dtype, *arrays)`` evaluates a recipe on arrays that are converted to the dtype."""
    return lambda op, dtype, *arrays: _run(op, dtype, arrays)


@pytest.fixture(scope="session")
def worst_ulp() -> Callable[..., tuple[float, tuple[str, ...]]]:
    """``worst_ulp(op, dtype, function, *arrays)``: largest error against a float64 function, and where it occurs.

    For dtypes narrower than float64. A NaN where the function has none, or the reverse, counts as infinite.
    """

    def measure(op: str, dtype: str, function: Callable[..., Any], *arrays: Any) -> tuple[float, tuple[str, ...]]:
        precision, lowest = FORMATS[dtype]
        got = _run(op, dtype, arrays).astype(np.float64)
        with np.errstate(all="ignore"):
            exact = function(*(np.asarray(a).astype(np.float64) for a in arrays))
            exponents = np.maximum(np.frexp(exact)[1] - 1, lowest)
            errors = np.abs(got - exact) / np.ldexp(1.0, exponents - precision + 1)
            overflow = np.isinf(got) & (got == exact.astype(NUMPY_TYPES[dtype]).astype(np.float64))
        errors[(got == exact) | overflow | (np.isnan(got) & np.isnan(exact))] = 0
        return _report(np.where(np.isnan(errors), np.inf, errors).tolist(), arrays)

    return measure


@pytest.fixture(scope="session")
def worst_ulp_mpmath() -> Callable[..., tuple[float, tuple[str, ...]]]:
    """``worst_ulp_mpmath(op, dtype, function, *arrays)``: the same against a function on mpmath numbers."""

    def measure(op: str, dtype: str, function: Callable[..., Any], *arrays: Any) -> tuple[float, tuple[str, ...]]:
        precision, lowest = FORMATS[dtype]
        errors: list[float] = []
        with mp.workprec(160):
            for got, *given in zip(_run(op, dtype, arrays).tolist(), *(a.tolist() for a in arrays), strict=True):
                exact = function(*map(mpf, given))
                exponent = max(int(mpmath.frexp(exact)[1]) - 1, lowest)
                error = abs(mpf(got) - exact) / mpf(2) ** (exponent - precision + 1)
                errors.append(float(error) if mp.isfinite(error) else float("inf"))
        return _report(errors, arrays)

    return measure


@pytest.fixture(scope="session")
def every_exponent() -> Callable[..., Any]:
    """``every_exponent(dtype, count)``: finite values with all signs and exponents, significands spread evenly."""

    def values(dtype: str, count: int) -> Any:
        width = NUMPY_TYPES[dtype].itemsize * 8
        unsigned = np.dtype(f"uint{width}")
        index = np.arange(count, dtype=np.uint64)
        # The golden ratio's multiples fill the bits below the stratum.
        low = index * np.uint64(0x9E3779B97F4A7C15) >> np.uint64(64 - width + count.bit_length() - 1)
        bits = (index << np.uint64(width - count.bit_length() + 1)) | low
        found = bits.astype(unsigned).view(NUMPY_TYPES[dtype])
        return found[np.isfinite(found)]

    return values


@pytest.fixture(scope="session")
def every_value() -> Callable[[str], Any]:
    """``every_value(dtype)``: all 65,536 values of a 16-bit float."""
    return lambda dtype: np.arange(2**16, dtype=np.uint16).view(NUMPY_TYPES[dtype])


@pytest.fixture(scope="session")
def assert_special() -> Callable[..., None]:
    """``assert_special(op, dtype, arguments, expected)`` compares values and signs of zero; NaN equals NaN."""

    def check(op: str, dtype: str, arguments: Sequence[float], expected: float) -> None:
        got = _run(op, dtype, [np.array([a]) for a in arguments])
        with np.errstate(over="ignore"):
            want = np.array([expected]).astype(NUMPY_TYPES[dtype])
        shown = f"{op}({', '.join(map(repr, arguments))}) in {dtype} is {got[0]!r}, not {want[0]!r}"
        if np.isnan(expected):
            assert np.isnan(got[0]), shown
        else:
            assert (got[0], np.signbit(got[0])) == (want[0], np.signbit(want[0])), shown

    return check
