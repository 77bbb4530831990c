"""How fast NumPy is here: seconds per launch, and shares of the host's rates.

The rates are those that opmux measures with NumPy itself: a matrix product's arithmetic, a copy's bandwidth. The
numbers below were measured on two shared cores of an Intel Xeon with AVX-512 in November 2026, NumPy 2.4, best of
several interleaved runs: launches at 8 elements, shares of arithmetic at 50,000, of bandwidth at 100,000 and 1,000,000.
A launch costs what it does because special values are results here, so warnings are turned off around it.
`python -m benchmarks.cost_terms` measures them again.
"""

from __future__ import annotations

from typing import Final

from ...plugin import CostTerms

_LAUNCH: Final = 2.8e-6

#: Percent of a matrix product's rate that a ufunc reaches, in float32 and in float64.
_ARITHMETIC: Final = {
    "sin": (15, 3.3), "cos": (14, 3.9), "tan": (21, 15), "pow": (25, 13), "atan2": (22, 9.5), "hypot": (1, 0.5),
    "exp": (11, 17), "exp2": (19, 19), "expm1": (25, 16), "log": (5.3, 17), "log2": (21, 19), "log10": (5.8, 19),
    "log1p": (22, 20), "asin": (21, 15), "acos": (20, 14), "atan": (20, 14), "sinh": (27, 16), "cosh": (29, 28),
    "tanh": (32, 15), "asinh": (23, 18), "acosh": (24, 16), "atanh": (21, 14), "cbrt": (23, 21), "sqrt": (5, 3),
    "floor_divide": (1.4, 1.4), "remainder": (1.4, 1.4), "nextafter": (0.1, 0.1), "copysign": (0.5, 0.6),
}  # fmt: skip
_OTHER_ARITHMETIC: Final = (20, 15)


#: Functions of one operand have float16 loops of their own; most other loops convert element by element.
_ELEMENT_BY_ELEMENT: Final = frozenset(
    {"sqrt", "pow", "atan2", "hypot", "floor_divide", "remainder", "nextafter", "copysign"}
)


def ufunc_cost(op: str) -> CostTerms:
    """The cost terms of an op that is one ufunc."""
    single, double = (percent / 100 for percent in _ARITHMETIC.get(op, _OTHER_ARITHMETIC))
    half, brain = 0.0005, 0.0019
    if op in _ARITHMETIC:
        half, brain = (0.005 if op in _ELEMENT_BY_ELEMENT else single), 0.01
    shares = {"float64": double, "float16": half, "bfloat16": brain}
    return CostTerms(_LAUNCH, single, 0.9, compute_for=shares)


#: A recipe interpreted: about one pass with a temporary for each of its instructions.
RECIPE: Final = CostTerms(launch=500e-6, compute=0.0008, compute_for={"float64": 0.0001})
EXTREME: Final = CostTerms(launch=6e-6, memory=0.4)
WHERE: Final = CostTerms(launch=4e-6, memory=0.05)
REDUCTION: Final = CostTerms(launch=3.6e-6, memory=0.5)
EXTREME_REDUCTION: Final = CostTerms(launch=6e-6, memory=0.8)
BOOLEAN_REDUCTION: Final = CostTerms(launch=6.5e-6, memory=0.03)
POSITION: Final = CostTerms(launch=7e-6, memory=0.8)
SCAN: Final = CostTerms(launch=3.2e-6, memory=0.07)
COPY: Final = CostTerms(launch=3.8e-6, memory=0.9)
#: Between floats as fast as a copy; to integers through a recipe.
CAST: Final = CostTerms(launch=3e-6, memory=0.4)
CONCAT: Final = CostTerms(launch=3e-6, memory=0.9)
PAD: Final = CostTerms(launch=2.8e-6, memory=0.5)
#: Between single elements from anywhere (0.05) and whole rows (0.9).
GATHER: Final = CostTerms(launch=14e-6, memory=0.15)
FULL: Final = CostTerms(launch=2.5e-6, memory=0.8)
IOTA: Final = CostTerms(launch=4e-6, memory=0.1)
RANDOM: Final = CostTerms(launch=100e-6, compute=0.005)
MATMUL: Final = CostTerms(launch=2.8e-6)
