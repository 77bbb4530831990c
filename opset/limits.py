"""Limits of dtypes, as data: what ``finfo`` and ``iinfo`` return."""

from __future__ import annotations

from dataclasses import dataclass

from ..core.dtypes import DType


@dataclass(frozen=True, slots=True)
class FloatLimits:
    """Limits of a floating dtype, as Python floats.

    Attributes:
        bits: width of one real number in bits.
        eps: from 1 to the next larger number.
        max, min: largest and most negative finite number.
        smallest_normal: smallest positive number of full precision.
        dtype: of the real numbers; of a complex dtype that of its parts.
    """

    bits: int
    eps: float
    max: float
    min: float
    smallest_normal: float
    dtype: DType


@dataclass(frozen=True, slots=True)
class IntegerLimits:
    """Limits of an integer dtype.

    Attributes:
        bits: width in bits.
        max, min: largest and smallest value.
        dtype: the dtype itself.
    """

    bits: int
    max: int
    min: int
    dtype: DType
