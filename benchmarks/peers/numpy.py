"""NumPy as shipped, with its default threads."""

from __future__ import annotations

import functools
import math
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from ..case import Case
from ..kinds import CHAIN_PAIRS, result_dtype
from .base import AsGiven, Build, Calls, Function, Program, build, chain, same, versions_of

_GELU: Final = math.sqrt(2.0 / math.pi)


def _gelu(x: Any) -> Any:
    return 0.5 * x * (1.0 + np.tanh(_GELU * (x + 0.044715 * (x * x * x))))


def _softmax(x: Any) -> Any:
    e = np.exp(x - x.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def _along_axis(function: Function) -> Build:
    def made(case: Case) -> Function:
        axis = case.get("axis")
        # Without an axis NumPy's own default is called bare: a keyword costs time of its own.
        return function if axis is None else functools.partial(function, axis=axis)

    return made


def _cast(case: Case) -> Function:
    wanted = result_dtype(case)
    return lambda x: x.astype(wanted)


TABLE: Final[dict[str, Build]] = {
    "exp": same(np.exp),
    "tanh": same(np.tanh),
    "sin": same(np.sin),
    "log": same(np.log),
    "add": same(np.add),
    "multiply": same(np.multiply),
    "muladd": same(lambda a, b, c: a * b + c),
    "gelu": same(_gelu),
    "where": same(np.where),
    "cast": _cast,
    "sum": _along_axis(np.sum),
    "mean": _along_axis(np.mean),
    "max": _along_axis(np.max),
    "argmax": _along_axis(np.argmax),
    "softmax": same(_softmax),
    "matmul": same(np.matmul),
    "chain": same(chain(np.multiply, np.add, CHAIN_PAIRS)),
}


class NumpyPeer:
    """NumPy; it has no compiler, so a compiled case runs op by op beside those who have one."""

    def versions(self) -> dict[str, str]:
        """Return NumPy's version and that of its BLAS."""
        blas = np.show_config(mode="dicts")["Build Dependencies"]["blas"]
        return {**versions_of("numpy"), "numpy BLAS": f"{blas.get('name')} {blas.get('version')}"}

    def prepare(self, case: Case, stored: tuple[NDArray[Any], ...], as_given: AsGiven) -> Program:
        """Return a case made ready."""
        function = build(TABLE, case, "numpy")
        return Calls(function, as_given(case, stored), reuse=bool(case.get("out")))


def peer(backend: str | None) -> NumpyPeer:
    """Return the peer."""
    return NumpyPeer()
