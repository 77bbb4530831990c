"""Links between simulated devices: routes over a topology, each direction of a link a resource with its own timeline.

Devices of one description are connected with each other, in the order of their indices; nothing connects devices of
different descriptions. A transfer passes a hop as soon as its head has arrived there, so that its time is
``hops * latency + bytes / bandwidth`` where nothing else is on the way.

Of a switch, the way in and the way out of each device are resources; it counts as one hop.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from .clock import Engine, picoseconds
from .errors import LinkError
from .hardware import Description, Links
from .timing.links import grid, pair_bandwidth

#: A hop: the names of where it begins and ends, positions among the devices or a switch's.
Hop = tuple[str, str]


@dataclass(frozen=True, slots=True)
class Transfer:
    """A transfer that has been given its place in virtual time.

    Attributes:
        source, target: indices of devices.
        nbytes: bytes carried.
        start, end: virtual picoseconds.
        hops: links passed.
    """

    source: int
    target: int
    nbytes: int
    start: int
    end: int
    hops: int


def _ring(source: int, target: int, n: int) -> list[Hop]:
    return _hops(_line(source, target, n, around=True))


def _line(source: int, target: int, n: int, *, around: bool) -> list[int]:
    """Return the positions from one to another on a line, or a circle."""
    forward = (target - source) % n
    if around and forward > n - forward:
        return [(source - i) % n for i in range(n - forward + 1)]
    if around:
        return [(source + i) % n for i in range(forward + 1)]
    step = 1 if target >= source else -1
    return list(range(source, target + step, step))


def _on_grid(source: int, target: int, n: int, *, around: bool) -> list[Hop]:
    """Along the row first, then along the column: dimension order."""
    rows, columns = grid(n)
    (row, column), (to_row, to_column) = divmod(source, columns), divmod(target, columns)
    path = [row * columns + c for c in _line(column, to_column, columns, around=around)]
    path += [r * columns + to_column for r in _line(row, to_row, rows, around=around)[1:]]
    return _hops(path)


def _hops(path: Sequence[int]) -> list[Hop]:
    return [(str(a), str(b)) for a, b in itertools.pairwise(path)]


Route = Callable[[int, int, int], list[Hop]]

#: Topology to the route from a position to another among n.
_ROUTES: Final[Mapping[str, Route]] = MappingProxyType(
    {
        "ring": _ring,
        "torus": lambda source, target, n: _on_grid(source, target, n, around=True),
        "mesh": lambda source, target, n: _on_grid(source, target, n, around=False),
        "switch": lambda source, target, n: [(str(source), "switch"), ("switch", str(target))],
        "fully_connected": lambda source, target, n: [(str(source), str(target))],
    }
)


def path(topology: str, source: int, target: int, n: int) -> Sequence[Hop]:
    """Return the hops from a position to another among n.

    >>> path("ring", 0, 3, 4), path("mesh", 0, 3, 4)
    ([('0', '3')], [('0', '1'), ('1', '3')])
    """
    return _ROUTES[topology](source, target, n)


class Way:
    """The links from one device to another; as an engine it carries one transfer at a time over all of them.

    Attributes:
        name: of the last link.
        links: the links, one per direction, each a resource of its own.
        hop: picoseconds that the head of a transfer takes over each.
        bandwidth: bytes per second.
        last: of the last transfer, when each link began and ended to carry it.
    """

    __slots__ = ("_broken", "bandwidth", "hop", "last", "links", "name", "source", "target")

    def __init__(
        self, source: int, target: int, links: tuple[Engine, ...], hop: int, bandwidth: float, broken: set[Engine]
    ) -> None:
        self.source = source
        self.target = target
        self.links = links
        self.name = links[-1].name
        self.hop = hop
        self.bandwidth = bandwidth
        self.last: list[tuple[int, int]] = []
        self._broken = broken

    def carrying(self, nbytes: int) -> int:
        """Return the picoseconds for which a transfer keeps each link busy."""
        return picoseconds(nbytes / self.bandwidth)

    def book(self, ready: int, duration: int) -> tuple[int, int]:
        """Take the earliest time for a transfer; return when it starts, and when its last byte has arrived."""
        at = ready
        taken: list[tuple[int, int]] = []
        for engine in self.links:
            start, end = engine.book(at, duration)
            taken.append((start, end))
            at = start + self.hop
        self.last = taken
        return taken[0][0], taken[-1][1] + self.hop

    @property
    def intervals(self) -> int:
        """How many busy intervals a link of it remembers at most."""
        return max(engine.intervals for engine in self.links)

    def forget(self, before: int) -> None:
        """Drop what ended before a time at which nothing can start any more."""
        for engine in self.links:
            engine.forget(before)

    def sever(self) -> None:
        """Let its first link carry nothing from now on."""
        self._broken.add(self.links[0])

    def check(self) -> None:
        """Return where every link works.

        Raises:
            LinkError: naming the one that is broken, and both devices.
        """
        for engine in self.links:
            if engine in self._broken:
                raise LinkError(
                    f"{engine.name}, on the way from sim:{self.source} to sim:{self.target}, is broken; copy by way of "
                    "the host, or over other devices",
                    link=engine.name,
                    source=f"sim:{self.source}",
                    device=f"sim:{self.target}",
                )


class Fabric:
    """The links between the devices of a simulation.

    Args:
        devices: their descriptions, in the order of their indices.
    """

    def __init__(self, devices: Sequence[Description]) -> None:
        self._devices = devices
        self._engines: dict[tuple[str, Hop], Engine] = {}
        self._broken: set[Engine] = set()
        self._ways: dict[tuple[int, int], Way] = {}

    def connects(self, source: int, target: int) -> bool:
        """Return whether links connect two devices."""
        one = self._devices[source]
        return source != target and one.links is not None and one == self._devices[target]

    def links_of(self, source: int, target: int) -> Links:
        """Return what connects two devices.

        Raises:
            LinkError: where nothing does.
        """
        found = self._devices[source].links
        if found is None or not self.connects(source, target):
            why = "they are one" if source == target else "they are of different descriptions or have no links"
            raise LinkError(
                f"no link connects sim:{source} and sim:{target}: {why}; copy by way of the host",
                source=f"sim:{source}",
                device=f"sim:{target}",
            )
        return found

    def _place(self, source: int, target: int) -> tuple[str, int, int, int]:
        """Return the name of the fabric that two devices are in, their positions, and how many are in it."""
        description = self._devices[source]
        members = [i for i, d in enumerate(self._devices) if d == description]
        return description.name, members.index(source), members.index(target), len(members)

    def route(self, source: int, target: int) -> tuple[Engine, ...]:
        """Return the links on the way, one per direction.

        Raises:
            LinkError: where there is none.
        """
        links = self.links_of(source, target)
        fabric, start, end, n = self._place(source, target)
        found = []
        for hop in path(links.topology, start, end, n):
            name = f"link{hop[0]}-{hop[1]}"
            found.append(self._engines.setdefault((fabric, hop), Engine(name)))
        return tuple(found)

    def engines(self) -> tuple[Engine, ...]:
        """Return the links that were used so far."""
        return tuple(self._engines.values())

    def way(self, source: int, target: int) -> Way:
        """Return the links from a device to another.

        Raises:
            LinkError: where there are none.
        """
        found = self._ways.get((source, target))
        if found is None:
            links = self.links_of(source, target)
            # A switch is one hop, as its latency is given from device to device.
            hop = picoseconds(links.latency) // (2 if links.topology == "switch" else 1)
            bandwidth = pair_bandwidth(links, self._place(source, target)[3])
            found = Way(source, target, self.route(source, target), hop, bandwidth, self._broken)
            self._ways[source, target] = found
        return found

    def break_link(self, source: int, target: int) -> None:
        """Let the first link on the way carry nothing from now on."""
        self.way(source, target).sever()

    def book(
        self, source: int, target: int, nbytes: int, ready: int, *, slower: int = 1
    ) -> tuple[Transfer, tuple[Engine, ...]]:
        """Find a transfer its place in virtual time; return it and the links that it takes.

        Args:
            source, target: indices of devices.
            nbytes: bytes to carry.
            ready: virtual picoseconds before which it does not start.
            slower: how many times slower than described the links are for it.

        Raises:
            LinkError: where no link connects them, or one on the way is broken.
        """
        way = self.way(source, target)
        way.check()
        start, end = way.book(ready, way.carrying(nbytes) * slower)
        return Transfer(source, target, nbytes, start, end, len(way.links)), way.links
