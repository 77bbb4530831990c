"""Decompositions of primitives that are not core, into core ops. Their names shadow builtins, as the ops' do."""

from __future__ import annotations

import builtins
import math
from typing import Any

from ..core.arrays.array import Array
from ..core.arrays.metadata import SLICE, apply
from ..core.dtypes import (
    COMPLEXES,
    FLOATS,
    UNSIGNED_INTEGERS,
    DType,
    bfloat16,
    bool_,
    element_limits,
    float16,
    float32,
    int32,
    int64,
)


def part(x: Array, axis: int, start: int, stop: int, step: int = 1) -> Array:
    """Return the view ``x[..., start:stop:step, ...]`` of one axis."""
    starts, stops, steps = [0] * x.ndim, list(x.shape), [1] * x.ndim
    starts[axis], stops[axis], steps[axis] = start, stop, step
    return apply(SLICE, x, tuple(starts), tuple(stops), tuple(steps))


def _widened(ox: Any, x: Array) -> Array:
    wide: Array = ox.cast(x, float32) if x.dtype in (float16, bfloat16) else x
    return wide


def _narrowed(ox: Any, x: Array, to: DType) -> Array:
    narrow: Array = x if x.dtype is to else ox.cast(x, to)
    return narrow


def _reversed_order(ox: Any, x: Array) -> Array:
    """Map values so that the largest becomes the smallest, exactly and with NaN and the smallest integer in place."""
    if x.dtype in FLOATS:
        flipped: Array = ox.multiply(x, -1.0)
    else:
        flipped = ox.bitwise_xor(x, element_limits(x.dtype)[1] if x.dtype in UNSIGNED_INTEGERS else -1)
    return flipped


def _is_nan(ox: Any, x: Array) -> Array:
    nan: Array = ox.bitwise_xor(ox.equal(x, x), True)
    return nan


def min(ox: Any, x: Array, *, axis: tuple[int, ...], keepdims: bool) -> Array:
    """The largest of the reversed values, reversed back."""
    return _reversed_order(ox, ox.max(_reversed_order(ox, x), axis=axis, keepdims=keepdims))


def prod(ox: Any, x: Array, *, axis: tuple[int, ...], dtype: DType, keepdims: bool) -> Array:
    """The canonical order of :mod:`.orders`, so the same bits as any canonical kernel.

    Factors of one may be left out without changing a bit, so short products use fewer lanes; and real ones may be put
    in, but no complex ones, where 1 times infinity has a NaN.
    """
    from .orders import BLOCK, LANES  # which imports the recipes; `import opmux` does without

    kept = tuple(i for i in range(x.ndim) if i not in axis)
    n = math.prod(x.shape[a] for a in axis)
    outer = tuple(x.shape[i] for i in kept)
    shape = tuple(1 if i in axis else m for i, m in enumerate(x.shape)) if keepdims else outer
    if n == 0:
        return ox.full(shape, 1, dtype=dtype, device=x.device)
    terms = ox.reshape(ox.permute_dims(_widened(ox, x), (*kept, *axis)), (*outer, n))
    if x.dtype in COMPLEXES:
        return ox.reshape(_pairwise(ox, _products_of_blocks(ox, terms), len(outer)), shape)
    width = LANES if n >= LANES else 1 << (n - 1).bit_length()
    length = BLOCK if n > BLOCK else -(-n // width) * width
    padded = -(-n // length) * length
    if padded != n:
        terms = ox.pad(terms, ((0, 0),) * len(outer) + ((0, padded - n),), value=1)
    last = len(outer)
    chains = ox.reshape(terms, (*outer, padded // length, length // width, width))
    lanes = _row(ox, chains, last + 1, 0)
    for j in range(1, length // width):
        lanes = ox.multiply(lanes, _row(ox, chains, last + 1, j))
    while width > 1:
        width //= 2
        lanes = ox.multiply(part(lanes, last + 1, 0, width), part(lanes, last + 1, width, 2 * width))
    values = ox.reshape(lanes, (*outer, padded // length))
    return ox.reshape(_narrowed(ox, _pairwise(ox, values, last), dtype), shape)


def _products_of_blocks(ox: Any, terms: Array) -> Array:
    """The product of each block of the last axis, in lanes and halves of terms that are there."""
    from .orders import BLOCK, LANES

    last = terms.ndim - 1
    n = terms.shape[last]
    rest = n % BLOCK
    made = []
    if n > rest:
        full = ox.reshape(part(terms, last, 0, n - rest), (*terms.shape[:last], n // BLOCK, BLOCK // LANES, LANES))
        lanes = _row(ox, full, last + 1, 0)
        for j in range(1, BLOCK // LANES):
            lanes = ox.multiply(lanes, _row(ox, full, last + 1, j))
        made.append(ox.reshape(_halved(ox, lanes), (*terms.shape[:last], n // BLOCK)))
    if rest:
        tail = part(terms, last, n - rest, n)
        lanes = part(tail, last, 0, builtins.min(rest, LANES))
        for start in range(LANES, rest, LANES):
            lanes = _beside(ox, lanes, part(tail, last, start, builtins.min(start + LANES, rest)))
        made.append(_halved(ox, lanes))
    return made[0] if len(made) == 1 else ox.concat(made, axis=last)


def _halved(ox: Any, lanes: Array) -> Array:
    """Multiply lane l with lane l + 32, then l with l + 16, and so on, where there is one."""
    from .orders import LANES

    last = lanes.ndim - 1
    half = LANES // 2
    while half:
        if lanes.shape[last] > half:
            lanes = _beside(ox, part(lanes, last, 0, half), part(lanes, last, half, lanes.shape[last]))
        half //= 2
    return lanes


def _beside(ox: Any, x: Array, y: Array) -> Array:
    """Multiply the elements of the last axis, of which the second may have fewer; what has no partner stays."""
    last = x.ndim - 1
    n, m = x.shape[last], y.shape[last]
    product: Array = ox.multiply(part(x, last, 0, m), y)
    return product if n == m else ox.concat([product, part(x, last, m, n)], axis=last)


def _row(ox: Any, x: Array, axis: int, i: int) -> Array:
    row: Array = ox.squeeze(part(x, axis, i, i + 1), axis)
    return row


def _pairwise(ox: Any, values: Array, axis: int) -> Array:
    """Multiply neighbours, then those products, and so on; one without a partner goes up unchanged."""
    while values.shape[axis] > 1:
        n = values.shape[axis]
        even = n - n % 2
        paired = ox.multiply(part(values, axis, 0, even, 2), part(values, axis, 1, even, 2))
        values = ox.concat([paired, part(values, axis, even, n)], axis=axis) if n % 2 else paired
    return values


def _reduced(x: Array, axis: tuple[int, ...], keepdims: bool) -> tuple[int, ...]:
    return tuple(1 if i in axis else n for i, n in enumerate(x.shape) if keepdims or i not in axis)


def any(ox: Any, x: Array, *, axis: tuple[int, ...], keepdims: bool) -> Array:
    """The largest of zeros and ones."""
    if any_empty(x, axis):
        return ox.full(_reduced(x, axis, keepdims), False, dtype=bool_, device=x.device)
    found: Array = ox.equal(ox.max(ox.cast(x, int32), axis=axis, keepdims=keepdims), 1)
    return found


def all(ox: Any, x: Array, *, axis: tuple[int, ...], keepdims: bool) -> Array:
    """Whether no element is false."""
    if any_empty(x, axis):
        return ox.full(_reduced(x, axis, keepdims), True, dtype=bool_, device=x.device)
    false = ox.cast(ox.bitwise_xor(x, True), int32)
    found: Array = ox.equal(ox.max(false, axis=axis, keepdims=keepdims), 0)
    return found


def any_empty(x: Array, axis: tuple[int, ...]) -> bool:
    """Return whether one of these axes has no elements."""
    return 0 in [x.shape[a] for a in axis]


def argmax(ox: Any, x: Array, *, axis: int, keepdims: bool) -> Array:
    """The smallest index at which the largest element, or NaN, stands: as the largest of the negated indices."""
    best = ox.equal(x, ox.max(x, axis=(axis,), keepdims=True))
    if x.dtype in FLOATS:
        best = ox.bitwise_or(best, _is_nan(ox, x))
    n = x.shape[axis]
    indices = ox.reshape(ox.iota((n,), 0, dtype=int64, device=x.device), (n,) + (1,) * (x.ndim - axis - 1))
    found = ox.max(ox.where(best, ox.subtract(0, indices), -n), axis=(axis,), keepdims=keepdims)
    return ox.subtract(0, found)


def argmin(ox: Any, x: Array, *, axis: int, keepdims: bool) -> Array:
    """The position of the largest of the reversed values."""
    return argmax(ox, _reversed_order(ox, x), axis=axis, keepdims=keepdims)


def _scan(ox: Any, x: Array, axis: int, dtype: DType, combine: Any) -> Array:
    """Combine each element with the one 1, 2, 4, ... places before it.

    Hillis and Steele, Data Parallel Algorithms, CACM 29(12), 1986. The order is not the canonical chain.
    """
    n = x.shape[axis]
    if n < 2:
        return ox.copy(x)  # a result is never the operand itself
    sums, step = _widened(ox, x), 1
    while step < n:
        later = combine(part(sums, axis, step, n), part(sums, axis, 0, n - step))
        sums = ox.concat([part(sums, axis, 0, step), later], axis=axis)
        step *= 2
    return _narrowed(ox, sums, dtype)


def cumulative_sum(ox: Any, x: Array, *, axis: int, dtype: DType) -> Array:
    """A scan with addition."""
    return _scan(ox, x, axis, dtype, ox.add)


def cumulative_prod(ox: Any, x: Array, *, axis: int, dtype: DType) -> Array:
    """A scan with multiplication."""
    return _scan(ox, x, axis, dtype, ox.multiply)


def sort(ox: Any, x: Array, *, axis: int, descending: bool) -> Array:
    """The elements at the places that argsort gives."""
    places = ox.argsort(x, axis=axis, descending=descending)
    return ox.take_along_axis(x, places, axis=axis)


def searchsorted(ox: Any, x1: Array, x2: Array, *, side: str) -> Array:
    """Binary search, all elements in step: the answer is built from its highest bit down."""
    (n,) = x1.shape
    found = ox.cast(ox.less(x2, x2), int64)  # zeros in the shape of x2, without a constant of that size
    for bit in reversed(range(n.bit_length())):
        tried = ox.add(found, 1 << bit)
        v = ox.gather(x1, ox.subtract(tried, 1), axis=0, mode="clip")
        goes_on = _sorts_before(ox, v, x2) if side == "left" else ox.bitwise_xor(_sorts_before(ox, x2, v), True)
        goes_on = ox.bitwise_and(goes_on, ox.less(tried, n + 1))
        found = ox.where(goes_on, tried, found)
    return found


def _sorts_before(ox: Any, a: Array, b: Array) -> Array:
    """Return whether one goes strictly before the other: by value, NaN after all numbers."""
    less: Array = ox.less(a, b)
    if a.dtype in FLOATS:
        less = ox.bitwise_or(less, ox.bitwise_and(ox.equal(a, a), _is_nan(ox, b)))
    return less
