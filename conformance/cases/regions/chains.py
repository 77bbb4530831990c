"""Chains of elementwise ops: several results, every layout, casts, constants, conditions, every size."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from ....core import dtypes as t
from ....core.arrays.array import Array
from ..layouts import LAYOUTS
from .row import OPSET as ox
from .row import Function, Row, row

FLOATS: Final = "float32 float64 float16 bfloat16"
INTEGERS: Final = "int32 int8"
NUMBERS: Final = f"{FLOATS} {INTEGERS}"
ALL: Final = f"{NUMBERS} bool"
#: Around the edges of vectors, warps, blocks; the last ones are more than one block.
_LENGTHS: Final = (1, 2, 3, 31, 33, 255, 257, 1025, 4099)


def _many(x: Array, y: Array) -> Array:
    """Return a value after so many ops that a compiler may run out of registers."""
    made = x
    for i in range(12):
        made = ox.maximum(made * 0.5, y) - x if i % 2 else made + y
    return made


def _polynomial(a: float, b: float) -> Function:
    return lambda x: (x * a + b) * x - a


_ROWS: Final = (
    # Every op rounds to its dtype: a product and a sum are never contracted, a narrow value never kept wide.
    row("values", "product-and-sum", NUMBERS, "37x65, 37x65, 37x65", lambda x, y, z: x * y + z),
    row("values", "polynomial", FLOATS, "2500", _polynomial(0.3, -1.7)),
    row("values", "order-of-operands", FLOATS, "700, 700", lambda x, y: (x - y) / (y - x) - x / y),
    row("values", "shared-value", NUMBERS, "700, 700", lambda x, y: (x - y) * (x - y) + (x - y)),
    row("values", "many-ops", FLOATS, "300, 300", _many),
    row("values", "transcendental", FLOATS, "40x33", lambda x: ox.log1p(ox.exp(-ox.abs(x))) * ox.tanh(x)),
    row("values", "trigonometric", "float32 float64", "600 far", lambda x: ox.sin(x) * ox.cos(x) - x),
    row("values", "gate", FLOATS, "40x33, 40x33", lambda x, y: ox.silu(x) * y),
    row("values", "gelu", FLOATS, "40x33", lambda x: ox.gelu(x) + x, lambda x: ox.gelu(x, approximate=True) + x),
    row("values", "root-and-power", FLOATS, "900 positive", lambda x: ox.pow(ox.sqrt(x), 1.5) * ox.rsqrt(x)),
    row("values", "rounding-ops", FLOATS, "900 far", lambda x: ox.floor(x) + ox.round(x) - ox.trunc(x) * ox.ceil(x)),
    row("values", "two-results", NUMBERS, "40x33, 40x33", lambda x, y: (x + y, (x + y) * y)),
    row("values", "three-results", FLOATS, "500, 500", lambda x, y: (x * y, ox.exp(x * y), -(x * y) + x)),
    row("values", "results-out-of-order", FLOATS, "500", lambda x: (ox.abs(x * 2.0) + x, x * 2.0)),
    row("values", "results-of-several-dtypes", FLOATS, "500, 500", lambda x, y: (x * y, ox.less(x * y, x))),
    row("values", "narrow-in-between", FLOATS, "800, 800",
        lambda x, y: ox.cast(ox.cast(x, t.float16) * ox.cast(y, t.float16), t.float32) + 0.1),
    row("values", "brain-in-between", FLOATS, "800, 800",
        lambda x, y: ox.cast(ox.cast(x * y, t.bfloat16), t.float32) * 3.0),
    row("values", "wide-in-between", FLOATS, "800, 800",
        lambda x, y: ox.cast(ox.cast(x, t.float64) * 3.0 + ox.cast(y, t.float64), x.dtype)),
    row("values", "through-integers", NUMBERS, "800", lambda x: ox.cast(ox.cast(x, t.int32) * 3 + 1, t.float32) * 0.5),
    row("values", "through-bool", NUMBERS, "800 small, 800", lambda x, y: ox.cast(ox.cast(x, t.bool_), y.dtype) * y),
    row("values", "operands-of-several-dtypes", ALL, "40x33, 40x33 float32, 33 int32",
        lambda x, y, z: ox.cast(x, t.float32) * y + ox.cast(z, t.float32)),
    row("values", "two-sets-of-constants", FLOATS, "300", _polynomial(2.0, 1.0), _polynomial(3.0, -1.0)),
    row("values", "constants-in-another-order", FLOATS, "300", lambda x: (x + 1.0) * 3.0, lambda x: (x + 3.0) * 1.0),
    row("values", "two-sets-of-integer-constants", INTEGERS, "300", lambda x: x * 3 + 7, lambda x: x * 7 + 3),
    row("values", "select", NUMBERS, "700, 700", lambda x, y: ox.where(ox.less(x, y), x * y, y - x)),
    row("values", "select-by-mask", "bool", "40x33, 40x33 float32, 33 float32", lambda m, x, y: ox.where(m, x * y, y)),
    row("values", "comparisons", NUMBERS, "700 small, 700 small",
        lambda x, y: ox.logical_xor(ox.less(x, y), ox.logical_and(ox.equal(x, y), ox.greater_equal(y, x)))),
    row("values", "clip", NUMBERS, "700", lambda x: ox.maximum(ox.minimum(x, 3), -2) + x),
    row("values", "remainders", NUMBERS, "700, 700 small", lambda x, y: ox.remainder(x, y) + ox.floor_divide(x, y)),
    row("values", "shifts-and-masks", INTEGERS, "700, 700 small",
        lambda x, y: ox.bitwise_xor(ox.bitwise_left_shift(x, y), ox.bitwise_and(ox.bitwise_right_shift(x, y), x))),
    row("values", "integer-casts", INTEGERS, "700", lambda x: ox.cast(ox.cast(x, t.int8) * 2, t.uint16) + 5,
        lambda x: ox.cast(ox.cast(x, t.uint8) * 2, t.int64) + 5),
    row("values", "truth", "bool", "40x33, 40x33", lambda x, y: ox.logical_and(ox.logical_not(x), ox.logical_or(x, y))),
    row("values", "truth-as-numbers", "bool", "700, 700 float32", lambda x, y: ox.cast(x, t.float32) * y + 1.0),
    row("values", "truth-from-numbers", ALL, "700 small, 700", lambda x, y: (ox.logical_not(ox.cast(x, t.bool_)),
        ox.where(ox.cast(x, t.bool_), y, x))),
    # NaN, infinities, both zeros, subnormals.
    row("special", "hard-values", FLOATS, "1500 hard, 1500 hard", lambda x, y: x * y + x - y),
    row("special", "hard-values-through-a-quotient", FLOATS, "1500 hard, 1500 hard", lambda x, y: (x / y) * (y + 1.0)),
    row("special", "hard-values-through-extremes", FLOATS, "1500 hard, 1500 hard",
        lambda x, y: ox.maximum(ox.minimum(x, y) + 0.0, -y)),
    row("special", "hard-values-through-exp", FLOATS, "1500 hard", lambda x: ox.exp(x) - ox.exp(-x)),
    row("special", "hard-values-through-casts", FLOATS, "1500 hard",
        lambda x: (ox.cast(ox.cast(x, t.float16), t.float32) + 0.0, ox.cast(x * 1.0, t.int32))),
    row("special", "hard-values-compared", FLOATS, "1500 hard, 1500 hard",
        lambda x, y: ox.logical_or(ox.isnan(x + y), ox.logical_and(ox.less_equal(x, y), ox.isfinite(y * 1.0)))),
    row("special", "hard-integers", INTEGERS, "1500 hard, 1500 hard", lambda x, y: ox.abs(x * y - y) + ox.sign(x)),
    row("special", "hard-constants", FLOATS, "700 hard", lambda x: (x + float("inf")) * -0.0,
        lambda x: (x + 1e-40) * -0.0, lambda x: (x + float("nan")) * 1.0, lambda x: (x + -0.0) * 1.0),
    # Sizes.
    row("shapes", "empty", ALL, "0, 0", lambda x, y: ox.logical_and(ox.equal(x, y), ox.equal(y, x))),
    row("shapes", "empty-rows", NUMBERS, "3x0, 3x1", lambda x, y: (x + y) * y),
    row("shapes", "number", NUMBERS, "-, -", lambda x, y: (x + y) * y),
    row("shapes", "one-element", ALL, "1x1x1, 1", lambda x, y: ox.where(ox.equal(x, y), x, y)),
    row("shapes", "rows-and-columns", NUMBERS, "40x1, 1x33", lambda x, y: (x + y) * x),
    row("shapes", "number-beside-rows", NUMBERS, "-, 7x65", lambda x, y: (x + y) * x),
    row("shapes", "row-beside-matrices", NUMBERS, "5x7x33, 33, 7x1", lambda x, y, z: (x + y) * z - y),
    row("shapes", "wider-result", NUMBERS, "33, 5x1x33", lambda x, y: (x * x + y) - x),
    row("shapes", "many-axes", NUMBERS, "2x3x2x3x2x5, 3x1x3x1x5", lambda x, y: (x + y) * x),
    row("shapes", "views-inside", NUMBERS, "40x33, 33x40", lambda x, y: ox.permute_dims(x + 1, (1, 0)) * y - y),
    row("shapes", "repeated-inside", NUMBERS, "33, 40x33",
        lambda x, y: ox.broadcast_to(x * x, (40, 33)) + ox.expand_dims(x, axis=0) * y),
    row("shapes", "reshaped-inside", NUMBERS, "12x35, 420", lambda x, y: (ox.reshape(x * 2, (420,)) + y) * y),
    row("shapes", "parts-inside", NUMBERS, "40x33", lambda x: (x * 2)[1:, ::-1] + x[:-1, :] * x[1:, :]),
    row("shapes", "turned-round-inside", NUMBERS, "40x33", lambda x: ox.flip(x + 1, axis=0) * x - x),
    row("shapes", "passed-on", NUMBERS, "300, 300", lambda x, y: (x, (x + y) * y)),
    row("shapes", "one-operand-twice", NUMBERS, "300", lambda x: (x + x) * x),
    row("large", "line", "float32 bfloat16 int8", "100003, 100003", lambda x, y: x * y + x),
    row("large", "matrix", "float32 float16", "317x331, 331", lambda x, y: (x + y) * x),
)  # fmt: skip


def rows() -> Iterator[Row]:
    """Return every chain of the suite."""
    yield from _ROWS
    for n in _LENGTHS:
        yield row("shapes", f"length-{n}", "float32 float16 int8 bool", f"{n}, {n}", _few)
    for layout in LAYOUTS:
        yield row("strides", layout, ALL, f"9x10x11 {layout}, 9x10x11 {layout}", _few)
        yield row("strides", f"{layout}-second", "float32 float16 int8", f"9x10x11, 9x10x11 {layout}", _few)
    yield row("strides", "each-another", NUMBERS,
              "9x10x11 transposed, 9x10x11 negative, 9x10x11 step, 10x11 offset, 11 mirrored",
              lambda a, b, c, d, e: (a - b) * c - d * e)  # fmt: skip
    yield row("strides", "repeated-columns", NUMBERS, "40x1 step, 40x33 transposed", lambda x, y: (x - y) * x)


def _few(x: Array, y: Array) -> tuple[Array, Array]:
    """Two ops and two results, on any dtype."""
    larger = ox.logical_or(x, y) if x.dtype is t.bool_ else x - y
    return larger, ox.where(ox.equal(x, y), x, larger)
