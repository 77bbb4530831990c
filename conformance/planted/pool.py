"""Judging many faults in several processes."""

from __future__ import annotations

import multiprocessing
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from typing import Final

from .catalogue import find
from .fault import Fault
from .judge import Verdict, judge

#: What a process sends back of a verdict; the fault itself is a function, and stays where it is.
Sent = tuple[str, tuple[str, ...], tuple[str, ...], float]
#: Parts for each process: few enough that the faults of one op share its oracles, enough that none waits long; and
#: the same where every case is tried, which takes a fault from seconds to minutes.
_PARTS: Final = 4
_PARTS_OF_ALL: Final = 32


def judge_all(faults: Sequence[Fault], *, every: bool, workers: int) -> Iterator[Verdict]:
    """Return the verdict on each fault, in order.

    Args:
        faults: which.
        every: against every case in a fault's reach, not its named killers alone.
        workers: processes; 1 for this one.
    """
    if workers == 1:
        yield from (judge(f, every=every) for f in faults)
        return
    size = -(-len(faults) // ((_PARTS_OF_ALL if every else _PARTS) * workers)) or 1
    parts = [[f.name for f in faults[i : i + size]] for i in range(0, len(faults), size)]
    with ProcessPoolExecutor(workers, mp_context=multiprocessing.get_context("spawn")) as pool:
        for sent in pool.map(_judged, parts, [every] * len(parts)):
            yield from (Verdict(find(name), by, missed, seconds) for name, by, missed, seconds in sent)


def _judged(names: Sequence[str], every: bool) -> list[Sent]:
    verdicts = [judge(find(name), every=every) for name in names]
    return [(v.fault.name, v.by, v.missed, v.seconds) for v in verdicts]
