"""What a benchmark is: cases and targets, as data."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from ..case import Case

#: What its numbers are quoted in: operations or bytes per second, or the time of one call.
Unit = Literal["GFLOP/s", "GB/s", "s", "GB/s or GFLOP/s"]
#: How the ratios of several cases become one figure.
Of = Literal["least", "geometric mean"]


@dataclass(frozen=True, slots=True)
class Target:
    """A figure that is to be reached: how many times faster one peer is than another.

    Attributes:
        name: what is to be reached, in words.
        case: name of the case, or of several.
        peer: who must be faster.
        over: than whom; for the probe, the share of the limit.
        at_least: how many times.
        of: what counts, of several cases.
    """

    name: str
    case: str | tuple[str, ...]
    peer: str
    over: str
    at_least: float
    of: Of = "least"

    @property
    def cases(self) -> tuple[str, ...]:
        """The names of its cases."""
        return (self.case,) if isinstance(self.case, str) else self.case


@dataclass(frozen=True, slots=True)
class Suite:
    """One benchmark.

    Attributes:
        name: on the command line.
        title: over its table.
        unit: of its rates.
        cases: ``cases(quick)``; quick ones are tiny, for tests.
        targets: what is to be reached.
        device: the kind of device that its peers run on.
    """

    name: str
    title: str
    unit: Unit
    cases: Callable[[bool], list[Case]]
    targets: tuple[Target, ...] = ()
    device: str = "cpu"
