"""Composites of neural networks that keep the shape: activations, softmax, normalisation."""

from __future__ import annotations

import math
from typing import Any

from ..core.arrays.array import Array
from ..core.arrays.views import normalize_axes
from ..core.dtypes import FLOATS, INTEGERS
from ..core.errors import ShapeError
from ..core.kernel import ArraySpec
from ..core.op import Attributes, Inferred, Specs
from . import rules
from .accuracy import EXACT, Composed
from .declare import composite
from .widening import narrow, widen


@composite(
    infer=rules.elementwise((*INTEGERS, *FLOATS)),
    dtypes=(*INTEGERS, *FLOATS),
    accuracy=EXACT,
    facts=("elementwise", "monotone", "idempotent"),
    specials=("relu(nan) -> nan", "relu(-inf) -> +0"),
)
def relu(ox: Any, x: Array, /) -> Array:
    """Return the larger of x and 0.

    >>> import opmux as ox
    >>> ox.relu(ox.asarray([-1.0, 2.0])).tolist()
    [0.0, 2.0]
    """
    return ox.maximum(x, 0)


@composite(
    infer=rules.elementwise(FLOATS),
    dtypes=FLOATS,
    accuracy=Composed(4),
    facts=("elementwise", "monotone"),
    specials=("sigmoid(-inf) -> +0", "sigmoid(+inf) -> 1", "sigmoid(nan) -> nan"),
    flops=20,
)
def sigmoid(ox: Any, x: Array, /) -> Array:
    """Return ``1 / (1 + exp(-x))``.

    >>> import opmux as ox
    >>> float(ox.sigmoid(ox.asarray(0.0)))
    0.5
    """
    wide = widen(ox, x)
    # exp(-x) overflows where the result is still a number: sigmoid(-89) is 2.2e-39 in float32.
    small = ox.exp(-ox.abs(wide))
    return narrow(ox, ox.where(ox.less(wide, 0.0), small, 1.0) / (1.0 + small), x)


@composite(
    infer=rules.elementwise(FLOATS),
    dtypes=FLOATS,
    accuracy=Composed(5, scale="operands"),
    facts=("elementwise",),
    specials=("silu(+inf) -> +inf", "silu(nan) -> nan"),
    flops=21,
)
def silu(ox: Any, x: Array, /) -> Array:
    """Return ``x * sigmoid(x)``.

    >>> import opmux as ox
    >>> float(ox.silu(ox.asarray(0.0)))
    0.0
    """
    wide = widen(ox, x)
    return narrow(ox, wide / (1.0 + ox.exp(-wide)), x)


def _gelu(name: str, specs: Specs, attributes: Attributes) -> Inferred:
    rules.flag(name, "approximate", attributes["approximate"])
    return rules.elementwise(FLOATS)(name, specs, attributes)


@composite(
    infer=_gelu,
    dtypes=FLOATS,
    accuracy=Composed(16, scale="operands"),
    facts=("elementwise",),
    specials=("gelu(+inf) -> +inf", "gelu(nan) -> nan"),
    flops=40,
)
def gelu(ox: Any, x: Array, /, *, approximate: bool = False) -> Array:
    """Return ``x`` times the normal distribution function of ``x``.

    Args:
        x: real floating array.
        approximate: use the hyperbolic tangent form (Hendrycks and Gimpel, arXiv:1606.08415).

    >>> import opmux as ox
    >>> float(ox.gelu(ox.asarray(0.0)))
    0.0
    """
    wide = widen(ox, x)
    if approximate:
        inner = (wide + wide * wide * wide * 0.044715) * math.sqrt(2 / math.pi)
        return narrow(ox, wide * 0.5 * (1.0 + ox.tanh(inner)), x)
    return narrow(ox, wide * 0.5 * ox.erfc(wide * -math.sqrt(0.5)), x)


@composite(
    infer=rules.elementwise((*INTEGERS, *FLOATS)),
    dtypes=(*INTEGERS, *FLOATS),
    accuracy=EXACT,
    facts=("elementwise", "monotone", "idempotent"),
    specials=("clip(nan, 0, 1) -> nan", "clip(5, 0, 1) -> 1", "clip(-5, 0, 1) -> 0"),
    flops=2,
)
def clip(ox: Any, x: Array, /, min: Array | None = None, max: Array | None = None) -> Array:
    """Return x limited to ``[min, max]``; a limit that is None does not limit.

    >>> import opmux as ox
    >>> ox.clip(ox.asarray([-1, 5]), 0, 3).tolist()
    [0, 3]
    """
    limited = x if min is None else ox.maximum(x, min)
    return limited if max is None else ox.minimum(limited, max)


def _along(name: str, specs: Specs, attributes: Attributes) -> Inferred:
    (x,) = rules.present(specs)
    rules.check_dtype(name, x.dtype, FLOATS)
    axes = normalize_axes(attributes["axis"], len(x.shape), where=name)
    return Inferred((ArraySpec(x.dtype, x.shape),), {"axis": axes})


@composite(
    infer=_along,
    dtypes=FLOATS,
    accuracy=Composed(16, growth="terms"),
    work=rules.per_input(25),
    specials=("softmax(nan, 1) -> nan",),
)
def softmax(ox: Any, x: Array, /, *, axis: int | tuple[int, ...] = -1) -> Array:
    """Return exponentials that sum to one along the axis, shifted by the maximum so that nothing overflows.

    >>> import opmux as ox
    >>> ox.softmax(ox.asarray([0.0, 0.0])).tolist()
    [0.5, 0.5]
    """
    if 0 in x.shape:
        return x
    wide = widen(ox, x)
    terms = ox.exp(wide - ox.max(wide, axis=axis, keepdims=True))
    return narrow(ox, terms / ox.sum(terms, axis=axis, keepdims=True), x)


@composite(
    infer=_along,
    dtypes=FLOATS,
    accuracy=Composed(16, growth="terms", scale="operands"),
    work=rules.per_input(25),
    specials=("log_softmax(nan, 1) -> nan",),
)
def log_softmax(ox: Any, x: Array, /, *, axis: int | tuple[int, ...] = -1) -> Array:
    """Return the logarithm of :func:`softmax`, without computing it.

    >>> import opmux as ox
    >>> ox.log_softmax(ox.asarray([0.0])).tolist()
    [0.0]
    """
    if 0 in x.shape:
        return x
    wide = widen(ox, x)
    shifted = wide - ox.max(wide, axis=axis, keepdims=True)
    return narrow(ox, shifted - ox.log(ox.sum(ox.exp(shifted), axis=axis, keepdims=True)), x)


def _normalised(name: str, specs: Specs, attributes: Attributes) -> Inferred:
    x, *affine = specs
    if x is None:
        raise ShapeError(f"{name}: the first operand is missing", op=name)
    rules.check_dtype(name, x.dtype, FLOATS)
    axes = normalize_axes(attributes["axis"], len(x.shape), where=name)
    wanted = tuple(x.shape[a] for a in axes)
    for spec in affine:
        if spec is not None and (spec.shape != wanted or spec.dtype is not x.dtype):
            raise ShapeError(
                f"{name}: weight and bias have the dtype of x and the lengths of the normalised axes, "
                f"{x.dtype}{list(wanted)}; "
                f"given {spec}",
                op=name,
                shape=spec.shape,
            )
    normal = {"axis": axes, "epsilon": rules.number(name, "epsilon", attributes["epsilon"])}
    return Inferred((ArraySpec(x.dtype, x.shape),), normal)


def _stretched(ox: Any, affine: Array, shape: tuple[int, ...], axes: Any) -> Array:
    """Return weight or bias with a length for every axis of x, 1 where it repeats."""
    chosen = (axes % len(shape),) if isinstance(axes, int) else tuple(a % len(shape) for a in axes)
    return ox.reshape(widen(ox, affine), tuple(n if d in chosen else 1 for d, n in enumerate(shape)))


@composite(
    infer=_normalised,
    dtypes=FLOATS,
    accuracy=Composed(32, growth="terms", scale="operands"),
    work=rules.per_input(8),
)
def layer_norm(
    ox: Any,
    x: Array,
    weight: Array | None = None,
    bias: Array | None = None,
    /,
    *,
    axis: int | tuple[int, ...] = -1,
    epsilon: float = 1e-5,
) -> Array:
    """Return x with mean 0 and variance 1 along the axes, then scaled and shifted (Ba et al., arXiv:1607.06450).

    Args:
        x: real floating array.
        weight, bias: arrays of the normalised axes' lengths, or None.
        axis: what to normalise over.
        epsilon: added to the variance.

    >>> import opmux as ox
    >>> ox.layer_norm(ox.asarray([1.0, 1.0])).tolist()
    [0.0, 0.0]
    """
    if 0 in x.shape:
        return x
    wide = widen(ox, x)
    centred = wide - ox.mean(wide, axis=axis, keepdims=True)
    spread = ox.sqrt(ox.mean(centred * centred, axis=axis, keepdims=True) + epsilon)
    result = centred / spread
    if weight is not None:
        result = result * _stretched(ox, weight, x.shape, axis)
    if bias is not None:
        result = result + _stretched(ox, bias, x.shape, axis)
    return narrow(ox, result, x)


@composite(
    infer=_normalised,
    dtypes=FLOATS,
    accuracy=Composed(16, growth="terms"),
    work=rules.per_input(5),
)
def rms_norm(
    ox: Any, x: Array, weight: Array | None = None, /, *, axis: int | tuple[int, ...] = -1, epsilon: float = 1e-5
) -> Array:
    """Return x divided by its root mean square along the axes, then scaled (Zhang and Sennrich, arXiv:1910.07467).

    >>> import opmux as ox
    >>> ox.rms_norm(ox.asarray([2.0, 2.0]), epsilon=0.0).tolist()
    [1.0, 1.0]
    """
    if 0 in x.shape:
        return x
    wide = widen(ox, x)
    result = wide / ox.sqrt(ox.mean(wide * wide, axis=axis, keepdims=True) + epsilon)
    if weight is not None:
        result = result * _stretched(ox, weight, x.shape, axis)
    return narrow(ox, result, x)
