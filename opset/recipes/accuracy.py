"""Measures the recipes' worst errors against mpmath (float64) and against float64 (narrower dtypes).

Run ``python -m opmux.opset.recipes.accuracy [--op NAME] [--dtype T] [--points N] [--json FILE]``. Needs mpmath.
An error of 0.5 ULP is correct rounding; the ULP is Muller's: at a power of two the smaller spacing counts.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from mpmath import mp, mpf
from numpy.typing import NDArray

from .evaluate import evaluate
from .program import NUMPY_TYPES, STORAGE_FLOATS, Code
from .registry import program

Array = NDArray[Any]
Real = Any  # mpmath ships no types

#: dtype -> (bits of the significand, exponent of the smallest normal number, largest finite exponent)
FORMATS: Final = {
    "float16": (11, -14, 15),
    "bfloat16": (8, -126, 127),
    "float32": (24, -126, 127),
    "float64": (53, -1022, 1023),
}


@dataclass(frozen=True, slots=True)
class Oracle:
    """How to compute an op precisely, and where its recipe is hard.

    Attributes:
        exact: the function on mpmath numbers; called on finite points of its domain only.
        float64: the same in NumPy's float64, for dtypes that it is far more precise than.
        intervals: for each operand, where points are drawn uniformly besides those of all exponents.
    """

    exact: Callable[..., Real]
    float64: Callable[..., Any]
    intervals: tuple[tuple[tuple[float, float], ...], ...]


def _real(function: Callable[..., Real]) -> Callable[..., Real]:
    """Give NaN where mpmath leaves the reals or finds a pole."""

    def guarded(*points: Real) -> Real:
        try:
            value = function(*points)
        except (ValueError, ZeroDivisionError):
            return mpf("nan")
        return mpf("nan") if isinstance(value, mp.mpc) else value

    return guarded


def _unary(exact: Callable[..., Real], float64: Callable[..., Any], *intervals: tuple[float, float]) -> Oracle:
    return Oracle(_real(exact), float64, (intervals,))


def _power(x: Real, y: Real) -> Real:
    if x < 0:
        return -((-x) ** y) if mp.isint(y) and int(y) % 2 else (-x) ** y if mp.isint(y) else mpf("nan")
    return x**y


ORACLES: Final[dict[str, Oracle]] = {
    "exp": _unary(mp.exp, np.exp, (-104, 89), (-746, 710), (-1, 1)),
    "exp2": _unary(lambda x: mpf(2) ** x, np.exp2, (-150, 128), (-1075, 1024), (-1, 1)),
    "expm1": _unary(mp.expm1, np.expm1, (-20, 89), (-40, 710), (-1, 1)),
    "log": _unary(mp.log, np.log, (0, 3), (0.9, 1.1)),
    "log2": _unary(lambda x: mp.log(x, 2), np.log2, (0, 3), (0.9, 1.1)),
    "log10": _unary(mp.log10, np.log10, (0, 12), (0.9, 1.1)),
    "log1p": _unary(mp.log1p, np.log1p, (-1, 3), (-0.1, 0.1)),
    "sinh": _unary(mp.sinh, np.sinh, (-90, 90), (-711, 711), (-3, 3)),
    "cosh": _unary(mp.cosh, np.cosh, (-90, 90), (-711, 711), (-3, 3)),
    "tanh": _unary(mp.tanh, np.tanh, (-20, 20), (-1, 1)),
    "asinh": _unary(mp.asinh, np.arcsinh, (-4, 4), (-0.6, 0.6)),
    "acosh": _unary(mp.acosh, np.arccosh, (1, 4), (1, 1.01)),
    "atanh": _unary(mp.atanh, np.arctanh, (-1, 1), (-0.5, 0.5)),
    "sqrt": _unary(mp.sqrt, np.sqrt, (0, 8)),
    "rsqrt": _unary(lambda x: 1 / mp.sqrt(x), lambda x: 1 / np.sqrt(x), (0.5, 4)),
    "cbrt": _unary(lambda x: mp.sign(x) * mp.cbrt(abs(x)), np.cbrt, (1, 8), (-1, 1)),
    "hypot": Oracle(mp.hypot, np.hypot, (((-4, 4),), ((-4, 4),))),
    "pow": Oracle(_real(_power), np.power, (((0, 4), (0.9, 1.1), (0, 40)), ((-100, 100), (-3000, 3000), (-10, 10)))),
    "sin": _unary(mp.sin, np.sin, (-10, 10), (-1000, 1000)),
    "cos": _unary(mp.cos, np.cos, (-10, 10), (-1000, 1000)),
    "tan": _unary(mp.tan, np.tan, (-10, 10), (-1000, 1000)),
    "asin": _unary(mp.asin, np.arcsin, (-1, 1), (0.49, 0.51)),
    "acos": _unary(mp.acos, np.arccos, (-1, 1), (0.49, 0.51)),
    "atan": _unary(mp.atan, np.arctan, (-4, 4)),
    "atan2": Oracle(mp.atan2, np.arctan2, (((-4, 4),), ((-4, 4),))),
}


@dataclass(frozen=True, slots=True)
class Measurement:
    """A worst error, in ULP, where it was found, and the program's length without constants and bitcasts."""

    op: str
    dtype: str
    points: int
    worst_ulp: float
    at: tuple[float, ...]
    instructions: int


def points_of(dtype: str, count: int, intervals: tuple[tuple[float, float], ...], seed: int = 0) -> Array:
    """Return test points: half over all bit patterns, hence all exponents and signs, half over the intervals."""
    rng = np.random.default_rng(seed)
    kind = NUMPY_TYPES[dtype]
    if kind.itemsize == 2:
        return np.arange(1 << 16, dtype=np.uint16).view(kind)
    pattern = np.dtype(f"u{kind.itemsize}")
    parts = [rng.integers(0, np.iinfo(pattern).max, count // 2, pattern, endpoint=True).view(kind)]
    each = count // 2 // len(intervals)
    parts += [rng.uniform(low, high, each).astype(kind) for low, high in intervals]
    return np.concatenate(parts)


def unit_exponent(exponent: Array, dtype: str) -> Array:
    """Return the exponent of the last place of numbers in [2**exponent, 2**(exponent + 1))."""
    bits, lowest, _ = FORMATS[dtype]
    return np.maximum(exponent, lowest) - (bits - 1)


def _errors_against_float64(got: Array, want: Array, dtype: str) -> Array:
    exponent = np.where(want == 0, FORMATS[dtype][1], np.frexp(want)[1])
    at_power = np.abs(want) == np.ldexp(0.5, exponent)
    unit = unit_exponent(exponent - 1 - at_power, dtype)
    limit = 2.0 ** (FORMATS[dtype][2] + 1)
    # An infinite result counts as the number that would follow the largest: right only beside an overflow.
    overflow = np.abs(want) >= limit * (1 - 2.0 ** -(FORMATS[dtype][0] + 1))
    wide = got.astype(np.float64)
    error = np.ldexp(np.abs(wide - want), -unit)
    error = np.where(np.isinf(wide), np.where(overflow & (wide * want > 0), 0.0, np.inf), error)
    error = np.where(overflow & np.isfinite(wide), np.inf, error)
    return np.where(np.isnan(want), np.where(np.isnan(wide), 0.0, np.inf), np.where(np.isnan(wide), np.inf, error))


def _error_against_mpmath(got: float, want: Real, dtype: str) -> float:
    bits, lowest, highest = FORMATS[dtype]
    if mp.isnan(want) or got != got:
        return 0.0 if mp.isnan(want) and got != got else float("inf")
    if abs(got) == float("inf"):
        overflow = abs(want) >= mpf(2) ** (highest + 1) * (1 - mpf(2) ** -(bits + 1))
        return 0.0 if got == want or (overflow and got * want > 0) else float("inf")
    mantissa, exponent = mp.frexp(want) if want else (mpf(0), lowest)
    at_power = abs(mantissa) == 0.5
    unit = max(exponent - 1 - at_power, lowest) - (bits - 1)
    return float(mp.ldexp(abs(mpf(got) - want), -unit))


def errors_of(op: str, dtype: str, *operands: Array) -> Array:
    """Return each result's error in ULP; infinite where a NaN, an infinity or a number should have been another.

    Raises:
        LookupError: if the op has no oracle here or no recipe for the dtype.
    """
    recipe = program(op, (dtype,) * len(operands))
    if op not in ORACLES or recipe is None:
        raise LookupError(f"no oracle or no recipe for {op} on {dtype}; oracles: {', '.join(sorted(ORACLES))}")
    got = evaluate(recipe, *operands)
    if dtype == "float64":
        with mp.workprec(160):
            exact = ORACLES[op].exact
            rows = zip(got.tolist(), *(operand.tolist() for operand in operands), strict=True)
            return np.array([_error_against_mpmath(y, exact(*map(mpf, x)), dtype) for y, *x in rows])
    with np.errstate(all="ignore"):
        want = ORACLES[op].float64(*(operand.astype(np.float64) for operand in operands))
        return _errors_against_float64(got, want, dtype)


def measure(op: str, dtype: str, points: int) -> Measurement:
    """Find the worst error of an op over stratified points (all 65,536 values of a 16-bit dtype)."""
    operands = [points_of(dtype, points, i, seed) for seed, i in enumerate(ORACLES[op].intervals)]
    if len(operands) == 2 and dtype in STORAGE_FLOATS:
        operands[1] = np.random.default_rng(1).permutation(operands[1])
    with np.errstate(invalid="ignore"):  # ml_dtypes warns of NaN
        finite = np.logical_and.reduce([np.isfinite(x.astype(np.float64)) for x in operands])
    operands = [x[finite] for x in operands]
    errors = errors_of(op, dtype, *operands)
    worst = int(np.argmax(errors))
    recipe = program(op, (dtype,) * len(operands))
    free = (Code.CONST, Code.BITCAST)
    count = sum(i.code not in free for i in recipe.instructions) if recipe else 0
    at = tuple(float(x[worst]) for x in operands)
    return Measurement(op, dtype, errors.size, round(float(errors[worst]), 4), at, count)


def main() -> int:
    """Print the table of worst errors, and write it as JSON where asked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--op", action="append", choices=sorted(ORACLES), help="only this op; may be repeated")
    parser.add_argument("--dtype", action="append", choices=sorted(FORMATS), help="only this dtype; may be repeated")
    parser.add_argument("--points", type=int, default=1 << 17, help="float32 points; float64 takes a sixteenth")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the measurements to FILE")
    options = parser.parse_args()
    found: list[Measurement] = []
    print(f"{'op':8} {'dtype':9} {'points':>8} {'worst ULP':>10} {'instructions':>13}  at", file=sys.stderr)
    for op in options.op or ORACLES:
        for dtype in options.dtype or FORMATS:
            m = measure(op, dtype, options.points // 16 if dtype == "float64" else options.points)
            found.append(m)
            print(f"{op:8} {dtype:9} {m.points:8} {m.worst_ulp:10.4f} {m.instructions:13}  {m.at}", flush=True)
    if options.json:
        options.json.write_text(json.dumps([asdict(m) for m in found], indent=1) + "\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
