"""Models of what connects ranks: which link a message takes, and what messages at the same time share.

Every model says which ranks stand for all of them in a step that all make alike, so that pricing such a step does not
look at every rank.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate
from typing import Protocol

from .communicator import Link

#: (source, target, bytes) of a message.
Message = tuple[int, int, float]


class Links(Protocol):
    """What connects the ranks of a mesh."""

    def link(self, source: int, target: int) -> Link:
        """Return what a message between two ranks costs where it is the only one."""

    def standing(self, radices: tuple[int, ...]) -> range:
        """Return the ranks that stand for all where a step repeats over ranks by these radices."""

    def busy(self, messages: Sequence[Message], ranks: int) -> float:
        """Return for how many seconds the busiest of what messages share is busy; 0.0 where they share nothing.

        Args:
            messages: those of a step that the ranks of :meth:`standing` send, or all of them.
            ranks: how many ranks there are where the messages are all of a step's, 0 where they stand for others.
        """


@dataclass(frozen=True, slots=True)
class Switch:
    """Every rank has a port of its own to a switch that never blocks.

    Attributes:
        port: what a message through it costs.
    """

    port: Link

    def link(self, source: int, target: int) -> Link:
        """See :class:`Links`."""
        return self.port

    def standing(self, radices: tuple[int, ...]) -> range:
        """See :class:`Links`."""
        return range(1)

    def busy(self, messages: Sequence[Message], ranks: int) -> float:
        """See :class:`Links`."""
        return 0.0

    def every(self, stride: int) -> Switch:
        """Return the links among every stride-th rank while the ranks between them do the same."""
        return self


@dataclass(frozen=True, slots=True)
class TwoLevel:
    """Groups of consecutive ranks with fast links inside and slow ones between.

    Attributes:
        size: of a group.
        inner: a message inside a group.
        outer: a message between groups.
        uplinks: how many messages between groups a group sends, and receives, at full bandwidth; 0 for one per rank.
    """

    size: int
    inner: Link
    outer: Link
    uplinks: float = 0.0

    def link(self, source: int, target: int) -> Link:
        """See :class:`Links`."""
        return self.inner if source // self.size == target // self.size else self.outer

    def standing(self, radices: tuple[int, ...]) -> range:
        """Return one group where steps move whole groups onto each other, else all ranks.

        >>> two = TwoLevel(8, Link(1e-6, 1e9), Link(1e-5, 1e8))
        >>> two.standing((4096,)), two.standing((2,) * 12), two.standing((3, 5))
        (range(0, 8), range(0, 8), range(0, 15))
        """
        place = 1
        for radix in reversed(radices):
            if self.size % place == 0 and place * radix % self.size == 0:
                return range(self.size)
            place *= radix
        return range(place)

    def busy(self, messages: Sequence[Message], ranks: int) -> float:
        """See :class:`Links`; here messages share the uplinks of a group."""
        if not self.uplinks or self.uplinks >= self.size:
            return 0.0
        out: dict[int, float] = {}
        into: dict[int, float] = {}
        for source, target, nbytes in messages:
            a, b = source // self.size, target // self.size
            if a != b:
                out[a] = out.get(a, 0.0) + nbytes
                into[b] = into.get(b, 0.0) + nbytes
        return max((*out.values(), *into.values()), default=0.0) / (self.outer.bandwidth * self.uplinks)

    def every(self, stride: int) -> TwoLevel | Switch | None:
        """Return the links among every stride-th rank while the ranks between them do the same.

        None where groups and strides cut each other.
        """
        uplinks = self.uplinks or self.size
        if self.size % stride == 0 and self.size > stride:
            return replace(self, size=self.size // stride, uplinks=uplinks / stride)
        if stride % self.size == 0:
            return Switch(replace(self.outer, bandwidth=self.outer.bandwidth * min(1.0, uplinks / self.size)))
        return None


@dataclass(frozen=True, slots=True)
class Ring:
    """Each rank has a link to the next and the one before; messages go the shorter way round, hop by hop.

    Attributes:
        ranks: how many there are.
        hop: what one hop costs. Latencies add up along the way.
    """

    ranks: int
    hop: Link

    def link(self, source: int, target: int) -> Link:
        """See :class:`Links`."""
        away = abs(source - target)
        return replace(self.hop, latency=self.hop.latency * min(away, self.ranks - away))

    def standing(self, radices: tuple[int, ...]) -> range:
        """See :class:`Links`."""
        return range(1 if len(radices) == 1 else math.prod(radices))

    def busy(self, messages: Sequence[Message], ranks: int) -> float:
        """See :class:`Links`; here messages share the hops that they have in common."""
        n = self.ranks
        ways = {1: [0.0] * (2 * n + 1), -1: [0.0] * (2 * n + 1)}
        total = {1: 0.0, -1: 0.0}
        for source, target, nbytes in messages:
            up = (target - source) % n
            way, hops, first = (1, up, source) if 2 * up <= n else (-1, n - up, target)
            ways[way][first] += nbytes
            ways[way][first + hops] -= nbytes
            total[way] += nbytes * hops
        if not ranks:  # rank 0's messages, which every rank sends alike: every hop carries what rank 0's sum up to
            return max(total.values()) / self.hop.bandwidth
        loads = [list(accumulate(changes)) for changes in ways.values()]
        return max(load[i] + load[i + n] for load in loads for i in range(n)) / self.hop.bandwidth


@dataclass(frozen=True, slots=True)
class Pairwise:
    """A link for every pair of ranks, as measured; what they share is one bus of each rank, where a link says so.

    Attributes:
        between: returns the link from one rank to another.
    """

    between: Callable[[int, int], Link]

    def link(self, source: int, target: int) -> Link:
        """See :class:`Links`."""
        return self.between(source, target)

    def standing(self, radices: tuple[int, ...]) -> range:
        """See :class:`Links`."""
        return range(math.prod(radices))

    def busy(self, messages: Sequence[Message], ranks: int) -> float:
        """See :class:`Links`; here messages share the buses of the ranks that they go between."""
        buses: dict[int, float] = {}
        for source, target, nbytes in messages:
            link = self.between(source, target)
            if link.is_shared:
                for rank in (source, target):
                    buses[rank] = buses.get(rank, 0.0) + nbytes / link.bandwidth
        return max(buses.values(), default=0.0)
