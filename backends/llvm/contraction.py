"""Matrix products as kernels: float32 and float64 in the canonical order."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from ...plugin import CANONICAL, Accepts, Array, CallSpec, Kernel, Prepared, thread_count
from . import costs
from .invoke import invoker
from .launching import BoundCode, bind_address
from .matmul_call import MatmulCall

_ELEMENTS: Final = {"float32": "float", "float64": "double"}


def _matmul(spec: CallSpec) -> Prepared:
    x, y = spec.arrays
    out = spec.outputs[0]
    shape = (*out.shape, x.shape[-1])
    call = MatmulCall(_ELEMENTS[x.dtype.name], shape, x.strides, y.strides, out.strides, thread_count())

    if call.native is not None:
        return _one_call(bind_address(call.module, *call.native), call.workspace_bytes)

    def launch(outs: Sequence[Array], ins: Sequence[Array], workspace: Array | None, queue: Any) -> None:
        call(ins[0].ptr, ins[1].ptr, outs[0].ptr, 0 if workspace is None else workspace.ptr)

    return Prepared(launch, call.workspace_bytes)


def _one_call(code: BoundCode, workspace_bytes: int) -> Prepared:
    invoke, entry, params = invoker(), code.entry, code.params

    def launch(outs: Sequence[Array], ins: Sequence[Array], workspace: Array | None, queue: Any, _: Any = code) -> None:
        invoke(entry, params, ins[0].ptr, ins[1].ptr, outs[0].ptr, 0 if workspace is None else workspace.ptr)

    return Prepared(launch, workspace_bytes, code.native())


KERNELS: Final = (
    Kernel(
        "matmul",
        "matmul",
        "cpu",
        _matmul,
        Accepts(dtypes=(frozenset(_ELEMENTS),)),
        CANONICAL,
        costs.MATMUL,
    ),
)
