"""Virtual time: engines with timelines of their own, spans of work on them, and the host's place in it.

Times are whole picoseconds since the simulation began, so that replays are exact; a nanosecond would lose a third of a
cycle at 1.5 GHz. Nothing here looks at the time of day.
"""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass
from typing import Final

#: Picoseconds per second.
SECOND: Final = 10**12


def picoseconds(seconds: float) -> int:
    """Return a duration in whole picoseconds, to nearest.

    >>> picoseconds(1.5e-9)
    1500
    """
    return round(seconds * SECOND)


@dataclass(frozen=True, slots=True)
class Span:
    """One piece of work on one engine.

    Attributes:
        device: index of the device.
        engine: ``"matrix"``, ``"vector"``, ``"dma"``, ``"host"``, or ``"link0-1"`` for the direction from 0 to 1.
        queue: number of the queue on its device; -1 for a transfer that belongs to none.
        op: the op, or ``"upload"``, ``"download"``, ``"copy_peer"``, ``"transfer"``.
        number: the request of the device that it was; faults are keyed by it. 0 where another device's copy took it.
        start, end: virtual picoseconds.
        nbytes: bytes read and written, or carried.
        cycles: cycles of the device's clock, where the timing model counts them.
        energy: joules.
    """

    device: int
    engine: str
    queue: int
    op: str
    number: int
    start: int
    end: int
    nbytes: int = 0
    cycles: int = 0
    energy: float = 0.0

    @property
    def seconds(self) -> float:
        """The duration in seconds."""
        return (self.end - self.start) / SECOND


class Engine:
    """A resource that does one thing at a time: a matrix unit, a vector unit, a direction of a link.

    It takes work in the order of submission, each as early as it is ready; what is submitted later fills the gaps that
    are left, where it fits whole, and never delays what was there before.

    Attributes:
        name: as in spans.
        busy: picoseconds of work so far.
        end: of the latest work.
    """

    __slots__ = ("_ends", "_starts", "busy", "end", "name")

    def __init__(self, name: str) -> None:
        self.name = name
        self.busy = 0
        self.end = 0
        self._starts: list[int] = []  # busy intervals, ascending and apart
        self._ends: list[int] = []

    def earliest(self, ready: int, duration: int) -> int:
        """Return when work that is ready at a time could start."""
        starts, ends = self._starts, self._ends
        at = bisect_right(ends, ready)  # the first interval that ends after the work is ready
        start = ready
        while at < len(starts) and starts[at] < start + duration:
            start = ends[at]
            at += 1
        return start

    def book(self, ready: int, duration: int) -> tuple[int, int]:
        """Take the earliest time for work; return when it starts and ends."""
        start = self.earliest(ready, duration)
        end = start + duration
        self.end = max(self.end, end)
        if not duration:
            return start, end
        self.busy += duration
        at = bisect_right(self._starts, start)
        after = at < len(self._starts) and self._starts[at] == end
        if at and self._ends[at - 1] == start:
            self._ends[at - 1] = self._ends.pop(at) if after else end
            if after:
                self._starts.pop(at)
        elif after:
            self._starts[at] = start
        else:
            self._starts.insert(at, start)
            self._ends.insert(at, end)
        return start, end

    @property
    def intervals(self) -> int:
        """How many busy intervals it remembers."""
        return len(self._starts)

    def forget(self, before: int) -> None:
        """Drop what ended before a time at which nothing can start any more."""
        past = bisect_right(self._ends, before)
        if past:
            del self._starts[:past], self._ends[:past]


class Host:
    """The host's place in virtual time: the latest end of anything that it has waited for.

    What is put on a queue starts no earlier. Putting work there costs the host nothing.
    """

    __slots__ = ("now",)

    def __init__(self) -> None:
        self.now = 0

    def reach(self, time: int) -> None:
        """Note that the host has waited for a time."""
        self.now = max(self.now, time)
