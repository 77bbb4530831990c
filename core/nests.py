"""Shapes and strides boiled down to what a kernel's code depends on.

Strides count elements. Many shapes share one variant: only the number of dimensions that are left
and, for each operand, how it moves along the innermost one decide the code.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum


class Walk(StrEnum):
    """How an operand moves along the innermost dimension."""

    CONTIGUOUS = "contiguous"
    SCALAR = "scalar"
    STRIDED = "strided"


@dataclass(frozen=True, slots=True)
class Nest:
    """A loop nest: its shape and each operand's strides, outermost dimension first."""

    shape: tuple[int, ...]
    strides: tuple[tuple[int, ...], ...]

    def walks(self) -> tuple[Walk, ...]:
        """How each operand moves along the innermost dimension."""
        return tuple(walk_of(s[-1]) for s in self.strides)


def walk_of(stride: int) -> Walk:
    """Class of an innermost stride.

    >>> walk_of(-1)
    <Walk.STRIDED: 'strided'>
    """
    return {0: Walk.SCALAR, 1: Walk.CONTIGUOUS}.get(stride, Walk.STRIDED)


def merge(shape: Sequence[int], strides: Sequence[Sequence[int]]) -> Nest:
    """Drop dimensions of size 1 and merge neighbours that every operand walks as one, keeping their order.

    >>> merge((2, 1, 3, 4), ((12, 5, 4, 1), (0, 9, 0, 0)))
    Nest(shape=(24,), strides=((1,), (0,)))
    """
    sizes: list[int] = []
    columns: list[tuple[int, ...]] = []
    for size, column in zip(shape, zip(*strides, strict=True) if strides else ((),) * len(shape), strict=True):
        if size == 1:
            continue
        if sizes and all(outer == inner * size for outer, inner in zip(columns[-1], column, strict=True)):
            sizes[-1] *= size
            columns[-1] = column
        else:
            sizes.append(size)
            columns.append(column)
    return Nest(tuple(sizes), tuple(zip(*columns, strict=True)) if columns else tuple(() for _ in strides))


def collapse(shape: Sequence[int], strides: Sequence[Sequence[int]]) -> Nest:
    """Reorder the dimensions for the output's sake and merge them; at least one is left.

    The last operand is the output: its largest stride goes outermost. Elementwise work may visit its
    elements in any order, so a transposed array becomes as good as a plain one.

    >>> collapse((4, 3), ((1, 4), (1, 4)))
    Nest(shape=(12,), strides=((1,), (1,)))
    """
    order = sorted(range(len(shape)), key=lambda d: -abs(strides[-1][d]))
    nest = merge([shape[d] for d in order], [[s[d] for d in order] for s in strides])
    return nest if nest.shape else Nest((1,), tuple((1,) for _ in strides))
