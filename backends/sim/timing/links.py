"""Time on links: latency and bandwidth (alpha and beta) per hop, for each topology, and collectives in closed form.

Devices of a torus or mesh form the most nearly square grid, numbered row by row. Messages are cut through: hops add
latency, not another transfer.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Final

from ..hardware import Links


def grid(devices: int) -> tuple[int, int]:
    """Return the most nearly square (rows, columns) of a torus or mesh.

    >>> grid(8), grid(16), grid(7)
    ((2, 4), (4, 4), (1, 7))
    """
    rows = next(r for r in range(math.isqrt(devices), 0, -1) if devices % r == 0)
    return rows, devices // rows


def _around(a: int, b: int, n: int) -> int:
    return min((a - b) % n, (b - a) % n)


def _ring(a: int, b: int, n: int) -> int:
    return _around(a, b, n)


def _torus(a: int, b: int, n: int) -> int:
    rows, columns = grid(n)
    return _around(a // columns, b // columns, rows) + _around(a % columns, b % columns, columns)


def _mesh(a: int, b: int, n: int) -> int:
    _, columns = grid(n)
    return abs(a // columns - b // columns) + abs(a % columns - b % columns)


def _one(a: int, b: int, n: int) -> int:
    return int(a != b)


_HOPS: Final[dict[str, Callable[[int, int, int], int]]] = {
    "ring": _ring,
    "torus": _torus,
    "mesh": _mesh,
    "switch": _one,
    "fully_connected": _one,
}


def hops(links: Links, source: int, target: int, devices: int) -> int:
    """Return how many hops lie between two devices; a switch counts as one."""
    return _HOPS[links.topology](source, target, devices)


def pair_bandwidth(links: Links, devices: int) -> float:
    """Return bytes per second, one way, that a device has toward one neighbour.

    Behind a switch all links serve any peer. Elsewhere they are dealt out to the neighbours: two on a ring, four on a
    torus or mesh, everyone where all are connected; each has at least the share of one link.
    """
    ways = {"switch": 1, "ring": min(2, devices - 1), "fully_connected": devices - 1}
    neighbours = max(1, ways.get(links.topology, min(4, devices - 1)))
    return links.count * links.bandwidth / neighbours


def send_seconds(links: Links, nbytes: float, devices: int, distance: int = 1) -> float:
    """Return the time of one message over *distance* hops: alpha per hop, and bytes over the bandwidth of a pair.

    >>> from opmux.backends.sim.description import preset
    >>> round(send_seconds(preset("h100-sxm").links, 450e6, 8) * 1e3, 3)  # milliseconds
    1.001
    """
    return distance * links.latency + nbytes / pair_bandwidth(links, devices)


def ring_all_reduce(alpha: float, bandwidth: float, nbytes: float, n: int) -> float:
    """Return 2 (n - 1) alpha + 2 (n - 1) / n S / B: a ring's reduce-scatter, then its all-gather, without reducing.

    Source: Thakur, Rabenseifner and Gropp, "Optimization of Collective Communication Operations in MPICH", 2005.

    >>> ring_all_reduce(1e-6, 1e9, 4e6, 4)
    0.006006
    """
    return 2 * (n - 1) * alpha + 2 * (n - 1) / n * nbytes / bandwidth


def recursive_doubling(alpha: float, bandwidth: float, nbytes: float, n: int) -> float:
    """Return ceil(lg n) (alpha + S / B); source as for :func:`ring_all_reduce`."""
    return math.ceil(math.log2(n)) * (alpha + nbytes / bandwidth)


def rabenseifner(alpha: float, bandwidth: float, nbytes: float, n: int) -> float:
    """Return 2 ceil(lg n) alpha + 2 (n - 1) / n S / B; source as for :func:`ring_all_reduce`."""
    return 2 * math.ceil(math.log2(n)) * alpha + 2 * (n - 1) / n * nbytes / bandwidth


def crossover(alpha: float, bandwidth: float, n: int) -> float:
    """Return the bytes at which recursive doubling and Rabenseifner's algorithm take as long; n a power of two above 2.

    alpha B lg n / (lg n - 2 (n - 1) / n), from setting the two equal.
    """
    log = math.log2(n)
    return alpha * bandwidth * log / (log - 2 * (n - 1) / n)
