"""What an algorithm is predicted to take on a mesh."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Final

from ...core.collectives.communicator import Link
from ...core.collectives.engine import RIDING
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
#: What messages over processes take beyond a model of the link. Medians over Open MPI 5 on a machine of two cores, by
#: `python -m benchmarks collectives` with each algorithm pinned in turn. A message of a step, posted from Python,
#: awaited and worked off, takes so many times the latency of one by itself: 10 and 57 us where that was 3 and 19, of 2
#: and 4 ranks.
_IN_STEP: Final = 3.5
#: Seconds that the communicator's own collective takes to begin: over 2 ranks it took 5 to 10 us more than what rode
#: with the headers, and with 16 KiB 13 to 24 us more than one exchange of messages. Its reductions of 1 MiB and more
#: took 1.1 to 1.4 times as long as the best schedule.
_NATIVE: Final = 1.5e-5
_NATIVE_REDUCTION: Final = 1.2
#: Seconds that NumPy takes to begin a combination or a copy.
_COMBINE: Final = 1e-6


def price_on(schedule: Schedule, problem: Problem, mesh: Mesh) -> Cost:
    """Return the predicted time of a schedule on a mesh."""
    if not mesh.is_local:
        return _over_processes(schedule, problem, mesh, Rates(_memory(mesh), _COMBINE), _IN_STEP, RIDING)
    layout, itemsize = problem.layout.bound(schedule), problem.accumulator.itemsize
    links = links_of_devices(mesh)
    if links is None:
        # One thread carries out every rank's part, one after the other, so what is used is what all ranks use: at
        # another level of memory than a kernel's price the faster way would be the one whose level is.
        used = sum(math.prod(shape) for shape in (*problem.operands, *problem.results)) * problem.dtype.itemsize
        bandwidth = min(d.rates.bandwidth_at(used) for d in mesh.local_devices) / schedule.ranks
        rates = Rates(bandwidth, _CALL)
        found = price(schedule, layout, itemsize, Switch(Link(_CALL, bandwidth, "model")), rates).terms
        calls = schedule.ranks * (found["latency"] + sum(p.times for p in schedule.phases) * _CALL)
        return _cost(found, calls, found["local"] + _joining(schedule, layout, problem, rates))
    combined = 3 * max(layout.lengths, default=0) * itemsize  # devices combine chunk by chunk
    bandwidth = min(d.rates.bandwidth_at(combined) for d in mesh.local_devices)
    rates = Rates(bandwidth, max(d.rates.launch for d in mesh.local_devices))
    found = price(schedule, layout, itemsize, links, rates).terms
    latency = found["latency"] + _in_pieces(schedule, links, rates.start)
    return _cost(found, latency, found["local"] + _joining(schedule, layout, problem, rates))


def native_price(problem: Problem, mesh: Mesh) -> Cost:
    """Return the predicted time of the communicator's own collective: the best algorithm's and that of its start."""
    built = (a.build(problem.ranks, **problem.arguments) for a in ALGORITHMS[problem.collective])
    rates = Rates(_memory(mesh))
    prices = [_over_processes(s, problem, mesh, rates) for s in built if isinstance(s, Schedule)]
    best = min(prices, key=lambda cost: cost.total)  # some algorithm of each takes every number of ranks
    slower = 1.0 if problem.reduction is None else _NATIVE_REDUCTION
    return Cost(best.launch + _NATIVE, 0.0, best.memory * slower, transfers=best.transfers * slower)


def _over_processes(
    schedule: Schedule, problem: Problem, mesh: Mesh, rates: Rates, latencies: float = 1.0, riding: int = -1
) -> Cost:
    """Return the predicted time of a schedule over processes, where messages take so many latencies each."""
    layout, links = problem.layout.bound(schedule), links_of(mesh, latencies)
    found = price(schedule, layout, problem.accumulator.itemsize, links, rates, riding).terms
    return _cost(found, found["latency"], found["local"])


def _memory(mesh: Mesh) -> float:
    """Return the bytes per second that a rank reads and writes, from what all processes know: so all choose alike."""
    carrier, here = mesh.communicator, mesh.members[0].process
    assert carrier is not None  # a mesh over processes has one
    return 2 * carrier.link(here, here).bandwidth  # a message within a machine is a copy, which reads and writes


def _cost(found: Mapping[str, float], launch: float, local: float) -> Cost:
    return Cost(launch, 0.0, local, transfers=found["transfer"] + found["contention"])


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


def links_of(mesh: Mesh, latencies: float = 1.0) -> Links:
    """Return what connects the ranks of a mesh over processes, each latency so many times as long.

    The answer is the same in every process.
    """
    carrier = mesh.communicator
    assert carrier is not None  # a mesh over processes has one
    groups = groups_of(mesh)
    first, last = mesh.members[0].process, mesh.members[-1].process

    def link(a: int, b: int) -> Link:
        found = carrier.link(a, b)
        return replace(found, latency=latencies * found.latency)

    outer = link(first, last)
    return TwoLevel(groups[1], link(first, first), outer) if groups else Switch(outer)


def groups_of(mesh: Mesh) -> tuple[int, ...]:
    """Return how many processes bring ranks, and how many each; empty where they bring one each, or uneven numbers."""
    processes = [m.process for m in mesh.members]
    size = processes.count(processes[0])
    alike = len(processes) % size == 0 and all(p == processes[i // size * size] for i, p in enumerate(processes))
    return (len(processes) // size, size) if alike and 1 < size < len(processes) else ()
