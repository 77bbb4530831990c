"""Products of matrices and what is done with them: bias, activation, scale, residual, casts, batches, ragged sizes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from ....core import dtypes as t
from .chains import FLOATS, INTEGERS, NUMBERS
from .row import OPSET as ox
from .row import Row, row

_NARROW: Final = "float16 bfloat16"
#: Rows, terms and columns around the edges of tiles, and the smallest.
_SIZES: Final = ((1, 1, 1), (1, 64, 64), (64, 1, 64), (17, 33, 1), (31, 65, 33), (64, 64, 64), (65, 129, 127))

_ROWS: Final = (
    row("values", "bias", NUMBERS, "48x80, 80x64, 64", lambda x, w, b: ox.matmul(x, w) + b),
    row("values", "bias-and-relu", FLOATS, "48x80, 80x64, 64", lambda x, w, b: ox.relu(ox.matmul(x, w) + b)),
    row("values", "bias-and-gelu", FLOATS, "48x80, 80x64, 64", lambda x, w, b: ox.gelu(ox.matmul(x, w) * 0.1 + b)),
    row("values", "bias-and-tanh", FLOATS, "48x80, 80x64, 64", lambda x, w, b: ox.tanh(ox.matmul(x, w) * 0.1 + b)),
    row("values", "scale-and-residual", FLOATS, "48x80, 80x64, 48x64", lambda x, w, r: ox.matmul(x, w) * 0.25 + r),
    row("values", "two-scales", FLOATS, "33x32, 32x48", lambda x, w: ox.matmul(x, w) * 0.5 + 1.0,
        lambda x, w: ox.matmul(x, w) * 2.0 + 3.0),
    row("values", "clipped", NUMBERS, "48x80, 80x64",
        lambda x, w: ox.minimum(ox.maximum(ox.matmul(x, w), -3), 5) + 1),
    row("values", "linear", FLOATS, "48x80, 64x80, 64", lambda x, w, b: ox.relu(ox.linear(x, w, b))),
    row("values", "linear-of-a-batch", FLOATS, "3x17x80, 64x80, 64", lambda x, w, b: ox.relu(ox.linear(x, w, b))),
    row("values", "gate-beside", FLOATS, "48x80, 80x64, 48x64", lambda x, w, g: ox.matmul(x, w) * ox.sigmoid(g)),
    row("values", "used-twice", FLOATS, "33x32, 32x48", lambda x, w: ox.matmul(x, w) * ox.tanh(ox.matmul(x, w) * 0.1)),
    row("values", "two-results", FLOATS, "33x32, 32x48, 48",
        lambda x, w, b: (ox.matmul(x, w) + b, ox.relu(ox.matmul(x, w) + b))),
    row("values", "row-of-scales", FLOATS, "48x80, 80x64, 48x1, 64", lambda x, w, s, b: ox.matmul(x, w) * s + b),
    row("values", "masked", FLOATS, "48x80, 80x64, 48x64 bool",
        lambda x, w, m: ox.where(m, ox.matmul(x, w) * 0.125, -100.0)),
    row("values", "narrow-result", FLOATS, "48x80 unit, 80x64 unit, 64",
        lambda x, w, b: ox.cast(ox.matmul(x, w) + b, t.float16) * 1.0),
    row("values", "summed-wide", _NARROW, "48x80, 80x64, 64 float32",
        lambda x, w, b: ox.cast(ox.matmul(x, w, dtype=t.float32) + b, x.dtype)),
    row("values", "widened-before", _NARROW, "48x80, 80x64, 64 float32",
        lambda x, w, b: ox.matmul(ox.cast(x, t.float32), ox.cast(w, t.float32)) * 0.5 + b),
    row("values", "summed-in-32-bits", "int8", "48x80, 80x64, 64 int32",
        lambda x, w, b: ox.matmul(x, w, dtype=t.int32) + b),
    row("values", "back-to-8-bits", "int8", "48x80, 80x64, 64 float32",
        lambda x, w, s: ox.cast(ox.round(ox.cast(ox.matmul(x, w, dtype=t.int32), t.float32) * 0.001 * s), t.int8)),
    row("special", "hard-bias", FLOATS, "48x33, 33x64, 64 hard", lambda x, w, b: ox.maximum(ox.matmul(x, w) + b, 0.0)),
    row("special", "hard-operand", "float32 float64", "48x33 hard, 33x64 unit", lambda x, w: -ox.matmul(x, w) + 0.0),
    row("special", "zeros", FLOATS, "33x32 small, 32x48 small", lambda x, w: ox.matmul(x * 1.0, w) * -1.0),
    row("shapes", "no-terms", NUMBERS, "5x0, 0x7, 7", lambda x, w, b: ox.matmul(x, w) + b),
    row("shapes", "no-rows", NUMBERS, "0x5, 5x7, 7", lambda x, w, b: ox.matmul(x, w) + b),
    row("shapes", "batch", NUMBERS, "3x17x33, 3x33x20, 20", lambda x, w, b: ox.matmul(x, w) + b),
    row("shapes", "batch-of-rows-only", FLOATS, "3x17x33, 33x20, 20", lambda x, w, b: ox.relu(ox.matmul(x, w) + b)),
    row("shapes", "batch-beside-one", FLOATS, "2x1x9x16, 3x16x8", lambda x, w: ox.matmul(x, w) * 0.5 + 1.0),
    row("shapes", "bias-by-row", FLOATS, "33x32, 32x48, 33x1", lambda x, w, b: ox.relu(ox.matmul(x, w) + b)),
    row("shapes", "turned-after", FLOATS, "33x32, 32x48, 48x33",
        lambda x, w, r: ox.permute_dims(ox.matmul(x, w), (1, 0)) + r * 2.0),
    row("shapes", "heads", FLOATS, "2x9x4x16, 2x9x4x16",
        lambda q, k: ox.matmul(ox.permute_dims(q, (0, 2, 1, 3)), ox.permute_dims(k, (0, 2, 3, 1))) * 0.25 + 1.0),
    row("strides", "first-transposed", NUMBERS, "48x80 transposed, 80x64, 64", lambda x, w, b: ox.matmul(x, w) + b),
    row("strides", "second-transposed", NUMBERS, "48x80, 80x64 transposed, 64", lambda x, w, b: ox.matmul(x, w) + b),
    row("strides", "transposed-residual", FLOATS, "48x80, 80x64, 48x64 transposed",
        lambda x, w, r: ox.matmul(x, w) * 0.5 + r),
    row("strides", "backwards-bias", FLOATS, "48x80 negative, 80x64 mirrored, 64 negative",
        lambda x, w, b: ox.matmul(x, w) + b),
    row("strides", "with-gaps", NUMBERS, "48x80 offset, 80x64 step, 64 step", lambda x, w, b: ox.matmul(x, w) + b),
    row("strides", "repeated-rows", FLOATS, "48x80 zero, 80x64, 48x64 zero", lambda x, w, r: ox.matmul(x, w) + r),
    row("large", "ragged", "float32 bfloat16 int8", "131x257, 257x195, 195", lambda x, w, b: ox.matmul(x, w) + b),
    row("large", "many-terms", "float32 float16", "9x2003 unit, 2003x11 unit, 11", lambda x, w, b: ox.matmul(x, w) + b),
)  # fmt: skip


def rows() -> Iterator[Row]:
    """Return every graph of the suite with a product of matrices."""
    yield from _ROWS
    for m, k, n in _SIZES:
        yield row("shapes", f"{m}x{k}x{n}", f"float32 {_NARROW} {INTEGERS}", f"{m}x{k}, {k}x{n}, {n}",
                  lambda x, w, b: ox.matmul(x, w) + b)  # fmt: skip
