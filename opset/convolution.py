"""Convolution in one to three dimensions; its gradients and the transposed one are the same op with other arguments."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from ..core.arrays.array import Array
from ..core.dtypes import FLOATS
from ..core.errors import ArgumentError, ShapeError, shown
from ..core.kernel import ArraySpec
from ..core.op import Attributes, Inferred, Specs, Work
from . import rules
from .accuracy import Composed
from .declare import composite
from .widening import narrow, widen
from .windows import Windows, fitted, padding_pairs, per_axis, unfold


def _windows(name: str, kernel: tuple[int, ...], attributes: Attributes) -> Windows:
    rank = len(kernel)
    return Windows(
        kernel,
        per_axis(attributes["stride"], rank, name, "stride"),
        padding_pairs(attributes["padding"], rank, name),
        per_axis(attributes["dilation"], rank, name, "dilation"),
        per_axis(attributes["input_dilation"], rank, name, "input_dilation"),
    )


def _infer(name: str, specs: Specs, attributes: Attributes) -> Inferred:
    x, weight, bias = rules.weighted(name, specs, FLOATS)
    rank = len(x.shape) - 2
    groups = attributes["groups"]
    if not 1 <= rank <= 3 or len(weight.shape) != rank + 2:
        raise ShapeError(
            f"{name}: x is (batch, channels, 1 to 3 spatial axes) and weight (out channels, channels / groups, as many "
            f"spatial axes); given {x} and {weight}",
            op=name,
            shapes=(x.shape, weight.shape),
        )
    if isinstance(groups, bool) or not isinstance(groups, int) or groups < 1:
        raise ArgumentError(f"{name}: groups={shown(groups)} is not a positive integer", op=name)
    if weight.shape[1] * groups != x.shape[1] or weight.shape[0] % groups:
        raise ShapeError(
            f"{name}: with groups={groups}, weight must have x's channels / groups = {x.shape[1]}/{groups} in axis "
            f"1 and a multiple of groups in axis 0; given {x} and {weight}",
            op=name,
            shapes=(x.shape, weight.shape),
        )
    if bias is not None and bias.shape != (weight.shape[0],):
        raise ShapeError(
            f"{name}: bias has one value per output channel, ({weight.shape[0]},); given {bias}",
            op=name,
            shape=bias.shape,
        )
    windows = _windows(name, weight.shape[2:], attributes)
    out = (x.shape[0], weight.shape[0], *windows.results(x.shape[2:], name))
    normal = {
        "stride": windows.stride,
        "padding": windows.padding,
        "dilation": windows.dilation,
        "input_dilation": windows.input_dilation,
        "groups": groups,
    }
    return Inferred((ArraySpec(x.dtype, out),), normal)


def _work(specs: Specs, outputs: Sequence[ArraySpec], attributes: Attributes) -> Work:
    weight = specs[1]
    taps = math.prod(weight.shape[1:]) if weight is not None else 1
    return Work(2.0 * math.prod(outputs[0].shape) * taps, rules.moved_bytes(specs, outputs))


@composite(infer=_infer, dtypes=FLOATS, accuracy=Composed(4, growth="terms", scale="operands"), work=_work)
def conv(
    ox: Any,
    x: Array,
    weight: Array,
    bias: Array | None = None,
    /,
    *,
    stride: int | tuple[int, ...] = 1,
    padding: int | tuple[int, ...] | tuple[tuple[int, int], ...] = 0,
    dilation: int | tuple[int, ...] = 1,
    input_dilation: int | tuple[int, ...] = 1,
    groups: int = 1,
) -> Array:
    """Return the cross-correlation of x with the weight, as neural networks mean convolution.

    A transposed convolution is one with ``input_dilation`` for its stride and flipped, transposed weights.

    Args:
        x: ``(batch, channels, *spatial)`` with one to three spatial axes.
        weight: ``(out channels, channels / groups, *kernel)``.
        bias: ``(out channels,)`` or None.
        stride: steps between windows.
        padding: an integer, one per axis, or ``(low, high)`` per axis; negative crops.
        dilation: steps between the taps of a window.
        input_dilation: zeros put between elements of x, plus one.
        groups: channels are split into so many independent groups.

    >>> import opmux as ox
    >>> x, w = ox.ones((1, 1, 3)), ox.ones((1, 1, 2))
    >>> ox.conv(x, w).tolist()
    [[[2.0, 2.0]]]
    """
    wide, filters = widen(ox, x), widen(ox, weight)
    attributes = {"stride": stride, "padding": padding, "dilation": dilation, "input_dilation": input_dilation}
    windows = _windows("conv", tuple(weight.shape[2:]), attributes)
    results = windows.results(x.shape[2:], "conv")
    batch, channels, out_channels, rank = x.shape[0], x.shape[1], weight.shape[0], len(results)
    taps = (channels // groups) * math.prod(windows.kernel)
    unfolded = unfold(ox, fitted(ox, wide, windows, 0), windows, results)
    # (batch, groups, windows, channels / groups, taps) for one product per batch and group
    split = ox.reshape(
        unfolded,
        (
            batch,
            groups,
            channels // groups,
            *(n for k in range(rank) for n in (results[k], windows.kernel[k])),
        ),
    )
    order = (0, 1, 2, *range(4, 4 + 2 * rank, 2), *range(3, 3 + 2 * rank, 2))
    columns = ox.reshape(ox.permute_dims(split, order), (batch, groups, taps, math.prod(results)))
    rows = ox.reshape(filters, (groups, out_channels // groups, taps))
    product = ox.matmul(rows, columns)
    result = ox.reshape(product, (batch, out_channels, *results))
    if bias is not None:
        result = result + ox.reshape(widen(ox, bias), (out_channels, *(1,) * rank))
    return narrow(ox, result, x)
