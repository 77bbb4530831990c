"""What ``derive`` computes for the trigonometric, inverse trigonometric and error functions."""

from __future__ import annotations

from typing import Final

from .derive import Fit, Split

FITS: Final[tuple[Fit, ...]] = ()
SPLITS: Final[tuple[Split, ...]] = ()
