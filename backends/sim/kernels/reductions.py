"""Reductions and scans in their canonical orders, which the vector unit keeps."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import numpy as np

from ....plugin import CallSpec, on_host, orders
from ..memory import Host
from .rows import ALL, NUMBERS, Bind, Compute, Row


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
    Row("max", on_host.extreme(np.maximum, largest=True), (NUMBERS,)),
    Row("min", on_host.extreme(np.minimum, largest=False), (NUMBERS,)),
    Row("all", on_host.boolean(np.all), (ALL,)),
    Row("any", on_host.boolean(np.any), (ALL,)),
    Row("argmax", on_host.position(np.argmax), (NUMBERS,)),
    Row("argmin", on_host.position(np.argmin), (NUMBERS,)),
    Row("cumulative_sum", _scan(orders.canonical_cumulative_sum), (NUMBERS,), accumulates=True),
    Row("cumulative_prod", _scan(orders.canonical_cumulative_prod), (NUMBERS,), accumulates=True),
)
