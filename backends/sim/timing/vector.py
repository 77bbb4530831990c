"""What each op costs on the vector unit: its class, and how often an element is touched."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final, Literal

from ..hardware import VectorUnit

Cost = Literal["simple", "multiply_add", "divide", "square_root", "transcendental", "compare"]

#: The class of every op that works element by element.
ELEMENTWISE: Final[dict[str, Cost]] = {
    **dict.fromkeys(
        (
            *("add", "subtract", "multiply", "negative", "abs", "sign", "copysign", "nextafter", "cast", "where"),
            *("bitwise_and", "bitwise_or", "bitwise_xor", "bitwise_invert", "bitwise_left_shift"),
            *("bitwise_right_shift", "floor", "ceil", "trunc", "round", "signbit", "isnan", "isinf", "isfinite"),
            *("full", "iota"),
        ),
        "simple",
    ),
    **dict.fromkeys(
        ("maximum", "minimum", "equal", "not_equal", "less", "less_equal", "greater", "greater_equal"), "compare"
    ),
    "fma": "multiply_add",
    **dict.fromkeys(("divide", "floor_divide", "remainder"), "divide"),
    **dict.fromkeys(("sqrt", "rsqrt"), "square_root"),
    **dict.fromkeys(
        (
            *("pow", "cbrt", "hypot", "exp", "exp2", "expm1", "log", "log2", "log10", "log1p", "erf", "erfc"),
            *("sin", "cos", "tan", "asin", "acos", "atan", "atan2"),
            *("sinh", "cosh", "tanh", "asinh", "acosh", "atanh"),
            "random_bits",  # ten rounds of two wide products and four exclusive ors, for four words
        ),
        "transcendental",
    ),
}
#: The class of every reduction; each element is touched once, and what the lanes hold is folded in halves.
REDUCTIONS: Final[dict[str, Cost]] = {
    **dict.fromkeys(("sum", "prod", "all", "any"), "simple"),
    **dict.fromkeys(("max", "min", "argmax", "argmin"), "compare"),
}
#: Scans go over their elements twice, up and down a tree (G. Blelloch, "Prefix Sums and Their Applications", 1990).
SCANS: Final[dict[str, Cost]] = {"cumulative_sum": "simple", "cumulative_prod": "simple"}
#: Ops that compare along a line of n: log2(n) times per element.
SORTS: Final[dict[str, Cost]] = {"sort": "compare", "argsort": "compare", "searchsorted": "compare"}

#: All that the unit does.
OPS: Final = frozenset({*ELEMENTWISE, *REDUCTIONS, *SCANS, *SORTS})

#: A complex operation as real ones: a product is four products and two sums, on pairs.
_PER_COMPLEX: Final = 4.0
COMPLEX: Final = {"complex64": "float32", "complex128": "float64"}


@dataclass(frozen=True, slots=True)
class Work:
    """What an op asks of the lanes.

    Attributes:
        elements: times lanes are used, each for one element.
        cost: class of each.
        serial: further steps of one element that no lanes share, such as the last levels of a reduction.
    """

    elements: float
    cost: Cost
    serial: float = 0.0


def work_of(op: str, read: int, written: int, line: int, lanes: int) -> Work:
    """Return what one of :data:`OPS` asks of the vector unit.

    Args:
        op: its name.
        read: elements of the largest operand.
        written: elements of the result.
        line: elements along the axis of a sort, or of the sorted operand of a search.
        lanes: of the unit.
    """
    if op in ELEMENTWISE:
        return Work(written, ELEMENTWISE[op])
    if op in REDUCTIONS:
        return Work(read, REDUCTIONS[op], serial=math.log2(lanes))
    if op in SCANS:
        return Work(2 * read, SCANS[op], serial=math.log2(max(2, line)))
    return Work(written * math.log2(max(2, line)), SORTS[op])


def cycles(unit: VectorUnit, work: Work, dtype: str) -> float:
    """Return the cycles that work takes on a dtype that the unit has; a complex one is made of its parts.

    >>> from opmux.backends.sim.description import preset
    >>> cycles(preset("tpu-v1").vector, Work(2560, "simple"), "int8")
    10.0
    """
    times = _PER_COMPLEX if dtype in COMPLEX else 1.0
    rate = unit.precisions[COMPLEX.get(dtype, dtype)]
    cost = unit.costs[work.cost] * times / rate
    return (math.ceil(work.elements / unit.lanes) + work.serial) * cost
