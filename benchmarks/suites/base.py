"""What a benchmark is: cases and targets, as data."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from ..case import Case

#: What its numbers are quoted in: operations or bytes per second, or the time of one call.
Unit = Literal["GFLOP/s", "GB/s", "s"]


@dataclass(frozen=True, slots=True)
class Target:
    """A figure that is to be reached: how many times faster one peer is than another on a case.

    Attributes:
        name: what is to be reached, in words.
        case: name of the case.
        peer: who must be faster.
        over: than whom.
        at_least: how many times.
    """

    name: str
    case: str
    peer: str
    over: str
    at_least: float


@dataclass(frozen=True, slots=True)
class Suite:
    """One benchmark.

    Attributes:
        name: on the command line.
        title: over its table.
        unit: of its rates.
        cases: ``cases(quick)``; quick ones are tiny, for tests.
        targets: what is to be reached.
    """

    name: str
    title: str
    unit: Unit
    cases: Callable[[bool], list[Case]]
    targets: tuple[Target, ...] = ()
