"""Joining, padding, copying and taking apart: pieces of the operands at places of the output."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from ...plugin import (
    ARITHMETIC,
    CANONICAL,
    Accepts,
    CallSpec,
    CostTerms,
    Kernel,
    Prepare,
    Prepared,
    Reason,
    Rejection,
    Signature,
    dtypes,
)
from .device.driver import KIND, driver_of
from .device.launching import launcher
from .movement import Piece, in_units, steps, transposed, unit

ALL: Final = frozenset(t.name for t in dtypes.ALL)
#: What no elementwise program moves.
_WIDE: Final = frozenset({"complex128"})
_NO_PROGRAM: Final = ALL - ARITHMETIC
#: One word per thread and turn, from anywhere: at least what plain kernels reach (47 % and more: BabelStream).
STRIDED: Final = CostTerms(memory=0.5)
#: A tiled transpose of a float32 plane beside a copy (352 of 389 GB/s: S. Jang, "CUDA image transposed").
TILED: Final = CostTerms(memory=0.9)


def _prepared(spec: CallSpec, pieces: Sequence[Piece], size: int) -> Prepared:
    return Prepared(launcher(driver_of(spec).runtime, steps(spec, pieces, size)))


def _elements(spec: CallSpec, pieces: Sequence[Piece]) -> Prepared:
    """Return what moves whole elements."""
    size = spec.outputs[0].dtype.itemsize
    return _prepared(spec, [in_units(p, size) for p in pieces], unit(size))


def _whole(array: int, x: Signature, out: Signature, start: Sequence[int]) -> Piece:
    """Return the piece that is all of an operand, at a place of the output."""
    at = sum(i * s for i, s in zip(start, out.strides, strict=True))
    return Piece(array, x.shape, (x.strides, out.strides), (0, at), x.aligned and out.aligned)


def _concat(spec: CallSpec) -> Prepared:
    (out,), axis, done = spec.outputs, spec.attributes["axis"], 0
    pieces = []
    for i, x in enumerate(spec.arrays):
        pieces.append(_whole(i, x, out, [done if d == axis else 0 for d in range(len(out.shape))]))
        done += x.shape[axis]
    return _elements(spec, pieces)


def _pad(spec: CallSpec) -> Prepared:
    """The operand, and for each axis a slab of the value before and one after it; no element is written twice."""
    (x, value), (out,) = spec.arrays, spec.outputs
    widths = spec.attributes["pad_width"]
    pieces = [_whole(0, x, out, [low for low, _ in widths])]
    still = (0,) * len(out.shape)
    for axis, (low, high) in enumerate(widths):
        inner = [n + a + b for n, (a, b) in zip(x.shape[axis + 1 :], widths[axis + 1 :], strict=True)]
        for begin, length in ((0, low), (low + x.shape[axis], high)):
            start = [*(a for a, _ in widths[:axis]), begin, *(0 for _ in inner)]
            at = sum(i * s for i, s in zip(start, out.strides, strict=True))
            shape = (*x.shape[:axis], length, *inner)
            pieces.append(Piece(1, shape, (still, out.strides), (0, at), value.aligned and out.aligned))
    return _elements(spec, pieces)


def _copy(spec: CallSpec) -> Prepared:
    x, out = spec.arrays[0], spec.outputs[0]
    return _elements(spec, [_whole(0, x, out, [0] * len(out.shape))])


def _transposed(spec: CallSpec) -> Prepared | Rejection:
    step = transposed(spec)
    if step is None:
        return Rejection(Reason.LAYOUT, "the operand is no batch of transposed planes")
    return Prepared(launcher(driver_of(spec).runtime, [step]))


def _bitcast(spec: CallSpec) -> Prepared | Rejection:
    source, target = spec.arrays[0].dtype.name, spec.outputs[0].dtype.name
    if source in ARITHMETIC and target in ARITHMETIC:
        return Rejection(Reason.DTYPE, "there is a recipe for it")
    return _copy(spec)


def _full(spec: CallSpec) -> Prepared:
    value, out = spec.arrays[0], spec.outputs[0]
    still = (0,) * len(out.shape)
    return _elements(spec, [Piece(0, out.shape, (still, out.strides), aligned=value.aligned and out.aligned)])


def _twice(strides: Sequence[int]) -> tuple[int, ...]:
    return tuple(2 * s for s in strides)


def _part_of(which: int) -> Prepare:
    """Return what takes the real parts (0) or the imaginary ones (1) of complex numbers."""

    def prepare(spec: CallSpec) -> Prepared:
        x, out = spec.arrays[0], spec.outputs[0]
        aligned = x.aligned and out.aligned
        piece = Piece(0, out.shape, (_twice(x.strides), out.strides), (which, 0), aligned)
        return _prepared(spec, [piece], out.dtype.itemsize)

    return prepare


def _complex(spec: CallSpec) -> Prepared:
    (out,) = spec.outputs
    pieces = [
        Piece(i, out.shape, (x.strides, _twice(out.strides)), (0, i), x.aligned and out.aligned)
        for i, x in enumerate(spec.arrays)
    ]
    return _prepared(spec, pieces, out.dtype.itemsize // 2)


def _kernel(
    op: str, prepare: Prepare, names: frozenset[str] = ALL, kind: str = "", cost: CostTerms = STRIDED
) -> Kernel:
    return Kernel(f"{op}.{kind}" if kind else op, op, KIND, prepare, Accepts(dtypes=(names,)), CANONICAL, cost)


KERNELS: Final = (
    _kernel("concat", _concat, cost=CostTerms()),
    _kernel("pad", _pad),
    _kernel("copy", _copy, kind="strided"),
    _kernel("copy", _transposed, kind="transposed", cost=TILED),
    _kernel("full", _full, _WIDE, kind="wide"),
    _kernel("bitcast", _bitcast, kind="words"),
    _kernel("real", _part_of(0)),
    _kernel("imag", _part_of(1)),
    _kernel("complex", _complex),
)
