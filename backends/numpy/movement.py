"""Movement through NumPy: joining, padding, gathering, scattering, sorting, copying, casting."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Final

import numpy as np

from ...plugin import CallSpec, CostTerms, Kernel, combine_of, evaluate, on_host, recipe, rounded
from . import costs
from .rows import ALL, BOOL, COMPLEXES, FLOATS, INTEGERS, NARROW, Host, kernel

Compute = Callable[..., None]
_NUMBERS: Final = INTEGERS | FLOATS
_STORAGE: Final = frozenset({"float8_e4m3fn", "float8_e5m2"})
#: Dtypes to which NumPy's casts round twice, once on the way through float32.
_ROUNDED: Final = _STORAGE | {"bfloat16"}


_COMBINE: Final[dict[str, np.ufunc]] = {"add": np.add, "multiply": np.multiply}


def _scatter(spec: CallSpec) -> Compute:
    axis, mode, reduction = (spec.attributes[n] for n in ("axis", "mode", "reduction"))
    length = spec.arrays[0].shape[axis]
    wide = np.float32 if spec.outputs[0].dtype.name in NARROW and reduction in _COMBINE else None
    combine = combine_of(reduction, spec.outputs[0].dtype) if reduction in ("min", "max") else None

    def compute(out: Host, x: Host, indices: Host, updates: Host) -> None:
        at, inside = on_host.inside(indices, length, mode)
        flat = updates.reshape(*x.shape[:axis], indices.size, *x.shape[axis + 1 :])
        rows, at = np.moveaxis(flat, axis, 0), at.ravel()
        if mode == "drop":
            rows, at = rows[inside.ravel()], at[inside.ravel()]
        target = x.astype(wide) if wide is not None else x.copy()
        view = np.moveaxis(target, axis, 0)
        if at.size and reduction == "set":
            # The last of equal indices must stay; NumPy promises no order for repeated ones in a vector of rows.
            last = at.size - 1 - np.unique(at[::-1], return_index=True)[1]
            view[at[last]] = rows[last]
        elif combine is not None:
            for i, place in enumerate(at):
                combine(view[place, ...], rows[i, ...], view[place, ...])
        elif at.size:
            # ufunc.at works through the indices in order, one by one.
            _COMBINE[reduction].at(view, at, rows.astype(view.dtype))
        out[...] = target

    return compute


def _cast(spec: CallSpec) -> Compute:
    source, target = spec.arrays[0].dtype, spec.outputs[0].dtype
    wide = np.float32 if source.name in _STORAGE else None
    program = None
    if target.kind.endswith("integer") and (wide is not None or source.kind == "real floating"):
        # NumPy leaves out-of-range conversions open; the recipe saturates.
        program = recipe("cast", ("float32" if wide is not None else source.name,), target.name)

    def compute(out: Host, x: Host) -> None:
        if wide is not None and target.name != source.name:
            x = x.astype(wide)  # which holds every value, and which NumPy knows how to cast on
        if program is not None:
            out[...] = evaluate(program, x)
        elif target.name == "bool":
            out[...] = x != 0
        elif target.name in _ROUNDED and target.name != source.name:
            out[...] = rounded(x, target)
        else:
            np.copyto(out, x, casting="unsafe")

    return compute


def _bitcast(spec: CallSpec) -> Compute:
    target = spec.outputs[0].dtype.numpy

    def compute(out: Host, x: Host) -> None:
        dense = np.ascontiguousarray(x).reshape(x.shape)
        out[...] = dense.reshape(-1).view(target).reshape(x.shape)

    return compute


_slow = functools.partial(kernel, cost=CostTerms(launch=10e-6, compute=0.05, memory=0.1))

KERNELS: Final[tuple[Kernel, ...]] = (
    kernel("concat", on_host.concat, (ALL,), cost=costs.CONCAT),
    kernel("pad", on_host.pad, (ALL,), cost=costs.PAD),
    kernel("gather", on_host.gather, (ALL, INTEGERS), cost=costs.GATHER),
    _slow("scatter", _scatter, (ALL, INTEGERS, ALL)),
    _slow("sort", on_host.sort, (_NUMBERS,)),
    _slow("argsort", on_host.argsort, (_NUMBERS,)),
    _slow("searchsorted", on_host.searchsorted, (_NUMBERS,)),
    kernel("copy", on_host.copy, (ALL,), cost=costs.COPY),
    kernel("cast", _cast, (_NUMBERS | BOOL | COMPLEXES | _STORAGE,), cost=costs.CAST),
    kernel("bitcast", _bitcast, (_NUMBERS | COMPLEXES | _STORAGE,), cost=costs.COPY),
)
