"""PyTorch on a GPU, eager or through ``torch.compile``; products of float32 without TF32, as shipped."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from ..case import Case
from ..errors import PeerUnavailableError, UnsupportedCaseError
from .base import Function, build, versions_of
from .gpu import Gpu
from .torch import TABLE


def _ready(case: Case, operands: tuple[Any, ...], *, compiled: bool) -> tuple[Function, str]:
    if case.kind == "matmul" and case.dtype == "int8":
        function: Function = torch._int_mm
    else:
        function = build(TABLE, case, "torch")
    if not compiled:
        return function, ""
    if case.style != "compiled":
        raise UnsupportedCaseError("torch.compile takes part in compiled cases")

    def whole(*given: Any) -> Any:  # a builtin or a partial cannot be compiled
        return function(*given)

    torch._dynamo.reset()  # one function has few compiled forms, and then runs eagerly; a second shape is made general
    return torch.compile(whole), "torch.compile"


def _put(x: NDArray[Any]) -> Any:
    if x.dtype.name == "bfloat16":
        return torch.from_numpy(x.view(np.int16)).cuda().view(torch.bfloat16)
    return torch.from_numpy(x).cuda()


def _to_numpy(x: Any) -> NDArray[Any]:
    if x.dtype == torch.bfloat16:
        return np.asarray(x.view(torch.int16).cpu().numpy()).view("bfloat16")
    return np.asarray(x.cpu().numpy())


def _timed(work: Callable[[], None]) -> float:
    start, stop = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    start.record()
    work()
    stop.record()
    stop.synchronize()
    return float(start.elapsed_time(stop)) / 1e3


def peer(backend: str | None) -> Gpu:
    """Return the peer; ``"compile"`` for ``torch.compile``.

    Raises:
        PeerUnavailableError: this torch sees no GPU.
    """
    if not torch.cuda.is_available():
        raise PeerUnavailableError("torch is installed without CUDA, or sees no GPU")
    torch.set_grad_enabled(False)
    cache = torch.cuda.get_device_properties(0).L2_cache_size
    versions = {**versions_of("torch", "triton"), "CUDA of torch": str(torch.version.cuda)}
    compiled = backend == "compile"
    name = "torch-compile-cuda" if compiled else "torch-cuda"
    ready = functools.partial(_ready, compiled=compiled)
    return Gpu(name, ready, _put, _to_numpy, _timed, cache, versions, torch.cuda.empty_cache)
