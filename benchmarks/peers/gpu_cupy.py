"""CuPy: one ElementwiseKernel per expression, reductions by CUB, matrix products by cuBLAS."""

from __future__ import annotations

import contextlib
import functools
from typing import Any, Final

import cupy
import numpy as np
from numpy.typing import NDArray

from ..case import Case
from ..errors import UnsupportedCaseError
from ..kinds import CHAIN_PAIRS, result_dtype
from .base import Build, Function, build, versions_of
from .gpu import Gpu, cuda_events, second_level_cache

#: ``cudaDataType`` (library_types.h).
_TYPES: Final = {"float32": 0, "float16": 2, "int8": 3, "int32": 10, "bfloat16": 14}
#: ``cublasComputeType_t`` (cublas_api.h): 32F, never TF32; 32I. Scalars have that type too.
_COMPUTE: Final[dict[str, tuple[int, type[np.generic]]]] = {"f": (68, np.float32), "i": (72, np.int32)}
_DEFAULT_ALGORITHM: Final = -1


def _expression(names: str, text: str) -> Build:
    """Return a kernel of CuPy's for one expression of float32."""

    def made(case: Case) -> Function:
        inputs = ", ".join(f"{case.dtype} {name}" for name in names)
        kernel: Function = cupy.ElementwiseKernel(inputs, f"{case.dtype} y", f"y = {text}", f"bench_{case.kind}")
        return kernel

    return made


def _reduction(function: Function) -> Build:
    return lambda case: functools.partial(function, axis=case.get("axis"))


def _cublas() -> Any:
    """Return CuPy's binding of cuBLAS.

    Raises:
        UnsupportedCaseError: cuBLAS is not installed.
    """
    try:
        from cupy_backends.cuda.libs import cublas
    except (ImportError, RuntimeError) as error:
        raise UnsupportedCaseError(f"CuPy finds no cuBLAS (pip install 'cupy-cuda13x[ctk]'): {error}") from error
    return cublas


def _matmul(case: Case) -> Function:
    """Return cuBLAS's product of dense rows: by columns, which it counts in, the transposed product of them swapped."""
    cublas = _cublas()
    (m, k), (_, n) = case.shapes
    result = result_dtype(case)
    compute, scalar = _COMPUTE["i" if result.kind == "i" else "f"]
    one, zero = np.ones(1, scalar), np.zeros(1, scalar)
    given, made = _TYPES[case.dtype], _TYPES[result.name]
    storage = np.dtype(f"u{result.itemsize}") if result.name == "bfloat16" else result
    handle = cupy.cuda.device.get_cublas_handle()

    def product(a: Any, b: Any) -> Any:
        y = cupy.empty((m, n), storage)
        cublas.gemmEx(
            handle, cublas.CUBLAS_OP_N, cublas.CUBLAS_OP_N, n, m, k,
            one.ctypes.data, b.data.ptr, given, n, a.data.ptr, given, k,
            zero.ctypes.data, y.data.ptr, made, n, compute, _DEFAULT_ALGORITHM,
        )  # fmt: skip
        return y

    return product


_GELU: Final = "0.5f * x * (1.0f + tanhf(0.7978845608f * (x + 0.044715f * x * x * x)))"
TABLE: Final[dict[str, Build]] = {
    "exp": _expression("x", "exp(x)"),
    "add": _expression("ab", "a + b"),
    "multiply": _expression("ab", "a * b"),
    "muladd": _expression("abc", "a * b + c"),
    "gelu": _expression("x", _GELU),
    "where": lambda case: cupy.where,
    "chain": _expression("xab", functools.reduce(lambda x, _: f"({x} * a + b)", range(CHAIN_PAIRS), "x")),
    "sum": _reduction(cupy.sum),
    "mean": _reduction(cupy.mean),
    "max": _reduction(cupy.max),
    "matmul": _matmul,
}


def _ready(case: Case, operands: tuple[Any, ...]) -> tuple[Function, str]:
    if case.kind == "matmul" and case.limit is None:
        return cupy.matmul, "cupy.matmul"  # the cost of a call is that of the call that people write
    return build(TABLE, case, "CuPy"), ""


def _put(x: NDArray[Any]) -> Any:
    return cupy.asarray(x.view(np.uint16) if x.dtype.name == "bfloat16" else x)


def _to_numpy(x: Any) -> NDArray[Any]:
    found: NDArray[Any] = cupy.asnumpy(x)
    return found.view("bfloat16") if found.dtype == np.uint16 else found


def peer(backend: str | None) -> Gpu:
    """Return the peer."""
    trim = cupy.get_default_memory_pool().free_all_blocks
    versions = versions_of("cupy-cuda13x", "numpy", "nvidia-cublas")
    with contextlib.suppress(UnsupportedCaseError):
        versions["cuBLAS"] = str(_cublas().getVersion(cupy.cuda.device.get_cublas_handle()))
    return Gpu("cupy", _ready, _put, _to_numpy, cuda_events(0), second_level_cache(), versions, trim)
