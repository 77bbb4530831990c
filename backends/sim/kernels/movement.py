"""Movement: joining, padding, gathering, scattering, sorting, copying."""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from ....plugin import CallSpec, evaluate, on_host, recipe
from ..memory import Host
from .rows import ALL, INTEGERS, NARROW, NUMBERS, Compute, Row, Unit

#: Reduction of scatter to the op by whose recipe old and new values meet.
_COMBINE: Final = {"add": "add", "multiply": "multiply", "min": "minimum", "max": "maximum"}


def _scatter(spec: CallSpec) -> Compute:
    axis, mode, reduction = (spec.attributes[name] for name in ("axis", "mode", "reduction"))
    length, dtype = spec.arrays[0].shape[axis], spec.outputs[0].dtype.name
    wide = "float32" if dtype in NARROW and reduction in ("add", "multiply") else dtype

    def compute(out: Host, x: Host, indices: Host, updates: Host) -> None:
        at, inside = on_host.inside(indices, length, mode)
        at = at.ravel()
        rows = np.moveaxis(updates.reshape(*x.shape[:axis], at.size, *x.shape[axis + 1 :]), axis, 0)
        if mode == "drop":
            rows, at = rows[inside.ravel()], at[inside.ravel()]
        made = x.astype(np.float32) if wide != dtype else x.copy()
        target = np.moveaxis(made, axis, 0)
        for places, chosen in _rounds(at):
            new = rows[chosen].astype(made.dtype)
            target[places] = new if reduction == "set" else _combined(_COMBINE[reduction], wide, target[places], new)
        out[...] = made

    return compute


def _combined(op: str, dtype: str, old: Host, new: Host) -> Host:
    program = recipe(op, (dtype, dtype))
    if program is None:  # bool, on which min and max are and and or
        return np.minimum(old, new) if op == "minimum" else np.maximum(old, new)
    return evaluate(program, old, new)


def _rounds(at: Host) -> Any:
    """Yield places with the updates for them such that no place comes twice in a round, and repeated ones in order."""
    order = np.argsort(at, kind="stable")
    ranked = at[order]
    starts = np.flatnonzero(np.r_[True, ranked[1:] != ranked[:-1]]) if at.size else np.zeros(0, np.int64)
    rank = np.arange(at.size) - np.repeat(starts, np.diff(np.r_[starts, at.size]))
    for turn in range(int(rank.max()) + 1 if at.size else 0):
        chosen = order[rank == turn]
        yield at[chosen], chosen


ROWS: Final = (
    Row("copy", on_host.copy, (ALL,), Unit.DMA),
    Row("concat", on_host.concat, (ALL,), Unit.DMA),
    Row("pad", on_host.pad, (ALL,), Unit.DMA),
    Row("gather", on_host.gather, (ALL, INTEGERS), Unit.DMA),
    Row("scatter", _scatter, (ALL, INTEGERS, ALL)),
    Row("sort", on_host.sort, (NUMBERS,)),
    Row("argsort", on_host.argsort, (NUMBERS,)),
    Row("searchsorted", on_host.searchsorted, (NUMBERS,)),
)
