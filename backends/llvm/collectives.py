"""Collectives over the memory of all ranks, where every rank is the host: native calls, one for each thread's share."""

from __future__ import annotations

import functools
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import accumulate, pairwise
from typing import Any, Final

import numpy as np

from ...plugin import (
    ARITHMETIC,
    CANONICAL,
    Accepts,
    Array,
    CallSpec,
    CostTerms,
    Kernel,
    Launch,
    Layout,
    Prepared,
    Reason,
    Rejection,
    dtypes,
    programs,
    recipe,
    run_all,
    thread_count,
)
from . import costs
from .collective_code import ENTRY, PLACE, STRETCH, Variant, movement_code, reduction_code
from .invoke import Invoke, invoker
from .jit import Module, compile_ir
from .launching import BoundCode, bind
from .lower import OPTIONS
from .target import host_target

#: Bytes that a thread reads and writes at least: waking one takes tens of microseconds, a part of what these take.
_SHARE: Final = 3 << 19
#: Bytes of a native call where threads share them, and such calls of a thread: who is late leaves more to the others.
_TURN: Final = 1 << 20
_MOST_TURNS: Final = 8
#: Elements, and bytes of a movement, to which shares are rounded: no two threads write to one line of a cache.
_GRAIN: Final = 64
#: Bytes in a first-level cache that are moved within a microsecond.
_BRIEF: Final = 1 << 14
#: More contributions than this make long code, and no longer fit into registers.
_MOST_TERMS: Final = 16

_NUMBERS: Final = {
    "sum": "add", "prod": "multiply", "min": "minimum", "max": "maximum", "and": "bitwise_and", "or": "bitwise_or",
}  # fmt: skip
_TRUTHS: Final = {
    "sum": "bitwise_or", "prod": "bitwise_and", "min": "bitwise_and", "max": "bitwise_or", "and": "bitwise_and",
    "or": "bitwise_or",
}  # fmt: skip


@functools.lru_cache(maxsize=1024)
def _reduction_module(variant: Variant) -> Module:
    return compile_ir(reduction_code(variant, host_target()), (ENTRY,), OPTIONS)


@functools.cache
def _movement_module(streams: bool) -> Module:
    return compile_ir(movement_code(streams, host_target()), (ENTRY,), OPTIONS)


def _nbytes(spec: CallSpec) -> int:
    return sum(s.nbytes for s in (*spec.arrays, *spec.outputs))


def _threads(nbytes: int) -> int:
    """How many threads share a call that reads and writes so much."""
    return max(1, min(thread_count(), nbytes // _SHARE))


def _turns(nbytes: int, threads: int) -> int:
    """How many native calls so much is cut into: as many for each thread."""
    return threads if threads == 1 else threads * max(1, min(nbytes // (threads * _TURN), _MOST_TURNS))


def _streams(spec: CallSpec, nbytes: int, threads: int) -> bool:
    """Whether results are written past the caches: the threads' second-level ones hold less than half of the call.

    Measured at 1 to 64 MiB on 2 and 4 ranks, two threads of a Xeon with 2 MiB each: below, plain stores take as long or
    less; above, up to twice as long.
    """
    return nbytes > 2 * threads * host_target().caches.l2 and all(s.aligned for s in spec.outputs)


def _shares(sizes: Sequence[int], count: int) -> list[list[tuple[int, int]]]:
    """For each share the range of each vector that it takes: of all elements about as many as the others."""
    ends = [0, *accumulate(sizes)]
    cuts = [ends[-1] * k // count for k in range(count + 1)]
    return [[(_within(low, a, b), _within(high, a, b)) for a, b in pairwise(ends)] for low, high in pairwise(cuts)]


def _within(cut: int, start: int, stop: int) -> int:
    """A cut through all vectors as a place in that of [start, stop): its end, or where a line of a result begins."""
    at = min(max(cut - start, 0), stop - start)
    return at if at == stop - start else at // _GRAIN * _GRAIN


def _reduce(spec: CallSpec) -> Prepared | Rejection:
    name, reduction = spec.arrays[0].dtype.name, spec.attributes["reduction"]
    narrow = name in programs.STORAGE_FLOATS and reduction in ("sum", "prod")
    accumulator = dtypes.float32.name if narrow else name
    combine = recipe((_TRUTHS if name == "bool" else _NUMBERS)[reduction], (accumulator, accumulator))
    if combine is None:
        return Rejection(Reason.DTYPE, f"there is no recipe for the {reduction} of {name}")
    blocked, scatters = bool(spec.attributes["blocked"]), spec.op == "reduce_scatter"
    blocks = tuple(s.shape[0] if blocked else 1 for s in spec.arrays)
    if sum(blocks) > _MOST_TERMS:
        return Rejection(Reason.SIZE, f"{sum(blocks)} contributions; it combines at most {_MOST_TERMS}")
    nbytes = _nbytes(spec)
    threads = _threads(nbytes)
    module = _reduction_module(Variant(combine, name, blocks, scatters, _streams(spec, nbytes, threads)))
    sizes = [s.size for s in spec.outputs] if scatters else [spec.outputs[0].size]
    origins = [0, *accumulate(sizes)]
    words = [
        [w for origin, (a, b) in zip(origins, share, strict=False) for w in (origin, origin + a, origin + b)]
        if scatters
        else [sizes[0], *share[0]]
        for share in _shares(sizes, _turns(nbytes, threads))
    ]
    return _prepared(spec, module, words, threads)


#: A stretch of a rank's operand and all its places: source rank, or -1 for zeros; how much, in bytes; for each place
#: the target rank and the offset in its result.
Copies = tuple[int, int, list[tuple[int, int]]]


def _all_gather(spec: CallSpec) -> Iterator[Copies]:
    start = 0
    for rank, s in enumerate(spec.arrays):
        yield rank, s.nbytes, [(to, start) for to in range(len(spec.outputs))]
        start += s.nbytes


def _broadcast(spec: CallSpec) -> Iterator[Copies]:
    yield spec.attributes["root"], spec.outputs[0].nbytes, [(to, 0) for to in range(len(spec.outputs))]


def _permute(spec: CallSpec) -> Iterator[Copies]:
    source = {b: a for a, b in spec.attributes["pairs"]}
    return ((source.get(to, -1), s.nbytes, [(to, 0)]) for to, s in enumerate(spec.outputs))


def _table(rows: Sequence[Copies], share: Sequence[tuple[int, int]], ranks: int) -> list[int]:
    """The parameters of one thread's share of a movement."""
    taken = [(row, a, b) for row, (a, b) in zip(rows, share, strict=True) if a < b]
    words, places = [len(taken)], 1 + STRETCH * len(taken)
    for (source, _, targets), a, b in taken:
        words += [source, a, b - a, places, len(targets)]
        places += PLACE * len(targets)
    return words + [w for (_, _, targets), a, _ in taken for to, at in targets for w in (ranks + to, at + a)]


def _movement(copies: Callable[[CallSpec], Iterable[Copies]]) -> Callable[[CallSpec], Prepared | Rejection]:
    def prepare(spec: CallSpec) -> Prepared | Rejection:
        rows = list(copies(spec))
        written = sum(nbytes * len(targets) for _, nbytes, targets in rows)
        nbytes = written + sum(nbytes for source, nbytes, _ in rows if source >= 0)
        threads = _threads(nbytes)
        shares = _shares([nbytes for _, nbytes, _ in rows], _turns(nbytes, threads))
        module = _movement_module(_streams(spec, nbytes, threads))
        return _prepared(spec, module, [_table(rows, share, len(spec.arrays)) for share in shares], threads)

    return prepare


def _prepared(spec: CallSpec, module: Module, shares: Sequence[Sequence[int]], threads: int) -> Prepared:
    """One native call for the parameters of each share."""
    codes = [bind(module, ENTRY, np.array(words, np.int64)) for words in shares]
    if len(codes) > 1:
        return Prepared(_launch_shares(invoker(), codes, threads))
    (code,) = codes
    make = _launch_pair if len(spec.arrays) == 2 else _launch
    invoke = invoker(brief=True) if _nbytes(spec) <= _BRIEF else invoker()
    return Prepared(make(invoke, code), native=code.native())


def _launch_shares(invoke: Invoke, codes: Sequence[BoundCode], threads: int) -> Launch:
    def launch(outs: Sequence[Array], ins: Sequence[Array], workspace: Array | None, queue: Any) -> None:
        pointers = [x.ptr for x in (*ins, *outs)]
        left = deque(codes)

        def work(take: Callable[[], BoundCode]) -> None:
            while left:
                try:
                    code = take()
                except IndexError:  # another thread took the last one
                    return
                invoke(code.entry, code.params, *pointers)

        # From both ends, so that a repeated call finds most of what a core works on in that core's cache.
        run_all([functools.partial(work, left.popleft), *[functools.partial(work, left.pop)] * (threads - 1)])

    return launch


# The default argument keeps the code alive; lists of addresses cost a pair of ranks as much as all the rest.
def _launch_pair(invoke: Invoke, code: BoundCode) -> Launch:
    entry, params = code.entry, code.params

    def launch(outs: Sequence[Array], ins: Sequence[Array], workspace: Array | None, queue: Any, _: Any = code) -> None:
        invoke(entry, params, ins[0].ptr, ins[1].ptr, outs[0].ptr, outs[1].ptr)

    return launch


def _launch(invoke: Invoke, code: BoundCode) -> Launch:
    entry, params = code.entry, code.params

    def launch(outs: Sequence[Array], ins: Sequence[Array], workspace: Array | None, queue: Any, _: Any = code) -> None:
        invoke(entry, params, *[x.ptr for x in ins], *[y.ptr for y in outs])

    return launch


_WORDS: Final = Accepts(layout=Layout.CONTIGUOUS)
_NUMBERS_DENSE: Final = Accepts(dtypes=(ARITHMETIC,), layout=Layout.CONTIGUOUS)


def _kernel(op: str, prepare: Callable[[CallSpec], Prepared | Rejection], accepts: Accepts, cost: CostTerms) -> Kernel:
    return Kernel(f"{op}.fused", op, "cpu", prepare, accepts, CANONICAL, cost)


KERNELS: Final = (
    _kernel("all_reduce", _reduce, _NUMBERS_DENSE, costs.MOVE),
    _kernel("reduce_scatter", _reduce, _NUMBERS_DENSE, costs.MOVE),
    _kernel("all_gather", _movement(_all_gather), _WORDS, costs.MOVE),
    _kernel("broadcast", _movement(_broadcast), _WORDS, costs.MOVE),
    _kernel("permute", _movement(_permute), _WORDS, costs.MOVE),
)
