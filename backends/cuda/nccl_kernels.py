"""Collectives over the memory of several GPUs of this process, where NCCL is.

NCCL promises no order of combination, and with NVLink SHARP not even the same one in two calls (NVIDIA/nccl, issue
1497): sums of floats get no determinism class. What combines nothing, or integers, has its bits by contract.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import accumulate
from typing import Any, Final, cast

from ...plugin import Accepts, Array, CallSpec, CostTerms, Device, Kernel, Layout, Prepared, Reason, Rejection
from .device.driver import CudaDriver
from .device.nccl import Binding, Call, Clique, binding

#: dtypes that NCCL combines, with its constants.
_TYPES: Final = {
    "int8": "NCCL_INT8", "uint8": "NCCL_UINT8", "int32": "NCCL_INT32", "uint32": "NCCL_UINT32", "int64": "NCCL_INT64",
    "uint64": "NCCL_UINT64", "float16": "NCCL_FLOAT16", "bfloat16": "NCCL_BFLOAT16", "float32": "NCCL_FLOAT32",
    "float64": "NCCL_FLOAT64",
}  # fmt: skip
_REDUCTIONS: Final = {"sum": "NCCL_SUM", "prod": "NCCL_PROD", "min": "NCCL_MIN", "max": "NCCL_MAX"}
_FLOATS: Final = frozenset({"float16", "bfloat16", "float32", "float64"})
#: What the contract combines in float32.
_NARROW: Final = frozenset({"float16", "bfloat16"})
#: Seconds for events between streams and a group of calls, declared: never measured.
_LAUNCH: Final = 5e-6
#: What NVLink carries in one direction, of what memory does: 450 GB/s of 4.8 TB/s (NVIDIA's data sheet of the H200).
_OF_MEMORY: Final = 450 / 4800

Plan = Callable[[Binding, CallSpec], Sequence[Call]]


def _all_reduce(nccl: Binding, spec: CallSpec) -> Sequence[Call]:
    count, dtype, reduction = spec.outputs[0].size, *_combined(nccl, spec)
    return [lambda c, send, receive, stream: c.allReduce(send, receive, count, dtype, reduction, stream)]


def _reduce_scatter(nccl: Binding, spec: CallSpec) -> Sequence[Call]:
    count, dtype, reduction = spec.outputs[0].size, *_combined(nccl, spec)
    return [lambda c, send, receive, stream: c.reduceScatter(send, receive, count, dtype, reduction, stream)]


def _all_gather(nccl: Binding, spec: CallSpec) -> Sequence[Call]:
    """Move bytes, whatever the dtype; parts of uneven length are sent by each rank to all."""
    lengths = [s.nbytes for s in spec.arrays]
    if len(set(lengths)) == 1:
        nbytes = lengths[0]
        return [lambda c, send, receive, stream: c.allGather(send, receive, nbytes, nccl.NCCL_UINT8, stream)]
    starts = accumulate(lengths, initial=0)
    return [_sent_by(nccl, rank, n, start) for rank, (n, start) in enumerate(zip(lengths, starts, strict=False)) if n]


def _broadcast(nccl: Binding, spec: CallSpec) -> Sequence[Call]:
    return [_sent_by(nccl, spec.attributes["root"], spec.outputs[0].nbytes, 0)]


def _sent_by(nccl: Binding, root: int, nbytes: int, start: int) -> Call:
    """Return the call that gives every rank what one of them has, from a byte of the result on."""
    return lambda c, send, receive, stream: c.broadcast(send, receive + start, nbytes, nccl.NCCL_UINT8, root, stream)


def _combined(nccl: Binding, spec: CallSpec) -> tuple[int, int]:
    """Return NCCL's numbers of the dtype and the reduction."""
    names = _TYPES[spec.arrays[0].dtype.name], _REDUCTIONS[spec.attributes["reduction"]]
    return getattr(nccl, names[0]), getattr(nccl, names[1])


def _refused(spec: CallSpec) -> Rejection | None:
    """Return why NCCL's arithmetic is not the contract's, or its parts not the call's."""
    dtype, reduction, ranks = spec.arrays[0].dtype.name, spec.attributes["reduction"], len(spec.outputs)
    if dtype in _FLOATS and reduction in ("min", "max"):
        return Rejection(Reason.DTYPE, f"NCCL does not promise that the {reduction} of floats keeps nan")
    if dtype in _NARROW and ranks > 2:
        return Rejection(Reason.DTYPE, f"NCCL rounds to {dtype} at each of {ranks - 1} steps; the contract does once")
    if len({s.size for s in spec.outputs}) > 1:
        return Rejection(Reason.SIZE, "the parts of the result are of uneven length; NCCL makes equal ones")
    return None


def _prepare(plan: Plan, spec: CallSpec) -> Prepared | Rejection:
    if len(spec.outputs) < 2:
        return Rejection(Reason.DECLINED, "one GPU alone has nobody to exchange with")
    found = _refused(spec) if "reduction" in spec.attributes else None
    nccl = found or binding()
    if isinstance(nccl, Rejection):
        return nccl
    op, calls = spec.op, plan(nccl, spec)
    devices = [s.device for s in spec.outputs]
    clique = Clique(nccl, tuple(cast(CudaDriver, d.driver) for d in devices), tuple(d.name for d in devices))

    def launch(outs: Sequence[Array], ins: Sequence[Array], workspace: Array | None, queue: Any) -> None:
        clique.run(op, calls, [x.ptr for x in ins], [y.ptr for y in outs], queue)

    return Prepared(launch)


def _kernel(op: str, plan: Plan, accepts: Accepts) -> Kernel:
    cost = CostTerms(launch=_LAUNCH, memory=_OF_MEMORY)
    return Kernel(f"{op}.nccl", op, "cuda", lambda spec: _prepare(plan, spec), accepts, cost=cost)


def _missing(device: Device) -> str | None:
    found = binding()
    return found.detail if isinstance(found, Rejection) else None


_WHOLE: Final = frozenset({False})
_BYTES: Final = Accepts(layout=Layout.CONTIGUOUS, missing=_missing)
_COMBINED: Final = Accepts(
    dtypes=(frozenset(_TYPES),),
    layout=Layout.CONTIGUOUS,
    attributes={"reduction": frozenset(_REDUCTIONS), "blocked": _WHOLE},
    missing=_missing,
)

KERNELS: Final = (
    _kernel("all_reduce", _all_reduce, _COMBINED),
    _kernel("reduce_scatter", _reduce_scatter, _COMBINED),
    _kernel("all_gather", _all_gather, _BYTES),
    _kernel("broadcast", _broadcast, _BYTES),
)
