"""What a schedule is predicted to take: messages over links, and local work at the bandwidth of memory.

A message of S bytes costs ``latency + S / bandwidth`` (the alpha-beta model of R. Hockney, "The communication challenge
for MPP", Parallel Computing 20(3), 1994). A rank sends one message at a time, and receives one at a time, both at once.
A step takes as long as the slowest rank, or as what messages share is busy; then the next begins. Overlap of messages
with local work is not counted.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from math import inf
from typing import Final

from .layout import Layout
from .links import Links, Message
from .schedule import Schedule, Step, Transfer

#: Up to so many ranks a layout of uneven chunks is priced message by message; beyond, every chunk as the longest one.
_EXACT_RANKS: Final = 64


@dataclass(frozen=True, slots=True)
class Rates:
    """How fast a rank works by itself.

    Attributes:
        memory: bytes per second that are read and written. A combination reads two and writes one, a copy one and one.
        start: seconds to begin a piece of local work.
    """

    memory: float = inf
    start: float = 0.0


@dataclass(frozen=True, slots=True)
class Price:
    """A predicted time.

    Attributes:
        seconds: in all.
        terms: what they are made of: ``latency``, ``transfer``, ``contention`` and ``local``, in seconds.
    """

    seconds: float
    terms: Mapping[str, float]


#: latency, transfer, contention, local
_Terms = tuple[float, float, float, float]


def price(
    schedule: Schedule, layout: Layout, itemsize: int, links: Links, rates: Rates = Rates(), riding: int = -1
) -> Price:
    """Return what a schedule is predicted to take; symmetric steps of even chunks in closed form.

    Args:
        schedule: what is done.
        layout: where chunks lie; bound to the schedule here.
        itemsize: bytes of an element, as it travels.
        links: between the ranks.
        rates: of each rank.
        riding: messages of the first step that has any, of up to so many bytes, go along with the headers of the call
            and cost a local copy alone; by default none do.

    >>> from opmux.core.collectives.communicator import Link
    >>> from opmux.core.collectives.links import Switch
    >>> message = Schedule("permute", "direct", 2, 1, 2, (Step((Transfer(0, 1, 0),)),))
    >>> price(message, Layout((1000,)), 4, Switch(Link(latency=1.0, bandwidth=1000.0))).seconds
    5.0
    """
    layout = layout.bound(schedule)
    even = layout.pairs is None and max(layout.lengths) - min(layout.lengths) <= 1
    exact = layout.pairs is not None or (not even and schedule.ranks <= _EXACT_RANKS)
    sizes = _Sizes(layout, itemsize)
    totals = [0.0, 0.0, 0.0, 0.0]
    for step in schedule.steps if exact else schedule.phases:
        each = [(riding, 1), (-1, step.times - 1)] if riding >= 0 else [(-1, step.times)]
        if any(not t.is_local for t in step.transfers):
            riding = -1
        for limit, times in each:
            if not times:
                continue
            if step.radices and not exact:
                found = _symmetric(step, sizes, links, rates, limit)
            else:
                found = _explicit(step.all(), schedule.ranks, sizes, links, rates, limit)
            for i, seconds in enumerate(found):
                totals[i] += seconds * times
    return Price(sum(totals), dict(zip(("latency", "transfer", "contention", "local"), totals, strict=True)))


class _Sizes:
    """The bytes of transfers."""

    def __init__(self, layout: Layout, itemsize: int) -> None:
        self.layout = layout
        self.itemsize = itemsize
        self._longest: dict[int, int] = {}

    def of(self, t: Transfer) -> int:
        """Return the bytes of one transfer."""
        return self.layout.span(t.source, t.slot, t.chunk, t.count)[1] * self.itemsize

    def longest(self, step: Step, t: Transfer) -> int:
        """Return the most bytes that any rank's transfer has."""
        if not step.moves(t):
            return self.of(t)
        if t.count not in self._longest:
            lengths = self.layout.lengths
            rows = range(0, len(lengths), t.count)
            self._longest[t.count] = max(sum(lengths[first : first + t.count]) for first in rows)
        return self._longest[t.count] * self.itemsize


def _symmetric(step: Step, sizes: _Sizes, links: Links, rates: Rates, riding: int) -> _Terms:
    """Price a step that all ranks make alike, from the ranks that stand for all."""
    standing = links.standing(step.radices)
    local = 0.0
    away: list[tuple[Transfer, int]] = []
    for t in step.transfers:
        nbytes = sizes.longest(step, t)
        rides = nbytes <= riding
        local += local_seconds(t, nbytes, rates, rides)
        if not t.is_local and not rides:
            away.append((t, nbytes))
    if not away:
        return 0.0, 0.0, 0.0, local
    ports = []
    messages: list[Message] = []
    for rank in standing:
        latency = transfer = 0.0
        for t, nbytes in away:
            target = t.target if rank == 0 else step.target(t, rank)
            link = links.link(rank, target)
            latency += link.latency
            transfer += nbytes / link.bandwidth
            messages.append((rank, target, nbytes))
        ports.append((latency, transfer))
    everybody = len(standing) if len(standing) > 1 and len(standing) == step.ranks else 0
    return (*_moving(ports, links, messages, everybody), local)


def _explicit(
    transfers: Iterable[Transfer], ranks: int, sizes: _Sizes, links: Links, rates: Rates, riding: int
) -> _Terms:
    """Price any step, message by message."""
    ports: dict[tuple[int, bool], tuple[float, float]] = {}
    local: dict[int, float] = {}
    messages: list[Message] = []
    for t in transfers:
        nbytes = sizes.of(t)
        rides = nbytes <= riding
        local[t.target] = local.get(t.target, 0.0) + local_seconds(t, nbytes, rates, rides)
        if t.is_local or rides:
            continue
        link = links.link(t.source, t.target)
        for port in ((t.source, True), (t.target, False)):
            latency, transfer = ports.get(port, (0.0, 0.0))
            ports[port] = latency + link.latency, transfer + nbytes / link.bandwidth
        messages.append((t.source, t.target, nbytes))
    worst = max(local.values(), default=0.0)
    return (*_moving(list(ports.values()), links, messages, ranks), worst)


def _moving(
    ports: list[tuple[float, float]], links: Links, messages: list[Message], ranks: int
) -> tuple[float, float, float]:
    """Return the terms of a step's messages: of the slowest port, and for what is shared beyond it."""
    if not ports:
        return 0.0, 0.0, 0.0
    latency, transfer = max(ports, key=sum)
    shared = links.busy(messages, ranks)
    return latency, transfer, max(0.0, shared - transfer)


def local_seconds(t: Transfer, nbytes: int, rates: Rates, rides: bool = False) -> float:
    """Return the seconds of what the target does itself; what came with a header has to be copied to its place."""
    if t.base is not None:
        return rates.start + 3 * nbytes / rates.memory
    return rates.start + 2 * nbytes / rates.memory if t.is_local or rides else 0.0


__all__ = ["Price", "Rates", "local_seconds", "price"]
