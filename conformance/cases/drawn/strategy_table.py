"""The table of how calls of ops are drawn, which rows enter themselves into, and what several rows are made of."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from ....core.dtypes import DType
from .falsify import Choices
from .strategies import Call

#: ``row(choices, dtype of the leading operand, elements that it may have)`` returns a call.
StrategyRow = Callable[[Choices, DType, int], Call]
STRATEGIES: Final[dict[str, StrategyRow]] = {}

#: Any value at all, the simple ones first.
ANYTHING: Final = ("small", "moderate", "hard", "stratified")
#: Terms whose sum no order of addition overflows.
TERMS: Final = ("small", "moderate", "wide", "salted", "moderate")


def strategy(*names: str) -> Callable[[StrategyRow], StrategyRow]:
    """Enter a function as the strategy of ops."""

    def enter(function: StrategyRow) -> StrategyRow:
        STRATEGIES.update(dict.fromkeys(names, function))
        return function

    return enter


def one_axis(c: Choices, rank: int) -> int:
    """Return one axis, also counted from the end."""
    axis = c.below(rank)
    return axis - rank if c.flag(3) else axis
