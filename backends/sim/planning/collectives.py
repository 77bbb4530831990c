"""Collectives in closed form, on the links that a description has, or the buses to the host.

Each is the best of the textbook algorithms, without the reduction's arithmetic. Source of the formulas: Thakur,
Rabenseifner and Gropp, "Optimization of Collective Communication Operations in MPICH", 2005.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Final

from ..hardware import Dma, Links
from ..timing import links as timing

#: ``(alpha, bandwidth, bytes, ranks)`` to seconds; bytes are those of the whole vector, over all ranks.
Formula = Callable[[float, float, float, int], float]


def _all_reduce(alpha: float, bandwidth: float, nbytes: float, n: int) -> float:
    algorithms = (timing.ring_all_reduce, timing.recursive_doubling, timing.rabenseifner)
    return min(one(alpha, bandwidth, nbytes, n) for one in algorithms)


def _shifts(alpha: float, bandwidth: float, nbytes: float, n: int) -> float:
    """Return (n - 1) alpha + (n - 1) / n S / B: every rank passes on all parts but one."""
    return (n - 1) * alpha + (n - 1) / n * nbytes / bandwidth


def _broadcast(alpha: float, bandwidth: float, nbytes: float, n: int) -> float:
    """Return the better of a binomial tree, and a scatter followed by an all-gather."""
    log = math.ceil(math.log2(n))
    return min(log * (alpha + nbytes / bandwidth), (log + n - 1) * alpha + 2 * (n - 1) / n * nbytes / bandwidth)


def _message(alpha: float, bandwidth: float, nbytes: float, n: int) -> float:
    return alpha + nbytes / bandwidth


_FORMULAS: Final[dict[str, Formula]] = {
    "all_reduce": _all_reduce,
    "reduce_scatter": _shifts,
    "all_gather": _shifts,
    "all_to_all": _shifts,
    "broadcast": _broadcast,
    "permute": _message,
}
#: Bytes that a rank sends, as a share of the vector.
_SENT: Final[dict[str, Callable[[int], float]]] = {
    "all_reduce": lambda n: 2 * (n - 1) / n,
    "reduce_scatter": lambda n: (n - 1) / n,
    "all_gather": lambda n: (n - 1) / n,
    "all_to_all": lambda n: (n - 1) / n,
}


def is_priced(op: str) -> bool:
    """Return whether there is a formula for a collective."""
    return op in _FORMULAS


def over_buses(op: str, dma: Dma) -> Links:
    """Return what connects devices without links: their buses, by way of the host.

    A bus carries one transfer at a time, so where every rank sends and receives, each direction has half of it.
    """
    return Links("switch", 1, dma.host_bandwidth / (2 if op in _SENT else 1), 2 * dma.latency)


def seconds(op: str, links: Links, given: int, made: int, ranks: int) -> float:
    """Return the time of a collective over devices that nothing else uses meanwhile; 0 for one rank.

    Args:
        op: its name.
        links: of each device.
        given, made: bytes of one rank's operand and of its result.
        ranks: how many devices.

    >>> seconds("permute", Links("ring", 2, 1e9, 1e-6), 1000, 1000, 4)
    2e-06
    """
    if ranks < 2:
        return 0.0
    return _FORMULAS[op](links.latency, timing.pair_bandwidth(links, ranks), float(max(given, made)), ranks)


def bytes_sent(op: str, given: int, made: int, ranks: int) -> float:
    """Return the bytes that one rank sends over its links."""
    if ranks < 2:
        return 0.0
    share = _SENT[op](ranks) if op in _SENT else 1.0
    return share * max(given, made)
