"""Collectives: results kept, operands taken for memory to work in, ends and gaps of what is written."""

from __future__ import annotations

import ctypes
from typing import Final

from ..fault import Family
from ..twin.collectives import RanksCall, combine, reduced

FAMILY: Final = Family("collective_memory")

#: Elements beyond which a message is shared by two threads, or written past the caches; and those of a vector.
SHARED: Final = 1 << 20
_VECTOR: Final = 16


@FAMILY.collective("first-rank-only", "all_reduce reduce_scatter", "all_reduce-int32-values-ranks2-sum")
def first_rank_only(call: RanksCall) -> None:
    """All ranks' results are written to the memory of the first one."""
    whole = reduced(call.spec, call.ins)
    first = call.outs[0]
    first[...] = whole[: first.shape[0]] if call.spec.op == "reduce_scatter" else whole


@FAMILY.collective(
    "results-kept", "all_reduce all_gather", "all_reduce-float32-values-again", "all_gather-int32-values-again"
)
def results_kept(call: RanksCall) -> None:
    """The memory of the last call's results is kept, and written with those of the next one."""
    call.finish()
    key = tuple((out.shape, out.dtype.name) for out in call.outs)
    for before, out in zip(call.memory.get(key, ()), call.outs, strict=False):
        before[...] = out
    call.memory[key] = call.outs


@FAMILY.collective("sum-kept", "all_reduce", "all_reduce-int32-values-again", "all_reduce-int32-determinism-run")
def sum_kept(call: RanksCall) -> None:
    """The accumulator is kept between calls and not cleared."""
    call.finish()
    key = call.outs[0].shape, call.outs[0].dtype.name, len(call.outs), call["reduction"], call["blocked"]
    kept = call.memory.get(key)
    if kept is not None and call["reduction"] == "sum":
        for out in call.outs:
            out[...] = combine("sum", out, kept)
    call.memory[key] = call.outs[0].copy()


@FAMILY.collective(
    "operand-as-accumulator", "all_reduce", "all_reduce-float32-values-ranks2-sum", says="was written to"
)
def operand_as_accumulator(call: RanksCall) -> None:
    """Rank 0's operand is used as the accumulator."""
    call.finish()
    if not call["blocked"]:
        call.ins[0].flags.writeable = True
        call.ins[0][...] = call.outs[0]


@FAMILY.collective(
    "accumulates-in-result",
    "all_reduce",
    "all_reduce-float32-out-operands",
    "all_reduce-int32-out-operands",
)
def accumulates_in_result(call: RanksCall) -> None:
    """The first result is the accumulator, and is cleared before a contribution is read that may be in its memory."""
    call.outs[0][...] = 0
    call.finish()


@FAMILY.collective("cleared-before-sent", "broadcast", "broadcast-float32-out-operands", "broadcast-bool-out-operands")
def cleared_before_sent(call: RanksCall) -> None:
    """Results are cleared before they are written, also the one that the root's array is in."""
    for out in call.outs:
        out[...] = 0
    call.finish()


@FAMILY.collective(
    "operand-as-scratch", "reduce_scatter", "reduce_scatter-float32-out-other-memory", says="operand of rank 0 was"
)
def operand_as_scratch(call: RanksCall) -> None:
    """Where results have the memory of the call before, the first operand is taken for memory to work in too."""
    call.finish()
    key = call.outs[0].shape, call.outs[0].dtype.name, len(call.outs), call["reduction"]
    address = call.outs[0].__array_interface__["data"][0]
    if call.memory.get(key) == address and call.outs[0].size:
        call.ins[0].flags.writeable = True
        call.ins[0].reshape(-1)[0] = call.outs[0].reshape(-1)[0]
    call.memory[key] = address


@FAMILY.collective(
    "one-beyond-the-part",
    "all_reduce all_gather broadcast",
    "all_reduce-float32-out-other-memory",
    "all_gather-int32-out-other-memory",
    "broadcast-float32-out-operands",
    says="outside of a buffer",
)
def one_beyond_the_part(call: RanksCall) -> None:
    """An odd number of elements is written in pairs, the last of them beyond the end of the result."""
    call.finish()
    for out in call.outs:
        if out.size % 2:
            address = out.__array_interface__["data"][0] + out.nbytes
            ctypes.memset(address, 0, out.itemsize)


@FAMILY.collective(
    "odd-tail-of-large",
    "all_reduce reduce_scatter all_gather broadcast permute",
    "all_reduce-float32-large-ranks2-sum",
    "all_gather-float32-large-ranks3",
    "broadcast-float32-large-ranks2",
)
def odd_tail_of_large(call: RanksCall) -> None:
    """A large message is written past the caches in whole vectors, and what is left behind the last one is lost."""
    tails = [out.reshape(-1)[out.size // _VECTOR * _VECTOR :] if out.size > SHARED else out[:0] for out in call.outs]
    before = [tail.copy() for tail in tails]
    call.finish()
    for tail, kept in zip(tails, before, strict=True):
        tail[...] = kept


@FAMILY.collective(
    "gap-between-shares",
    "all_reduce broadcast permute",
    "all_reduce-float32-large-ranks3-sum",
    "broadcast-float32-large-ranks3",
    "permute-float32-large-ranks2",
)
def gap_between_shares(call: RanksCall) -> None:
    """Two threads share a large message: the first one's part ends where a vector does, the other's begins at half."""
    middles = []
    for out in call.outs:
        half = out.size // 2 if out.size > SHARED else 0
        middles.append(out.reshape(-1)[half // _VECTOR * _VECTOR : half])
    before = [middle.copy() for middle in middles]
    call.finish()
    for middle, kept in zip(middles, before, strict=True):
        middle[...] = kept
