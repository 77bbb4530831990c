"""Collectives over the memory of all ranks, where every rank is the host: one pass, in pieces that stay in a cache."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from itertools import accumulate
from typing import Any, Final

import numpy as np

from ...plugin import (
    Accepts,
    Array,
    CallSpec,
    Combine,
    CostTerms,
    Determinism,
    Kernel,
    Layout,
    Prepared,
    Promises,
    combine_of,
    dtypes,
    run_all,
    thread_count,
)
from .rows import NARROW, Host

#: Bytes of the pieces of all operands, scratch and results together: they stay in a core's second-level cache.
_AT_ONCE: Final = 1 << 20
#: Bytes that a thread reads and writes at least: waking one takes tens of microseconds, a part of what these take.
_SHARE: Final = 2 << 20
#: Elements to which shares are rounded, so that no two threads write to one line of a cache.
_GRAIN: Final = 64
_CANONICAL: Final = Promises(order="canonical", determinism=Determinism.CANONICAL)
_NOTHING: Final[Sequence[Host]] = ()


def _tree(rows: Sequence[Host], out: Host, scratch: Sequence[Host], combine: Combine, narrow: bool) -> None:
    """Combine vectors by the canonical tree: neighbours first, one without a partner goes up unchanged.

    Args:
        rows: the vectors.
        out: where the result goes.
        scratch: where other values go: two vectors less than *rows*, one more where the result is narrow.
        combine: ``combine(x, y, into)``.
        narrow: whether *out* is narrower than the vectors, and rounded to once.
    """
    level, free = rows, iter(scratch)
    while len(level) > (1 if narrow else 2):
        above = []
        for x, y in zip(level[::2], level[1::2], strict=False):
            into = next(free)
            combine(x, y, into)
            above.append(into)
        level = [*above, *level[len(level) // 2 * 2 :]]
    if len(level) == 2:
        combine(level[0], level[1], out)
    else:
        out[...] = level[0]


def _threads(spec: CallSpec) -> int:
    """Return how many threads share a call."""
    nbytes = sum(s.nbytes for s in (*spec.arrays, *spec.outputs))
    return max(1, min(thread_count(), nbytes // _SHARE))


def _shares(sizes: Sequence[int], threads: int) -> list[list[tuple[int, int, int]]]:
    """Cut vectors of so many elements into one share per thread, of parts (vector, from, to)."""
    grain = -(-sum(sizes) // (threads * _GRAIN)) * _GRAIN
    parts = [(i, a, min(a + grain, n)) for i, n in enumerate(sizes) for a in range(0, n, max(grain, 1))]
    return [share for k in range(threads) if (share := parts[k::threads])]


class _Reduction:
    """An all_reduce or reduce_scatter of one signature.

    Args:
        spec: the call.

    Attributes:
        workspace: bytes of scratch memory.
    """

    def __init__(self, spec: CallSpec) -> None:
        first = spec.arrays[0].dtype
        self.wide = first.name in NARROW and spec.attributes["reduction"] in ("sum", "prod")
        accumulator = dtypes.float32 if self.wide else first
        self.combine = combine_of(spec.attributes["reduction"], accumulator)
        self.dtype = accumulator.numpy
        self.blocked = bool(spec.attributes["blocked"])
        self.scatters = spec.op == "reduce_scatter"
        count = sum(s.shape[0] for s in spec.arrays) if self.blocked else len(spec.arrays)
        self.piece = max(_AT_ONCE // (2 * count * self.dtype.itemsize), 1024)
        # Widened contributions, then values of the tree. Other ranks' results are as good a place for the latter.
        others = 0 if self.scatters or self.wide else len(spec.outputs) - 1
        self.slots = 2 * count - 1 if self.wide else max(count - 2 - others, 0)
        self.shares = _shares([s.size for s in (spec.outputs if self.scatters else spec.outputs[:1])], _threads(spec))
        self.starts = [0, *accumulate(s.size for s in spec.outputs)]
        #: Small parts of many vectors are combined in one go, and cut from one more vector.
        self.cuts = self.scatters and not self.wide and count > 2
        self.cuts &= len(self.shares) == 1 and self.starts[-1] <= self.piece
        self.slots += self.cuts
        self.workspace = len(self.shares) * self.slots * self.piece * self.dtype.itemsize
        #: What fits into one piece is combined in the shape that it has.
        self.whole = not (self.slots or self.blocked or self.scatters)
        self.whole &= spec.outputs[0].size <= self.piece and len(self.shares) < 2

    def launch(self, outs: Any, ins: Any, workspace: Any, queue: Any) -> None:
        """Do it."""
        if self.whole:
            with np.errstate(all="ignore"):  # special values are results
                self.fold_piece([x.host for x in ins], [y.host for y in outs], [])
            return
        room = None if workspace is None else workspace.host.view(self.dtype).reshape(-1, self.slots, self.piece)
        if self.blocked:
            rows = [row.reshape(-1) for x in ins for row in x.host]  # a rank may bring none
        else:
            rows = [x.host.reshape(-1) for x in ins]
        places = [y.host.reshape(-1) for y in outs]
        if self.cuts and room is not None:
            *scratch, whole = [s[: self.starts[-1]] for s in room[0]]
            with np.errstate(all="ignore"):
                self.fold_piece(rows, [whole], scratch)
            for y, start in zip(places, self.starts, strict=False):
                y[...] = whole[start : start + y.size]
            return
        if len(self.shares) == 1:
            self.take(self.shares[0], rows, places, _NOTHING if room is None else room[0])
            return
        calls = [
            partial(self.take, share, rows, places, _NOTHING if room is None else room[k])
            for k, share in enumerate(self.shares)
        ]
        run_all(calls)

    def take(
        self, share: list[tuple[int, int, int]], rows: list[Host], places: list[Host], scratch: Sequence[Host]
    ) -> None:
        """Do a thread's share."""
        with np.errstate(all="ignore"):  # special values are results, and each thread has a state of its own
            for i, a, b in share:
                if self.scatters:
                    start = self.starts[i]
                    self.fold([row[start + a : start + b] for row in rows], [places[i][a:b]], scratch)
                else:
                    self.fold([row[a:b] for row in rows], [y[a:b] for y in places], scratch)

    def fold(self, rows: list[Host], places: list[Host], scratch: Sequence[Host]) -> None:
        """Combine vectors piece by piece; every place gets the result."""
        size, piece = places[0].size, self.piece
        if size <= piece:
            self.fold_piece(rows, places, [s[:size] for s in scratch])
            return
        for a in range(0, size, piece):
            b = min(a + piece, size)
            self.fold_piece([r[a:b] for r in rows], [y[a:b] for y in places], [s[: b - a] for s in scratch])

    def fold_piece(self, rows: list[Host], places: list[Host], scratch: list[Host]) -> None:
        """Combine vectors that fit into scratch memory."""
        if self.wide:
            for row, into in zip(rows, scratch, strict=False):
                into[...] = row
            count = len(rows)
            _tree(scratch[:count], places[0], scratch[count:], self.combine, narrow=True)
        else:
            _tree(rows, places[0], [*places[1:], *scratch], self.combine, narrow=False)
        for other in places[1:]:
            other[...] = places[0]


#: A vector, and all the places that it is copied to.
Copies = list[tuple[Host, list[Host]]]


def _copy(copies: Copies, threads: int) -> None:
    """Copy vectors, piece by piece where there are many places: a piece is read from memory once."""
    if threads == 1 and sum(x.nbytes for x, _ in copies) <= _AT_ONCE:
        for x, places in copies:
            for y in places:
                y[...] = x
        return

    def take(share: list[tuple[int, int, int]]) -> None:
        for i, a, b in share:
            x, places = copies[i]
            step = max(_AT_ONCE // (4 * x.itemsize), 1) if len(places) > 1 else b - a
            for c in range(a, b, step):
                piece = x[c : min(c + step, b)]
                for y in places:
                    y[c : c + piece.size] = piece

    run_all([partial(take, share) for share in _shares([x.size for x, _ in copies], threads)])


def _all_gather(outs: Sequence[Array], ins: Sequence[Array]) -> Copies:
    places = [y.host.reshape(-1) for y in outs]
    copies, start = [], 0
    for x in ins:
        row = x.host.reshape(-1)
        copies.append((row, [y[start : start + row.size] for y in places]))
        start += row.size
    return copies


def _broadcast(root: int, outs: Sequence[Array], ins: Sequence[Array]) -> Copies:
    x = ins[root]
    return [(x.host.reshape(-1), [y.host.reshape(-1) for y in outs if y.ptr != x.ptr])]


def _permute(pairs: Iterable[tuple[int, int]], outs: Sequence[Array], ins: Sequence[Array]) -> Copies:
    source = {b: a for a, b in pairs}
    for rank, y in enumerate(outs):
        if rank not in source:
            y.host[...] = 0
    return [(ins[source[r]].host.reshape(-1), [y.host.reshape(-1)]) for r, y in enumerate(outs) if r in source]


def _reduction(spec: CallSpec) -> Prepared:
    made = _Reduction(spec)
    return Prepared(made.launch, workspace=made.workspace)


def _movement(bind: Callable[[CallSpec], Callable[..., Copies]]) -> Callable[[CallSpec], Prepared]:
    def prepare(spec: CallSpec) -> Prepared:
        move, threads = bind(spec), _threads(spec)

        def launch(outs: Any, ins: Any, workspace: Any, queue: Any) -> None:
            _copy(move(outs, ins), threads)

        return Prepared(launch)

    return prepare


def _kernel(op: str, prepare: Callable[[CallSpec], Prepared]) -> Kernel:
    return Kernel(
        f"{op}.fused", op, "cpu", prepare, Accepts(layout=Layout.CONTIGUOUS), _CANONICAL, CostTerms(launch=3e-6)
    )  # fmt: skip


KERNELS: Final = (
    _kernel("all_reduce", _reduction),
    _kernel("reduce_scatter", _reduction),
    _kernel("all_gather", _movement(lambda spec: _all_gather)),
    _kernel("broadcast", _movement(lambda spec: lambda outs, ins: _broadcast(spec.attributes["root"], outs, ins))),
    _kernel("permute", _movement(lambda spec: lambda outs, ins: _permute(spec.attributes["pairs"], outs, ins))),
)
