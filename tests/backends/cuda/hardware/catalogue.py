"""All trials, in the order in which they run."""

from __future__ import annotations

from typing import Final

from . import behaviour, families, products
from .trial import TRIALS, Trial

__all__ = ["FIRST", "TRIALS", "in_order"]

#: What is asked of each kind of trial: does it compute, does it compute fast, does it behave.
_MODULES: Final = [m.__name__ for m in (families, products, behaviour)]
#: What runs before all others, and again after a hang: where it fails nothing else tells anything.
FIRST: Final = "versions"


def in_order(names: tuple[str, ...] = ()) -> list[Trial]:
    """Return the trials whose names contain one of some texts, or all: the first, those side by side, those alone.

    Raises:
        ValueError: none does.
    """
    found = [t for t in TRIALS.values() if not names or any(name in t.name for name in names)]
    found.sort(key=lambda t: (t.alone, _MODULES.index(t.run.__module__)))
    if not found:
        raise ValueError(f"no trial's name contains {' or '.join(map(repr, names))}; there are: {'; '.join(TRIALS)}")
    return [TRIALS[FIRST], *(t for t in found if t.name != FIRST)]
