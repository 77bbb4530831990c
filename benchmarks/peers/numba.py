"""Numba: array expressions compiled with ``njit(parallel=True)``, on its default threads."""
# ruff: noqa: PLW0108 - Numba compiles Python functions, not NumPy's own

from __future__ import annotations

import math
from typing import Any, Final

import numba
import numpy as np
from numpy.typing import NDArray

from ..case import Case
from ..errors import UnsupportedCaseError
from ..kinds import CHAIN_PAIRS, result_dtype
from .base import AsGiven, Build, Calls, Function, Program, build, same, versions_of

_GELU: Final = math.sqrt(2.0 / math.pi)


def _gelu(case: Case) -> Function:
    # Constants of the case's own dtype: a Python float would make the whole expression float64.
    half, one, c, k = (np.dtype(case.dtype).type(v) for v in (0.5, 1.0, _GELU, 0.044715))
    return lambda x: half * x * (one + np.tanh(c * (x + k * (x * x * x))))


def _cast(case: Case) -> Function:
    wanted = result_dtype(case)
    return lambda x: x.astype(wanted)


def _whole(function: Function) -> Build:
    def made(case: Case) -> Function:
        if case.get("axis") is not None:
            raise UnsupportedCaseError("numba reduces whole arrays here")
        return function

    return made


def _chain(x: Any, a: Any, b: Any) -> Any:
    for _ in range(CHAIN_PAIRS):
        x = x * a + b
    return x


TABLE: Final[dict[str, Build]] = {
    "exp": same(lambda x: np.exp(x)),
    "tanh": same(lambda x: np.tanh(x)),
    "sin": same(lambda x: np.sin(x)),
    "log": same(lambda x: np.log(x)),
    "add": same(lambda a, b: a + b),
    "multiply": same(lambda a, b: a * b),
    "muladd": same(lambda a, b, c: a * b + c),
    "gelu": _gelu,
    "where": same(lambda c, a, b: np.where(c, a, b)),
    "cast": _cast,
    "sum": _whole(lambda x: np.sum(x)),
    "mean": _whole(lambda x: np.mean(x)),
    "max": _whole(lambda x: np.max(x)),
    "argmax": _whole(lambda x: np.argmax(x)),
    "chain": same(_chain),
}


class NumbaPeer:
    """Numba; every case is compiled, whatever its style."""

    def versions(self) -> dict[str, str]:
        """Return the versions of Numba and its compiler, and its number of threads."""
        return {**versions_of("numba", "llvmlite"), "numba threads": str(numba.get_num_threads())}

    def prepare(self, case: Case, stored: tuple[NDArray[Any], ...], as_given: AsGiven) -> Program:
        """Return a case made ready; the worker's first call compiles it."""
        if case.get("out"):
            raise UnsupportedCaseError("a compiled function has no out=")
        function = numba.njit(parallel=True)(build(TABLE, case, "numba"))
        wanted = result_dtype(case)
        # A whole sum comes back as a scalar, of a width that Numba chooses.
        return Calls(function, as_given(case, stored), lambda x: np.asarray(x).astype(wanted))


def peer(backend: str | None) -> NumbaPeer:
    """Return the peer."""
    return NumbaPeer()
