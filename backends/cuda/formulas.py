"""Elementwise functions that are no recipes: complex arithmetic, and casts of what recipes do not compute with.

A complex operation is what its decomposition into pairs is, so the bits are those of every other backend.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from ...plugin import dtypes
from . import emit

COMPLEX: Final = frozenset(t.name for t in dtypes.COMPLEXES)
#: Of complex operands; `x`, `y` and `z` stand for them.
EXPRESSIONS: Final = {
    "add": "x + y", "subtract": "x - y", "multiply": "x * y", "divide": "x / y", "negative": "-x",
    "conj": "conjugate(x)", "equal": "x == y", "not_equal": "x != y", "isnan": "is_nan(x)", "isinf": "is_infinite(x)",
    "isfinite": "is_finite(x)", "where": "x ? y : z",
}  # fmt: skip
_OPERANDS: Final = "xyz"
#: Dtypes of which one byte or two parts are kept, by the part of the sources that knows them.
_PARTS: Final = dict.fromkeys(COMPLEX, "complex") | {t.name: "float8" for t in dtypes.ALL if t.kind == dtypes.STORAGE}
FORMATS: Final = frozenset(_PARTS)


@dataclass(frozen=True, slots=True)
class Formula:
    """One C++ expression over one element of each operand.

    Attributes:
        inputs: dtypes of the operands.
        result_type: dtype of the result.
        expression: in which the operands are `x`, `y` and `z`.
    """

    inputs: tuple[str, ...]
    result_type: str
    expression: str

    @property
    def result_types(self) -> tuple[str, ...]:
        """Dtypes of all results, of which there is one."""
        return (self.result_type,)


def cast(source: str, to: str) -> Formula:
    """Return the conversion from one dtype to another.

    >>> cast("uint8", "complex64").expression
    'c64{(f32)x, 0}'
    """
    return Formula((source,), to, emit.converted("x", source, to))


def function(name: str, formula: Formula) -> str:
    """Return a device function that carries out a formula on register values.

    >>> print(function("twice", Formula(("complex64",), "complex64", "x + x")))
    __device__ __forceinline__ c64 twice(c64 x) {
        return x + x;
    }
    """
    operands = zip(formula.inputs, _OPERANDS, strict=False)
    parameters = ", ".join(f"{emit.REGISTER[t]} {x}" for t, x in operands)
    head = f"__device__ __forceinline__ {emit.REGISTER[formula.result_type]} {name}({parameters}) {{"
    return f"{head}\n    return {formula.expression};\n}}"


def parts(names: Sequence[str]) -> tuple[str, ...]:
    """Return the parts of the sources that know these dtypes, beside the prelude.

    >>> parts(("float32", "complex64"))
    ('complex',)
    """
    return tuple(sorted({_PARTS[t] for t in names if t in _PARTS}))
