"""MPI's own collectives, as candidates beside opmux's schedules; the library chooses their order of combination."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import accumulate
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

Elements = NDArray[Any]
#: Starts one: what the rank brings, where its result goes, the lengths of the parts that are cut or joined (for an
#: all_to_all those that go to, and come from, each rank), the root. Returns MPI's request.
Start = Callable[[Elements, Elements, Sequence[Sequence[int]], int], Any]
#: NumPy's kinds of numbers for which MPI's operation is the op's own; MPI says nothing about NaN in a minimum.
_REDUCTIONS: Final[Mapping[str, tuple[str, str]]] = {
    "sum": ("SUM", "iufc"),
    "prod": ("PROD", "iufc"),
    "min": ("MIN", "iu"),
    "max": ("MAX", "iu"),
    "and": ("BAND", "iu"),
    "or": ("BOR", "iu"),
}
_LOGICAL: Final = {"sum": "LOR", "prod": "LAND", "min": "LAND", "max": "LOR", "and": "LAND", "or": "LOR"}
#: What MPI has no type for, and would take for something else.
_TYPES: Final = frozenset("?bhilqBHILQfdFD")


def start_of(mpi: Any, comm: Any, collective: str, reduction: str, dtype: np.dtype[Any]) -> Start | None:
    """Return what starts MPI's own collective; None where MPI has none that keeps the op's contract."""
    if reduction:
        named = _LOGICAL.get(reduction) if dtype.kind == "b" else _named(reduction, dtype)
        if named is None or dtype.char not in _TYPES:
            return None
        make = _REDUCING.get(collective)
        return None if make is None else make(comm, getattr(mpi, named), dtype)
    move = _MOVING.get(collective)
    return None if move is None else move(comm, mpi.BYTE, dtype)


def _named(reduction: str, dtype: np.dtype[Any]) -> str | None:
    name, kinds = _REDUCTIONS.get(reduction, ("", ""))
    return name if dtype.kind in kinds else None


def _all_reduce(comm: Any, op: Any, dtype: np.dtype[Any]) -> Start:
    return lambda x, y, lengths, root: comm.Iallreduce(x, y, op)


def _reduce_scatter(comm: Any, op: Any, dtype: np.dtype[Any]) -> Start:
    return lambda x, y, lengths, root: comm.Ireduce_scatter(x, y, list(lengths[0]), op)


def _broadcast(comm: Any, byte: Any, dtype: np.dtype[Any]) -> Start:
    def start(x: Elements, y: Elements, lengths: Sequence[Sequence[int]], root: int) -> Any:
        if comm.Get_rank() == root:
            np.copyto(y, x)
        return comm.Ibcast((_raw(y), byte), root)

    return start


def _all_gather(comm: Any, byte: Any, dtype: np.dtype[Any]) -> Start:
    return lambda x, y, lengths, root: comm.Iallgatherv(
        (_raw(x), byte), (_raw(y), _placed(lengths[0], dtype.itemsize), byte)
    )


def _all_to_all(comm: Any, byte: Any, dtype: np.dtype[Any]) -> Start:
    return lambda x, y, lengths, root: comm.Ialltoallv(
        (_raw(x), _placed(lengths[0], dtype.itemsize), byte), (_raw(y), _placed(lengths[1], dtype.itemsize), byte)
    )


def _barrier(comm: Any, byte: Any, dtype: np.dtype[Any]) -> Start:
    return lambda x, y, lengths, root: comm.Ibarrier()


def _raw(x: Elements) -> Elements:
    return x.view(np.uint8)


def _placed(lengths: Sequence[int], size: int) -> tuple[list[int], list[int]]:
    """Return how many bytes each part has and where it begins."""
    counts = [n * size for n in lengths]
    return counts, list(accumulate(counts, initial=0))[:-1]


_REDUCING: Final = {"all_reduce": _all_reduce, "reduce_scatter": _reduce_scatter}
_MOVING: Final = {
    "broadcast": _broadcast,
    "all_gather": _all_gather,
    "all_to_all": _all_to_all,
    "barrier": _barrier,
}
