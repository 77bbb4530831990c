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
from .rows import NARROW, Host, quiet

#: Elements of a piece: the operands', scratch and results of a few ranks fit into a core's second-level cache.
_PIECE: Final = 1 << 14
_CANONICAL: Final = Promises(order="canonical", determinism=Determinism.CANONICAL)


def _rows(spec: CallSpec, ins: Sequence[Array]) -> list[Host]:
    """Return every contribution as a vector, in the order of their numbers."""
    if not spec.attributes["blocked"]:
        return [x.host.reshape(-1) for x in ins]
    return [row for x in ins for row in x.host.reshape(x.shape[0], -1)]


def _tree(rows: Sequence[Host], out: Host, scratch: Host, combine: Combine) -> None:
    """Combine vectors by the canonical tree: neighbours first, one without a partner goes up unchanged.

    Args:
        rows: the vectors.
        out: where the result goes; it may be narrower than *scratch*, and is rounded to once.
        scratch: one vector less than *rows*, and at least one.
        combine: ``combine(x, y, into)``.
    """
    level, free = list(rows), iter(scratch)
    narrow = out.dtype != scratch.dtype
    while len(level) > (1 if narrow else 2):
        above = []
        for x, y in zip(level[::2], level[1::2], strict=False):
            into = next(free)
            combine(x, y, into)
            above.append(into)
        level = above + level[len(level) // 2 * 2 :]
    if len(level) == 2:
        combine(level[0], level[1], out)
    else:
        out[...] = level[0]


def _fold(spec: CallSpec, rows: Sequence[Host], outs: Callable[[int, int], list[Host]], scratch: Host) -> None:
    """Combine all contributions, piece by piece; ``outs(a, b)`` are the places of elements a to b, all alike."""
    dtype = dtypes.float32 if _widens(spec) else spec.arrays[0].dtype
    combine = combine_of(spec.attributes["reduction"], dtype)
    wide = scratch.dtype != rows[0].dtype
    slots = scratch.reshape(-1, _PIECE)
    total = rows[0].size
    for a in range(0, total, _PIECE):
        b = min(a + _PIECE, total)
        places = outs(a, b)
        piece = [row[a:b] for row in rows]
        if wide:  # narrow floats are combined in float32
            for i, row in enumerate(piece):
                slots[i, : b - a] = row
            piece = [slots[i, : b - a] for i in range(len(rows))]
            _tree(piece, places[0], slots[len(rows) :, : b - a], combine)
        else:
            _tree(piece, places[0], slots[:, : b - a], combine)
        for other in places[1:]:
            other[...] = places[0]


def _all_reduce(spec: CallSpec, outs: Sequence[Array], ins: Sequence[Array], scratch: Host) -> None:
    results = [y.host.reshape(-1) for y in outs]
    _fold(spec, _rows(spec, ins), lambda a, b: [y[a:b] for y in results], scratch)


def _reduce_scatter(spec: CallSpec, outs: Sequence[Array], ins: Sequence[Array], scratch: Host) -> None:
    rows, start = _rows(spec, ins), 0
    for y in outs:
        flat = y.host.reshape(-1)
        part = [row[start : start + flat.size] for row in rows]
        _fold(spec, part, lambda a, b, flat=flat: [flat[a:b]], scratch)  # type: ignore[misc]
        start += flat.size


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


def _reduction(compute: Callable[..., None]) -> Callable[[CallSpec], Prepared]:
    def prepare(spec: CallSpec) -> Prepared:
        first = spec.arrays[0].dtype
        dtype = np.dtype(np.float32) if _widens(spec) else first.numpy
        count = sum(s.shape[0] for s in spec.arrays) if spec.attributes["blocked"] else len(spec.arrays)
        slots = max(count - 1, 1) + (count if _widens(spec) else 0)
        silenced = quiet(compute)

        def launch(outs: Any, ins: Any, workspace: Any, queue: Any) -> None:
            silenced(spec, outs, ins, workspace.host.view(dtype))

        return Prepared(launch, workspace=slots * _PIECE * dtype.itemsize)

    return prepare


def _widens(spec: CallSpec) -> bool:
    return spec.arrays[0].dtype.name in NARROW and spec.attributes["reduction"] in ("sum", "prod")


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
    _kernel("all_reduce", _reduction(_all_reduce)),
    _kernel("reduce_scatter", _reduction(_reduce_scatter)),
    _kernel("all_gather", _movement(lambda spec: _all_gather)),
    _kernel("broadcast", _movement(lambda spec: lambda outs, ins: _broadcast(spec.attributes["root"], outs, ins))),
    _kernel("permute", _movement(lambda spec: lambda outs, ins: _permute(spec.attributes["pairs"], outs, ins))),
)
