"""Reductions and scans in their canonical orders, which the vector unit keeps."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import numpy as np

from ....plugin import CallSpec, orders
from ..memory import Host
from .rows import ALL, NARROW, NUMBERS, Bind, Compute, Row


def _accumulated(ufunc: np.ufunc, ordered: Callable[..., Any]) -> Bind:
    """Sum or product: floats in the canonical order; integers wrap, so that every order gives the same."""

    def bind(spec: CallSpec) -> Compute:
        axes, keepdims = spec.attributes["axis"], spec.attributes["keepdims"]

        def compute(out: Host, x: Host) -> None:
            if out.dtype.kind in "iu":
                out[...] = ufunc.reduce(x, axis=axes, dtype=out.dtype, keepdims=keepdims)
            else:
                out[...] = ordered(x, axes, dtype=out.dtype).reshape(out.shape)

        return compute

    return bind


def _extreme(ufunc: np.ufunc, *, largest: bool) -> Bind:
    """Maximum or minimum; NaN wins, and -0 is below +0, which NumPy leaves open."""

    def bind(spec: CallSpec) -> Compute:
        axes, keepdims = spec.attributes["axis"], spec.attributes["keepdims"]

        def compute(out: Host, x: Host) -> None:
            made = ufunc.reduce(x, axis=axes, keepdims=keepdims) if axes else x
            if out.dtype.kind not in "iu":
                wanted = (x == 0) & (np.signbit(x) ^ largest)
                present = np.any(wanted, axis=axes, keepdims=keepdims) if axes else wanted
                signs = (0.0, -0.0) if largest else (-0.0, 0.0)
                made = np.where(np.equal(made, 0), np.where(present, *signs).astype(out.dtype), made)
            out[...] = made

        return compute

    return bind


def _boolean(reduce: Callable[..., Any]) -> Bind:
    def bind(spec: CallSpec) -> Compute:
        axes, keepdims = spec.attributes["axis"], spec.attributes["keepdims"]

        def compute(out: Host, x: Host) -> None:
            out[...] = reduce(x != 0, axis=axes, keepdims=keepdims)

        return compute

    return bind


def _position(find: Callable[..., Any]) -> Bind:
    def bind(spec: CallSpec) -> Compute:
        axis, keepdims = spec.attributes["axis"], spec.attributes["keepdims"]

        def compute(out: Host, x: Host) -> None:
            given = x.astype(np.float32) if x.dtype.name in NARROW else x
            out[...] = find(given, axis=axis, keepdims=keepdims)

        return compute

    return bind


def _scan(ordered: Callable[..., Any]) -> Bind:
    def bind(spec: CallSpec) -> Compute:
        axis = spec.attributes["axis"]

        def compute(out: Host, x: Host) -> None:
            out[...] = ordered(x, axis, dtype=out.dtype)

        return compute

    return bind


ROWS: Final = (
    Row("sum", _accumulated(np.add, orders.canonical_sum), (NUMBERS,), accumulates=True),
    Row("prod", _accumulated(np.multiply, orders.canonical_prod), (NUMBERS,), accumulates=True),
    Row("max", _extreme(np.maximum, largest=True), (NUMBERS,)),
    Row("min", _extreme(np.minimum, largest=False), (NUMBERS,)),
    Row("all", _boolean(np.all), (ALL,)),
    Row("any", _boolean(np.any), (ALL,)),
    Row("argmax", _position(np.argmax), (NUMBERS,)),
    Row("argmin", _position(np.argmin), (NUMBERS,)),
    Row("cumulative_sum", _scan(orders.canonical_cumulative_sum), (NUMBERS,), accumulates=True),
    Row("cumulative_prod", _scan(orders.canonical_cumulative_prod), (NUMBERS,), accumulates=True),
)
