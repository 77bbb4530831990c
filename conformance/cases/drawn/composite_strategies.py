"""How a call of each composite op is drawn."""

from __future__ import annotations

from typing import Any

from ....core.dtypes import DType, bool_, dtype, float32
from ....core.signature import Shape
from .falsify import Choices
from .strategies import Call, Operand, broadcast_from, operand, shape
from .strategy_table import ANYTHING, one_axis, strategy


@strategy("one_hot")
def _one_hot(c: Choices, t: DType, most: int) -> Call:
    x = operand(c, t, shape(c, most // 8 + 1), ("integers",), low=-2, high=9)
    attributes: dict[str, Any] = {"classes": c.below(10)}
    if c.flag(3):
        attributes["dtype"] = c.pick((float32, dtype("int8"), bool_, t))
    return Call((x,), attributes)


@strategy("clip")
def _clip(c: Choices, t: DType, most: int) -> Call:
    x = operand(c, t, shape(c, most), ANYTHING)
    low, high = (operand(c, t, broadcast_from(c, x.shape), ANYTHING) if not c.flag(4) else None for _ in range(2))
    return Call((x, low, high))


@strategy("gelu")
def _gelu(c: Choices, t: DType, most: int) -> Call:
    x = operand(c, t, shape(c, most), ("between",), low=-12, high=12)
    return Call((x,), {"approximate": True} if c.flag() else {})


@strategy("silu")
def _silu(c: Choices, t: DType, most: int) -> Call:
    return Call((operand(c, t, shape(c, most), ("between",), low=-80, high=80),))


def _some_axes(c: Choices, rank: int) -> Any:
    """Return one axis, or several."""
    if c.flag(3):
        return tuple(a for a in range(rank) if c.flag()) or (0,)
    return one_axis(c, rank)


@strategy("softmax", "log_softmax")
def _softmax(c: Choices, t: DType, most: int) -> Call:
    x = operand(c, t, shape(c, most, least_rank=1), ("moderate",))
    return Call((x,), {"axis": _some_axes(c, len(x.shape))})


def _normalised(c: Choices, t: DType, most: int, affine: int) -> Call:
    # Where nearly equal values are normalised, rounding is all that is left of them: nothing is repeated, and what
    # is added to the variance bounds what is lost.
    x = operand(c, t, shape(c, most, least_rank=1), repeats=False)
    axis = _some_axes(c, len(x.shape))
    axes = sorted({a % len(x.shape) for a in (axis if isinstance(axis, tuple) else (axis,))})
    lengths = tuple(x.shape[a] for a in axes)
    parameters = [operand(c, t, lengths) if c.flag() else None for _ in range(affine)]
    return Call((x, *parameters), {"axis": axis, "epsilon": c.pick((0.1, 0.01))})


@strategy("layer_norm")
def _layer_norm(c: Choices, t: DType, most: int) -> Call:
    return _normalised(c, t, most, 2)


@strategy("rms_norm")
def _rms_norm(c: Choices, t: DType, most: int) -> Call:
    return _normalised(c, t, most, 1)


@strategy("attention")
def _attention(c: Choices, t: DType, most: int) -> Call:
    batch, key_heads, group = c.between(1, 2), c.between(1, 2), c.between(1, 2)
    heads, queries, keys = key_heads * group, c.between(1, 5), c.between(1, 7)
    depth, width = c.pick((1, 4, 8, 3)), c.between(1, 5)

    def make(*given: int) -> Operand:
        return operand(c, t, given, ("between",), low=-1, high=1)

    q, k = make(batch, heads, queries, depth), make(batch, key_heads, keys, depth)
    v = make(batch, key_heads, keys, width)
    how = c.below(4)
    scores = (batch, heads, queries, keys)
    mask = operand(c, bool_, broadcast_from(c, scores)) if how == 1 else make(*scores) if how == 2 else None
    attributes: dict[str, Any] = {"causal": True} if c.flag() else {}
    if c.flag():
        attributes["scale"] = 0.5
    return Call((q, k, v, mask), attributes)


def _windows(c: Choices, kernel: Shape, spatial: Shape, dilation: int, stretch: int = 1) -> dict[str, Any]:
    """Attributes of sliding windows that fit. Without dilation no window lies in the padding alone."""
    pads = []
    for n, taps in zip(spatial, kernel, strict=True):
        reach, length = (taps - 1) * dilation + 1, (n - 1) * stretch + 1
        low, high = c.below(taps), c.below(taps)
        pads.append((low, high + max(reach - length - low - high, 0)))
    return {"stride": tuple(c.between(1, 3) for _ in kernel), "padding": tuple(pads), "dilation": dilation}


def _spatial(c: Choices, most: int) -> tuple[Shape, Shape]:
    """Return the lengths of windows and of what they slide over, in one to three dimensions."""
    rank = c.pick((1, 2, 1, 2, 3))
    kernel = tuple(c.between(1, 3) for _ in range(rank))
    return kernel, tuple(c.between(1, most if rank < 3 else 4) for _ in range(rank))


@strategy("conv")
def _conv(c: Choices, t: DType, most: int) -> Call:
    kernel, spatial = _spatial(c, 8)
    groups, per_group, outputs, stretch = c.between(1, 2), c.between(1, 3), c.between(1, 3), c.between(1, 2)

    def make(*given: int) -> Operand:
        return operand(c, t, given, ("between",), low=-2, high=2)

    x = make(c.between(1, 2), groups * per_group, *spatial)
    weight = make(groups * outputs, per_group, *kernel)
    bias = make(groups * outputs) if c.flag() else None
    more = {"input_dilation": stretch, "groups": groups}
    return Call((x, weight, bias), {**_windows(c, kernel, spatial, c.between(1, 2), stretch), **more})


def _pooled(c: Choices, t: DType, kinds: tuple[str, ...], dilation: int) -> Call:
    kernel, spatial = _spatial(c, 9)
    x = operand(c, t, (c.between(1, 2), c.between(1, 3), *spatial), kinds)
    attributes = {"kernel": kernel, **_windows(c, kernel, spatial, dilation)}
    if c.flag(3):
        del attributes["stride"]
    return Call((x,), attributes)


@strategy("max_pool")
def _max_pool(c: Choices, t: DType, most: int) -> Call:
    return _pooled(c, t, ANYTHING, c.between(1, 2))


@strategy("avg_pool")
def _avg_pool(c: Choices, t: DType, most: int) -> Call:
    call = _pooled(c, t, ("moderate",), 1)
    attributes = {k: v for k, v in call.attributes.items() if k != "dilation"}
    return Call(call.operands, {**attributes, "count_padding": False} if c.flag() else attributes)
