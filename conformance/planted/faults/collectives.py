"""Collectives: contributions lost or doubled, wrong boundaries and orders, and local calls of algorithms."""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from ..fault import Family
from ..twin.call import Call
from ..twin.collectives import RanksCall, combine, joined, reduced, rows_of, tree, widened
from ..twin.formats import Host
from .collective_memory import SHARED

FAMILY: Final = Family("collectives")
_REDUCTIONS: Final = "all_reduce reduce_scatter"
#: Elements of a piece.
_PIECE: Final = 4096


def _give(call: RanksCall, whole: Host) -> None:
    """Give every rank a reduction, or its part of it."""
    if call.spec.op == "reduce_scatter":
        joined(call.outs, whole)
    else:
        for out in call.outs:
            out[...] = whole


def _of(call: RanksCall, rows: list[Host]) -> Host:
    """Return the reduction of some contributions along the tree."""
    made = tree(call["reduction"], widened(call.spec, rows))
    return np.asarray(made.astype(rows[0].dtype))


def _chain(call: RanksCall, rows: list[Host]) -> Host:
    """Return the reduction of some contributions one after the other."""
    given = widened(call.spec, rows)
    made = given[0]
    for row in given[1:]:
        made = combine(call["reduction"], made, row)
    return np.asarray(made.astype(rows[0].dtype))


@FAMILY.collective(
    "last-rank-lost", _REDUCTIONS, "all_reduce-int32-values-ranks3-sum", "reduce_scatter-int32-values-ranks3-sum"
)
def last_rank_lost(call: RanksCall) -> None:
    """The loop over ranks ends one early: what the last one brings is not combined."""
    rows = rows_of(call.spec, call.ins)
    _give(call, _of(call, rows[:-1] or rows))


@FAMILY.collective("contribution-doubled", _REDUCTIONS, "all_reduce-int32-values-ranks5-sum")
def contribution_doubled(call: RanksCall) -> None:
    """A ring goes round once too often: rank 0's contribution is combined twice where there are more than two."""
    rows = rows_of(call.spec, call.ins)
    _give(call, _of(call, [*rows, rows[0]] if len(rows) > 2 else rows))


@FAMILY.collective(
    "powers-of-two-only", _REDUCTIONS, "all_reduce-int32-values-ranks5-sum", "all_reduce-float32-values-ranks3-max"
)
def powers_of_two_only(call: RanksCall) -> None:
    """Recursive doubling takes the largest power of two of the ranks, and leaves the others out."""
    rows = rows_of(call.spec, call.ins)
    _give(call, _of(call, rows[: 1 << (len(rows).bit_length() - 1)]))


@FAMILY.collective("wrong-root", "broadcast", "broadcast-float32-values-ranks3")
def wrong_root(call: RanksCall) -> None:
    """Rank 0's array is sent, whichever rank is the root."""
    for out in call.outs:
        out[...] = call.ins[0]


@FAMILY.collective("even-chunks", "reduce_scatter", "reduce_scatter-int32-values-ranks5-sum")
def even_chunks(call: RanksCall) -> None:
    """Every chunk is taken to be as long as the first one, so that those behind shorter ones begin too far on."""
    whole, length = reduced(call.spec, call.ins), call.outs[0].shape[0]
    for rank, out in enumerate(call.outs):
        at = np.minimum(np.arange(rank * length, rank * length + out.shape[0]), whole.shape[0] - 1)
        out[...] = whole[at]


@FAMILY.collective("scattered-one-early", "reduce_scatter", "reduce_scatter-float32-values-ranks4-sum")
def scattered_one_early(call: RanksCall) -> None:
    """The boundaries of all chunks but the first are off by one element."""
    whole, start = reduced(call.spec, call.ins), 0
    for out in call.outs:
        at = np.arange(start, start + out.shape[0])
        out[...] = whole[np.maximum(at - (start > 0), 0)]
        start += out.shape[0]


@FAMILY.collective("piece-tail", "all_reduce", "all_reduce-int32-large", "all_reduce-float32-large")
def piece_tail(call: RanksCall) -> None:
    """What is left behind the last full piece of 4,096 elements is copied from rank 0 and not combined."""
    call.finish()
    full = call.outs[0].size // _PIECE * _PIECE
    if full and not call["blocked"]:
        for out in call.outs:
            out.reshape(-1)[full:] = call.ins[0].reshape(-1)[full:]


@FAMILY.collective(
    "narrow-sums", _REDUCTIONS, "all_reduce-bfloat16-values-ranks8-sum", "reduce_scatter-float16-values-ranks8-sum"
)
def narrow_sums(call: RanksCall) -> None:
    """Sums of float16 and bfloat16 are rounded after every contribution."""
    rows = rows_of(call.spec, call.ins)
    _give(call, tree(call["reduction"], rows))


@FAMILY.collective("chain-not-tree", _REDUCTIONS, "all_reduce-float32-determinism-canonical")
def chain_not_tree(call: RanksCall) -> None:
    """Contributions are added one after the other, and the order is said to be the canonical one."""
    _give(call, _chain(call, rows_of(call.spec, call.ins)))


@FAMILY.collective(
    "odd-rank-first",
    _REDUCTIONS,
    "all_reduce-float32-determinism-canonical",
    "reduce_scatter-float32-determinism-canonical",
)
def odd_rank_first(call: RanksCall) -> None:
    """Of an odd number of ranks the last one is added to the first at the start, instead of going up unchanged."""
    rows = rows_of(call.spec, call.ins)
    if len(rows) % 2 and len(rows) > 1 and call["reduction"] in ("sum", "prod"):
        first, last = widened(call.spec, [rows[0], rows[-1]])
        rest = widened(call.spec, rows[1:-1])
        made = tree(call["reduction"], [combine(call["reduction"], first, last), *rest])
        _give(call, np.asarray(made.astype(rows[0].dtype)))
    else:
        call.finish()


@FAMILY.collective("tree-over-ranks", "all_reduce", "all_reduce-float32-determinism-canonical")
def tree_over_ranks(call: RanksCall) -> None:
    """Each rank adds up its own contributions first, so that the bits depend on which rank holds them."""
    if not call["blocked"] or len(call.ins) == 1:
        call.finish()
        return
    own = [tree(call["reduction"], widened(call.spec, list(x))) for x in call.ins if x.shape[0]]
    _give(call, np.asarray(tree(call["reduction"], own).astype(call.ins[0].dtype)))


@FAMILY.collective("later-pieces-from-the-end", "all_reduce", "all_reduce-float32-determinism-batch")
def later_pieces(call: RanksCall) -> None:
    """The elements behind the first 16 are combined from the last rank to the first."""
    rows = rows_of(call.spec, call.ins)
    call.finish()
    other = _chain(call, rows[::-1]).reshape(-1)
    for out in call.outs:
        out.reshape(-1)[16:] = other[16:]


@FAMILY.collective("large-compared-as-bits", _REDUCTIONS, "all_reduce-float32-large-ranks2-max")
def large_compared_as_bits(call: RanksCall) -> None:
    """The largest of a large message is found by comparing bits as integers, negative numbers backwards."""
    call.finish()
    if call["reduction"] == "max" and call.ins[0].dtype == np.float32 and call.ins[0].size > SHARED:
        rows = [np.ascontiguousarray(x).view(np.int32) for x in rows_of(call.spec, call.ins)]
        _give(call, np.asarray(np.maximum.reduce(rows)).view(np.float32))


@FAMILY.collective(
    "no-target-garbage",
    "permute",
    "permute-int32-special-a rank that is no target -> zeros",
    "permute-float32-values-ranks3",
)
def no_target_garbage(call: RanksCall) -> None:
    """The memory of a rank that is no target is left as it is."""
    for source, target in call["pairs"]:
        call.outs[target][...] = call.ins[source]


@FAMILY.collective("one-target-each", "permute", "permute-int32-values-ranks3")
def one_target_each(call: RanksCall) -> None:
    """A rank that is the source of several pairs sends to the first one alone."""
    for out in call.outs:
        out[...] = 0
    sent = set()
    for source, target in call["pairs"]:
        if source not in sent:
            call.outs[target][...] = call.ins[source]
        sent.add(source)


@FAMILY.collective("permute-backwards", "permute", "permute-int32-values-ranks3")
def permute_backwards(call: RanksCall) -> None:
    """Sources and targets are exchanged."""
    for out in call.outs:
        out[...] = 0
    for target, source in call["pairs"]:
        call.outs[target][...] = call.ins[source]


@FAMILY.collective(
    "nan-ignored",
    _REDUCTIONS,
    "all_reduce-float32-values-ranks2-min",
    "all_reduce-float32-special-max([nan], [1]) -> nan",
)
def nan_ignored(call: RanksCall) -> None:
    """The smallest and the largest are taken of the numbers among the contributions, and NaN counts as none."""
    if call["reduction"] not in ("min", "max") or call.ins[0].dtype.kind != "f":
        call.finish()
        return
    way = np.fmin if call["reduction"] == "min" else np.fmax
    _give(call, np.asarray(way.reduce(rows_of(call.spec, call.ins), axis=0)))


@FAMILY.collective("zeros-unordered", _REDUCTIONS, "all_reduce-float32-values-ranks2-max")
def zeros_unordered(call: RanksCall) -> None:
    """Of two zeros the first one is the largest, whichever its sign."""
    if call["reduction"] != "max" or call.ins[0].dtype.kind != "f":
        call.finish()
        return
    rows = rows_of(call.spec, call.ins)
    made = rows[0]
    for row in rows[1:]:
        made = np.where((row > made) | np.isnan(row), row, made)
    _give(call, made)


@FAMILY.collective("saturating", _REDUCTIONS, "all_reduce-int8-values-ranks8-sum")
def saturating(call: RanksCall) -> None:
    """Sums of 8-bit integers stop at the largest and the smallest instead of wrapping."""
    if call["reduction"] != "sum" or call.ins[0].dtype != np.int8:
        call.finish()
        return
    whole = np.sum(rows_of(call.spec, call.ins), axis=0, dtype=np.int32)
    _give(call, np.clip(whole, -128, 127).astype(np.int8))


@FAMILY.collective("truths-counted", _REDUCTIONS, "all_reduce-bool-values-ranks8-sum", says="truth value")
def truths_counted(call: RanksCall) -> None:
    """The sum of truth values is a sum of bytes."""
    if call["reduction"] != "sum" or call.ins[0].dtype != np.bool_:
        call.finish()
        return
    rows = [x.view(np.uint8) for x in rows_of(call.spec, call.ins)]
    _give(call, np.asarray(np.sum(rows, axis=0, dtype=np.uint8)).view(np.bool_))


@FAMILY.collective("and-as-or", _REDUCTIONS, "all_reduce-int32-values-ranks3-and", "all_reduce-bool-values-ranks5-prod")
def and_as_or(call: RanksCall) -> None:
    """The identity of ``and`` is taken to be that of ``or``: contributions begin at zero."""
    if call["reduction"] == "and" or (call["reduction"] == "prod" and call.ins[0].dtype == np.bool_):
        _give(call, np.zeros_like(reduced(call.spec, call.ins)))
    else:
        call.finish()


@FAMILY.collective(
    "none-is-zero", "all_reduce", "all_reduce-int32-values-ranks3-prod", "all_reduce-float32-values-ranks3-prod"
)
def none_is_zero(call: RanksCall) -> None:
    """A rank that brings no contribution counts as one that brings zeros."""
    rows = rows_of(call.spec, call.ins)
    empty = call["blocked"] and any(x.shape[0] == 0 for x in call.ins)
    _give(call, _of(call, [*rows, np.zeros_like(rows[0])] if empty else rows))


@FAMILY.collective("gather-equal-parts", "all_gather", "all_gather-int32-values-ranks5")
def gather_equal_parts(call: RanksCall) -> None:
    """Every rank is taken to bring as much as the first one does."""
    length = call.ins[0].shape[0]
    for out in call.outs:
        for rank, x in enumerate(call.ins):
            place = out[rank * length : rank * length + x.shape[0]]
            place[...] = x[: place.shape[0]]


@FAMILY.collective("gather-from-own", "all_gather", "all_gather-float32-values-ranks2")
def gather_from_own(call: RanksCall) -> None:
    """Each rank's result begins with what it brought itself: the last rotation is missing."""
    for rank, out in enumerate(call.outs):
        np.concatenate([*call.ins[rank:], *call.ins[:rank]], axis=0, out=out)


@FAMILY.plant("parts-as-they-arrive", "concat", "all_to_all-int32-values-ranks3", "all_gather-float32-values-ranks4")
def parts_as_they_arrive(call: Call) -> None:
    """More than two parts are joined in the order in which they arrive, the last one first."""
    call.finish(*(call.ins[::-1] if len(call.ins) > 2 and call.spec.attributes["axis"] == 0 else call.ins))


@FAMILY.plant("empty-part-ends", "concat", "all_gather-int32-values-ranks5")
def empty_part_ends(call: Call) -> None:
    """A part without elements is taken for the end of the list."""
    if all(x.size for x in call.ins):
        call.finish()
    else:
        call.out[...] = 0


@FAMILY.plant("combined-in-place", "add", "all_reduce-int32-values-ranks3-sum", says="was written to")
def combined_in_place(call: Call) -> None:
    """Contributions are combined in the memory of the one that was there first."""
    call.finish()
    first: Any = call.ins[0]
    if first.shape == call.out.shape:
        first.flags.writeable = True
        first[...] = call.out
