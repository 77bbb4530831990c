"""What an algorithm is predicted to take on a mesh."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Final

from ...core.collectives.communicator import Link
from ...core.collectives.layout import OUTPUT, Layout
from ...core.collectives.links import Links, Pairwise, Switch, TwoLevel
from ...core.collectives.mesh import Mesh
from ...core.collectives.price import Rates, price
from ...core.collectives.schedule import Schedule
from ...core.devices.driver import PeerDriver
from ...core.dispatch.decision import Cost
from .algorithms import ALGORITHMS
from .problem import Problem

#: Seconds that a call of the opset takes from Python; within a process a message is one, and a combination another.
_CALL: Final = 5e-6
#: Seconds that posting a message to another process, and seeing that it has arrived, takes from Python.
_MESSAGE: Final = 1e-5


def price_on(schedule: Schedule, problem: Problem, mesh: Mesh) -> Cost:
    """Return the predicted time of a schedule on a mesh."""
    if not mesh.is_local:
        return _over_processes(schedule, problem, mesh, _messages(schedule))
    layout, itemsize = problem.layout.bound(schedule), problem.accumulator.itemsize
    bandwidth, links = _bandwidth(mesh), links_of_devices(mesh)
    if links is None:
        # One thread carries out every rank's part, one after the other.
        alone = Switch(Link(_CALL, bandwidth / schedule.ranks, "model"))
        found = price(schedule, layout, itemsize, alone, Rates(bandwidth / schedule.ranks, _CALL)).terms
        calls = schedule.ranks * (found["latency"] + sum(p.times for p in schedule.phases) * _CALL)
        return _cost(found, calls, found["local"])
    rates = Rates(bandwidth, max(d.rates.launch for d in mesh.local_devices))
    found = price(schedule, layout, itemsize, links, rates).terms
    latency = found["latency"] + _in_pieces(schedule, links, rates.start)
    return _cost(found, latency, found["local"] + _joining(schedule, layout, problem, rates))


def native_price(problem: Problem, mesh: Mesh) -> Cost:
    """Return the predicted time of the communicator's own collective: the best algorithm's, posted once."""
    built = (a.build(problem.ranks, **problem.arguments) for a in ALGORITHMS[problem.collective])
    prices = [_over_processes(s, problem, mesh, 1) for s in built if isinstance(s, Schedule)]
    return min(prices, key=lambda cost: cost.total)  # some algorithm of each takes every number of ranks


def _over_processes(schedule: Schedule, problem: Problem, mesh: Mesh, posts: int) -> Cost:
    """Return the predicted time of a schedule over processes, where a rank posts so many messages."""
    layout, rates = problem.layout.bound(schedule), Rates(_bandwidth(mesh))
    found = price(schedule, layout, problem.accumulator.itemsize, links_of(mesh), rates).terms
    return _cost(found, found["latency"] + posts * _MESSAGE, found["local"])


def _cost(found: Mapping[str, float], launch: float, local: float) -> Cost:
    return Cost(launch, 0.0, local, transfers=found["transfer"] + found["contention"])


def _bandwidth(mesh: Mesh) -> float:
    """Return the bytes per second that the slowest of the local devices reads and writes."""
    return min(d.rates.bandwidth[-1][1] for d in mesh.local_devices)


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


def _joining(schedule: Schedule, layout: Layout, problem: Problem, rates: Rates) -> float:
    """Return the seconds of joining the chunks of a result, which calls of the opset hold as arrays of their own."""
    if schedule.chunks == 1 or OUTPUT in layout.own:
        return 0.0
    longest = max(math.prod(shape) for shape in problem.results)
    return rates.start + 2 * longest * problem.accumulator.itemsize / rates.memory


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
