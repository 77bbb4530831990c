"""Playing a schedule through, message by message, on a clock of its own: when each rank is done, and what it did when.

Unlike a price, which takes every step to last as long as its slowest rank, a replay lets each rank go on as soon as its
own messages are there. So it shows how far one late rank, or one slow link, holds up the others.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from .layout import Layout
from .links import Links
from .price import Rates, local_seconds
from .schedule import Schedule, Transfer


@dataclass(frozen=True, slots=True)
class Event:
    """A message, or a rank's local work of a step, which has no target.

    Attributes:
        step: its number in the schedule.
        source, target: ranks.
        begin, end: seconds.
        nbytes: of a message.
    """

    step: int
    source: int
    target: int | None
    begin: float
    end: float
    nbytes: int = 0


@dataclass(frozen=True, slots=True)
class Replay:
    """What happened.

    Attributes:
        done: when each rank was done, in seconds.
        events: in the order of steps.
    """

    done: tuple[float, ...]
    events: tuple[Event, ...]

    @property
    def seconds(self) -> float:
        """When the last rank was done."""
        return max(self.done)


def replay(
    schedule: Schedule,
    layout: Layout,
    itemsize: int,
    links: Links,
    rates: Rates | None = None,
    joins: Mapping[int, float] | None = None,
) -> Replay:
    """Play a schedule through. What messages share beside the ports of ranks is not modelled.

    A rank sends one message at a time and receives one at a time, in the order of the schedule; a message begins when
    both ranks have come to its step. Time and memory grow with the number of messages: a ring of n ranks has 2n(n - 1).

    Args:
        schedule: what is done.
        layout: where chunks lie; bound to the schedule here.
        itemsize: bytes of an element, as it travels.
        links: between the ranks.
        rates: of each rank.
        joins: when ranks come to the collective, in seconds; those left out come at 0.

    >>> from opmux.core.collectives.communicator import Link
    >>> from opmux.core.collectives.links import Switch
    >>> from opmux.core.collectives.schedule import Step
    >>> swap = Schedule("permute", "direct", 2, 1, 2, (Step((Transfer(0, 1, 0), Transfer(1, 0, 0))),))
    >>> replay(swap, Layout((1000,)), 4, Switch(Link(latency=1.0, bandwidth=1000.0)), joins={1: 3.0}).done
    (8.0, 8.0)
    """
    rates = rates or Rates()
    layout = layout.bound(schedule)
    now = [(joins or {}).get(rank, 0.0) for rank in range(schedule.ranks)]
    events: list[Event] = []
    for number, step in enumerate(schedule.steps):
        out, into, local = list(now), list(now), [0.0] * schedule.ranks
        for t in _in_turn(step.all()):
            nbytes = layout.span(t.source, t.slot, t.chunk, t.count)[1] * itemsize
            local[t.target] += local_seconds(t, nbytes, rates)
            if t.is_local:
                continue
            link = links.link(t.source, t.target)
            begin = max(out[t.source], into[t.target])
            end = begin + link.latency + nbytes / link.bandwidth
            out[t.source] = into[t.target] = end
            events.append(Event(number, t.source, t.target, begin, end, nbytes))
        for rank, seconds in enumerate(local):
            begin = max(out[rank], into[rank])
            now[rank] = begin + seconds
            if seconds:
                events.append(Event(number, rank, None, begin, now[rank]))
    return Replay(tuple(now), tuple(events))


def _in_turn(transfers: Iterable[Transfer]) -> list[Transfer]:
    """Return the first transfer of every rank, then the second of every rank, and so on."""
    turns: dict[int, int] = {}
    found = []
    for t in transfers:
        turn = turns[t.source] = turns.get(t.source, 0) + 1
        found.append((turn, t.source, t))
    return [t for _, _, t in sorted(found, key=lambda item: item[:2])]
