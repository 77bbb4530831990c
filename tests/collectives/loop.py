"""A communicator between threads that stand for processes, in memory: what a mesh over processes needs, without MPI."""

from __future__ import annotations

import threading
import time
from collections import defaultdict, deque
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from opmux.core.collectives.communicator import Link
from opmux.core.errors import CollectiveError
from opmux.plugin import HostBytes

Key = tuple[int, int, int, int]


class Network:
    """The messages of a job, by mesh, source, target and tag."""

    def __init__(self, processes: int) -> None:
        self.lock = threading.Lock()
        self.sent: dict[Key, deque[bytes]] = defaultdict(deque)
        self.records: list[bytes] = [b""] * processes
        self.met = threading.Barrier(processes)
        self.gone: set[int] = set()


class Sent:
    def done(self) -> bool:
        return True


class Expected:
    def __init__(self, endpoint: LoopEndpoint, key: Key, into: HostBytes) -> None:
        self.endpoint, self.key, self.into = endpoint, key, into
        self.over = False

    def done(self) -> bool:
        if self.over:
            return True
        with self.endpoint.network.lock:
            waiting = self.endpoint.network.sent[self.key]
            if not waiting or self.endpoint.turn[self.key][0] is not self:
                return False
            data = waiting.popleft()
            self.endpoint.turn[self.key].popleft()
        if len(data) != self.into.size:
            raise CollectiveError(f"{len(data)} bytes came, {self.into.size} were expected", rank=self.key[1])
        self.into[:] = memoryview(data)
        self.over = True
        return True


class LoopEndpoint:
    def __init__(self, network: Network, mesh: int, owners: Sequence[int], rank: int) -> None:
        self.network, self.mesh, self.owners = network, mesh, owners
        self.rank, self.ranks = rank, len(owners)
        self.turn: dict[Key, deque[Expected]] = defaultdict(deque)

    def send(self, target: int, tag: int, data: HostBytes) -> Sent:
        with self.network.lock:
            self.network.sent[self.mesh, self.rank, target, tag].append(data.tobytes())
        return Sent()

    def receive(self, source: int, tag: int, into: HostBytes) -> Expected:
        key = (self.mesh, source, self.rank, tag)
        made = Expected(self, key, into)
        self.turn[key].append(made)
        return made

    def cancel(self, ticket: Any) -> None:
        if isinstance(ticket, Expected) and ticket in self.turn[ticket.key]:
            self.turn[ticket.key].remove(ticket)

    def now(self) -> float:
        return time.monotonic()

    def lost(self) -> Mapping[int, str]:
        return {r: "its thread has ended" for r, owner in enumerate(self.owners) if owner in self.network.gone}

    def native(self, collective: str, reduction: str, dtype: Any) -> None:
        return None

    def close(self) -> None:
        return None


class Loop:
    """The communicator of one thread."""

    name = "loop"

    def __init__(self, network: Network, process: int, processes: int) -> None:
        self.network, self.process, self.processes = network, process, processes
        self.changed: Callable[[bytes], bytes] = lambda record: record

    def gather(self, record: bytes, timeout: float) -> tuple[bytes, ...]:
        self.network.records[self.process] = self.changed(record)
        self.network.met.wait(timeout)
        found = tuple(self.network.records)
        self.network.met.wait(timeout)
        return found

    def open(self, mesh: int, owners: Sequence[int], rank: int) -> LoopEndpoint:
        return LoopEndpoint(self.network, mesh, owners, rank)

    def link(self, first: int, second: int) -> Link:
        return Link(1e-5, 1e9, "declared")


def job(processes: int, program: Callable[[Loop], Any]) -> list[Any]:
    """Run a program as so many processes; return what each returned, or the exception that it raised."""
    network = Network(processes)
    found: list[Any] = [None] * processes

    def run(process: int) -> None:
        try:
            found[process] = program(Loop(network, process, processes))
        except Exception as error:
            found[process] = error
            network.gone.add(process)

    threads = [threading.Thread(target=run, args=(p,), daemon=True) for p in range(processes)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert not any(thread.is_alive() for thread in threads)
    return found
