"""numexpr: expressions as text, on its default threads."""

from __future__ import annotations

import math
from typing import Any, Final

import numexpr
import numpy as np
from numpy.typing import NDArray

from ..case import Case
from ..errors import UnsupportedCaseError
from ..kinds import CHAIN_PAIRS
from .base import AsGiven, Calls, Function, Program, versions_of

_CHAIN: Final = "(" * CHAIN_PAIRS + "a" + " * b + c)" * CHAIN_PAIRS

#: Over operands a, b, c, and constants p, q of the case's dtype: a fraction as a literal would make float32 float64.
TABLE: Final[dict[str, str]] = {
    "exp": "exp(a)",
    "tanh": "tanh(a)",
    "sin": "sin(a)",
    "log": "log(a)",
    "add": "a + b",
    "multiply": "a * b",
    "muladd": "a * b + c",
    "gelu": "a * (1 + tanh(p * (a + q * (a * a * a)))) / 2",
    "where": "where(a, b, c)",
    "chain": _CHAIN,
}


class NumexprPeer:
    """numexpr; every case is one compiled expression, whatever its style."""

    def versions(self) -> dict[str, str]:
        """Return numexpr's version and its number of threads."""
        return {**versions_of("numexpr"), "numexpr threads": str(numexpr.get_num_threads())}

    def prepare(self, case: Case, stored: tuple[NDArray[Any], ...], as_given: AsGiven) -> Program:
        """Return a case made ready."""
        if case.kind not in TABLE or case.get("out"):
            raise UnsupportedCaseError(f"numexpr has no {case.kind} here")
        operands = as_given(case, stored)
        return Calls(_evaluate(TABLE[case.kind], case.dtype, len(operands)), operands)


def _evaluate(expression: str, dtype: str, count: int) -> Function:
    evaluate, number = numexpr.evaluate, np.dtype(dtype).type
    constants = {"p": number(math.sqrt(2.0 / math.pi)), "q": number(0.044715)}
    made: dict[int, Function] = {
        1: lambda a: evaluate(expression, {"a": a}, constants),
        2: lambda a, b: evaluate(expression, {"a": a, "b": b}, constants),
        3: lambda a, b, c: evaluate(expression, {"a": a, "b": b, "c": c}, constants),
    }
    return made[count]


def peer(backend: str | None) -> NumexprPeer:
    """Return the peer."""
    return NumexprPeer()
