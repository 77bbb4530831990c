"""The Trace Event Format of the Chrome project, as far as ours goes, held to what Perfetto's importer needs of it."""

from __future__ import annotations

import itertools
import json
import math
from collections import Counter
from typing import Any

Event = dict[str, Any]

#: Metadata events by their name: the key of ``args``, and what it holds.
_METADATA = {"process_name": ("name", str), "thread_name": ("name", str), "thread_sort_index": ("sort_index", int)}
#: Keys that a timed event of each phase has, no more and no fewer.
_KEYS = {
    "X": {"ph", "name", "cat", "ts", "dur", "pid", "tid", "args"},
    "s": {"ph", "name", "cat", "id", "ts", "pid", "tid"},
    "f": {"ph", "name", "cat", "id", "ts", "pid", "tid", "bp"},
}


def complete(trace: dict[str, Any]) -> list[Event]:
    """Check an object against the format; return its complete events.

    Raises:
        AssertionError: what is wrong.
    """
    assert trace.keys() == {"traceEvents", "displayTimeUnit"}, "keys of the object"
    assert trace["displayTimeUnit"] in ("ms", "ns"), "displayTimeUnit"
    events: list[Event] = json.loads(json.dumps(trace, allow_nan=False))["traceEvents"]
    timed = list(itertools.dropwhile(lambda e: e["ph"] == "M", events))
    _names(events[: len(events) - len(timed)], timed)
    for e in timed:
        assert e.keys() == _KEYS[e["ph"]], f"keys of {e}"
        assert isinstance(e["name"], str), f"name of {e}"
        assert e["name"], f"no name: {e}"
        assert isinstance(e["ts"], int | float), f"ts of {e}"
        assert math.isfinite(e["ts"]), f"ts of {e}"
        assert e["ts"] >= 0, f"ts of {e}"
    assert [e["ts"] for e in timed] == sorted(e["ts"] for e in timed), "events are not in the order of their times"
    made = [e for e in timed if e["ph"] == "X"]
    _slices(made)
    _flows([e for e in timed if e["ph"] != "X"], made)
    return made


def _names(metadata: list[Event], timed: list[Event]) -> None:
    """Processes and threads are named once each, all that are used and no others."""
    for e in metadata:
        assert e.keys() == {"ph", "name", "pid", "tid", "args"}, f"keys of {e}"
        key, kind = _METADATA[e["name"]]
        assert e["args"].keys() == {key}, f"args of {e}"
        assert isinstance(e["args"][key], kind), f"args of {e}"
        assert e["args"][key] != "", f"args of {e}"
        assert type(e["pid"]) is int, f"pid of {e}"
        assert type(e["tid"]) is int, f"tid of {e}"
    assert set(Counter((e["name"], e["pid"], e["tid"]) for e in metadata).values()) <= {1}, "something is named twice"
    threads = {(e["pid"], e["tid"]) for e in timed}
    for name in ("thread_name", "thread_sort_index"):
        assert {(e["pid"], e["tid"]) for e in metadata if e["name"] == name} == threads, name
    assert {e["pid"] for e in metadata if e["name"] == "process_name"} == {pid for pid, _ in threads}, "process_name"
    # The format has threads within processes, but some readers take the number of a thread alone.
    assert len({tid for _, tid in threads}) == len(threads), "threads of two processes have one number"


def _slices(made: list[Event]) -> None:
    """Slices of a thread follow each other: what overlaps without being nested is dropped by readers."""
    tracks: dict[tuple[int, int], list[tuple[int, int]]] = {}
    for e in made:
        assert e["dur"] >= 0, f"dur of {e}"
        assert isinstance(e["args"], dict), f"args of {e}"
        start, length = round(e["ts"] * 1e6), round(e["dur"] * 1e6)
        tracks.setdefault((e["pid"], e["tid"]), []).append((start, start + length))
    for spans in tracks.values():
        assert all(a[1] <= b[0] for a, b in itertools.pairwise(spans)), "slices of a thread overlap"


def _flows(flows: list[Event], made: list[Event]) -> None:
    """Each arrow has one beginning and one end, not before it, both within a slice of their thread."""
    ends: dict[str, dict[str, Event]] = {}
    for e in flows:
        found = ends.setdefault(e["id"], {})
        assert e["ph"] not in found, f"two ends {e['ph']} of arrow {e['id']}"
        found[e["ph"]] = e
        within = [x for x in made if (x["pid"], x["tid"]) == (e["pid"], e["tid"])]
        assert any(x["ts"] <= e["ts"] <= x["ts"] + x["dur"] for x in within), f"{e} hangs on no slice"
    for number, both in ends.items():
        assert both.keys() == {"s", "f"}, f"arrow {number} has one end"
        s, f = both["s"], both["f"]
        assert (s["name"], s["cat"]) == (f["name"], f["cat"]), f"the ends of arrow {number} differ"
        assert f["bp"] == "e", f"arrow {number} ends at the next slice"
        assert s["ts"] <= f["ts"], f"arrow {number} goes back in time"
