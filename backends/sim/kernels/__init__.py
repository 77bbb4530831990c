"""Kernels of a simulated device: computed on NumPy views of its memory, priced in virtual time."""

from __future__ import annotations

from ....plugin import Kernel
from ..hardware import Description
from . import contraction, creation, elementwise, movement, reductions
from .rows import Row, Unit, kernel


def rows(description: Description) -> tuple[Row, ...]:
    """Return what the described hardware can do: without a vector unit, products and movement alone."""
    every = (
        *elementwise.ROWS,
        *reductions.ROWS,
        *contraction.rows(description),
        *movement.ROWS,
        *creation.ROWS,
    )
    return tuple(row for row in every if row.unit is not Unit.VECTOR or description.vector is not None)


def kernels(description: Description, suffix: str = "") -> list[Kernel]:
    """Return the kernels for devices of one description.

    Args:
        description: the device.
        suffix: for their names, where there are devices of several descriptions.
    """
    made = (kernel(row, description, suffix) for row in rows(description))
    return [one for one in made if one is not None]
