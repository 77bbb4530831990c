"""Matrix products by cuBLAS, where it is, beside this backend's own kernels."""

from __future__ import annotations

import itertools
import logging
import math
from collections.abc import Callable, Sequence
from typing import Any, Final, cast

from ....plugin import (
    Accepts,
    Array,
    CallSpec,
    CostTerms,
    Determinism,
    Device,
    Kernel,
    Nest,
    Prepared,
    Promises,
    Reason,
    Rejection,
)
from ..device.cublas import ARITHMETIC, DECLINES
from ..device.driver import KIND, CudaDriver, driver_of
from ..device.runtime import CudaError, Gemm
from . import matmul, matmul_kernels
from .matmul import Problem

_log: Final = logging.getLogger("opmux")

#: Bytes of workspace: what cuBLAS takes for itself from capability 9.0 on, and before (cuBLAS documentation,
#: ``cublasSetWorkspace``).
_WORKSPACE: Final = 32 << 20
_WORKSPACE_BEFORE: Final = 4 << 20
#: Calls for one product; what lies in more pieces is done by a kernel of any strides.
_MOST_CALLS: Final = 32
#: Bytes that operands of int8 lie at multiples of, each matrix and each column (cuBLAS documentation,
#: ``cublasGemmEx``). Terms, and a column of the result, come in as many: tensor cores need it (the same,
#: ``cublasLtMatmul``, IMMA kernels), and where the library has no other kernel it refuses the call, too late to choose.
_INT8_ALIGNMENT: Final = 4
#: Shares of a device's best rates. bfloat16: 790 TFLOP/s on an H200, at 8192 cubed through PyTorch. The rest is
#: declared and never measured: a product of complex numbers is four real ones at the rate of float32 or float64.
_COST: Final = CostTerms(
    launch=2e-6,
    compute=0.9,
    compute_for={"float16": 0.74, "bfloat16": 0.74, "int8": 0.6, "complex64": 0.22, "complex128": 0.1},
    memory=0.85,
    tile=(64, 64),
)
#: The same bits on the same kind of GPU with the same library, where no streams share a workspace (cuBLAS
#: documentation, results reproducibility); nothing about batches or orders of terms.
_PROMISES: Final = Promises(determinism=Determinism.RUN)


def _matmul(spec: CallSpec) -> Prepared | Rejection:
    x, y = spec.arrays
    (out,) = spec.outputs
    driver = driver_of(spec)
    if (x.dtype.name, out.dtype.name) not in ARITHMETIC:
        return Rejection(Reason.DTYPE, f"cuBLAS has no product of {x.dtype} in {out.dtype}")
    if not x.shape[-1]:
        return Rejection(Reason.SIZE, "a product of no terms is left to another kernel")
    problem = matmul.problem_of((*out.shape, x.shape[-1]), x.strides, y.strides)
    calls = math.prod(problem.batch.shape[:-1])
    if calls > _MOST_CALLS:
        return Rejection(
            Reason.LAYOUT, f"{calls} calls of cuBLAS, whose batches have one stride; at most {_MOST_CALLS}"
        )
    product = gemm_of(problem, (x.dtype.name, out.dtype.name))
    if isinstance(product, Rejection):
        return product
    aligned = x.aligned and y.aligned
    if x.dtype.name == "int8" and not (aligned and _in_fours(product, problem.batch)):
        return Rejection(
            Reason.ALIGNMENT,
            f"cuBLAS takes int8 with columns at multiples of {_INT8_ALIGNMENT} bytes, and as many terms and results",
        )
    size, written = x.dtype.itemsize, out.dtype.itemsize
    places = [(at[1] * size, at[0] * size, at[2] * written) for at in starts(problem.batch)]
    gemm = driver.runtime.gemm
    workspace_bytes = _WORKSPACE if driver.target.capability >= (9, 0) else _WORKSPACE_BEFORE

    own, does_it = _own(x.dtype.name)
    instead = does_it(spec)
    if isinstance(instead, Rejection):
        return instead
    declined = False

    def launch(outs: Sequence[Array], ins: Sequence[Array], workspace: Array | None, queue: Any) -> None:
        nonlocal declined
        if not declined:
            a, b, c = ins[1].ptr, ins[0].ptr, outs[0].ptr
            memory = (0 if workspace is None else workspace.ptr), workspace_bytes
            try:
                for at_a, at_b, at_c in places:
                    gemm(product, a + at_a, b + at_b, c + at_c, memory, queue)
                return
            except CudaError as error:
                if error.code not in DECLINES:
                    raise
                declined = True
                _log.warning("cuBLAS declines %s (%s); cuda/%s does it from now on", product, error.code, own)
        instead.launch(outs, ins, workspace, queue)  # all of it, also what cuBLAS has done

    return Prepared(launch, max(workspace_bytes, instead.workspace))


def _own(dtype: str) -> tuple[str, Callable[[CallSpec], Prepared | Rejection]]:
    """Return the name of this backend's own kernel for what cuBLAS declines, and what prepares it.

    cuBLAS has no call that says beforehand whether it has a kernel. It may have none for lengths, strides or alignments
    that its documentation allows, and then it has been chosen.
    """
    takes = [k for k in matmul_kernels.KERNELS if dtype in k.accepts.dtypes[0]]
    fastest = max(takes, key=lambda kernel: kernel.priority)
    return fastest.name, fastest.prepare


def gemm_of(problem: Problem, dtypes: tuple[str, str]) -> Gemm | Rejection:
    """Return a problem as cuBLAS takes it: by columns, so that a result by rows is the product of the transposes.

    Args:
        problem: what is computed.
        dtypes: of the operands, and of the result.
    """
    p, batch = problem, problem.batch
    a = _columns((p.depth, p.columns), p.b)
    b = _columns((p.rows, p.depth), p.a)
    over_a, over_b, over_c = (s[-1] for s in batch.strides)
    if a is None or b is None or over_a < 0 or over_b < 0:
        return Rejection(Reason.LAYOUT, "cuBLAS takes matrices whose rows or whose columns lie dense")
    return Gemm(
        dtypes,
        (a[1], b[1]),
        (p.columns, p.rows, p.depth),
        (a[0], b[0], p.columns),
        (over_b, over_a, over_c),
        batch.shape[-1],
    )


def _columns(shape: tuple[int, int], strides: tuple[int, int]) -> tuple[int, bool] | None:
    """Return how the transpose of a matrix lies by columns: its leading dimension, and whether as its own transpose.

    >>> _columns((3, 4), (7, 1)), _columns((3, 4), (1, 3)), _columns((1, 4), (0, 1)), _columns((3, 4), (0, 1))
    ((7, False), (3, True), (4, False), None)
    """
    for (outer, inner), (step, dense), transposed in (
        (shape, strides, False),
        (shape[::-1], strides[::-1], True),
    ):
        if (inner == 1 or dense == 1) and (outer == 1 or step >= inner):
            return (step if outer > 1 else inner), transposed
    return None


def starts(batch: Nest) -> list[tuple[int, ...]]:
    """Return where each call's matrices begin, in elements: the innermost axis of a batch is done by one call.

    >>> starts(Nest((2, 5), ((100, 10), (0, 3), (50, 10))))
    [(0, 0, 0), (100, 0, 50)]
    """
    return [
        tuple(sum(i * s for i, s in zip(at, strides, strict=False)) for strides in batch.strides)
        for at in itertools.product(*map(range, batch.shape[:-1]))
    ]


def _in_fours(product: Gemm, batch: Nest) -> bool:
    """Return whether columns of int8, and strides between them, are multiples of four, and so are terms and results."""
    strides = [s for operand in batch.strides[:2] for s in operand]
    rows, _, terms = product.extents
    return all(n % _INT8_ALIGNMENT == 0 for n in (rows, terms, *product.leading, *strides))


def _missing(device: Device) -> str | None:
    return cast(CudaDriver, device.driver).runtime.lacks_blas()


_ACCEPTS: Final = Accepts(dtypes=(frozenset(a for a, _ in ARITHMETIC),), missing=_missing)

KERNELS: Final = (Kernel("matmul.cublas", "matmul", KIND, _matmul, _ACCEPTS, _PROMISES, _COST),)
