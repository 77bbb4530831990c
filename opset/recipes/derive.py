"""Derives every constant of the recipes: polynomials by the Remez exchange, split constants by rounding.

Run ``python -m opmux.opset.recipes.derive`` to print them, with ``--check`` to compare them with the
committed ones, with ``--write`` to replace ``coefficients.py``. Needs mpmath; the recipes themselves do not.

A recipe module's fits are declared in the tables of ``fits_*.py``; its body reads the result with
:func:`opmux.opset.recipes.coefficients.polynomial` and ``constant``.
"""

from __future__ import annotations

import argparse
import struct
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import mpmath
from mpmath import mp, mpf

Real = Any  # mpmath ships no types
Function = Callable[[Real], Real]

PRECISION: Final = {"float32": 24, "float64": 53}
#: Working bits: float64's 53, the cancellation in quotients such as (exp(t) - 1 - t) / t**2 near 0, and a margin.
WORKING_BITS: Final = 320
_POINTS_PER_COEFFICIENT: Final = 14


@dataclass(frozen=True, slots=True)
class Fit:
    """A polynomial that approximates ``function`` on an interval.

    Attributes:
        name: what it is for; (name, dtype) is its key.
        dtype: float32 or float64: what the coefficients are rounded to.
        function: the target, on mpmath numbers; never evaluated at the interval's ends.
        interval: lower and upper end, as numbers or mpmath expressions.
        degree: of the polynomial.
        weight: what the error is multiplied with before its maximum is minimised; None means the relative error.
            For ``f(t) = t + t**3 * p(t**2)`` this is the share of p in f, so that f's own relative error is minimised.
        fixed: leading coefficients that are given, lowest power first.
        refits: how many further low powers are rounded one at a time, each time fitting the rest again. It must be 0
            where the interval reaches far to both sides of 0: with the low powers given, no error can alternate there.
    """

    name: str
    dtype: str
    function: Function
    interval: tuple[Real, Real]
    degree: int
    weight: Function | None = None
    fixed: tuple[float, ...] = ()
    refits: int = 3


@dataclass(frozen=True, slots=True)
class Split:
    """A constant as an unevaluated sum of floats, largest first.

    Attributes:
        name: what it is; (name, dtype) is its key.
        dtype: float32 or float64.
        value: computes the constant with mpmath.
        bits: significant bits of each part; the last usually has the dtype's own.
    """

    name: str
    dtype: str
    value: Callable[[], Real]
    bits: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Derived:
    """The outcome of a fit: coefficients (highest power first) and log2 of the largest weighted error."""

    coefficients: tuple[float, ...]
    error: float


def round_to(value: Real, bits: int) -> Real:
    """Round to a number of significant bits, to nearest even."""
    with mp.workprec(bits):
        return +value


def _grid(low: Real, high: Real, count: int) -> list[Real]:
    # Roots of a Chebyshev polynomial of even degree: neither an end nor the middle, where targets may read 0/0.
    middle, half = (low + high) / 2, (high - low) / 2
    return [middle - half * mp.cos(mp.pi * (2 * i + 1) / (2 * count)) for i in range(count)]


def _value(coefficients: list[Real], t: Real) -> Real:
    total = mpf(0)
    for c in reversed(coefficients):
        total = total * t + c
    return total


def _exchange(errors: list[Real], count: int) -> list[int]:
    """Return the indices of *count* extrema of alternating sign that include the largest."""
    extrema: list[int] = []
    for i, e in enumerate(errors):
        if extrema and (errors[extrema[-1]] > 0) == (e > 0):
            if abs(e) > abs(errors[extrema[-1]]):
                extrema[-1] = i
        else:
            extrema.append(i)
    while len(extrema) > count:
        if len(extrema) == count + 1:
            extrema.pop(0 if abs(errors[extrema[0]]) < abs(errors[extrema[-1]]) else -1)
        else:  # two neighbours go, so that signs still alternate
            k = min(range(len(extrema) - 1), key=lambda j: max(abs(errors[extrema[j]]), abs(errors[extrema[j + 1]])))
            del extrema[k : k + 2]
    return extrema


def _minimax(grid: list[Real], target: list[Real], weight: list[Real], count: int) -> list[Real]:
    """Fit a polynomial of *count* coefficients to the target by the Remez exchange on a fixed grid."""
    step = (len(grid) - 1) / count
    chosen = [round(i * step) for i in range(count + 1)]
    best: tuple[Real, list[Real]] | None = None
    for _ in range(30):
        rows = [[weight[i] * grid[i] ** j for j in range(count)] + [(-1) ** n] for n, i in enumerate(chosen)]
        solution = list(mp.lu_solve(mp.matrix(rows), mp.matrix([weight[i] * target[i] for i in chosen])))
        errors = [w * (y - _value(solution[:count], t)) for t, y, w in zip(grid, target, weight, strict=True)]
        largest = max(map(abs, errors))
        if best is None or largest < best[0]:
            best = largest, solution[:count]
        found = _exchange(errors, count + 1)
        if len(found) < count + 1 or largest <= abs(solution[count]) * mpf("1.001"):
            break
        chosen = found
    return best[1] if best else []


def derive(fit: Fit) -> Derived:
    """Return the coefficients of a fit, rounded to its dtype.

    The first ``refits`` low powers are rounded one after the other, each time fitting the rest again, so that the
    rest makes up for the rounding.
    """
    with mp.workprec(WORKING_BITS):
        low, high = (mpf(end) for end in fit.interval)
        grid = _grid(low, high, 2 * ((fit.degree + 2) * _POINTS_PER_COEFFICIENT // 2))
        target = [fit.function(t) for t in grid]
        weights = [1 / abs(y) for y in target] if fit.weight is None else [abs(fit.weight(t)) for t in grid]
    # Conditioning costs about four bits per coefficient.
    with mp.workprec(2 * PRECISION[fit.dtype] + 5 * fit.degree + 30):
        done = [mpf(c) for c in fit.fixed]
        while len(done) <= fit.degree:
            # What is fixed is taken off and its power divided out: the rest is a plain polynomial again, for which
            # alternating errors mark the best one.
            known = len(done)
            rest = [(y - _value(done, t)) / t**known for t, y in zip(grid, target, strict=True)]
            scaled = [w * abs(t) ** known for t, w in zip(grid, weights, strict=True)]
            tail = _minimax(grid, rest, scaled, fit.degree + 1 - known)
            take = 1 if len(done) < len(fit.fixed) + fit.refits else len(tail)
            done += [round_to(c, PRECISION[fit.dtype]) for c in tail[:take]]
        error = max(w * abs(y - _value(done, t)) for t, y, w in zip(grid, target, weights, strict=True))
        return Derived(tuple(float(c) for c in reversed(done)), float(mp.log(error, 2)))


def split(constant: Split) -> tuple[float, ...]:
    """Return the parts of a split constant, largest first."""
    with mp.workprec(WORKING_BITS):
        rest, parts = mpf(constant.value()), []
        for bits in constant.bits:
            part = round_to(rest, bits)
            parts.append(float(part))
            rest -= part
    return tuple(parts)


def _literal(value: float, dtype: str) -> str:
    # repr of a float64 reads back exactly; a float32's own shortest form does once it is rounded to float32.
    if dtype == "float32":
        for digits in range(1, 10):
            short = f"{value:.{digits}g}"
            if struct.pack("<f", float(short)) == struct.pack("<f", value):
                return repr(float(short))
    return repr(value)


def _rows(table: dict[tuple[str, str], tuple[float, ...]], notes: dict[tuple[str, str], str]) -> list[str]:
    lines: list[str] = []
    for (name, dtype), values in sorted(table.items()):
        note = notes.get((name, dtype))
        lines.append(f'    ("{name}", "{dtype}"): (' + (f"  # {note}" if note else ""))
        lines += [f"        {_literal(v, dtype)}," for v in values]
        lines.append("    ),")
    return lines


def generate() -> str:
    """Return the text of ``coefficients.py``."""
    from .fits import FITS, SPLITS

    polynomials: dict[tuple[str, str], tuple[float, ...]] = {}
    notes: dict[tuple[str, str], str] = {}
    for fit in FITS:
        key = fit.name, fit.dtype
        if key in polynomials:
            raise ValueError(f"two fits are called {key}")
        derived = derive(fit)
        polynomials[key] = derived.coefficients
        notes[key] = f"weighted error 2**{derived.error:.1f}"
    constants = {(c.name, c.dtype): split(c) for c in SPLITS}
    return "\n".join(
        [
            '"""Constants of the recipes; written by ``python -m opmux.opset.recipes.derive --write``, not by hand."""',
            "",
            "from typing import Final",
            "",
            "#: Coefficients of each polynomial, highest power first.",
            "POLYNOMIALS: Final[dict[tuple[str, str], tuple[float, ...]]] = {",
            *_rows(polynomials, notes),
            "}",
            "",
            "#: Parts of each constant that one float cannot hold, largest first.",
            "CONSTANTS: Final[dict[tuple[str, str], tuple[float, ...]]] = {",
            *_rows(constants, {}),
            "}",
            "",
            "",
            "def polynomial(name: str, dtype: str) -> tuple[float, ...]:",
            '    """Return a polynomial\'s coefficients, highest power first."""',
            "    return POLYNOMIALS[name, dtype]",
            "",
            "",
            "def constant(name: str, dtype: str) -> tuple[float, ...]:",
            '    """Return a constant\'s parts, largest first."""',
            "    return CONSTANTS[name, dtype]",
            "",
        ]
    )


def main() -> int:
    """Print, check or write the derived constants."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    action = parser.add_mutually_exclusive_group()
    action.add_argument("--check", action="store_true", help="fail if coefficients.py differs from what is derived")
    action.add_argument("--write", action="store_true", help="replace coefficients.py")
    options = parser.parse_args()
    path = Path(__file__).with_name("coefficients.py")
    text = generate()
    if options.write:
        path.write_text(text)
    elif not options.check:
        print(text, end="")
    elif text != path.read_text():
        print(f"{path.name} differs from what derive.py computes; run it with --write", file=sys.stderr)
        return 1
    return 0


__all__ = ["Derived", "Fit", "Split", "derive", "main", "mpmath", "split"]

if __name__ == "__main__":
    raise SystemExit(main())
