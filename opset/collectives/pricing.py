"""What an algorithm is predicted to take on a mesh."""

from __future__ import annotations

import math
from typing import Final

from ...core.collectives.communicator import Link
from ...core.collectives.layout import OUTPUT
from ...core.collectives.links import Links, Pairwise, Switch, TwoLevel
from ...core.collectives.mesh import Mesh
from ...core.collectives.price import Rates, price
from ...core.collectives.schedule import Schedule
from ...core.devices.driver import PeerDriver
from ...core.dispatch.decision import Cost
from ...core.kernel import Rejection
from .algorithms import ALGORITHMS
from .problem import Problem

#: Seconds that a call of the opset takes from Python; within a process a message is one, and a combination another.
_CALL: Final = 5e-6
#: Seconds that posting a message to another process, and seeing that it has arrived, takes from Python.
_MESSAGE: Final = 1e-5


def price_on(schedule: Schedule, problem: Problem, mesh: Mesh) -> Cost:
    """Return the predicted time of a schedule on a mesh."""
    layout, itemsize = problem.layout.bound(schedule), problem.accumulator.itemsize
    bandwidth = min(d.rates.bandwidth[-1][1] for d in mesh.local_devices)
    linked = links_of_devices(mesh) if mesh.is_local else links_of(mesh)
    if linked is None:
        # One thread carries out every rank's part, one after the other.
        alone = Switch(Link(_CALL, bandwidth / schedule.ranks, "model"))
        found = price(schedule, layout, itemsize, alone, Rates(bandwidth / schedule.ranks, _CALL)).terms
        calls = schedule.ranks * (found["latency"] + sum(p.times for p in schedule.phases) * _CALL)
        return Cost(calls, 0.0, found["local"], transfers=found["transfer"] + found["contention"])
    start = max(d.rates.launch for d in mesh.local_devices) if mesh.is_local else 0.0
    found = price(schedule, layout, itemsize, linked, Rates(bandwidth, start)).terms
    posting = 0.0 if mesh.is_local else _messages(schedule) * _MESSAGE
    latency, local = found["latency"] + posting, found["local"]
    if mesh.is_local:
        latency += _in_pieces(schedule, linked, start)
        local += _joining(schedule, problem, Rates(bandwidth, start))
    return Cost(latency, 0.0, local, transfers=found["transfer"] + found["contention"])


def _in_pieces(schedule: Schedule, links: Links, start: float) -> float:
    """Return the seconds that sending and combining chunks one by one takes beyond one message of all of them."""
    seconds = 0.0
    for step in schedule.phases:
        more: dict[int, float] = {}
        for t in step.transfers:
            message = 0.0 if t.is_local else links.link(t.source, t.target).latency
            each = message + (start if t.base is not None else 0.0)
            more[t.source] = more.get(t.source, 0.0) + (t.count - 1) * each
        seconds += step.times * max(more.values(), default=0.0)
    return seconds


def _joining(schedule: Schedule, problem: Problem, rates: Rates) -> float:
    """Return the seconds of joining the chunks of a result, which calls of the opset hold as arrays of their own."""
    if schedule.chunks == 1 or OUTPUT in problem.layout.bound(schedule).own:
        return 0.0
    longest = max(math.prod(shape) for shape in problem.results)
    return rates.start + 2 * longest * problem.accumulator.itemsize / rates.memory


def native_price(problem: Problem, mesh: Mesh) -> Cost:
    """Return the predicted time of the communicator's own collective: the best algorithm's, posted once."""
    bandwidth = min(d.rates.bandwidth[-1][1] for d in mesh.local_devices)
    best: Cost | None = None
    for algorithm in ALGORITHMS[problem.collective]:
        schedule = algorithm.build(problem.ranks, **problem.arguments)
        if isinstance(schedule, Rejection):
            continue
        layout = problem.layout.bound(schedule)
        found = price(schedule, layout, problem.dtype.itemsize, links_of(mesh), Rates(bandwidth)).terms
        moving = found["transfer"] + found["contention"]
        cost = Cost(found["latency"] + _MESSAGE, 0.0, found["local"], transfers=moving)
        best = cost if best is None or cost.total < best.total else best
    assert best is not None  # some algorithm of each collective takes every number of ranks
    return best


def _messages(schedule: Schedule) -> int:
    """Return how many messages the busiest rank sends."""
    count = 0
    for step in schedule.phases:
        away = [t.source for t in step.transfers if not t.is_local]
        count += step.times * (len(away) if step.radices else max((away.count(r) for r in set(away)), default=0))
    return count


def links_of_devices(mesh: Mesh) -> Links | None:
    """Return what connects the devices of a mesh of one process; None where values go through the host."""
    drivers = [d.driver for d in mesh.local_devices]
    alike = len({d.kind for d in mesh.local_devices}) == 1 and len(drivers) > 1
    if not alike or not all(isinstance(d, PeerDriver) for d in drivers):
        return None

    def between(source: int, target: int) -> Link:
        driver = drivers[target]
        assert isinstance(driver, PeerDriver)  # as all are
        return driver.link(drivers[source])

    return Pairwise(between)


def links_of(mesh: Mesh) -> Links:
    """Return what connects the ranks of a mesh over processes: the same answer in every process."""
    carrier = mesh.communicator
    assert carrier is not None  # a mesh over processes has one
    groups = groups_of(mesh)
    first, last = mesh.members[0].process, mesh.members[-1].process
    outer = carrier.link(first, last)
    return TwoLevel(groups[1], carrier.link(first, first), outer) if groups else Switch(outer)


def groups_of(mesh: Mesh) -> tuple[int, ...]:
    """Return how many processes bring ranks, and how many each; empty where they bring one each, or uneven numbers."""
    processes = [m.process for m in mesh.members]
    size = processes.count(processes[0])
    alike = len(processes) % size == 0 and all(p == processes[i // size * size] for i, p in enumerate(processes))
    return (len(processes) // size, size) if alike and 1 < size < len(processes) else ()
