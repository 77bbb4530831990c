"""How fast the generated code is: seconds per launch, and shares of the host's rates.

The rates are those that opmux measures with NumPy: a matrix product's arithmetic, a copy's bandwidth. The numbers below
were measured on two shared cores of an Intel Xeon with AVX-512 in November 2026, NumPy 2.4, best of several interleaved
runs: launches at 8 elements, shares of arithmetic at 50,000, of bandwidth at 100,000 and 1,000,000.
`python -m benchmarks.cost_terms` measures them again.
"""

from __future__ import annotations

from typing import Final

from ...plugin import CostTerms

_LAUNCH: Final = 0.5e-6
# Per further native call of a launch, and for the bookkeeping between them.
_STEP: Final = 0.4e-6

#: Percent of a matrix product's rate that a recipe reaches, in float32 and in float64.
_ARITHMETIC: Final = {
    "sin": (9, 6), "cos": (10, 6), "tan": (10, 6), "pow": (12, 7), "atan2": (31, 14), "hypot": (9, 5),
    "exp": (20, 17), "exp2": (20, 15), "expm1": (22, 19), "log": (17, 14), "log2": (15, 16), "log10": (19, 13),
    "log1p": (18, 15), "asin": (32, 19), "acos": (28, 19), "atan": (27, 18), "sinh": (25, 20), "cosh": (34, 29),
    "tanh": (19, 17), "asinh": (16, 14), "acosh": (18, 15), "atanh": (22, 19), "cbrt": (26, 21), "erf": (27, 12),
    "sqrt": (6, 3), "floor_divide": (6, 5), "remainder": (0.9, 0.3),
}  # fmt: skip
# Other programs are short: memory bounds them long before this does.
_OTHER_ARITHMETIC: Final = (20, 15)


def recipe_cost(op: str) -> CostTerms:
    """The cost terms of an elementwise op; float16 and bfloat16 compute in float32."""
    single, double = (percent / 100 for percent in _ARITHMETIC.get(op, _OTHER_ARITHMETIC))
    return CostTerms(_LAUNCH, single, 1.0, compute_for={"float64": double})


MOVE: Final = CostTerms(_LAUNCH)
#: Two native calls, of which the first writes the whole output.
PAD: Final = CostTerms(_LAUNCH + _STEP, memory=0.6)
CONCAT: Final = CostTerms(_LAUNCH + 2 * _STEP, memory=0.95)
#: Between single elements from anywhere (0.5) and whole rows (1).
GATHER: Final = CostTerms(_LAUNCH, memory=0.6)
SCATTER: Final = CostTerms(_LAUNCH + _STEP, memory=0.3)
#: Reductions read and hardly write; in the second-level cache they beat a copy's bandwidth.
REDUCTION: Final = CostTerms(_LAUNCH, memory=1.2)
SCAN: Final = CostTerms(_LAUNCH, memory=0.4)
RANDOM: Final = CostTerms(_LAUNCH, compute=0.08)
#: One thread, 64 to 512 rows and columns: 1.1 to 1.3 times NumPy's; even with it at 1024.
MATMUL: Final = CostTerms(_LAUNCH, compute=1.1)
