"""Joining, padding, gathering and scattering as kernels: copies into parts of the output, and indexed rows."""

from __future__ import annotations

import ctypes
import functools
from collections.abc import Sequence
from typing import Any, Final

from ...plugin import (
    CANONICAL,
    WORDS,
    Accepts,
    Array,
    CallSpec,
    CostTerms,
    Kernel,
    Layout,
    Prepare,
    Prepared,
    Program,
    Reason,
    Rejection,
    Signature,
    copy_program,
    recipe,
    word,
)
from . import costs, indexed
from .elementwise_kernels import bound_program
from .invoke import invoker
from .jit import Module, compile_ir
from .launching import BoundCode, bind, prepared
from .target import host_target

_INDICES: Final = frozenset({"int32", "int64"})
_COMBINE: Final = {"add": "add", "multiply": "multiply", "min": "minimum", "max": "maximum"}
# Narrow floats accumulate in float32, which takes a table of its own.
_NARROW: Final = frozenset({"float16", "bfloat16"})


@functools.lru_cache(maxsize=1024)
def _indexed(variant: indexed.Variant) -> Module:
    return compile_ir(indexed.generate(variant, host_target()), (indexed.ENTRY,), variant.options())


def _into_part(source: Signature, out: Signature, start: Sequence[int]) -> tuple[BoundCode, int]:
    """The copy of an operand into a part of the output, and where that part starts, in bytes."""
    code = bound_program(copy_program(word(out.dtype)), source.shape, (source.strides, out.strides))
    return code, sum(i * s for i, s in zip(start, out.strides, strict=True)) * out.dtype.itemsize


def _concat(spec: CallSpec) -> Prepared:
    (out,), axis, invoke = spec.outputs, spec.attributes["axis"], invoker()
    steps: list[tuple[BoundCode, int]] = []
    done = 0
    for x in spec.arrays:
        start = [done if d == axis else 0 for d in range(len(out.shape))]
        steps.append(_into_part(x, out, start))
        done += x.shape[axis]

    def launch(outs: Sequence[Array], ins: Sequence[Array], workspace: Array | None, queue: Any) -> None:
        to = outs[0].ptr
        for (code, offset), x in zip(steps, ins, strict=True):
            invoke(code.entry, code.params, x.ptr, to + offset)

    return Prepared(launch)


def _pad(spec: CallSpec) -> Prepared:
    x, (out,), invoke = spec.arrays[0], spec.outputs, invoker()
    fill = bound_program(copy_program(word(out.dtype)), out.shape, ((0,) * len(out.shape), out.strides))
    code, offset = _into_part(x, out, [low for low, _ in spec.attributes["pad_width"]])

    def launch(outs: Sequence[Array], ins: Sequence[Array], workspace: Array | None, queue: Any) -> None:
        to = outs[0].ptr
        invoke(fill.entry, fill.params, ins[1].ptr, to)
        invoke(code.entry, code.params, ins[0].ptr, to + offset)

    return Prepared(launch)


def _gather(spec: CallSpec) -> Prepared:
    (x, indices), (out,) = spec.arrays, spec.outputs
    axis = spec.attributes["axis"]
    if not x.shape[axis]:
        return _zeros(out)
    plan = indexed.plan(x.shape, x.strides, axis, indices.shape, indices.strides, out.strides)
    kind = indexed.variant(word(x.dtype), indices.dtype.name, spec.attributes["mode"], None, plan)
    return prepared(bind(_indexed(kind), indexed.ENTRY, plan.parameters()), 2)


def _zeros(out: Signature) -> Prepared:
    """What a gather with `mode="fill"` gives where there is nothing to choose from."""

    def launch(outs: Sequence[Array], ins: Sequence[Array], workspace: Array | None, queue: Any) -> None:
        ctypes.memset(outs[0].ptr, 0, out.nbytes)

    return Prepared(launch)


def _scatter(spec: CallSpec) -> Prepared | Rejection:
    (x, indices, updates), (out,), invoke = spec.arrays, spec.outputs, invoker()
    reduction, name = spec.attributes["reduction"], x.dtype.name
    combine: Program | str = "set"
    if reduction in _COMBINE:
        if name in _NARROW and reduction in ("add", "multiply"):
            return Rejection(Reason.DTYPE, f"it does not accumulate {name} in float32")
        found = recipe(_COMBINE[reduction], (name, name), None)
        if found is None:
            return Rejection(Reason.DTYPE, f"there is no recipe to {reduction} {name}")
        combine = found
    else:
        name = word(x.dtype)
    copy, _ = _into_part(x, out, (0,) * len(out.shape))
    if not indices.size:
        return prepared(copy, 1)
    axis = spec.attributes["axis"]
    plan = indexed.plan(out.shape, out.strides, axis, indices.shape, indices.strides, updates.strides)
    kind = indexed.variant(name, indices.dtype.name, spec.attributes["mode"], combine, plan)
    code = bind(_indexed(kind), indexed.ENTRY, plan.parameters())

    def launch(outs: Sequence[Array], ins: Sequence[Array], workspace: Array | None, queue: Any) -> None:
        to = outs[0].ptr
        invoke(copy.entry, copy.params, ins[0].ptr, to)
        invoke(code.entry, code.params, to, ins[1].ptr, ins[2].ptr)

    return Prepared(launch)


def _kernel(op: str, prepare: Prepare, accepts: Accepts, cost: CostTerms) -> Kernel:
    return Kernel(op, op, "cpu", prepare, accepts, CANONICAL, cost)


KERNELS: Final = (
    _kernel("concat", _concat, Accepts(dtypes=(WORDS,)), costs.CONCAT),
    _kernel("pad", _pad, Accepts(dtypes=(WORDS,)), costs.PAD),
    _kernel("gather", _gather, Accepts(dtypes=(WORDS, _INDICES)), costs.GATHER),
    _kernel("scatter", _scatter, Accepts(dtypes=(WORDS, _INDICES, WORDS), layout=Layout.CONTIGUOUS), costs.SCATTER),
)
