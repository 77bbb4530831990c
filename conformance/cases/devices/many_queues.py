"""Many queues, many events, many waits: what goes wrong only with the 33rd of them, or with every tenth."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from typing import Final

import numpy as np

from ....core.arrays.array import Array
from ....core.devices.queues import Queue, use_queue
from ...oracle.formats import Host
from ...target import Findings
from .bench import Bench
from .workload import hold

#: Rounds in which each of many queues waits for an event of its own.
_ROUNDS: Final = 5
#: Events after which an older one is waited for: rings of 64, 256 and 1,024 have come round.
_LATER_EVENTS: Final = (70, 230, 800)
#: Calls of ``synchronize`` in a row, each behind late work.
_IN_A_ROW: Final = 12
#: Elements of each array.
_EACH: Final = 64


def many(b: Bench, findings: Findings) -> None:
    """Many queues: each is in order by itself, half of them wait for an event of their own, and the others for them."""
    line, y = b.line(), b.up(b.y[:_EACH])
    half, made = len(line) // 2, _places(b, len(line))
    given = [b.x[i * _EACH : (i + 1) * _EACH] for i in range(_ROUNDS)]
    operands = [b.up(x) for x in given]
    b.device.synchronize()
    for x, operand in zip(given, operands, strict=True):
        late = b.late(operand, y)
        for k in range(half):
            _wait(line[k], b.first)
            made[k] = _two_calls(b, line[k], late, y, made[k])
            _wait(line[half + k], line[k])
            made[half + k] = _two_calls(b, line[half + k], made[k][1], y, made[half + k])
        b.put()
        sums = list(itertools.accumulate([b.y[:_EACH]] * 5, b.sum, initial=x))[2:]
        _hold_line(b, findings, line[half:], made[half:], sums[2:])
        _hold_line(b, findings, line[:half], made[:half], sums[:2])
        line, made = line[half:] + line[:half], made[half:] + made[:half]
    for queue in line:
        queue.synchronize()


def _wait(later: Queue, earlier: Queue) -> None:
    driver = later.device.driver
    driver.wait(later.handle, driver.record(earlier.handle))


def _places(b: Bench, count: int) -> list[tuple[Array, Array]]:
    """Return memory for the results of two calls on each of some queues."""
    return [(b.up(np.zeros(_EACH, b.x.dtype)), b.up(np.zeros(_EACH, b.x.dtype))) for _ in range(count)]


def _two_calls(b: Bench, queue: Queue, late: Array, y: Array, into: tuple[Array, Array]) -> tuple[Array, Array]:
    """Call twice on a queue, the second time with the first one's result, as if opmux took everything for ready."""
    with use_queue(queue):
        first = b.work.add(b.unordered(late, queue), b.unordered(y, queue), out=into[0])
        return first, b.work.add(first, b.unordered(y, queue), out=into[1])


def _hold_line(
    b: Bench,
    findings: Findings,
    line: Sequence[Queue],
    made: Sequence[tuple[Array, Array]],
    expected: Sequence[Host],
) -> None:
    """Hold what each queue made in its two calls."""
    for k, (queue, results) in enumerate(zip(line, made, strict=True)):
        for x, wanted in zip(results, expected, strict=True):
            hold(findings, b.raw(x, queue), wanted, f"queue {k} of {len(line)}, behind an event of its own")


def old_events(b: Bench, findings: Findings) -> None:
    """An event is waited for after many others were recorded on a queue that has nothing to do."""
    driver, line = b.device.driver, b.line()
    x, y = b.up(b.x[:_EACH]), b.up(b.y[:_EACH])
    made, waiting = _places(b, len(_LATER_EVENTS)), [line[i % (len(line) - 1)] for i in range(len(_LATER_EVENTS))]
    b.device.synchronize()
    late = b.late(x, y)
    event, later = driver.record(b.first.handle), []
    for i, count in enumerate(_LATER_EVENTS):
        later += [driver.record(line[-1].handle) for _ in range(count)]
        driver.wait(waiting[i].handle, event)
        made[i] = _two_calls(b, waiting[i], late, y, made[i])
    b.put()
    sums = list(itertools.accumulate([b.y[:_EACH]] * 3, b.sum, initial=b.x[:_EACH]))[2:]
    _hold_line(b, findings, waiting, made, sums)
    for other in later:  # they were signalled long ago
        driver.wait(waiting[0].handle, other)
    waiting[0].synchronize()


def synchronized_often(b: Bench, findings: Findings) -> None:
    """Each of many calls of ``synchronize`` in a row waits."""
    other = b.line()[0]
    x, y = b.up(b.x[:_EACH]), b.up(b.y[:_EACH])
    for _ in range(_IN_A_ROW):
        late = b.late(x, y)
        b.put()
        b.device.driver.synchronize(b.first.handle)
        expected = b.sum(b.x[:_EACH], b.y[:_EACH])
        hold(findings, b.raw(late, other), expected, "another queue, after one of many calls of synchronize")


CASES: Final[dict[str, Callable[[Bench, Findings], None]]] = {
    "many": many,
    "old-events": old_events,
    "synchronize-often": synchronized_often,
}
