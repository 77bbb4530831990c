"""Collectives over the memory of all ranks, where every rank is the host: one pass, in pieces that stay in a cache."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
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
)
from .rows import NARROW, Host

#: Bytes of the pieces of all operands, scratch and results together: they stay in a core's second-level cache.
_AT_ONCE: Final = 1 << 20
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
        self.slots = max(count - 1 - others, 0) + (count + 1) * self.wide
        self.workspace = self.slots * self.piece * self.dtype.itemsize
        #: What fits into one piece is combined in the shape that it has.
        self.whole = not (self.slots or self.blocked or self.scatters)
        self.whole &= spec.outputs[0].size <= self.piece

    def launch(self, outs: Any, ins: Any, workspace: Any, queue: Any) -> None:
        """Do it."""
        if self.whole:
            with np.errstate(all="ignore"):  # special values are results
                self.fold_piece([x.host for x in ins], [y.host for y in outs], [])
            return
        scratch = _NOTHING if workspace is None else workspace.host.view(self.dtype).reshape(self.slots, self.piece)
        if self.blocked:
            rows = [row.reshape(-1) for x in ins for row in x.host]  # a rank may bring none
        else:
            rows = [x.host.reshape(-1) for x in ins]
        places = [y.host.reshape(-1) for y in outs]
        with np.errstate(all="ignore"):
            if not self.scatters:
                self.fold(rows, places, scratch)
                return
            start = 0
            for y in places:
                self.fold([row[start : start + y.size] for row in rows], [y], scratch)
                start += y.size

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


def _all_gather(outs: Sequence[Array], ins: Sequence[Array]) -> None:
    for y in outs:
        start = 0
        for x in ins:
            y.host[start : start + x.shape[0]] = x.host
            start += x.shape[0]


def _broadcast(root: int, outs: Sequence[Array], ins: Sequence[Array]) -> None:
    for y in outs:
        y.host[...] = ins[root].host


def _permute(pairs: Iterable[tuple[int, int]], outs: Sequence[Array], ins: Sequence[Array]) -> None:
    source = {b: a for a, b in pairs}
    for rank, y in enumerate(outs):
        y.host[...] = ins[source[rank]].host if rank in source else 0


def _reduction(spec: CallSpec) -> Prepared:
    made = _Reduction(spec)
    return Prepared(made.launch, workspace=made.workspace)


def _movement(bind: Callable[[CallSpec], Callable[..., None]]) -> Callable[[CallSpec], Prepared]:
    def prepare(spec: CallSpec) -> Prepared:
        move = bind(spec)

        def launch(outs: Any, ins: Any, workspace: Any, queue: Any) -> None:
            move(outs, ins)

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
