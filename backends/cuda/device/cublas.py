"""cuBLAS through its C interface: the library, its handles, and products as it takes them.

CuPy's binding is not used. Before every call it sets the stream that is current in CuPy, which drops the workspace, it
has no call for a workspace, and it refuses calls while launches are captured.

Prototypes and constants: ``cublas_api.h`` and ``library_types.h`` of CUDA 13.
"""

from __future__ import annotations

import ctypes
import importlib
from collections import deque
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from .libcuda import during_captures
from .runtime import CudaError, Gemm

MISSING: Final = "cuBLAS is not found: pip install nvidia-cublas"

#: ``cudaDataType``.
_TYPES: Final = {
    "float32": 0, "float64": 1, "float16": 2, "int8": 3, "complex64": 4, "complex128": 5, "int32": 10, "bfloat16": 14,
}  # fmt: skip
_TRANSPOSED: Final = {False: 0, True: 1}
_DEFAULT_ALGORITHM: Final = -1
_SCALARS_ON_HOST: Final = 0
#: No TF32, no emulation, and sums never in the type of the result where that is narrower.
_MATH: Final = 0 | 16
_OUT_OF_MEMORY: Final = 3
#: Where a kernel failed, CUDA's next answer says whether the GPU is lost.
_STATUS: Final = {
    1: "CUBLAS_STATUS_NOT_INITIALIZED", 7: "CUBLAS_STATUS_INVALID_VALUE", 8: "CUBLAS_STATUS_ARCH_MISMATCH",
    11: "CUBLAS_STATUS_MAPPING_ERROR", 13: "CUBLAS_STATUS_EXECUTION_FAILED", 14: "CUBLAS_STATUS_INTERNAL_ERROR",
    15: "CUBLAS_STATUS_NOT_SUPPORTED", 16: "CUBLAS_STATUS_LICENSE_ERROR",
}  # fmt: skip
#: What says that the library has no kernel for a call, and has done nothing.
DECLINES: Final = frozenset({_STATUS[8], _STATUS[15]})

_INT, _LONG, _POINTER = ctypes.c_int, ctypes.c_int64, ctypes.c_void_p
_MATRIX: Final = (_POINTER, _INT, _LONG)
_BEGIN: Final = (_POINTER, _INT, _INT, _LONG, _LONG, _LONG, _POINTER)
#: What each function takes; all return a status.
PROTOTYPES: Final[dict[str, tuple[Any, ...]]] = {
    "cublasCreate_v2": (_POINTER,),
    "cublasSetStream_v2": (_POINTER, _POINTER),
    "cublasSetWorkspace_v2": (_POINTER, _POINTER, ctypes.c_size_t),
    "cublasSetPointerMode_v2": (_POINTER, _INT),
    "cublasSetMathMode": (_POINTER, _INT),
    "cublasGemmEx_64": (*_BEGIN, *_MATRIX, *_MATRIX, _POINTER, *_MATRIX, _INT, _INT),
    "cublasGemmStridedBatchedEx_64": (
        *_BEGIN, *_MATRIX, ctypes.c_longlong, *_MATRIX, ctypes.c_longlong, _POINTER, *_MATRIX, ctypes.c_longlong,
        _LONG, _INT, _INT,
    ),
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Arithmetic:
    """What is computed with.

    Attributes:
        compute: ``cublasComputeType_t``.
        scale: dtype of the factors of the product and of what was there, by NumPy's name.
    """

    compute: int
    scale: str


_SINGLE: Final = Arithmetic(68, "float32")
#: By the dtypes of operands and result: sums in float32 at least, and four real products for a complex one, where the
#: default may take three of larger error ("Gaussian complexity reduction").
ARITHMETIC: Final[dict[tuple[str, str], Arithmetic]] = {
    ("float32", "float32"): _SINGLE,
    ("float64", "float64"): Arithmetic(70, "float64"),
    ("float16", "float16"): _SINGLE,
    ("float16", "float32"): _SINGLE,
    ("bfloat16", "bfloat16"): _SINGLE,
    ("bfloat16", "float32"): _SINGLE,
    ("int8", "int32"): Arithmetic(72, "int32"),
    ("complex64", "complex64"): Arithmetic(69, "complex64"),
    ("complex128", "complex128"): Arithmetic(71, "complex128"),
}
#: One and zero; kept, for calls take their addresses.
_FACTORS: Final = {a.scale: np.array([1, 0], a.scale) for a in ARITHMETIC.values()}


class Cublas:
    """The library, for one GPU.

    A handle belongs to one call at a time, which gives it its stream and its workspace: so calls of several threads do
    not wait for each other, and streams share no workspace, which is what cuBLAS promises equal bits under (cuBLAS
    documentation, results reproducibility).

    Args:
        library: the loaded library.

    Raises:
        AttributeError: it is older than its functions with sizes of 64 bits.
    """

    def __init__(self, library: Any) -> None:
        for name, takes in PROTOTYPES.items():
            function = getattr(library, name)
            function.argtypes, function.restype = takes, _INT
        self._library = library
        self._spare: deque[int] = deque()

    def _handle(self) -> int:
        try:
            return self._spare.pop()
        except IndexError:
            return during_captures(self._made)

    def _made(self) -> int:
        handle = _POINTER()
        _check(self._library.cublasCreate_v2(ctypes.addressof(handle)))
        made = int(handle.value or 0)
        _check(self._library.cublasSetPointerMode_v2(made, _SCALARS_ON_HOST))
        _check(self._library.cublasSetMathMode(made, _MATH))
        return made

    def start(self) -> None:
        """Make a handle for the GPU that is current, where there is none: what is wrong with the library shows here.

        Raises:
            CudaError: what cuBLAS reports.
            MemoryError: it has not enough.
        """
        self._spare.append(self._handle())

    def gemm(self, product: Gemm, a: int, b: int, c: int, workspace: tuple[int, int], stream: int) -> None:
        """Put products on a stream of the GPU that is current.

        Args:
            product: what is computed.
            a, b, c: where the matrices lie.
            workspace: memory for this call alone, at a multiple of 256, and its bytes.
            stream: as CUDA knows it.

        Raises:
            CudaError: what cuBLAS reports.
            MemoryError: it has not enough.
        """
        library, handle = self._library, self._handle()
        try:
            _check(library.cublasSetStream_v2(handle, stream))
            _check(library.cublasSetWorkspace_v2(handle, *workspace))  # after the stream, which drops it
            (of, result), (la, lb, lc), (sa, sb, sc) = product.dtypes, product.leading, product.steps
            arithmetic = ARITHMETIC[product.dtypes]
            factors = _FACTORS[arithmetic.scale]
            one, zero = factors.ctypes.data, factors.ctypes.data + factors.itemsize
            operand = _TYPES[of]
            ways = [_TRANSPOSED[t] for t in product.transposed]
            begin = (handle, *ways, *product.extents, one)
            end = (arithmetic.compute, _DEFAULT_ALGORITHM)
            if product.count == 1:
                status = library.cublasGemmEx_64(
                    *begin, a, operand, la, b, operand, lb, zero, c, _TYPES[result], lc, *end
                )
            else:
                status = library.cublasGemmStridedBatchedEx_64(
                    *begin, a, operand, la, sa, b, operand, lb, sb, zero, c, _TYPES[result], lc, sc,
                    product.count, *end,
                )  # fmt: skip
            _check(status)
        finally:
            self._spare.append(handle)


def find() -> Cublas | str:
    """Return the library, found as CuPy finds it, or why there is none."""
    try:
        found = importlib.import_module("cuda.pathfinder").load_nvidia_dynamic_lib("cublas")
        return Cublas(ctypes.CDLL(found.abs_path))
    except (ImportError, RuntimeError, OSError):
        return MISSING
    except AttributeError as error:
        return f"cuBLAS is too old: {error}"


def _check(status: int) -> None:
    if status == _OUT_OF_MEMORY:
        raise MemoryError("cuBLAS has none left")
    if status:
        raise CudaError(_STATUS.get(status, f"CUBLAS_STATUS_{status}"), "reported by cuBLAS")
