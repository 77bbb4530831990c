"""Operands that repeat."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Final

import numpy as np

from ..fault import Family
from ..twin.backend import Twin
from ..twin.call import Call

FAMILY: Final = Family("broadcasting")


@FAMILY.plant("square-row-as-column", "add", "add-float32-shapes-broadcast-square")
def square_row(call: Call) -> None:
    """A row beside a square matrix is taken for a column: it was aligned at the front."""
    x, y = call.ins
    if y.ndim == 2 and y.shape[0] == y.shape[1] and y.strides[0] == 0 and y.shape[0] > 1:
        y = y.T
    call.finish(x, y)


@FAMILY.plant("middle-axis", "multiply", "multiply-float32-shapes-broadcast-middle")
def middle_axis(call: Call) -> None:
    """Axes are collapsed as if the middle one never repeated."""
    x, y = call.ins
    if x.ndim == 3 and x.strides[1] == 0 and x.shape[1] > 1 and x.strides[0]:
        x = np.broadcast_to(np.resize(x[:, 0, :], x.shape[1:]), x.shape)
    call.finish(x, y)


@FAMILY.plant("number-as-row", "subtract", "subtract-float32-shapes-broadcast-scalar")
def number_as_row(call: Call) -> None:
    """An operand without axes is read as a row: only its first use sees the number."""
    x, y = call.ins
    if y.ndim and y.size > 1 and not any(y.strides):
        y = y.copy()
        y.reshape(-1)[1:] = 0
    call.finish(x, y)


@FAMILY.plant("two-numbers", "less", "less-float32-strides-zero")
def two_numbers(call: Call) -> None:
    """Where both operands repeat, the result is computed once and the rest of it left alone."""
    x, y = call.ins
    if call.out.ndim == 2 and x.strides[0] == 0 and y.strides[0] == 0 and call.out.shape[0] > 1:
        call.out[...] = False
        call.out[:1] = call.result()[:1]
    else:
        call.finish()


@FAMILY.plant("condition-strides", "where", "where-float32-shapes-broadcast")
def condition_strides(call: Call) -> None:
    """The condition is walked with the strides of the first value."""
    condition, x, y = call.ins
    if condition.ndim == 2 and condition.strides[-1] == 0 and x.strides[-1] != 0:
        condition = np.broadcast_to(np.resize(condition[:, 0], condition.shape[1]), condition.shape)
    call.finish(condition, x, y)


@FAMILY.plant("addend-strides", "fma", "fma-float32-shapes-broadcast")
def addend_strides(call: Call) -> None:
    """The addend is walked with the strides of the second factor."""
    x, y, z = call.ins
    if z.ndim == 2 and not any(z.strides) and y.strides[-1] != 0 and z.size > 1:
        z = z.copy()
        z[:, 1:] = 0
    call.finish(x, y, z)


@FAMILY.plant("high-rank", "add", "add-float32-shapes-broadcast-rank6")
def high_rank(call: Call) -> None:
    """Loops are made for four axes, and of more the outer ones are not walked."""
    call.finish()
    if call.out.ndim > 4:
        rest = call.out.reshape(-1, *call.out.shape[-4:])
        rest[1:] = rest[0]


@FAMILY.backend("empty-divides", "multiply", "multiply-float32-shapes-empty", says="returning a Rejection")
def empty_divides() -> Twin:
    """Preparing a launch divides by the length of the last axis, which may be empty."""

    def prepare(spec: Any, plain: Any) -> Any:
        made = plain(spec)
        return replace(made, workspace=64 // min(spec.outputs[0].shape, default=1))

    return Twin().with_ware("multiply", prepare=prepare)


@FAMILY.plant("one-row-scatter", "scatter", "scatter-float32-strides-zero")
def one_row_scatter(call: Call) -> None:
    """Updates that repeat are read as dense ones."""
    x, indices, updates = call.ins
    if updates.ndim and 0 in [s for s, n in zip(updates.strides, updates.shape, strict=True) if n > 1]:
        updates = updates.copy()
        updates.reshape(-1)[updates.size // 2 :] = 0
    call.finish(x, indices, updates)
