"""Pooling in one to three dimensions."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from ..core.arrays.array import Array
from ..core.dtypes import FLOATS
from ..core.errors import ShapeError
from ..core.kernel import ArraySpec
from ..core.op import Attributes, Inferred, Specs, Work
from . import rules
from .accuracy import EXACT, Composed
from .declare import composite
from .widening import narrow, widen
from .windows import Windows, fitted, padding_pairs, per_axis, unfold


def _windows(name: str, rank: int, kernel: Any, stride: Any, padding: Any, dilation: Any) -> Windows:
    lengths = per_axis(kernel, rank, name, "kernel")
    return Windows(
        lengths,
        lengths if stride is None else per_axis(stride, rank, name, "stride"),
        padding_pairs(padding, rank, name),
        per_axis(dilation, rank, name, "dilation"),
        (1,) * rank,
    )


def _infer(name: str, specs: Specs, attributes: Attributes) -> Inferred:
    (x,) = rules.present(specs)
    rules.check_dtype(name, x.dtype, FLOATS)
    rank = len(x.shape) - 2
    if not 1 <= rank <= 3:
        raise ShapeError(f"{name}: x is (batch, channels, 1 to 3 spatial axes); given {x}", op=name, shape=x.shape)
    dilation = attributes.get("dilation", 1)
    windows = _windows(name, rank, attributes["kernel"], attributes["stride"], attributes["padding"], dilation)
    normal = dict(attributes) | {"kernel": windows.kernel, "stride": windows.stride, "padding": windows.padding}
    if "dilation" in attributes:
        normal["dilation"] = windows.dilation
    return Inferred((ArraySpec(x.dtype, (*x.shape[:2], *windows.results(x.shape[2:], name))),), normal)


def _work(specs: Specs, outputs: Sequence[ArraySpec], attributes: Attributes) -> Work:
    kernel = attributes["kernel"]
    return Work(float(math.prod(outputs[0].shape) * math.prod(kernel)), rules.moved_bytes(specs, outputs))


def _taps(x: Array, rank: int) -> tuple[int, ...]:
    """Return the axes that hold the taps of windows after unfolding."""
    return tuple(range(x.ndim - 2 * rank + 1, x.ndim, 2))


@composite(infer=_infer, dtypes=FLOATS, accuracy=EXACT, work=_work, specials=("max_pool(nan, 1) -> nan",))
def max_pool(
    ox: Any,
    x: Array,
    /,
    *,
    kernel: int | tuple[int, ...],
    stride: int | tuple[int, ...] | None = None,
    padding: int | tuple[int, ...] | tuple[tuple[int, int], ...] = 0,
    dilation: int | tuple[int, ...] = 1,
) -> Array:
    """Return the largest value of every window; padding never wins.

    Args:
        x: ``(batch, channels, *spatial)`` with one to three spatial axes.
        kernel: window lengths.
        stride: steps between windows; None for the window lengths.
        padding: an integer, one per axis, or ``(low, high)`` per axis.
        dilation: steps between the taps of a window.

    >>> import opmux as ox
    >>> ox.max_pool(ox.asarray([[[1.0, 3.0, 2.0, 0.0]]]), kernel=2).tolist()
    [[[3.0, 2.0]]]
    """
    rank = x.ndim - 2
    windows = _windows("max_pool", rank, kernel, stride, padding, dilation)
    results = windows.results(x.shape[2:], "max_pool")
    unfolded = unfold(ox, fitted(ox, x, windows, -math.inf), windows, results)
    return ox.max(unfolded, axis=_taps(unfolded, rank))


@composite(infer=_infer, dtypes=FLOATS, accuracy=Composed(4, growth="terms", scale="operands"), work=_work)
def avg_pool(
    ox: Any,
    x: Array,
    /,
    *,
    kernel: int | tuple[int, ...],
    stride: int | tuple[int, ...] | None = None,
    padding: int | tuple[int, ...] | tuple[tuple[int, int], ...] = 0,
    count_padding: bool = True,
) -> Array:
    """Return the mean of every window.

    Args:
        x: ``(batch, channels, *spatial)`` with one to three spatial axes.
        kernel: window lengths.
        stride: steps between windows; None for the window lengths.
        padding: an integer, one per axis, or ``(low, high)`` per axis.
        count_padding: whether padded zeros count as elements of a window.

    >>> import opmux as ox
    >>> ox.avg_pool(ox.asarray([[[1.0, 3.0, 2.0, 0.0]]]), kernel=2).tolist()
    [[[2.0, 1.0]]]
    """
    rank = x.ndim - 2
    windows = _windows("avg_pool", rank, kernel, stride, padding, 1)
    results = windows.results(x.shape[2:], "avg_pool")
    wide = widen(ox, x)
    unfolded = unfold(ox, fitted(ox, wide, windows, 0), windows, results)
    total = ox.sum(unfolded, axis=_taps(unfolded, rank))
    if count_padding or not any(p != (0, 0) for p in windows.padding):
        return narrow(ox, total / float(math.prod(windows.kernel)), x)
    ones = ox.full((1, 1, *x.shape[2:]), 1.0, dtype=wide.dtype, device=x.device)
    counted = unfold(ox, fitted(ox, ones, windows, 0), windows, results)
    return narrow(ox, total / ox.sum(counted, axis=_taps(counted, rank)), x)
