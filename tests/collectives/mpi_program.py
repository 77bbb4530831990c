"""What the tests of MPI run under mpiexec: one scenario, by name, on every process; what it prints is asserted."""

from __future__ import annotations

import functools
import gc
import os
import signal
import sys
import time
from collections.abc import Callable
from typing import Any, Final

import numpy as np

from opmux.backends.mpi.communicator import MpiCommunicator, connect
from opmux.core.collectives.agreement import Header
from opmux.core.collectives.control import Control
from opmux.core.collectives.engine import Call, run_rank
from opmux.core.collectives.rank_plan import plan_rank
from opmux.core.collectives.watch import Running
from opmux.core.errors import CollectiveError
from tests.collectives.by_hand import Collective, doubling, drive, exchange, gather, ring

#: A time limit of calls in seconds, which no job lives to see: what would end by it fails the test.
ENDLESS: Final = 125.0


class Rank:
    """One rank of a mesh, its endpoint and its calls."""

    def __init__(self, communicator: MpiCommunicator, owners: list[int], rank: int, mesh: int = 5) -> None:
        self.rank, self.mesh, self.calls = rank, mesh, 0
        self.ranks = len(owners)
        self.endpoint = communicator.open(mesh, owners, rank)
        self.control = Control(self.endpoint)
        self.slots: list[Any] = []

    def begin(self, collective: Collective, timeout: float = 20.0, what: str = "") -> Running:
        self.calls += 1
        plan = plan_rank(collective.schedule, collective.layout, self.rank)
        header = Header(
            self.mesh, self.calls, what or collective.name, dtype="int64", shapes=(collective.layout.lengths,)
        )
        self.slots = [np.arange(plan.sizes[0]) + 1000 * self.rank, *(np.zeros(n, np.int64) for n in plan.sizes[1:])]
        return run_rank(Call(self.endpoint, plan, header, self.slots, np.add, self.control, timeout))

    def call(self, collective: Collective, timeout: float = 20.0, what: str = "") -> Any:
        drive([self.begin(collective, timeout, what)])
        return self.slots[1]

    def brought(self, collective: Collective) -> list[Any]:
        return [np.arange(collective.layout.size(r, 0)) + 1000 * r for r in range(self.ranks)]


def _simple() -> tuple[MpiCommunicator, Rank]:
    communicator = connect()
    return communicator, Rank(communicator, list(range(communicator.processes)), communicator.process)


def right() -> None:
    """Several collectives, of several sizes, on one rank a process."""
    communicator, rank = _simple()
    for collective in (
        *(make(rank.ranks, n) for n in (0, 1, 1000, 300_000) for make in (ring, gather, exchange)),
        *(doubling(rank.ranks, n) for n in (3, 300_000) if rank.ranks in (2, 4)),
    ):
        wanted = collective.expected(rank.brought(collective))[rank.rank]
        assert np.array_equal(rank.call(collective), wanted), collective
    link = communicator.link(0, communicator.processes - 1)
    assert link.source == ("measured" if communicator.processes > 1 else "declared")
    found = communicator.gather(repr(link).encode(), 10)
    assert len(set(found)) == 1, found
    print("right", flush=True)


def native() -> None:
    """MPI's own collectives: right where it has them, and a mismatch is found all the same."""
    _, rank = _simple()
    n, me = rank.ranks, rank.rank
    for kind, reduction, make in (
        ("all_reduce", "sum", ring),
        ("all_gather", "", gather),
        ("all_to_all", "", exchange),
    ):
        collective = make(n, 9)
        start = rank.endpoint.native(kind, reduction, np.dtype(np.int64))
        pairs = collective.layout.pairs
        lengths = [collective.layout.lengths] if pairs is None else [pairs[me], [p[me] for p in pairs]]
        plan = plan_rank(collective.schedule, collective.layout, me)
        rank.calls += 1
        header = Header(rank.mesh, rank.calls, kind)
        brought = rank.brought(collective)
        result = np.zeros(plan.sizes[1], np.int64)
        begin = functools.partial(start, brought[me], result, lengths, -1)
        said = rank.endpoint, plan, header, [brought[me], result], None, rank.control, 20.0, begin
        drive([run_rank(Call(*said))])
        assert np.array_equal(result, collective.expected(brought)[me]), (kind, result)
    for kind, reduction, dtype in (("all_reduce", "max", "f4"), ("all_reduce", "sum", "f2"), ("permute", "", "f4")):
        assert rank.endpoint.native(kind, reduction, np.dtype(dtype)) is None
    print("right", flush=True)


def public() -> None:
    """Calls of every size and algorithm through the public functions: riding with headers, in steps, and MPI's own."""
    import opmux as ox
    from opmux.opset.collectives.algorithms import ALGORITHMS

    mesh = ox.Mesh()
    ((me,), n) = mesh.local_ranks, mesh.size
    for name in ("all_reduce", "reduce_scatter", "all_gather", "broadcast"):
        for pin in (*(a.name for a in ALGORITHMS[name] if a.name != "hierarchical"), "mpi"):
            for length in (1, 4 * n, 500, 40_000):
                x = ox.asarray(np.arange(length) + 1000 * me, dtype="int64")
                terms = [np.arange(length) + 1000 * r for r in range(n)]
                total = np.sum(terms, axis=0)
                wanted = {"all_reduce": total, "all_gather": np.concatenate(terms), "broadcast": terms[0]}
                wanted["reduce_scatter"] = np.array_split(total, n)[me]
                try:
                    with ox.policy(pins={name: pin}):
                        for _ in range(2):
                            found = getattr(ox, name)(x, mesh).numpy()
                except ox.UnsupportedError:  # an algorithm for powers of two
                    continue
                assert np.array_equal(found, wanted[name]), (name, pin, length)
    (endpoint, _), *_ = mesh.lines()
    requests = [r for rs in endpoint._standing[0]._requests for r in rs.values()]
    del mesh
    gc.collect()
    assert requests
    assert not any(requests), "persistent requests outlive their mesh"
    print("right", flush=True)


def two_each() -> None:
    """Two ranks in every process, in an order that alternates, driven by one thread each."""
    communicator = connect()
    owners = list(range(communicator.processes)) * 2
    ranks = [Rank(communicator, owners, r) for r, p in enumerate(owners) if p == communicator.process]
    for n in (0, 5, 70_000):
        collective = ring(len(owners), n)
        drive([r.begin(collective) for r in ranks])
        for r in ranks:
            assert np.array_equal(r.slots[1], collective.expected(r.brought(collective))[r.rank])
    print("right", flush=True)


def die() -> None:
    """One process is killed between two calls."""
    _, rank = _simple()
    rank.call(ring(rank.ranks, 10))
    if rank.rank == 1:
        os.kill(os.getpid(), 9)
    _failing(rank, ring(rank.ranks, 100_000), 20.0)


def stall() -> None:
    """One process stays away from the second call."""
    _, rank = _simple()
    rank.call(ring(rank.ranks, 10))
    if rank.rank == 1:
        time.sleep(4)
    _failing(rank, ring(rank.ranks, 10), 1.5)


def hang() -> None:
    """One process never comes back."""
    _, rank = _simple()
    rank.call(ring(rank.ranks, 10))
    if rank.rank == 1:
        signal.pause()
    _failing(rank, ring(rank.ranks, 10), 1.0)


def differ() -> None:
    """One process calls something else."""
    _, rank = _simple()
    _failing(rank, gather(rank.ranks, 10) if rank.rank == 1 else ring(rank.ranks, 10), 20.0)


def recover() -> None:
    """After a failure all processes meet again, on another mesh."""
    communicator, rank = _simple()
    _failing(rank, gather(rank.ranks, 10) if rank.rank == 1 else ring(rank.ranks, 10), 20.0)
    communicator.gather(b"again", 20.0)
    second = Rank(communicator, list(range(communicator.processes)), communicator.process)
    collective = ring(second.ranks, 1000)
    assert np.array_equal(second.call(collective), collective.expected(second.brought(collective))[0])
    print("right", flush=True)


def leave() -> None:
    """One process raises an error of its own and ends."""
    _, rank = _simple()
    rank.call(ring(rank.ranks, 10))
    if rank.rank == 1:
        raise SystemExit("rank 1 has had enough")
    _failing(rank, ring(rank.ranks, 10), ENDLESS)
    raise SystemExit(3)


def orders() -> None:
    """One process makes a mesh of the ranks in another order."""
    communicator = connect()
    owners = list(range(communicator.processes))
    if communicator.process == 1:
        owners.reverse()
    try:
        communicator.open(9, owners, owners.index(communicator.process))
    except CollectiveError as error:
        print(f"rank {communicator.process}: {error}", flush=True)


def lengths() -> None:
    """One process brings elements of twice the width, to messages that are copied straight from its memory."""
    import opmux as ox

    for pin in ("mpi", "doubling", "ring"):
        mesh = ox.Mesh()
        (rank,) = mesh.local_ranks
        x = ox.ones(20_000, dtype=ox.float64 if rank == 1 else ox.float32)
        try:
            with ox.policy(pins={"all_reduce": pin}):
                ox.all_reduce(x, mesh)
        except CollectiveError as error:
            print(f"rank {rank} by {pin}: {error.cause} {error.rank}", flush=True)


def forget() -> None:
    """Every process begins a call for which it never waits; the first one begins one that no other makes."""
    import opmux as ox

    kept = globals()["kept"] = []  # it outlives MPI, as what a program holds does
    mesh = ox.Mesh()
    kept += [ox.all_reduce(ox.ones(100_000), mesh, wait=False) for _ in range(2 - mesh.local_ranks[0])]
    print("right", flush=True)


def unwaited() -> None:
    """One process begins a call that takes several steps and ends; the others make it some time later."""
    import opmux as ox

    mesh = ox.Mesh(timeout=ENDLESS)
    with ox.policy(pins={"all_reduce": "ring"}):
        if mesh.local_ranks[0] == 0:
            globals()["kept"] = ox.all_reduce(ox.ones(100_000), mesh, wait=False)
            return
        time.sleep(0.5)
        total = float(ox.all_reduce(ox.ones(100_000), mesh)[-1])
    print("right" if total == mesh.size else total, flush=True)


def crossed() -> None:
    """All begin a call of several steps on each of two meshes and end; they come to the meshes in other orders."""
    import opmux as ox
    from opmux.core.collectives import begun

    first, second = ox.Mesh(timeout=ENDLESS), ox.Mesh(timeout=ENDLESS)
    with ox.policy(pins={"all_reduce": "ring"}):
        globals()["kept"] = [ox.all_reduce(ox.ones(100_000), mesh, wait=False) for mesh in (first, second)]
    order = (first, second) if first.local_ranks[0] == 0 else (second, first)
    vars(begun)["_meshes"] = order
    print("right", flush=True)


def alone() -> None:
    """One process begins a call that no other makes, while they end, and ends too."""
    import opmux as ox

    mesh = ox.Mesh(timeout=ENDLESS)
    if mesh.local_ranks[0] == 0:
        globals()["kept"] = ox.all_reduce(ox.ones(100_000), mesh, wait=False)
    print("right", flush=True)


def _failing(rank: Rank, collective: Collective, timeout: float) -> None:
    start = time.monotonic()
    try:
        rank.call(collective, timeout)
    except CollectiveError as error:
        took = time.monotonic() - start
        print(f"rank {rank.rank}: {error.cause} {error.rank} in time={took < timeout * 1.3 + 1}: {error}", flush=True)
    try:
        rank.control.check()
    except CollectiveError as error:
        print(f"rank {rank.rank} again: {'cannot be used' in str(error)}", flush=True)


_ALL = (
    *(right, native, public, two_each, die, stall, hang, differ),
    *(recover, leave, orders, lengths, forget, unwaited, crossed, alone),
)
SCENARIOS: dict[str, Callable[[], None]] = {f.__name__: f for f in _ALL}

if __name__ == "__main__":
    SCENARIOS[sys.argv[1]]()
