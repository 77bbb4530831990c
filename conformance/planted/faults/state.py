"""What a backend keeps between calls, and should not: code, attributes, results, memory."""

from __future__ import annotations

import ctypes
from typing import Any, Final

import numpy as np

from ....plugin import CallSpec, Prepared
from ..fault import Family
from ..twin.backend import Twin
from ..twin.call import Call

FAMILY: Final = Family("state")


@FAMILY.plant("code-of-another-length", "exp", "exp-float32-shapes-lengths")
def code_of_another_length(call: Call) -> None:
    """Code compiled for the first length is used for longer ones."""
    first = call.memory.setdefault("length", call.out.size)
    call.finish()
    call.out.reshape(-1)[first:] = 0


@FAMILY.plant("code-of-another-row", "add", "add-float32-values-interleaved")
def code_of_another_row(call: Call) -> None:
    """The length of a row is compiled in, and code is kept by rank."""
    call.finish()
    if call.out.ndim == 2 and call.out.size:
        first = call.memory.setdefault("row", call.out.shape[1])
        call.out[:, first:] = 0


@FAMILY.plant("strides-of-the-first-call", "negative", "negative-float32-strides-interleaved")
def strides_of_first(call: Call) -> None:
    """Strides are compiled in, and code is kept by shape: column-major operands run through row-major code."""
    x = call.ins[0]
    if x.ndim == 2 and x.size > 1 and min(x.strides) > 0:
        first = call.memory.setdefault(x.shape, x.strides)
        fits = sum(s * (n - 1) for s, n in zip(first, x.shape, strict=True))
        if fits <= sum(s * (n - 1) for s, n in zip(x.strides, x.shape, strict=True)):
            x = np.lib.stride_tricks.as_strided(x, x.shape, first)
    call.finish(x)


@FAMILY.backend("first-axis-kept", "sum max", "sum-float32-values-interleaved", "max-float32-values-interleaved")
def first_axis() -> Twin:
    """Code is kept by shape and dtype, and the axes of its first call are compiled in."""

    def kept(op: str) -> Any:
        def compute(call: Call) -> None:
            key = (call.ins[0].shape, call.ins[0].dtype.name, call.out.shape)
            axes = call.memory.setdefault(key, call["axis"])
            spec = call.spec
            if axes != call["axis"] and len(axes) == len(call["axis"]):
                spec = CallSpec(spec.op, spec.inputs, spec.outputs, {**spec.attributes, "axis": axes}, spec.contract)
            call.right(spec, call.out, *call.ins)

        return compute

    return Twin().with_ware("sum", faulty=kept("sum")).with_ware("max", faulty=kept("max"))


@FAMILY.plant("first-mode-kept", "gather", "gather-float32-values-interleaved")
def first_mode(call: Call) -> None:
    """Code is kept by shapes, and how indices outside are treated is compiled in."""
    key = (call.ins[0].shape, call.ins[1].shape, call["axis"])
    mode = call.memory.setdefault(key, call["mode"])
    spec = call.spec
    given = CallSpec(spec.op, spec.inputs, spec.outputs, {**spec.attributes, "mode": mode}, spec.contract)
    call.right(given, call.out, *call.ins)


@FAMILY.plant("first-direction-kept", "argsort", "argsort-float32-values-interleaved")
def first_direction(call: Call) -> None:
    """Code of a sort is kept by shape, and its direction is compiled in."""
    down = call.memory.setdefault((call.ins[0].shape, call["axis"]), call["descending"])
    spec = call.spec
    given = CallSpec(spec.op, spec.inputs, spec.outputs, {**spec.attributes, "descending": down}, spec.contract)
    call.right(given, call.out, *call.ins)


@FAMILY.plant("result-kept", "multiply", "multiply-float32-values-again")
def result_kept(call: Call) -> None:
    """Results are kept by shapes and not by values: the second call returns the first one's."""
    key = tuple(x.shape for x in call.ins) + tuple(x.strides for x in call.ins)
    if key not in call.memory:
        call.memory[key] = call.result()
    call.out[...] = call.memory[key]


@FAMILY.plant("result-kept-by-address", "sqrt", "sqrt-float32-values-again")
def kept_by_address(call: Call) -> None:
    """Results are kept by the address of the operand, whose memory holds other values later."""
    x = call.ins[0]
    key = (x.__array_interface__["data"][0], x.shape, x.strides, x.dtype.name)
    if key not in call.memory:
        call.memory[key] = call.result()
    call.out[...] = call.memory[key]


@FAMILY.plant("number-compiled-in", "add", "add-float32-values-interleaved")
def number_compiled_in(call: Call) -> None:
    """An operand without axes is taken for a constant, and the first one is compiled in."""
    x, y = call.ins
    if y.size > 1 and not any(y.strides):
        first = call.memory.setdefault(x.shape, y.reshape(-1)[0])
        y = np.full(y.shape, first, y.dtype)
    call.finish(x, y)


@FAMILY.plant("padding-compiled-in", "pad", "pad-float32-values-again", "pad-int32-values-again")
def padding_compiled_in(call: Call) -> None:
    """The value of the first padding is compiled in."""
    x, value = call.ins
    call.finish(x, call.memory.setdefault(x.dtype.name, value.copy()))


@FAMILY.plant("constant-compiled-in", "full", "full-float32-values-interleaved")
def constant_compiled_in(call: Call) -> None:
    """The first constant is compiled in, and code is kept by shape."""
    call.finish(call.memory.setdefault((call.out.shape, call.out.dtype.name), call.ins[0].copy()))


@FAMILY.plant("second-call", "subtract", "subtract-float32-values-again")
def second_call(call: Call) -> None:
    """The second call of a shape runs code that is still being written."""
    count = call.memory[call.out.shape] = call.memory.get(call.out.shape, 0) + 1
    call.finish()
    if count == 2 and call.out.size:
        call.out.reshape(-1)[-1] = 0


@FAMILY.plant("seventeenth-call", "multiply", "multiply-float32-values-again")
def seventeenth_call(call: Call) -> None:
    """A ring of 16 descriptors is never waited for, so the 17th call overwrites the first one's."""
    count = call.memory[call.out.shape] = call.memory.get(call.out.shape, 0) + 1
    call.finish()
    if count % 17 == 0 and call.out.size:
        call.out.reshape(-1)[0] = 1.5


@FAMILY.plant("depends-on-last-call", "max", "max-float32-values-interleaved")
def depends_on_last(call: Call) -> None:
    """The accumulator is not reset where a call has the same number of results as the one before."""
    call.finish()
    before = call.memory.get("last")
    if before is not None and before.shape == call.out.shape and before.dtype == call.out.dtype:
        call.memory["last"] = call.result()
        call.out[...] = np.fmax(call.out, before)
    else:
        call.memory["last"] = call.result()


@FAMILY.plant("dirty-workspace", "sum", "sum-float32-memory-guards", workspace=4096)
def dirty_workspace(call: Call) -> None:
    """Partial sums are added up in a workspace that is taken for zeros."""
    call.finish()
    if call.workspace is not None and call.out.dtype == np.float32 and call.out.size <= 512:
        partial = call.workspace.view(np.float32)[: call.out.size].reshape(call.out.shape)
        call.out[...] = call.out + partial


@FAMILY.plant("workspace-too-small", "cumulative_sum", "cumulative_sum-float32-memory-guards", workspace=64)
def workspace_too_small(call: Call) -> None:
    """A workspace for 16 numbers is asked for, and one more is written behind its end."""
    call.finish()
    if call.workspace is not None:
        address = call.workspace.__array_interface__["data"][0]
        ctypes.memset(address + 64, 0x11, 4)


@FAMILY.plant("writes-behind-the-end", "copy", "copy-float32-memory-guards")
def writes_behind(call: Call) -> None:
    """Whole vectors are stored at the end of a line, beyond the end of the result."""
    call.finish()
    short = -call.out.nbytes % 16
    if short and call.out.size:
        address = call.out.__array_interface__["data"][0] + call.out.nbytes
        ctypes.memset(address, 0, short)


@FAMILY.plant("not-written", "cast", "cast-float32-values-grid-to-int32")
def not_written(call: Call) -> None:
    """Results of which every element is expected to be cleared are left as they were where they are zero."""
    found = call.result()
    np.copyto(call.out, found, where=found != 0)


@FAMILY.backend("prepared-for-the-first", "bitwise_xor", "bitwise_xor-int32-values-interleaved")
def prepared_for_first() -> Twin:
    """What is prepared is kept by op alone, so that every shape runs what the first one was prepared for."""
    kept: dict[str, CallSpec] = {}

    def prepare(spec: CallSpec, plain: Any) -> Prepared:
        first = kept.setdefault(spec.inputs[0].dtype.name if spec.inputs[0] else "", spec)

        def launch(outs: Any, ins: Any, workspace: Any, queue: Any) -> None:
            out, x, y = outs[0].host.reshape(-1), *(v.host.reshape(-1) for v in ins)
            n = max(first.outputs[0].size, 1)
            out[:] = 0
            out[:n] = x[:n] ^ y[:n]

        return Prepared(launch)

    return Twin().with_ware("bitwise_xor", prepare=prepare)


@FAMILY.plant("attribute-read-late", "cumulative_sum", "cumulative_sum-float32-values-interleaved")
def attribute_late(call: Call) -> None:
    """The axis is kept in one place for all calls, and read from the call before."""
    before = call.memory.get("axis", call["axis"])
    call.memory["axis"] = call["axis"]
    call.right(_with_axis(call.spec, before if before < call.out.ndim else call["axis"]), call.out, *call.ins)


def _with_axis(spec: CallSpec, axis: int) -> CallSpec:
    return CallSpec(spec.op, spec.inputs, spec.outputs, {**spec.attributes, "axis": axis}, spec.contract)
