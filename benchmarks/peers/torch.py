"""PyTorch, eager, with its default threads."""

from __future__ import annotations

import functools
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray

from ..case import Case
from ..errors import UnsupportedCaseError
from ..kinds import CHAIN_PAIRS, result_dtype
from .base import AsGiven, Build, Calls, Function, Program, build, chain, same, versions_of


def _along_axis(function: Function) -> Build:
    def made(case: Case) -> Function:
        axis = case.get("axis")
        return function if axis is None else functools.partial(function, dim=axis)

    return made


def _cast(case: Case) -> Function:
    wanted = getattr(torch, result_dtype(case).name)
    return lambda x: x.to(wanted)


TABLE: Final[dict[str, Build]] = {
    "exp": same(torch.exp),
    "tanh": same(torch.tanh),
    "sin": same(torch.sin),
    "log": same(torch.log),
    "add": same(torch.add),
    "multiply": same(torch.multiply),
    "muladd": same(lambda a, b, c: a * b + c),
    "gelu": same(functools.partial(torch.nn.functional.gelu, approximate="tanh")),
    "where": same(torch.where),
    "cast": _cast,
    "sum": _along_axis(torch.sum),
    "mean": _along_axis(torch.mean),
    "max": _along_axis(torch.amax),
    "argmax": _along_axis(torch.argmax),
    "softmax": same(functools.partial(torch.softmax, dim=-1)),
    "layer_norm": same(lambda x, weight, bias: torch.nn.functional.layer_norm(x, weight.shape, weight, bias)),
    "matmul": same(torch.matmul),
    "chain": same(chain(torch.multiply, torch.add, CHAIN_PAIRS)),
}


class TorchPeer:
    """PyTorch without gradients."""

    def __init__(self) -> None:
        torch.set_grad_enabled(False)

    def versions(self) -> dict[str, str]:
        """Return PyTorch's version and its number of threads."""
        return {**versions_of("torch"), "torch threads": str(torch.get_num_threads())}

    def prepare(self, case: Case, stored: tuple[NDArray[Any], ...], as_given: AsGiven) -> Program:
        """Return a case made ready."""
        if case.style == "compiled":
            raise UnsupportedCaseError("torch.compile needs a C++ compiler; only eager PyTorch takes part")
        operands = as_given(case, tuple(torch.from_numpy(x) for x in stored))
        return Calls(build(TABLE, case, "torch"), operands, _to_numpy, reuse=bool(case.get("out")))


def _to_numpy(x: Any) -> NDArray[Any]:
    return np.asarray(x.numpy())


def peer(backend: str | None) -> TorchPeer:
    """Return the peer."""
    return TorchPeer()
