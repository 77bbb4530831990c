"""Timelines in the Trace Event Format, which Perfetto (ui.perfetto.dev) and Chrome (chrome://tracing) show.

Format: "Trace Event Format" by the Chrome project: an object with ``traceEvents``; complete events (``ph`` "X") with
``ts`` and ``dur`` in microseconds, here of virtual time; metadata events ("M") that name processes and threads; flow
events ("s", "f") that draw an arrow from the middle of one slice to the beginning of another.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from .clock import Span

if TYPE_CHECKING:
    from .planning.state import Task

#: Picoseconds per microsecond.
_MICROSECOND: Final = 10**6
#: The order of tracks within a process; what is not named comes last, by name.
_ORDER: Final = ("host", "host link", "dma", "vector", "matrix", "links")


@dataclass(frozen=True, slots=True)
class Slice:
    """A piece of work on a track.

    Attributes:
        process: what the tracks are grouped by.
        track: at most one slice of a track is there at a time.
        name: the work.
        start, end: virtual picoseconds.
        args: what a click on it shows.
        after: slices that it waited for, by index.
    """

    process: str
    track: str
    name: str
    start: int
    end: int
    args: dict[str, Any] = field(default_factory=dict)
    after: tuple[int, ...] = ()


def of_spans(spans: Iterable[Span], names: Sequence[str] = ()) -> list[Slice]:
    """Return the timeline of simulated devices: a track per engine and queue.

    Args:
        spans: as :meth:`Simulation.timeline` gives them.
        names: of the descriptions, by index of the device.
    """
    made = []
    for s in spans:
        name = f"sim:{s.device}" + (f" ({names[s.device]})" if s.device < len(names) else "")
        queue = "" if s.queue < 0 else f", queue {s.queue}"
        args = {"request": s.number, "bytes": s.nbytes, "cycles": s.cycles, "joules": s.energy}
        made.append(Slice(name, f"{s.engine}{queue}", s.op, s.start, s.end, args))
    return made


def of_tasks(tasks: Sequence[Task], device: str, first: int = 0) -> list[Slice]:
    """Return the timeline of a plan: a track per engine of each device, and one for the host.

    Args:
        tasks: of the plan.
        device: the description's name.
        first: how many slices there are before these.
    """
    several = any(t.device > 0 for t in tasks)
    made = []
    for t in tasks:
        process = f"{device} {t.device}" if several and t.device >= 0 else device
        if t.device < 0:
            process = f"host of {device}"
        args = {"call": t.call, "bytes": t.nbytes}
        made.append(Slice(process, t.engine, t.op, t.start, t.end, args, tuple(first + n for n in t.after)))
    return made


def trace_events(slices: Sequence[Slice]) -> dict[str, Any]:
    """Return slices as an object whose JSON text Perfetto opens.

    >>> made = trace_events([Slice("a device", "matrix", "matmul", 0, 1_500_000)])
    >>> [(e["ph"], e["name"]) for e in made["traceEvents"]]
    [('M', 'process_name'), ('M', 'thread_name'), ('M', 'thread_sort_index'), ('X', 'matmul')]
    >>> made["traceEvents"][-1]["dur"]
    1.5
    """
    processes = {name: i for i, name in enumerate(dict.fromkeys(s.process for s in slices), 1)}
    tracks: dict[tuple[str, str], int] = {}
    for process, track in sorted({(s.process, s.track) for s in slices}, key=lambda pair: (pair[0], _rank(pair[1]))):
        tracks[process, track] = len(tracks) + 1
    events: list[dict[str, Any]] = [
        {"ph": "M", "name": "process_name", "pid": pid, "tid": 0, "args": {"name": name}}
        for name, pid in processes.items()
    ]
    for (process, track), tid in tracks.items():
        where = {"pid": processes[process], "tid": tid}
        events.append({"ph": "M", "name": "thread_name", **where, "args": {"name": track}})
        events.append({"ph": "M", "name": "thread_sort_index", **where, "args": {"sort_index": tid}})
    made: list[dict[str, Any]] = []
    arrows = itertools.count(1)
    for s in slices:
        at = {"pid": processes[s.process], "tid": tracks[s.process, s.track]}
        made.append(
            {"ph": "X", "name": s.name, "cat": "work", "ts": _time(s.start), "dur": _time(s.end - s.start), **at,
             "args": s.args}
        )  # fmt: skip
        for number in dict.fromkeys(s.after):  # an operand given twice is one arrow
            made += _flow(next(arrows), slices[number], s, processes, tracks)
    made.sort(key=lambda e: (e["ts"], e["ph"] != "X"))
    return {"traceEvents": events + made, "displayTimeUnit": "ns"}


def _flow(
    number: int, source: Slice, target: Slice, processes: dict[str, int], tracks: dict[tuple[str, str], int]
) -> list[dict[str, Any]]:
    """Return the arrow between two slices; none on one track, where the order shows it already."""
    here, there = (tracks[s.process, s.track] for s in (source, target))
    if here == there:
        return []
    shared = {"name": "dependence", "cat": "dependence", "id": number}
    return [
        {"ph": "s", **shared, "ts": _time((source.start + source.end) // 2), "pid": processes[source.process],
         "tid": here},
        {"ph": "f", **shared, "bp": "e", "ts": _time(target.start), "pid": processes[target.process], "tid": there},
    ]  # fmt: skip


def _rank(track: str) -> tuple[int, str]:
    engine = track.partition(",")[0]
    return (_ORDER.index(engine) if engine in _ORDER else len(_ORDER), track)


def _time(picoseconds: int) -> float:
    """Return microseconds to the picosecond, so that neighbours meet and do not overlap."""
    return round(picoseconds / _MICROSECOND, 6)
