"""opmux: with the dispatcher's choice, or with a single backend allowed."""

from __future__ import annotations

import contextlib
import functools
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

import opmux as ox

from ..case import Case
from ..errors import UnsupportedCaseError
from ..kinds import CHAIN_PAIRS, result_dtype
from .base import AsGiven, Build, Calls, Function, Program, build, chain, same, versions_of


def _along_axis(function: Function) -> Build:
    def made(case: Case) -> Function:
        axis = case.get("axis")
        return function if axis is None else functools.partial(function, axis=axis)

    return made


def _cast(case: Case) -> Function:
    return functools.partial(ox.cast, dtype=ox.dtype(result_dtype(case).name))


def _matmul(case: Case) -> Function:
    wider = case.get("to")
    return ox.matmul if wider is None else functools.partial(ox.matmul, dtype=ox.dtype(str(wider)))


TABLE: Final[dict[str, Build]] = {
    "exp": same(ox.exp),
    "tanh": same(ox.tanh),
    "sin": same(ox.sin),
    "log": same(ox.log),
    "add": same(ox.add),
    "multiply": same(ox.multiply),
    "muladd": same(lambda a, b, c: a * b + c),
    "gelu": same(functools.partial(ox.gelu, approximate=True)),
    "where": same(ox.where),
    "cast": _cast,
    "sum": _along_axis(ox.sum),
    "mean": _along_axis(ox.mean),
    "max": _along_axis(ox.max),
    "argmax": _along_axis(ox.argmax),
    "softmax": same(ox.softmax),
    "layer_norm": same(ox.layer_norm),
    "matmul": _matmul,
    "chain": same(chain(ox.multiply, ox.add, CHAIN_PAIRS)),
}


class OpmuxPeer:
    """opmux under one policy for the life of the process."""

    def __init__(self, backend: str | None) -> None:
        self._policy = contextlib.ExitStack()
        if backend is not None:
            self._policy.enter_context(ox.policy(backends=backend))

    def versions(self) -> dict[str, str]:
        """Return the versions of opmux and of what its backends stand on."""
        return {**versions_of("opmux", "numpy", "llvmlite", "ml_dtypes"), "opset": str(ox.OPSET_VERSION)}

    def prepare(self, case: Case, stored: tuple[NDArray[Any], ...], as_given: AsGiven) -> Program:
        """Return a case made ready; its operands are opmux's own memory, as the results of other ops would be."""
        operands = as_given(case, tuple(ox.asarray(x, copy=True) for x in stored))
        function, detail = ready(case, operands)
        return Calls(function, operands, _to_numpy, reuse=bool(case.get("out")), detail=detail)


def ready(case: Case, operands: tuple[Any, ...]) -> tuple[Function, str]:
    """Return the function for a case, called once, and which kernels it ran.

    Raises:
        UnsupportedCaseError: where opmux has none for it.
    """
    function = build(TABLE, case, "opmux")
    if case.style == "compiled":
        function = _compiled(function)
    try:
        with ox.count_calls() as seen:
            function(*operands)
    except ox.UnsupportedError as error:
        raise UnsupportedCaseError(str(error)) from error
    return function, _kernels(seen)


def _kernels(seen: Any) -> str:
    """Return which kernels ran, and how often; for a decomposition, those of its steps."""
    ran = [c for c in (*seen.most_expensive(), *seen.steps()) if c.decision.chosen.kind != "decomposition"]
    return ", ".join(c.decision.chosen.name + (f" x{c.calls}" if c.calls > 1 else "") for c in ran)


def _compiled(function: Function) -> Function:
    def fused(*arrays: Any) -> Any:  # a partial has no name, which a compiled function needs for its messages
        return function(*arrays)

    return ox.compile(fused)


def _to_numpy(x: Any) -> NDArray[Any]:
    return np.asarray(x.numpy())


def peer(backend: str | None) -> OpmuxPeer:
    """Return the peer."""
    return OpmuxPeer(backend)
